"""O(·) statements: unfalsifiable until a constant is registered, and never tested on the data it was fitted to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from theorykit.arguments import Floats, calculation, positive_number
from theorykit.errors import InputError
from theorykit.results import Result
from theorykit.verdicts.axes import Instance, Verdict
from theorykit.verdicts.expectation import expectation_verdict
from theorykit.verdicts.intervals import mean_limits
from theorykit.verdicts.samples import error_rate, one_each, sample_matrix, shaped_array


@dataclass(frozen=True)
class RegisteredConstant(Result):
    """A constant of an O(·) statement, fixed before the data that test it.

    Attributes:
        constant: C of left ≤ C · order, above 0.
        source: Where it comes from.
        fingerprints: Of the data it was fitted to; empty where it comes from a proof.
    """

    constant: float
    source: str
    fingerprints: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        positive_number("constant", self.constant)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; the fingerprints sorted."""
        return {"constant": self.constant, "source": self.source, "fingerprints": sorted(self.fingerprints)}


def data_fingerprints(measured: Any, runs: Sequence[str] | None = None) -> frozenset[str]:
    """Compute one fingerprint per run: of its identifier, or of its number where there are none.

    Numbers see reordering, subsets and mixtures of a data set. Discrete measurements coincide by chance: give
    ``runs`` for them.

    Args:
        measured: ``[configurations, seeds]`` or ``[seeds]``.
        runs: One identifier per number, in reading order.

    Returns:
        Hexadecimal strings.

    Raises:
        InputError: not one identifier per number.

    Example:
        >>> data_fingerprints([1.0, 2.0]) > data_fingerprints([2.0])
        True
    """
    sample = sample_matrix("measured", measured).ravel()
    names = [] if runs is None else one_each("run identifiers", runs, sample.size, "numbers")
    keys = [float(number).hex() for number in sample] if runs is None else [f"run {run}" for run in names]
    return frozenset(hashlib.sha256(key.encode()).hexdigest()[:32] for key in keys)


def _checked_order(order: Any, sample: Floats) -> Floats:
    return shaped_array("order", order, (sample.shape[0],), positive=True)


def register_constant(
    measured: Any, order: Any, *, alpha: float = 0.05, runs: Sequence[str] | None = None
) -> RegisteredConstant:
    """Fit C of E[measured] ≤ C · order: the largest upper confidence limit over order, in the unit of their ratio.

    Each limit is a one-sided t limit of level 1 − alpha over seeds.

    Args:
        measured: ``[configurations, seeds]``, at least 2 seeds, without failed runs.
        order: What stands inside O(·), above 0, ``[configurations]``.
        alpha: In (0, 1/2).
        runs: Identifiers, see :func:`data_fingerprints`.

    Raises:
        InputError: one seed, failed runs, an order that is not above 0, or limits that are not above 0.

    Example:
        >>> constant = register_constant([[2.0, 2.0], [3.0, 3.0]], [1.0, 2.0])
        >>> constant.constant
        2.0
    """
    sample = sample_matrix("measured", measured)
    size = _checked_order(order, sample)
    if not np.isfinite(sample).all():
        raise InputError("measured holds failed runs", "a constant is fitted to complete data")
    if sample.shape[1] < 2:
        raise InputError("one seed gives no confidence limit", "give at least 2 seeds")
    limits = mean_limits(sample, error_rate(alpha))
    with calculation(measured=limits.upper, order=size):
        constant = float((limits.upper / size).max())
    source = f"fitted to {sample.shape[0]} configurations of {sample.shape[1]} seeds"
    return RegisteredConstant(constant, source, data_fingerprints(sample, runs))


def order_verdict(
    measured: Any,
    order: Any,
    registered: RegisteredConstant | None = None,
    *,
    runs: Sequence[str] | None = None,
    statement: str = "",
    **options: Any,
) -> Verdict:
    """Judge E[measured] = O(order): UNFALSIFIABLE without a registered constant, else E[measured] ≤ C · order.

    A claimed exponent is judged by :func:`theorykit.verdicts.exponents.exponent_verdict` instead.

    Args:
        measured: ``[configurations, seeds]`` or ``[seeds]``.
        order: What stands inside O(·), above 0.
        registered: The constant.
        runs: Identifiers of the runs, if the constant was registered with identifiers.
        statement: What is judged.
        **options: Of :func:`theorykit.verdicts.expectation.expectation_verdict`.

    Raises:
        InputError: an order that is not above 0, or the constant was fitted to some of these data.

    Example:
        >>> order_verdict([1.0, 2.0], 1.0).sentence
        'is unfalsifiable until a constant or an exponent is registered'
    """
    sample = sample_matrix("measured", measured)
    size = _checked_order(order, sample)
    if registered is None:
        reason = "Any finite measurement satisfies O(·) with some constant; none is registered."
        return Verdict(statement, Instance.UNFALSIFIABLE, reasons=(reason,), n_seeds=sample.shape[1], method="none")
    shared = registered.fingerprints & data_fingerprints(sample, runs)
    if shared:
        raise InputError(
            f"the constant was fitted to {len(shared)} of the runs that are to test it", "test it on fresh runs"
        )
    with calculation(order=size):
        bound = registered.constant * size
    return expectation_verdict(sample, bound, statement=statement, **options)
