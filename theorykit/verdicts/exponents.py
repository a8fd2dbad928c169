"""Exponents: does r* grow like n to the claimed power? Intervals over seeds, equivalence tests, rivals listed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from theorykit.arguments import (
    Floats,
    calculation,
    checked_generator,
    number_array,
    positive_array,
    positive_integer,
    positive_number,
    single_number,
)
from theorykit.errors import InputError
from theorykit.results import Result
from theorykit.verdicts.axes import Exponent, Instance, Rows, Verdict
from theorykit.verdicts.intervals import ROUNDING, mean_interval
from theorykit.verdicts.planning import ExponentPlan, checked_sizes, slope_weights
from theorykit.verdicts.rounding import SHARE, rounding_shifts
from theorykit.verdicts.samples import SKEWED, sample_matrix, skewness_z

if TYPE_CHECKING:
    import pandas as pd

Interval = tuple[float, float]
LEAST_SIZES = 3


@dataclass(frozen=True)
class Rival(Result):
    """One exponent beside the measured slope.

    Attributes:
        name: Its name.
        exponent: Its value.
        distance: Measured slope less this exponent.
        in_interval: Whether it lies in the wider two-sided interval of level 1 − alpha.
    """

    name: str
    exponent: float
    distance: float
    in_interval: bool


@dataclass(frozen=True)
class SlopeEvidence(Result):
    """A log-log slope with both intervals and everything that was left out.

    Attributes:
        slope: Mean over the seeds of the least-squares slope of ln r* on ln n.
        sd: Standard deviation of the slope over the seeds.
        skewness_z: Skewness of the slopes over the seeds, in standard errors for normal ones.
        t_interval: Student's interval of level 1 − alpha over seeds, widened by ``rounding_bias``.
        bootstrap_interval: Percentile interval of level 1 − alpha from resampled seeds, widened likewise.
        equivalence_interval: The wider of the two kinds at level 1 − 2 alpha: the one that decides.
        rounding_bias: Bound on the shift of the slope that comes from rounding r* to its grid; a tenth of alpha pays
            for it, the intervals over seeds have the rest.
        sizes: Sizes that were used.
        n_seeds: Seeds that were used.
        n_censored: Points at an end of the grid or at the limit.
        n_failed: Points that are NaN or infinite.
        claimed: The claimed exponent, as a rival.
        rivals: All rivals.
    """

    slope: float
    sd: float
    skewness_z: float
    t_interval: Interval
    bootstrap_interval: Interval
    equivalence_interval: Interval
    rounding_bias: float
    sizes: tuple[float, ...]
    n_seeds: int
    n_censored: int
    n_failed: int
    claimed: Rival
    rivals: tuple[Rival, ...]

    @property
    def wider_interval(self) -> Interval:
        """Return the wider of the two intervals of level 1 − alpha."""
        return _wider(self.t_interval, self.bootstrap_interval)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per exponent, the claimed one first."""
        return Rows((self.claimed, *self.rivals)).to_frame()


def _wider(first: Interval, second: Interval) -> Interval:
    return first if first[1] - first[0] >= second[1] - second[0] else second


def censored_points(optimum: Any, grid: Any = None, limit: float | None = None) -> NDArray[np.bool_]:
    """Return where r* lies at an end of the grid that was searched, or at ``limit`` or above; same shape.

    There r* is only known to be at least, or at most, the number given.

    Raises:
        InputError: the grid has fewer than 3 numbers above 0, or the limit is not above 0.
    """
    optimum = number_array("optimum", optimum, allow_infinite=True, allow_nan=True)
    censored = np.zeros(optimum.shape, dtype=bool)
    if grid is not None:
        values = np.unique(positive_array("grid", grid))
        if values.size < 3:
            raise InputError("grid has fewer than 3 values", "both of its ends are censored")
        censored |= (optimum <= values.min() * (1 + ROUNDING)) | (optimum >= values.max() * (1 - ROUNDING))
    if limit is not None:
        censored |= optimum >= positive_number("limit", limit) * (1 - ROUNDING)
    return censored


