"""Statements in expectation, E[left] ≤ right: seeds are the unit, and each verdict has its own one-sided test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtr

from theorykit.arguments import Floats, calculation, one_of, positive_array, probability_array, whole_number_array
from theorykit.errors import InputError
from theorykit.results import Result
from theorykit.verdicts.axes import Instance, Value, Verdict
from theorykit.verdicts.betting import betting_lower_limit, betting_p_value
from theorykit.verdicts.competitors import Bound, Kind, overall_instance, tightness, turned_bound, verdict_over
from theorykit.verdicts.intervals import LEAST_SEEDS, ROUNDING, mean_limits, skewed_critical
from theorykit.verdicts.samples import SKEWED, error_rate, holm, ordered_pair, row_names, sample_matrix, skewness_z

Law = Literal["skewed", "right-tailed", "symmetric", "bounded"]
"""What may be assumed of the law of the measurements over seeds."""
_DECIDED = (Instance.VIOLATED, Instance.HOLDS)
_METHODS: dict[Law, str] = {
    "skewed": "one-sided tests over seeds that may be skewed, Holm over configurations",
    "right-tailed": "one-sided tests over seeds that may have a long right tail, Holm over configurations",
    "symmetric": "one-sided t tests over seeds, Holm over configurations",
    "bounded": "bets over seeds of any law within the support, Holm over configurations",
}


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
        p_value: One-sided, of H0: the statement is true, at the bound's generous limit; 1 where too few seeds decide.
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


@dataclass(frozen=True)
class _Tests:
    """What the seeds say of E; all ``[k]``.

    Attributes:
        lower: Lower limits of level 1 − alpha.
        upper: Upper limits of level 1 − alpha.
        p_values: One-sided, of E ≤ threshold.
        decides: Whether there is enough to decide anything.
        deterministic: Whether a quantity that is said not to vary does not.
    """

    lower: Floats
    upper: Floats
    p_values: Floats
    decides: NDArray[np.bool_]
    deterministic: NDArray[np.bool_]


def _mean_tests(
    sample: Floats,
    support: tuple[Floats, Floats],
    threshold: Floats,
    alpha: float,
    *,
    tails: tuple[bool, bool],
    constant: bool,
) -> _Tests:
    """Test with failed runs at the lowest for the lower limit and the p-value, at the highest for the upper limit.

    Equal values of a random quantity (seeds without one error) have no limits; fewer than ``LEAST_SEEDS`` of it decide
    nothing. ``tails`` says whether there may be a long one on the left, which the lower limit has to allow for, and on
    the right; ``constant`` that the quantity does not vary.
    """
    at_low, unknown_low = _filled(sample, support[0])
    at_high, unknown_high = _filled(sample, support[1])
    low, high = mean_limits(at_low, alpha, skewed=tails[0]), mean_limits(at_high, alpha, skewed=tails[1])
    unknown_low |= low.deterministic & (not constant)
    unknown_high |= high.deterministic & (not constant)
    return _Tests(
        lower=np.where(unknown_low, -np.inf, low.lower),
        upper=np.where(unknown_high, np.inf, high.upper),
        p_values=np.where(unknown_low, 1.0, low.p_above(threshold)),
        decides=(sample.shape[1] >= LEAST_SEEDS) | (low.deterministic & high.deterministic),
        deterministic=low.deterministic & constant,
    )


def _bets(sample: Floats, support: tuple[Floats, Floats], threshold: Floats, alpha: float) -> _Tests:
    """Test likewise by betting on a support: its lowest end gives the lower limit, its highest the upper one."""
    if (np.isfinite(sample) & ((sample < support[0][:, None]) | (sample > support[1][:, None]))).any():
        raise InputError("measured lies outside its support", "give the lowest and highest value that can occur")
    at_low, unknown_low = _filled(sample, support[0])
    at_high, unknown_high = _filled(sample, support[1])
    low, high = (np.where(np.isfinite(end), end, 0.0) for end in support)
    unknown_low, unknown_high = unknown_low | ~np.isfinite(support[0]), unknown_high | ~np.isfinite(support[1])
    above = np.where(unknown_low[:, None], 0.0, at_low - low[:, None])
    below = np.where(unknown_high[:, None], 0.0, high[:, None] - at_high)
    return _Tests(
        lower=np.where(unknown_low, -np.inf, low + betting_lower_limit(above, alpha)),
        upper=np.where(unknown_high, np.inf, high - betting_lower_limit(below, alpha)),
        p_values=np.where(unknown_low, 1.0, betting_p_value(above, threshold - low)),
        decides=np.ones(len(sample), dtype=bool),
        deterministic=np.zeros(len(sample), dtype=bool),
    )


def _reasons(rows: Sequence[Configuration], bound: Bound, few: bool) -> list[str]:
    n_seeds, reasons = rows[0].n_seeds, []
    violated = [row.name for row in rows if row.instance is Instance.VIOLATED]
    holding = sum(row.instance is Instance.HOLDS for row in rows)
    if n_seeds < 2:
        reasons.append(
            f"One seed has no variance: at least {LEAST_SEEDS} are needed. For a deterministic inequality use rule 2."
        )
    elif few:
        reasons.append(f"{n_seeds} seeds decide nothing on what varies over them: at least {LEAST_SEEDS} are needed.")
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
    law: Law = "skewed",
    alpha: float = 0.05,
    deterministic: bool = False,
    names: Sequence[str] | None = None,
    statement: str = "",
) -> Verdict:
    """Judge E[measured] ≤ bound (or ≥, with ``kind="lower"``) over independent seeds, in the unit of the measurement.

    VIOLATED where a one-sided test of E > bound survives Holm's correction over the configurations; HOLDS where the
    one-sided upper limit lies below the bound in every configuration (no correction: an intersection–union test);
    otherwise INCONCLUSIVE. P(VIOLATED | true) ≤ alpha and P(HOLDS | false) ≤ alpha, plus the chance that
    ``bound_interval`` misses the bound, for seeds of the law that ``law`` names:

    - ``"skewed"``: tails on either side as long as those of exponential or lognormal (σ = 1) seeds, by limits that are
      two to three times as wide as Student's at 8 seeds (:func:`~theorykit.verdicts.intervals.skewed_critical`). With
      Student's these HOLD wrongly in 10 to 16 % and 18 to 23 % of experiments of 5 to 20 seeds at alpha = 0.05.
    - ``"right-tailed"``: such a tail on the right alone, as squared norms have. Their lower limits are Student's, which
      a right tail makes safer (0.02 at alpha = 0.05 for exponential seeds).
    - ``"symmetric"``: Student's t, exact for normal seeds; heavy symmetric tails (t with 3 degrees of freedom) do no
      harm. Differences of paired runs are symmetric where neither arm differs from the other but in its mean.
    - ``"bounded"``: any law within ``support``, by betting (:mod:`theorykit.verdicts.betting`): exact at every number
      of seeds, and weak for few. One finite end gives one of the limits.

    Fewer than 5 seeds decide nothing, but for bets: no test can tell 4 that depend on one another. The mean of a law of
    which nothing is assumed has no test at all (Bahadur and Savage). Sign and signed-rank tests are not offered: they
    test the median or the centre of a symmetric law, and the statement is about the mean.

    Args:
        measured: ``[configurations, seeds]`` or ``[seeds]``; NaN or infinity marks a failed run.
        bound: ``[configurations]`` or one number.
        bound_interval: (low, high) confidence limits of an estimated bound, ends may be infinite.
        kind: ``"upper"`` or ``"lower"``.
        trivial: What is known without the statement, same shape as the bound.
        rival: The tightest simpler known bound, same shape.
        support: (lowest, highest) value the measured quantity can take. Failed runs count as the lowest for VIOLATED
            and the highest for HOLDS, so that leaving them out decides nothing.
        law: ``"skewed"``, ``"right-tailed"``, ``"symmetric"`` or ``"bounded"``, see above.
        alpha: One-sided error rate in (0, 1/2).
        deterministic: The quantity does not vary with the seed: equal values are compared directly, up to 1e-12
            relative. Otherwise equal values are a small sample of something that varies, and INCONCLUSIVE.
        names: One per configuration.
        statement: What is judged.

    Returns:
        The verdict; its evidence has one :class:`Configuration` per row. A single seed is INCONCLUSIVE.

    Raises:
        InputError: a shape, alpha, the kind, the law or an interval does not fit, or a bounded quantity lies outside
            its support.
        NonFiniteError: the bound is NaN or infinite.

    References:
        Holm (1979), Scandinavian Journal of Statistics 6(2); Berger (1982), Technometrics 24(4), for the
        intersection–union test; Bahadur and Savage (1956), Ann. Math. Statist. 27(4).

    Example:
        >>> seeds = [1.0, 1.1, 0.9, 1.05, 0.95]
        >>> expectation_verdict(seeds, 2.0, trivial=1.5).sentence
        'holds and is vacuous: true but says nothing'
        >>> expectation_verdict(seeds, 0.5).instance
        <Instance.VIOLATED: 'VIOLATED'>
        >>> expectation_verdict(seeds, 1.1).instance, expectation_verdict(seeds, 1.1, law="symmetric").instance
        (<Instance.INCONCLUSIVE: 'INCONCLUSIVE'>, <Instance.HOLDS: 'HOLDS'>)
    """
    sample = sample_matrix("measured", measured)
    alpha = error_rate(alpha)
    count, n_seeds = sample.shape
    turned = turned_bound(bound, (count,), kind=kind, interval=bound_interval, trivial=trivial, rival=rival)
    lowest, highest = ordered_pair("support", support, (count,))
    if turned.sign < 0:
        lowest, highest = -highest, -lowest
    turned_sample, support = turned.sign * sample, (lowest, highest)
    if one_of("law", law, get_args(Law)) == "bounded":
        tests = _bets(turned_sample, support, turned.high, alpha)
    else:
        left, right = law == "skewed", law in ("skewed", "right-tailed")
        tails = (left, right) if turned.sign > 0 else (right, left)
        tests = _mean_tests(turned_sample, support, turned.high, alpha, tails=tails, constant=deterministic)
    p_values = np.where(tests.decides, tests.p_values, 1.0)
    p_holm = holm(p_values)
    slack = np.where(tests.deterministic, ROUNDING * np.abs(turned.low), 0.0)
    below = tests.decides & (tests.upper <= turned.low + slack)
    finite, values = np.isfinite(sample), turned.values()
    rows = []
    for index, name in enumerate(row_names(names, count)):
        violated, holds = p_holm[index] <= alpha, bool(below[index])
        ends = (float(tests.lower[index]), float(tests.upper[index]))
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
                deterministic=bool(tests.deterministic[index] and finite[index].all()),
                instance=Instance.VIOLATED if violated else Instance.HOLDS if holds else Instance.INCONCLUSIVE,
                value=values[index],
            )
        )
    few = not tests.decides.all()
    instance, reasons = overall_instance(row.instance for row in rows), _reasons(rows, turned, few)
    if law == "symmetric" and instance in _DECIDED and abs(skewness_z(sample)) > SKEWED:
        reasons.append(f"The seeds are skewed: {instance} by t tests may err more often than alpha = {alpha:g}.")
    method = _METHODS[law]
    named: dict[str, Any] = {"statement": statement, "n_seeds": n_seeds, "alpha": alpha, "method": method}
    return verdict_over(rows, turned, reasons, **named)


_FAR = 1e4
"""Shift of a noncentral t beyond which its limit is right to 7 digits; scipy's goes wrong from 1e6 on."""


