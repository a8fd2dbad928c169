"""Arguments of the verdicts: seeds by configurations, levels, names; skewness, and Holm's correction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from theorykit.arguments import LARGEST, Floats, number_array, shown, single_number
from theorykit.errors import InputError
from theorykit.verdicts.intervals import ROUNDING

SKEWED = 2.0
"""Value of :func:`skewness_z` beyond which seeds count as visibly skewed: about 2 % of normal ones on either side."""


def _sample(name: str, value: Any) -> Floats:
    return number_array(name, value, low=-LARGEST, high=LARGEST, allow_infinite=True, allow_nan=True)


def sample_matrix(name: str, value: Any) -> Floats:
    """Return ``value`` as ``[configurations, repetitions]``; NaN and infinity stay and stand for failed runs."""
    sample = _sample(name, value)
    if sample.ndim == 1:
        sample = sample[None, :]
    if sample.ndim != 2:
        raise InputError(f"{name} has shape {sample.shape}", "give [configurations, seeds] or [seeds] numbers")
    return sample


def seed_vector(name: str, value: Any) -> Floats:
    """Return ``value`` as ``[seeds]``; NaN and infinity stay and stand for failed runs."""
    sample = _sample(name, value)
    if sample.ndim != 1:
        raise InputError(f"{name} has shape {sample.shape}, not [seeds]", "judge one configuration at a time")
    return sample


def shaped_array(
    name: str, value: Any, shape: tuple[int, ...], *, positive: bool = False, allow_infinite: bool = False
) -> Floats:
    """Return ``value`` broadcast to ``shape``, without NaN and, unless allowed, without infinity."""
    low = 0.0 if positive else -np.inf
    array = number_array(name, value, low=low, open_low=positive, allow_infinite=allow_infinite)
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise InputError(f"{name} has shape {array.shape}, not {shape}", "give one number per configuration") from None


def two_ends(name: str, value: Any) -> tuple[Any, Any]:
    """Return the two ends of a pair of anything."""
    try:
        low, high = value
    except (TypeError, ValueError):
        raise InputError(f"{name} = {shown(value)} is not a pair", "give (low, high)") from None
    return low, high


def ordered_pair(name: str, value: Any, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Return ``(low, high)``, each broadcast to ``shape``; infinite ends are allowed."""
    low, high = two_ends(name, value)
    ends = (
        shaped_array(f"{name}[0]", low, shape, allow_infinite=True),
        shaped_array(f"{name}[1]", high, shape, allow_infinite=True),
    )
    if (ends[0] > ends[1]).any():
        raise InputError(f"{name} has its low end above its high end", "give (low, high)")
    return ends


def error_rate(value: Any) -> float:
    """Return alpha as a number strictly between 0 and 1/2: beyond it a lower limit lies above its upper one."""
    return single_number("alpha", value, low=0, high=0.5, open_low=True, open_high=True)


def row_names(names: Iterable[str] | None, count: int) -> tuple[str, ...]:
    """Return one name per configuration."""
    if names is None:
        return tuple(str(index) for index in range(count))
    return one_each("names", names, count, "configurations")


def one_each(what: str, labels: Any, count: int, of: str) -> tuple[str, ...]:
    """Return as many labels as there are things to be told apart, as text."""
    given = list(labels) if np.iterable(labels) and not isinstance(labels, str) else [labels]
    if len(given) != count:
        raise InputError(f"{len(given)} {what} for {count} {of}", "give one for each")
    return tuple(str(label) for label in given)


def skewness_z(sample: Floats) -> float:
    """Return the mean sample skewness of the complete, varying rows over its standard deviation for normal values."""
    from scipy.stats import skew

    rows = sample[np.isfinite(sample).all(axis=1)]
    n = sample.shape[1]
    rows = rows[np.ptp(rows, axis=1) > ROUNDING * np.abs(rows).max(axis=1)]
    if n < 3 or rows.size == 0:
        return 0.0
    variance = 6 * (n - 2) / ((n + 1) * (n + 3))  # exact for normal values (Fisher 1930)
    rows = rows / np.abs(rows).max(axis=1, keepdims=True)
    return float(skew(rows, axis=1).mean() / np.sqrt(variance / len(rows)))


def holm(p_values: Floats) -> Floats:
    """Return p-values adjusted after Holm (1979), so that "violated somewhere" errs with at most alpha; ``[k]``."""
    # as statsmodels' multipletests, which collects all garbage on every call: 70 ms, a thousand times this
    order = np.argsort(p_values, kind="stable")
    steps = np.maximum.accumulate(np.arange(p_values.size, 0, -1) * p_values[order])
    adjusted = np.empty_like(steps)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted
