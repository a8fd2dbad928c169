"""Canonical correlations of samples: of all rows, and cross-fitted as a lower bound on information."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cholesky, solve_triangular
from scipy.special import betaincinv

from theorykit.arguments import Floats, positive_integer
from theorykit.errors import InputError
from theorykit.information.ceilings import plug_in_bias
from theorykit.information.estimate import InformationEstimate
from theorykit.information.estimators.blocks import balanced_blocks, jackknife
from theorykit.information.estimators.outcomes import LOWER_BOUND, Outcome, in_range, recorded
from theorykit.information.estimators.pairs import Indices, Pair, checked_pair
from theorykit.information.estimators.shared_combinations import confirm_infinite

SINGULAR = 10.0
"""As in ``theorykit.information.gaussian``: a block of size p is singular below this many p · eps."""
_ROUNDING = 8.0
"""A column is constant whose standard deviation is at most this many eps times its mean."""


def varies(deviation: Floats, mean: Floats) -> NDArray[np.bool_]:
    """Return which columns are not constant up to rounding."""
    return np.asarray(deviation > _ROUNDING * np.finfo(float).eps * np.abs(mean))


def principal_whitening(block: Floats, most: int) -> Floats:
    """Return W ``[d, r]`` with Wᵀ R W = 1 for the correlation matrix R of one side, r ≤ ``most``."""
    values, axes = np.linalg.eigh(block)
    keep = _regular(values)[-most:]
    return np.asarray(axes[:, keep] / np.sqrt(values[keep]), dtype=np.float64)


def row_axes(centred: Floats, mean: Floats) -> Floats:
    """Return maps ``[d, r]`` to the r ≤ N/4 leading principal axes of standardised columns, with variance 1."""
    deviation = centred.std(axis=0, ddof=1)
    inverse = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varies(deviation, mean))
    rows = centred * inverse
    values, vectors = np.linalg.eigh(rows @ rows.T / (rows.shape[0] - 1))
    keep = _regular(values)[-(rows.shape[0] // 4) :]
    return np.asarray(inverse[:, None] * (rows.T @ vectors[:, keep]) / values[keep] / np.sqrt(rows.shape[0] - 1))


def _regular(values: Floats) -> Indices:
    """Return which of the ascending eigenvalues of a correlation matrix are more than rounding."""
    if values[-1] <= 0:
        raise InputError("a side is constant in every column", "a constant carries no information")
    return np.flatnonzero(values > SINGULAR * values.size * np.finfo(float).eps * values[-1])


_BLOCKS = 10
"""Of the jackknife over the groups of a fold."""
_TRACY_WIDOM = 2.0234
"""Upper 1 % point of the Tracy-Widom law of order 1."""
_ROWS = 2048
"""Rows that are centred at once."""


@dataclass(frozen=True, eq=False)
class SampleCorrelations:
    """Sample canonical correlations of two blocks of columns.

    Attributes:
        correlations: ρ̂_i ``[min of ranks]``, non-increasing.
        ranks: Directions that vary on either side; below the number of columns where these are dependent.
        resolution: 1 − ρ̂ below this is rounding.
        columns: Of either side.
    """

    correlations: Floats
    ranks: tuple[int, int]
    resolution: float
    columns: tuple[int, int]

    @property
    def is_deterministic(self) -> bool:
        """Return whether a combination of one side is one of the other, to working precision."""
        return bool(self.correlations[0] >= 1 - self.resolution)

    @property
    def plug_in(self) -> float:
        """Return −½ Σ log(1 − ρ̂_i²) in nats."""
        return float(-np.log1p(-(self.correlations**2)).sum() / 2)

    def corrected_plug_in(self, n_samples: int) -> float:
        """Return the plug-in less its exact bias in nats, from N rows."""
        return self.plug_in - float(plug_in_bias(n_samples, *self.ranks))


def correlation_matrix(x: Floats, y: Floats) -> Floats:
    """Return the joint sample correlation matrix ``[d_x + d_y, d_x + d_y]``.

    Raises:
        InputError: a column is constant.
    """
    x, y = in_range("x", x), in_range("y", y)
    split, width = x.shape[1], x.shape[1] + y.shape[1]
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    moment = np.zeros((width, width))
    for start in range(0, x.shape[0], _ROWS):  # no second copy of all rows
        rows = np.empty((min(_ROWS, x.shape[0] - start), width))
        np.subtract(x[start : start + _ROWS], x_mean, out=rows[:, :split])
        np.subtract(y[start : start + _ROWS], y_mean, out=rows[:, split:])
        moment += rows.T @ rows
    scale = np.sqrt(np.diagonal(moment))
    moment /= scale
    moment /= scale[:, None]
    return moment


def correlations_of(joint: Floats, split: int) -> SampleCorrelations:
    """Return the canonical correlations behind a joint correlation matrix whose blocks may be singular.

    By Cholesky whitening where both blocks are regular, else in the principal axes that vary: information does not
    change when a coordinate that depends linearly on others of its side is left out.
    """
    tolerance = SINGULAR * joint.shape[0] * np.finfo(float).eps
    left, left_condition = _whitening(joint[:split, :split], tolerance)
    right, right_condition = _whitening(joint[split:, split:], tolerance)
    cross = left @ joint[:split, split:] @ right.T
    # half the time of its singular values, and exact to rounding in ρ², which is what information depends on
    squares = np.linalg.eigvalsh(cross @ cross.T if cross.shape[0] <= cross.shape[1] else cross.T @ cross)[::-1]
    correlations = np.sqrt(np.clip(squares, 0.0, 1.0))
    resolution = min(1e-6, tolerance * max(left_condition, right_condition))
    ranks, columns = (left.shape[0], right.shape[0]), (left.shape[1], right.shape[1])
    return SampleCorrelations(np.asarray(correlations), ranks, resolution, columns)


def _whitening(block: Floats, tolerance: float) -> tuple[Floats, float]:
    """Return W ``[rank, d]`` with W Σ Wᵀ = 1, and 1 over the smallest scale that was divided by."""
    try:
        factor = cholesky(block, lower=True)
        smallest = float(np.diagonal(factor).min() ** 2)
    except LinAlgError:
        smallest = 0.0
    if smallest > tolerance:
        return np.asarray(solve_triangular(factor, np.eye(block.shape[0]), lower=True)), 1 / smallest
    values, axes = np.linalg.eigh(block)
    keep = values > tolerance * values[-1]
    return np.asarray((axes[:, keep] / np.sqrt(values[keep])).T), float(1 / values[keep].min())


def leading_pairs(x: Floats, y: Floats, joint: Floats, most: int) -> tuple[Floats, Floats, Floats]:
    """Return the strongest canonical pairs of all rows, each side ``[N, k]`` with variance 1, and their ρ̂ ``[k]``."""
    (left, right), (u, correlations, v) = _canonical_form(joint, x.shape[1], full=False)
    kept = min(most, correlations.size)
    scores = [
        (side - side.mean(axis=0)) / side.std(axis=0) @ (whitening.T @ axes[:, :kept])
        for side, whitening, axes in ((x, left, u), (y, right, v))
    ]
    return scores[0], scores[1], correlations[:kept]


def canonical_axes(joint: Floats, split: int) -> tuple[tuple[Floats, Floats], Floats]:
    """Return A ``[d_x, r_x]`` and B ``[d_y, r_y]``, the sides being A u and B v of canonical pairs, and their ρ̂."""
    (left, right), (u, correlations, v) = _canonical_form(joint, split, full=True)
    return (joint[:split, :split] @ (left.T @ u), joint[split:, split:] @ (right.T @ v)), correlations


def _canonical_form(joint: Floats, split: int, full: bool) -> tuple[tuple[Floats, Floats], tuple[Floats, ...]]:
    """Return the whitening ``[r, d]`` of either side, and U, ρ̂ and V of the correlations of what they whiten."""
    tolerance = SINGULAR * joint.shape[0] * np.finfo(float).eps
    left, right = _whitening(joint[:split, :split], tolerance)[0], _whitening(joint[split:, split:], tolerance)[0]
    u, correlations, v = np.linalg.svd(left @ joint[:split, split:] @ right.T, full_matrices=full)
    return (left, right), (u, np.clip(correlations, 0.0, 1.0), v.T)


@dataclass(frozen=True, eq=False)
class CanonicalLaw:
    """A Gaussian law to draw from: x = A u and y = B v of canonical pairs with corr(u_i, v_i) = ρ_i, all else 0.

    Attributes:
        left: A ``[d_x, r_x]``.
        right: B ``[d_y, r_y]``.
        correlations: ρ ``[k]``, k ≤ min(r_x, r_y).
    """

    left: Floats
    right: Floats
    correlations: Floats

    def sample(self, n_samples: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
        """Return x ``[N, d_x]`` and y ``[N, d_y]``."""
        u, v = (generator.standard_normal((n_samples, root.shape[1])) for root in (self.left, self.right))
        kept = self.correlations.size
        v[:, :kept] *= np.sqrt(1 - self.correlations**2)
        v[:, :kept] += self.correlations * u[:, :kept]
        return u @ self.left.T, v @ self.right.T


@dataclass(frozen=True, eq=False)
class CanonicalReduction:
    """Linear maps to k canonical pairs, fitted on a train split.

    By data processing I(U; V) ≤ I(X; Y) for U = (X − μ_x) W_x and V = (Y − μ_y) W_y, whatever the maps, as long as the
    rows they are applied to had no part in the fit.

    Attributes:
        x_mean: ``[d_x]``.
        y_mean: ``[d_y]``.
        x_weights: W_x ``[d_x, k]``.
        y_weights: W_y ``[d_y, k]``.
        correlations: Of the k pairs on the train split: too large where d is not small against N.
        significant: How many train correlations pass the edge of independent Gaussian noise.
    """

    x_mean: Floats
    y_mean: Floats
    x_weights: Floats
    y_weights: Floats
    correlations: Floats
    significant: int

    def transform(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return U ``[n, k]`` and V ``[n, k]``."""
        return (x - self.x_mean) @ self.x_weights, (y - self.y_mean) @ self.y_weights

    def leading(self, count: int) -> CanonicalReduction:
        """Return the maps to the ``count`` strongest pairs."""
        return replace(
            self,
            x_weights=self.x_weights[:, :count].copy(),  # a view would hold all
            y_weights=self.y_weights[:, :count].copy(),
            correlations=self.correlations[:count],
        )


def noise_edge(n_samples: int, left: int, right: int) -> float:
    """Return what the largest squared canonical correlation of independent Gaussian samples passes in 1 % of cases.

    Of one column against q it has the Beta(q/2, (N − 1 − q)/2) law. Else its logit is μ + σ W, W of the Tracy-Widom law
    of order 1, up to terms of relative order min(d)^(−2/3): with sin²(γ/2) = (p − ½)/M and sin²(φ/2) = (q − ½)/M,
    p ≤ q the columns and M = N − 2, μ = 2 log tan((φ + γ)/2) and σ³ = 16/(M² sin²(φ + γ) sin φ sin γ). 1 where
    p + q ≥ N − 1: all correlate then.

    References:
        Johnstone (2008), Annals of Statistics 36, Theorem 1; Wachter (1980), Annals of Statistics 8, for the limit.

    Example:
        >>> 0.2836 < noise_edge(10_001, 768, 768) < 0.30  # 4 a (1 − a) in the limit, a = 0.0768
        True
    """
    if left + right >= n_samples - 1:
        return 1.0
    if min(left, right) == 1:
        return float(betaincinv(max(left, right) / 2, (n_samples - 1 - max(left, right)) / 2, 0.99))
    total = n_samples - 2
    gamma, phi = (2 * np.arcsin(np.sqrt(min(1.0, (size - 0.5) / total))) for size in sorted((left, right)))
    centre = 2 * np.log(np.tan((phi + gamma) / 2))
    scale = (16 / (total**2 * np.sin(phi + gamma) ** 2 * np.sin(phi) * np.sin(gamma))) ** (1 / 3)
    return float(1 / (1 + np.exp(-(centre + _TRACY_WIDOM * scale))))


