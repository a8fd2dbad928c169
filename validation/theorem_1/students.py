"""Theorem 1 on students: averages over T against both forms, slopes in T, the floor, and who converges faster."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

import theorykit as tk
from theorykit.arguments import Floats
from theorykit.verdicts import Instance, Verdict, expectation_verdict, order_verdict
from validation.claims.experiment import Context, PartResult, Settings
from validation.claims.finding import CONDITIONAL, Finding, Form
from validation.claims.grids import needed
from validation.theorem_1.arms import (
    ADAMW,
    ONE_OVER_L,
    PROBE,
    SHORT,
    TUNED,
    Constants,
    Curve,
    Curves,
    adamw_students,
    constants_of,
    curve_of,
    sgd_students,
    tuned_groups,
)
from validation.theorem_1.slopes import NOT_SGD, adamw_finding, slope_findings
from validation.theorem_1.speed import speed_findings
from validation.training.config import StudentConfig

_UNIT = "squared norm of the gradient"
CURVED = 1.02
"""η times a curvature beyond which smoothness is refuted: eigenvalues are within 1 %."""
_ORDER = (
    "Blocks are drawn without replacement within an epoch: gradients are unbiased at its start alone. Independent "
    "draws, which Assumption 2 asks for, are known for a higher floor, not for a lower one."
)


def students(settings: Settings, seed: int) -> list[StudentConfig]:
    """Return all students that are trained."""
    arms = sgd_students(settings, seed) | adamw_students(settings, seed)
    return [one for part in arms.values() for one in part]


def run(context: Context) -> PartResult:
    """Train and judge."""
    asked = sgd_students(context.settings, context.seed) | adamw_students(context.settings, context.seed)
    trained = context.train([one for part in asked.values() for one in part])
    found, place = {}, 0
    for name, part in asked.items():
        found[name], place = trained[place : place + len(part)], place + len(part)
    curves = {name: [curve_of(one) for one in part] for name, part in found.items()}
    constants = {name: constants_of(found[PROBE + name]) for name in (SHORT, ONE_OVER_L) if name in found}
    findings = []
    for arm, known in constants.items():
        findings += constant_step_findings(context.settings, arm, curves[arm], known)
    if TUNED in curves:
        findings += tuned_findings(context.settings, curves[TUNED], constants[SHORT])
    refuted, explicit = refuted_and_explicit(context.settings, curves, constants)
    findings += slope_findings(context, curves, refuted, explicit)
    findings += [_adamw(context.settings, curves[ADAMW]), adamw_finding(context, curves[ADAMW])]
    faster, speeds = speed_findings(context, {name: found[name] for name in adamw_students(context.settings, 0)})
    data = {
        "curves": {name: _shown(part) for name, part in curves.items() if not name.startswith(PROBE)},
        "constants": {name: None if one is None else dataclasses.asdict(one) for name, one in constants.items()},
        "speeds": speeds,
    }
    return PartResult(tuple(one.because(CONDITIONAL) for one in (*findings, *faster)), data, tuple(trained))


def refuted_and_explicit(
    settings: Settings, curves: Mapping[str, Curves], constants: Mapping[str, Constants | None]
) -> tuple[set[str], dict[str, Instance]]:
    """Return the arms whose step is too long for the curvature, and eq 11 as printed at every T of the slopes."""
    known = {arm: one for arm, one in constants.items() if one is not None}
    refuted = {arm for arm, one in known.items() if max(one.excess) > CURVED}
    sizes = [int(size) for size in needed(settings, "rate_steps")]
    explicit = {}
    for arm, one in known.items():
        if any(curve is not None for curve in curves[arm]):
            printed, _ = _eq_11(settings, arm, one, sizes, [curves[arm]] * len(sizes), ())
            explicit[arm] = printed.verdict.instance
    if TUNED in curves and SHORT in known:
        groups = tuned_groups(settings, curves[TUNED])
        if any(value > CURVED for value in tuned_excess(groups, known[SHORT]).values()):
            refuted.add(TUNED)
    return refuted, explicit


def constant_step_findings(settings: Settings, arm: str, curves: Curves, known: Constants | None) -> list[Finding]:
    """Judge eqs 11 and 16 at a constant step η, with L = 1/η: the L for which the step is the theorem's.

    So no estimate of L enters the printed bound: curvature along the run can only refute that the loss is (1/η)-smooth,
    in which case nothing applies.
    """
    steps = int(needed(settings, "steps"))
    living = [one for one in curves if one is not None]
    if known is None or not living:
        return _open(arm, Instance.NOT_RUN, "No student of this arm has both a curve and measured constants.")
    reasons = _reasons(curves, known)
    if max(known.excess) > CURVED:
        many = sum(value > CURVED for value in known.excess)
        reason = (
            f"η times the top Hessian eigenvalue reached {max(known.excess):.3g} and passed 1 in {many} of "
            f"{len(known.excess)} runs: the loss is not (1/η)-smooth along them, though η = 1/L at the start."
        )
        return _open(arm, Instance.NOT_APPLICABLE, reason)
    found = _eq_11(settings, arm, known, [steps], [curves], reasons)
    return [*found, *_eq_16(settings, arm, curves, known, reasons), _order(arm, curves, known, steps)]


def tuned_findings(settings: Settings, curves: Curves, known: Constants | None) -> list[Finding]:
    """Judge eq 11, corrected, at the step that is tuned to each T; with the constants of the short step's runs.

    A length whose steps, meaned over the seeds, are too long for the curvature there is left out, and said.
    """
    groups = tuned_groups(settings, curves)
    if known is None or not all(any(one is not None for one in group) for group in groups.values()):
        return _open(TUNED, Instance.NOT_RUN, "A length has no student that ended, or no constants were measured.")[1:]
    excess = tuned_excess(groups, known)
    used = [size for size, value in excess.items() if value <= CURVED]
    if not used:
        reason = f"η times the top Hessian eigenvalue is {min(excess.values()):.3g} or more: above 1 at every T."
        return _open(TUNED, Instance.NOT_APPLICABLE, reason)[1:]
    own = dataclasses.replace(known, excess=tuple(excess[size] for size in used))
    left_out = [size for size in groups if size not in used]
    said = (f"T = {_listed(left_out)} is left out: η times the top eigenvalue is above 1.",) if left_out else ()
    reasons = (*_reasons(curves, own), *said)
    return _eq_11(settings, TUNED, own, used, [groups[size] for size in used], reasons, printed=False)


def tuned_excess(groups: Mapping[int, Curves], known: Constants) -> dict[int, float]:
    """Return η times the curvature at each length, both meaned, where a student ended."""
    steps = {size: [one.step_size for one in group if one is not None] for size, group in groups.items()}
    return {size: float(np.mean(part) * np.mean(known.curvatures)) for size, part in steps.items() if part}


def _eq_11(
    settings: Settings,
    arm: str,
    known: Constants,
    sizes: Sequence[int],
    groups: Sequence[Curves],
    reasons: tuple[str, ...],
    *,
    printed: bool = True,
) -> list[Finding]:
    measured = np.array(
        [
            [float("nan") if one is None else one.average(0, size) for one in group]
            for size, group in zip(sizes, groups, strict=True)
        ]
    )
    forms = {Form.PRINTED: "2LΔ/T + σ²/T, without its ε term", Form.CORRECTED: "2Δ/(ηT) + Lησ²"}
    found = []
    for form, formula in forms.items():
        if form is Form.PRINTED and not printed:
            continue
        low, point, high = (
            np.array([eq_11_bound(form, kind, group, known, size) for size, group in zip(sizes, groups, strict=True)])
            for kind in ("low", "point", "high")
        )
        what = f"{arm}: average of ‖∇L‖² over T = {_listed(sizes)} against {formula}"
        verdict = expectation_verdict(
            measured,
            point,
            bound_interval=(low, high),
            support=(0.0, np.inf),
            alpha=float(needed(settings, "alpha")),
            names=[f"T = {size}" for size in sizes],
            statement=what,
        )
        found.append(_finding("eq-11", form, what, verdict, measured[-1], point[-1], reasons))
    return found


def eq_11_bound(form: Form, kind: str, curves: Curves, known: Constants, steps: int) -> float:
    """Return the mean over the living of the right side: ``low`` for HOLDS, ``high`` for VIOLATED.

    Low has Δ as far as the loss was seen to fall and L the measured curvature, both too small; high has Δ = L(θ0), as
    no term of the loss is negative, and L = 1/η.
    """
    values = []
    for one in curves:
        if one is None:
            continue
        high = kind == "high"
        gap = one.losses[0] if high else max(0.0, one.losses[0] - one.losses.min())
        noise = {"low": known.low, "point": known.variance, "high": known.high}[kind]
        smooth = 1 / one.step_size
        if form is Form.PRINTED:
            values.append(
                tk.printed_sgd_bound(steps, smoothness=smooth, initial_gap=gap, gradient_variance=noise, constant=0.0)
            )
            continue
        curvature = smooth if high else min(smooth, float(np.mean(known.curvatures)))
        values.append(
            tk.sgd_convergence_bound(
                steps, smoothness=curvature, initial_gap=gap, gradient_variance=noise, step_size=one.step_size
            )
        )
    return float(np.mean(values))


def _eq_16(settings: Settings, arm: str, curves: Curves, known: Constants, reasons: tuple[str, ...]) -> list[Finding]:
    """Judge eq 16 summed over the second half of the run: what the loss lost there is measured, no L* is needed."""
    steps = int(needed(settings, "steps"))
    first, length = steps // 2, steps - steps // 2

    def left(one: Curve | None) -> float:
        if one is None:
            return float("nan")
        return one.average(first, steps) - 2 * (one.loss(first) - one.loss(steps)) / one.step_size / length

    measured = np.array([left(one) for one in curves])
    rate = min(1.0, float(np.mean(known.excess)))
    found = []
    for form, name, scales in (
        (Form.PRINTED, "σ²/T", (1 / length,) * 2),
        (Form.CORRECTED, "Lησ²", (rate, 1.0)),
    ):
        what = f"{arm}: ‖∇L‖² − 2L(L_t − L_t+1), L = 1/η, averaged over the last {length} steps, against {name}"
        point = known.variance * scales[0]
        verdict = expectation_verdict(
            measured,
            point,
            bound_interval=(known.low * scales[0], known.high * scales[1]),
            alpha=float(needed(settings, "alpha")),
            statement=what,
        )
        found.append(_finding("eq-16", form, what, verdict, measured, point, reasons))
    return found


def _order(arm: str, curves: Curves, known: Constants, steps: int) -> Finding:
    """Return eq 11 with its O(ε²/√T): it says no constant, and where noise stays the one that is needed grows."""
    measured = np.array([float("nan") if one is None else one.average(0, steps) for one in curves])
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
    return _finding("eq-11", Form.PRINTED, what, verdict, measured, explicit, (reason,))


def _adamw(settings: Settings, curves: Curves) -> Finding:
    """Show the paper's own optimiser, on which Theorem 1 says nothing."""
    steps = int(needed(settings, "adamw_steps"))
    living = [one for one in curves if one is not None]
    averages = [one.average(0, steps) for one in living]
    ends = [float(one.squares[-1] / one.squares[0]) for one in living]
    fall = f"‖∇L‖² ends at {np.median(ends):.3g} of its start (median of {len(ends)})." if ends else "No student ended."
    what = f"AdamW with warm-up and cosine, the optimiser of §5.1: average of ‖∇L‖² over T = {steps}"
    verdict = Verdict(what, Instance.NOT_APPLICABLE, reasons=(NOT_SGD, fall), n_seeds=len(living))
    return Finding(
        "eq-11", Form.PRINTED, what, verdict, measured=float(np.mean(averages)) if averages else None, unit=_UNIT
    )


