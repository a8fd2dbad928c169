"""How an estimator's computation becomes a record: timing, the interval, and failures that are told, not raised."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import stdtrit

from theorykit.arguments import Floats
from theorykit.errors import InputError, TheorykitError
from theorykit.information.estimate import Doubt, InformationEstimate, KeyedWarning
from theorykit.information.estimators.pairs import Pair, check_memory, checked_pair
from theorykit.information.gaussian import NORMAL_QUANTILE

BOUND = "gives a lower bound: the interval is that of the bound, not of how far I lies above it"
"""Ends the warning of every estimate that is a lower bound."""
LOWER_BOUND = KeyedWarning(f"a held-out fit {BOUND}", Doubt.LOWER_BOUND)
"""Said of every estimate from canonical pairs or decoders that were fitted on other rows."""

_SAFE = 1e100
"""Columns whose largest magnitude lies between 1 over this and this have squares and sums of squares in float64."""


@dataclass(frozen=True)
class Outcome:
    """What an estimator found, in nats.

    Attributes:
        information: The estimate; ``inf`` where it found a deterministic relation.
        standard_error: None where the method has none.
        degrees: Degrees of freedom of ``standard_error`` for Student's t; None for the normal quantile.
        ceiling: What the method cannot pass.
        converged: As in :class:`~theorykit.information.estimate.InformationEstimate`.
        warnings: Beyond those of the pair.
        limits: A 95 % interval that is not the symmetric one; None for that.
    """

    information: float
    standard_error: float | None = None
    degrees: float | None = None
    ceiling: float | None = None
    converged: bool = True
    warnings: tuple[str, ...] = ()
    limits: tuple[float, float] | None = None

    def interval(self) -> tuple[float, float] | None:
        """Return ``limits``, or the symmetric 95 % interval."""
        if self.standard_error is None or not np.isfinite(self.information):
            return None
        if self.limits is not None:
            return self.limits
        half = self.standard_error * two_sided_quantile(self.degrees)
        return self.information - half, self.information + half


def two_sided_quantile(degrees: float | None) -> float:
    """Return half the width of a 95 % interval in standard errors: Student's t, or normal for None."""
    return NORMAL_QUANTILE if degrees is None else float(stdtrit(degrees, 0.975))


def in_range(name: str, side: Floats) -> Floats:
    """Return the side, columns that are extremely large or small brought near 1 by an exact power of two.

    No information changes, nor any correlation.

    Args:
        name: ``x`` or ``y``, for the message.
        side: ``[N, d]``.

    Raises:
        InputError: a column is constant, as one that varies in few rows is in the others.

    Example:
        >>> in_range("x", np.array([[0.0, 1.0], [1e200, 2.0]]))[:, 1].tolist()
        [1.0, 2.0]
    """
    low, high = side.min(axis=0), side.max(axis=0)
    if (low == high).any():
        raise InputError(
            f"a column of {name} is constant in a fold, or in all rows but one block of groups", "leave the column out"
        )
    largest = np.maximum(np.abs(low), np.abs(high))
    extreme = (largest > _SAFE) | (largest < 1 / _SAFE)
    return np.ldexp(side, np.where(extreme, -np.frexp(largest)[1], 0)) if extreme.any() else side


def recorded(
    method: str,
    x: Any,
    y: Any,
    groups: Any,
    estimate: Callable[[Pair], Outcome],
    needed_bytes: Callable[[Pair], int] | None = None,
) -> InformationEstimate:
    """Return the record of one estimator on one pair of samples.

    What makes every estimator useless (:func:`~theorykit.information.estimators.pairs.checked_pair`) is raised. What
    this one cannot do (singular covariance, too few rows, too little memory, a NaN) is a record with its reason.
    Columns come to it in a range whose squares are numbers (:func:`in_range`).

    Args:
        method: Name of the estimator.
        x: ``[N, d_x]``.
        y: ``[N, d_y]``.
        groups: ``[N]`` or None.
        estimate: From the checked pair to the outcome.
        needed_bytes: Memory needed beyond the pair; checked before anything is computed.

    Raises:
        InputError: the pair is refused.
        NonFiniteError: NaN or infinity in the pair.
    """
    start = time.perf_counter()
    pair = checked_pair(x, y, groups)
    try:
        if needed_bytes is not None:
            check_memory(needed_bytes(pair))
        outcome = estimate(replace(pair, x=in_range("x", pair.x), y=in_range("y", pair.y)))
        if np.isnan(outcome.information):
            raise InputError("the estimate came out as NaN")
    except FAILURES as error:
        return replace(
            InformationEstimate.failed(method, pair.n_samples, pair.dimensions, failure_of(error), pair.warnings),
            seconds=time.perf_counter() - start,
        )
    return InformationEstimate(
        method=method,
        information=outcome.information,
        interval=outcome.interval(),
        standard_error=outcome.standard_error,
        ceiling=outcome.ceiling,
        converged=outcome.converged,
        n_samples=pair.n_samples,
        dimensions=pair.dimensions,
        warnings=pair.warnings + outcome.warnings,
        seconds=time.perf_counter() - start,
    )


FAILURES = (TheorykitError, np.linalg.LinAlgError, MemoryError, ValueError, FloatingPointError)
"""What a computation raises that an estimator records as its failure."""


def failure_of(error: Exception) -> str:
    """Return why a computation failed, for a record."""
    if isinstance(error, TheorykitError):
        return f"{error.message}; {error.hint}" if error.hint else error.message
    if isinstance(error, np.linalg.LinAlgError | MemoryError):
        return str(error) or type(error).__name__
    return f"x and y led to numbers that cannot be computed with: {error}"  # of numpy and scipy
