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

from theorykit.checks import Floats, finite_matrix, moment_matrix, positive_integer
from theorykit.spectra.spectrum import Spectrum, tail_energies

if TYPE_CHECKING:
    import torch

Metric = Literal["plain", "activation", "fisher"]
METRICS: tuple[Metric, ...] = ("plain", "activation", "fisher")


@dataclass(frozen=True, repr=False, eq=False)
class WhitenedSpectrum(Spectrum):
    """Singular values of G^½ W A^½; ``metric`` says which of A and G took part."""

    metric: Metric = "fisher"

    @property
    def predicted_losses(self) -> Floats:
        """Return ½ Σ_{i>r} σ_i² for r = 0 … q, ``[q + 1]``; nats per token where the metric is Fisher's."""
        return tail_energies(self.singular_values) / 2


def square_root(moment: torch.Tensor, ridge: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return some R ``[k, k]`` with R Rᵀ = moment (plus ridge · mean diagonal) and the pseudo-inverse of R.

    Any root gives the same whitened singular values. With a ridge it is the Cholesky factor, a tenth of the work;
    a singular moment takes its eigenvalues, of which those below k·eps of the largest are rounding and count as 0.
    """
    import torch

    size = moment.shape[0]
    if ridge > 0:
        shift = ridge * moment.diagonal().mean().clamp(min=0)
        moment = moment + shift * torch.eye(size, dtype=moment.dtype, device=moment.device)
        factor, failed = torch.linalg.cholesky_ex(moment)
        if not bool(failed):
            identity = torch.eye(size, dtype=moment.dtype, device=moment.device)
            return factor, torch.linalg.solve_triangular(factor, identity, upper=False)
    eigenvalues, vectors = torch.linalg.eigh(moment)
    floor = eigenvalues[-1] * size * np.finfo(float).eps
    roots = torch.where(eigenvalues > floor, eigenvalues, 0.0).clamp(min=0).sqrt()
    inverse = torch.where(roots > 0, 1 / roots.clamp(min=1e-300), 0.0)
    return vectors * roots, (vectors * inverse).T


@dataclass(frozen=True, eq=False)
class Basis:
    """The whitened singular directions of one layer on its smaller side.

    Attributes:
        eigenvalues: Squared whitened singular values, ``[k]``, non-increasing, non-negative.
        vectors: V ``[k, k]``, columns in the order of the eigenvalues.
        root: R and R⁺ ``[k, k]``; None for the identity.
    """

    eigenvalues: torch.Tensor
    vectors: torch.Tensor
    root: tuple[torch.Tensor, torch.Tensor] | None

    def projector(self, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return E = R V_r ``[k, r]`` and C = V_rᵀ R⁺ ``[r, k]`` of the (oblique) projector E C.

        W E C (n ≤ m) or (E C)ᵀ W (m < n) is the best matrix of rank r in the whitened norm.
        """
        kept = self.vectors[:, :rank]
        if self.root is None:
            return kept, kept.T
        return self.root[0] @ kept, kept.T @ self.root[1]


def small_side_basis(root: tuple[torch.Tensor, torch.Tensor] | None, pulled: torch.Tensor) -> Basis:
    """Diagonalise Rᵀ K R, K the pulled moment ``[k, k]`` and R the root (the identity where it is None)."""
    import torch

    eigenvalues, vectors = torch.linalg.eigh(pulled if root is None else root[0].T @ pulled @ root[0])
    return Basis(eigenvalues.flip(0).clamp(min=0), vectors.flip(1), root)


def _small_side(weight: Any, input_moment: Any, output_moment: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Check the arguments and return W, the moment on the smaller side, and the other one pulled through W."""
    import torch

    matrix = finite_matrix("weight", weight)
    m, n = matrix.shape
    a = np.eye(n) if input_moment is None else moment_matrix("input_moment", input_moment, n)
    g = np.eye(m) if output_moment is None else moment_matrix("output_moment", output_moment, m)
    own, pulled = (a, matrix.T @ g @ matrix) if n <= m else (g, matrix @ a @ matrix.T)
    # a copy, since torch takes no read-only or reversed array
    return torch.from_numpy(np.array(matrix, order="C")), torch.from_numpy(own), torch.from_numpy(pulled)


def whitened_singular_values(weight: Any, input_moment: Any = None, output_moment: Any = None) -> Floats:
    """Compute the singular values of G^½ W A^½ without ever taking the larger side's root.

    With n ≤ m they are the roots of the eigenvalues of Rᵀ (Wᵀ G W) R where R Rᵀ = A, and the other way round.
    Singular A and G are normal (fewer tokens than features) and need no ridge here.

    Args:
        weight: W ``[m, n]``.
        input_moment: A = E[x xᵀ] ``[n, n]``, symmetric and positive semi-definite; identity if None.
        output_moment: G = E[g gᵀ] ``[m, m]``, likewise.

    Returns:
        ``[min(m, n)]``, non-increasing; their squares are nats per token where A and G are the Fisher's.

    Raises:
        InputError: shapes do not match, a moment is asymmetric or has a negative eigenvalue.
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
    root = square_root(own)[0]
    values: Floats = torch.linalg.eigvalsh(root.T @ pulled @ root).flip(0).clamp(min=0).sqrt().numpy()
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
        InputError: the rank or a shape is out of range.

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
