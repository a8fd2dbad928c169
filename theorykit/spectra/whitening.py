"""Singular values in the metric of the loss: of G^½ W A^½, A the moment of a layer's inputs, G of its output gradients.

Half the tail sum of their squares is the second-order prediction, in nats per token, of the loss that a
truncation costs, under the Kronecker-factored Fisher information (Martens & Grosse 2015): per token,
ΔL ≈ ½ tr(G ΔW A ΔWᵀ) with G = E[g gᵀ], g the gradient of −log p(ŷ) by the layer's output, ŷ drawn from the model.
Cross terms between layers and between the tokens of one sequence are left out, so that it is a scale to be
calibrated, and an order of layers to be trusted more than the scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from theorykit.arguments import Floats, finite_matrix, moment_matrix, positive_integer
from theorykit.errors import InputError
from theorykit.spectra.kernels import eigenvectors, on_one_thread
from theorykit.spectra.spectrum import Spectrum

if TYPE_CHECKING:
    import torch

Metric = Literal["plain", "activation", "fisher"]
METRICS: tuple[Metric, ...] = ("plain", "activation", "fisher")
_LARGEST = 1e70
"""Of an entry of W, A and G: below it no product of W, Wᵀ, A and G overflows."""
_LARGEST_PRODUCT = 1e300


@dataclass(frozen=True, repr=False, eq=False)
class WhitenedSpectrum(Spectrum):
    """Singular values of G^½ W A^½; ``metric`` says which of A and G took part."""

    metric: Metric = "fisher"

    @property
    def predicted_losses(self) -> Floats:
        """Return ½ Σ_{i>r} σ_i² for r = 0 … q, ``[q + 1]``; nats per token where the metric is Fisher's."""
        return self.tail_energies / 2


@dataclass(frozen=True, eq=False)
class Root:
    """Some R ``[k, k]`` with R Rᵀ = a moment; any root gives the same whitened singular values.

    Attributes:
        factor: R, lower triangular where there is no pseudo-inverse beside it.
        pseudo_inverse: R⁺ of a moment that may be singular; None for a Cholesky factor, which is solved with.
    """

    factor: torch.Tensor
    pseudo_inverse: torch.Tensor | None = None

    def whitened(self, pulled: torch.Tensor) -> torch.Tensor:
        """Return Rᵀ K R for a symmetric K ``[k, k]``, of which only the lower triangle need be right."""
        import torch

        if self.pseudo_inverse is None and on_one_thread(pulled):
            from scipy.linalg.lapack import dsygst

            # a third of the work of two products; LAPACK reads columns first, which a symmetric K does not notice
            lower, _ = dsygst(pulled.numpy().T, self.factor.numpy(), itype=2, lower=1)
            return torch.from_numpy(lower)
        product: torch.Tensor = self.factor.T @ pulled @ self.factor
        return product

    def times_inverse(self, rows: torch.Tensor) -> torch.Tensor:
        """Return Y R⁺ for Y ``[r, k]``."""
        import torch

        if self.pseudo_inverse is not None:
            return rows @ self.pseudo_inverse
        solved: torch.Tensor = torch.linalg.solve_triangular(self.factor, rows, upper=False, left=False)
        return solved


def square_root(moment: torch.Tensor, ridge: float = 0.0) -> Root:
    """Return a root of a moment ``[k, k]``, plus ridge · mean diagonal.

    With a ridge it is the Cholesky factor, a tenth of the work; a singular moment takes its eigenvalues, of which
    those below k·eps of the largest are rounding and count as 0.

    Raises:
        InputError: entries that are not finite or above 1e300.
    """
    import torch

    size = moment.shape[0]
    if ridge > 0:
        shift = ridge * moment.diagonal().mean().clamp(min=0)
        shifted = moment.clone()
        shifted.diagonal().add_(shift)
        factor, failed = torch.linalg.cholesky_ex(shifted)
        if bool(torch.isfinite(shift)) and not bool(failed):
            return Root(factor)
        moment = shifted
    eigenvalues, vectors = _eigh(moment)
    floor = eigenvalues[-1] * size * np.finfo(float).eps
    roots = torch.where(eigenvalues > floor, eigenvalues, 0.0).clamp(min=0).sqrt()
    inverse = torch.where(roots > 0, 1 / roots.clamp(min=1e-300), 0.0)
    return Root(vectors * roots, (vectors * inverse).T)


