"""Limits of the mean of bounded values that hold for every law, skewed ones too: Hoeffding's inequality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from theorykit.arguments import Floats
from theorykit.errors import InputError
from theorykit.verdicts.samples import ROUNDING

_HALVINGS = 60


@dataclass(frozen=True)
class BoundedMeanLimits:
    """Means over the last axis with one-sided limits of level at least 1 − alpha for values in [a, b]; all ``[k]``.

    P(mean of n ≥ x) ≤ exp(−n KL(x‖μ)) for every x ≥ μ, with values and μ scaled to [0, 1] and KL the divergence of
    two coins (Hoeffding 1963, Theorem 1): an upper bound for every law on [a, b].

    Attributes:
        mean: Sample means.
        lower: One-sided lower limits.
        upper: One-sided upper limits.
        deterministic: All False: equal values are no special case here.
        support: (a, b), each ``[k]``.
        n: Values per mean.
    """

    mean: Floats
    lower: Floats
    upper: Floats
    deterministic: NDArray[np.bool_]
    support: tuple[Floats, Floats]
    n: int

    def p_above(self, threshold: Floats) -> Floats:
        """Return one-sided p-values of H0: E ≤ threshold."""
        low, high = self.support
        slack = ROUNDING * np.maximum(1.0, np.maximum(np.abs(low), np.abs(high)) / (high - low))
        with np.errstate(over="ignore"):
            mean, limit = (self.mean - low) / (high - low), (threshold - low) / (high - low)
        p_values = np.exp(-self.n * _divergence(mean, np.clip(limit, 0.0, 1.0)))
        return np.where(limit < -slack, 0.0, np.where(mean > limit + slack, p_values, 1.0))


def _divergence(mean: Floats, limit: Floats) -> Floats:
    """Return KL(x‖μ) of two coins, in nats."""
    from scipy.special import rel_entr

    return np.asarray(rel_entr(mean, limit) + rel_entr(1 - mean, 1 - limit), dtype=np.float64)


def _upper_limit(mean: Floats, cost: float) -> Floats:
    """Return the largest μ in [x, 1] with KL(x‖μ) ≤ cost, from above."""
    inside, outside = mean, np.ones_like(mean)
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        near = _divergence(mean, middle) <= cost
        inside, outside = np.where(near, middle, inside), np.where(near, outside, middle)
    return outside


def bounded_mean_limits(values: Floats, support: tuple[Floats, Floats], alpha: float) -> BoundedMeanLimits:
    """Compute means and Hoeffding limits over the last axis, each one-sided of level at least 1 − alpha.

    Args:
        values: ``[k, n]`` independent values of one law per row.
        support: (lowest, highest) possible value, each ``[k]``, finite.
        alpha: In (0, 1).

    Raises:
        InputError: an infinite or empty support, or a value outside it.

    References:
        Hoeffding (1963), J. Amer. Statist. Assoc. 58, Theorem 1 (its first and sharpest form).

    Example:
        >>> ends = (np.zeros(1), np.ones(1))
        >>> round(float(bounded_mean_limits(np.zeros((1, 29)), ends, 0.05).upper[0]), 4)  # 1 − 0.05^(1/29)
        0.0981
    """
    low, high = support
    with np.errstate(over="ignore", invalid="ignore"):
        span = high - low
    if not (np.isfinite(span) & (span > 0)).all():
        raise InputError("test = 'hoeffding' needs a finite support", "give support=(lowest, highest) possible value")
    outside = (values < low[:, None]) | (values > high[:, None])
    if outside.any():
        raise InputError(f"measured = {values[outside][0]:g} lies outside support", "give every value that can occur")
    n, mean = values.shape[-1], np.clip(values.mean(axis=-1), low, high)
    cost, scaled = -np.log(alpha) / n, (mean - low) / span
    return BoundedMeanLimits(
        mean=mean,
        lower=high - span * _upper_limit(1 - scaled, cost),
        upper=low + span * _upper_limit(scaled, cost),
        deterministic=np.zeros(mean.shape, dtype=np.bool_),
        support=support,
        n=n,
    )