def _check_continuous(optimum: Floats) -> None:
    """Raise where r* repeat: they lie on a grid then, whose ends are censored unseen."""
    ranks, counts = np.unique(optimum, return_counts=True)
    if (counts > 1).any():
        repeated = counts.argmax()
        raise InputError(
            f"optimum holds {counts[repeated]} times {ranks[repeated]:g}: it was searched on a grid",
            "give the grid, so that r* at its ends count as censored",
        )


def _intervals(slopes: Floats, means: Floats, tail: float, bias: float) -> tuple[Interval, Interval]:
    """Return the two-sided t and bootstrap intervals of level 1 − 2 tail, from slopes and means of resampled ones."""
    ends = mean_interval(slopes, tail)[1], np.quantile(means, (tail, 1 - tail)).tolist()
    of_t, of_bootstrap = ((low - bias, high + bias) for low, high in ends)
    return of_t, of_bootstrap


def _decide(plan: ExponentPlan, evidence: SlopeEvidence) -> tuple[Exponent, list[str]]:
    low, high = evidence.equivalence_interval
    bottom, top = plan.claimed - plan.margin, plan.claimed + plan.margin
    inside = [rival for rival in evidence.rivals if rival.in_interval and rival.exponent != plan.claimed]
    band = f"{plan.claimed:.4g} ± {plan.margin:g}"
    if high < bottom or low > top:
        return Exponent.INCONSISTENT, [f"The interval [{low:.3f}, {high:.3f}] lies outside {band}."]
    if bottom < low and high < top and not inside:
        return Exponent.CONSISTENT, [f"The interval [{low:.3f}, {high:.3f}] lies within {band}."]
    reasons = [f"The rival {rival.name} = {rival.exponent:.4g} lies in the interval too." for rival in inside]
    if not (bottom < low and high < top):
        reasons.append(f"The interval [{low:.3f}, {high:.3f}] reaches beyond {band} without leaving it.")
    return Exponent.INDISTINGUISHABLE, reasons


def _of_the_grid(plan: ExponentPlan, evidence: SlopeEvidence) -> list[str]:
    """Say where the steps of the grid, and not the seeds, leave the exponent open."""
    (low, high), bias = evidence.equivalence_interval, evidence.rounding_bias
    bottom, top = plan.claimed - plan.margin, plan.claimed + plan.margin
    low, high = low + bias, high - bias
    if evidence.rounding_bias == 0 or not (high < bottom or low > top or bottom < low < high < top):
        return []
    # worst steps of ln r of width h shift the slope by Σ|w| h/2
    reach = float(np.abs(slope_weights(np.array(evidence.sizes))).sum())
    factor = np.exp(plan.margin / (2 * reach))
    return [
        f"Without the grid the seeds would decide: its steps alone may bend the slope by {bias:.3f}. Steps of at most "
        f"a factor {factor:.3g} bend it by a quarter of the margin at most."
    ]


INSTANCES = {
    Exponent.CONSISTENT: Instance.HOLDS,
    Exponent.INCONSISTENT: Instance.VIOLATED,
    Exponent.INDISTINGUISHABLE: Instance.INCONCLUSIVE,
}


