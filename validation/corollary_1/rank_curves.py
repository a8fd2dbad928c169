"""Held-out loss over rank and sample size, as arrays: where it is least, and whether it turns at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from theorykit.arguments import Floats
from theorykit.verdicts import Instance, Verdict, expectation_verdict
from validation.claims.grids import Curve
from validation.claims.trained import TrainedStudent

_TERM = "language_model"
"""Next-token loss against the text, whatever the student was taught with: one scale for all objectives."""


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
    return CurveLosses(
        curve,
        np.array([loss.end for loss in losses]).reshape(shape),
        np.array([loss.least for loss in losses]).reshape(shape),
        sum(bool(one.failure) for one in students),
    )


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
    curve, found = losses.curve, losses.end[:, size]
    gains = (np.minimum(found[:, 0], found[:, -1])[:, None] - found[:, 1:-1]).T
    what = f"{curve.name}, n = {curve.sizes[size]}: the loss is least at an inner rank"
    names = [f"rank {rank}" for rank in curve.ranks[1:-1]]
    none = expectation_verdict(gains, 0.0, alpha=alpha, names=names, statement=f"not: {what}")
    at_end = any(_end_is_least(found, end, alpha / 2) for end in (0, -1))
    means = np.nanmean(found, axis=0) if np.isfinite(found).any() else np.full(len(curve.ranks), np.nan)
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


def _end_is_least(found: Floats, end: int, alpha: float) -> bool:
    """Return whether one end of the grid is shown to be no worse than any inner rank, losses ``[seeds, ranks]``."""
    gains = (found[:, [end]] - found[:, 1:-1]).T
    return expectation_verdict(gains, 0.0, alpha=alpha).instance is Instance.HOLDS


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
