"""The chain rule of W_s = P_left W_t P_right, which Lemma 1 and Appendix A print alike: eqs 9, 10, 28 and 29."""

from __future__ import annotations

import sympy as sp

from theorykit.statements.evidence import Check, Found, Side, Truth, cited, identity, proof

_ROWS, _COLUMNS, _RANK = 4, 3, 2

PROJECTION, SMOOTHNESS, GRADIENT, TEACHER, EPSILON = sp.symbols("B L_W G M epsilon", nonnegative=True)
PRESERVATION = 2 * PROJECTION * (SMOOTHNESS * PROJECTION**2 * TEACHER + GRADIENT) * EPSILON
"""Corrected eq 8, M = Σ_l ‖W_t^l‖₂ and ε = Σ_l ε_l."""


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


def left_gradient(title: str = "entrywise derivatives by P_left") -> Check:
    """Check eqs 9 and 28 against entrywise derivatives."""
    return identity(Side.PRINTED, title, lambda: _derivative(0), _left_rule)


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


def norm_of_product() -> Check:
    """Check ‖AB‖_F ≤ ‖A‖_F ‖B‖_F by Lagrange's identity, which is Cauchy and Schwarz with its remainder."""

    def reasoning() -> tuple[bool, str]:
        a, b = sp.Matrix(2, 3, sp.symbols("a:6")), sp.Matrix(3, 2, sp.symbols("b:6"))
        squares = [
            (a[i, k] * b[other, j] - a[i, other] * b[k, j]) ** 2
            for i in range(2)
            for j in range(2)
            for k in range(3)
            for other in range(k)
        ]
        gap = sum(x**2 for x in a) * sum(x**2 for x in b) - sum(x**2 for x in a * b)
        return sp.expand(gap - sum(squares)) == 0, (
            "computed for 2 × 3 times 3 × 2, the same sum for other shapes: ‖A‖_F²‖B‖_F² − ‖AB‖_F² is a sum of squares"
        )

    return proof(Side.PRINTED, "sub-multiplicative Frobenius norm", reasoning)


def norm_rules() -> Check:
    """Cite the two rules on norms behind eqs 31 and 32."""
    return cited(
        Side.PRINTED,
        "the triangle inequality, and ‖AB‖_F ≤ ‖A‖_F ‖B‖₂ for the spectral norm of W_t",
        "Horn & Johnson 2013, Matrix Analysis, §5.6",
    )


def split_holds() -> bool:
    """Check g Xᵀ − g̃ X̃ᵀ = (g − g̃) Xᵀ + g̃ (X − X̃)ᵀ with symbols that do not commute."""
    g, h, x, y = sp.symbols("g h x y", commutative=False)
    return bool(sp.expand(g * x - h * y - ((g - h) * x + h * (x - y))) == 0)