def _used(censored: NDArray[np.bool_], failed: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which seeds and which sizes are used.

    A size with a censored point goes whole, since keeping its other points would select on r*; so does a size at
    which every seed failed. Of the others, a seed with a failed run goes whole.
    """
    sizes = np.asarray(~censored.any(axis=0) & ~failed.all(axis=0))
    seeds = np.asarray(~failed[:, sizes].any(axis=1))
    return seeds, sizes


def _left_out(
    plan: ExponentPlan, seeds: NDArray[np.bool_], sizes: NDArray[np.bool_], counts: tuple[int, int]
) -> list[str]:
    censored, failed = counts
    reasons = []
    if censored:
        reasons.append(f"{censored} points are censored; {int((~sizes).sum())} of {sizes.size} sizes were left out.")
    if failed:
        reasons.append(f"{failed} runs failed; {int((~seeds).sum())} of {seeds.size} seeds were left out.")
    if seeds.sum() < plan.n_seeds:
        reasons.append(f"{plan.n_seeds} seeds were planned, {int(seeds.sum())} are used: the power is below the plan.")
    if plan.rivals_within_margin:
        reasons.append(f"The margin is too wide to tell the claim from {', '.join(plan.rivals_within_margin)}.")
    return reasons


def exponent_verdict(
    plan: ExponentPlan,
    optimum: Any,
    generator: np.random.Generator,
    *,
    grid: Any,
    limit: float | None = None,
    n_bootstrap: int = 2000,
    statement: str = "",
) -> Verdict:
    """Judge r* ∝ n^claimed from the optimum found at each size by each seed; the slope has no unit.

    Each seed gives one slope. CONSISTENT where the (1 − 2 alpha) interval, the wider of t and bootstrap, lies within
    the planned margin (two one-sided tests) and no rival lies in the (1 − alpha) interval; INCONSISTENT where it
    lies wholly outside the margin; INDISTINGUISHABLE otherwise. With normal ln r* each of the first two is wrong with
    probability at most alpha. So it is on a grid: the intervals are widened by the most that rounding can bend the
    slope, half a cell at each size, or less where the noise at that size is shown to be wide beside it
    (:mod:`theorykit.verdicts.rounding`). A grid too coarse for the margin leaves the exponent open; the reasons say
    which steps would not. A correlation plays no part: see :func:`simulated_correlations`.

    Args:
        plan: What was fixed before the data.
        optimum: ``[seeds, sizes]`` r* above 0; NaN or infinity marks a failed run. Rows are independent.
        generator: For the bootstrap.
        grid: Values of r that were tried; its two ends are censored and its steps bound the rounding of r*, which is
            the value nearest in ln r: so it is for C1/r + C2 r/n, and for any law with the same shape at all n. It has
            to be said: None only where r* comes from a continuous search, in which no two r* below ``limit`` are equal.
        limit: min(m, n): an r* there is censored.
        n_bootstrap: Resamples of the seeds, at least 1.
        statement: What is judged.

    Returns:
        The verdict; its evidence is a :class:`SlopeEvidence`, or None with fewer than 2 seeds or 3 sizes left.

    Raises:
        InputError: the shape differs from the planned sizes, r* is not above 0, equal r* show a grid that was not
            given, or no generator is given.

    References:
        Schuirmann (1987), J. Pharmacokinetics and Biopharmaceutics 15(6).
    """
    generator = checked_generator(generator)
    n_bootstrap = positive_integer("n_bootstrap", n_bootstrap)
    values = sample_matrix("optimum", optimum)
    if values.shape[1] != len(plan.sizes):
        raise InputError(f"optimum has {values.shape[1]} columns for {len(plan.sizes)} sizes", "give [seeds, sizes]")
    failed = ~np.isfinite(values)
    if (values[~failed] <= 0).any():
        raise InputError("optimum holds a number that is not above 0", "ranks start at 1")
    censored = censored_points(np.where(failed, 1.0, values), grid, limit) & ~failed
    if grid is None:
        _check_continuous(values[~failed & ~censored])
    seeds, sizes = _used(censored, failed)
    counts = (int(censored.sum()), int(failed.sum()))
    reasons = _left_out(plan, seeds, sizes, counts)
    evidence = None
    exponent = Exponent.INDISTINGUISHABLE
    if seeds.sum() >= 2 and sizes.sum() >= LEAST_SIZES:
        kept = values[np.ix_(seeds, sizes)]
        evidence = _evidence(plan, kept, sizes, grid, n_bootstrap, generator, counts)
        exponent, decided = _decide(plan, evidence)
        reasons = decided + reasons
        if exponent is Exponent.INDISTINGUISHABLE:
            reasons += _of_the_grid(plan, evidence)
        if abs(evidence.skewness_z) > SKEWED:
            reasons.append("The slopes are skewed over the seeds: the t interval asks for normal ones.")
    else:
        reasons.insert(0, f"{seeds.sum()} seeds at {sizes.sum()} sizes are left; 2 seeds at {LEAST_SIZES} are needed.")
    return Verdict(
        statement=statement,
        instance=INSTANCES[exponent],
        exponent=exponent,
        reasons=tuple(reasons),
        n_seeds=int(seeds.sum()),
        alpha=plan.alpha,
        method="two one-sided tests of the log-log slope, seeds as units, wider of t and bootstrap",
        evidence=evidence,
    )


def _evidence(
    plan: ExponentPlan,
    values: Floats,
    sizes: NDArray[np.bool_],
    grid: Any,
    n_bootstrap: int,
    generator: np.random.Generator,
    counts: tuple[int, int],
) -> SlopeEvidence:
    """Fit the used points ``[seeds, sizes]``; ``counts`` are those of censored and failed points."""
    used = np.array(plan.sizes)[sizes]
    weights = slope_weights(used)
    logs = np.log(values)
    slopes = logs @ weights
    means = slopes[generator.integers(slopes.size, size=(n_bootstrap, slopes.size))].mean(axis=1)
    if grid is None:
        outer, inner = (_intervals(slopes, means, tail, 0.0) for tail in (plan.alpha / 2, plan.alpha))
        bias = 0.0
    else:
        # the level of two one-sided tests is split between the seeds and the noise that hides the steps of the grid
        bias = float(np.abs(weights) @ rounding_shifts(logs, np.asarray(grid, dtype=np.float64), SHARE * plan.alpha))
        tails = ((1 - SHARE) * plan.alpha / 2, (1 - SHARE) * plan.alpha)
        outer, inner = (_intervals(slopes, means, tail, bias) for tail in tails)
    slope = float(slopes.mean())
    low, high = _wider(*outer)

    def rival(name: str, value: float) -> Rival:
        return Rival(name, value, slope - value, low <= value <= high)

    return SlopeEvidence(
        slope=slope,
        sd=float(slopes.std(ddof=1)),
        skewness_z=skewness_z(slopes[None, :]),
        t_interval=outer[0],
        bootstrap_interval=outer[1],
        equivalence_interval=_wider(*inner),
        rounding_bias=bias,
        sizes=tuple(used.tolist()),
        n_seeds=slopes.size,
        n_censored=counts[0],
        n_failed=counts[1],
        claimed=rival("claimed", plan.claimed),
        rivals=tuple(rival(name, value) for name, value in plan.rivals),
    )


def simulated_correlations(
    sizes: Any,
    exponent: float,
    sd_log: float,
    generator: np.random.Generator,
    *,
    n_seeds: int = 1,
    scale: float = 1.0,
    grid: Any = None,
    n_draws: int = 2000,
) -> Floats:
    """Simulate Pearson's correlation between ln n and the seed mean of ln r* where r* ∝ n^exponent; no unit.

    Why a correlation is never evidence for an exponent: it is the same for every exponent at the same ratio of signal
    to noise, and near 1 for any curve that rises. ln r* = ln scale + exponent · ln n + N(0, sd_log²), then rounded to
    the nearest ln of the grid.

    Args:
        sizes: ``[j]`` increasing, at least 3.
        exponent: The true one, finite.
        sd_log: Standard deviation of ln r* at one size and seed, at least 0.
        generator: For the noise.
        n_seeds: Runs that are averaged at each size.
        scale: r* = scale · n^exponent, above 0.
        grid: Values to which r* is rounded, or None.
        n_draws: Experiments.

    Returns:
        ``[n_draws]`` correlations; 0 where r* does not vary.

    Example:
        >>> import numpy as np
        >>> low = simulated_correlations([1e4, 1e5, 1e6], 0.1, 0.0, np.random.default_rng(0), n_draws=1)
        >>> round(float(low[0]), 9)
        1.0
    """
    logs = np.log(checked_sizes(sizes))
    spread = positive_number("sd_log", sd_log, allow_zero=True)
    shape = (
        positive_integer("n_draws", n_draws),
        positive_integer("n_seeds", n_seeds),
        logs.size,
    )
    power = single_number("exponent", exponent)
    noise = checked_generator(generator).standard_normal(shape)
    with calculation(exponent=power, sd_log=spread):
        log_ranks = np.log(positive_number("scale", scale)) + power * logs + spread * noise
        if grid is not None:
            steps = np.log(np.unique(positive_array("grid", grid)))
            log_ranks = steps[np.searchsorted((steps[1:] + steps[:-1]) / 2, log_ranks)]
        means = log_ranks.mean(axis=1)
        means = means - means.mean(axis=1, keepdims=True)
        x = logs - logs.mean()
        norms = np.linalg.norm(means, axis=1) * np.linalg.norm(x)
    return np.asarray(np.where(norms > 0, means @ x / np.where(norms > 0, norms, 1.0), 0.0), dtype=np.float64)
