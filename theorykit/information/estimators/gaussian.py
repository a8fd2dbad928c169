"""Gaussian and Gaussian-copula estimates of mutual information, and tests of whether a relation is Gaussian."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from theorykit.arguments import Floats
from theorykit.errors import InputError
from theorykit.information.ceilings import plug_in_bias
from theorykit.information.estimate import Doubt, InformationEstimate, KeyedWarning
from theorykit.information.estimators.blocks import balanced_blocks, jackknife
from theorykit.information.estimators.canonical import (
    CanonicalLaw,
    SampleCorrelations,
    canonical_axes,
    correlation_matrix,
    correlations_of,
    leading_pairs,
)
from theorykit.information.estimators.outcomes import Outcome, recorded, two_sided_quantile
from theorykit.information.estimators.pairs import FEW_SAMPLES, Pair
from theorykit.information.estimators.ranks import normal_scores, seeded, tie_warning
from theorykit.information.estimators.shared_combinations import confirm_infinite
from theorykit.information.gaussian import PlugInError, plug_in_error

_STEP = 2048
"""Rows whose distances are computed at once."""
_FLOPS = 1e9
"""Fewer rows are looked at where distances of all would cost more multiplications."""
SUSPICIOUS = 5.0
"""Standard errors."""


@dataclass(frozen=True)
class Kurtosis:
    """Mean fourth power of the Mahalanobis distance, and what Gaussian samples would give.

    Attributes:
        value: b = mean of (zᵀ S⁻¹ z)².
        expected: p(p + 2)(n − 1)/(n + 1), exact for Gaussian samples.
        standard_error: Of b for Gaussian samples.
    """

    value: float
    expected: float
    standard_error: float

    def deviation(self, expected: float | None = None, scatter: float = 0.0) -> float:
        """Return how many standard errors b lies off ``expected``, by default that of Gaussian samples.

        Args:
            expected: Of b.
            scatter: Its standard deviation in replicates, taken where it is above that of Gaussian samples.
        """
        expected = self.expected if expected is None else expected
        return (self.value - expected) / max(self.standard_error, scatter)


def mardia_kurtosis(sides: Sequence[Floats], correlation: Floats) -> Kurtosis | None:
    """Compute Mardia's multivariate kurtosis b (no unit), or None where the covariance is singular.

    Mean and variance under normality are exact in N where all rows are looked at.

    Args:
        sides: Columns of the samples in parts ``[N, p_i]``, N > Σ p_i + 2.
        correlation: Their joint sample correlation matrix ``[p, p]``.

    References:
        Mardia (1974), Sankhyā B 36.
    """
    count, size = sides[0].shape[0], correlation.shape[0]
    if count <= size + 2:
        return None
    try:
        factor = cholesky(correlation, lower=True)
    except LinAlgError:
        return None
    step = max(1, int(np.ceil(count * size**2 / _FLOPS)))
    looked_at = np.hstack([(side[::step] - side.mean(axis=0)) / side.std(axis=0) for side in sides])
    total = 0.0
    for start in range(0, looked_at.shape[0], _STEP):
        rows = looked_at[start : start + _STEP]
        total += float(((solve_triangular(factor, rows.T, lower=True) ** 2).sum(axis=0) ** 2).sum())
    base = size * (size + 2)
    if step > 1:  # as if S were known, by the moments of χ²_p: too large, if anything
        variance = 8 * base * (size + 3) / looked_at.shape[0]
    else:
        variance = 8 * base * (count - 3) * (count - size - 1) * (count - size + 1)
        variance /= (count + 1) ** 2 * (count + 3) * (count + 5)
    return Kurtosis(total / looked_at.shape[0], base * (count - 1) / (count + 1), float(np.sqrt(variance)))


def linear_misfit(left: Floats, right: Floats, correlations: Floats) -> float:
    """Compute how far the residuals of canonical pairs are from independent of what predicts them, in standard errors.

    For jointly Gaussian sides r = v − ρ u is independent of u, so that the means of r h₂(u), r h₃(u) and
    (r² − mean r²) h₂(u) are 0, h₂ = u² − 1 and h₃ = u³ − 3u; estimated means, variances and ρ change them to second
    order alone. The largest of all over their standard errors, every u against every r, in both directions.

    Args:
        left: u ``[N, k]``, mean 0 and variance 1.
        right: v ``[N, k]``.
        correlations: ρ ``[k]``.
    """
    largest = 0.0
    for source, target in ((left, right), (right, left)):
        second, third = source**2 - 1, source**3 - 3 * source
        residual = target - source * correlations
        spread = residual**2 - (residual**2).mean(axis=0)
        for first, other in ((second, residual), (third, residual), (second, spread)):
            mean = first.T @ other / first.shape[0]
            error = np.sqrt((first**2).T @ other**2) / first.shape[0]
            largest = max(largest, float((np.abs(mean) / np.maximum(error, np.finfo(float).tiny)).max()))
    return largest


def normality_warning(deviation: float, what: str) -> tuple[str, ...]:
    """Return a warning where the kurtosis is more than five standard errors off."""
    if not abs(deviation) > SUSPICIOUS:  # NaN where a replicate was singular
        return ()
    tails = "heavier" if deviation > 0 else "lighter"
    errors = f"{deviation:+.0f} standard errors of the kurtosis"
    return (KeyedWarning(f"{what} not jointly Gaussian: their tails are {tails} ({errors})", Doubt.NOT_GAUSSIAN),)


def misfit_warning(misfit: float) -> tuple[str, ...]:
    """Return a warning where residuals depend on what predicts them by more than five standard errors."""
    if misfit <= SUSPICIOUS:
        return ()
    residuals = f"residuals depend on their predictor ({misfit:.0f} errors)"
    return (KeyedWarning(f"the relation is not that of Gaussian vectors: {residuals}", Doubt.NOT_GAUSSIAN),)


def replicate_law(joint: Floats, split: int, information: float) -> CanonicalLaw:
    """Return the Gaussian law with the correlations inside either side of a sample, and a given information between.

    The sample's own information is too large by its bias, most of which lies in directions that are noise. From each
    pair's −½ log(1 − ρ̂²) the same amount t is taken off, down to 0, with t such that ``information`` is left: noise
    adds −½ log(1 − d_x/N − d_y/N) to any strong pair, whatever its strength, and all there is of weak ones.

    Args:
        joint: Sample correlation matrix ``[d_x + d_y, d_x + d_y]``.
        split: d_x.
        information: Of the law in nats; 0 where it is below.

    References:
        Bao, Hu, Pan & Zhou (2019), Annals of Statistics 47, for what noise adds to a strong pair.
    """
    (left, right), correlations = canonical_axes(joint, split)
    ceiling = 1 - np.finfo(float).eps
    each = -np.log1p(-(np.minimum(correlations, ceiling) ** 2)) / 2
    return CanonicalLaw(left, right, np.sqrt(-np.expm1(-2 * _lowered(each, information))))


def _lowered(each: Floats, total: float) -> Floats:
    """Return max(0, e_i − t) of non-increasing e_i ≥ 0, with t ≥ 0 such that their sum is ``total``, or all 0."""
    sums = np.cumsum(each)
    if total >= sums[-1]:
        return each
    thresholds = (sums - max(0.0, total)) / np.arange(1, each.size + 1)
    return np.asarray(np.maximum(0.0, each - thresholds.max()))


_BLOCKS = 20
_REPLICATE_NUMBERS = 2_000_000
"""About so many normal numbers are drawn for the correction of the copula estimate, in at least 2 and at most
``_MOST_REPLICATES`` replicates."""
_MOST_REPLICATES = 16
_NEARLY_DETERMINISTIC = 1e-6
"""1 − ρ̂² of the strongest pair below which the information is mostly that of a noise-free relation."""
_RESOLVED = 1.0
"""N (1 − ρ̂²) of the strongest pair below which the rounding of ranks is of the order of the noise."""
_CROWDED = 0.4
"""(d_x + d_y)/N above which a warning says that the correction of the copula estimate is too small."""

_LEADING = 8
"""Canonical pairs whose residuals are looked at."""
_WIDEST_RELATION = 512
"""d_x + d_y up to which they are."""


def gaussian_estimate(x: Any, y: Any, *, groups: Any = None) -> InformationEstimate:
    """Estimate I(X; Y) of jointly Gaussian vectors from N pairs by the plug-in less its exact bias, in nats.

    Unbiased for independent Gaussian rows, whatever d, as long as N > d_x + d_y; unchanged by invertible linear maps of
    either side. The standard error is √(Σ ρ_i²/n + v), n = N − 1, v the exact variance at independence and Σ ρ_i²
    cleared of its bias: with s = Σ ρ_i² the sample's sum is s + (d_x − s)(d_y − s)/n on average, exact at independence
    and to leading order in d/n elsewhere. For other rows it is the value of a Gaussian with the same covariance,
    neither an upper nor a lower bound; where Mardia's kurtosis or the residuals of canonical pairs
    show that, a warning says so.

    The interval holds every I whose normal interval, with the error that belongs to it, holds the estimate
    (:class:`~theorykit.information.gaussian.PlugInError`); its lower end may be below 0: nothing rules out 0 then. Its
    upper end is at least 0.

    With ``groups`` a jackknife over blocks of whole groups gives bias and standard error, which is never below that of
    as many independent rows as the bias speaks for.

    Returns:
        The estimate (possibly below 0); ``inf`` with a warning where a continuous combination of one side is one of the
        other on held-out rows too; a failure where it is on the rows of its fit alone, and where N ≤ d_x + d_y. Its
        ceiling is what double precision resolves.

    Raises:
        InputError: the pair is refused (:func:`~theorykit.information.estimators.pairs.checked_pair`).
        NonFiniteError: NaN or infinity.

    References:
        Anderson (2003), An Introduction to Multivariate Statistical Analysis, sections 7.5 and 9.3; Wachter (1980)
        for sample canonical correlations in many dimensions.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, noise = rng.standard_normal((2, 1000, 3))
        >>> estimate = gaussian_estimate(x, 0.6 * x + 0.8 * noise)  # 3 log 1.25 = 0.669
        >>> estimate.interval[0] < 0.669 < estimate.interval[1]
        True
    """
    return recorded(
        "gaussian", x, y, groups, _gaussian, lambda pair: 8 * (2 * pair.n_samples + 6 * pair.width) * pair.width
    )


def _gaussian(pair: Pair) -> Outcome:
    joint = correlation_matrix(pair.x, pair.y)
    sample = correlations_of(joint, pair.x.shape[1])
    outcome = corrected_plug_in_outcome(sample, pair.n_samples)
    if sample.is_deterministic:
        confirm_infinite(pair)
    warnings = outcome.warnings
    if not sample.is_deterministic:
        kurtosis = mardia_kurtosis((pair.x, pair.y), joint)
        warnings += normality_warning(0.0 if kurtosis is None else kurtosis.deviation(), "the pairs are")
        warnings += relation_warning(pair, joint)
    return grouped_outcome(pair, sample, replace(outcome, warnings=warnings))


def relation_warning(pair: Pair, joint: Floats) -> tuple[str, ...]:
    """Return a warning where the strongest canonical pairs are not related as Gaussian ones are."""
    if pair.width > _WIDEST_RELATION or pair.n_samples < FEW_SAMPLES:
        return ()
    return misfit_warning(linear_misfit(*leading_pairs(pair.x, pair.y, joint, _LEADING)))


def corrected_plug_in_outcome(sample: SampleCorrelations, count: int) -> Outcome:
    """Return the corrected plug-in with its standard error and what is odd about the correlations."""
    if count <= sum(sample.ranks) + 1:
        # a rank of N − 1 is that of the rows, not of the columns
        free = [size if rank >= count - 1 else rank for rank, size in zip(sample.ranks, sample.columns, strict=True)]
        raise InputError(
            f"N = {count} rows are too few for {free[0]} + {free[1]} directions",
            f"give at least {sum(free) + 2} rows or fewer columns",
        )
    smaller = min(sample.ranks)
    ceiling = -smaller / 2 * float(np.log(sample.resolution) + np.log(2 - sample.resolution))
    if sample.is_deterministic:
        return Outcome(
            np.inf,
            ceiling=ceiling,
            warnings=("deterministic relation: a linear combination of x is one of y, so that I is infinite",),
        )
    warnings: tuple[str, ...] = ()
    left = 1 - sample.correlations[0] ** 2
    if left < _NEARLY_DETERMINISTIC:
        warnings = (f"deterministic relation but for noise: a canonical pair has 1 − ρ² = {left:.1g}",)
    information, error = sample.corrected_plug_in(count), _error(sample, count)
    limits = error.interval(information)
    return Outcome(information, error.standard_error, ceiling=ceiling, warnings=warnings, limits=limits)


def _error(sample: SampleCorrelations, count: int) -> PlugInError:
    return plug_in_error(sample.correlations, sample.ranks, count)


def grouped_outcome(pair: Pair, sample: SampleCorrelations, outcome: Outcome) -> Outcome:
    """Return the outcome with the jackknife's bias and standard error where rows come in groups.

    Near independence the jackknife's error is by chance far too small, its bias is not: that is the bias of N/c
    independent rows, whose error is the least that is given.
    """
    if pair.groups is None or outcome.standard_error is None:
        return outcome

    def without(keep: Any) -> float:
        joint = correlation_matrix(pair.x[keep], pair.y[keep])
        return correlations_of(joint, pair.x.shape[1]).corrected_plug_in(int(keep.sum()))

    of_blocks = jackknife(without, balanced_blocks(pair.n_samples, pair.groups, _BLOCKS))
    information, degrees = outcome.information - of_blocks.bias, of_blocks.n_blocks - 1
    effect = max(1.0, 1 + of_blocks.bias / float(plug_in_bias(pair.n_samples, *sample.ranks)))
    least = _error(sample, max(int(pair.n_samples / effect), sum(sample.ranks) + 2))
    inflation = max(1.0, (of_blocks.standard_error / least.standard_error) ** 2)
    limits = least.interval(information, quantile=two_sided_quantile(degrees), inflation=inflation)
    error = least.standard_error * float(np.sqrt(inflation))
    return replace(outcome, information=information, standard_error=error, degrees=degrees, limits=limits)


def gaussian_copula_estimate(
    x: Any, y: Any, *, groups: Any = None, generator: np.random.Generator | None = None
) -> InformationEstimate:
    """Estimate I(X; Y) of a pair with a Gaussian copula by the corrected plug-in of its normal scores, in nats.

    Right for coordinates that are increasing functions of those of a jointly Gaussian vector, whatever their margins:
    information does not see such functions. To first order the normal scores are as good as the Gaussian coordinates
    themselves, so that the standard error is that of :func:`gaussian_estimate`; to second order their correlations are
    too small. That bias is measured on Gaussian replicates with the scores' own correlation less its noise
    (:func:`replicate_law`), as the mean of (plug-in of the
    replicate's scores − plug-in of the replicate): the second has a known bias and nearly the same error, so that a few
    replicates suffice; the scatter of that difference adds to the error. Warnings say where d_x + d_y is too near N for
    the correction and where ranks are too coarse for a nearly exact relation. For another copula it is neither an upper
    nor a lower bound; a warning says so where the kurtosis of the scores is not that of the replicates, or residuals of
    canonical pairs depend on their predictors.

    The generator draws replicates and breaks ties; None stands for a fixed seed, so that the same input gives the same
    answer. Returns and errors are those of :func:`gaussian_estimate`.

    References:
        Klaassen & Wellner (1997), Bernoulli 3: normal scores are efficient; Ince et al. (2017), Human Brain Mapping 38,
        for the estimator without this correction.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, noise = rng.standard_normal((2, 1000, 3))
        >>> estimate = gaussian_copula_estimate(np.exp(4 * x), (0.6 * x + 0.8 * noise) ** 3)  # 3 log 1.25 = 0.669
        >>> estimate.interval[0] < 0.669 < estimate.interval[1]
        True
    """
    return recorded(
        "gaussian copula",
        x,
        y,
        groups,
        partial(_copula, generator=seeded(generator)),
        lambda pair: 8 * (8 * pair.n_samples + 6 * pair.width) * pair.width,
    )


def _copula(pair: Pair, generator: np.random.Generator) -> Outcome:
    split, count = pair.x.shape[1], pair.n_samples
    scores, ties = normal_scores(np.hstack([pair.x, pair.y]), generator)
    scored = Pair(scores[:, :split], scores[:, split:], pair.groups, pair.dimensions)
    joint = correlation_matrix(scored.x, scored.y)
    sample = correlations_of(joint, split)
    outcome = corrected_plug_in_outcome(sample, count)
    if sample.is_deterministic:
        confirm_infinite(scored)
    warnings = outcome.warnings + tie_warning(ties)
    if outcome.standard_error is None:
        return replace(outcome, warnings=warnings)
    attenuation, kurtoses = _replicated(replicate_law(joint, split, outcome.information), count, generator)
    warnings += _crowded(pair) + _fit_warnings(scored, joint, sample, kurtoses)
    added = float(attenuation.var(ddof=1)) * (1 + 1 / attenuation.size)  # of these scores, and of the mean
    information = outcome.information - float(attenuation.mean())
    corrected = replace(
        outcome,
        information=information,
        standard_error=float(np.hypot(outcome.standard_error, np.sqrt(added))),
        warnings=warnings,
        limits=_error(sample, count).interval(information, added=added),
    )
    return grouped_outcome(scored, sample, corrected)


def _crowded(pair: Pair) -> tuple[str, ...]:
    """Return a warning where columns are too many against rows for the correction of the copula."""
    if pair.width <= _CROWDED * pair.n_samples:
        return ()
    crowd = f"d_x + d_y = {pair.width} is near N = {pair.n_samples}"
    return (f"{crowd}: the value for a Gaussian copula may lie above I by more than its interval says",)


def _fit_warnings(scored: Pair, joint: Floats, sample: SampleCorrelations, kurtoses: Floats) -> tuple[str, ...]:
    """Return what the tests of a Gaussian relation say of normal scores, or that ranks are too coarse to tell."""
    left = 1 - sample.correlations[0] ** 2
    if left * scored.n_samples < _RESOLVED:
        coarse = f"ranks of {scored.n_samples} rows hardly resolve a canonical pair with 1 − ρ² = {left:.1g}"
        return (f"{coarse}: take the value for a floor; tests of fit were left out",)
    warnings = relation_warning(scored, joint)
    kurtosis = mardia_kurtosis((scored.x, scored.y), joint)
    if kurtosis is not None:
        deviation = kurtosis.deviation(float(kurtoses.mean()), float(kurtoses.std(ddof=1)))
        warnings = normality_warning(deviation, "the normal scores are") + warnings
    return warnings


def _replicated(law: CanonicalLaw, count: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Return plug-in of scores − plug-in of each Gaussian replicate, and the kurtosis of its scores."""
    split, width = law.left.shape[0], law.left.shape[0] + law.right.shape[0]
    replicates = int(np.clip(_REPLICATE_NUMBERS // (count * width), 2, _MOST_REPLICATES))
    differences, kurtoses = [], []
    for _ in range(replicates):
        gaussian = np.hstack(law.sample(count, generator))
        scores, _ = normal_scores(gaussian, generator)
        correlations = [correlation_matrix(rows[:, :split], rows[:, split:]) for rows in (scores, gaussian)]
        of_scores, of_rows = (correlations_of(joint, split).plug_in for joint in correlations)
        differences.append(of_scores - of_rows)
        kurtosis: Kurtosis | None = mardia_kurtosis((scores,), correlations[0])
        kurtoses.append(np.nan if kurtosis is None else kurtosis.value)
    return np.array(differences), np.array(kurtoses)
