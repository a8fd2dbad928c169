"""Whether one side of a pair is a function of the other, as far as N samples can tell."""

from __future__ import annotations

from typing import Any

import numpy as np

from theorykit.checks import Floats
from theorykit.information.estimators.canonical import correlation_matrix, correlations_of
from theorykit.information.estimators.pairs import checked_pair
from theorykit.information.estimators.ranks import normal_scores

MOST_DIMENSIONS = 2
"""Columns of the argument of a function up to which neighbours are near enough to see it."""
_LARGEST_REMAINDER = 0.05
"""Of the variance between random rows, left between nearest neighbours."""
_SHRINKING = 0.5
"""Remainder at all rows over that at a quarter of them: 4^(−2/d) where y is a smooth function of d coordinates, 1 where
y is noisy."""


def deterministic_relation(x: Any, y: Any) -> str:
    """Say in one sentence how one side is a function of the other; empty where nothing shows it.

    For continuous x a deterministic relation has infinite information, so that every estimate is a floor of its own
    making. Two tests: a sample canonical correlation of 1 up to rounding (N > d_x + d_y); and, for an argument of at
    most two columns, nearest neighbours in it whose values differ by less than 5 % of the median squared difference
    of random rows, and by less than half of what they do in a quarter of the rows. Noise far below the distance of
    neighbours is not told from none.

    Args:
        x: ``[N, d_x]`` or ``[N]``.
        y: ``[N, d_y]`` or ``[N]``.

    Returns:
        The sentence, for a warning.

    Raises:
        InputError: the pair is refused.
        NonFiniteError: NaN or infinity.

    References:
        Evans & Jones (2002), Proceedings of the Royal Society A 458, for noise estimated from nearest neighbours.

    Example:
        >>> rows = np.linspace(0.0, 6.0, 200)
        >>> deterministic_relation(rows, np.sin(rows))
        'deterministic relation: y is a function of x as far as 200 samples can tell'
    """
    pair = checked_pair(x, y)
    if pair.n_samples > pair.width + 1:
        found = correlations_of(correlation_matrix(pair.x, pair.y), pair.x.shape[1])
        if found.is_deterministic:
            return "deterministic relation: a linear combination of x is one of y"
    generator = np.random.default_rng(0)
    sides = [normal_scores(side, generator)[0] for side in (pair.x, pair.y)]
    names = ("x", "y")
    for argument, value in ((0, 1), (1, 0)):
        if _is_function(sides[argument], sides[value]):
            return (
                f"deterministic relation: {names[value]} is a function of {names[argument]} as far as "
                f"{pair.n_samples} samples can tell"
            )
    return ""


def _is_function(argument: Floats, value: Floats) -> bool:
    if argument.shape[1] > MOST_DIMENSIONS or argument.shape[0] < 40:
        return False
    whole, quarter = _remainder(argument, value), _remainder(argument[::4], value[::4])
    return whole < _LARGEST_REMAINDER and whole <= _SHRINKING * quarter


def _remainder(argument: Floats, value: Floats) -> float:
    """Return the median squared difference of values at nearest neighbours over that at random rows."""
    from scipy.spatial import cKDTree

    nearest = np.asarray(cKDTree(argument).query(argument, k=2)[1])[:, 1]
    between = ((value - value[nearest]) ** 2).sum(axis=1)
    anywhere = ((value - np.roll(value[np.argsort(argument[:, 0])], value.shape[0] // 2, axis=0)) ** 2).sum(axis=1)
    return float(np.median(between) / np.median(anywhere))