def canonical_reduction(x: Any, y: Any, components: int | None = None) -> CanonicalReduction:
    """Fit the k strongest canonical pairs of two samples (train rows alone).

    A side with more than N/4 columns is first reduced to its N/4 leading principal axes, so that whitening stays
    regular; any fixed map keeps the lower bound. With more than N columns the axes come from the N × N products of
    rows.

    Args:
        x: ``[N, d_x]``, train rows.
        y: ``[N, d_y]``.
        components: k; None for as many as pass :func:`noise_edge`, at least 1.

    Returns:
        The maps.

    Raises:
        InputError: the pair is refused, fewer than 8 rows, or ``components`` above the ranks.
        NonFiniteError: NaN or infinity.

    References:
        Hotelling (1936), Biometrika 28.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, noise = rng.standard_normal((2, 2000, 5))
        >>> y = noise.copy()
        >>> y[:, 3] += 3 * x[:, 1]
        >>> reduction = canonical_reduction(x, y)
        >>> reduction.significant, int(np.abs(reduction.x_weights[:, 0]).argmax())
        (1, 1)
    """
    checked_pair(x, y)
    sides = [np.asarray(side, dtype=np.float64) for side in (x, y)]
    pairs = _all_pairs([side[:, None] if side.ndim == 1 else side for side in sides])
    kept = max(1, pairs.significant) if components is None else positive_integer("components", components)
    if kept > pairs.correlations.size:
        raise InputError(
            f"components = {kept} is above the {pairs.correlations.size} canonical pairs", "give fewer components"
        )
    return pairs.leading(kept)


