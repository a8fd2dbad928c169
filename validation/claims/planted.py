"""Findings on planted truths that need no seeds: two routes to one number, and bounds that are met."""

from __future__ import annotations

import math
from typing import Any

from theorykit.verdicts import Form, Instance, Verdict
from validation.claims.finding import Configuration, Finding

ROUNDING = 1e-9
"""Relative; float64 sums of the sizes used here stay far below it."""


def exact(
    equation: str,
    form: Form,
    what: str,
    holds: bool,
    measured: float,
    bound: float,
    *,
    reason: str,
    method: str,
    expected: tuple[str, ...] = ("HOLDS",),
    unit: str = "",
    key: str,
    of: Configuration | None = None,
) -> Finding:
    """Return the finding on an instance in which nothing is random: HOLDS or VIOLATED, as was computed."""
    verdict = Verdict(
        what,
        Instance.HOLDS if holds else Instance.VIOLATED,
        tightness=bound / measured if measured else None,
        reasons=(reason,),
        n_seeds=1,
        method=method,
    )
    return Finding(equation, form, what, verdict, expected, measured, bound=bound, unit=unit, key=key, of=of or {})


def equality(
    equation: str,
    what: str,
    first: Any,
    second: Any,
    *,
    form: Form = Form.CORRECTED,
    rounding: float = ROUNDING,
    expected: tuple[str, ...] = ("HOLDS",),
    unit: str = "",
    key: str,
    of: Configuration | None = None,
) -> Finding:
    """Judge first = second, two routes to one number; VIOLATED where they differ by more than rounding.

    Args:
        equation: Key of the equation.
        what: Both routes, in one line.
        first: By one route.
        second: By the other.
        form: Which form is about it.
        rounding: Largest relative difference, stated beforehand.
        expected: ``VIOLATED`` where the routes must not agree.
        unit: Of both.
        key: Of the finding.
        of: Its configuration.
    """
    left, right = float(first), float(second)
    same = math.isclose(left, right, rel_tol=rounding, abs_tol=rounding * 1e-3)
    reason = f"{left:.12g} and {right:.12g}, equal up to {rounding:g}: {'yes' if same else 'no'}."
    method = "two routes to one number"
    return exact(
        equation,
        form,
        what,
        same,
        left,
        right,
        reason=reason,
        method=method,
        expected=expected,
        unit=unit,
        key=key,
        of=of,
    )


def attained(
    equation: str,
    what: str,
    measured: Any,
    bound: Any,
    *,
    form: Form = Form.CORRECTED,
    slack: float = ROUNDING,
    expected: tuple[str, ...] = ("HOLDS",),
    unit: str = "",
    key: str,
    of: Configuration | None = None,
) -> Finding:
    """Judge whether a bound is met with equality up to a stated slack: only so can a planted control see its constant.

    Args:
        equation: Key of the equation.
        what: The extremal instance, in one line.
        measured: The bounded quantity there.
        bound: The bound.
        form: Which form is about it.
        slack: Largest relative difference, derived and stated beforehand.
        expected: ``HOLDS`` where the bound is met, ``VIOLATED`` where it must not be.
        unit: Of both.
        key: Of the finding.
        of: Its configuration.
    """
    value, limit = float(measured), float(bound)
    met = math.isclose(value, limit, rel_tol=slack)
    reason = f"measured {value:.9g}, bound {limit:.9g}: met within {slack:g}: {'yes' if met else 'no'}."
    return exact(
        equation,
        form,
        what,
        met,
        value,
        limit,
        reason=reason,
        method="extremal instance",
        expected=expected,
        unit=unit,
        key=key,
        of=of,
    )
