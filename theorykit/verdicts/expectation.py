"""Statements in expectation, E[left] ≤ right: seeds are the unit, and each verdict has its own one-sided test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtr

from theorykit.arguments import Floats, calculation, positive_array, probability_array, whole_number_array
from theorykit.results import Result
from theorykit.verdicts.axes import Instance, Value, Verdict
from theorykit.verdicts.competitors import Bound, Kind, overall_instance, tightness, turned_bound, verdict_over
from theorykit.verdicts.intervals import ROUNDING, MeanLimits, mean_limits
from theorykit.verdicts.samples import SKEWED, error_rate, holm, ordered_pair, row_names, sample_matrix, skewness_z

_HARMFUL_SKEW = {Instance.VIOLATED: -1, Instance.HOLDS: 1}
"""Sign of the skewness of (turned) measurements with which the t test of a verdict errs more often than alpha."""


@dataclass(frozen=True)
class Configuration(Result):
    """One configuration of a statement in expectation.

    Attributes:
        name: Its name.
        n_seeds: Runs, failed ones included.
        n_failed: Runs that gave NaN or infinity.
        mean: Mean of the runs that did not fail, in the unit of the measured quantity.
        interval: Lower and upper limit of E, each one-sided of level 1 − alpha, failed runs at the end of ``support``.
        bound: The bound.
        bound_interval: Its confidence limits; the bound twice where it is known.
        p_value: One-sided, of H0: the statement is true, at the bound's generous limit.
        p_holm: The same after Holm's correction over the configurations.
        tightness: bound / mean, or None.
        tightness_interval: Its interval.
        deterministic: Whether all seeds gave one value.
        instance: This configuration alone, with ``p_holm``.
        value: Whether the bound says anything here.
    """

    name: str
    n_seeds: int
    n_failed: int
    mean: float
    interval: tuple[float, float]
    bound: float
    bound_interval: tuple[float, float]
    p_value: float
    p_holm: float
    tightness: float | None
    tightness_interval: tuple[float, float] | None
    deterministic: bool
    instance: Instance
    value: Value | None


def _filled(sample: Floats, value: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return failed runs at ``value`` [k], or at 0 where that is infinite, and which rows that leaves undecided."""
    failed = ~np.isfinite(sample)
    unknown = np.asarray(failed.any(axis=1) & ~np.isfinite(value))
    return np.where(failed, np.where(np.isfinite(value), value, 0.0)[:, None], sample), unknown


def _limits(
    sample: Floats, support: tuple[Floats, Floats], alpha: float, deterministic: bool
) -> tuple[MeanLimits, MeanLimits, Floats]:
    """Return the t limits with failed runs at the lowest, those at the highest, and p-value floors (1 = undecided).

    Equal values of a random quantity (three runs without one error) have no t limits: their rows stay undecided.
    """
    at_low, unknown_low = _filled(sample, support[0])
    at_high, unknown_high = _filled(sample, support[1])
    low, high = mean_limits(at_low, alpha), mean_limits(at_high, alpha)
    low.lower[unknown_low] = -np.inf
    high.upper[unknown_high] = np.inf
    if not deterministic:
        unknown_low |= low.deterministic
        low.lower[low.deterministic] = -np.inf
        high.upper[high.deterministic] = np.inf
        low.sd[low.deterministic] = high.sd[high.deterministic] = 1.0  # any: the floors decide
        low.deterministic[:] = high.deterministic[:] = False
    return low, high, unknown_low.astype(np.float64)


def _reasons(rows: Sequence[Configuration], bound: Bound) -> list[str]:
    n_seeds, reasons = rows[0].n_seeds, []
    violated = [row.name for row in rows if row.instance is Instance.VIOLATED]
    holding = sum(row.instance is Instance.HOLDS for row in rows)
    if n_seeds < 2:
        reasons.append("One seed has no variance: at least two are needed. For a deterministic inequality use rule 2.")
    if violated:
        reasons.append(f"Violated in {len(violated)} of {len(rows)} configurations: {', '.join(violated[:5])}.")
    elif holding < len(rows):
        reasons.append(f"The confidence limit lies inside the bound in {holding} of {len(rows)} configurations.")
    failed = sum(row.n_failed for row in rows)
    if failed:
        reasons.append(
            f"{failed} of {n_seeds * len(rows)} runs failed; they count as the end of the support that speaks against "
            "each verdict, and as undecided where that end is infinite."
        )
    constant = sum(row.deterministic for row in rows)
    if constant:
        reasons.append(
            f"All seeds agree in {constant} of {len(rows)} configurations: a deterministic quantity, compared directly."
        )
    tied = sum(row.instance is Instance.INCONCLUSIVE and np.isinf(row.interval).all() for row in rows)
    if tied and n_seeds > 1 and not failed:
        reasons.append(
            f"All seeds agree in {tied} of {len(rows)} configurations: say deterministic, or run more seeds."
        )
    reasons += bound.remarks
    if bound.trivial is not None and any(
        row.interval[0] > bound.trivial[index] if bound.sign > 0 else -row.interval[1] > bound.trivial[index]
        for index, row in enumerate(rows)
    ):
        reasons.append("The measured value breaks the trivial bound as well: check the measurement.")
    return reasons


