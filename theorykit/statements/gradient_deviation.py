"""Appendix A, eqs 28–37: the proof of Lemma 1, which loses a factor B at its end and a sum over layers."""

from __future__ import annotations

import numpy as np
import sympy as sp

from theorykit.arguments import Floats
from theorykit.convergence import factor_gradient_bound, printed_gradient_bound
from theorykit.statements.evidence import Check, Side, Witness, computation, proof, search, witness
from theorykit.statements.gradient_rules import (
    EPSILON,
    GRADIENT,
    PRESERVATION,
    PROJECTION,
    SMOOTHNESS,
    TEACHER,
    left_gradient,
    norm_of_product,
    norm_rules,
    right_gradient,
    right_shapes,
    split_holds,
)
from theorykit.statements.statement import Equation, Form, Kind, Statement, Symbol

# of one layer, where the shared symbols are of all layers together
_EPS, _M, _B, _L, _G = sp.symbols("epsilon_l M_l B L G", nonnegative=True)
_PRINTED = _L * _B**2 * _M * _EPS + _G * _B * _EPS
_CORRECTED = _L * _B**3 * _M * _EPS + _G * _B * _EPS
_SIZE = 3


def _split_difference() -> tuple[bool, str]:
    return split_holds(), (
        "computed, with symbols that do not commute: g Xᵀ − g̃ X̃ᵀ = (g − g̃) Xᵀ + g̃ (X − X̃)ᵀ, X = W_t P_right; the "
        "rules on norms that follow are cited"
    )


def _projected_difference() -> tuple[bool, str]:
    left, teacher, cut, right = sp.symbols("P W V Q", commutative=False)
    rest = sp.expand(left * teacher * right - left * cut * right - left * (teacher - cut) * right)
    return rest == 0, "computed, with symbols that do not commute: W_s − W̃_s = P_left (W_t − W_t^r) P_right"


def _quantities(generator: np.random.Generator, count: int) -> dict[str, Floats]:
    """Draw teachers, factors and gradients, and return every norm in eqs 31 to 36.

    A fifth of the trials are the extremal instance of eq 37's first term: W_t = diag(M, M, 0), both factors along the
    second axis with one norm, and a quadratic loss with slope 0 at W̃_s.
    """
    shape = (count, _SIZE, _SIZE)
    teacher = generator.standard_normal(shape) * generator.exponential(size=(count, 1, _SIZE)) ** 2
    extremal = generator.random(count) < 0.2
    teacher[extremal] = np.diag([1.0, 1.0, 0.0]) * generator.exponential(size=(extremal.sum(), 1, 1))
    u, s, vt = np.linalg.svd(teacher)
    cut = u[:, :, :1] * s[:, None, :1] @ vt[:, :1]
    # along the second axis of the teacher, with whatever sign the decomposition gave it
    aligned = ((generator.random(count) < 0.3) | extremal)[:, None, None]
    left = np.where(aligned, u[:, :, 1:2].mT, generator.standard_normal((count, 1, _SIZE)))
    right = np.where(aligned, vt[:, 1:2].mT, generator.standard_normal((count, _SIZE, 1)))
    scale = generator.exponential(size=(2, count, 1, 1)) * 2
    scale[1, extremal] = scale[0, extremal]
    left, right = left * scale[0], right * scale[1]
    curvature = generator.exponential(size=count) + 1e-3
    full, low = (left @ weight @ right for weight in (teacher, cut))
    offset = np.where(extremal, low[:, 0, 0], generator.standard_normal(count))
    slope_full, slope_low = (curvature * (student[:, 0, 0] - offset) for student in (full, low))
    deviation = slope_full[:, None, None] * (teacher @ right).mT - slope_low[:, None, None] * (cut @ right).mT
    return {
        "deviation": np.linalg.norm(deviation, axis=(1, 2)),
        "slope_difference": np.abs(slope_full - slope_low),
        "slope": np.abs(slope_low),
        "students": np.abs((full - low)[:, 0, 0]),
        "curvature": curvature,
        "teacher": s[:, 0],
        "epsilon": np.sqrt((s[:, 1:] ** 2).sum(axis=1)),
        "left": np.linalg.norm(left, axis=(1, 2)),
        "right": np.linalg.norm(right, axis=(1, 2)),
    }


def _split(generator: np.random.Generator, count: int) -> Floats:
    found = _quantities(generator, count)
    first = found["slope_difference"] * found["teacher"] * found["right"]
    return found["deviation"] / (first + found["slope"] * found["epsilon"] * found["right"])


def _students(generator: np.random.Generator, count: int) -> Floats:
    found = _quantities(generator, count)
    return found["students"] / (found["left"] * found["epsilon"] * found["right"])


def _squared(generator: np.random.Generator, count: int) -> Floats:
    found = _quantities(generator, count)
    return found["students"] / (np.maximum(found["left"], found["right"]) ** 2 * found["epsilon"])


