"""SGD on one quadratic, exactly: the instance on which eqs 11 and 16 fail."""

from __future__ import annotations

from typing import Any

import sympy as sp

HALF = sp.Rational(1, 2)


def second_moments(
    n_steps: int, *, curvature: Any = 1, step: Any = 1, start: Any = 0, noise: Any = 0, bias: Any = 0
) -> list[sp.Expr]:
    """Compute E x_t², t = 0 … T, of SGD on f = h x²/2 with gradient h x + b + ξ, by its recursion; an equality.

    Mean and variance follow E x⁺ = (1 − ηh) E x − ηb and Var x⁺ = (1 − ηh)² Var x + η²σ². Then E f = (h/2) E x² and
    E f'² = h² E x².

    Args:
        n_steps: T.
        curvature: h, a sympy number or symbol, as all that follow.
        step: η.
        start: x_0.
        noise: σ², the variance of ξ.
        bias: b.

    Returns:
        T + 1 exact expressions.

    Example:
        >>> second_moments(2, noise=1)
        [0, 1, 1]
    """
    contraction = 1 - step * sp.sympify(curvature)
    mean, variance = sp.sympify(start), sp.Integer(0)
    found = [sp.expand(mean**2 + variance)]
    for _ in range(n_steps):
        mean = sp.expand(contraction * mean - step * bias)
        variance = sp.expand(contraction**2 * variance + step**2 * noise)
        found.append(sp.expand(mean**2 + variance))
    return found
