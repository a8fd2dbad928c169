"""Interval arithmetic for exact sympy numbers: a comparison that rounding cannot turn."""

from __future__ import annotations

from typing import Any

import sympy as sp
from mpmath import iv

_DIGITS = 40


def enclose(number: Any) -> Any:
    """Return an interval that certainly contains an exact real number.

    Args:
        number: A sympy number made of integers, rationals, π, sums, products, powers, roots, logarithms and
            exponentials.

    Returns:
        An ``mpmath.iv`` interval with outward rounding, about 40 digits wide.

    Raises:
        TypeError: floats (no exact numbers) and functions that are not listed.

    Example:
        >>> enclose(sp.sqrt(2)) ** 2 == 2  # an interval around 2 is not 2
        False
    """
    iv.dps = _DIGITS
    number = sp.sympify(number)
    if number.is_Integer:
        return iv.mpf(int(number))
    if number.is_Rational:
        return iv.mpf(int(number.p)) / iv.mpf(int(number.q))
    if number == sp.pi:
        return iv.pi
    if number == sp.E:
        return iv.exp(iv.mpf(1))
    parts = [enclose(part) for part in number.args]
    if number.is_Add:
        return sum(parts[1:], parts[0])
    if number.is_Mul:
        product = parts[0]
        for part in parts[1:]:
            product = product * part
        return product
    if isinstance(number, sp.exp):
        return iv.exp(parts[0])
    if number.is_Pow:
        exponent = number.args[1]
        if exponent.is_Integer:
            return parts[0] ** int(exponent)
        return iv.exp(parts[1] * iv.log(parts[0]))
    if isinstance(number, sp.log):
        return iv.log(parts[0])
    raise TypeError(f"{number!r} cannot be enclosed exactly; give rationals, roots, logarithms and exponentials")


def certainly(larger: Any, smaller: Any) -> bool:
    """Return whether ``larger`` > ``smaller`` for certain.

    Example:
        >>> certainly(sp.log(64), sp.Rational(415, 100)), certainly(sp.log(64), sp.Rational(416, 100))
        (True, False)
    """
    difference = sp.sympify(larger) - sp.sympify(smaller)
    return bool(enclose(difference).a > 0)