def expectation_verdict(
    measured: Any,
    bound: Any,
    *,
    bound_interval: Any = None,
    kind: Kind = "upper",
    trivial: Any = None,
    rival: Any = None,
    support: Any = (-np.inf, np.inf),
    alpha: float = 0.05,
    deterministic: bool = False,
    names: Sequence[str] | None = None,
    statement: str = "",
) -> Verdict:
    """Judge E[measured] ≤ bound (or ≥, with ``kind="lower"``) over independent seeds, in the unit of the measurement.

    VIOLATED where a one-sided t test of E > bound survives Holm's correction over the configurations; HOLDS where the
    one-sided upper limit lies below the bound in every configuration (no correction: an intersection–union test);
    otherwise INCONCLUSIVE. With normal seeds P(VIOLATED | true) ≤ alpha and P(HOLDS | false) ≤ alpha, plus
    the chance that ``bound_interval`` misses the bound. Skewed seeds bend this, and the reasons say so where it shows.
    With a long right tail (squared norms) VIOLATED of an upper bound errs less than alpha and HOLDS more, with a long
    left tail, or for a lower bound, the other way round: exponential seeds at alpha = 0.05, 3 to 20 of them, give
    0.02 on the safe side and 0.10 to 0.20 on the other (0.2 to 0.3 somewhere in four configurations). Heavy symmetric
    tails (t with 3 degrees of freedom) do no harm. Silence proves nothing: of the exponential seeds that wrongly HOLD
    19 % are told with 8 seeds and 60 % with 20. Average within seeds where the tail is long. Sign and signed-rank
    tests are not offered: they test the median or the centre of a symmetric law, and the statement is about the mean.

    Args:
        measured: ``[configurations, seeds]`` or ``[seeds]``; NaN or infinity marks a failed run.
        bound: ``[configurations]`` or one number.
        bound_interval: (low, high) confidence limits of an estimated bound, ends may be infinite.
        kind: ``"upper"`` or ``"lower"``.
        trivial: What is known without the statement, same shape as the bound.
        rival: The tightest simpler known bound, same shape.
        support: (lowest, highest) value the measured quantity can take. Failed runs count as the lowest for VIOLATED
            and the highest for HOLDS, so that leaving them out decides nothing.
        alpha: One-sided error rate in (0, 1/2).
        deterministic: The quantity does not vary with the seed: equal values are compared directly, up to 1e-12
            relative. Otherwise equal values are a small sample of something that varies, and INCONCLUSIVE.
        names: One per configuration.
        statement: What is judged.

    Returns:
        The verdict; its evidence has one :class:`Configuration` per row. A single seed is INCONCLUSIVE.

    Raises:
        InputError: a shape, alpha, the kind or an interval does not fit.
        NonFiniteError: the bound is NaN or infinite.

    References:
        Holm (1979), Scandinavian Journal of Statistics 6(2); Berger (1982), Technometrics 24(4), for the
        intersection–union test; Hall (1992), The Bootstrap and Edgeworth Expansion, section 2.6, for skewness.

    Example:
        >>> expectation_verdict([1.0, 1.1, 0.9], 2.0, trivial=1.5).sentence
        'holds and is vacuous: true but says nothing'
        >>> expectation_verdict([1.0, 1.1, 0.9], 0.5).instance
        <Instance.VIOLATED: 'VIOLATED'>
    """
    sample = sample_matrix("measured", measured)
    alpha = error_rate(alpha)
    count, n_seeds = sample.shape
    turned = turned_bound(bound, (count,), kind=kind, interval=bound_interval, trivial=trivial, rival=rival)
    lowest, highest = ordered_pair("support", support, (count,))
    if turned.sign < 0:
        lowest, highest = -highest, -lowest
    low, high, floor = _limits(turned.sign * sample, (lowest, highest), alpha, deterministic)
    p_values = np.maximum(low.p_above(turned.high), floor)
    p_holm = holm(p_values)
    below = high.upper <= turned.low + np.where(high.deterministic, ROUNDING * np.abs(turned.low), 0.0)
    finite, values = np.isfinite(sample), turned.values()
    rows = []
    for index, name in enumerate(row_names(names, count)):
        violated, holds = p_holm[index] <= alpha, bool(below[index])
        ends = (float(low.lower[index]), float(high.upper[index]))
        mean = float(sample[index][finite[index]].mean()) if finite[index].any() else float("nan")
        interval = ends if turned.sign > 0 else (-ends[1], -ends[0])
        limits = sorted((turned.sign * float(turned.low[index]), turned.sign * float(turned.high[index])))
        point = turned.sign * float(turned.point[index])
        ratio, ratio_interval = tightness((limits[0], point, limits[1]), (interval[0], mean, interval[1]))
        rows.append(
            Configuration(
                name=name,
                n_seeds=n_seeds,
                n_failed=int((~finite[index]).sum()),
                mean=mean,
                interval=interval,
                bound=point,
                bound_interval=(limits[0], limits[1]),
                p_value=float(p_values[index]),
                p_holm=float(p_holm[index]),
                tightness=ratio,
                tightness_interval=ratio_interval,
                deterministic=bool(low.deterministic[index] and finite[index].all()),
                instance=Instance.VIOLATED if violated else Instance.HOLDS if holds else Instance.INCONCLUSIVE,
                value=values[index],
            )
        )
    instance, reasons = overall_instance(row.instance for row in rows), _reasons(rows, turned)
    if instance in _HARMFUL_SKEW and _HARMFUL_SKEW[instance] * skewness_z(turned.sign * sample) > SKEWED:
        reasons.append(f"The seeds are skewed: {instance} by t tests errs more often than alpha = {alpha:g}.")
    method = "one-sided t tests over seeds, Holm over configurations"
    named: dict[str, Any] = {"statement": statement, "n_seeds": n_seeds, "alpha": alpha, "method": method}
    return verdict_over(rows, turned, reasons, **named)


