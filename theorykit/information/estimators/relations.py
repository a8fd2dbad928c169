"""Whether one side of a pair is a function of the other, as far as N samples can tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from theorykit.arguments import Floats
from theorykit.information.estimators.canonical import correlation_matrix, correlations_of
from theorykit.information.estimators.pairs import Pair, checked_pair
from theorykit.information.estimators.ranks import normal_scores
from theorykit.information.estimators.shared_combinations import is_continuous, shared_combinations

MOST_DIMENSIONS = 2
"""Columns of the argument of a function up to which neighbours are near enough to see it."""
_LARGEST_REMAINDER = 0.05
"""Of the variance between random rows, left between nearest neighbours."""
_SHRINKING = 0.5
"""Remainder at all rows over that at a quarter of them: 4^(−2/d) where y is a smooth function of d coordinates, 1 where
y is noisy."""
_ADVICE = "ask for I(X; Y + τZ) with noise=τ"


@dataclass(frozen=True)
class Relation:
    """What was found.

    Attributes:
        sentence: For a warning; empty where nothing shows a deterministic relation.
        infinite: Whether I is infinite for the law that the samples show: a continuous combination is shared exactly.
    """

    sentence: str = ""
    infinite: bool = False


def deterministic_relation(x: Any, y: Any, *, groups: Any = None) -> Relation:
    """Tell whether one side is a function of the other.

    Two tests. A canonical correlation of 1 up to rounding (N > d_x + d_y) whose combination holds on rows that had no
    part in its fit (:func:`.shared_combinations`): I is infinite where that combination takes continuous values, and at
    least their entropy where they are discrete. For an argument of at most two columns, nearest neighbours in it whose
    values differ by less than 5 % of the median squared difference of random rows, and by less than half of what they
    do in a quarter of the rows: noise far below the distance of neighbours is not told from none, so that I may be
    infinite or just large, and an estimate is a floor.

    With groups neighbours are looked for among first rows of sequences. Arguments and errors are those of
    :func:`theorykit.mutual_information`.

    References:
        Evans & Jones (2002), Proceedings of the Royal Society A 458, for noise estimated from nearest neighbours.

    Example:
        >>> rows = np.linspace(0.0, 6.0, 200)
        >>> deterministic_relation(rows, np.sin(rows)).sentence[:69]
        'deterministic relation: y is a function of x as far as 200 samples ca'
        >>> deterministic_relation(rows, 3 * rows).infinite
        True
    """
    pair = checked_pair(x, y, groups)
    if pair.n_samples > pair.width + 1:
        relation = _linear(pair)
        if relation.sentence:
            return relation
    if pair.groups is not None:
        pair = pair.rows(np.unique(pair.groups, return_index=True)[1])
    generator = np.random.default_rng(0)
    sides = [normal_scores(side, generator)[0] for side in (pair.x, pair.y)]
    names = ("x", "y")
    for argument, value in ((0, 1), (1, 0)):
        if _is_function(sides[argument], sides[value]):
            return Relation(
                f"deterministic relation: {names[value]} is a function of {names[argument]} as far as "
                f"{pair.n_samples} samples can tell: I may be infinite, and the number is a floor; {_ADVICE}"
            )
    return Relation()


def _linear(pair: Pair) -> Relation:
    sample = correlations_of(correlation_matrix(pair.x, pair.y), pair.x.shape[1])
    values = shared_combinations(pair) if sample.is_deterministic else None
    if values is None:
        return Relation()
    if is_continuous(values):
        return Relation(
            f"deterministic relation: a linear combination of x is one of y, so that I is infinite: {_ADVICE}", True
        )
    return Relation(
        "deterministic relation: a linear combination of x is one of y, of discrete values: I is at least their entropy"
    )


def _is_function(argument: Floats, value: Floats) -> bool:
    if argument.shape[1] > MOST_DIMENSIONS or argument.shape[0] < 40:
        return False
    quarters = np.median([_remainder(argument[start::4], value[start::4]) for start in range(4)])
    whole = _remainder(argument, value)
    return bool(whole < _LARGEST_REMAINDER and whole <= _SHRINKING * quarters)


def _remainder(argument: Floats, value: Floats) -> float:
    """Return the median squared difference of values at nearest neighbours over that at random rows."""
    nearest = np.asarray(cKDTree(argument).query(argument, k=2)[1])[:, 1]
    between = ((value - value[nearest]) ** 2).sum(axis=1)
    anywhere = ((value - np.roll(value[np.argsort(argument[:, 0])], value.shape[0] // 2, axis=0)) ** 2).sum(axis=1)
    return float(np.median(between) / np.median(anywhere))
