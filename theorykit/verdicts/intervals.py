"""Student's limits of means over independent seeds: one-sided for a verdict, two-sided beside a number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from theorykit.arguments import Floats

ROUNDING = 1e-12
"""Relative difference of two float64 numbers that counts as rounding."""


@dataclass(frozen=True)
class MeanLimits:
    """Means over the last axis with one-sided t limits, each of level 1 − alpha; all ``[k]``.

    Attributes:
        mean: Sample means.
        sd: Sample standard deviations with n − 1.
        lower: One-sided lower limits.
        upper: One-sided upper limits.
        deterministic: Whether all values are equal up to rounding; the limits are then the mean.
        n: Values per mean.
    """

    mean: Floats
    sd: Floats
    lower: Floats
    upper: Floats
    deterministic: NDArray[np.bool_]
    n: int

    def p_above(self, threshold: Floats) -> Floats:
        """Return the one-sided p-values of H0: E ≤ threshold; 0 or 1 where the values do not vary."""
        gap = self.mean - threshold
        if self.n < 2:
            return np.ones_like(gap)
        error = np.maximum(np.where(self.deterministic, 1.0, self.sd) / np.sqrt(self.n), np.finfo(float).tiny)
        size = np.maximum(np.abs(self.mean), np.where(np.isfinite(threshold), np.abs(threshold), 0.0))
        certain = np.where(gap > ROUNDING * size, 0.0, 1.0)
        with np.errstate(over="ignore"):
            return np.where(self.deterministic, certain, stdtr(self.n - 1, -gap / error))


def mean_limits(values: Floats, alpha: float) -> MeanLimits:
    """Compute means and one-sided t limits over the last axis; with one value the limits are infinite.

    Exact for normal values; see :mod:`theorykit.verdicts.expectation` for what skewness does.
    """
    n = values.shape[-1]
    with np.errstate(over="ignore", invalid="ignore"):  # NaN limits decide nothing
        mean = values.mean(axis=-1)
        if n < 2:
            infinite = np.full_like(mean, np.inf)
            return MeanLimits(mean, np.zeros_like(mean), -infinite, infinite, np.zeros(mean.shape, bool), n)
        sd = values.std(axis=-1, ddof=1)
        deterministic = sd <= ROUNDING * np.abs(values).max(axis=-1)
        half = np.where(deterministic, 0.0, stdtrit(n - 1, 1 - alpha) * sd / np.sqrt(n))
        return MeanLimits(mean, sd, mean - half, mean + half, deterministic, n)


def mean_interval(values: Floats, alpha: float = 0.05) -> tuple[float, tuple[float, float]]:
    """Return the mean of ``[n]`` values and its t interval of level 1 − 2 alpha, by :func:`mean_limits`."""
    limits = mean_limits(values[None, :], alpha)
    return float(limits.mean[0]), (float(limits.lower[0]), float(limits.upper[0]))


def student_interval(values: Floats, level: float = 0.95, axis: int = 0) -> tuple[Floats, Floats, Floats]:
    """Compute means over an axis with Student's two-sided intervals, in the unit of the values.

    Exact for independent normal values. NaN and infinity mark failed seeds and are left out.

    Args:
        values: Any shape.
        level: Of each interval, in (0, 1).
        axis: Of the independent seeds.

    Returns:
        (mean, low, high) without that axis; NaN where fewer than 2 values are left.

    Example:
        >>> mean, low, high = student_interval(np.array([1.0, 3.0, np.nan]))
        >>> float(mean), round(float(high - mean), 3)  # t with 1 degree of freedom is 12.706
        (2.0, 12.706)
    """
    kept = np.isfinite(values)
    count = kept.sum(axis=axis)
    freedom = np.maximum(count - 1, 1)
    mean = np.where(kept, values, 0.0).sum(axis=axis) / np.maximum(count, 1)
    squares = np.where(kept, (np.where(kept, values, 0.0) - np.expand_dims(mean, axis)) ** 2, 0.0).sum(axis=axis)
    half = stdtrit(freedom, 0.5 + level / 2) * np.sqrt(squares / freedom / np.maximum(count, 1))
    mean, half = np.where(count > 1, mean, np.nan), np.where(count > 1, half, np.nan)
    return mean, mean - half, mean + half


def geometric_interval(values: Floats, level: float = 0.95, axis: int = 0) -> tuple[Floats, Floats, Floats]:
    """Compute geometric means of numbers above 0, and the ends of Student's intervals of their mean logarithms.

    As :func:`student_interval`, for what varies by factors.

    Example:
        >>> mean, low, high = geometric_interval(np.array([1.0, 100.0]))
        >>> round(float(mean), 9), bool(low < 1e-9)
        (10.0, True)
    """
    mean, low, high = (np.exp(part) for part in student_interval(np.log(values), level, axis))
    return mean, low, high
