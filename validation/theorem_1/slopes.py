"""How fast: slopes in T of the averages that plain SGD and AdamW gave, and whether low rank is faster (§5.4).

The abstract, §4.1 and §7 claim rates: one slope for each seed. §5.4 claims that low rank converges faster: paired
seeds, two measures fixed beforehand, and a control that must not move.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any, cast

import numpy as np

from theorykit.arguments import Floats
from theorykit.verdicts import (
    ExponentPlan,
    Form,
    Instance,
    PairedEffect,
    ReferenceTask,
    Rows,
    SlopeEvidence,
    exponent_verdict,
    mechanism_verdict,
    plan_exponent,
)
from validation.claims.experiment import Context
from validation.claims.finding import Configuration, Finding, slope_finding
from validation.claims.trained import TrainedStudent
from validation.theorem_1.arms import (
    ADAMW,
    CONTROL,
    DENSE,
    HIGH,
    KD,
    TUNED,
    Curves,
    StudentsSettings,
    averages,
    curve_of,
    sgd_arms,
    tuned_groups,
)

RATES = {"T^-1": -1.0, "T^-1/2": -0.5, "T^0": 0.0}
"""Of the squared norm; the last is a floor."""
NOT_SGD = "Theorem 1 is about SGD with a constant step: neither AdamW nor a schedule."
_CLAIMED_BY = {"T^-1": "§4.1", "T^-1/2": "abstract, §7"}
_PLAIN = "Plain SGD, which Theorem 1 is about; what §5.4 says LRC follows is a run of AdamW with a schedule."
_OF_THE_NORM = "The rate is read of ‖∇L‖², as in eq 11: of the norm, which §5.4 writes, T^-1/2 is T^-1 of ‖∇L‖²."
_TOO_LONG = "The step is too long for the curvature along the run: Theorem 1 claims no rate here. The slope is shown."
_OWN_CONSTANTS = "T^-1"
"""The rate of the terms of eq 11 that have their constants printed; T^-1/2 is that of O(ε²/√T), whose is open."""
_PARTS_OF_RUN = (1 / 8, 1 / 4, 1 / 2, 1.0)


def rate_finding(
    plan: ExponentPlan,
    rows: Floats,
    generator: np.random.Generator,
    *,
    form: Form,
    what: str,
    of: Configuration,
    explicit: Instance | None = None,
    expected: tuple[str, ...] = (),
) -> Finding:
    """Judge averages ``[seeds, sizes]`` in T against O(T^claimed), which is an upper bound.

    The instance is about the upper bound: HOLDS where the slope is at most the claimed one, within the margin. A slower
    fall refutes no upper bound: its constants do. The exponent is about more, whether the averages follow T^claimed.

    Args:
        plan: Of the slope, against all rates of ``RATES``.
        rows: Averages, one row for each seed.
        generator: For the bootstrap.
        form: Whose claim it is.
        what: One line.
        of: Whose averages, and which rate.
        explicit: What the bound says of the same averages with constants of its own; None where it has an open one.
        expected: Of planted controls.
    """
    verdict = exponent_verdict(plan, rows, generator, grid=None, statement=what)
    evidence = cast("SlopeEvidence | None", verdict.evidence)
    if evidence is not None:
        instance, reason = _upper_bound(plan, evidence.equivalence_interval, explicit)
        verdict = replace(verdict, instance=instance, reasons=(reason, *verdict.reasons))
    unit = "exponent of T"
    return slope_finding("rate-claims", form, what, verdict, plan.claimed, unit, expected, key="rate", of=of)


def _upper_bound(plan: ExponentPlan, interval: tuple[float, float], explicit: Instance | None) -> tuple[Instance, str]:
    """Return what an interval of the slope says of O(T^claimed), and why."""
    order, (low, high) = f"O(T^{plan.claimed:g})", interval
    if high < plan.claimed - plan.margin:
        return Instance.HOLDS, f"It falls faster than claimed, which keeps the upper bound {order}."
    if high < plan.claimed + plan.margin:
        return (
            Instance.HOLDS,
            f"It falls at least as fast as claimed over these T, which keeps the upper bound {order}.",
        )
    if low <= plan.claimed + plan.margin:
        return Instance.INCONCLUSIVE, "Whether it falls slower than claimed is open."
    if explicit is None:
        return Instance.UNFALSIFIABLE, f"It falls slower than claimed; {order} has an open constant: no T refutes it."
    if explicit is Instance.VIOLATED:
        return explicit, "It falls slower than claimed, and the bound with its own constants is violated at these T."
    return (
        Instance.INCONCLUSIVE,
        "It falls slower than claimed, but the bound with its own constants is not violated at these T: a slope alone "
        "refutes no upper bound.",
    )


def power(settings: StudentsSettings) -> dict[str, float]:
    """Return the planned power of each slope."""
    return {
        f"{arm}, {rate}": _plan(settings, rate, _sizes(settings, arm)).power
        for arm in sgd_arms(settings)
        for rate in _CLAIMED_BY
    }


def _plan(settings: StudentsSettings, rate: str, sizes: Sequence[float]) -> ExponentPlan:
    return plan_exponent(
        RATES[rate],
        sizes,
        n_seeds=settings.seeds,
        sd_log=settings.sd_log,
        margin=settings.margin,
        alpha=settings.alpha,
        further_rivals=RATES,
        allow_low_power=settings.underpowered,
    )


def _sizes(settings: StudentsSettings, arm: str) -> list[float]:
    return [float(size) for size in (settings.tuned_steps if arm == TUNED else settings.rate_steps)]


def slope_findings(
    context: Context[StudentsSettings],
    curves: Mapping[str, Curves],
    refuted: Collection[str],
    explicit: Mapping[str, Instance],
) -> list[Finding]:
    """Judge both rates that the paper claims, as upper bounds, on each arm of plain SGD.

    Args:
        context: Of the part.
        curves: By arm.
        refuted: Arms whose step is too long for the curvature: there the slope is shown and nothing is judged.
        explicit: What eq 11 as printed, with its own constants, says of the averages of an arm at every T.
    """
    findings = []
    for arm in sgd_arms(context.settings):
        sizes = _sizes(context.settings, arm)
        # of one run of each seed, but for the tuned step, which is T's own
        tuned = tuned_groups(context.settings, curves[arm]).values() if arm == TUNED else None
        rows = averages(tuned or [curves[arm]] * len(sizes), sizes).T
        for rate, where in _CLAIMED_BY.items():
            finding = rate_finding(
                _plan(context.settings, rate, sizes),
                rows,
                context.generator("slope", arm, rate),
                form=Form.PRINTED,
                what=f"{arm}: average of ‖∇L‖² of SGD students is O({rate}), an upper bound claimed by {where}",
                of={"arm": arm, "rate": rate},
                explicit=explicit.get(arm) if rate == _OWN_CONSTANTS else None,
            )
            finding = _only_shown(finding, _TOO_LONG) if arm in refuted else finding
            findings.append(finding.because(_OF_THE_NORM, _PLAIN))
    return findings


def adamw_slope(context: Context[StudentsSettings], curves: Curves) -> Finding:
    """Show the slope of the paper's own optimiser, of which §5.4 says that it follows T^-1/2 closely."""
    steps, rate = context.settings.adamw_steps, "T^-1/2"
    sizes = [part * steps for part in _PARTS_OF_RUN]
    plan = _plan(replace(context.settings, underpowered=True), rate, sizes)  # nothing is decided
    finding = rate_finding(
        plan,
        averages([curves] * len(sizes), sizes).T,
        context.generator("slope", "AdamW", rate),
        form=Form.PRINTED,
        what=f"AdamW with warm-up and cosine: average of ‖∇L‖² over the first T of {steps} steps follows {rate} (§5.4)",
        of={"arm": ADAMW, "rate": rate},
    )
    return _only_shown(finding, f"{NOT_SGD} The slope is shown.").because(_OF_THE_NORM)


