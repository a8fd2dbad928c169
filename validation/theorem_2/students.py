"""Theorem 2 on trained students: the gap between held-out and train blocks over rank, sample size and seeds.

The unit of n is the block: the tokens of one are not independent. The students are those of the experiment on the
optimal rank that learn from labels. A gap is there before any training: train and held-out blocks are not equally
hard, and the teacher has read the train blocks. The bounds are about the whole gap; slopes are taken of it and of what
training adds, on the same blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

import theorykit as tk
from theorykit.arguments import Floats
from theorykit.errors import InputError
from theorykit.verdicts import (
    Form,
    Instance,
    Verdict,
    order_verdict,
    probability_verdict,
    slope_power,
    student_interval,
    trivial_bound,
)
from validation.claims.experiment import Context, PartResult
from validation.claims.finding import Finding
from validation.claims.grids import Curve, label_curve, label_grid
from validation.claims.model_shape import model_shape
from validation.claims.trained import TrainedStudent
from validation.theorem_2.slopes import (
    GapSettings,
    Numbers,
    gap_growth,
    gap_slopes,
    growth_findings,
    linearity_power,
    slopes_finding,
)
from validation.training.config import StudentConfig

_ASSUMED = (
    "A transformer is no linear layer, cross-entropy is not bounded, the error is not Lipschitz in the logits, and "
    "blocks of one text are not independent"
)


class Loss(StrEnum):
    """Of which there is a gap, with its unit."""

    NATS = "cross-entropy, nats per token"
    ERROR = "next-token error"
    GAINED = "cross-entropy gained in training, nats per token"


@dataclass(frozen=True, eq=False)
class GapData:
    """What one loss leaves for figures.

    Attributes:
        loss: Of which there is a gap.
        trivial: What a guess that is uniform over the vocabulary has.
        mean: Over the seeds ``[sizes, ranks]``.
        lower: End of its 95 % interval.
        upper: The other end.
        by_seed: Held-out less train ``[seeds, sizes, ranks]``; NaN where a student failed.
        growth: p of a + b r^p with its interval, of the mean over n and at each n; None where no growth is shown.
        slopes_in_n: At each rank, with their intervals; None where there is none.
    """

    loss: Loss
    trivial: float
    mean: Floats
    lower: Floats
    upper: Floats
    by_seed: Floats
    growth: dict[str, Any]
    slopes_in_n: Sequence[Numbers | None]


@dataclass(frozen=True, eq=False)
class StudentsData:
    """What the part leaves for figures.

    Attributes:
        ranks: Increasing.
        sizes: Train blocks, increasing.
        seeds: Of the students.
        unit_of_n: In words.
        smallest_layer: Inputs and outputs of the layer that the bounds are computed for.
        delta: δ of the bounds, the smallest that so many seeds can show.
        printed: Eq 19 with constants 1 ``[sizes, ranks]``.
        rank_free: What follows with the same constants and no rank: 1/√N in the place of r(m + n) log N/√N.
        corrected_without_complexity: Last term of the corrected bound alone, for losses in [0, 1]: the least it can be.
        held_out_accuracy: Mean over the seeds, and both ends of its 95 % interval.
        gaps: One for each loss.
    """

    ranks: tuple[int, ...]
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    unit_of_n: str
    smallest_layer: tuple[int, int]
    delta: float
    printed: Floats
    rank_free: Floats
    corrected_without_complexity: Floats
    held_out_accuracy: tuple[Floats, Floats, Floats]
    gaps: tuple[GapData, ...]

    def __post_init__(self) -> None:
        """Refuse a record in which a loss, a size or a rank is missing."""
        shape = len(self.sizes), len(self.ranks)
        arrays = [self.printed, self.rank_free, *self.held_out_accuracy, *(gap.mean for gap in self.gaps)]
        if 0 in shape or any(values.shape != shape for values in arrays):
            raise InputError(f"gaps or bounds are not of {shape} sizes and ranks", "run it again")
        if {gap.loss for gap in self.gaps} != set(Loss):
            raise InputError("the gap of a loss is missing", "run it again")

    def gap(self, loss: Loss) -> GapData:
        """Return the gap of one loss."""
        return next(gap for gap in self.gaps if gap.loss is loss)


def students(settings: GapSettings, seed: int) -> list[StudentConfig]:
    """Return the students by rank: a batch has factors of its largest rank."""
    return sorted(label_grid(settings, seed), key=lambda config: config.rank)


def power(settings: GapSettings) -> dict[str, float]:
    """Return the planned powers of the growth with r and of the slopes in n."""
    curve = label_curve(settings, 0)
    level = settings.alpha / len(curve.ranks)
    falling = slope_power(curve.sizes, len(curve.seeds), settings.gap_sd_log, settings.gap_margin, level)
    return {
        "gap linear in r, mean over n": linearity_power(settings),
        "slope of the gap in n at each r": float(falling),
    }


def run(ctx: Context[GapSettings]) -> PartResult:
    """Train the students and judge their gaps."""
    settings, curve = ctx.settings, label_curve(ctx.settings, ctx.seed)
    by_name = {student.identity: student for student in ctx.train(students(settings, ctx.seed))}
    trained = tuple(by_name[config.identity] for config in label_grid(settings, ctx.seed))
    *layers, (_, vocabulary) = model_shape(settings.teacher).values()
    gaps = _gaps(curve, trained, vocabulary)
    growth = {loss: gap_growth(ctx, values) for loss, (values, _) in gaps.items()}
    slopes = {loss: gap_slopes(ctx, values) for loss, (values, _) in gaps.items()}
    data = StudentsData(
        curve.ranks,
        curve.sizes,
        curve.seeds,
        f"blocks of {settings.length} tokens",
        *_bounds(settings, curve, min(layers, key=sum)),
        student_interval(_measured(curve, trained, "held_out", "accuracy")),
        tuple(
            GapData(
                loss,
                trivial,
                *student_interval(values),
                values,
                growth[loss].data,
                [slope.numbers for slope in slopes[loss]],
            )
            for loss, (values, trivial) in gaps.items()
        ),
    )
    nats, errors = data.gap(Loss.NATS), data.gap(Loss.ERROR)
    findings = [
        _without_constant(nats, data),
        _with_constant(nats, data, settings.alpha),
        _with_constant(errors, data, settings.alpha),
        _corrected(errors, data),
    ]
    for loss in (Loss.ERROR, Loss.NATS, Loss.GAINED):
        findings += [*growth_findings(growth[loss], loss), slopes_finding(slopes[loss], loss)]
    return PartResult(tuple(finding.because(*_lost(trained)) for finding in findings), data, trained)


def _gaps(curve: Curve, trained: Sequence[TrainedStudent], vocabulary: int) -> dict[Loss, tuple[Floats, float]]:
    """Return the gap ``[seeds, sizes, ranks]`` of each loss, and what a guess uniform over the vocabulary has of it."""
    nats, before = (_measured(curve, trained, "gap", "language_model", row) for row in (-1, 0))
    errors = -_measured(curve, trained, "gap", "accuracy")
    uniform = math.log(2.0) * float(trivial_bound("bits_per_token", vocabulary=vocabulary))
    wrong = float(trivial_bound("next_token_error", vocabulary=vocabulary))
    return {Loss.NATS: (nats, uniform), Loss.ERROR: (errors, wrong), Loss.GAINED: (nats - before, uniform)}


def _measured(curve: Curve, trained: Sequence[TrainedStudent], part: str, name: str, row: int = -1) -> Floats:
    """Return what was measured last, or in another row, ``[seeds, sizes, ranks]``; NaN where a student failed."""
    curves = [student.loss_curve(part, name).values for student in trained]
    shape = len(curve.seeds), len(curve.sizes), len(curve.ranks)
    return np.array([values[row] if values.size else math.nan for values in curves]).reshape(shape)


def _lost(trained: Sequence[TrainedStudent]) -> tuple[str, ...]:
    failed = [student for student in trained if student.failure]
    if not failed:
        return ()
    return (f"{len(failed)} of {len(trained)} students failed, the first of them: {failed[0].failure}.",)


def _bounds(
    settings: GapSettings, curve: Curve, layer: tuple[int, int]
) -> tuple[tuple[int, int], float, Floats, Floats, Floats]:
    """Return the layer, the smallest δ that so many seeds can show, and the bounds on its gap ``[sizes, ranks]``."""
    # so that all seeds without a violation show it at level alpha
    delta = 1.0 - (0.999 * settings.alpha) ** (1.0 / len(curve.seeds))
    count = np.array(curve.sizes)[:, None]
    rank = np.minimum(np.array(curve.ranks)[None, :], min(layer))  # a layer has no more
    printed = tk.printed_generalization_bound(rank, count, shape=layer, delta=delta)
    # constant 1 of the complexity term is 2ρBR = 1 at least, with which the rank-free bound is B R ρ/√N = 1/(2√N)
    free = 2.0 * tk.rank_free_rademacher_bound(count, frobenius_bound=1.0, input_norm=0.5)
    least = tk.generalization_bound(0.0, 0.0, count, delta=delta).gap_bound
    terms = printed.gap_bound, free + np.asarray(printed.confidence_term), least
    first, second, third = (np.broadcast_to(term, (count.size, rank.size)) for term in terms)
    return layer, delta, first, second, third


def _without_constant(gap: GapData, data: StudentsData) -> Finding:
    what = f"gap of the {gap.loss}, held against eq 19 without a constant"
    verdict = order_verdict(_flat(gap.by_seed), data.printed.ravel(), statement=what)
    return _finding(Form.PRINTED, "order", verdict, gap, data.printed)


def _with_constant(gap: GapData, data: StudentsData, alpha: float) -> Finding:
    rows, columns = data.smallest_layer
    what = f"gap of the {gap.loss}, held against eq 19 with both constants 1 for one layer of {rows} × {columns}"
    above, count = int((gap.by_seed > data.rank_free).sum()), int(np.isfinite(gap.by_seed).sum())
    held = probability_verdict(
        _flat(gap.by_seed),
        data.printed.ravel(),
        data.delta,
        trivial=np.full(data.printed.size, gap.trivial),
        alpha=alpha,
        statement=what,
    )
    verdict = replace(held, instance=Instance.NOT_APPLICABLE)
    return _finding(Form.PRINTED, "violations", verdict, gap, data.printed).because(
        f"{_ASSUMED}: eq 19, printed or corrected, is not about these students. Held against it all the same: "
        f"{held.instance}.",
        "Constant 1 is an assumption: the paper gives none. The smallest layer of the model gives the smallest bound.",
        f"The bound is {data.printed.min():.3g} to {data.printed.max():.3g}; a guess that is uniform over the "
        f"vocabulary has {gap.trivial:.3g}. With the same constants, 1/√N in the place of r(m + n) log N/√N gives "
        f"{data.rank_free.min():.3g} to {data.rank_free.max():.3g}; {above} of {count} gaps lie above it.",
        f"δ = {data.delta:.3g} is the smallest that {len(data.seeds)} seeds can show; the risk is estimated on "
        "the held-out blocks, the train loss on at most measure_blocks of the train blocks.",
    )


def _corrected(gap: GapData, data: StudentsData) -> Finding:
    """Say why the corrected bound is not about these students, and show the least that it could be."""
    bound = data.corrected_without_complexity
    what = f"gap of the {gap.loss}, beside the last term of the corrected bound alone"
    verdict = Verdict(what, Instance.NOT_APPLICABLE, n_seeds=len(data.seeds), method="none")
    return _finding(Form.CORRECTED, "last-term", verdict, gap, bound).because(
        f"{_ASSUMED}: the corrected bound is not about these students.",
        f"Shown beside it, without any complexity term: 3 sqrt(log(2/δ)/(2N)) at δ = {data.delta:.3g}, "
        f"{bound.min():.3g} to {bound.max():.3g} for losses in [0, 1].",
    )


def _finding(form: Form, key: str, verdict: Verdict, gap: GapData, bound: Floats) -> Finding:
    """Return a finding with the numbers of the configuration of the largest mean gap over its bound."""
    ratios = np.where(np.isfinite(gap.mean), gap.mean / bound, -np.inf)
    place = np.unravel_index(int(np.argmax(ratios)), ratios.shape)
    return Finding(
        "eq-19",
        form,
        verdict.statement,
        verdict,
        measured=float(gap.mean[place]),
        interval=(float(gap.lower[place]), float(gap.upper[place])),
        bound=float(bound[place]),
        unit=gap.loss,
        key=key,
        of={"loss": gap.loss},
    )


def _flat(values: Floats) -> Floats:
    """Return ``[configurations, seeds]``."""
    return np.asarray(values.reshape(values.shape[0], -1).T)
