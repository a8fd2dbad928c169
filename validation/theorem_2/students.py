"""Theorem 2 on trained students: the gap between held-out and train blocks over rank, sample size and seeds.

The unit of n is the block: the tokens of one are not independent. The students are those of the experiment on the
optimal rank that learn from labels. A gap is there before any training: train and held-out blocks are not equally
hard, and the teacher has read the train blocks. The bounds are about the whole gap; slopes are taken of it and of what
training adds, on the same blocks. Beside the settings of :mod:`validation.claims.rank_grid`:

- ``alpha``: error rate of each family of decisions;
- ``gap_sd_log``: expected standard deviation of ln gap over seeds, for the plans;
- ``gap_margin``: largest difference from a claimed exponent that counts as agreement;
- ``underpowered``: whether a planned power below 0.8 is accepted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import theorykit as tk
from theorykit.arguments import Floats
from theorykit.verdicts import Instance, Verdict, order_verdict, probability_verdict, slope_power, trivial_bound
from validation.claims.experiment import Context, PartResult, Settings
from validation.claims.finding import Finding, Form
from validation.claims.grids import needed
from validation.claims.rank_grid import label_curve, label_grid
from validation.claims.trained import TrainedStudent
from validation.theorem_2.linearity import Growth, gap_growth, growth_findings, linearity_power
from validation.theorem_2.slopes import Slopes, gap_slopes, mean_intervals, slope_data, slope_finding
from validation.training.config import StudentConfig
from validation.training.model_shape import model_shape

_ASSUMED = (
    "A transformer is no linear layer, cross-entropy is not bounded, the error is not Lipschitz in the logits, and "
    "blocks of one text are not independent"
)


@dataclass(frozen=True)
class Gaps:
    """What was measured of one loss.

    Attributes:
        name: Of the loss, with its unit.
        values: Held-out less train, ``[seeds, sizes, ranks]``; NaN where a student failed.
        trivial: What a guess that is uniform over the vocabulary has.
    """

    name: str
    values: Floats
    trivial: float


@dataclass(frozen=True)
class Bounds:
    """Eq 19 with constants 1 and what it competes with, each ``[sizes, ranks]``.

    Attributes:
        delta: δ, the smallest that so many seeds can show.
        printed: As printed, for the smallest layer.
        rank_free: What follows with the same constants and no rank: 1/√N in the place of r(m + n) log N/√N.
        confidence: Last term of the corrected bound alone, for losses in [0, 1]: the least that it can be.
    """

    delta: float
    printed: Floats
    rank_free: Floats
    confidence: Floats


def students(settings: Settings, seed: int) -> list[StudentConfig]:
    """Return the students by rank: a batch has factors of its largest rank."""
    return sorted(label_grid(settings, seed), key=lambda one: one.rank)


def power(settings: Settings) -> dict[str, float]:
    """Return the planned powers of the growth with r and of the slopes in n."""
    curve = label_curve(settings, 0)
    alpha, spread, margin = (float(needed(settings, name)) for name in ("alpha", "gap_sd_log", "gap_margin"))
    falling = slope_power(curve.sizes, len(curve.seeds), spread, margin, alpha / len(curve.ranks))
    return {
        "gap linear in r, mean over n": linearity_power(settings),
        "slope of the gap in n at each r": float(falling),
    }


def run(ctx: Context) -> PartResult:
    """Train the students and judge their gaps."""
    curve = label_curve(ctx.settings, ctx.seed)
    by_name = {one.identity: one for one in ctx.train(students(ctx.settings, ctx.seed))}
    trained = tuple(by_name[one.identity] for one in label_grid(ctx.settings, ctx.seed))
    layout = len(curve.seeds), len(curve.sizes), len(curve.ranks)
    shape = model_shape(str(needed(ctx.settings, "teacher")))
    vocabulary = shape.matrices[-1].outputs
    nats = Gaps(
        "cross-entropy, nats per token",
        _measured(trained, layout, "gap", "language_model"),
        math.log(2.0) * float(trivial_bound("bits_per_token", vocabulary=vocabulary)),
    )
    errors = Gaps(
        "next-token error",
        -_measured(trained, layout, "gap", "accuracy"),
        float(trivial_bound("next_token_error", vocabulary=vocabulary)),
    )
    gained = Gaps(
        "cross-entropy gained in training, nats per token",
        nats.values - _measured(trained, layout, "gap", "language_model", first=True),
        nats.trivial,
    )
    rows, columns = min(((one.inputs, one.outputs) for one in shape.matrices[:-1]), key=sum)
    bounds = _bounds(ctx.settings, curve.ranks, curve.sizes, (rows, columns), layout[0])
    lost = _lost(trained)
    findings = [_as_printed(nats, bounds, lost)]
    findings += [_with_constant(gaps, bounds, ctx.settings, (rows, columns), lost) for gaps in (nats, errors)]
    findings.append(_corrected(errors, bounds, lost))
    grown = {gaps.name: (gap_growth(ctx, gaps.values), gap_slopes(ctx, gaps.values)) for gaps in (errors, nats, gained)}
    for name, (growth, slopes) in grown.items():
        findings += [*growth_findings(growth, name, lost), slope_finding(slopes, name, lost)]
    data = {
        "ranks": curve.ranks,
        "sizes": curve.sizes,
        "seeds": curve.seeds,
        "unit_of_n": f"blocks of {needed(ctx.settings, 'length')} tokens",
        "smallest_layer": [rows, columns],
        "delta": bounds.delta,
        "printed": bounds.printed,
        "rank_free": bounds.rank_free,
        "corrected_without_complexity": bounds.confidence,
        "held_out_accuracy": mean_intervals(_measured(trained, layout, "held_out", "accuracy")),
        "gaps": [_curves(gaps, *grown[gaps.name]) for gaps in (nats, errors, gained)],
    }
    return PartResult(tuple(findings), data, trained)


def _measured(
    trained: tuple[TrainedStudent, ...], layout: tuple[int, int, int], part: str, name: str, *, first: bool = False
) -> Floats:
    """Return what was measured at the end, or at the start, ``[seeds, sizes, ranks]``; NaN where a student failed."""
    curves = [student.loss_curve(part, name) for student in trained]
    return np.array([curve.start if first else curve.end for curve in curves]).reshape(layout)


def _lost(trained: tuple[TrainedStudent, ...]) -> tuple[str, ...]:
    failed = [one for one in trained if one.failure]
    if not failed:
        return ()
    return (f"{len(failed)} of {len(trained)} students failed, the first of them: {failed[0].failure}.",)


def _bounds(
    settings: Settings, ranks: tuple[int, ...], sizes: tuple[int, ...], shape: tuple[int, int], n_seeds: int
) -> Bounds:
    alpha = float(needed(settings, "alpha"))
    delta = 1.0 - (0.999 * alpha) ** (1.0 / n_seeds)  # so that n_seeds without a violation show it at level alpha
    rank, count = np.array(ranks)[None, :], np.array(sizes)[:, None]
    rank = np.minimum(rank, min(shape))  # a layer has no more
    printed = tk.printed_generalization_bound(rank, count, shape=shape, delta=delta)
    # constant 1 of the complexity term is 2ρBR = 1 at least, with which the rank-free bound is B R ρ/√N = 1/(2√N)
    free = 2.0 * tk.rank_free_rademacher_bound(count, frobenius_bound=1.0, input_norm=0.5)
    least = tk.generalization_bound(0.0, 0.0, count, delta=delta).gap_bound
    full = (len(sizes), len(ranks))
    return Bounds(
        delta,
        np.broadcast_to(printed.gap_bound, full),
        np.broadcast_to(free + np.asarray(printed.confidence_term), full),
        np.broadcast_to(least, full),
    )


def _as_printed(gaps: Gaps, bounds: Bounds, lost: tuple[str, ...]) -> Finding:
    what = f"gap of the {gaps.name}, held against eq 19 without a constant"
    configurations = _flat(gaps.values)
    verdict = order_verdict(configurations, bounds.printed.ravel(), statement=what)
    return _finding(Form.PRINTED, what, _noted(verdict, lost), gaps, bounds.printed)


def _with_constant(
    gaps: Gaps, bounds: Bounds, settings: Settings, shape: tuple[int, int], lost: tuple[str, ...]
) -> Finding:
    what = f"gap of the {gaps.name}, held against eq 19 with both constants 1 for one layer of {shape[0]} × {shape[1]}"
    measured = gaps.values[np.isfinite(gaps.values)]
    above = int((gaps.values > bounds.rank_free).sum())
    held = probability_verdict(
        _flat(gaps.values),
        bounds.printed.ravel(),
        bounds.delta,
        trivial=np.full(bounds.printed.size, gaps.trivial),
        alpha=float(needed(settings, "alpha")),
        statement=what,
    )
    reasons = (
        f"{_ASSUMED}: eq 19, printed or corrected, is not about these students. Held against it all the same: "
        f"{held.instance}.",
        "Constant 1 is an assumption: the paper gives none. The smallest layer of the model gives the smallest bound.",
        f"The bound is {bounds.printed.min():.3g} to {bounds.printed.max():.3g}; a guess that is uniform over the "
        f"vocabulary has {gaps.trivial:.3g}. With the same constants, 1/√N in the place of r(m + n) log N/√N gives "
        f"{bounds.rank_free.min():.3g} to {bounds.rank_free.max():.3g}; {above} of {measured.size} gaps lie above it.",
        f"δ = {bounds.delta:.3g} is the smallest that {gaps.values.shape[0]} seeds can show; the risk is estimated on "
        "the held-out blocks, the train loss on at most measure_blocks of the train blocks.",
        *lost,
    )
    verdict = replace(_noted(held, reasons), instance=Instance.NOT_APPLICABLE)
    return _finding(Form.PRINTED, what, verdict, gaps, bounds.printed)


def _corrected(gaps: Gaps, bounds: Bounds, lost: tuple[str, ...]) -> Finding:
    """Say why the corrected bound is not about these students, and show the least that it could be."""
    what = f"gap of the {gaps.name}, beside the last term of the corrected bound alone"
    reasons = (
        f"{_ASSUMED}: the corrected bound is not about these students.",
        f"Shown beside it, without any complexity term: 3 sqrt(log(2/δ)/(2N)) at δ = {bounds.delta:.3g}, "
        f"{bounds.confidence.min():.3g} to {bounds.confidence.max():.3g} for losses in [0, 1].",
        *lost,
    )
    verdict = Verdict(what, Instance.NOT_APPLICABLE, reasons=reasons, n_seeds=gaps.values.shape[0], method="none")
    return _finding(Form.CORRECTED, what, verdict, gaps, bounds.confidence)


def _finding(form: Form, what: str, verdict: Verdict, gaps: Gaps, bound: Floats) -> Finding:
    """Return a finding with the numbers of the configuration of the largest mean gap over its bound."""
    means, lower, upper = (np.array(part) for part in mean_intervals(gaps.values))
    ratios = np.where(np.isfinite(means), means / bound, -np.inf)
    place = np.unravel_index(int(np.argmax(ratios)), ratios.shape)
    return Finding(
        "eq-19",
        form,
        what,
        verdict,
        measured=float(means[place]),
        interval=(float(lower[place]), float(upper[place])),
        bound=float(bound[place]),
        unit=gaps.name,
    )


def _noted(verdict: Verdict, reasons: tuple[str, ...]) -> Verdict:
    return replace(verdict, reasons=(*verdict.reasons, *reasons))


def _flat(values: Floats) -> Floats:
    """Return ``[configurations, seeds]``."""
    return np.asarray(values.reshape(values.shape[0], -1).T)


def _curves(gaps: Gaps, growth: Growth, slopes: Slopes) -> Mapping[str, Any]:
    mean, lower, upper = mean_intervals(gaps.values)
    return {
        "loss": gaps.name,
        "trivial": gaps.trivial,
        "mean": mean,
        "lower": lower,
        "upper": upper,
        "by_seed": gaps.values,
        "growth": growth.data,
        "slopes_in_n": slope_data(slopes),
    }
