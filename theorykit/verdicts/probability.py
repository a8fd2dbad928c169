"""Statements with probability 1 − δ: exact binomial limits on how often they are violated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc, betaincc, betainccinv, betaincinv

from theorykit.arguments import Floats, calculation, probability_array, single_probability, whole_number_array
from theorykit.errors import InputError
from theorykit.results import Result
from theorykit.verdicts.axes import Instance, Value, Verdict
from theorykit.verdicts.competitors import Bound, Kind, overall_instance, turned_bound, verdict_over
from theorykit.verdicts.intervals import ROUNDING
from theorykit.verdicts.samples import error_rate, holm, row_names, sample_matrix, two_ends

_MOST_TRIALS = 2.0**53
"""Beyond it float64 does not count."""


@dataclass(frozen=True)
class TrialCount(Result):
    """How often one configuration of a high-probability statement was violated.

    Attributes:
        name: Its name.
        n_trials: Independent trials, failed ones included.
        n_failed: Trials that gave NaN or infinity: violations for HOLDS, none for VIOLATED.
        n_violations: Trials that did not fail and lie beyond the bound, at its generous limit.
        frequency_interval: Clopper–Pearson limits of the violation probability, each one-sided of level 1 − alpha.
        n_needed: Trials from which HOLDS is possible with as many violations.
        p_value: P(at least so many violations) where their probability is δ.
        p_holm: The same after Holm's correction over the configurations.
        tightness: δ-quantile of bound / measured over the trials (1 − δ for a lower bound), or None.
        tightness_interval: Its order-statistic interval of level 1 − alpha.
        instance: This configuration alone, with ``p_holm``.
        value: Of the median bound over the trials.
    """

    name: str
    n_trials: int
    n_failed: int
    n_violations: int
    frequency_interval: tuple[float, float]
    n_needed: int
    p_value: float
    p_holm: float
    tightness: float | None
    tightness_interval: tuple[float, float] | None
    instance: Instance
    value: Value | None


def minimal_trials(delta: Any, alpha: Any = 0.05, n_violations: Any = 0) -> Any:
    """Compute the fewest trials from which k violations show P(violation) ≤ δ at level 1 − α; a count.

    The smallest N with P(Bin(N, δ) ≤ k) ≤ α, an equality; for k = 0 it is ⌈log α / log(1 − δ)⌉. Found by bisection on
    the incomplete beta function.

    Args:
        delta: δ in (0, 1); broadcasts with the others.
        alpha: α in (0, 1).
        n_violations: k of at least 0.

    Returns:
        N, an integer array of the broadcast shape.

    Raises:
        InputError: an argument is outside its domain, or N is above 2^53, where float64 counts no more.

    Example:
        >>> minimal_trials([0.1, 0.05, 0.01]).tolist()
        [29, 59, 299]
    """
    level = probability_array("alpha", alpha)
    rate = probability_array("delta", delta)
    count = whole_number_array("n_violations", n_violations, minimum=0)
    with calculation(delta=rate, alpha=level, n_violations=count):
        shape = np.broadcast_shapes(rate.shape, level.shape, count.shape)
    few, enough = np.broadcast_to(count, shape), np.full(shape, _MOST_TRIALS)

    def is_rare(trials: Floats) -> NDArray[np.bool_]:
        """Say where P(Bin(N, δ) ≤ k) ≤ α."""
        return np.asarray(betaincc(count + 1, trials - count, rate) <= level * (1 + 4 * np.finfo(float).eps))

    unreachable = (count >= _MOST_TRIALS) | ~is_rare(np.maximum(enough, count + 1))
    if unreachable.any():
        raise InputError(
            f"delta = {np.broadcast_to(rate, shape)[unreachable][0]:g} after {few[unreachable][0]:g} violations needs "
            "more than 2^53 trials",
            "no experiment shows so small a probability",
        )
    # P(Bin(N, δ) ≤ k) ≤ exp(−(Nδ − k)²/(2Nδ)) (Chernoff) is at most α from Nδ = k + x + (x² + 2kx)^½ on, x = −log α
    cost = -np.log(level)
    near = np.minimum(np.ceil((count + cost + np.sqrt(cost * (cost + 2 * count))) / rate) + 1, enough)
    enough = np.where(is_rare(near), near, enough)
    while (enough - few > 1).any():
        middle = np.floor((few + enough) / 2)
        done = is_rare(middle)
        few, enough = np.where(done, few, middle), np.where(done, middle, enough)
    return enough.astype(np.int64)[()]


def violation_interval(n_violations: Any, n_trials: Any, alpha: float = 0.05) -> tuple[Any, Any]:
    """Compute Clopper–Pearson limits of a violation probability, each one-sided of level at least 1 − α; no unit.

    Args:
        n_violations: k ≥ 0; broadcasts with ``n_trials``.
        n_trials: N ≥ max(1, k).
        alpha: In (0, 1/2).

    Returns:
        Lower and upper limit, the broadcast shape.

    Raises:
        InputError: more violations than trials, or an argument outside its domain.

    References:
        Clopper & Pearson (1934), Biometrika 26(4).

    Example:
        >>> low, high = violation_interval(0, 29)  # 1 − 0.05^(1/29)
        >>> bool(low == 0.0), round(float(high), 4)
        (True, 0.0981)
    """
    count = whole_number_array("n_violations", n_violations, minimum=0)
    trials = whole_number_array("n_trials", n_trials)
    with calculation(n_violations=count, n_trials=trials):
        above = count > trials
    if above.any():
        raise InputError("n_violations is above n_trials", "give at most one violation per trial")
    alpha = error_rate(alpha)
    low = betaincinv(np.maximum(count, 1), trials - count + 1, alpha)
    high = betainccinv(count + 1, np.maximum(trials - count, 1), alpha)
    return np.where(count > 0, low, 0.0)[()], np.where(count < trials, high, 1.0)[()]


def _quantile_ratio(
    measured: Floats, bound: Floats, sign: int, delta: float, alpha: float
) -> tuple[float | None, tuple[float, float] | None]:
    """Return the quantile of bound / measured beyond which a share δ may lie, with its order-statistic interval."""
    kept = np.isfinite(measured)
    if not kept.any() or (bound[kept] <= 0).any():
        return None, None
    with np.errstate(divide="ignore"):
        ratios = np.where(measured[kept] > 0, bound[kept] / np.maximum(measured[kept], 0.0), np.inf)
    level = delta if sign > 0 else 1 - delta
    ordered = np.sort(ratios)
    place = int(np.ceil(level * ordered.size)) - 1 if sign > 0 else int(np.floor(level * ordered.size))
    point = float(ordered[min(place, ordered.size - 1)])
    # as scipy's quantile_test, which takes 1 ms to set up: places l, u with P(Bin < l) and P(Bin ≥ u) ≤ alpha/2
    below = bdtr(np.arange(ordered.size), ordered.size, level)
    first, last = int((below <= alpha / 2).sum()), int((below < 1 - alpha / 2).sum())
    low = float(ordered[first - 1]) if first else 0.0
    high = float(ordered[last]) if last < ordered.size else float("inf")
    return (point if np.isfinite(point) else None), (min(low, point), max(high, point))


def _broadcast_bound(value: Any, shape: tuple[int, int]) -> Any:
    """Turn one number per configuration ``[k]`` into ``[k, 1]``; a bound per trial stays as it is."""
    try:
        lengths = np.shape(value)
    except ValueError:  # rows of unequal length, told where the bound is checked
        return value
    return np.asarray(value)[:, None] if lengths == (shape[0],) and shape[0] > 1 else value


def _medians(bound: Bound) -> Bound:
    parts = {name: getattr(bound, name) for name in ("point", "low", "high", "trivial", "rival")}
    medians: dict[str, Any] = {
        name: None if values is None else np.median(values, axis=1) for name, values in parts.items()
    }
    return replace(bound, **medians)


def probability_verdict(
    measured: Any,
    bound: Any,
    delta: float,
    *,
    bound_interval: Any = None,
    kind: Kind = "upper",
    trivial: Any = None,
    rival: Any = None,
    alpha: float = 0.05,
    names: Sequence[str] | None = None,
    statement: str = "",
) -> Verdict:
    """Judge P(measured ≤ bound) ≥ 1 − δ (or ≥ bound, with ``kind="lower"``) from independent trials.

    The violation probability has exact binomial limits: VIOLATED where P(Bin(N, δ) ≥ k) survives Holm's correction,
    HOLDS where the upper Clopper–Pearson limit is at most δ in every configuration, otherwise INCONCLUSIVE. Both
    errors are at most alpha, whatever the distribution. A trial is a fresh sample, not a fresh seed on one sample.

    Args:
        measured: ``[configurations, trials]`` or ``[trials]``; NaN or infinity marks a failed trial.
        bound: One number, ``[configurations]``, or one per trial in the shape of ``measured``.
        delta: δ in (0, 1).
        bound_interval: (low, high) confidence limits of an estimated bound, each shaped like a bound.
        kind: ``"upper"`` or ``"lower"``.
        trivial: What is known without the statement, shaped like a bound.
        rival: The tightest simpler known bound.
        alpha: Error rate in (0, 1/2).
        names: One per configuration.
        statement: What is judged.

    Returns:
        The verdict; its evidence has one :class:`TrialCount` per row.

    Raises:
        InputError: a shape, δ, alpha, the kind or an interval does not fit.
        NonFiniteError: the bound is NaN or infinite.

    Example:
        >>> import numpy as np
        >>> probability_verdict(np.zeros(29), 1.0, 0.1).instance, probability_verdict(np.zeros(28), 1.0, 0.1).instance
        (<Instance.HOLDS: 'HOLDS'>, <Instance.INCONCLUSIVE: 'INCONCLUSIVE'>)
    """
    sample = sample_matrix("measured", measured)
    delta, alpha = single_probability("delta", delta), error_rate(alpha)
    shape = (sample.shape[0], sample.shape[1])
    interval = None
    if bound_interval is not None:
        interval = tuple(_broadcast_bound(end, shape) for end in two_ends("bound_interval", bound_interval))
    competitors = {
        name: None if value is None else _broadcast_bound(value, shape)
        for name, value in (("trivial", trivial), ("rival", rival))
    }
    turned = turned_bound(_broadcast_bound(bound, shape), shape, kind=kind, interval=interval, **competitors)
    failed = ~np.isfinite(sample)
    values = np.where(failed, 0.0, turned.sign * sample)

    def beyond(limit: Floats) -> Floats:
        slack = ROUNDING * np.where(np.isfinite(limit), np.maximum(np.abs(limit), np.abs(values)), 0.0)
        return np.asarray(((values > limit + slack) & ~failed).sum(axis=1), dtype=np.float64)

    surely, possibly = beyond(turned.high), beyond(turned.low) + failed.sum(axis=1)
    trials = shape[1]
    p_values = np.where(surely > 0, bdtrc(np.maximum(surely - 1, 0), trials, delta), 1.0)
    p_holm = holm(p_values)
    lower, upper = violation_interval(surely, trials, alpha)[0], violation_interval(possibly, trials, alpha)[1]
    needed = minimal_trials(delta, alpha, possibly)
    bound_values = _medians(turned).values()
    rows = []
    for index, name in enumerate(row_names(names, shape[0])):
        ratio, ratio_interval = _quantile_ratio(
            sample[index], turned.sign * turned.point[index], turned.sign, delta, alpha
        )
        violated, holds = p_holm[index] <= alpha, trials >= needed[index]
        rows.append(
            TrialCount(
                name=name,
                n_trials=trials,
                n_failed=int(failed[index].sum()),
                n_violations=int(surely[index]),
                frequency_interval=(float(lower[index]), float(upper[index])),
                n_needed=int(needed[index]),
                p_value=float(p_values[index]),
                p_holm=float(p_holm[index]),
                tightness=ratio,
                tightness_interval=ratio_interval,
                instance=Instance.VIOLATED if violated else Instance.HOLDS if holds else Instance.INCONCLUSIVE,
                value=bound_values[index],
            )
        )
    method = "exact binomial test of the violation frequency, Holm over configurations"
    named: dict[str, Any] = {"statement": statement, "n_seeds": trials, "alpha": alpha, "method": method}
    return verdict_over(rows, turned, (*_reasons(rows, delta), *turned.remarks), **named)


def _reasons(rows: Sequence[TrialCount], delta: float) -> list[str]:
    worst = max(rows, key=lambda row: row.n_violations)
    reasons = [
        f"At most {worst.n_violations} violations in {worst.n_trials} trials; delta = {delta:g} "
        f"allows {delta * worst.n_trials:.3g} on average."
    ]
    if overall_instance(row.instance for row in rows) is Instance.INCONCLUSIVE:
        most = max(row.n_needed for row in rows)
        reasons.append(f"{most} trials would be needed with so few violations, {worst.n_trials} were made.")
    failed = sum(row.n_failed for row in rows)
    if failed:
        reasons.append(f"{failed} trials failed; they count as violations for HOLDS and as none for VIOLATED.")
    return reasons
