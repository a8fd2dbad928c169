"""The matrices X_i of a linear class X ↦ ⟨W, X⟩, stacked or as products y_i x_iᵀ, and their signed sums Σ σ_i X_i."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np

from theorykit.arguments import LARGEST_ENTRY, Floats, data_matrix, number_array, one_of
from theorykit.errors import InputError

Norm = Literal["frobenius", "spectral"]
"""The norm of W that is bounded by B."""
_BATCH_BYTES = 64 * 2**20


@dataclass(frozen=True, eq=False)
class StackedSamples:
    """X_i given one by one, ``[N, m, n]``."""

    matrices: Floats

    @property
    def n_samples(self) -> int:
        """Return N."""
        return int(self.matrices.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """Return (m, n)."""
        return int(self.matrices.shape[1]), int(self.matrices.shape[2])

    def squared_norms(self) -> Floats:
        """Return ‖X_i‖_F², ``[N]``."""
        return np.asarray(np.einsum("imn,imn->i", self.matrices, self.matrices))

    def second_moments(self) -> tuple[Floats, Floats]:
        """Return Σ X_i X_iᵀ and Σ X_iᵀ X_i."""
        rows = np.tensordot(self.matrices, self.matrices, axes=((0, 2), (0, 2)))
        columns = np.tensordot(self.matrices, self.matrices, axes=((0, 1), (0, 1)))
        return rows, columns

    def signed_sums(self, signs: Floats) -> Iterator[Floats]:
        """Yield Σ σ_i X_i for each row of ``signs`` ``[draws, N]``."""
        flat = self.matrices.reshape(self.n_samples, -1)
        step = max(1, _BATCH_BYTES // (8 * flat.shape[1]))
        for start in range(0, signs.shape[0], step):
            yield from (signs[start : start + step] @ flat).reshape(-1, *self.shape)


@dataclass(frozen=True, eq=False)
class FactoredSamples:
    """X_i = y_i x_iᵀ with y_i the rows of ``left`` ``[N, m]`` and x_i those of ``right`` ``[N, n]``."""

    left: Floats
    right: Floats

    @property
    def n_samples(self) -> int:
        """Return N."""
        return int(self.left.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """Return (m, n)."""
        return int(self.left.shape[1]), int(self.right.shape[1])

    def squared_norms(self) -> Floats:
        """Return ‖X_i‖_F² = ‖y_i‖² ‖x_i‖², ``[N]``."""
        return np.asarray((self.left**2).sum(axis=1) * (self.right**2).sum(axis=1))

    def second_moments(self) -> tuple[Floats, Floats]:
        """Return Σ ‖x_i‖² y_i y_iᵀ and Σ ‖y_i‖² x_i x_iᵀ."""
        left_weights, right_weights = (self.right**2).sum(axis=1), (self.left**2).sum(axis=1)
        return (self.left.T * left_weights) @ self.left, (self.right.T * right_weights) @ self.right

    def signed_sums(self, signs: Floats) -> Iterator[Floats]:
        """Yield for each row of ``signs`` ``[draws, N]`` a matrix with the singular values of Σ σ_i y_i x_iᵀ.

        Zeros may be left out, so that it can be smaller than m × n; half the work of the product of left and right.
        It is the sum without signs minus twice the part with sign −1, or the negative of that with sign +1,
        whichever is fewer samples. The cancellation costs a factor of √N in rounding, not more.
        """
        left, right = compressed(self.left), compressed(self.right)
        unsigned = left.T @ right
        for row in signs:
            negative = row < 0
            fewer = np.flatnonzero(negative if 2 * negative.sum() <= row.size else ~negative)
            part = left.take(fewer, axis=0).T @ right.take(fewer, axis=0)
            yield unsigned - 2.0 * part


Samples = StackedSamples | FactoredSamples
"""N matrices X_i of one shape (m, n)."""


def compressed(factor: Floats) -> Floats:
    """Return ``[N, min(N, k)]`` with the same inner products of its rows: Lᵀ in Q Lᵀ, or the factor itself."""
    n_samples, width = factor.shape
    if width <= n_samples:
        return factor
    triangle: Floats = np.asarray(np.linalg.qr(factor.T, mode="r"))
    return triangle.T


def checked_norm(norm: str) -> Norm:
    """Return the name of a norm, or raise where there is none of that name."""
    return cast(Norm, one_of("norm", norm, get_args(Norm)))


def checked_samples(matrices: Any, left: Any, right: Any) -> Samples:
    """Return the samples behind the arguments ``matrices`` or ``left`` and ``right``, or raise."""
    if (matrices is None) == (left is None and right is None) or (left is None) != (right is None):
        raise InputError(
            "give either matrices, or both left and right", "matrices [N, m, n]; left [N, m], right [N, n]"
        )
    if matrices is not None:
        stack = number_array("matrices", matrices, low=-LARGEST_ENTRY, high=LARGEST_ENTRY)
        if stack.ndim != 3:
            raise InputError(f"matrices has shape {stack.shape}, not [N, m, n]", "stack the X_i along the first axis")
        return StackedSamples(stack)
    factors = FactoredSamples(data_matrix("left", left), data_matrix("right", right))
    if factors.left.shape[0] != factors.right.shape[0]:
        raise InputError(
            f"left has {factors.left.shape[0]} rows and right has {factors.right.shape[0]}",
            "one row of each per sample",
        )
    return factors
