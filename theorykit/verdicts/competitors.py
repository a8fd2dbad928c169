"""What a bound competes with: the trivial bound and simpler known ones; how tight it is.

Which trivial bound belongs to which quantity is registered in :mod:`theorykit.verdicts.trivial_bounds`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from theorykit.arguments import Floats, calculation, number_array, one_of
from theorykit.errors import InputError
from theorykit.verdicts.axes import Instance, Rows, Value, Verdict
from theorykit.verdicts.samples import ordered_pair, shaped_array

Kind = Literal["upper", "lower"]


@dataclass(frozen=True)
class Bound:
    """A bound with its competitors, turned so that it is an upper one: a lower bound is negated.

    Attributes:
        sign: 1 for an upper bound, −1 for a lower one.
        point: The bound times ``sign``, any shape.
        low: Its lower confidence limit in the turned order: the harder one to stay below.
        high: Its upper confidence limit in the turned order: the harder one to exceed.
        trivial: The trivial competitor times ``sign``, or None.
        rival: The tightest simpler known bound times ``sign``, or None.
    """

    sign: int
    point: Floats
    low: Floats
    high: Floats
    trivial: Floats | None
    rival: Floats | None

    @property
    def remarks(self) -> tuple[str, ...]:
        """Return what has to be said of a bound that is estimated."""
        estimated = "The bound is estimated: VIOLATED used its generous confidence limit, HOLDS the strict one."
        return (estimated,) if (self.low < self.high).any() else ()

    def values(self) -> list[Value | None]:
        """Judge each configuration, see :func:`judged_value`."""
        competitors = (
            [None] * self.point.size if part is None else part.tolist() for part in (self.trivial, self.rival)
        )
        return list(map(judged_value, self.low, self.high, *competitors))


def judged_value(low: float, high: float, trivial: float | None, simpler: float | None) -> Value | None:
    """Say what an upper bound in [low, high] is worth; a lower bound and its competitors come negated.

    VACUOUS where the trivial bound is at least as tight, DOMINATED where a simpler one is tighter; None where a
    competitor lies inside the interval, or without a trivial one.
    """
    if trivial is not None:
        if trivial <= low:
            return Value.VACUOUS
        if trivial < high:
            return None
    if simpler is not None:
        if simpler < low:
            return Value.DOMINATED
        if simpler < high:
            return None
    return None if trivial is None else Value.INFORMATIVE


def bound_value(bound: Any, *, trivial: Any, simpler: Any = None) -> Any:
    """Say what an upper bound is worth: INFORMATIVE, DOMINATED or VACUOUS.

    Vacuous where the trivial bound is at least as tight; otherwise dominated where a simpler known bound is strictly
    tighter; otherwise informative. All three in one unit.

    Args:
        bound: The upper bound, finite; broadcasts.
        trivial: What holds without any theorem: the range of the loss, a :func:`trivial_bound`.
        simpler: A simpler known bound on the same quantity, such as the rank-free one; None for none.

    Returns:
        A :class:`Value`, or an array of its words in the broadcast shape.

    Raises:
        NonFiniteError: NaN or infinity.

    Example:
        >>> bound_value([0.3, 0.7, 1.2], trivial=1.0, simpler=0.5).tolist()
        ['INFORMATIVE', 'DOMINATED', 'VACUOUS']
    """
    values, ceiling = number_array("bound", bound), number_array("trivial", trivial)
    rival = ceiling if simpler is None else number_array("simpler", simpler)
    with calculation(bound=values, trivial=ceiling, simpler=rival):
        values, ceiling, rival = np.broadcast_arrays(values, ceiling, rival)
    worth = [judged_value(*numbers) for numbers in zip(values.flat, values.flat, ceiling.flat, rival.flat, strict=True)]
    return np.array(worth).reshape(values.shape) if values.ndim else worth[0]


def turned_bound(
    bound: Any, shape: tuple[int, ...], *, kind: str, interval: Any = None, trivial: Any = None, rival: Any = None
) -> Bound:
    """Check a bound with its interval and competitors and turn it into an upper one of ``shape``.

    Raises:
        InputError: ``kind`` is unknown, a shape does not fit, or the bound lies outside its own interval.
        NonFiniteError: NaN, or an infinite bound.
    """
    sign = 1 if one_of("kind", kind, get_args(Kind)) == "upper" else -1
    point = shaped_array("bound", bound, shape)
    low, high = (point, point) if interval is None else ordered_pair("bound_interval", interval, shape)
    if (low > point).any() or (point > high).any():
        raise InputError("bound lies outside bound_interval", "give limits of the same bound")
    if sign < 0:
        low, high = high, low

    def turned(name: str, value: Any) -> Floats | None:
        return None if value is None else sign * shaped_array(name, value, shape)

    return Bound(sign, sign * point, sign * low, sign * high, turned("trivial", trivial), turned("rival", rival))


def overall_instance(instances: Iterable[Instance]) -> Instance:
    """Return VIOLATED where one configuration is, HOLDS where all hold, and INCONCLUSIVE otherwise."""
    kinds = set(instances)
    if Instance.VIOLATED in kinds:
        return Instance.VIOLATED
    return Instance.HOLDS if kinds == {Instance.HOLDS} else Instance.INCONCLUSIVE


def overall_value(bound: Bound, values: Sequence[Value | None]) -> tuple[Value | None, tuple[str, ...]]:
    """Return the best value over the configurations, and a sentence where they differ or are unknown.

    Without a competitor there is nothing to judge and nothing to say.
    """
    if bound.trivial is None and bound.rival is None:
        return None, ()
    counts = {value: list(values).count(value) for value in (*Value, None)}
    best = next((value for value in Value if counts[value]), None)
    if best is None:
        return None, ("The value of the bound is not judged: no trivial bound, or one inside its interval.",)
    if counts[best] == len(values):
        return best, ()
    parts = [f"{count} {value.lower() if value else 'undecided'}" for value, count in counts.items() if count]
    return best, (f"Value by configuration: {', '.join(parts)}.",)


def verdict_over(rows: Sequence[Any], bound: Bound, reasons: Iterable[str], **named: Any) -> Verdict:
    """Return the verdict over rows of evidence, one for each configuration, with the ratio nearest to a violation."""
    value, mixed = overall_value(bound, [row.value for row in rows])
    ratio, interval = nearest([(row.tightness, row.tightness_interval) for row in rows], bound.sign)
    return Verdict(
        instance=overall_instance(row.instance for row in rows),
        value=value,
        tightness=ratio,
        tightness_interval=interval,
        reasons=(*reasons, *mixed),
        evidence=Rows(tuple(rows)),
        **named,
    )


def tightness(
    bound: tuple[float, float, float], measured: tuple[float, float, float]
) -> tuple[float | None, tuple[float, float] | None]:
    """Compute bound / measured with an interval, from (low, point, high) of each.

    Covers with at least the sum of the two coverages less 1. None where one of the two is not above 0: a ratio then
    has no meaning. The upper end is infinite where the measured interval reaches 0.
    """
    if not (bound[1] > 0 and measured[1] > 0):
        return None, None
    low = max(bound[0], 0.0) / measured[2]
    high = bound[2] / measured[0] if measured[0] > 0 else float("inf")
    return bound[1] / measured[1], (low, high)


def nearest(
    ratios: Sequence[tuple[float | None, tuple[float, float] | None]], sign: int
) -> tuple[float | None, tuple[float, float] | None]:
    """Return the ratio nearest to a violation: the smallest of an upper bound, the largest of a lower one."""
    known = [pair for pair in ratios if pair[0] is not None]
    if not known:
        return None, None
    return min(known, key=lambda pair: sign * np.float64(pair[0] or 0.0))
