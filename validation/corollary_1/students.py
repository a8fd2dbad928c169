"""Corollary 1 on trained students: r* over n for labels, soft targets and both, beside what the spectra predict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import theorykit as tk
from theorykit.arguments import Floats
from theorykit.errors import InputError
from theorykit.verdicts import (
    ExponentPlan,
    Form,
    Instance,
    Verdict,
    expectation_verdict,
    exponent_verdict,
    plan_exponent,
    student_interval,
)
from theorykit.verdicts.exponents import censored_points, simulated_correlations
from theorykit.verdicts.planning import RIVALS
from validation.claims.experiment import Context, PartResult
from validation.claims.finding import Finding, slope_finding, stated
from validation.claims.grids import LABELS, Curve, GridSettings, curve_students, curves_of
from validation.claims.trained import TrainedStudent
from validation.corollary_1.prediction import (
    Decay,
    PredictedRanks,
    decay_of,
    full_rank,
    predicted_ranks,
    teacher_spectra,
)
from validation.training.config import StudentConfig

_TERM = "language_model"
"""Next-token loss against the text, whatever the student was taught with: one scale for all objectives."""
_LEAST_SIZES = 3
_TYPICAL = 0.5
"""Share of the layers above which something counts as typical of them."""


@dataclass(frozen=True, eq=False)
class CurveData:
    """What a curve leaves for figures: its grid, and losses and best ranks over it.

    Attributes:
        objective: What the students learnt from.
        start: Of their factors.
        ranks: Increasing.
        sizes: Train blocks, increasing.
        seeds: Of the students.
        end: Held-out loss at the end ``[seeds, sizes, ranks]``, nats per token; NaN where a student failed.
        best: The least on the way.
        optima: r* at the end ``[seeds, sizes]``.
        optima_on_the_way: r* of ``best``.
        predicted: From the spectra alone, one for each size.
    """

    objective: str
    start: str
    ranks: tuple[int, ...]
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    end: Floats
    best: Floats
    optima: Floats
    optima_on_the_way: Floats
    predicted: tuple[PredictedRanks, ...]

    def __post_init__(self) -> None:
        shape = len(self.seeds), len(self.sizes), len(self.ranks)
        if 0 in shape or self.end.shape != shape or self.optima.shape != shape[:2] or len(self.predicted) != shape[1]:
            raise InputError(f"a curve of {shape} seeds, sizes and ranks has others in its losses", "run it again")


@dataclass(frozen=True, eq=False)
class StudentsData:
    """What the part leaves for figures.

    Attributes:
        full_rank: min(m, n) of the teacher's largest layer.
        alpha: Exponents of its layers' spectra.
        curves: By name, that of the labels first.
    """

    full_rank: int
    alpha: tuple[float, ...]
    curves: dict[str, CurveData]

    def __post_init__(self) -> None:
        if not any(curve.objective == LABELS for curve in self.curves.values()):
            raise InputError("no curve is of labels", "run it again")


def students(settings: GridSettings, seed: int) -> list[StudentConfig]:
    """Return the students of all curves by rank: a batch has factors of its largest rank."""
    configs = [config for curve in curves_of(settings, seed) for config in curve_students(settings, curve)]
    return sorted(configs, key=lambda config: config.rank)


def power(settings: GridSettings) -> dict[str, float]:
    """Return the planned power of √n by curve, without those that say themselves that theirs is low."""
    judged = {curve.name for curve in curves_of(replace(settings, underpowered=False), 0) if not curve.underpowered}
    return {
        curve.name: _plan(settings, curve, 0.5, None).power
        for curve in curves_of(settings, 0)
        if curve.name in judged and len(curve.sizes) >= _LEAST_SIZES
    }


def run(ctx: Context[GridSettings]) -> PartResult:
    """Train the students and judge where their held-out loss is least."""
    curves = curves_of(ctx.settings, ctx.seed)
    trained = ctx.train(students(ctx.settings, ctx.seed))
    by_name = {student.identity: student for student in trained}
    losses = [
        curve_losses(curve, [by_name[config.identity] for config in curve_students(ctx.settings, curve)])
        for curve in curves
    ]
    spectra = teacher_spectra(ctx, trained[0].config)
    decay, limit, length = decay_of(spectra), full_rank(spectra), trained[0].config.length
    findings = [_decay_finding(decay)]
    data: dict[str, CurveData] = {}
    for grid in losses:
        predicted = predicted_ranks(spectra, grid.curve.objective, grid.curve.sizes, length)
        findings += _turning(ctx, grid, limit)
        findings += _exponents(ctx, grid, decay, limit)
        findings.append(_comparison(ctx, grid, predicted, limit))
        data[grid.curve.name] = _curve_data(grid, predicted)
    return PartResult(tuple(findings), StudentsData(limit, decay.exponents, data), tuple(trained))


def _curve_data(losses: CurveLosses, predicted: tuple[PredictedRanks, ...]) -> CurveData:
    curve = losses.curve
    return CurveData(
        curve.objective,
        curve.start,
        curve.ranks,
        curve.sizes,
        curve.seeds,
        np.round(losses.end, 5),
        np.round(losses.best, 5),
        losses.optima(losses.end),
        losses.optima(losses.best),
        predicted,
    )


def _decay_finding(decay: Decay) -> Finding:
    """Judge whether ε² typically falls like 1/r or faster: whether α ≥ 1 in most layers that have a power law."""
    what = "ε² of the teacher's linear layers falls like 1/r or faster: 2α − 1 ≥ 1"
    lawful = [span for span, fits in zip(decay.intervals, decay.fits, strict=True) if fits]
    slower, faster = (sum(test) for test in ([high < 1 for _, high in lawful], [low >= 1 for low, _ in lawful]))
    if not lawful:
        instance, reason = Instance.NOT_APPLICABLE, "No layer has a power law."
    elif slower > _TYPICAL * len(lawful):
        instance, reason = Instance.VIOLATED, f"α lies below 1 in {slower} of {len(lawful)} layers."
    elif faster > _TYPICAL * len(lawful):
        instance, reason = Instance.HOLDS, f"α is at least 1 in {faster} of {len(lawful)} layers."
    else:
        instance, reason = Instance.INCONCLUSIVE, f"α is below 1 in {slower} and above in {faster} of {len(lawful)}."
    return stated(
        "corollary-1-decay",
        Form.PRINTED,
        what,
        instance,
        *(reason, decay.sentence, "Typical: more than half of the layers with a power law."),
        n_seeds=len(lawful),
        alpha=0.025,
        method="Hill's estimator layer by layer, with its test of fit",
        measured=decay.median if decay.exponents else None,
        interval=(min(decay.exponents), max(decay.exponents)) if decay.exponents else None,
        bound=1.0,
        unit="α",
        key="decay",
    )


def _turning(ctx: Context[GridSettings], losses: CurveLosses, limit: int) -> list[Finding]:
    """Return, for each size, whether there is a U; the measured number is the gain of the best inner rank."""
    findings = []
    for number, size in enumerate(losses.curve.sizes):
        verdict = turning_verdict(losses, number, limit, ctx.settings.alpha)
        rows: Any = verdict.evidence
        best = max(rows.rows, key=lambda row: row.mean)
        findings.append(
            Finding(
                "eq-17",
                Form.PRINTED,
                verdict.statement,
                verdict,
                measured=best.mean,
                interval=best.interval,
                bound=0.0,
                unit="nats per token below the better end",
                key="turns",
                of={"curve": losses.curve.name, "size": size},
            )
        )
    return findings


def _plan(settings: GridSettings, curve: Curve, claimed: float, decay: Decay | None) -> ExponentPlan:
    return plan_exponent(
        claimed,
        curve.sizes,
        n_seeds=len(curve.seeds),
        sd_log=settings.sd_log,
        margin=settings.margin,
        alpha=settings.alpha,
        decay_exponent=decay.median if decay is not None and decay.exponents else None,
        allow_low_power=curve.underpowered,
    )


def _exponents(ctx: Context[GridSettings], losses: CurveLosses, decay: Decay, limit: int) -> list[Finding]:
    """Judge √n for every curve and, where labels teach, what the corrected forms put in its place."""
    curve = losses.curve
    if len(curve.sizes) < _LEAST_SIZES:
        return []

    def slope(equation: str, form: Form, claimed: float, law: str, in_words: str) -> Finding:
        what = f"{curve.name}: r* ∝ {in_words}"
        plan = _plan(ctx.settings, curve, claimed, decay)
        optima, generator = losses.optima(losses.end), ctx.generator("bootstrap", what)
        verdict = exponent_verdict(plan, optima, generator, grid=curve.ranks, limit=limit, statement=what)
        of = {"curve": curve.name, "law": law}
        finding = slope_finding(equation, form, what, verdict, claimed, "exponent of n", key="exponent", of=of)
        lost = [f"{losses.n_failed} students of this curve failed."] if losses.n_failed else []
        return finding.because(f"Planned power {plan.power:.2f}.", decay.sentence, *lost)

    findings = [slope("eq-17", Form.PRINTED, 0.5, "1/2", "√n")]
    if curve.objective == LABELS:
        findings += [
            slope("corollary-1-proof", Form.CORRECTED, 0.25, "1/4", "n^¼, Theorem 2 as printed"),
            slope("corollary-1-proof", Form.CORRECTED, 1 / 3, "1/3", "n^⅓, Theorem 2 corrected"),
            _by_decay(curve, decay, slope),
            _correlation(ctx, losses),
        ]
    return findings


def _by_decay(curve: Curve, decay: Decay, slope: Callable[[str, Form, float, str, str], Finding]) -> Finding:
    """Judge the exponent of the teacher's own spectra, where it has one."""
    equation, form, law, in_words = "corollary-1-decay", Form.CORRECTED, "1/2α", "n^(1/2α̂)"
    try:
        if not any(decay.fits):
            raise InputError("no layer of the teacher has a power law", "")
        exponent = float(tk.spectrum_law(decay.median).exponent)
    except InputError as error:
        what = f"{curve.name}: r* ∝ {in_words}"
        why, of = (f"{error.message}.", decay.sentence), {"curve": curve.name, "law": law}
        return stated(equation, form, what, Instance.NOT_APPLICABLE, *why, key="exponent", of=of)
    return slope(equation, form, exponent, law, f"{in_words}, α̂ = {decay.median:.2f}")


