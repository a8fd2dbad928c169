"""§5.4: does low rank converge faster? Paired seeds, two measures fixed beforehand, a control that must not move."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from theorykit.arguments import Floats
from theorykit.verdicts import ReferenceTask, mechanism_verdict
from validation.claims.experiment import Context
from validation.claims.finding import Finding, Form
from validation.claims.grids import needed
from validation.claims.trained import TrainedStudent
from validation.theorem_1.arms import ADAMW, CONTROL, DENSE, HIGH, KD, curve_of

_RIVALS = (HIGH, KD, DENSE)
_NO_TEST = (
    "Gradients are those of each method's own loss in its own weights, over their start. Runs of AdamW with a "
    "cosine schedule: Theorem 1 does not cover them and cannot explain them."
)


def gradient_speed(one: TrainedStudent) -> float:
    """Return −ln of the mean of ‖∇L‖² over the run in units of its start; NaN where the run failed."""
    curve = curve_of(one)
    if curve is None or curve.squares[0] <= 0:
        return float("nan")
    return float(-np.log(curve.average(0, curve.steps[-1]) / curve.squares[0]))


def loss_speed(one: TrainedStudent) -> float:
    """Return −ln of the share of the steps in which the held-out loss loses half of what it will lose; NaN if nothing.

    The held-out loss is that of the labels, which all methods have.
    """
    curve = one.loss_curve("held_out", "language_model")
    steps, losses = curve.steps, curve.values
    if steps.size < 2:
        return float("nan")
    half = (losses[0] + losses[-1]) / 2
    if losses[-1] >= losses[0]:
        return float("nan")
    after = int(np.argmax(losses <= half))
    share = (losses[after - 1] - half) / (losses[after - 1] - losses[after])
    return float(-np.log((steps[after - 1] + share * (steps[after] - steps[after - 1])) / steps[-1]))


_MEASURES: dict[str, Callable[[TrainedStudent], float]] = {
    "mean squared gradient norm over its start": gradient_speed,
    "steps until half of the held-out loss that goes is gone": loss_speed,
}


def speed_findings(
    context: Context, arms: Mapping[str, Sequence[TrainedStudent]]
) -> tuple[list[Finding], dict[str, dict[str, Floats]]]:
    """Judge whether the low rank is faster than the high one, than distillation and than fine-tuning in full."""
    margin, alpha = float(needed(context.settings, "control_margin")), float(needed(context.settings, "alpha"))
    findings: list[Finding] = []
    data: dict[str, dict[str, Floats]] = {}
    for measure, speed in _MEASURES.items():
        speeds = {name: np.array([speed(one) for one in students]) for name, students in arms.items()}
        data[measure] = speeds
        # the same students with other blocks in another order: nothing may show; what is expected may not be NaN
        control = ReferenceTask("same rank, other order", speeds[CONTROL] - speeds[ADAMW], 0.0, margin)
        findings += [_finding(context, measure, speeds, rival, control, alpha) for rival in _RIVALS]
    return findings, data


def _finding(
    context: Context, measure: str, speeds: Mapping[str, Floats], rival: str, control: ReferenceTask, alpha: float
) -> Finding:
    start = needed(context.settings, "adamw_start")
    what = f"low rank is faster than {rival}: {measure}, start {start}"
    verdict = mechanism_verdict(
        speeds[ADAMW],
        speeds[rival],
        context.generator("speed", rival, measure),
        negative_controls=[control],
        alpha=alpha,
        statement=what,
    )
    differences = speeds[ADAMW] - speeds[rival]
    finite = differences[np.isfinite(differences)]
    failed = f"{differences.size - finite.size} of {differences.size} pairs have no speed."
    return Finding(
        "faster-convergence",
        Form.PRINTED,
        what,
        dataclasses.replace(verdict, reasons=(*verdict.reasons, failed, _NO_TEST, _set_up(start))),
        measured=float(finite.mean()) if finite.size else None,
        interval=_interval(verdict.evidence),
        bound=0.0,
        unit="ln of the ratio of speeds",
    )


def _set_up(start: str) -> str:
    where = "as LRC's" if start in ("svd", "whitened") else "while LRC of §5.4 starts from the projected teacher"
    return (
        f"The start is {start} for every arm, {where}; the learning rate is one for every arm, tuned for none: the "
        "order may be another with other choices."
    )


def _interval(evidence: object) -> tuple[float, float] | None:
    rows = getattr(evidence, "rows", ())
    effects = [row for row in rows if getattr(row, "name", "") == "effect"]
    return effects[0].interval if effects else None
