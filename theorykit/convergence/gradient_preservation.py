"""What truncating the teacher does to the gradients of the factors: Lemma 1 (eq 8) as printed (eq 37) and corrected.

The student's weight of layer l is W_s = P_left W_t P_right; with the best rank-r approximation W_t^r in place of W_t it
is W̃_s. Eq 8 as printed subtracts gradients that live in different spaces; what its proof is about is the difference of
the gradients in (P_left, P_right) at the two. For the left factor of one layer, with G = ∇_{W_s}L,

    ‖G(W_s)(W_t P_right)ᵀ − G(W̃_s)(W_t^r P_right)ᵀ‖_F
        ≤ ‖G(W_s) − G(W̃_s)‖_F ‖W_t‖₂ ‖P_right‖₂ + ‖G(W̃_s)‖₂ ‖W_t − W_t^r‖_F ‖P_right‖₂.

Smoothness is joint: the first factor is at most L_W sqrt(Σ_k B⁴ ε_k²) ≤ L_W B² Σ_k ε_k for every layer l, so that a
layer sees the truncation of all the others. That and ‖P_right‖₂ ≤ B give B³ where eq 37 has B².
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from theorykit.arguments import Floats, calculation, matrix_stack, positive_array, positive_integer, shown
from theorykit.errors import InputError


def _constants(**given: Any) -> dict[str, Floats]:
    """Return B, L_W and G, or what else is given by name, as arrays that are not negative."""
    return {name: positive_array(name, value, allow_zero=True) for name, value in given.items()}


def gradient_preservation_bound(
    truncation_errors: Any,
    teacher_norms: Any,
    *,
    projection_norm: Any,
    weight_smoothness: Any,
    gradient_norm: Any,
) -> Any:
    """Bound Σ_l (left + right) ‖∇_P L(W_s) − ∇_P L(W̃_s)‖_F, Frobenius norms: Lemma 1, corrected.

    An upper bound, C Σ_l ε_l with C = 2B (L_W B² Σ_l ‖W_t^l‖₂ + G), all layers truncated together. Met with equality by
    one layer with W_t = M·I (2 × 2), r = 1, P_left = B e_2ᵀ, P_right = B e_2 and a quadratic loss, so that no constant
    can go. With several layers L_W B² ‖(M_l)‖₂ ‖(ε_l)‖₂ in place of L_W B² Σ M_l Σ ε_l is sharper. It is 0 at the SVD
    start (P_left = U_rᵀ, P_right = V_r), where the deviation is 0 and the bound is not.

    Args:
        truncation_errors: ε_l ``[..., layers]``, ≥ 0: ‖W_t − W_t^r‖_F. The spectral norm s_{r+1} is not enough, except
            as sqrt(r)·s_{r+1} where the factors have rank at most r.
        teacher_norms: M_l = ‖W_t^l‖₂ ``[..., layers]``, ≥ 0, spectral.
        projection_norm: B ≥ 0, at least the spectral norm of every factor. The paper takes the Frobenius norm, which
            is never smaller: the bound holds with it too.
        weight_smoothness: L_W ≥ 0, of the loss in all student weights jointly (Frobenius norm), on the segment from W̃_s
            to W_s; not the smoothness in the factors.
        gradient_norm: G ≥ 0, at least the largest ‖∇_{W_s^l}L‖₂ over the layers at W̃_s (or, likewise, at W_s; one of
            the two is enough). The Frobenius norm is never smaller and serves too.

    Returns:
        The bound, in the unit of a gradient (loss per unit of a factor); the leading shape.

    Raises:
        InputError: an argument outside its domain; not one norm per truncation error.

    References:
        arXiv 2603.22355, Lemma 1 and Appendix A (eqs 28 to 37), corrected here.

    Example:
        >>> given = {"projection_norm": 2.0, "weight_smoothness": 1.0, "gradient_norm": 3.0}
        >>> float(gradient_preservation_bound([0.5, 0.25], [1.0, 2.0], **given))
        45.0
    """
    errors, norms = _per_layer(truncation_errors, teacher_norms)
    constants = _constants(
        projection_norm=projection_norm, weight_smoothness=weight_smoothness, gradient_norm=gradient_norm
    )
    projection, smooth, gradient = constants.values()
    with calculation(truncation_errors=errors[..., 0], teacher_norms=norms[..., 0], **constants):
        constant = 2 * projection * (smooth * projection**2 * norms.sum(axis=-1) + gradient)
        return constant * errors.sum(axis=-1)


def _per_layer(truncation_errors: Any, teacher_norms: Any) -> tuple[Floats, Floats]:
    errors = np.atleast_1d(positive_array("truncation_errors", truncation_errors, allow_zero=True))
    norms = np.atleast_1d(positive_array("teacher_norms", teacher_norms, allow_zero=True))
    if errors.shape[-1:] != norms.shape[-1:]:
        raise InputError(
            f"truncation_errors of shape {errors.shape} and teacher_norms of shape {norms.shape} do not match",
            "give one of each per layer, along the last axis",
        )
    return errors, norms


def _layer_bound(power: int, *given: Any) -> Any:
    """Return (L B^power ‖W_t‖ + G B) ε of ε, ‖W_t‖, B, L and G: one layer alone, by one factor."""
    names = ("truncation_error", "teacher_norm", "projection_norm", "weight_smoothness", "gradient_norm")
    constants = _constants(**dict(zip(names, given, strict=True)))
    error, norm, bound, smooth, largest = constants.values()
    with calculation(**constants):
        return (smooth * bound**power * norm + largest * bound) * error


def factor_gradient_bound(
    truncation_error: Any, teacher_norm: Any, *, projection_norm: Any, weight_smoothness: Any, gradient_norm: Any
) -> Any:
    """Bound ‖∇_P L(W_s) − ∇_P L(W̃_s)‖_F of one factor of a single layer: eq 37, corrected.

    An upper bound, L_W B³ ‖W_t‖₂ ε + G B ε, half of :func:`gradient_preservation_bound` for one layer. The arguments
    are those of that function, each broadcasting.

    Raises:
        InputError: an argument outside its domain.

    Example:
        >>> given = {"projection_norm": 2.0, "weight_smoothness": 1.0, "gradient_norm": 3.0}
        >>> float(factor_gradient_bound(0.5, 1.0, **given))
        7.0
    """
    return _layer_bound(3, truncation_error, teacher_norm, projection_norm, weight_smoothness, gradient_norm)


def printed_gradient_bound(
    truncation_error: Any, teacher_norm: Any, *, projection_norm: Any, weight_smoothness: Any, gradient_norm: Any
) -> Any:
    """Evaluate L B² ‖W_t‖ ε + G B ε, eq 37 as printed, for one factor of a single layer.

    Printed as an upper bound on the norm that :func:`factor_gradient_bound` bounds; it is none where B > 1, since eqs
    31 and 36 multiply to B³. Witness: W_t = diag(1, 0.01), r = 1, P_left = (0, 4), P_right = (4, 4)ᵀ/√2 and a Huber
    loss of slope G = 0.04·√2 centred half-way between W̃_s and W_s: the left factor deviates by 0.3200, above the
    printed 0.1623. The arguments are those of :func:`factor_gradient_bound`.

    Returns:
        The printed value, in the unit of a gradient; the broadcast shape.

    Raises:
        InputError: an argument outside its domain.

    References:
        arXiv 2603.22355, eq 37.

    Example:
        >>> given = {"projection_norm": 2.0, "weight_smoothness": 1.0, "gradient_norm": 3.0}
        >>> float(printed_gradient_bound(0.5, 1.0, **given))
        5.0
    """
    return _layer_bound(2, truncation_error, teacher_norm, projection_norm, weight_smoothness, gradient_norm)


def _conforming(teacher: Any, left: Any, right: Any) -> tuple[Floats, Floats, Floats]:
    """Return W_t, P_left and P_right, or raise where P_left W_t P_right has no shape."""
    weight, before, after = matrix_stack("teacher", teacher), matrix_stack("left", left), matrix_stack("right", right)
    if before.shape[-1] != weight.shape[-2] or weight.shape[-1] != after.shape[-2]:
        raise InputError(
            f"left {before.shape}, teacher {weight.shape} and right {after.shape} do not multiply",
            "give left [r, m], teacher [m, n] and right [n, s]",
        )
    return weight, before, after


def _checked_gradient(weight_gradient: Any, before: Floats, after: Floats) -> Floats:
    gradient = matrix_stack("weight_gradient", weight_gradient)
    if gradient.shape[-2:] != (before.shape[-2], after.shape[-1]):
        raise InputError(
            f"weight_gradient has shape {gradient.shape}, the student's is {before.shape[-2]} × {after.shape[-1]}",
            "give the gradient by W_s = left @ teacher @ right",
        )
    return gradient


def factor_gradients(weight_gradient: Any, teacher: Any, left: Any, right: Any) -> tuple[Floats, Floats]:
    """Compute ∇_{P_left}L and ∇_{P_right}L from ∇_{W_s}L by the chain rule, in loss per unit of a factor.

    Equalities: ∇_{P_left} = ∇_{W_s} (W_t P_right)ᵀ (eqs 9 and 28) and ∇_{P_right} = W_tᵀ P_leftᵀ ∇_{W_s}. The paper's
    eqs 10 and 29 leave P_leftᵀ out: there the shapes do not conform.

    Args:
        weight_gradient: ∇_{W_s}L ``[..., r, s]``; leading axes broadcast.
        teacher: W_t ``[..., m, n]``.
        left: P_left ``[..., r, m]``.
        right: P_right ``[..., n, s]``; s = r in the paper.

    Returns:
        ``[..., r, m]`` and ``[..., n, s]``.

    Raises:
        InputError: shapes that do not multiply, NaN or infinity.

    Example:
        >>> left, right = factor_gradients([[1.0]], [[2.0, 0.0], [0.0, 3.0]], [[1.0, 1.0]], [[1.0], [0.0]])
        >>> left.tolist(), right.tolist()
        ([[2.0, 0.0]], [[2.0], [3.0]])
    """
    weight, before, after = _conforming(teacher, left, right)
    gradient = _checked_gradient(weight_gradient, before, after)
    with _leading(weight_gradient=gradient, teacher=weight, left=before, right=after):
        return gradient @ (weight @ after).mT, (before @ weight).mT @ gradient


def _leading(**stacks: Floats) -> AbstractContextManager[None]:
    """Return the context in which the leading axes of stacks of matrices are known to broadcast."""
    return calculation(**{name: stack[..., 0, 0] for name, stack in stacks.items()})


def _truncated(weight: Floats, rank: int) -> Floats:
    """Return the best approximation of rank ``rank`` of each matrix of a stack."""
    u, s, vt = np.linalg.svd(weight, full_matrices=False)
    return np.asarray((u[..., :rank] * s[..., None, :rank]) @ vt[..., :rank, :], dtype=np.float64)


def check_layers(**parts: Any) -> None:
    """Raise where lists of one entry per layer are none, are empty, or differ in length."""
    for name, part in parts.items():
        if not isinstance(part, list | tuple) and not getattr(part, "ndim", 0):
            raise InputError(f"{name} = {shown(part)} is not a list of layers", "give one entry per layer")
    lengths = {name: len(part) for name, part in parts.items()}
    if 0 in lengths.values() or len(set(lengths.values())) > 1:
        counts = ", ".join(f"{count} {name}" for name, count in lengths.items())
        raise InputError(f"{counts} do not make layers", "give one of each per layer")


def gradient_deviation(
    weight_gradients: Callable[[list[Floats]], Sequence[Any]],
    teachers: Sequence[Any],
    lefts: Sequence[Any],
    rights: Sequence[Any],
    *,
    ranks: Sequence[int] | None = None,
) -> Floats:
    """Compute ‖∇_P L(W_s) − ∇_P L(W̃_s)‖_F of each layer and factor, all layers truncated together.

    An equality: the left side of Lemma 1. Its sum over layers and factors is what
    :func:`gradient_preservation_bound` bounds. Where s_r = s_{r+1} the truncation is one of several.

    Args:
        weight_gradients: Takes the list of student weights W_s^l ``[..., r_l, s_l]`` and returns their
            gradients ∇_{W_s^l}L, of the same shapes. Called twice.
        teachers: W_t^l ``[..., m_l, n_l]`` of each layer; leading axes are trials and broadcast.
        lefts: P_left of each layer, ``[..., r_l, m_l]``.
        rights: P_right of each layer, ``[..., n_l, s_l]``.
        ranks: Rank of the truncation of each layer, in [1, min(m_l, n_l)]; r_l where not given.

    Returns:
        ``[..., layers, 2]``, left and right, in the unit of a gradient.

    Raises:
        InputError: not one factor of each kind per layer, shapes that do not multiply, a rank outside its domain.

    Example:
        >>> deviation = gradient_deviation(lambda students: students, [[[2.0, 0.0], [0.0, 1.0]]], [[[0.0, 1.0]]],
        ...                                [[[0.0], [1.0]]])
        >>> deviation.tolist()
        [[1.0, 1.0]]
    """
    check_layers(teachers=teachers, lefts=lefts, rights=rights, **({} if ranks is None else {"ranks": ranks}))
    layers = [_conforming(*parts) for parts in zip(teachers, lefts, rights, strict=True)]
    wanted = ranks if ranks is not None else [before.shape[-2] for _, before, _ in layers]
    limits = [min(weight.shape[-2:]) for weight, _, _ in layers]
    kept = [positive_integer("rank", rank, maximum=limit) for rank, limit in zip(wanted, limits, strict=True)]
    truncated = [
        (_truncated(weight, rank), before, after) for (weight, before, after), rank in zip(layers, kept, strict=True)
    ]
    with calculation(teachers=None, lefts=None, rights=None):
        full, cut = (_all_factor_gradients(weight_gradients, given) for given in (layers, truncated))
        norms = [
            np.stack([np.linalg.norm(a - b, axis=(-2, -1)) for a, b in zip(at_full, at_cut, strict=True)], axis=-1)
            for at_full, at_cut in zip(full, cut, strict=True)
        ]
    return np.stack(np.broadcast_arrays(*norms), axis=-2)


def _all_factor_gradients(
    weight_gradients: Callable[[list[Floats]], Sequence[Any]], layers: list[tuple[Floats, Floats, Floats]]
) -> list[tuple[Floats, Floats]]:
    """Return the gradients of both factors of every layer at the student that the layers make."""
    students = []
    for weight, before, after in layers:
        with _leading(teacher=weight, left=before, right=after):
            students.append(before @ weight @ after)
    gradients = weight_gradients(students)
    if len(gradients) != len(layers):
        raise InputError(
            f"weight_gradients returned {len(gradients)} gradients for {len(layers)} layers", "return one per layer"
        )
    return [factor_gradients(gradient, *layer) for gradient, layer in zip(gradients, layers, strict=True)]
