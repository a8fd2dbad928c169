"""Theorem 1 on students: averages over T against both forms, slopes in T, the floor, and who converges faster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

import theorykit as tk
from theorykit.arguments import Floats
from theorykit.errors import InputError
from theorykit.verdicts import Form, Instance, Rows, Verdict, expectation_verdict, order_verdict
from validation.claims.experiment import Context, PartResult
from validation.claims.finding import CONDITIONAL, Finding, stated
from validation.theorem_1.arms import (
    ADAMW,
    CONTROL,
    SHORT,
    TUNED,
    Constants,
    Curve,
    Curves,
    StudentsSettings,
    adamw_students,
    averages,
    constants_of,
    curve_of,
    probe_students,
    sgd_students,
    tuned_groups,
)
from validation.theorem_1.slopes import NOT_SGD, RIVALS, Measure, adamw_slope, slope_findings, speed_findings, speeds_of
from validation.training.config import StudentConfig

_UNIT = "squared norm of the gradient"
CURVED = 1.02
"""η times a curvature beyond which smoothness is refuted: eigenvalues are within 1 %."""
_FORMULAS = {Form.PRINTED: "2LΔ/T + σ²/T, without its ε term", Form.CORRECTED: "2Δ/(ηT) + Lησ²"}
_ORDER = (
    "Blocks are drawn without replacement within an epoch: gradients are unbiased at its start alone. Independent "
    "draws, which Assumption 2 asks for, are known for a higher floor, not for a lower one."
)


@dataclass(frozen=True, eq=False)
class StudentsData:
    """What the part leaves for figures.

    Attributes:
        curves: By arm, those of the students that ended.
        constants: Of the arms with a constant step; None where nothing was measured.
        speeds: By measure and arm of AdamW, one for each seed; NaN where there is none.
    """

    curves: dict[str, tuple[Curve, ...]]
    constants: dict[str, Constants | None]
    speeds: dict[Measure, dict[str, Floats]]

    def __post_init__(self) -> None:
        arms, compared = {SHORT, ADAMW, CONTROL, *RIVALS}, {ADAMW, CONTROL, *RIVALS}
        if not arms <= set(self.curves) or set(self.speeds) != set(Measure):
            raise InputError("an arm or a measure of speed is missing", "run it again")
        for speeds in self.speeds.values():
            if not compared <= set(speeds) or len({values.shape for values in speeds.values()}) != 1:
                raise InputError("speeds are not of all arms and seeds", "run it again")


_GROUPS = (sgd_students, probe_students, adamw_students)


def students(settings: StudentsSettings, seed: int) -> list[StudentConfig]:
    """Return all students that are trained."""
    return [config for group in _GROUPS for configs in group(settings, seed).values() for config in configs]


def run(context: Context[StudentsSettings]) -> PartResult:
    """Train and judge."""
    settings = context.settings
    trained = context.train(students(settings, context.seed))
    left = iter(trained)
    sgd, probes, adamw = (
        {arm: list(islice(left, len(configs))) for arm, configs in group(settings, context.seed).items()}
        for group in _GROUPS
    )
    curves = {arm: [curve_of(student) for student in part] for arm, part in (sgd | adamw).items()}
    constants = {arm: constants_of(part) for arm, part in probes.items()}
    findings = []
    for arm, known in constants.items():
        findings += constant_step_findings(settings, arm, curves[arm], known)
    if TUNED in curves:
        findings += tuned_findings(settings, curves[TUNED], constants[SHORT])
    findings += slope_findings(context, curves, *refuted_and_explicit(settings, curves, constants))
    findings += [_adamw(settings, curves[ADAMW]), adamw_slope(context, curves[ADAMW])]
    speeds = speeds_of(adamw)
    findings += speed_findings(context, speeds)
    data = StudentsData({arm: _recorded(part) for arm, part in curves.items()}, constants, speeds)
    return PartResult(tuple(finding.because(CONDITIONAL) for finding in findings), data, tuple(trained))


def _recorded(curves: Curves) -> tuple[Curve, ...]:
    """Return the curves of the living with six digits."""

    def short(values: Floats) -> Floats:
        return np.array([float(f"{value:.6g}") for value in values])

    return tuple(
        replace(curve, squared_gradient_norm=short(curve.squared_gradient_norm), loss=short(curve.loss))
        for curve in curves
        if curve is not None
    )


def refuted_and_explicit(
    settings: StudentsSettings, curves: Mapping[str, Curves], constants: Mapping[str, Constants | None]
) -> tuple[set[str], dict[str, Instance]]:
    """Return the arms whose step is too long for the curvature, and eq 11 as printed at every T of the slopes."""
    measured = {arm: known for arm, known in constants.items() if known is not None}
    refuted = {arm for arm, known in measured.items() if max(known.excess) > CURVED}
    sizes = settings.rate_steps
    explicit = {
        arm: _eq_11(settings, Form.PRINTED, arm, known, dict.fromkeys(sizes, curves[arm]), ()).verdict.instance
        for arm, known in measured.items()
        if any(curve is not None for curve in curves[arm])
    }
    if TUNED in curves and SHORT in measured:
        excess = tuned_excess(tuned_groups(settings, curves[TUNED]), measured[SHORT])
        if any(value > CURVED for value in excess.values()):
            refuted.add(TUNED)
    return refuted, explicit


def constant_step_findings(
    settings: StudentsSettings, arm: str, curves: Curves, known: Constants | None
) -> list[Finding]:
    """Judge eqs 11 and 16 at a constant step η, with L = 1/η: the L for which the step is the theorem's.

    So no estimate of L enters the printed bound: curvature along the run can only refute that the loss is (1/η)-smooth,
    in which case nothing applies.
    """
    if known is None or not any(curve is not None for curve in curves):
        return _open(arm, Instance.NOT_RUN, "No student of this arm has both a curve and measured constants.")
    if max(known.excess) > CURVED:
        many = sum(value > CURVED for value in known.excess)
        reason = (
            f"η times the top Hessian eigenvalue reached {max(known.excess):.3g} and passed 1 in {many} of "
            f"{len(known.excess)} runs: the loss is not (1/η)-smooth along them, though η = 1/L at the start."
        )
        return _open(arm, Instance.NOT_APPLICABLE, reason)
    reasons, group = _reasons(curves, known), {settings.steps: curves}
    return [
        *(_eq_11(settings, form, arm, known, group, reasons) for form in _FORMULAS),
        *_eq_16(settings, arm, curves, known, reasons),
        _order(arm, curves, known, settings.steps),
    ]


def tuned_findings(settings: StudentsSettings, curves: Curves, known: Constants | None) -> list[Finding]:
    """Judge eq 11, corrected, at the step that is tuned to each T; with the constants of the short step's runs.

    A length whose steps, meaned over the seeds, are too long for the curvature there is left out, and said.
    """
    groups = tuned_groups(settings, curves)
    if known is None or not all(any(curve is not None for curve in group) for group in groups.values()):
        return _open(TUNED, Instance.NOT_RUN, "A length has no student that ended, or no constants were measured.")[1:]
    excess = tuned_excess(groups, known)
    used = {size: group for size, group in groups.items() if excess[size] <= CURVED}
    if not used:
        reason = f"η times the top Hessian eigenvalue is {min(excess.values()):.3g} or more: above 1 at every T."
        return _open(TUNED, Instance.NOT_APPLICABLE, reason)[1:]
    own = replace(known, excess=tuple(excess[size] for size in used))
    reasons, left_out = _reasons(curves, own), [size for size in groups if size not in used]
    if left_out:
        reasons = (*reasons, f"T = {_listed(left_out)} is left out: η times the top eigenvalue is above 1.")
    return [_eq_11(settings, Form.CORRECTED, TUNED, own, used, reasons)]


def tuned_excess(groups: Mapping[int, Curves], known: Constants) -> dict[int, float]:
    """Return η times the curvature at each length, both meaned, where a student ended."""
    steps = {size: [curve.step_size for curve in group if curve is not None] for size, group in groups.items()}
    return {size: float(np.mean(part) * np.mean(known.curvatures)) for size, part in steps.items() if part}


def _eq_11(
    settings: StudentsSettings,
    form: Form,
    arm: str,
    known: Constants,
    groups: Mapping[int, Curves],
    reasons: tuple[str, ...],
) -> Finding:
    """Judge the averages over T of the curves that are given for it."""
    measured = averages(groups.values(), groups)
    low, point, high = (
        np.array([eq_11_bound(form, kind, group, known, size) for size, group in groups.items()])
        for kind in ("low", "point", "high")
    )
    verdict = expectation_verdict(
        measured,
        point,
        bound_interval=(low, high),
        support=(0.0, np.inf),
        law="right-tailed",  # squared norms
        alpha=settings.alpha,
        names=[f"T = {size}" for size in groups],
        statement=f"{arm}: average of ‖∇L‖² over T = {_listed(groups)} against {_FORMULAS[form]}",
    )
    return _finding("eq-11", form, verdict, measured[-1], point[-1], reasons, "average", arm)


def eq_11_bound(form: Form, kind: str, curves: Curves, known: Constants, steps: int) -> float:
    """Return the mean over the living of the right side: ``low`` for HOLDS, ``high`` for VIOLATED.

    Low has Δ as far as the loss was seen to fall and L the measured curvature, both too small; high has Δ = L(θ0), as
    no term of the loss is negative, and L = 1/η.
    """
    high, noise = kind == "high", {"low": known.low, "point": known.variance, "high": known.high}[kind]
    values = []
    for curve in curves:
        if curve is None:
            continue
        smooth = 1 / curve.step_size
        constants: dict[str, Any] = {
            "initial_gap": curve.loss[0] if high else max(0.0, curve.loss[0] - curve.loss.min()),
            "gradient_variance": noise,
        }
        if form is Form.PRINTED:
            values.append(tk.printed_sgd_bound(steps, smoothness=smooth, constant=0.0, **constants))
        else:
            curvature = smooth if high else min(smooth, float(np.mean(known.curvatures)))
            values.append(tk.sgd_convergence_bound(steps, smoothness=curvature, step_size=curve.step_size, **constants))
    return float(np.mean(values))


def _eq_16(
    settings: StudentsSettings, arm: str, curves: Curves, known: Constants, reasons: tuple[str, ...]
) -> list[Finding]:
    """Judge eq 16 summed over the second half of the run: what the loss lost there is measured, no L* is needed."""
    steps = settings.steps
    first, length = steps // 2, steps - steps // 2

    def left_side(curve: Curve | None) -> float:
        if curve is None:
            return float("nan")
        lost = curve.loss_at(first) - curve.loss_at(steps)
        return curve.average(first, steps) - 2 * lost / curve.step_size / length

    measured = np.array([left_side(curve) for curve in curves])
    rate = min(1.0, float(np.mean(known.excess)))
    what = f"{arm}: ‖∇L‖² − 2L(L_t − L_t+1), L = 1/η, averaged over the last {length} steps, against"
    findings = []
    for form, name, low, high in (
        (Form.PRINTED, "σ²/T", 1 / length, 1 / length),
        (Form.CORRECTED, "Lησ²", rate, 1.0),
    ):
        point = known.variance * low
        limits, statement = (known.low * low, known.high * high), f"{what} {name}"
        verdict = expectation_verdict(measured, point, bound_interval=limits, alpha=settings.alpha, statement=statement)
        findings.append(_finding("eq-16", form, verdict, measured, point, reasons, "descent", arm))
    return findings


def _order(arm: str, curves: Curves, known: Constants, steps: int) -> Finding:
    """Return eq 11 with its O(ε²/√T): it says no constant, and where noise stays the one that is needed grows."""
    (measured,) = averages([curves], [steps])
    order = known.truncation_error**2 / np.sqrt(steps)
    explicit = eq_11_bound(Form.PRINTED, "point", curves, known, steps)
    what = f"{arm}: average of ‖∇L‖² over T = {steps} against eq 11 with its O(ε²/√T)"
    least = max(0.0, float(np.nanmean(measured)) - explicit) / order if order > 0 else float("inf")
    reason = f"Here c = {least:.3g} would be enough, with ε = Σ ε_l = {known.truncation_error:.3g}."
    verdict = (
        order_verdict(measured, order, statement=what)
        if order > 0
        else Verdict(what, Instance.UNFALSIFIABLE, reasons=("ε = 0.",), n_seeds=measured.size)
    )
    return _finding("eq-11", Form.PRINTED, verdict, measured, explicit, (reason,), "order", arm)


def _adamw(settings: StudentsSettings, curves: Curves) -> Finding:
    """Show the paper's own optimiser, on which Theorem 1 says nothing."""
    steps, living = settings.adamw_steps, [curve for curve in curves if curve is not None]
    what = f"AdamW with warm-up and cosine, the optimiser of §5.1: average of ‖∇L‖² over T = {steps}"
    mean, fall = None, "No student ended."
    if living:
        mean = float(np.mean([curve.average(0, steps) for curve in living]))
        ends = [float(curve.squared_gradient_norm[-1] / curve.squared_gradient_norm[0]) for curve in living]
        fall = f"‖∇L‖² ends at {np.median(ends):.3g} of its start (median of {len(ends)})."
    named: dict[str, Any] = {"measured": mean, "unit": _UNIT, "key": "average", "of": {"arm": ADAMW}}
    return stated("eq-11", Form.PRINTED, what, Instance.NOT_APPLICABLE, NOT_SGD, fall, n_seeds=len(living), **named)