def power_expectation(
    effect: Any, sd: Any, n_seeds: Any, alpha: Any = 0.05, n_configurations: Any = 1, *, symmetric: bool = False
) -> Any:
    """Compute the chance to call VIOLATED what exceeds its bound by ``effect`` in one configuration; no unit.

    P(t'_(n−1)(effect √n / sd) > c), noncentral t, with c of level alpha/k: Student's for symmetric seeds, that of seeds
    that may be skewed otherwise. An equality for normal seeds and one configuration, a lower bound for k of them
    (the first step of Holm is Bonferroni). By symmetry also the chance to call HOLDS what stays below its bound by
    ``effect`` (k = 1).

    Args:
        effect: E[left] − right ≥ 0; broadcasts with all others.
        sd: Standard deviation over seeds, above 0, same unit.
        n_seeds: At least 2; the power is 0 below 5, as fewer decide nothing.
        alpha: One-sided level in (0, 1).
        n_configurations: k of at least 1.
        symmetric: Whether ``law="symmetric"`` is going to be said, or of an upper bound ``"right-tailed"``.

    Returns:
        Power in [0, 1), the broadcast shape.

    Raises:
        InputError: an argument is outside its domain.

    Example:
        >>> round(float(power_expectation(0.0, 1.0, 5, symmetric=True)), 6)  # no effect: the level itself
        0.05
        >>> round(float(power_expectation(1.0, 1.0, 12, symmetric=True)), 2)
        0.94
        >>> round(float(power_expectation(1.0, 1.0, 12)), 2)
        0.35
    """
    from scipy.stats import nct, t

    shift, spread = positive_array("effect", effect, allow_zero=True), positive_array("sd", sd)
    seeds = whole_number_array("n_seeds", n_seeds, minimum=2)
    level = probability_array("alpha", alpha)
    tests = whole_number_array("n_configurations", n_configurations)
    with calculation(effect=shift, sd=spread, n_seeds=seeds, alpha=level, n_configurations=tests):
        distance = shift / spread * np.sqrt(seeds)
    critical = t.isf(level / tests, seeds - 1) if symmetric else skewed_critical(level / tests, seeds)
    with np.errstate(over="ignore", divide="ignore"):  # far out the normal part of t' vanishes beside its shift
        far = chdtr(seeds - 1, (seeds - 1) * (distance / critical) ** 2)
    power = np.where(distance > _FAR, far, nct.sf(critical, seeds - 1, np.minimum(distance, _FAR)))
    return np.where(seeds < LEAST_SEEDS, 0.0, np.clip(power, 0.0, 1.0))[()]
