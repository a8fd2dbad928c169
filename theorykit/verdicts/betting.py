"""Means of a bounded quantity, of any law: limits that hold at every number of seeds, by betting against the mean.

Who bets against E ≤ q of numbers y ≥ 0 multiplies a wealth of 1 by 1 + λ(y/q − 1) with each of them, λ in (0, 1): its
expectation does not grow where E ≤ q, so that it passes 1/α with probability at most α (Markov). The wealth here is the
mean over a net of λ, which is a wealth too.
"""

from __future__ import annotations

import numpy as np

from theorykit.arguments import Floats

_STAKES = (np.arange(40) + 0.5) / 40
_HALVINGS = 60


def betting_p_value(values: Floats, mean: Floats) -> Floats:
    """Compute p-values ``[k]`` of H0: E ≤ mean, for independent numbers ``[k, n]`` ≥ 0 of any law.

    P(p ≤ α) ≤ α at every n: an upper bound, not an equality. 1 where the mean is infinite, 0 where it is below 0.

    References:
        Waudby-Smith and Ramdas (2024), J. R. Stat. Soc. B 86(1), section 4; the mean over λ is Robbins' mixture.

    Example:
        >>> import numpy as np
        >>> betting_p_value(np.array([[0.9] * 5, [0.9] * 5]), np.array([0.9, 0.1])).round(4).tolist()
        [1.0, 0.0001]
    """
    known = np.isfinite(mean) & (mean > 0)
    ratio = values / np.where(known, mean, 1.0)[:, None]
    logs = np.log1p(_STAKES[:, None, None] * (ratio - 1)).sum(axis=-1)
    wealth = np.logaddexp.reduce(logs, axis=0) - np.log(_STAKES.size)
    above = (mean < 0) | ((mean == 0) & (values > 0).any(axis=-1))
    return np.where(known, np.exp(-np.maximum(wealth, 0.0)), np.where(above, 0.0, 1.0))


def betting_lower_limit(values: Floats, alpha: float) -> Floats:
    """Compute lower limits ``[k]`` of E of numbers ``[k, n]`` ≥ 0, of level 1 − α: where the p-value passes α."""
    low, high = np.zeros(len(values)), values.mean(axis=-1)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        refuted = betting_p_value(values, middle) <= alpha
        low, high = np.where(refuted, middle, low), np.where(refuted, high, middle)
    return low