def _correlation(ctx: Context[GridSettings], losses: CurveLosses) -> Finding:
    """Show the correlation of the mean of ln r* with ln n, censored points among them, beside those of any exponent."""
    curve = losses.curve
    what = f"{curve.name}: correlation of ln r* with ln n"
    logs = np.log(losses.optima(losses.end)).mean(axis=0)
    varies = bool(np.isfinite(logs).all() and np.ptp(logs) > 0)
    measured = float(np.corrcoef(logs, np.log(curve.sizes))[0, 1]) if varies else None

    def simulated(name: str, exponent: float) -> float:
        """Return the median correlation of experiments of this size, were this the exponent."""
        generator, n_seeds = ctx.generator("correlation", name), len(curve.seeds)
        draws = simulated_correlations(
            curve.sizes, exponent, ctx.settings.sd_log, generator, n_seeds=n_seeds, n_draws=400
        )
        return float(np.median(draws))

    medians = {name: simulated(name, exponent) for name, exponent in (*RIVALS, ("1", 1.0))}
    listed = ", ".join(f"{value:.2f} for an exponent of {name}" for name, value in medians.items())
    return stated(
        "correlation",
        Form.PRINTED,
        what,
        Instance.UNFALSIFIABLE,
        f"Simulated experiments of this size have median correlations of {listed}: it tells none from another.",
        n_seeds=len(curve.seeds),
        method="simulated correlations",
        measured=measured,
        bound=0.97,
        unit="correlation",
        key="correlation",
        of={"curve": curve.name},
    )