def _only_shown(finding: Finding, reason: str) -> Finding:
    """Return a finding whose slope stays and decides nothing."""
    return finding.judged(instance=Instance.NOT_APPLICABLE, exponent=None, alpha=None, reasons=(reason,))


# §5.4: does low rank converge faster?


class Measure(StrEnum):
    """Of speed; the words are those of the records."""

    GRADIENT = "mean squared gradient norm over its start"
    LOSS = "steps until half of the held-out loss that goes is gone"


Speeds = Mapping[Measure, Mapping[str, Floats]]
"""By measure and arm, one speed for each seed."""
RIVALS = (HIGH, KD, DENSE)
_NO_TEST = (
    "Gradients are those of each method's own loss in its own weights, over their start. Runs of AdamW with a "
    "cosine schedule: Theorem 1 does not cover them and cannot explain them."
)


def gradient_speed(student: TrainedStudent) -> float:
    """Return −ln of the mean of ‖∇L‖² over the run in units of its start; NaN where the run failed."""
    curve = curve_of(student)
    if curve is None or curve.squared_gradient_norm[0] <= 0:
        return float("nan")
    return float(-np.log(curve.average(0, curve.step[-1]) / curve.squared_gradient_norm[0]))


def loss_speed(student: TrainedStudent) -> float:
    """Return −ln of the share of the steps in which the held-out loss loses half of what it will lose; NaN if nothing.

    The held-out loss is that of the labels, which all methods have.
    """
    curve = student.loss_curve("held_out", "language_model")
    steps, losses = curve.steps, curve.values
    if losses.size < 2 or losses[-1] >= losses[0]:
        return float("nan")
    half = (losses[0] + losses[-1]) / 2
    after = int(np.argmax(losses <= half))
    share = (losses[after - 1] - half) / (losses[after - 1] - losses[after])
    return float(-np.log((steps[after - 1] + share * (steps[after] - steps[after - 1])) / steps[-1]))


