"""Lemma 1, eqs 8–10: the gradient of the factors when the teacher is replaced by its truncation."""

from __future__ import annotations

import numpy as np
import sympy as sp

from theorykit.checks import Floats
from theorykit.convergence import gradient_deviation, gradient_preservation_bound
from theorykit.statements.evidence import Found, Side, Truth, computation, proof, search
from theorykit.statements.gradient_rules import left_gradient, right_gradient, right_shapes
from theorykit.statements.statement import Equation, Form, Kind, Statement, Symbol

_B, _LW, _G, _M, _EPS = sp.symbols("B L_W G M epsilon", nonnegative=True)


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
    b, smooth, slope = sp.symbols("B L_W G", positive=True)
    errors, norms = sp.symbols("e1 e2", nonnegative=True), sp.symbols("m1 m2", nonnegative=True)
    # ‖g X − g̃ X̃‖ ≤ ‖g − g̃‖‖X‖ + ‖g̃‖‖X − X̃‖, of which the split is an identity of symbols that do not commute
    g, h, x, y = sp.symbols("g h x y", commutative=False)
    split = sp.expand(g * x - h * y - ((g - h) * x + h * (x - y))) == 0
    # joint smoothness: ‖g − g̃‖ ≤ L_W (Σ (B² ε_k)²)^½ ≤ L_W B² Σ ε_k, since the squares differ by what is not negative
    rest = sp.expand((b**2 * sum(errors)) ** 2 - sum((b**2 * error) ** 2 for error in errors))
    # both factors of every layer: its gradient's change times M_l B, and G times ε_l B
    both = 2 * sum(smooth * b**2 * sum(errors) * norm * b for norm in norms)
    both += 2 * sum(slope * error * b for error in errors)
    claimed = 2 * b * (smooth * b**2 * sum(norms) + slope) * sum(errors)
    return bool(split and rest.is_nonnegative and sp.expand(both - claimed) == 0), (
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


def _deviations(generator: np.random.Generator, count: int) -> Floats:
    """Draw two layers with a jointly quadratic loss; deviation summed over factors and layers / bound.

    A third of the trials are the extremal instance (W_t = M·I, factors along its second axis, loss ‖W_s‖²/2 and
    one layer at work), a third one in which layers feel each other (teachers of norm 1 and ε = (1, 0), a Hessian with
    all entries ±1/√2, gradient 0 at W̃_s): it tells Σ_k ε_k from a layer's own ε_l. Both perturbed by many magnitudes.
    """
    layers, size, rank = 2, 3, 1
    family = generator.integers(0, 3, count)
    extremal, joint = family > 0, family == 2
    spread = np.where(extremal, 10.0 ** generator.uniform(-8, 0, count), 1.0)[:, None, None]
    projection = generator.exponential(size=(count, 1, 1)) * 2
    teachers, lefts, rights = [], [], []
    for layer in range(layers):
        scale = generator.exponential(size=(count, 1, 1)) ** 2
        teacher = generator.standard_normal((count, size, size)) * generator.exponential(size=(count, 1, size)) ** 2
        second = np.where(joint, 1.0, 0.0)[:, None, None] * np.diag([1.0, 0.0, 0.0])
        planted = np.broadcast_to(np.diag([1.0, 1.0, 0.0]), teacher.shape) if layer == 0 else second
        pick = extremal[:, None, None]
        teachers.append(
            np.where(joint[:, None, None], 1.0, scale) * np.where(pick, planted + 1e-3 * spread * teacher, teacher)
        )
        axis = np.zeros((count, 1, size))
        axis[:, :, 1 - layer] = 1.0
        axis[~joint] = np.eye(size)[1]
        drawn = generator.standard_normal((count, 2, size))
        lefts.append(projection * np.where(pick, axis + spread * drawn[:, :1], drawn[:, :1]))
        rights.append(projection * np.where(pick, axis + spread * drawn[:, 1:], drawn[:, 1:]).mT)
    hessian = generator.standard_normal((count, layers, layers))
    hessian = np.where(extremal[:, None, None], np.eye(layers), (hessian + hessian.mT) / 2)
    hessian[joint] = np.array([[1.0, 1.0], [1.0, -1.0]]) / np.sqrt(2)
    smooth = np.abs(np.linalg.eigvalsh(hessian)).max(axis=-1)
    offset = generator.standard_normal((count, layers)) * np.where(extremal, 0.0, 1.0)[:, None]
    cut = [_truncated_student(*parts, rank) for parts in zip(teachers, lefts, rights, strict=True)]
    at_cut = np.stack([student[:, 0, 0] for student in cut], axis=-1)
    offset[joint] = -np.einsum("tij,tj->ti", hessian, at_cut)[joint]

    def gradients(students: list[Floats]) -> list[Floats]:
        stacked = np.stack([student[:, 0, 0] for student in students], axis=-1)
        slopes = np.einsum("tij,tj->ti", hessian, stacked) + offset
        return [slopes[:, layer, None, None] for layer in range(layers)]

    deviation = gradient_deviation(gradients, teachers, lefts, rights, ranks=[rank] * layers).sum(axis=(-2, -1))
    singular = [np.linalg.svd(teacher, compute_uv=False) for teacher in teachers]
    errors = np.stack([np.sqrt((values[:, rank:] ** 2).sum(axis=-1)) for values in singular], axis=-1)
    norms = np.stack([values[:, 0] for values in singular], axis=-1)
    largest = np.max([np.linalg.norm(factor, axis=(1, 2)) for factor in (*lefts, *rights)], axis=0)
    slope = np.max([np.abs(part[:, 0, 0]) for part in gradients(cut)], axis=0)
    bound = gradient_preservation_bound(
        errors, norms, projection_norm=largest, weight_smoothness=smooth, gradient_norm=slope
    )
    return np.asarray(deviation / np.maximum(bound, 1e-300), dtype=np.float64)


def _truncated_student(teacher: Floats, left: Floats, right: Floats, rank: int) -> Floats:
    u, s, vt = np.linalg.svd(teacher, full_matrices=False)
    return np.asarray(left @ ((u[..., :rank] * s[..., None, :rank]) @ vt[..., :rank, :]) @ right)


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
        Symbol("truncation_error", _EPS, "Σ_l ε_l, Frobenius norms", open=False),
        Symbol("teacher_norm", _M, "Σ_l ‖W_t^l‖₂", open=False),
        Symbol("projection_norm", _B, "B, largest spectral norm of a factor", open=False),
        Symbol("weight_smoothness", _LW, "L_W, smoothness of the loss in all student weights", open=False),
        Symbol("gradient_norm", _G, "G, largest ‖∇_(W_s)‖₂ of a layer at W̃_s", open=False),
    ),
    corrected=Form(
        "2B(L_W B² Σ‖W_t‖₂ + G) Σε",
        2 * _B * (_LW * _B**2 * _M + _G) * _EPS,
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
