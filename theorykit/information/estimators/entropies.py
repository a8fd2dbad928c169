"""The entropy of a side that takes few values: no information is above it."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np

from theorykit.arguments import Floats
from theorykit.information.estimate import Doubt, InformationEstimate, KeyedWarning
from theorykit.information.estimators.pairs import Pair

_MOST_SINGLE = 0.05
"""Of the rows: where more of them hold a value that no other row has, the side is not taken for a discrete one."""

Estimate = TypeVar("Estimate", bound=InformationEstimate)


def discrete_entropy(side: Floats) -> float | None:
    """Return the entropy of a discrete side ``[N, d]`` in nats, or None where its rows are not tied.

    Plug-in with the correction of Miller & Madow (1955), (K − 1)/(2N) for K values, and at most log K.

    Example:
        >>> round(discrete_entropy(np.repeat([[0.0], [1.0]], 500, axis=0)), 4)
        0.6931
        >>> discrete_entropy(np.arange(10.0)[:, None]) is None
        True
    """
    counts = np.unique(side, axis=0, return_counts=True)[1]
    count = side.shape[0]
    if (counts == 1).sum() > _MOST_SINGLE * count:
        return None
    shares = counts / count
    return float(min(np.log(counts.size), -(shares * np.log(shares)).sum() + (counts.size - 1) / (2 * count)))


def entropy_limit(pair: Pair) -> float | None:
    """Return the smaller entropy of the discrete sides of a pair, None where neither is discrete."""
    entropies = [entropy for entropy in (discrete_entropy(pair.x), discrete_entropy(pair.y)) if entropy is not None]
    return min(entropies, default=None)


def within_entropy(estimate: Estimate, limit: float | None) -> Estimate:
    """Return an estimate cut to the entropy of a discrete side, with a warning; as it is where it lies below."""
    value = estimate.information
    if limit is None:
        return estimate
    interval = estimate.interval and (min(estimate.interval[0], limit), min(estimate.interval[1], limit))
    ceiling = limit if estimate.ceiling is None else min(estimate.ceiling, limit)
    if value is None or value <= limit:
        return replace(estimate, interval=interval, ceiling=ceiling)
    sentence = (
        f"{value:.3g} nats are more than the entropy of a side that takes few values: cut to its {limit:.4g} nats, "
        "which no information exceeds"
    )
    warnings = (*estimate.warnings, KeyedWarning(sentence, Doubt.ABOVE_ENTROPY))
    return replace(estimate, information=limit, interval=interval, ceiling=ceiling, warnings=warnings)