def _reasons(curves: Curves, known: Constants) -> tuple[str, ...]:
    failed = sum(curve is None for curve in curves)
    lost = (f"{failed} of {len(curves)} students failed.",) if failed else ()
    return (
        *lost,
        f"η times the top Hessian eigenvalue stayed at or below {max(known.excess):.3g}: eigenvalues at a few points "
        "bound L from below, so smoothness is not refuted and not proved.",
        f"σ² at three points of {len(known.curvatures)} runs, up to {known.high:.3g}: its supremum is not observed. "
        "HOLDS uses the largest of a run's lower limits, Bonferroni-corrected over its points, meaned over the runs.",
        _ORDER,
    )


def _finding(
    equation: str,
    form: Form,
    verdict: Verdict,
    measured: Floats,
    bound: float,
    reasons: tuple[str, ...],
    key: str,
    arm: str,
) -> Finding:
    """Return a verdict on an arm with the mean over its seeds, and the interval that decided."""
    rows: tuple[Any, ...] = verdict.evidence.rows if isinstance(verdict.evidence, Rows) else ()
    interval, mean = tuple(rows[-1].interval) if rows else None, float(np.nanmean(measured))
    what, of = verdict.statement, {"arm": arm}
    finding = Finding(equation, form, what, verdict, (), mean, interval, float(bound), _UNIT, key=key, of=of)
    return finding.because(*reasons)


def _open(arm: str, instance: Instance, reason: str) -> list[Finding]:
    """Return that nothing can be said, of the printed form and of the corrected one."""
    what = f"{arm}: averages of ‖∇L‖² against eq 11"
    named: dict[str, Any] = {"unit": _UNIT, "key": "average", "of": {"arm": arm}}
    return [stated("eq-11", form, what, instance, reason, **named) for form in _FORMULAS]


def _listed(sizes: Iterable[int]) -> str:
    return ", ".join(str(size) for size in sizes)
