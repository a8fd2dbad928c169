"""The entropy of a side that takes few values, with its error: information is not above it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from theorykit.arguments import Floats
from theorykit.information.estimate import Doubt, InformationEstimate, KeyedWarning
from theorykit.information.estimators.pairs import Pair
from theorykit.information.gaussian import NORMAL_QUANTILE

_MOST_SINGLE = 0.05
"""Of the rows: where more of them hold a value that no other row has, the side is not taken for a discrete one."""
_MOST_UNSEEN = 0.25
"""Of the values that were seen: where more seem not to have been, a part of the side may be continuous."""
_OFTEN = 5
"""Rows of every value from which on all values are taken to have been seen."""

Estimate = TypeVar("Estimate", bound=InformationEstimate)


@dataclass(frozen=True)
class DiscreteEntropy:
    """The entropy of a discrete law from N rows, in nats.

    Attributes:
        value: Estimate.
        low: Lower end of its 95 % interval.
        high: Upper end; at most log K where each of the K values came up in at least five rows.
    """

    value: float
    low: float
    high: float


def discrete_entropy(side: Floats) -> DiscreteEntropy | None:
    """Return the entropy of a discrete side ``[N, d]`` in nats with its interval, or None where it is not discrete.

    The value is the plug-in with the correction of Miller & Madow (1955), (K − 1)/(2N) for K values. Where values are
    rare that is too low, and the estimate of Chao & Shen (2003), which weighs the shares by the coverage, is closer:
    the upper end is that of the larger of the two. The variance is that of −log p over N, and (K − 1)/(2N²), which is
    all there is for equal shares.

    None where more than 5 % of the rows hold a value of their own, or where the rows of one and of two of a kind
    (Chao, 1984) let more than a quarter as many values be missed as were seen: a continuous part has singles, no pairs.

    Args:
        side: ``[N, d]``; a value is a row.

    References:
        Chao & Shen (2003), Environmental and Ecological Statistics 10; Chao (1984), Scandinavian Journal of
        Statistics 11; Harris (1975), for the variance at equal shares.

    Example:
        >>> round(discrete_entropy(np.repeat([[0.0], [1.0]], 500, axis=0)).value, 4)
        0.6931
        >>> discrete_entropy(np.arange(10.0)[:, None]) is None
        True
    """
    counts = np.unique(side, axis=0, return_counts=True)[1]
    count, values = side.shape[0], counts.size
    single, double = int((counts == 1).sum()), int((counts == 2).sum())
    unseen = single * (single - 1) / (2 * (double + 1))
    if single > _MOST_SINGLE * count or unseen > _MOST_UNSEEN * values:
        return None
    shares = counts / count
    surprise = -np.log(shares)
    plug_in = float(shares @ surprise)
    covered = (1 - single / count) * shares
    of_coverage = -float((covered * np.log(covered) / -np.expm1(count * np.log1p(-covered))).sum())
    variance = float(shares @ (surprise - plug_in) ** 2) / count + (values - 1) / (2 * count**2)
    corrected = plug_in + (values - 1) / (2 * count)
    half = NORMAL_QUANTILE * float(np.sqrt(variance))
    most = float(np.log(values)) if counts.min() >= _OFTEN else np.inf
    return DiscreteEntropy(min(corrected, most), corrected - half, min(max(corrected, of_coverage) + half, most))


def entropy_limit(pair: Pair) -> DiscreteEntropy | None:
    """Return the smaller entropy of the discrete sides of a pair, None where neither is discrete."""
    entropies = [entropy for entropy in (discrete_entropy(pair.x), discrete_entropy(pair.y)) if entropy is not None]
    return min(entropies, key=lambda entropy: entropy.high, default=None)


def within_entropy(estimate: Estimate, limit: DiscreteEntropy | None) -> Estimate:
    """Return an estimate cut to the entropy of a discrete side, with a warning; as it is where it lies below.

    An interval ends at the upper end of the entropy's. Where all of it lies above, the estimator is refuted on this
    pair: what is left is that I lies between 0 and the entropy, no bound from below.
    """
    if limit is None or estimate.information is None:
        return estimate
    value, interval = estimate.information, estimate.interval
    ceiling = limit.high if estimate.ceiling is None else min(estimate.ceiling, limit.high)
    if value <= limit.value:
        within = interval and (min(interval[0], limit.high), min(interval[1], limit.high))
        return replace(estimate, interval=within, ceiling=ceiling)
    entropy = f"{limit.value:.4g} nats ({limit.low:.4g} to {limit.high:.4g})"
    sentence = f"{value:.3g} nats are more than the entropy of a side that takes few values, {entropy}: cut to that"
    warnings, error = estimate.warnings, estimate.standard_error
    refuted = value > limit.high if interval is None else interval[0] > limit.high
    if refuted:
        sentence += "; the method does not fit such a side, and nothing bounds I from below"
        warnings = tuple(part for part in warnings if getattr(part, "doubt", None) is not Doubt.LOWER_BOUND)
        interval, error = (0.0, limit.high), None
    elif interval is not None:
        interval = (min(interval[0], limit.low), min(interval[1], limit.high))
    warnings = (*warnings, KeyedWarning(sentence, Doubt.ABOVE_ENTROPY))
    return replace(
        estimate, information=limit.value, interval=interval, standard_error=error, ceiling=ceiling, warnings=warnings
    )