def _comparison(
    ctx: Context[GridSettings], losses: CurveLosses, predicted: tuple[PredictedRanks, ...], limit: int
) -> Finding:
    """Compare r* with what the spectra predict; no factor was registered, so that nothing passes or fails."""
    curve = losses.curve
    optima = losses.optima(losses.end)
    usable = np.isfinite(optima) & ~censored_points(optima, curve.ranks, limit)
    kept = usable.all(axis=0)
    what = f"{curve.name}: r* of the students over the rank that their teacher's spectra predict"
    reasons = [
        "A comparison: the statement registers no factor.",
        f"{int(kept.sum())} of {kept.size} sizes have no censored or failed point.",
        "Predicted by size: " + ", ".join(f"{row.size}: {row.uniform}" for row in predicted) + ".",
    ]
    measured, interval = None, None
    if kept.any():
        logs = np.log(optima[:, kept] / np.array([row.uniform for row in predicted], dtype=float)[kept]).mean(axis=1)
        measured = float(np.exp(logs.mean()))
        if logs.size > 1:
            _, low, high = student_interval(logs, 1 - 2 * ctx.settings.alpha)
            interval = (float(np.exp(low)), float(np.exp(high)))
    return stated(
        "recommended-rank",
        Form.INSTRUMENT,
        what,
        Instance.UNFALSIFIABLE,
        *reasons,
        n_seeds=len(curve.seeds),
        method="ratio over paired sizes",
        measured=measured,
        interval=interval,
        bound=1.0,
        unit="ratio",
        key="predicted-rank",
        of={"curve": curve.name},
    )