@dataclass(frozen=True, eq=False)
class Basis:
    """The whitened singular directions of one layer on its smaller side.

    Attributes:
        eigenvalues: Squared whitened singular values, ``[k]``, non-increasing, non-negative.
        vectors: V ``[k, k]``, columns in the order of the eigenvalues.
        root: R; None for the identity.
    """

    eigenvalues: torch.Tensor
    vectors: torch.Tensor
    root: Root | None

    def projector(self, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return E = R V_r ``[k, r]`` and C = V_rᵀ R⁺ ``[r, k]`` of the (oblique) projector E C.

        W E C (n ≤ m) or (E C)ᵀ W (m < n) is the best matrix of rank r in the whitened norm.
        """
        kept = self.vectors[:, :rank]
        if self.root is None:
            return kept, kept.T
        return self.root.factor @ kept, self.root.times_inverse(kept.T)


def small_side_basis(root: Root | None, pulled: torch.Tensor) -> Basis:
    """Diagonalise Rᵀ K R, K the pulled moment ``[k, k]`` and R the root (the identity where it is None).

    Raises:
        InputError: entries that are not finite or above 1e300.
    """
    eigenvalues, vectors = _eigh(pulled if root is None else root.whitened(pulled))
    return Basis(eigenvalues.flip(0).clamp(min=0), vectors.flip(1), root)


def _eigh(moment: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return eigenvalues and vectors, or raise where LAPACK would fail without a word on the reason."""
    largest = float(moment.abs().max())
    if not largest < _LARGEST_PRODUCT:  # true of NaN too
        raise InputError(
            f"a moment has an entry of size {largest:.3g}, not below {_LARGEST_PRODUCT:g}",
            "divide the weights or the moments by a constant",
        )
    return eigenvectors(moment)


def _bounded_matrix(name: str, value: Any) -> Floats:
    matrix = finite_matrix(name, value)
    largest = float(np.abs(matrix).max())
    if largest > _LARGEST:
        raise InputError(
            f"{name} has an entry of size {largest:.3g}, above {_LARGEST:g}",
            f"divide {name} by a constant: products with it overflow",
        )
    return matrix


def _small_side(weight: Any, input_moment: Any, output_moment: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Check the arguments and return W, the moment on the smaller side, and the other one pulled through W."""
    import torch

    matrix = _bounded_matrix("weight", weight)
    m, n = matrix.shape
    a, g = (
        np.eye(size) if moment is None else moment_matrix(name, _bounded_matrix(name, moment), size)
        for name, moment, size in (("input_moment", input_moment, n), ("output_moment", output_moment, m))
    )
    own, pulled = (a, matrix.T @ g @ matrix) if n <= m else (g, matrix @ a @ matrix.T)
    # a copy, since torch takes no read-only or reversed array
    return torch.from_numpy(np.array(matrix, order="C")), torch.from_numpy(own), torch.from_numpy(pulled)


def whitened_singular_values(weight: Any, input_moment: Any = None, output_moment: Any = None) -> Floats:
    """Compute the singular values of G^½ W A^½ without ever taking the larger side's root.

    With n ≤ m they are the roots of the eigenvalues of Rᵀ (Wᵀ G W) R where R Rᵀ = A, and the other way round.
    Singular A and G are normal (fewer tokens than features) and need no ridge here. Squares are diagonalised: values
    below sqrt(k·eps), about 1e-8 · √k, of the largest are rounding.

    Args:
        weight: W ``[m, n]``.
        input_moment: A = E[x xᵀ] ``[n, n]``, symmetric and positive semi-definite; identity if None.
        output_moment: G = E[g gᵀ] ``[m, m]``, likewise.

    Returns:
        ``[min(m, n)]``, non-increasing; their squares are nats per token where A and G are the Fisher's.

    Raises:
        InputError: shapes do not match, an entry is above 1e70, a moment is asymmetric or has a negative eigenvalue.
        NonFiniteError: NaN or infinity.

    References:
        Martens & Grosse (2015), Optimizing neural networks with Kronecker-factored approximate curvature, ICML.
        Hsu et al. (2022), Language model compression with weighted low-rank factorization, ICLR, and Wang et al.
        (2024), SVD-LLM, arXiv 2403.07378, for the one-sided metrics.

    Example:
        >>> whitened_singular_values([[1.0, 0.0], [0.0, 1.0]], [[4.0, 0.0], [0.0, 0.0]]).tolist()
        [2.0, 0.0]
    """
    import torch

    _, own, pulled = _small_side(weight, input_moment, output_moment)
    whitened = square_root(own).whitened(pulled)
    values: Floats = torch.linalg.eigvalsh(whitened).flip(0).clamp(min=0).sqrt().numpy()
    return values


def whitened_truncation(
    weight: Any, rank: int, input_moment: Any = None, output_moment: Any = None
) -> tuple[Floats, Floats]:
    """Factor the rank-r matrix that is nearest to W in the norm ‖G^½ (W − B C) A^½‖_F.

    An equality (Eckart–Young in the whitened coordinates). Where a moment is singular the part of W that the
    metric cannot see is dropped.

    Args:
        weight: W ``[m, n]``.
        rank: r in [1, min(m, n)].
        input_moment: A ``[n, n]`` or None for the identity.
        output_moment: G ``[m, m]`` or None for the identity.

    Returns:
        B ``[m, r]`` and C ``[r, n]``.

    Raises:
        InputError: the rank, a shape or an entry is out of range.

    Example:
        >>> left, right = whitened_truncation([[3.0, 0.0], [0.0, 1.0]], 1)
        >>> (left @ right).round(12).tolist()
        [[3.0, 0.0], [0.0, 0.0]]
    """
    matrix, own, pulled = _small_side(weight, input_moment, output_moment)
    m, n = matrix.shape
    rank = positive_integer("rank", rank, maximum=min(m, n))
    expand, contract = small_side_basis(square_root(own), pulled).projector(rank)
    left, right = (matrix @ expand, contract) if n <= m else (contract.T, expand.T @ matrix)
    return left.numpy(), right.numpy()
