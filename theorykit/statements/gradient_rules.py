"""The chain rule of W_s = P_left W_t P_right, which Lemma 1 and Appendix A print alike: eqs 9, 10, 28 and 29."""

from __future__ import annotations

import sympy as sp

from theorykit.statements.evidence import Check, Found, Side, Truth, identity

_ROWS, _COLUMNS, _RANK = 4, 3, 2


def _symbols() -> tuple[sp.Matrix, sp.Matrix, sp.Matrix, sp.Matrix]:
    """Return W_t, P_left, P_right and the gradient by W_s as symbolic matrices."""
    return (
        sp.Matrix(_ROWS, _COLUMNS, sp.symbols(f"w:{_ROWS * _COLUMNS}")),
        sp.Matrix(_RANK, _ROWS, sp.symbols(f"l:{_RANK * _ROWS}")),
        sp.Matrix(_COLUMNS, _RANK, sp.symbols(f"p:{_COLUMNS * _RANK}")),
        sp.Matrix(_RANK, _RANK, sp.symbols(f"g:{_RANK * _RANK}")),
    )


def _derivative(by: int) -> sp.Matrix:
    """Differentiate the linear loss ⟨g, P_left W_t P_right⟩, whose gradient by W_s is g, entry by entry."""
    teacher, left, right, gradient = _symbols()
    loss = (gradient.T * (left * teacher * right)).trace()
    factor = left if by == 0 else right
    return sp.Matrix(*factor.shape, [sp.diff(loss, entry) for entry in factor])


def _left_rule() -> sp.Matrix:
    teacher, _, right, gradient = _symbols()
    return gradient * (teacher * right).T


def _right_rule() -> sp.Matrix:
    teacher, left, _, gradient = _symbols()
    return teacher.T * left.T * gradient


def left_gradient() -> Check:
    """Check eqs 9 and 28 against entrywise derivatives."""
    return identity(Side.PRINTED, "entrywise derivatives by P_left", lambda: _derivative(0), _left_rule)


def right_gradient() -> Check:
    """Check the corrected form of eqs 10 and 29 against entrywise derivatives."""
    return identity(Side.CORRECTED, "entrywise derivatives by P_right", lambda: _derivative(1), _right_rule)


def right_shapes() -> Found:
    """Multiply W_tᵀ ∇_{W_s} as printed in eqs 10 and 29."""
    teacher, _, right, gradient = _symbols()
    try:
        product = teacher.T * gradient
        wrong = product.shape != right.shape
    except sp.matrices.exceptions.ShapeError:
        wrong = True
    sentence = (
        f"W_tᵀ is {_COLUMNS} × {_ROWS} and ∇_(W_s) is {_RANK} × {_RANK}: the product does not exist unless r = m, and "
        "lacks P_leftᵀ"
    )
    return Found(Truth.REFUTED if wrong else Truth.UNDECIDED, sentence)


def split_holds() -> bool:
    """Check g Xᵀ − g̃ X̃ᵀ = (g − g̃) Xᵀ + g̃ (X − X̃)ᵀ with symbols that do not commute."""
    g, h, x, y = sp.symbols("g h x y", commutative=False)
    return bool(sp.expand(g * x - h * y - ((g - h) * x + h * (x - y))) == 0)
