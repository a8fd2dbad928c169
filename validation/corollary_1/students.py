"""Corollary 1 on trained students: r* over n for labels, soft targets and both, beside what the spectra predict.

Settings beside those of :mod:`validation.claims.rank_grid`: ``sd_log`` (expected standard deviation of ln r* at one
size), ``margin`` and ``alpha``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

import theorykit as tk
from theorykit.errors import InputError
from theorykit.verdicts import ExponentPlan, Instance, Verdict, exponent_verdict, plan_exponent
from theorykit.verdicts.exponents import censored_points, simulated_correlations
from theorykit.verdicts.planning import RIVALS
from validation.claims.experiment import Context, PartResult, Settings
from validation.claims.finding import Finding, Form
from validation.claims.grids import needed
from validation.claims.rank_grid import LABELS, Curve, curve_students, curves_of
from validation.corollary_1.prediction import Decay, decay_of, full_rank, predicted_ranks, teacher_spectra
from validation.corollary_1.rank_curves import CurveLosses, curve_losses, turning_verdict
from validation.training.config import StudentConfig

_LEAST_SIZES = 3
_TYPICAL = 0.5
"""Share of the layers above which something counts as typical of them."""


def students(settings: Settings, seed: int) -> list[StudentConfig]:
    """Return the students of all curves by rank: a batch has factors of its largest rank."""
    found = [one for curve in curves_of(settings, seed) for one in curve_students(settings, curve)]
    return sorted(found, key=lambda one: one.rank)


def power(settings: Settings) -> dict[str, float]:
    """Return the planned power of √n by curve, without those that say themselves that theirs is low."""
    judged = {curve.name for curve in curves_of({**settings, "underpowered": False}, 0) if not curve.underpowered}
    return {
        curve.name: _plan(settings, curve, 0.5, None).power
        for curve in curves_of(settings, 0)
        if curve.name in judged and len(curve.sizes) >= _LEAST_SIZES
    }


def run(ctx: Context) -> PartResult:
    """Train the students and judge where their held-out loss is least."""
    curves = curves_of(ctx.settings, ctx.seed)
    trained = ctx.train(students(ctx.settings, ctx.seed))
    by_name = {one.identity: one for one in trained}
    losses = [
        curve_losses(curve, [by_name[one.identity] for one in curve_students(ctx.settings, curve)]) for curve in curves
    ]
    spectra = teacher_spectra(ctx, trained[0].config)
    decay, limit, length = decay_of(spectra), full_rank(spectra), trained[0].config.length
    found: list[Finding] = [_decay_finding(decay)]
    data: dict[str, Any] = {}
    for one in losses:
        predicted = predicted_ranks(spectra, one.curve.objective, one.curve.sizes, length)
        found += _turning(ctx, one, limit)
        found += _exponents(ctx, one, decay, limit)
        found.append(_comparison(ctx, one, predicted, limit))
        data[one.curve.name] = _plain(one, predicted)
    return PartResult(
        tuple(found), {"full_rank": limit, "alpha": list(decay.exponents), "curves": data}, tuple(trained)
    )


def _plain(losses: CurveLosses, predicted: list[dict[str, Any]]) -> dict[str, Any]:
    curve = losses.curve
    return {
        "objective": curve.objective,
        "start": curve.start,
        "ranks": list(curve.ranks),
        "sizes": list(curve.sizes),
        "seeds": list(curve.seeds),
        "end": np.round(losses.end, 5).tolist(),
        "best": np.round(losses.best, 5).tolist(),
        "optima": losses.optima(losses.end).tolist(),
        "optima_on_the_way": losses.optima(losses.best).tolist(),
        "predicted": predicted,
    }


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
    verdict = Verdict(
        what,
        instance,
        reasons=(reason, decay.sentence, "Typical: more than half of the layers with a power law."),
        n_seeds=len(lawful),
        alpha=0.025,
        method="Hill's estimator layer by layer, with its test of fit",
    )
    spread = (min(decay.exponents), max(decay.exponents)) if decay.exponents else None
    measured = decay.median if decay.exponents else None
    return Finding(
        "corollary-1-decay", Form.PRINTED, what, verdict, measured=measured, interval=spread, bound=1.0, unit="α"
    )


def _turning(ctx: Context, losses: CurveLosses, limit: int) -> list[Finding]:
    """Return, for each size, whether there is a U; the measured number is the gain of the best inner rank."""
    found = []
    alpha = float(ctx.settings.get("alpha", 0.05))
    for number in range(len(losses.curve.sizes)):
        verdict = turning_verdict(losses, number, limit, alpha)
        rows: Any = verdict.evidence
        best = max(rows.rows, key=lambda row: row.mean)
        found.append(
            Finding(
                "eq-17",
                Form.PRINTED,
                verdict.statement,
                verdict,
                measured=best.mean,
                interval=best.interval,
                bound=0.0,
                unit="nats per token below the better end",
            )
        )
    return found


def _plan(settings: Settings, curve: Curve, claimed: float, decay: Decay | None) -> ExponentPlan:
    return plan_exponent(
        claimed,
        curve.sizes,
        n_seeds=len(curve.seeds),
        sd_log=float(needed(settings, "sd_log")),
        margin=float(needed(settings, "margin")),
        alpha=float(settings.get("alpha", 0.05)),
        decay_exponent=decay.median if decay is not None and decay.exponents else None,
        allow_low_power=curve.underpowered,
    )


def _exponents(ctx: Context, losses: CurveLosses, decay: Decay, limit: int) -> list[Finding]:
    """Judge √n for every curve and, where labels teach, what the corrected forms put in its place."""
    if len(losses.curve.sizes) < _LEAST_SIZES:
        return []
    found = [_slope(ctx, losses, decay, limit, "eq-17", Form.PRINTED, 0.5, "√n")]
    if losses.curve.objective == LABELS:
        for name, law in (("n^¼, Theorem 2 as printed", 0.25), ("n^⅓, Theorem 2 corrected", 1 / 3)):
            found.append(_slope(ctx, losses, decay, limit, "corollary-1-proof", Form.CORRECTED, law, name))
        found += [_by_decay(ctx, losses, decay, limit), _correlation(ctx, losses)]
    return found


def _by_decay(ctx: Context, losses: CurveLosses, decay: Decay, limit: int) -> Finding:
    key, form, name = "corollary-1-decay", Form.CORRECTED, "n^(1/2α̂)"
    try:
        if not any(decay.fits):
            raise InputError("no layer of the teacher has a power law", "")
        exponent = float(tk.spectrum_law(decay.median).exponent)
    except InputError as error:
        what = f"{losses.curve.name}: r* ∝ {name}"
        verdict = Verdict(what, Instance.NOT_APPLICABLE, reasons=(f"{error.message}.", decay.sentence))
        return Finding(key, form, what, verdict)
    return _slope(ctx, losses, decay, limit, key, form, exponent, f"{name}, α̂ = {decay.median:.2f}")


def _slope(
    ctx: Context, losses: CurveLosses, decay: Decay, limit: int, key: str, form: Form, claimed: float, name: str
) -> Finding:
    curve, what = losses.curve, f"{losses.curve.name}: r* ∝ {name}"
    plan = _plan(ctx.settings, curve, claimed, decay)
    verdict = exponent_verdict(
        plan,
        losses.optima(losses.end),
        ctx.generator("bootstrap", what),
        grid=curve.ranks,
        limit=limit,
        statement=what,
    )
    lost = [f"{losses.n_failed} students of this curve failed."] if losses.n_failed else []
    reasons = (*verdict.reasons, f"Planned power {plan.power:.2f}.", decay.sentence, *lost)
    evidence: Any = verdict.evidence
    return Finding(
        key,
        form,
        what,
        replace(verdict, reasons=reasons),
        measured=None if evidence is None else evidence.slope,
        interval=None if evidence is None else evidence.equivalence_interval,
        bound=claimed,
        unit="exponent of n",
    )


def _correlation(ctx: Context, losses: CurveLosses) -> Finding:
    """Show the correlation of the mean of ln r* with ln n, censored points among them, beside those of any exponent."""
    curve = losses.curve
    what = f"{curve.name}: correlation of ln r* with ln n"
    logs = np.log(losses.optima(losses.end)).mean(axis=0)
    varies = bool(np.isfinite(logs).all() and np.ptp(logs) > 0)
    measured = float(np.corrcoef(logs, np.log(curve.sizes))[0, 1]) if varies else None
    options = {"n_seeds": len(curve.seeds), "n_draws": 400}
    spread = float(needed(ctx.settings, "sd_log"))
    medians = {
        name: float(
            np.median(
                simulated_correlations(curve.sizes, exponent, spread, ctx.generator("correlation", name), **options)
            )
        )
        for name, exponent in (*RIVALS, ("1", 1.0))
    }
    shown = ", ".join(f"{value:.2f} for an exponent of {name}" for name, value in medians.items())
    verdict = Verdict(
        what,
        Instance.UNFALSIFIABLE,
        reasons=(
            f"Simulated experiments of this size have median correlations of {shown}: it tells none from another.",
        ),
        n_seeds=len(curve.seeds),
        method="simulated correlations",
    )
    return Finding("correlation", Form.PRINTED, what, verdict, measured=measured, bound=0.97, unit="correlation")


def _comparison(ctx: Context, losses: CurveLosses, predicted: list[dict[str, Any]], limit: int) -> Finding:
    """Compare r* with what the spectra predict; no factor was registered, so that nothing passes or fails."""
    from scipy.stats import t

    curve = losses.curve
    optima = losses.optima(losses.end)
    usable = np.isfinite(optima) & ~censored_points(optima, curve.ranks, limit)
    kept = usable.all(axis=0)
    what = f"{curve.name}: r* of the students over the rank that their teacher's spectra predict"
    reasons = [
        "A comparison: the statement registers no factor.",
        f"{int(kept.sum())} of {kept.size} sizes have no censored or failed point.",
        "Predicted by size: " + ", ".join(f"{row['size']}: {row['uniform']}" for row in predicted) + ".",
    ]
    measured, interval = None, None
    if kept.any():
        logs = np.log(optima[:, kept] / np.array([row["uniform"] for row in predicted], dtype=float)[kept]).mean(axis=1)
        measured = float(np.exp(logs.mean()))
        if logs.size > 1:
            level = 1 - float(ctx.settings.get("alpha", 0.05))
            reach = float(t.ppf(level, logs.size - 1) * logs.std(ddof=1) / np.sqrt(logs.size))
            interval = (float(measured * np.exp(-reach)), float(measured * np.exp(reach)))
    verdict = Verdict(
        what, Instance.UNFALSIFIABLE, reasons=tuple(reasons), n_seeds=len(curve.seeds), method="ratio over paired sizes"
    )
    return Finding(
        "recommended-rank",
        Form.INSTRUMENT,
        what,
        verdict,
        measured=measured,
        interval=interval,
        bound=1.0,
        unit="ratio",
    )
