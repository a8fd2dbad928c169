"""Both sides of Lemma 1 on S students at once, in torch: differentiable, and on any device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from theorykit.spectra import truncation_errors

Matrices = list[torch.Tensor]
WeightGradients = Callable[[Matrices], Matrices]
"""From the student weights W_s of all layers ``[S, parts, r, r]`` to the gradients by them, of the same shapes."""


@dataclass(frozen=True, eq=False)
class TeacherLayer:
    """One layer of the teacher beside its truncation; GPT-2's query, key and value are parts of one layer.

    Attributes:
        full: W_t ``[1, parts, m, n]``, float64.
        cut: W_t^r.
        errors: ε = ‖W_t − W_t^r‖_F ``[parts]``.
        norms: ‖W_t‖₂ ``[parts]``.
        start: P_left = U_rᵀ ``[1, parts, r, m]`` and P_right = V_r ``[1, parts, n, r]``, the SVD start.
    """

    full: torch.Tensor
    cut: torch.Tensor
    errors: torch.Tensor
    norms: torch.Tensor
    start: tuple[torch.Tensor, torch.Tensor]


def truncated(teacher: torch.Tensor, rank: int) -> TeacherLayer:
    """Return a layer ``[1, parts, m, n]`` beside its best approximation of rank ``rank``."""
    full = teacher.detach().double()
    u, s, vt = torch.linalg.svd(full, full_matrices=False)
    left, right = u[..., :rank].mT, vt[..., :rank, :].mT
    errors = [truncation_errors(values.numpy(force=True))[rank] for values in s[0]]
    cut = (u[..., :rank] * s[..., None, :rank]) @ vt[..., :rank, :]
    return TeacherLayer(full, cut, full.new_tensor(errors), s[0, :, 0], (left, right))


@dataclass(frozen=True, eq=False)
class Comparison:
    """The gradients of the factors at W_s and at W̃_s.

    Attributes:
        deviation: ‖∇_P L(W_s) − ∇_P L(W̃_s)‖_F of each layer and factor ``[S, layers, 2]``.
        trivial: The sum of both norms, which no deviation exceeds.
        projection_norms: Larger of ‖P_left‖₂ and ‖P_right‖₂ ``[S, layers]``.
        gradient_norms: ‖∇_{W_s}L‖₂ at W̃_s ``[S, layers]``.
        change: ‖∇_W L(W_s) − ∇_W L(W̃_s)‖_F, all layers stacked ``[S]``.
        distance: ‖W_s − W̃_s‖_F, all layers stacked ``[S]``.
    """

    deviation: torch.Tensor
    trivial: torch.Tensor
    projection_norms: torch.Tensor
    gradient_norms: torch.Tensor
    change: torch.Tensor
    distance: torch.Tensor

    @property
    def secant(self) -> torch.Tensor:
        """Return change / distance ``[S]``: at most L_W."""
        return self.change / self.distance


def compare(
    weight_gradients: WeightGradients, layers: Sequence[TeacherLayer], lefts: Matrices, rights: Matrices
) -> Comparison:
    """Compare the gradients of the factors with W_t and with W_t^r in its place, all layers truncated together.

    Args:
        weight_gradients: Called twice.
        layers: Of the teacher.
        lefts: P_left of each layer ``[S, parts, r, m]``, float64.
        rights: P_right ``[S, parts, n, r]``.
    """
    full, cut = (students(layers, lefts, rights, truncate=truncate) for truncate in (False, True))
    at_full, at_cut = weight_gradients(full), weight_gradients(cut)
    deviations, trivials = [], []
    for layer, left, right, g, h in zip(layers, lefts, rights, at_full, at_cut, strict=True):
        pairs = zip(_by_factors(g, layer.full, left, right), _by_factors(h, layer.cut, left, right), strict=True)
        norms = [(_frobenius(a - b), _frobenius(a) + _frobenius(b)) for a, b in pairs]
        deviations.append(torch.stack([deviation for deviation, _ in norms], dim=-1))
        trivials.append(torch.stack([trivial for _, trivial in norms], dim=-1))
    return Comparison(
        deviation=torch.cat(deviations, dim=1),
        trivial=torch.cat(trivials, dim=1),
        projection_norms=torch.cat(
            [torch.maximum(_spectral(left), _spectral(right)) for left, right in zip(lefts, rights, strict=True)], dim=1
        ),
        gradient_norms=torch.cat([_spectral(gradient) for gradient in at_cut], dim=1),
        change=joint_distance(at_full, at_cut),
        distance=joint_distance(full, cut),
    )


def students(layers: Sequence[TeacherLayer], lefts: Matrices, rights: Matrices, *, truncate: bool) -> Matrices:
    """Return W_s of all layers, or W̃_s."""
    return [
        left @ (layer.cut if truncate else layer.full) @ right
        for layer, left, right in zip(layers, lefts, rights, strict=True)
    ]


def joint_distance(first: Matrices, second: Matrices) -> torch.Tensor:
    """Return the Frobenius distance of all layers stacked ``[S]``."""
    parts = [torch.linalg.vector_norm((a - b).flatten(1), dim=1) for a, b in zip(first, second, strict=True)]
    joined: torch.Tensor = torch.linalg.vector_norm(torch.stack(parts), dim=0)
    return joined


def _by_factors(
    gradient: torch.Tensor, teacher: torch.Tensor, left: torch.Tensor, right: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ∇_{P_left}L and ∇_{P_right}L, as :func:`theorykit.factor_gradients` does for arrays."""
    return gradient @ (teacher @ right).mT, (left @ teacher).mT @ gradient


def _frobenius(matrix: torch.Tensor) -> torch.Tensor:
    norm: torch.Tensor = torch.linalg.vector_norm(matrix, dim=(-2, -1))
    return norm


def _spectral(matrix: torch.Tensor) -> torch.Tensor:
    """Return the largest singular value; of students that have failed, which nobody reads, that of zeros."""
    norm: torch.Tensor = torch.linalg.matrix_norm(matrix.nan_to_num(0.0, 0.0, 0.0), 2)
    return norm