_SPEEDS: dict[Measure, Callable[[TrainedStudent], float]] = {
    Measure.GRADIENT: gradient_speed,
    Measure.LOSS: loss_speed,
}


def speeds_of(arms: Mapping[str, Sequence[TrainedStudent]]) -> dict[Measure, dict[str, Floats]]:
    """Return the speeds of the students of AdamW, by measure and arm."""
    return {
        measure: {arm: np.array([speed(student) for student in students]) for arm, students in arms.items()}
        for measure, speed in _SPEEDS.items()
    }


def speed_findings(context: Context[StudentsSettings], speeds: Speeds) -> list[Finding]:
    """Judge whether the low rank is faster than the high one, than distillation and than fine-tuning in full."""
    return [_faster(context, measure, speeds[measure], rival) for measure in speeds for rival in RIVALS]


def _faster(context: Context[StudentsSettings], measure: Measure, speeds: Mapping[str, Floats], rival: str) -> Finding:
    settings = context.settings
    what = f"low rank is faster than {rival}: {measure}, start {settings.adamw_start}"
    # the same students with other blocks in another order: nothing may show; what is expected may not be NaN
    unmoved = speeds[CONTROL] - speeds[ADAMW]  # of students alike: symmetric
    control = ReferenceTask("same rank, other order", unmoved, 0.0, settings.control_margin, symmetric=True)
    verdict = mechanism_verdict(
        speeds[ADAMW],
        speeds[rival],
        context.generator("speed", rival, measure),
        negative_controls=[control],
        alpha=settings.alpha,
        statement=what,
    )
    differences = speeds[ADAMW] - speeds[rival]
    finite = differences[np.isfinite(differences)]
    failed = f"{differences.size - finite.size} of {differences.size} pairs have no speed."
    rows: tuple[Any, ...] = verdict.evidence.rows if isinstance(verdict.evidence, Rows) else ()
    return Finding(
        "faster-convergence",
        Form.PRINTED,
        what,
        verdict,
        measured=float(finite.mean()) if finite.size else None,
        interval=next((row.interval for row in rows if isinstance(row, PairedEffect)), None),
        bound=0.0,
        unit="ln of the ratio of speeds",
        key="speed",
        of={"rival": rival, "measure": measure},
    ).because(failed, _NO_TEST, set_up(settings.adamw_start))


def set_up(start: str) -> str:
    """Return what the start and the learning rate of all arms of AdamW are: those of no arm of the paper."""
    where = "as LRC's" if start in ("svd", "whitened") else "while LRC of §5.4 starts from the projected teacher"
    return (
        f"The start is {start} for every arm, {where}; the learning rate is one for every arm, tuned for none: the "
        "order may be another with other choices."
    )
