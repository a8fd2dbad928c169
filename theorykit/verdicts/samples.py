"""Arguments of the verdicts: seeds by configurations, levels, generators; one-sided limits of a mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theorykit.checks import Floats, _floats
from theorykit.errors import InputError, NonFiniteError

ROUNDING = 1e-12
"""Relative difference of two float64 numbers that counts as rounding."""


def sample_matrix(name: str, value: Any) -> Floats:
    """Return ``value`` as ``[configurations, repetitions]``; NaN and infinity stay and stand for failed runs."""
    sample = _floats(name, value)
    if sample.ndim == 1:
        sample = sample[None, :]
    if sample.ndim != 2 or sample.size == 0:
        raise InputError(f"{name} has shape {sample.shape}", "give [configurations, seeds] or [seeds] numbers")
    return sample


def finite_array(name: str, value: Any, shape: tuple[int, ...], *, allow_infinite: bool = False) -> Floats:
    """Return ``value`` broadcast to ``shape``, without NaN and, unless allowed, without infinity."""
    array = _floats(name, value)
    if np.isnan(array).any() or not (allow_infinite or np.isfinite(array).all()):
        raise NonFiniteError(f"{name} holds NaN or infinity", "a bound that cannot be computed cannot be judged")
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise InputError(f"{name} has shape {array.shape}, not {shape}", "give one number per configuration") from None


def two_ends(name: str, value: Any) -> tuple[Any, Any]:
    """Return the two ends of a pair of anything."""
    try:
        low, high = value
    except (TypeError, ValueError):
        raise InputError(f"{name} = {value!r} is not a pair", "give (low, high)") from None
    return low, high


def ordered_pair(name: str, value: Any, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Return ``(low, high)``, each broadcast to ``shape``; infinite ends are allowed."""
    low, high = two_ends(name, value)
    ends = (
        finite_array(f"{name}[0]", low, shape, allow_infinite=True),
        finite_array(f"{name}[1]", high, shape, allow_infinite=True),
    )
    if (ends[0] > ends[1]).any():
        raise InputError(f"{name} has its low end above its high end", "give (low, high)")
    return ends


def probability(name: str, value: Any) -> float:
    """Return ``value`` as a number strictly between 0 and 1."""
    return _strictly_between(name, value, 1.0)


def error_rate(value: Any) -> float:
    """Return alpha as a number strictly between 0 and 1/2: beyond it a lower limit lies above its upper one."""
    return _strictly_between("alpha", value, 0.5)


def _strictly_between(name: str, value: Any, top: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not 0 < number < top:
        raise InputError(f"{name} = {value!r} is not strictly between 0 and {top:g}", f"for example {name} = 0.05")
    return number


def numbers(name: str, value: Any, rule: str) -> Floats:
    """Return ``value`` as an array whose entries obey ``rule``: a key of the table below."""
    array = _floats(name, value)
    obeys = {
        "any": np.isfinite(array),
        "above 0": np.isfinite(array) & (array > 0),
        "at least 0": np.isfinite(array) & (array >= 0),
        "strictly between 0 and 1": (array > 0) & (array < 1),
        "a whole number of at least 0": np.isfinite(array) & (array >= 0) & (array == np.floor(array)),
        "a whole number of at least 1": np.isfinite(array) & (array >= 1) & (array == np.floor(array)),
        "a whole number of at least 2": np.isfinite(array) & (array >= 2) & (array == np.floor(array)),
    }[rule]
    if not obeys.all():
        wrong = array[~obeys].flat[0]
        rule = "finite" if rule == "any" else rule
        raise InputError(f"{name} = {wrong:g} is not {rule}", f"give {name} {rule}")
    return array


def checked_generator(value: Any) -> np.random.Generator:
    """Return ``value`` or raise where it is no NumPy generator."""
    if not isinstance(value, np.random.Generator):
        raise InputError(f"generator = {value!r} is no numpy Generator", "give numpy.random.default_rng(seed)")
    return value


def row_names(names: Sequence[str] | None, count: int) -> tuple[str, ...]:
    """Return one name per configuration."""
    if names is None:
        return tuple(str(index) for index in range(count))
    if len(names) != count:
        raise InputError(f"{len(names)} names for {count} configurations", "give one name per configuration")
    return tuple(names)


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
        from scipy.special import stdtr

        gap = self.mean - threshold
        if self.n < 2:
            return np.ones_like(gap)
        error = np.where(self.deterministic, 1.0, self.sd) / np.sqrt(self.n)
        size = np.maximum(np.abs(self.mean), np.where(np.isfinite(threshold), np.abs(threshold), 0.0))
        certain = np.where(gap > ROUNDING * size, 0.0, 1.0)
        return np.where(self.deterministic, certain, stdtr(self.n - 1, -gap / error))

    def p_below(self, threshold: Floats) -> Floats:
        """Return the one-sided p-values of H0: E ≥ threshold."""
        mirrored = MeanLimits(-self.mean, self.sd, -self.upper, -self.lower, self.deterministic, self.n)
        return mirrored.p_above(-threshold)


def mean_limits(values: Floats, alpha: float) -> MeanLimits:
    """Compute means and one-sided t limits over the last axis; with one value the limits are infinite.

    Exact for normal values; see :mod:`theorykit.verdicts.expectation` for what skewness does.
    """
    from scipy.special import stdtrit

    n = values.shape[-1]
    mean = values.mean(axis=-1)
    if n < 2:
        infinite = np.full_like(mean, np.inf)
        return MeanLimits(mean, np.zeros_like(mean), -infinite, infinite, np.zeros(mean.shape, bool), n)
    sd = values.std(axis=-1, ddof=1)
    deterministic = sd <= ROUNDING * np.abs(values).max(axis=-1)
    half = np.where(deterministic, 0.0, stdtrit(n - 1, 1 - alpha) * sd / np.sqrt(n))
    return MeanLimits(mean, sd, mean - half, mean + half, deterministic, n)


def holm(p_values: Floats) -> Floats:
    """Return p-values adjusted after Holm (1979), so that "violated somewhere" errs with at most alpha; ``[k]``."""
    # as statsmodels' multipletests, which collects all garbage on every call: 70 ms, a thousand times this
    order = np.argsort(p_values, kind="stable")
    steps = np.maximum.accumulate(np.arange(p_values.size, 0, -1) * p_values[order])
    adjusted = np.empty_like(steps)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted
