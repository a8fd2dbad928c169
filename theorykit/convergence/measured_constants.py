"""The constants of Lemma 1 measured on the weights of a teacher and its factored student: ε_l, M_l, B and G."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from theorykit.arguments import Floats, data_matrix, positive_integer
from theorykit.convergence.gradient_preservation import check_layers, gradient_preservation_bound
from theorykit.results import Result

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class LayerConstants(Result):
    """What the bounds on the factored gradient need from the weights.

    Attributes:
        ranks: Rank of the truncation, ``[layers]``.
        truncation_errors: ε_l = ‖W_t − W_t^r‖_F, ``[layers]``.
        teacher_norms: M_l = ‖W_t‖₂, ``[layers]``.
        projection_norms: max(‖P_left‖₂, ‖P_right‖₂), ``[layers]``.
        gradient_norms: ‖∇_{W_s}L‖₂ at the given point, ``[layers]``.
    """

    ranks: tuple[int, ...]
    truncation_errors: Floats
    teacher_norms: Floats
    projection_norms: Floats
    gradient_norms: Floats

    @property
    def projection_norm(self) -> float:
        """Return B, the largest over the layers."""
        return float(self.projection_norms.max())

    @property
    def gradient_norm(self) -> float:
        """Return G, the largest over the layers."""
        return float(self.gradient_norms.max())

    def gradient_preservation_bound(self, weight_smoothness: float) -> float:
        """Return the right side of Lemma 1, corrected, for a smoothness L_W that no weight tells."""
        return float(
            gradient_preservation_bound(
                self.truncation_errors,
                self.teacher_norms,
                projection_norm=self.projection_norm,
                weight_smoothness=weight_smoothness,
                gradient_norm=self.gradient_norm,
            )
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per layer."""
        import pandas as pd

        return pd.DataFrame(self.to_dict())


def measured_constants(
    teachers: Sequence[Any],
    lefts: Sequence[Any],
    rights: Sequence[Any],
    weight_gradients: Sequence[Any],
    *,
    ranks: Sequence[int] | None = None,
) -> LayerConstants:
    """Measure ε_l, ‖W_t^l‖₂, the factors' norms and ‖∇_{W_s^l}L‖₂ of each layer, in the units of the weights.

    Equalities, by SVD in float64. G is that of the one point at which the gradients were taken, as the corrected Lemma
    1 allows for W_s or W̃_s; for Theorem 1 it would be a supremum.

    Args:
        teachers: W_t ``[m_l, n_l]`` of each layer; arrays or torch tensors.
        lefts: P_left ``[r_l, m_l]``.
        rights: P_right ``[n_l, s_l]``.
        weight_gradients: ∇_{W_s}L ``[r_l, s_l]``, as ``torch.autograd.grad`` gives it.
        ranks: Rank of the truncation, in [1, min(m_l, n_l)]; r_l where not given.

    Returns:
        The constants per layer.

    Raises:
        InputError: lists of different length, a rank outside its domain, NaN or infinity.

    Example:
        >>> found = measured_constants([[[3.0, 0.0], [0.0, 4.0]]], [[[0.0, 2.0]]], [[[1.0], [0.0]]], [[[0.5]]])
        >>> found.truncation_errors.tolist(), found.projection_norm, found.gradient_norm
        ([3.0], 2.0, 0.5)
    """
    given = {"teachers": teachers, "lefts": lefts, "rights": rights, "weight_gradients": weight_gradients}
    check_layers(**given, **({} if ranks is None else {"ranks": ranks}))
    values = [np.linalg.svd(data_matrix("teacher", weight), compute_uv=False) for weight in teachers]
    wanted = [len(left) for left in lefts] if ranks is None else ranks
    kept = [positive_integer("rank", rank, maximum=s.size) for rank, s in zip(wanted, values, strict=True)]
    return LayerConstants(
        ranks=tuple(kept),
        truncation_errors=np.array([np.linalg.norm(s[rank:]) for rank, s in zip(kept, values, strict=True)]),
        teacher_norms=np.array([s[0] for s in values]),
        projection_norms=np.maximum(_spectral_norms("left", lefts), _spectral_norms("right", rights)),
        gradient_norms=_spectral_norms("weight_gradient", weight_gradients),
    )


def _spectral_norms(name: str, parts: Sequence[Any]) -> Floats:
    return np.array([np.linalg.norm(data_matrix(name, part), 2) for part in parts], dtype=np.float64)