def _smooth(generator: np.random.Generator, count: int) -> Floats:
    found = _quantities(generator, count)
    ratio = found["slope_difference"] / np.maximum(found["curvature"] * found["students"], 1e-300)
    # a difference of slopes far below the slopes themselves is rounding, and no trial
    return np.where(found["slope_difference"] > 1e-5 * found["slope"], ratio, 0.0)


def _assembled(generator: np.random.Generator, count: int) -> Floats:
    found = _quantities(generator, count)
    bound = factor_gradient_bound(
        found["epsilon"],
        found["teacher"],
        projection_norm=np.maximum(found["left"], found["right"]),
        weight_smoothness=found["curvature"],
        gradient_norm=found["slope"],
    )
    return np.asarray(found["deviation"] / bound, dtype=np.float64)


def _lost_factor() -> Witness:
    """Multiply the matrices of one layer, r = 1; the Huber loss has L = 1 and its centre half-way from W_s to W̃_s."""
    teacher = sp.diag(1, sp.Rational(1, 100))
    left, right = sp.Matrix([[0, 4]]), sp.Matrix([4, 4]) / sp.sqrt(2)
    cut = _cut(teacher)
    full, low = ((left * weight * right)[0] for weight in (teacher, cut))
    centre = (full + low) / 2
    slope_full, slope_low = full - centre, low - centre  # both within the Huber loss's quadratic part, ±G
    return Witness(
        "W_t = diag(1, 0.01), r = 1, P_left = (0, 4), P_right = (4, 4)ᵀ/√2, Huber loss with L = 1",
        computed=(slope_full * (teacher * right).T - slope_low * (cut * right).T).norm(),
        printed=_PRINTED,
        values={
            _L: 1,
            _B: max(left.norm(), right.norm()),
            _M: max(teacher.singular_values()),
            _EPS: (teacher - cut).norm(),
            _G: abs(slope_low),
        },
        corrected=_CORRECTED,
    )


def _cut(teacher: sp.Matrix) -> sp.Matrix:
    """Return the best rank-1 approximation of a diagonal matrix whose first entry is the largest."""
    return sp.diag(teacher[0, 0], *[0] * (teacher.rows - 1))


def _powers() -> tuple[bool, str]:
    """Multiply eq 31's factors: L·(B² ε)·‖W_t‖·B."""
    assembled = _L * (_B**2 * _EPS) * _M * _B + _G * _EPS * _B
    return sp.expand(assembled - _CORRECTED) == 0, (
        "eq 31 multiplies L‖W_s − W̃_s‖ ≤ L B² ε by ‖W_t‖‖P_right‖ ≤ ‖W_t‖ B: B³, not B²"
    )


def _joint_layers() -> Witness:
    """Two layers with the loss W_s¹·W_s² (jointly 1-smooth): only layer 2 is truncated, layer 1 feels it.

    W_t¹ = diag(1, 0), W_t² = diag(1, 1/2), r = 1, both factors e_1 in layer 1 and e_2 in layer 2: B = 1.
    """
    teachers = (sp.diag(1, 0), sp.diag(1, sp.Rational(1, 2)))
    cuts = [_cut(teacher) for teacher in teachers]
    axes = [sp.eye(2)[:, layer] for layer in range(2)]
    students, truncated = (
        [(axis.T * weight * axis)[0] for axis, weight in zip(axes, weights, strict=True)]
        for weights in (teachers, cuts)
    )
    # the gradient by W_s¹ is W_s² and the other way round
    moved = students[1] * (teachers[0] * axes[0]).T - truncated[1] * (cuts[0] * axes[0]).T
    errors = [(teacher - cut).norm() for teacher, cut in zip(teachers, cuts, strict=True)]
    norms = [max(teacher.singular_values()) for teacher in teachers]
    largest = max(map(abs, truncated))
    return Witness(
        "loss W_s¹ W_s², ε_1 = 0, ε_2 = ½: deviation of layer 1 against its own (L B³‖W_t‖ + G B) ε_1",
        computed=moved.norm(),
        printed=_CORRECTED,
        values={
            **{_L: 1, _B: 1, _M: norms[0], _EPS: errors[0], _G: largest},
            **{SMOOTHNESS: 1, PROJECTION: 1, TEACHER: sum(norms), EPSILON: sum(errors), GRADIENT: largest},
        },
        corrected=PRESERVATION,
    )


def _shape_check() -> Check:
    return computation(Side.PRINTED, "shapes", right_shapes)


