"""A matrix of rank r in r(m + n − r) numbers: as many as it has degrees of freedom.

Two factors U V with U ``[m, r]`` and V ``[r, n]`` are the same matrix as U M and M⁻¹ V for every invertible M, so that
r² of their r(m + n) numbers say nothing. Where r rows of U, the pivots, are made the identity, they need no place:
W = P [B; C B], B ``[r, n]`` the pivot rows of W, C ``[m − r, r]`` what makes the other rows from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theorykit.arguments import Floats, finite_matrix
from theorykit.errors import InputError

LARGEST_ENTRY = 2.0
"""Of C after the swaps: between 1, which may take many of them, and what would multiply rounding of B."""

_RESOLUTION = 1e-12
"""Of a pivot beside the first: below it the factors have a smaller rank than they have columns."""


@dataclass(frozen=True, eq=False)
class GaugeFreeFactors:
    """W ``[m, n]`` of rank r as its pivot rows and what makes the other rows of them.

    Attributes:
        basis: B ``[r, n]``, the pivot rows of W.
        combination: C ``[m − r, r]``, entries at most 2 in absolute value.
        position: ``[m]`` int64: row i of W is row ``position[i]`` of [B; C B].
    """

    basis: Floats
    combination: Floats
    position: NDArray[np.int64]

    @property
    def rank(self) -> int:
        """Return r."""
        return int(self.basis.shape[0])

    @property
    def numbers(self) -> int:
        """Return r(m + n − r), the numbers that are stored."""
        return int(self.basis.size + self.combination.size)

    def matrix(self) -> Floats:
        """Return W ``[m, n]``."""
        return np.concatenate([self.basis, self.combination @ self.basis])[self.position]


def gauge_free_factors(left: Any, right: Any) -> GaugeFreeFactors:
    """Write U V in the gauge-free form, without loss beyond rounding.

    Pivots by QR with column pivoting of Uᵀ, then swaps until no entry of C exceeds 2 in absolute value: a swap at an
    entry multiplies the volume of the pivot rows by it, so that they end. A rank above the one that U has is lowered.

    Args:
        left: U ``[m, r]`` with r ≤ m.
        right: V ``[r, n]``.

    Raises:
        InputError: the shapes do not fit, or U is zero.
        NonFiniteError: NaN or infinity.

    References:
        Gu & Eisenstat (1996), Efficient algorithms for computing a strong rank-revealing QR factorization, SIAM
        J. Sci. Comput. 17(4). Goreinov et al. (2010), How to find a good submatrix, for the swaps.

    Example:
        >>> factors = gauge_free_factors([[2.0], [4.0]], [[1.0, 3.0]])
        >>> factors.numbers, factors.matrix().tolist()
        (3, [[2.0, 6.0], [4.0, 12.0]])
    """
    from scipy.linalg import qr, solve_triangular

    u, v = finite_matrix("left", left), finite_matrix("right", right)
    m, r = u.shape
    if r != v.shape[0] or r > m:
        raise InputError(
            f"factors of shapes {u.shape} and {v.shape} do not fit", "give [m, r] and [r, n] with r at most m"
        )
    triangle, pivots = qr(u.T, mode="r", pivoting=True)
    triangle, order = triangle[:r], np.array(pivots, dtype=np.int64)
    sizes = np.abs(np.diagonal(triangle))
    if sizes[0] == 0:
        raise InputError("the left factor is zero", "leave out a layer of zeros")
    rank = int((sizes > _RESOLUTION * sizes[0]).sum())
    combination = solve_triangular(triangle[:rank, :rank], triangle[:rank, rank:]).T
    _swap_pivots(combination, order, rank)
    # the pivot rows of U V, whose other rows are C times them
    basis = u[order[:rank]] @ v
    return GaugeFreeFactors(basis, combination, np.argsort(order))


def _swap_pivots(combination: Floats, order: NDArray[np.int64], rank: int) -> None:
    """Exchange pivot rows with others, in place, until no entry of C exceeds the largest allowed."""
    while combination.size:
        row, column = np.unravel_index(np.argmax(np.abs(combination)), combination.shape)
        entry = combination[row, column]
        if abs(entry) <= LARGEST_ENTRY:
            return
        order[[column, rank + row]] = order[[rank + row, column]]
        # C with the pivot exchanged is a change of rank one (Sherman & Morrison)
        ahead = combination[row].copy()
        ahead[column] -= 1.0
        behind = combination[:, column].copy()
        behind[row] += 1.0
        combination -= np.outer(behind, ahead) / entry
