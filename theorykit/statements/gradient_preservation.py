"""Lemma 1, eqs 8–10: the gradient of the factors when the teacher is replaced by its truncation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from theorykit.arguments import Floats
from theorykit.convergence import gradient_deviation, gradient_preservation_bound
from theorykit.statements.evidence import Found, Side, Truth, computation, proof, search
from theorykit.statements.gradient_rules import (
    EPSILON,
    GRADIENT,
    PRESERVATION,
    PROJECTION,
    SMOOTHNESS,
    TEACHER,
    left_gradient,
    right_gradient,
    right_shapes,
    split_holds,
)
from theorykit.statements.statement import Equation, Form, Kind, Statement, Symbol


def _spaces() -> Found:
    """Count the entries of both gradients of eq 8 for a square layer, where they could agree most easily."""
    size, rank = 3, 1
    factors, weights = rank * size + size * rank, size * size
    sentence = (
        f"for a {size} × {size} layer at r = {rank} ∇_P L has {factors} entries and ∇_W L has {weights}: their "
        "difference does not exist"
    )
    return Found(Truth.REFUTED if factors != weights else Truth.UNDECIDED, sentence, {"P": factors, "W": weights})


def _assembled() -> tuple[bool, str]:
    """Assemble the corrected constant for two layers from the split of Appendix A and joint smoothness."""
    b, smooth, slope = PROJECTION, SMOOTHNESS, GRADIENT
    errors, norms = sp.symbols("e1 e2", nonnegative=True), sp.symbols("m1 m2", nonnegative=True)
    # joint smoothness: ‖g − g̃‖ ≤ L_W (Σ (B² ε_k)²)^½ ≤ L_W B² Σ ε_k, since the squares differ by what is not negative
    rest = sp.expand((b**2 * sum(errors)) ** 2 - sum((b**2 * error) ** 2 for error in errors))
    # both factors of every layer: its gradient's change times M_l B, and G times ε_l B
    both = 2 * sum(smooth * b**2 * sum(errors) * norm * b for norm in norms)
    both += 2 * sum(slope * error * b for error in errors)
    claimed = PRESERVATION.subs({TEACHER: sum(norms), EPSILON: sum(errors)})
    return bool(split_holds() and rest.is_nonnegative and sp.expand(both - claimed) == 0), (
        "the split of Appendix A for each factor, joint smoothness for each layer, summed over both factors and "
        "two layers: "
        "exactly 2B(L_W B² Σ‖W_t‖₂ + G) Σε"
    )


def _at_the_start() -> tuple[bool, str]:
    """Take a diagonal teacher at its SVD start, P_left = (I_r 0), P_right = (I_r; 0): W_s and both rules stay."""
    values = sp.symbols("s1 s2 s3", positive=True)
    teacher = sp.diag(*values)
    truncated = sp.diag(values[0], 0, 0)
    left, right = sp.Matrix([[1, 0, 0]]), sp.Matrix([[1], [0], [0]])
    same_student = (left * teacher * right - left * truncated * right).is_zero_matrix
    same_left = ((teacher * right).T - (truncated * right).T).is_zero_matrix
    same_right = ((left * teacher).T - (left * truncated).T).is_zero_matrix
    return bool(same_student and same_left and same_right), (
        "at P_left = U_rᵀ, P_right = V_r the truncation changes neither W_s nor the gradients of the factors: the "
        "deviation is 0"
    )


_LAYERS, _SIZE, _RANK = 2, 3, 1


@dataclass(frozen=True)
class _Trials:
    """Random instances: per layer teachers ``[trials, 3, 3]`` and factors; Hessians ``[trials, 2, 2]`` of the loss.

    ``extremal`` trials lie near an instance that meets the bound or tells it from a wrong one, ``joint`` ones near the
    one in which layers feel each other.
    """

    teachers: list[Floats]
    lefts: list[Floats]
    rights: list[Floats]
    hessian: Floats
    extremal: NDArray[np.bool_]
    joint: NDArray[np.bool_]


def _drawn(generator: np.random.Generator, count: int) -> _Trials:
    """Draw two layers with a jointly quadratic loss.

    A third of the trials are the extremal instance (W_t = M·I, factors along its second axis, loss ‖W_s‖²/2 and
    one layer at work), a third one in which layers feel each other (teachers of norm 1 and ε = (1, 0), a Hessian with
    all entries ±1/√2, gradient 0 at W̃_s): it tells Σ_k ε_k from a layer's own ε_l. Both perturbed by many magnitudes.
    """
    family = generator.integers(0, 3, count)
    extremal, joint = family > 0, family == 2
    pick, together = extremal[:, None, None], joint[:, None, None]
    spread = np.where(extremal, 10.0 ** generator.uniform(-8, 0, count), 1.0)[:, None, None]
    projection = generator.exponential(size=(count, 1, 1)) * 2
    planted = (np.diag([1.0, 1.0, 0.0]), together * np.diag([1.0, 0.0, 0.0]))
    teachers, lefts, rights = [], [], []
    for layer in range(_LAYERS):
        scale = np.where(together, 1.0, generator.exponential(size=(count, 1, 1)) ** 2)
        teacher = generator.standard_normal((count, _SIZE, _SIZE)) * generator.exponential(size=(count, 1, _SIZE)) ** 2
        teachers.append(scale * np.where(pick, planted[layer] + 1e-3 * spread * teacher, teacher))
        axis = np.where(together, np.eye(_SIZE)[1 - layer], np.eye(_SIZE)[1])
        drawn = generator.standard_normal((count, 2, _SIZE))
        lefts.append(projection * np.where(pick, axis + spread * drawn[:, :1], drawn[:, :1]))
        rights.append(projection * np.where(pick, axis + spread * drawn[:, 1:], drawn[:, 1:]).mT)
    hessian = generator.standard_normal((count, _LAYERS, _LAYERS))
    hessian = np.where(pick, np.eye(_LAYERS), (hessian + hessian.mT) / 2)
    hessian[joint] = np.array([[1.0, 1.0], [1.0, -1.0]]) / np.sqrt(2)
    return _Trials(teachers, lefts, rights, hessian, extremal, joint)


def _deviations(generator: np.random.Generator, count: int) -> Floats:
    """Return the deviation of random instances, summed over factors and layers, over its bound."""
    trials = _drawn(generator, count)
    parts = [np.linalg.svd(teacher) for teacher in trials.teachers]
    cut = [(u[..., :_RANK] * s[..., None, :_RANK]) @ vt[..., :_RANK, :] for u, s, vt in parts]
    truncated = [left @ weight @ right for left, weight, right in zip(trials.lefts, cut, trials.rights, strict=True)]
    offset = generator.standard_normal((count, _LAYERS)) * np.where(trials.extremal, 0.0, 1.0)[:, None]
    at_cut = np.stack([student[:, 0, 0] for student in truncated], axis=-1)
    offset[trials.joint] = -np.einsum("tij,tj->ti", trials.hessian, at_cut)[trials.joint]

    def gradients(students: list[Floats]) -> list[Floats]:
        stacked = np.stack([student[:, 0, 0] for student in students], axis=-1)
        slopes = np.einsum("tij,tj->ti", trials.hessian, stacked) + offset
        return [slopes[:, layer, None, None] for layer in range(_LAYERS)]

    factors = (trials.lefts, trials.rights)
    deviation = gradient_deviation(gradients, trials.teachers, *factors, ranks=[_RANK] * _LAYERS).sum(axis=(-2, -1))
    bound = gradient_preservation_bound(
        np.stack([np.sqrt((s[:, _RANK:] ** 2).sum(axis=-1)) for _, s, _ in parts], axis=-1),
        np.stack([s[:, 0] for _, s, _ in parts], axis=-1),
        projection_norm=np.max([np.linalg.norm(factor, axis=(1, 2)) for side in factors for factor in side], axis=0),
        weight_smoothness=np.abs(np.linalg.eigvalsh(trials.hessian)).max(axis=-1),
        gradient_norm=np.max([np.abs(part[:, 0, 0]) for part in gradients(truncated)], axis=0),
    )
    return np.asarray(deviation / np.maximum(bound, 1e-300), dtype=np.float64)


STATEMENT = Statement(
    slug="gradient-preservation",
    label="Lemma 1",
    title="Gradient preservation",
    kind=Kind.UPPER,
    equations=(
        Equation(
            key="eq-8",
            label="eq 8",
            printed="‖∇_P L − ∇_W L‖ ≤ C Σ_l ε_l",
            corrected="Σ_(l, factors) ‖∇_P L(W_s) − ∇_P L(W̃_s)‖_F ≤ 2B(L_W B² Σ_l‖W_t^l‖₂ + G) Σ_l ε_l",
            checks=(
                computation(Side.PRINTED, "the spaces of both gradients", _spaces),
                proof(Side.CORRECTED, "the constant, assembled", _assembled),
                proof(Side.CORRECTED, "no deviation at the SVD start", _at_the_start),
                search(Side.CORRECTED, "two layers truncated together", _deviations),
            ),
            kind=Kind.UPPER,
            remark="ill-typed as printed; its proof is about two gradients in the factors",
        ),
        Equation(
            key="eq-9",
            label="eq 9",
            printed="∇_(P_left) L = ∇_(W_s) L · (W_t P_right)ᵀ",
            corrected="",
            checks=(left_gradient(),),
        ),
        Equation(
            key="eq-10",
            label="eq 10",
            printed="∇_(P_right) L = W_tᵀ · ∇_(W_s) L",
            corrected="∇_(P_right) L = W_tᵀ P_leftᵀ ∇_(W_s) L",
            checks=(computation(Side.PRINTED, "shapes", right_shapes), right_gradient()),
            remark="the shapes do not conform",
        ),
    ),
    symbols=(
        Symbol("truncation_error", EPSILON, "Σ_l ε_l, Frobenius norms", open=False),
        Symbol("teacher_norm", TEACHER, "Σ_l ‖W_t^l‖₂", open=False),
        Symbol("projection_norm", PROJECTION, "B, largest spectral norm of a factor", open=False),
        Symbol("weight_smoothness", SMOOTHNESS, "L_W, smoothness of the loss in all student weights", open=False),
        Symbol("gradient_norm", GRADIENT, "G, largest ‖∇_(W_s)‖₂ of a layer at W̃_s", open=False),
    ),
    corrected=Form(
        "2B(L_W B² Σ‖W_t‖₂ + G) Σε",
        PRESERVATION,
        lambda truncation_error, teacher_norm, **constants: gradient_preservation_bound(
            truncation_error[..., None], teacher_norm[..., None], **constants
        ),
        ("truncation_error", "teacher_norm", "projection_norm", "weight_smoothness", "gradient_norm"),
    ),
    assumptions=(
        "loss L_W-smooth in all student weights jointly, between W̃_s and W_s",
        "‖P‖₂ ≤ B for every factor",
    ),
    references=("derived here; the split of the difference is that of Appendix A",),
)
