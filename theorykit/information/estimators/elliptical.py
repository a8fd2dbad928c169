"""Mutual information of a joint Student-t law: heavy tails in many dimensions, which no correlation accounts for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular
from scipy.special import betaincinv, digamma, gammaln, polygamma

from theorykit.arguments import Floats
from theorykit.errors import InputError
from theorykit.information.estimate import Doubt, InformationEstimate, KeyedWarning
from theorykit.information.estimators.blocks import balanced_blocks
from theorykit.information.estimators.canonical import correlation_matrix, correlations_of
from theorykit.information.estimators.gaussian import (
    corrected_plug_in_outcome,
    grouped_outcome,
    mardia_kurtosis,
    normality_warning,
    relation_warning,
)
from theorykit.information.estimators.outcomes import Outcome, in_range, recorded, two_sided_quantile
from theorykit.information.estimators.pairs import Pair
from theorykit.information.tasks.truths import student_information

_LARGEST_DEGREES = 1e3
"""Of freedom: above, the tails are those of a Gaussian to any sample."""
_SMALLEST_DEGREES = 0.05
_MOST_STEPS = 200
_AT_REST = 1e-4
"""Mean relative change of the weights at which the iteration ends."""
_FAR_OFF = 2.7
"""√N times the largest difference of two distribution functions: passed by chance once in a million samples."""
_NEARLY_ALL = 0.8
"""(d_x + d_y)/N above which a warning says that the scatter is hardly fixed."""


@dataclass(frozen=True, eq=False)
class StudentFit:
    """Maximum likelihood of a multivariate t law.

    Attributes:
        centre: ``[p]``.
        factor: L of the scatter Σ = L Lᵀ ``[p, p]``.
        degrees: ν.
        distances: zᵀ Σ⁻¹ z of each row ``[N]``.
        converged: Whether the weights had come to rest.
    """

    centre: Floats
    factor: Floats
    degrees: float
    distances: Floats
    converged: bool

    @property
    def weights(self) -> Floats:
        """Return (ν + p)/(ν + zᵀ Σ⁻¹ z) of each row ``[N]``."""
        return np.asarray((self.degrees + self.centre.size) / (self.degrees + self.distances))

    def log_density(self, rows: Floats) -> Floats:
        """Return the log density of other rows ``[n]`` in nats."""
        size, nu = self.centre.size, self.degrees
        constant = gammaln((nu + size) / 2) - gammaln(nu / 2) - size / 2 * np.log(nu * np.pi)
        constant -= np.log(np.diagonal(self.factor)).sum()
        return np.asarray(constant - (nu + size) / 2 * np.log1p(_distances(rows, self.centre, self.factor) / nu))


def student_fit(rows: Floats) -> StudentFit:
    """Fit centre, scatter and degrees of freedom of a multivariate t law by maximum likelihood.

    Each step weights the rows by (ν + p)/(ν + δ), takes their mean and their scatter, over the sum of the weights
    (which makes it as fast as it is), and ν from its likelihood given the distances δ. It starts from the scatter of
    the directions of the rows, so that no tail is too heavy.

    Args:
        rows: ``[N, p]``, N > p + 1.

    Raises:
        LinAlgError: the scatter is singular.

    References:
        Liu & Rubin (1995), Statistica Sinica 5 (ECME for ν); Kent, Tyler & Vardi (1994), Communications in Statistics
        23 (the sum of the weights).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> rows = rng.standard_normal((4000, 3)) / np.sqrt(rng.chisquare(4, (4000, 1)) / 4)
        >>> 3.5 < student_fit(rows).degrees < 4.5
        True
    """
    count, size = rows.shape
    centre = np.median(rows, axis=0)
    scale = np.median(np.abs(rows - centre), axis=0)
    scale = np.where(scale > 0, scale, rows.std(axis=0))
    rows = (rows - centre) / scale
    own = np.zeros(size)
    lengths = np.linalg.norm(rows, axis=1)
    directions = rows / np.where(lengths > 0, lengths, 1.0)[:, None]
    scatter = directions.T @ directions * (float(np.median(lengths**2)) / count)
    weights = np.ones(count)
    converged = False
    for _ in range(_MOST_STEPS):
        factor = cholesky(scatter, lower=True)
        distances = _distances(rows, own, factor)
        degrees = _degrees(distances, size)
        before, weights = weights, (degrees + size) / (degrees + distances)
        if converged := bool(np.abs(weights / before - 1).mean() < _AT_REST):
            break
        own = weights @ rows / weights.sum()
        weighted = (rows - own) * np.sqrt(weights / weights.sum())[:, None]
        scatter = weighted.T @ weighted
    return StudentFit(centre + scale * own, scale[:, None] * factor, degrees, distances, converged)


def _distances(rows: Floats, centre: Floats, factor: Floats) -> Floats:
    return np.asarray((solve_triangular(factor, (rows - centre).T, lower=True) ** 2).sum(axis=0))


def _degrees(distances: Floats, size: int) -> float:
    """Return ν with the largest likelihood given the distances, at most ``_LARGEST_DEGREES``."""
    from scipy.optimize import brentq

    def score(nu: float) -> float:
        weights = (nu + size) / (nu + distances)
        digammas = digamma((nu + size) / 2) - np.log((nu + size) / 2) - digamma(nu / 2) + np.log(nu / 2)
        return float(digammas + 1 + (np.log(weights) - weights).mean())

    if score(_LARGEST_DEGREES) > 0:
        return _LARGEST_DEGREES
    return float(brentq(score, _SMALLEST_DEGREES, _LARGEST_DEGREES, rtol=1e-8))


def degrees_error(degrees: float, size: int, count: int) -> float:
    """Return the standard error of the maximum-likelihood ν of N rows of p columns, scatter estimated with it.

    From the expected information of ν and of a common factor of the scatter.

    References:
        Lange, Little & Taylor (1989), Journal of the American Statistical Association 84, appendix B.
    """
    nu, total = degrees, degrees + size
    of_degrees = (polygamma(1, nu / 2) - polygamma(1, total / 2)) / 4
    of_degrees -= size * (total + 4) / (2 * nu * total * (total + 2))
    of_scale, of_both = size * nu / (2 * (total + 2)), size / (total * (total + 2))
    information = max(float(of_degrees - of_both**2 / of_scale), np.finfo(float).tiny)
    return float(1 / np.sqrt(count * information))


def student_estimate(x: Any, y: Any, *, groups: Any = None) -> InformationEstimate:
    """Estimate I(X; Y) of a joint Student-t law from N pairs, in nats.

    The information of the Gaussian with the scatter of the maximum-likelihood fit, less its bias, plus what the common
    scale of a row adds at its ν (:func:`~theorykit.information.tasks.truths.student_information`). The scatter of N
    rows is as exact as a Gaussian covariance of N (p + ν)/(p + ν + 2) rows, p = d_x + d_y, which gives bias and error
    of the first part; that of the second is the error of ν. They are independent to first order, as ν bears on the
    length of a row and the information on the shape of the scatter alone.

    Right for such a law, and for Gaussian vectors, ν being large then. Tests of fit, a warning for each: the distances
    of the rows against their F law; and, with every row brought to the length that it would have in a Gaussian sample
    (which makes any elliptical law Gaussian), the kurtosis of either side and the residuals of canonical pairs.

    Args:
        x: As for :func:`theorykit.mutual_information`, as are y and groups.
        y: The same rows.
        groups: The sequence of each row: a jackknife over blocks then gives bias and error of the first part.

    Returns:
        The estimate; a failure where N ≤ d_x + d_y, or where columns depend linearly on one another.

    Raises:
        InputError: the pair is refused.
        NonFiniteError: NaN or infinity.

    References:
        Lange, Little & Taylor (1989), Journal of the American Statistical Association 84; Arellano-Valle,
        Contreras-Reyes & Genton (2013), Scandinavian Journal of Statistics 40; Lyu & Simoncelli (2009), Neural
        Computation 21, for lengths made Gaussian.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> scale = np.sqrt(3 / rng.chisquare(3, (4000, 1)))
        >>> x, noise = rng.standard_normal((2, 4000, 3))
        >>> y = 0.6 * x + 0.8 * noise
        >>> estimate = student_estimate(x * scale, y * scale)
        >>> truth = student_information(3, 3, 3, 3 * np.log(1.25))  # 0.669 and 0.183 of the scale
        >>> estimate.interval[0] < truth < estimate.interval[1]
        True
    """
    return recorded(
        "student", x, y, groups, _student, lambda pair: 8 * (4 * pair.n_samples + 6 * pair.width) * pair.width
    )


def _student(pair: Pair) -> Outcome:
    count, size, split = pair.n_samples, pair.width, pair.x.shape[1]
    if count <= size + 1:
        raise InputError(f"N = {count} rows are too few for the scatter of {size} columns", f"give at least {size + 2}")
    rows = np.hstack([pair.x, pair.y])
    try:
        fit = student_fit(rows)
    except (LinAlgError, ValueError) as error:
        raise InputError("the scatter is singular", "leave out columns that depend on others") from error
    weighted = (rows - fit.centre) * np.sqrt(fit.weights)[:, None]
    scaled = replace(pair, x=weighted[:, :split], y=weighted[:, split:])
    scatter = fit.factor @ fit.factor.T
    deviation = np.sqrt(np.diagonal(scatter))
    sample = correlations_of(scatter / deviation / deviation[:, None], split)
    if sample.is_deterministic:
        raise InputError("a combination of x is one of y to rounding", "ask for I(X; Y + τZ) with noise=τ")
    effective = int(count * (size + fit.degrees) / (size + fit.degrees + 2))
    gaussian = grouped_outcome(scaled, sample, corrected_plug_in_outcome(sample, max(effective, size + 2)))
    sides = split, size - split
    step = 1e-3 * fit.degrees
    around = [float(student_information(nu, *sides)) for nu in (fit.degrees - step, fit.degrees, fit.degrees + step)]
    of_degrees = abs(around[2] - around[0]) / (2 * step) * degrees_error(fit.degrees, size, count)
    low, high = gaussian.interval() or (gaussian.information, gaussian.information)
    half = two_sided_quantile(gaussian.degrees) * of_degrees
    of_scale = around[1]
    information = gaussian.information + of_scale
    limits = (
        information - float(np.hypot(gaussian.information - low, half)),
        information + float(np.hypot(high - gaussian.information, half)),
    )
    return replace(
        gaussian,
        information=information,
        standard_error=float(np.hypot(gaussian.standard_error or 0.0, of_degrees)),
        limits=limits,
        converged=fit.converged,
        warnings=(*gaussian.warnings, *_fit_warnings(scaled, fit), *_crowded(pair)),
    )


def _crowded(pair: Pair) -> tuple[str, ...]:
    if pair.width <= _NEARLY_ALL * pair.n_samples:
        return ()
    return (f"d_x + d_y = {pair.width} is near N = {pair.n_samples}: the scatter is hardly fixed",)


def _fit_warnings(scaled: Pair, fit: StudentFit) -> tuple[str, ...]:
    """Return what speaks against a t law; ``scaled`` holds the centred rows, each by the root of its weight."""
    count, size = scaled.n_samples, scaled.width
    warnings = distance_warning(fit)
    order = fit.distances.argsort().argsort()
    # the squared lengths of a Gaussian sample under its own covariance, Gnanadesikan & Kettenring (1972)
    lengths = (count - 1) ** 2 / count * betaincinv(size / 2, (count - size - 1) / 2, (order + 0.5) / count)
    factor = np.sqrt(lengths / np.maximum(fit.distances * fit.weights, np.finfo(float).tiny))[:, None]
    gaussian = replace(scaled, x=scaled.x * factor, y=scaled.y * factor)
    joint = correlation_matrix(gaussian.x, gaussian.y)
    split = scaled.x.shape[1]
    for name, side, block in (("x", gaussian.x, joint[:split, :split]), ("y", gaussian.y, joint[split:, split:])):
        kurtosis = mardia_kurtosis((side,), block)
        if kurtosis is not None:
            warnings += normality_warning(kurtosis.deviation(), f"with lengths made Gaussian, the rows of {name} are")
    return warnings + relation_warning(gaussian, joint)


def distance_warning(fit: StudentFit) -> tuple[str, ...]:
    """Return a warning where the distances of the rows do not follow p F(p, ν), whatever their unit."""
    from scipy.stats import f as fisher

    size, count = fit.centre.size, fit.distances.size
    law = fisher(size, fit.degrees)
    distances = np.sort(fit.distances / np.median(fit.distances) * law.median())
    apart = np.abs(law.cdf(distances) - (np.arange(count) + 0.5) / count).max()
    if apart * np.sqrt(count) <= _FAR_OFF:
        return ()
    sentence = f"the lengths of the rows are not those of a t law: distribution functions {apart:.2g} apart"
    return (KeyedWarning(sentence, Doubt.NOT_ELLIPTICAL),)


def heavier_tails(pair: Pair) -> float | None:
    """Return how much likelier held-out rows are under a t law than under a Gaussian: log of the ratio, in nats.

    Both are fitted on half of the rows (whole groups) and scored on the other half. Of independent rows of that very
    Gaussian the ratio passes e^c with a probability of at most e^−c (Ville). With groups the mean over rows counts
    once for each group.

    Args:
        pair: None where half of its rows are too few for d_x + d_y columns, or the scatter is singular.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, y = rng.standard_normal((2, 1000, 2)) / np.sqrt(rng.chisquare(3, (1000, 1)) / 3)
        >>> from theorykit.information.estimators.pairs import checked_pair
        >>> heavier_tails(checked_pair(x, y)) > 100
        True
    """
    rows = np.hstack([in_range("x", pair.x), in_range("y", pair.y)])
    block = balanced_blocks(pair.n_samples, pair.groups, 2)
    known, other = rows[block == 0], rows[block == 1]
    size = rows.shape[1]
    if known.shape[0] <= size + 1:
        return None
    try:
        student = student_fit(known)
        factor = cholesky(np.cov(known, rowvar=False), lower=True)
    except (LinAlgError, ValueError):
        return None
    gaussian = -_distances(other, known.mean(axis=0), factor) / 2
    gaussian -= size / 2 * np.log(2 * np.pi) + np.log(np.diagonal(factor)).sum()
    units = other.shape[0] if pair.groups is None else np.unique(pair.groups[block == 1]).size
    return float((student.log_density(other) - gaussian).mean() * units)