def _reasons(curves: Curves, known: Constants) -> tuple[str, ...]:
    failed = sum(one is None for one in curves)
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
    what: str,
    verdict: Verdict,
    measured: Floats,
    bound: float,
    reasons: tuple[str, ...],
) -> Finding:
    interval = None
    rows = getattr(verdict.evidence, "rows", ())
    if rows:
        interval = tuple(rows[-1].interval)
    return Finding(
        equation,
        form,
        what,
        dataclasses.replace(verdict, reasons=(*verdict.reasons, *reasons)),
        measured=float(np.nanmean(measured)),
        interval=interval,
        bound=float(bound),
        unit=_UNIT,
    )


def _open(arm: str, instance: Instance, reason: str) -> list[Finding]:
    """Return that nothing can be said, of the printed form and of the corrected one."""
    what = f"{arm}: averages of ‖∇L‖² against eq 11"
    verdict = Verdict(what, instance, reasons=(reason,))
    return [Finding("eq-11", form, what, verdict, unit=_UNIT) for form in (Form.PRINTED, Form.CORRECTED)]


def _listed(sizes: Sequence[int]) -> str:
    return ", ".join(str(size) for size in sizes)


def _shown(curves: Curves) -> list[dict[str, object]]:
    return [
        {
            "step": one.steps,
            "squared_gradient_norm": np.array([float(f"{value:.6g}") for value in one.squares]),
            "loss": np.array([float(f"{value:.6g}") for value in one.losses]),
            "step_size": one.step_size,
        }
        for one in curves
        if one is not None
    ]