STATEMENT = Statement(
    slug="gradient-deviation",
    label="Appendix A",
    title="The chain of inequalities behind Lemma 1",
    kind=Kind.UPPER,
    equations=(
        Equation("eq-28", "eq 28", "∇_(P_left) L(W_s) = ∇_(W_s) L · (W_t P_right)ᵀ", "", (left_gradient(),)),
        Equation(
            "eq-29",
            "eq 29",
            "∇_(P_right) L(W_s) = W_tᵀ · ∇_(W_s) L",
            "W_tᵀ P_leftᵀ ∇_(W_s) L",
            (_shape_check(), right_gradient()),
            remark="the shapes do not conform",
        ),
        Equation(
            "eq-30",
            "eq 30",
            "‖∇_P L(W_s) − ∇_P L(W̃_s)‖ = ‖∇ (W_t P_right)ᵀ − ∇̃ (W_t^r P_right)ᵀ‖",
            "",
            (left_gradient("eq 28 for any weight, so for W_t and W_t^r, by entrywise derivatives; nothing cited"),),
            remark="for the left factor only; the right one is left out",
        ),
        Equation(
            "eq-31",
            "eq 31",
            "≤ ‖∇ − ∇̃‖ ‖W_t‖ ‖P_right‖ …",
            "",
            (
                proof(Side.PRINTED, "the difference split", _split_difference),
                norm_rules(),
                search(Side.PRINTED, "eqs 31 and 32, both terms together", _split),
            ),
            Kind.UPPER,
        ),
        Equation(
            "eq-32",
            "eq 32",
            "… + ‖∇̃‖ ‖W_t − W_t^r‖ ‖P_right‖",
            "",
            (proof(Side.PRINTED, "the difference split", _split_difference), norm_rules()),
            Kind.UPPER,
            "the second term of one inequality; the search of eq 31 is of both",
        ),
        Equation(
            "eq-33",
            "eq 33",
            "‖∇L(W_s) − ∇L(W̃_s)‖ ≤ L‖W_s − W̃_s‖",
            "",
            (search(Side.PRINTED, "quadratic losses, with equality", _smooth),),
            Kind.DEFINITION,
            "the definition of smoothness in W_s, which is not Assumption 1's smoothness in the factors",
        ),
        Equation(
            "eq-34",
            "eq 34",
            "‖W_s − W̃_s‖ = ‖P_left (W_t − W_t^r) P_right‖",
            "",
            (proof(Side.PRINTED, "bilinearity", _projected_difference),),
        ),
        Equation(
            "eq-35",
            "eq 35",
            "≤ ‖P_left‖ ‖W_t − W_t^r‖_F ‖P_right‖",
            "",
            (
                proof(Side.PRINTED, "eq 34", _projected_difference),
                norm_of_product(),
                search(Side.PRINTED, "sub-multiplicative norms", _students),
            ),
            Kind.UPPER,
        ),
        Equation(
            "eq-36",
            "eq 36",
            "≤ B² ε",
            "",
            (
                proof(Side.PRINTED, "eq 34", _projected_difference),
                norm_of_product(),
                search(Side.PRINTED, "norms at most B", _squared),
            ),
            Kind.UPPER,
            "eq 35 with ‖P‖_F ≤ B and the ε of eq 7 put in",
        ),
        Equation(
            "eq-37",
            "eq 37",
            "‖∇_P L(W_s) − ∇_P L(W̃_s)‖ ≤ L B² ‖W_t‖ ε + G B ε",
            "L B³ ‖W_t‖ ε + G B ε",
            (
                witness("a Huber loss", _lost_factor),
                proof(Side.CORRECTED, "powers of B", _powers),
                search(Side.CORRECTED, "one layer, one factor", _assembled),
            ),
            Kind.UPPER,
            "one B is missing",
        ),
        Equation(
            "appendix-sum",
            "App A, end",
            "summing over layers gives eq 8",
            "smoothness is joint: layer l sees Σ_k ε_k, so that C holds Σ_l ‖W_t^l‖₂ times Σ_k ε_k",
            (witness("a layer that is not truncated", _joint_layers),),
            Kind.UPPER,
        ),
    ),
    symbols=(
        Symbol("truncation_error", _EPS, "ε of the layer, Frobenius norm", open=False),
        Symbol("teacher_norm", _M, "‖W_t‖₂", open=False),
        Symbol("projection_norm", _B, "B, bound on the factors", open=False),
        Symbol("weight_smoothness", _L, "L, smoothness of the loss in W_s", open=False),
        Symbol("gradient_norm", _G, "G, bound on ‖∇_(W_s) L‖", open=False),
    ),
    printed=Form(
        "L B² ‖W_t‖ ε + G B ε",
        _PRINTED,
        printed_gradient_bound,
        ("truncation_error", "teacher_norm", "projection_norm", "weight_smoothness", "gradient_norm"),
        equation="eq-37",
    ),
    corrected=Form(
        "L B³ ‖W_t‖ ε + G B ε",
        _CORRECTED,
        factor_gradient_bound,
        ("truncation_error", "teacher_norm", "projection_norm", "weight_smoothness", "gradient_norm"),
    ),
    assumptions=("loss L-smooth in W_s between W̃_s and W_s", "‖∇_(W_s) L‖ ≤ G at W̃_s", "both factors at most B"),
)
