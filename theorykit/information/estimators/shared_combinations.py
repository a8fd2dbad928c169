"""Linear combinations of one side that are combinations of the other, on rows that had no part in their fit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from theorykit.arguments import Floats
from theorykit.errors import InputError
from theorykit.information.estimators.blocks import balanced_blocks
from theorykit.information.estimators.outcomes import in_range
from theorykit.information.estimators.pairs import Pair
from theorykit.information.estimators.ranks import MANY_TIES

Mask = NDArray[np.bool_]

_LOOKED_AT = 8
"""Exact canonical pairs whose values are looked at."""
_FOLDS = 10
"""One row in so many is held out to test a linear relation on; at least ``_FEWEST``."""
_FEWEST = 10
_SAFETY = 100.0
"""Rounding errors of a linear combination that a relation may be off on other rows."""
_RESOLVED = 1e-6
"""Of its standard deviation: a combination whose rounding is larger shows no exact relation."""
_DIRECTIONS = (1e-3, 1e-6, 1e-9, 0.0)
"""Singular values over the largest from which on directions of a side take part: well-resolved ones first."""
_DIGITS = 9
"""Of a combination with variance 1, when its values are compared."""


def shared_combinations(pair: Pair) -> Floats | None:
    """Return combinations of x ``[N, k]`` that are combinations of y on held-out rows, to rounding; None without any.

    Canonical pairs are fitted on nine rows in ten (whole groups), by singular values of the rows themselves (Björck &
    Golub, 1973), which loses no digits to a covariance. One counts where, on the other rows, it is off by at most a
    hundred times the rounding of its own two sums, ε Σ |w_j| max|x_j|, and where that rounding is below 1e-6 of its
    standard deviation: the worse the columns are conditioned, the larger the weights and the coarser what is resolved.
    Many columns fit rows of their own exactly, and rare rows dominate sums of high order: neither holds on others.

    Args:
        pair: N above d_x + d_y by more than the rows that are held out, else nothing is found.

    References:
        Björck & Golub (1973), Mathematics of Computation 27.

    Example:
        >>> from theorykit.information.estimators.pairs import checked_pair
        >>> rows = np.random.default_rng(0).standard_normal((200, 3))
        >>> shared_combinations(checked_pair(rows, rows @ [1.0, 2.0, 0.0])).shape
        (200, 1)
    """
    pair = replace(pair, x=in_range("x", pair.x), y=in_range("y", pair.y))
    folds = max(2, min(_FOLDS, pair.n_samples // _FEWEST))
    held_out = balanced_blocks(pair.n_samples, pair.groups, folds) == folds - 1
    fitted = ~held_out
    if fitted.sum() <= pair.width + 1 or not held_out.any():
        return None
    sides = [_Side.of(rows, fitted) for rows in (pair.x, pair.y)]
    for smallest in _DIRECTIONS:
        axes = [side.leading(smallest) for side in sides]
        left, _, right = np.linalg.svd(axes[0].T @ axes[1], full_matrices=False)
        kept = min(_LOOKED_AT, right.shape[0])
        combined = []
        for own, other in zip(left.T[:kept], right[:kept], strict=True):
            values, of_x = sides[0].combination(own)
            of_values, of_y = sides[1].combination(other)
            rounding = _SAFETY * np.finfo(float).eps * (of_x + of_y)
            away = np.abs(values - of_values)[held_out].max()
            spread = values[held_out].std()
            if rounding <= _RESOLVED and away <= rounding and spread > _RESOLVED:
                combined.append(values)
        if combined:
            return np.column_stack(combined)
    return None


@dataclass(frozen=True, eq=False)
class _Side:
    """One side, its columns standardised on the fitted rows, and their singular value decomposition there.

    Attributes:
        rows: ``[N, d]``.
        largest: Largest magnitude of each column as given, over its standard deviation ``[d]``.
        axes: U ``[n, r]``.
        values: Singular values ``[r]``.
        weights: V ``[d, r]``.
    """

    rows: Floats
    largest: Floats
    axes: Floats
    values: Floats
    weights: Floats

    @classmethod
    def of(cls, side: Floats, fitted: Mask) -> _Side:
        """Return a side; columns that vary in held-out rows alone are left out."""
        varies = np.ptp(side[fitted], axis=0) > 0
        side = side[:, varies]
        mean, deviation = side[fitted].mean(axis=0), side[fitted].std(axis=0)
        rows = (side - mean) / deviation
        axes, values, weights = np.linalg.svd(rows[fitted], full_matrices=False)
        return cls(rows, np.abs(side).max(axis=0) / deviation, axes, values, weights.T)

    def leading(self, smallest: float) -> Floats:
        """Return the axes ``[n, r]`` whose singular values are more than rounding and above ``smallest``."""
        noise = max(self.axes.shape) * np.finfo(float).eps
        return self.axes[:, self.values > max(smallest, noise) * self.values[0]]

    def combination(self, direction: Floats) -> tuple[Floats, float]:
        """Return the combination ``[N]``, variance 1 on the fitted rows, and the sum of its weighted magnitudes."""
        kept = direction.size
        scale = np.sqrt(self.axes.shape[0])
        weights = scale * (self.weights[:, :kept] @ (direction / self.values[:kept]))
        return self.rows @ weights, float(np.abs(weights) @ self.largest)


def is_continuous(values: Floats) -> bool:
    """Return whether a column ``[N, k]``, variance 1, takes nearly as many values as it has rows."""
    most = (1 - MANY_TIES) * values.shape[0]
    return any(np.unique(np.round(column, _DIGITS)).size > most for column in values.T)


def confirm_infinite(pair: Pair) -> None:
    """Raise where a sample canonical correlation of 1 is no sign of infinite information.

    Raises:
        InputError: the combination does not hold on held-out rows, or it takes discrete values.
    """
    values = shared_combinations(pair)
    if values is None:
        raise InputError(
            "a canonical correlation is 1 to rounding, but not on rows that are held out: the rows do not fix it",
            "give more rows or fewer columns, as canonical_reduction does",
        )
    if not is_continuous(values):
        raise InputError(
            "a linear combination of x is one of y, of discrete values, which no Gaussian has: I is at least their "
            "entropy",
            "try another method",
        )