@dataclass(frozen=True, eq=False)
class CurveLosses:
    """The held-out losses of one curve's students, nats per token; NaN where one failed.

    Attributes:
        curve: Their grid.
        end: ``[seeds, sizes, ranks]`` when training ended.
        best: ``[seeds, sizes, ranks]`` the least of those that were measured on the way, start and end among them.
        n_failed: Students that failed.
    """

    curve: Curve
    end: Floats
    best: Floats
    n_failed: int

    def optima(self, losses: Floats) -> Floats:
        """Return the rank of least loss ``[seeds, sizes]``; NaN where a student of that row failed."""
        whole = np.asarray(np.isfinite(losses).all(axis=2, keepdims=True))
        least = np.where(whole, losses, 0.0).argmin(axis=2)
        return np.where(whole[:, :, 0], np.array(self.curve.ranks, dtype=np.float64)[least], np.nan)


def curve_losses(curve: Curve, students: Sequence[TrainedStudent]) -> CurveLosses:
    """Return the losses of the students of :func:`validation.claims.grids.curve_students`, in their order."""
    shape = len(curve.seeds), len(curve.sizes), len(curve.ranks)
    losses = [student.loss_curve("held_out", _TERM) for student in students]
    end, best = [loss.end for loss in losses], [loss.least for loss in losses]
    n_failed = sum(bool(student.failure) for student in students)
    return CurveLosses(curve, np.array(end).reshape(shape), np.array(best).reshape(shape), n_failed)


def turning_verdict(losses: CurveLosses, size: int, full_rank: int, alpha: float) -> Verdict:
    """Judge whether the loss at one sample size is least at an inner rank, over paired seeds.

    For each inner rank, a seed gives the lower loss of the two ends of the grid less that of this rank: positive in the
    mean only if both ends are worse. HOLDS where one inner rank is better (Holm's correction over them). The lower of
    two noisy ends lies below both means, so that this gain cannot show the contrary: NOT_APPLICABLE where one end is
    better than every inner rank (alpha/2 for each end): then there is no trade-off to place r* at this size.

    Args:
        losses: Of the curve.
        size: Number of the sample size in the curve.
        full_rank: min(m, n) of the largest layer.
        alpha: One-sided level.
    """
    curve, end = losses.curve, losses.end[:, size]
    gains = (np.minimum(end[:, 0], end[:, -1])[:, None] - end[:, 1:-1]).T
    what = f"{curve.name}, n = {curve.sizes[size]}: the loss is least at an inner rank"
    names = [f"rank {rank}" for rank in curve.ranks[1:-1]]
    # losses of one seed; the lower of two normal ends has a skewness of −0.14 at most, which t tests bear
    none = expectation_verdict(gains, 0.0, law="symmetric", alpha=alpha, names=names, statement=f"not: {what}")
    at_end = any(_end_is_least(end, place, alpha / 2) for place in (0, -1))
    means = np.nanmean(end, axis=0) if np.isfinite(end).any() else np.full(len(curve.ranks), np.nan)
    instance, reason = _turned(none.instance is Instance.VIOLATED, at_end, curve, means)
    reasons = [reason, f"Mean losses: {', '.join(f'{r}: {x:.4f}' for r, x in zip(curve.ranks, means, strict=True))}."]
    if curve.ranks[-1] < full_rank:
        reasons.append(f"The largest rank tried is {curve.ranks[-1]}, below full rank {full_rank}.")
    if losses.n_failed:
        reasons.append(f"{losses.n_failed} students of this curve failed.")
    return Verdict(
        what,
        instance,
        reasons=tuple(reasons),
        n_seeds=none.n_seeds,
        alpha=alpha,
        method="inner ranks against both ends of the grid, paired seeds, Holm over inner ranks",
        evidence=none.evidence,
    )


def _end_is_least(losses: Floats, place: int, alpha: float) -> bool:
    """Return whether one end of the grid is shown to be no worse than any inner rank, losses ``[seeds, ranks]``."""
    gains = (losses[:, [place]] - losses[:, 1:-1]).T
    return expectation_verdict(gains, 0.0, law="symmetric", alpha=alpha).instance is Instance.HOLDS


def _turned(inner: bool, at_end: bool, curve: Curve, means: Floats) -> tuple[Instance, str]:
    """Return the verdict from whether an inner rank beats both ends, and whether one end beats all inner ranks."""
    if inner:
        return Instance.HOLDS, f"An inner rank beats both ends; the mean is least at {_least(curve, means)}."
    if at_end:
        return (
            Instance.NOT_APPLICABLE,
            f"No inner rank is better: the mean is least at {_least(curve, means)}, and r* is censored there.",
        )
    return Instance.INCONCLUSIVE, "Over these seeds no inner rank is surely better or worse than the ends."


def _least(curve: Curve, means: Floats) -> str:
    return f"rank {curve.ranks[int(np.nanargmin(means))]}" if np.isfinite(means).any() else "no rank"
