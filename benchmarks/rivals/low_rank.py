"""Truncated singular value decompositions: plain, ASVD, SVD-LLM, KFAC-SVD; ranks that are uniform or allocated.

All are one truncation: with L and R invertible, W_r = L⁻¹ (L W R)_r R⁻¹ is the best of rank r in the norm ‖L · R‖.

| | L | R |
|---|---|---|
| SVD | 1 | 1 |
| ASVD (Yuan et al. 2023, arXiv 2312.05821) | 1 | diag(E |x|)^½ |
| SVD-LLM (Wang et al. 2024, arXiv 2403.07378) | 1 | a root of E x xᵀ |
| KFAC-SVD (as described for LEMS' referee) | a root of G, shrunk by .3 | a root of A, shrunk by .1 |
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rivals.moments import Moments

METRICS = ("SVD", "ASVD", "SVD-LLM", "KFAC-SVD")
SHRINK_INPUTS, SHRINK_GRADIENTS = 0.1, 0.3
ASVD_EXPONENT = 0.5
_RIDGE = 1e-6  # of the mean diagonal: SVD-LLM needs a moment of full rank, as its code adds one where it has not


@dataclass(frozen=True)
class Truncation:
    """All truncations of one layer: W_r = ``left[:, :r] @ right[:r]``.

    Attributes:
        left: ``[m, k]`` float32.
        right: ``[k, n]`` float32.
        losses: Σ_{i>r} σ_i² for r = 0 … k, ``[k + 1]`` float64, in the metric's own unit.
    """

    left: torch.Tensor
    right: torch.Tensor
    losses: torch.Tensor

    def weight(self, rank: int) -> torch.Tensor:
        """Return W_r ``[m, n]``."""
        return self.left[:, :rank] @ self.right[:rank]


def truncation(weight: torch.Tensor, moments: Moments, metric: str) -> Truncation:
    """Decompose one layer in a metric."""
    w = weight.detach().double()
    left = root_and_inverse(_shrunk(moments.gradients, SHRINK_GRADIENTS)) if metric == "KFAC-SVD" else None
    right = None
    if metric == "ASVD":
        scale = moments.magnitudes.clamp_min(1e-12) ** ASVD_EXPONENT
        right = (torch.diag(scale), torch.diag(1 / scale))
    elif metric == "SVD-LLM":
        right = root_and_inverse(_shrunk(moments.inputs, _RIDGE))
    elif metric == "KFAC-SVD":
        right = root_and_inverse(_shrunk(moments.inputs, SHRINK_INPUTS))
    whitened = w if left is None else left[0] @ w
    whitened = whitened if right is None else whitened @ right[0]
    u, s, v = torch.linalg.svd(whitened, full_matrices=False)
    a = u * s if left is None else left[1] @ (u * s)
    b = v if right is None else v @ right[1]
    tail = torch.cat([s.square().flip(0).cumsum(0).flip(0), torch.zeros(1, dtype=s.dtype)])
    return Truncation(a.float(), b.float(), tail)


def _shrunk(moment: torch.Tensor, share: float) -> torch.Tensor:
    mean = moment.diagonal().mean()
    return (1 - share) * moment + share * mean * torch.eye(moment.shape[0], dtype=moment.dtype)


def root_and_inverse(moment: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the symmetric root of a moment and its inverse."""
    values, vectors = torch.linalg.eigh(moment)
    root = values.clamp_min(0).sqrt().clamp_min(1e-12 * float(values[-1].clamp_min(1e-300).sqrt()))
    return vectors * root @ vectors.T, vectors / root @ vectors.T


def uniform_rank(shape: tuple[int, int], share: float, *, gauge_free: bool) -> int | None:
    """Return the largest rank whose numbers are at most a share of mn; None where dense is within it."""
    m, n = shape
    if share >= 1:
        return None
    limit = share * m * n
    # the smaller root of r(m + n − r) = limit
    rank = ((m + n) - ((m + n) ** 2 - 4 * limit) ** 0.5) / 2 if gauge_free else limit / (m + n)
    return max(int(rank), 1)


def numbers(shape: tuple[int, int], rank: int | None, *, gauge_free: bool) -> int:
    """Return what a layer of a rank stores."""
    m, n = shape
    if rank is None:
        return m * n
    return rank * (m + n - rank) if gauge_free else rank * (m + n)
