"""Assumption 1, eq 5: smoothness in the factors, which holds locally only."""

from __future__ import annotations

import numpy as np
import sympy as sp

from theorykit.arguments import Floats
from theorykit.convergence import factored_smoothness_bound
from theorykit.statements.evidence import Side, Witness, proof, search, witness
from theorykit.statements.statement import Equation, Form, Kind, Statement, Symbol

_LW, _G, _M, _B = sp.symbols("L_W G M B", nonnegative=True)
_P, _Q, _T = sp.symbols("p q t", real=True)
_L, _DISTANCE = sp.symbols("L distance", nonnegative=True)
_FACTORED = (_P * _Q - 1) ** 2 / 2
_CORRECTED = 2 * _LW * _M**2 * _B**2 + _G * _M


def _hessian() -> tuple[bool, str]:
    at_point = sp.hessian(_FACTORED, (_P, _Q)).subs({_P: _T, _Q: _T})
    found = {sp.expand(value) for value in at_point.eigenvals()}
    held = found == {sp.expand(3 * _T**2 - 1), sp.expand(1 - _T**2)} and sp.limit(3 * _T**2 - 1, _T, sp.oo) == sp.oo
    return bool(held), (
        "½(pq − 1)², a factored scalar with a loss that is 1-smooth in pq, has the Hessian eigenvalues 3t² − 1 and "
        "1 − t² "
        "at p = q = t: no L serves for all θ"
    )


def _steep() -> Witness:
    """Differentiate ½(pq − 1)² at p = q = √L and at its minimum p = q = 1; W_t = 1, the loss 1-smooth in pq."""
    constant = sp.Integer(10) ** 6
    size = sp.sqrt(constant)
    gradient = sp.Matrix([sp.diff(_FACTORED, symbol) for symbol in (_P, _Q)])
    difference = gradient.subs({_P: size, _Q: size}) - gradient.subs({_P: 1, _Q: 1})
    return Witness(
        "½(pq − 1)² between p = q = 1000 and p = q = 1: ‖∇L(θ) − ∇L(θ')‖ against the candidate L = 10⁶ times ‖θ − θ'‖",
        computed=difference.norm(),
        printed=_L * _DISTANCE,
        values={
            _L: constant,
            _DISTANCE: sp.Matrix([size - 1, size - 1]).norm(),
            **{_LW: 1, _M: 1, _B: size, _G: constant + 1},  # |pq − 1| ≤ B² + 1 in the ball
        },
        corrected=_CORRECTED * _DISTANCE,
    )


def _curvatures(generator: np.random.Generator, count: int) -> Floats:
    """Draw scalar factored losses φ(p w q) with |φ''| ≤ L_W and |φ'| ≤ G at the point; ‖Hessian‖₂ / bound.

    In (p, q) the Hessian is φ'' w² (q, p)(q, p)ᵀ + φ' w (0 1; 1 0); the largest is met at p = q, equal signs.
    """
    weight, slope, curvature = generator.exponential(size=(3, count)) ** 2
    size = generator.exponential(size=count) ** 2
    near = generator.random(count) < 0.5
    p = np.where(near, size, size * generator.uniform(-1, 1, count))
    q = np.where(near, size, size * generator.uniform(-1, 1, count))
    second = np.where(near, curvature, curvature * generator.uniform(-1, 1, count))
    first = np.where(near, slope, slope * generator.uniform(-1, 1, count))
    corner = second * weight**2 * p * q + first * weight
    hessian = np.stack(
        [np.stack([second * weight**2 * q**2, corner], -1), np.stack([corner, second * weight**2 * p**2], -1)], -2
    )
    norm = np.abs(np.linalg.eigvalsh(hessian)).max(axis=-1)
    bound = factored_smoothness_bound(
        curvature, slope, teacher_norm=weight, projection_norm=np.maximum(np.abs(p), np.abs(q))
    )
    return np.asarray(norm / bound, dtype=np.float64)


STATEMENT = Statement(
    slug="smoothness",
    label="Assumption 1",
    title="Smoothness in the factors",
    kind=Kind.UPPER,
    equations=(
        Equation(
            key="eq-5",
            label="eq 5",
            printed="‖∇L(θ) − ∇L(θ')‖ ≤ L‖θ − θ'‖ for all θ, θ'",
            corrected="where ‖P‖₂ ≤ B: L_P ≤ 2 L_W M² B² + G M, M = ‖W_t‖₂",
            checks=(
                proof(Side.PRINTED, "a factored loss without any L", _hessian, refutes=True),
                witness("curvature above a candidate", _steep),
                search(Side.CORRECTED, "local smoothness of factored losses", _curvatures),
            ),
            kind=Kind.UPPER,
            remark="no factored loss with curvature is globally smooth in its factors; on a ball an L exists",
        ),
    ),
    symbols=(
        Symbol("weight_smoothness", _LW, "L_W, smoothness of the loss in the student's weights"),
        Symbol("gradient_norm", _G, "G, largest ‖∇_W L‖ in the ball"),
        Symbol("teacher_norm", _M, "M = ‖W_t‖₂"),
        Symbol("projection_norm", _B, "B, largest spectral norm of a factor"),
    ),
    corrected=Form(
        "2 L_W M² B² + G M",
        _CORRECTED,
        lambda weight_smoothness, gradient_norm, teacher_norm, projection_norm: factored_smoothness_bound(
            weight_smoothness, gradient_norm, teacher_norm=teacher_norm, projection_norm=projection_norm
        ),
        ("weight_smoothness", "gradient_norm", "teacher_norm", "projection_norm"),
    ),
    assumptions=("loss L_W-smooth in W_s", "both factors of spectral norm at most B along the run"),
)