_FAR = 1e4
"""Shift of a noncentral t beyond which its limit is right to 7 digits; scipy's goes wrong from 1e6 on."""


def power_expectation(effect: Any, sd: Any, n_seeds: Any, alpha: Any = 0.05, n_configurations: Any = 1) -> Any:
    """Compute the chance to call VIOLATED what exceeds its bound by ``effect`` in one configuration; no unit.

    P(t'_(n−1)(effect √n / sd) > t_(n−1, 1−alpha/k)), noncentral t: an equality for normal seeds and one
    configuration, a lower bound for k of them (the first step of Holm is Bonferroni). By symmetry also the chance to
    call HOLDS what stays below its bound by ``effect`` (k = 1).

    Args:
        effect: E[left] − right ≥ 0; broadcasts with all others.
        sd: Standard deviation over seeds, above 0, same unit.
        n_seeds: At least 2.
        alpha: One-sided level in (0, 1).
        n_configurations: k of at least 1.

    Returns:
        Power in (0, 1), the broadcast shape.

    Raises:
        InputError: an argument is outside its domain.

    Example:
        >>> round(float(power_expectation(0.0, 1.0, 5)), 6)  # no effect: the level itself
        0.05
        >>> bool(power_expectation(1.0, 1.0, 12) > 0.9)
        True
    """
    from scipy.stats import nct, t

    shift, spread = positive_array("effect", effect, allow_zero=True), positive_array("sd", sd)
    seeds = whole_number_array("n_seeds", n_seeds, minimum=2)
    level = probability_array("alpha", alpha)
    tests = whole_number_array("n_configurations", n_configurations)
    with calculation(effect=shift, sd=spread, n_seeds=seeds, alpha=level, n_configurations=tests):
        distance = shift / spread * np.sqrt(seeds)
    critical = t.isf(level / tests, seeds - 1)
    with np.errstate(over="ignore", divide="ignore"):  # far out the normal part of t' vanishes beside its shift
        far = chdtr(seeds - 1, (seeds - 1) * (distance / critical) ** 2)
    power = np.where(distance > _FAR, far, nct.sf(critical, seeds - 1, np.minimum(distance, _FAR)))
    return np.clip(power, 0.0, 1.0)[()]