def _all_pairs(sides: list[Floats]) -> CanonicalReduction:
    """Return all canonical pairs of two samples ``[N, d]``; a side of more columns than rows goes by its N × N side."""
    count = sides[0].shape[0]
    means = [side.mean(axis=0) for side in sides]
    centred = [side - mean for side, mean in zip(sides, means, strict=True)]
    axes = [row_axes(rows, mean) if rows.shape[1] > count else None for rows, mean in zip(centred, means, strict=True)]
    rows = np.hstack([side if into is None else side @ into for side, into in zip(centred, axes, strict=True)])
    split = sides[0].shape[1] if axes[0] is None else axes[0].shape[1]
    mean = np.hstack([m if into is None else np.zeros(into.shape[1]) for m, into in zip(means, axes, strict=True)])
    # np.cov takes off what rounding has left of a constant column
    pairs = canonical_pairs_of_moments(mean, np.cov(rows, rowvar=False), split, count)
    x_weights, y_weights = (
        weights if into is None else into @ weights
        for weights, into in zip((pairs.x_weights, pairs.y_weights), axes, strict=True)
    )
    return replace(pairs, x_mean=means[0], y_mean=means[1], x_weights=x_weights, y_weights=y_weights)


def canonical_pairs_of_moments(mean: Floats, covariance: Floats, split: int, n_samples: int) -> CanonicalReduction:
    """Fit all canonical pairs from the mean and the covariance of the train rows, as :func:`canonical_reduction` does.

    Args:
        mean: ``[d_x + d_y]``.
        covariance: ``[d_x + d_y, d_x + d_y]``, symmetric; columns that are constant up to rounding get no weight.
        split: d_x.
        n_samples: N, how many rows they were formed from.

    Raises:
        InputError: fewer than 8 rows, or a side that is constant in every column.

    Example:
        >>> estimate = canonical_pairs_of_moments(np.zeros(2), np.array([[4.0, 1.0], [1.0, 1.0]]), 1, 100)
        >>> np.abs(estimate.x_weights).item(), estimate.correlations.item()  # 1/√4; 1/√(4 · 1)
        (0.5, 0.5)
    """
    if n_samples < 8:
        raise InputError(f"{n_samples} rows are too few to fit canonical pairs", "give at least 8")
    deviation = np.sqrt(np.diagonal(covariance))
    inverse = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varies(deviation, mean))
    joint = covariance * inverse * inverse[:, None]
    maps = [principal_whitening(joint[side, side], n_samples // 4) for side in (np.s_[:split], np.s_[split:])]
    left, correlations, right = np.linalg.svd(maps[0].T @ joint[:split, split:] @ maps[1], full_matrices=False)
    return CanonicalReduction(
        x_mean=mean[:split],
        y_mean=mean[split:],
        x_weights=inverse[:split, None] * (maps[0] @ left),
        y_weights=inverse[split:, None] * (maps[1] @ right.T),
        correlations=np.clip(correlations, 0.0, 1.0),
        significant=int((correlations**2 > noise_edge(n_samples, maps[0].shape[1], maps[1].shape[1])).sum()),
    )


def cca_estimate(
    x: Any, y: Any, *, components: int | None = None, folds: int = 5, groups: Any = None
) -> InformationEstimate:
    """Estimate a lower bound on I(X; Y) of Gaussian vectors from cross-fitted canonical pairs, in nats.

    For each fold, k canonical pairs (U, V) are fitted on the other folds (:func:`canonical_reduction`) and scored on
    its own rows by the plug-in with its exact bias taken off, as k against k columns: I(U; V) ≤ I(X; Y) by data
    processing. For other vectors it is the value of a Gaussian with the covariance of (U, V). What lies below the noise
    edge is not seen. Unlike the plug-in it stands any d against N.

    Args:
        x: As for :func:`theorykit.mutual_information`, as are y and groups.
        y: The same rows.
        components: k; None for what passes the noise edge of each train split.
        folds: How many, at least 2; whole groups stay together.
        groups: The sequence of each row.

    Returns:
        The mean over folds, with a Student's t interval from their scatter: of the bound, so that its upper end is
        no upper limit of I.

    Raises:
        InputError: the pair or an argument is refused.
        NonFiniteError: NaN or infinity.

    References:
        Cover & Thomas (2006), Theorem 2.8.1; Hotelling (1936), Biometrika 28.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, noise = rng.standard_normal((2, 2000, 3))
        >>> estimate = cca_estimate(x, 0.6 * x + 0.8 * noise)  # 3 log 1.25 = 0.669
        >>> 0.6 < estimate.information < 0.75
        True
    """
    folds = positive_integer("folds", folds)
    if folds < 2:
        raise InputError(f"folds = {folds} is below 2", "give at least 2")
    if components is not None:
        components = positive_integer("components", components)
    return recorded("cca", x, y, groups, lambda pair: _cross_fitted(pair, components, folds), _needed_bytes)


def _needed_bytes(pair: Pair) -> int:
    """Return what one fold takes: copies of the rows, and square matrices of a side or of the rows."""
    widths = [min(side.shape[1], pair.n_samples) for side in (pair.x, pair.y)]
    return 8 * int(3 * pair.n_samples * pair.width + 4 * sum(widths) ** 2)


def _cross_fitted(pair: Pair, components: int | None, folds: int) -> Outcome:
    block = balanced_blocks(pair.n_samples, pair.groups, folds)
    values, shares, significant = [], [], []
    for fold in range(int(block.max()) + 1):
        train, test = pair.rows(block != fold), pair.rows(block == fold)
        reduction = canonical_reduction(train.x, train.y, components)
        values.append(_held_out(test, reduction))
        shares.append(test.n_samples)
        significant.append(reduction.significant)
    mean = float((np.array(shares) / pair.n_samples) @ np.array(values))
    if not np.isfinite(mean):
        confirm_infinite(pair)
        return Outcome(np.inf, warnings=("deterministic relation: a canonical pair is exact on held-out rows",))
    error = float(np.std(values, ddof=1) / np.sqrt(len(values)))
    unseen = ("no canonical correlation passes the noise edge: independent, or not linear",)
    warnings = (*(() if np.median(significant) > 0 else unseen), LOWER_BOUND)
    return Outcome(mean, error, len(values) - 1, warnings=warnings)


def _held_out(test: Pair, reduction: CanonicalReduction) -> float:
    """Return the corrected Gaussian plug-in of k held-out pairs, by a jackknife where rows come in groups."""
    left, right = reduction.transform(test.x, test.y)
    whole = _corrected_plug_in(left, right)
    if test.groups is None or not np.isfinite(whole):
        return whole
    block = balanced_blocks(test.n_samples, np.unique(test.groups, return_inverse=True)[1], _BLOCKS)
    if block.max() == 0:
        raise InputError("a fold holds 1 group", "give fewer folds")
    return jackknife(lambda keep: _corrected_plug_in(left[keep], right[keep]), block).information


def _corrected_plug_in(left: Floats, right: Floats) -> float:
    count, kept = left.shape
    if count <= 2 * kept + 1:
        raise InputError(f"{count} held-out rows are too few for {kept} canonical pairs", "give fewer components")
    sample = correlations_of(correlation_matrix(left, right), kept)
    return float("inf") if sample.is_deterministic else sample.corrected_plug_in(count)
