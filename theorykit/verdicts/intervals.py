"""Limits of means over independent seeds: one-sided for a verdict, two-sided beside a number.

Student's limits are exact for normal seeds and safe for symmetric ones. A long tail breaks them: seeds that miss it lie
close together on the wrong side of their mean, and no test of a mean that holds for every law can decide anything from
finitely many seeds (Bahadur & Savage 1956). So a verdict on seeds that may be skewed takes limits that hold for tails
as long as those of exponential and lognormal (σ = 1) seeds, on either side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from theorykit.arguments import Floats

ROUNDING = 1e-12
"""Relative difference of two float64 numbers that counts as rounding."""
LEAST_SEEDS = 5
"""Fewer seeds of something random decide nothing: all on one side is no rarer than 1 in 16, and they may depend."""
_REACH = (2.75, 0.55, 3.85)
"""a, b and the least of a + b ln(1/α): how much wider than Student's the limits of skewed seeds are, times √n.

They lie above κ(α) = √n (c(α)/t(α) − 1) of lognormal seeds, σ = 1, for 5 to 800 seeds and α from 0.0001 to 0.3, where
c(α) is the critical value that simulation finds (benchmarks/verdict_calibration.py); κ hardly depends on n.
"""
_HALVINGS = 45
_LEAST_LEVEL = 1e-100
"""Below it scipy's quantile of Student's law changes its sign (1.17)."""


def skewed_critical(alpha: Any, n: Any) -> Any:
    """Compute how many standard errors lie between a mean of ``n`` seeds and its one-sided limit of level 1 − α.

    P(mean + c s/√n < E) ≤ α for exponential seeds and for lognormal ones with σ ≤ 1, n ≥ 5, and for χ² with one degree
    of freedom from 12 seeds on at α = 0.05; longer tails still break it, in part. Student's critical value times
    1 + κ(α)/√n, an envelope of simulated ones.

    Example:
        >>> round(float(skewed_critical(0.05, 8)), 2)  # Student's is 1.89
        4.84
    """
    base, slope, least = _REACH
    level = np.maximum(alpha, _LEAST_LEVEL)
    reach = np.maximum(base - slope * np.log(level), least)
    return -stdtrit(n - 1, level) * (1 + reach / np.sqrt(n))


def skewed_p_value(distance: Floats, n: int) -> Floats:
    """Compute the α at which :func:`skewed_critical` is ``distance``, in standard errors; Student's below 0."""
    low, high = np.full_like(distance, np.log(_LEAST_LEVEL)), np.full_like(distance, np.log(0.5))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        further = skewed_critical(np.exp(middle), n) > distance
        low, high = np.where(further, middle, low), np.where(further, high, middle)
    return np.where(distance > 0, np.exp(high), stdtr(n - 1, -distance))


@dataclass(frozen=True)
class MeanLimits:
    """Means over the last axis with one-sided limits, each of level 1 − alpha; all ``[k]``.

    Attributes:
        mean: Sample means.
        sd: Sample standard deviations with n − 1.
        lower: One-sided lower limits.
        upper: One-sided upper limits.
        deterministic: Whether all values are equal up to rounding; the limits are then the mean.
        n: Values per mean.
        skewed: Whether the limits allow for skewed values, see :func:`skewed_critical`; else they are Student's.
    """

    mean: Floats
    sd: Floats
    lower: Floats
    upper: Floats
    deterministic: NDArray[np.bool_]
    n: int
    skewed: bool = False

    def p_above(self, threshold: Floats) -> Floats:
        """Return the one-sided p-values of H0: E ≤ threshold; 0 or 1 where the values do not vary."""
        gap = self.mean - threshold
        if self.n < 2:
            return np.ones_like(gap)
        error = np.maximum(np.where(self.deterministic, 1.0, self.sd) / np.sqrt(self.n), np.finfo(float).tiny)
        size = np.maximum(np.abs(self.mean), np.where(np.isfinite(threshold), np.abs(threshold), 0.0))
        certain = np.where(gap > ROUNDING * size, 0.0, 1.0)
        with np.errstate(over="ignore"):
            by_chance = skewed_p_value(gap / error, self.n) if self.skewed else stdtr(self.n - 1, -gap / error)
        return np.where(self.deterministic, certain, by_chance)


def mean_limits(values: Floats, alpha: float, *, skewed: bool = False) -> MeanLimits:
    """Compute means and one-sided limits over the last axis; with one value the limits are infinite.

    Student's, exact for normal values; where they may be skewed, those of :func:`skewed_critical`.
    """
    n = values.shape[-1]
    with np.errstate(over="ignore", invalid="ignore"):  # NaN limits decide nothing
        mean = values.mean(axis=-1)
        if n < 2:
            infinite = np.full_like(mean, np.inf)
            return MeanLimits(mean, np.zeros_like(mean), -infinite, infinite, np.zeros(mean.shape, bool), n, skewed)
        sd = values.std(axis=-1, ddof=1)
        deterministic = sd <= ROUNDING * np.abs(values).max(axis=-1)
        critical = skewed_critical(alpha, n) if skewed else stdtrit(n - 1, 1 - alpha)
        half = np.where(deterministic, 0.0, critical * sd / np.sqrt(n))
        return MeanLimits(mean, sd, mean - half, mean + half, deterministic, n, skewed)


def mean_interval(values: Floats, alpha: float = 0.05, *, skewed: bool = False) -> tuple[float, tuple[float, float]]:
    """Return the mean of ``[n]`` values and its interval of level 1 − 2 alpha, by :func:`mean_limits`."""
    limits = mean_limits(values[None, :], alpha, skewed=skewed)
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
