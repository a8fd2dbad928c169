"""Findings on planted truths that need no seeds: two routes to one number, and bounds that are met."""

from __future__ import annotations

import math
from typing import Any

from theorykit.verdicts import Form, Instance
from validation.claims.finding import Finding, stated

ROUNDING = 1e-9
"""Relative; float64 sums of the sizes used here stay far below it."""


def exact(
    equation: str,
    what: str,
    holds: bool,
    *,
    reason: str,
    form: Form = Form.CORRECTED,
    expected: tuple[str, ...] = ("HOLDS",),
    n_seeds: int = 1,
    **named: Any,
) -> Finding:
    """Return the finding on an instance in which nothing is random: HOLDS or VIOLATED, as was computed.

    Args:
        equation: Key of the equation.
        what: Was judged, in one line.
        holds: Whether it does.
        reason: The numbers behind that.
        form: Which form is about it.
        expected: Words of the verdict that a working harness has to find.
        n_seeds: Repetitions.
        named: As of :func:`validation.claims.finding.stated`.
    """
    instance = Instance.HOLDS if holds else Instance.VIOLATED
    return stated(equation, form, what, instance, reason, expected=expected, n_seeds=n_seeds, **named)


def compared(equation: str, what: str, measured: float, bound: float, holds: bool, **named: Any) -> Finding:
    """Return the finding of :func:`exact` on a number and what it is held against."""
    finding = exact(equation, what, holds, measured=measured, bound=bound, **named)
    return finding.judged(tightness=bound / measured if measured else None)


def equality(equation: str, what: str, first: Any, second: Any, *, rounding: float = ROUNDING, **named: Any) -> Finding:
    """Judge first = second, two routes to one number; VIOLATED where they differ by more than rounding.

    Args:
        equation: Key of the equation.
        what: Both routes, in one line.
        first: By one route.
        second: By the other.
        rounding: Largest relative difference, stated beforehand.
        named: Of :func:`exact`: the key, and ``expected`` as ``VIOLATED`` where the routes must not agree.
    """
    left, right = float(first), float(second)
    same = math.isclose(left, right, rel_tol=rounding, abs_tol=rounding * 1e-3)
    reason = f"{left:.12g} and {right:.12g}, equal up to {rounding:g}: {'yes' if same else 'no'}."
    return compared(equation, what, left, right, same, reason=reason, method="two routes to one number", **named)


def attained(equation: str, what: str, measured: Any, bound: Any, *, slack: float = ROUNDING, **named: Any) -> Finding:
    """Judge whether a bound is met with equality up to a stated slack: only so can a planted control see its constant.

    Args:
        equation: Key of the equation.
        what: The extremal instance, in one line.
        measured: The bounded quantity there.
        bound: The bound.
        slack: Largest relative difference, derived and stated beforehand.
        named: Of :func:`exact`: the key, and ``expected`` as ``VIOLATED`` where the bound must not be met.
    """
    value, limit = float(measured), float(bound)
    met = math.isclose(value, limit, rel_tol=slack)
    reason = f"measured {value:.9g}, bound {limit:.9g}: met within {slack:g}: {'yes' if met else 'no'}."
    return compared(equation, what, value, limit, met, reason=reason, method="extremal instance", **named)
