"""The nearest-neighbour estimator of mutual information: Kraskov, Stögbauer and Grassberger's first."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from scipy.special import digamma

from theorykit.arguments import Floats, positive_integer
from theorykit.errors import InputError
from theorykit.information.estimate import InformationEstimate
from theorykit.information.estimators.blocks import balanced_blocks, mean_standard_error
from theorykit.information.estimators.outcomes import Outcome, recorded, two_sided_quantile
from theorykit.information.estimators.pairs import Indices, Pair
from theorykit.information.estimators.ranks import normal_scores, seeded, tie_warning

MOST_DIMENSIONS = 6
"""d_x + d_y above which neighbours are far even with many samples."""
TOO_MANY_DIMENSIONS = 200
"""d_x + d_y above which the estimate is refused: it would take long and say nothing."""
_NEAR_CEILING = 1.5
"""Nats below the ceiling from which the estimate is not believed."""
_TREE_DIMENSIONS = 8
"""d_x + d_y up to which trees beat the table of all distances at N = 10,000."""
_BLOCK_NUMBERS = 1_000_000
"""Distances held at once, on either side."""
_SLACK = 4e-15
"""Rounding of a distance between numbers of order 1."""
_SPREAD = 1.3
"""Scatter of the estimate over that of a mean of independent terms, as neighbours share their distances: 1.1 to 1.5 on
tasks of Czyż et al. (2023) with one to three columns a side and N from 100 to 5,000."""
_MUCH = 0.3
"""Nats, or the value where that is more: a warning says so where more may be missing."""
_DRIFT = 3.0
"""Standard errors by which halves may differ from the whole."""


def ksg_estimate(
    x: Any,
    y: Any,
    *,
    neighbours: int = 5,
    groups: Any = None,
    generator: np.random.Generator | None = None,
) -> InformationEstimate:
    """Estimate I(X; Y) from k-nearest-neighbour distances, without a model, in nats.

    With the maximum norm, ε_i the distance of row i to its k-th neighbour in (x, y), n_x and n_y the rows closer than
    that in x and in y alone: ψ(k) + ψ(N) − mean[ψ(n_x + 1) + ψ(n_y + 1)]. Every column is first replaced by its normal
    scores, which information does not see and which tames heavy tails. Consistent for densities that are smooth; at
    finite N biased towards 0 where the density varies within ε: many dimensions, strong dependence. Nearly unbiased at
    independence. Neither an upper nor a lower bound.

    The standard error adds two parts in squares: 1.3 times that of a mean of one term per row, and what is left of the
    bias if it falls as N^(−2/(d_x + d_y)), from the mean Δ off the whole that the two halves of the rows have:
    Δ/(2^(2/(d_x + d_y)) − 1). Where Δ is more than three of the first, ``converged`` is False and a warning says so.
    The interval is not symmetric. Where the density has edges the bias falls as N^(−1/(d_x + d_y)) alone, towards 0:
    the upper end is that of the sampling error and (|Δ| + its error)/(2^(1/(d_x + d_y)) − 1) further, for Δ below the
    error; the lower end has the bias where the estimate falls with N.

    With ``groups`` neighbours and counts leave out the row's own sequence (:func:`grouped_information`); all distances
    are computed, so that the time grows with N².

    Args:
        x: As for :func:`theorykit.mutual_information`, as is y.
        y: The same rows.
        neighbours: k ≥ 1, below N/2: more for less variance, fewer for less bias.
        groups: The sequence of each row, more than 2k of them, k at least 2; None for independent rows.
        generator: For ties; None for a fixed seed, so that the same input gives the same answer.

    Returns:
        The estimate; its ceiling is ψ(N) − ψ(k), as n_x and n_y hold the nearer neighbours; lower with ``groups``
        whose rows stand in clumps.

    Raises:
        InputError: the pair or an argument is refused.
        NonFiniteError: NaN or infinity.

    References:
        Kraskov, Stögbauer & Grassberger (2004), Physical Review E 69, 066138; Holmes & Nemenman (2019), Physical Review
        E 100, 022404, for halves as a check; Theiler (1986), Physical Review A 34, for leaving out rows of one course;
        Gao, Ver Steeg & Galstyan (2015), AISTATS, for what strong dependence asks of N.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, noise = rng.standard_normal((2, 2000))
        >>> estimate = ksg_estimate(x, 0.6 * x + 0.8 * noise)  # log 1.25 = 0.223
        >>> estimate.interval[0] < 0.223 < estimate.interval[1]
        True
    """
    count = positive_integer("neighbours", neighbours)
    estimate = partial(_ksg, neighbours=count, generator=seeded(generator))
    return recorded(
        "ksg1",
        x,
        y,
        groups,
        estimate,
        lambda pair: 64 * (pair.n_samples * (pair.width + count) + _BLOCK_NUMBERS),
    )


def _ksg(pair: Pair, neighbours: int, generator: np.random.Generator) -> Outcome:
    _check_neighbours(pair, neighbours)
    if pair.width > TOO_MANY_DIMENSIONS:
        raise InputError(
            f"d_x + d_y = {pair.width} is above {TOO_MANY_DIMENSIONS}: all neighbours are equally far",
            "reduce the pair first, as canonical_reduction does",
        )
    (x, x_ties), (y, y_ties) = normal_scores(pair.x, generator), normal_scores(pair.y, generator)
    terms, ceiling = _terms(x, y, pair.groups, neighbours)
    information = float(terms.mean())
    error, degrees = mean_standard_error(terms, pair.groups)
    error *= _SPREAD
    settled, moved = True, 0.0
    warnings = tie_warning(max(x_ties, y_ties))
    if pair.width > MOST_DIMENSIONS:
        warnings += (f"many dimensions for neighbours: d_x + d_y = {pair.width}, biased towards 0",)
    if information > ceiling - _NEAR_CEILING:
        warnings += (f"near the ceiling: no more than {ceiling:.3g} nats can come out with N = {pair.n_samples}",)
    if 4 * neighbours < _independent(pair):
        halves = _mean_of_halves(pair, x, y, neighbours)
        settled = abs(halves - information) <= _DRIFT / _SPREAD * error
        if not settled:
            warnings += (f"still moving with N: {halves:.3g} nats from halves of the rows, {information:.3g} from all",)
        moved = information - halves
        missing = _missing(moved, error, pair.width)
        if settled and missing > max(information, _MUCH):
            warnings += (f"few rows for {pair.width} columns: up to {missing:.2g} nats may be missing to the value",)
    return Outcome(
        information,
        float(np.hypot(error, moved / (2 ** (2 / pair.width) - 1))),
        degrees,
        ceiling,
        settled,
        warnings,
        _limits(information, error, two_sided_quantile(degrees), moved, pair.width),
    )


def _limits(information: float, error: float, quantile: float, moved: float, width: int) -> tuple[float, float]:
    """Return the interval: the sampling error on both sides, and the bias on the side that N moves the estimate to."""
    missing = _missing(moved, error, width)
    falling = max(0.0, -moved) / (2 ** (2 / width) - 1)
    return information - quantile * float(np.hypot(error, falling)), information + quantile * error + missing


def _missing(moved: float, error: float, width: int) -> float:
    """Return the bias towards 0 if it falls as N^(−1/d), d the ``width``: from the move of halves and its error."""
    return max(0.0, moved + error) / (2 ** (1 / width) - 1)


def _independent(pair: Pair) -> int:
    """Return the number of groups; of rows where there are none."""
    return pair.n_samples if pair.groups is None else int(pair.groups.max()) + 1


def _check_neighbours(pair: Pair, neighbours: int) -> None:
    """Raise where there are too few rows or groups, or where groups rule out k."""
    half = _independent(pair) / 2
    if pair.groups is None:
        if neighbours >= half:
            raise InputError(f"neighbours = {neighbours} is not below N/2 = {half:g}", "give fewer")
    elif not 2 <= neighbours < half:
        raise InputError(
            f"neighbours = {neighbours} is not from 2 to below half of the {2 * half:g} groups",
            "give other neighbours or more groups",
        )


def _terms(x: Floats, y: Floats, groups: Indices | None, neighbours: int) -> tuple[Floats, float]:
    """Return the term of each row ``[N]`` and what their mean cannot pass, in nats."""
    if groups is not None:
        terms, ceilings = grouped_information(x, y, groups, neighbours)
        return terms, float(ceilings.mean())
    return local_information(x, y, neighbours), float(digamma(x.shape[0]) - digamma(neighbours))


def _mean_of_halves(pair: Pair, x: Floats, y: Floats, neighbours: int) -> float:
    half = balanced_blocks(pair.n_samples, pair.groups, 2)
    means = []
    for rows in (half == 0, half == 1):
        groups = None if pair.groups is None else pair.groups[rows]
        means.append(_terms(x[rows], y[rows], groups, neighbours)[0].mean())
    return float(np.mean(means))


def local_information(x: Floats, y: Floats, neighbours: int) -> Floats:
    """Compute the term of each row ``[N]`` whose mean is the estimate, in nats.

    Args:
        x: ``[N, d_x]`` on a scale of order 1, without ties.
        y: ``[N, d_y]``.
        neighbours: k, below N.
    """
    counted = _by_tree if x.shape[1] + y.shape[1] <= _TREE_DIMENSIONS else _by_distances
    left, right = counted(x, y, neighbours)
    return np.asarray(digamma(neighbours) + digamma(x.shape[0]) - digamma(left + 1) - digamma(right + 1))


def grouped_information(x: Floats, y: Floats, groups: Indices, neighbours: int) -> tuple[Floats, Floats]:
    """Compute the term of each row ``[N]`` and its ceiling where rows of one group are not independent, in nats.

    ε_i is the distance to the k-th nearest *other group*, so that rows of one group are never each other's neighbours.
    Other groups stand in clumps too: s_i/(k − 1) = c_i rows to a group among the s_i rows closer than ε_i. With counts
    in clumps and M_i rows of other groups, ψ(k) + ψ(M_i/c_i + 1) − ψ(n_x/c_i + 1) − ψ(n_y/c_i + 1). Groups of one row
    give the ungrouped term; groups of m copies of one row (all but) what one row of each gives. In between it is
    approximate: right to first order, as c_i enters only the difference between ψ and the logarithm of a share.

    Args:
        x: ``[N, d_x]`` on a scale of order 1, without ties.
        y: ``[N, d_y]``.
        groups: Number of each row's group ``[N]``, more than k of them.
        neighbours: k ≥ 2.
    """
    order = np.argsort(groups, kind="stable")
    inside, left, right = _counts_of_others(x[order], y[order], groups[order], neighbours)
    sizes = np.bincount(groups)
    clump = np.maximum(inside / (neighbours - 1), 1.0)
    ceilings = digamma((groups.size - sizes[groups[order]]) / clump + 1) - digamma(neighbours)
    terms = ceilings + 2 * digamma(neighbours) - digamma(left / clump + 1) - digamma(right / clump + 1)
    back = np.argsort(order)
    return terms[back], ceilings[back]


def _counts_of_others(x: Floats, y: Floats, groups: Indices, neighbours: int) -> tuple[Floats, Floats, Floats]:
    """Return the rows of other groups closer than ε in (x, y), in x and in y; rows of one group stand together."""
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    counts: list[list[Floats]] = [[], [], []]
    step = max(1, _BLOCK_NUMBERS // groups.size)
    for start in range(0, groups.size, step):
        rows = slice(start, start + step)
        same = groups[rows, None] == groups
        apart = [np.where(same, np.inf, cdist(side[rows], side, "chebyshev")) for side in (x, y)]
        both = np.maximum(*apart)
        nearest = np.minimum.reduceat(both, starts, axis=1)  # of each group
        radius = _below(np.partition(nearest, neighbours - 1, axis=1)[:, neighbours - 1])[:, None]
        for count, side in zip(counts, (both, *apart), strict=True):
            count.append((side <= radius).sum(axis=1, dtype=np.float64))
    both_counts, left, right = (np.concatenate(count) for count in counts)
    return both_counts, left, right


def _by_tree(x: Floats, y: Floats, neighbours: int) -> tuple[Floats, Floats]:
    """Return n_x and n_y ``[N]`` by trees: fast in few dimensions."""
    both = np.hstack([x, y])
    distances = np.asarray(cKDTree(both).query(both, k=neighbours + 1, p=np.inf, workers=-1)[0])
    radius = _below(distances[:, -1])
    return closer(x, radius), closer(y, radius)


def _by_distances(x: Floats, y: Floats, neighbours: int) -> tuple[Floats, Floats]:
    """Return n_x and n_y ``[N]`` from all distances, a block of rows at a time: faster in many dimensions."""
    counts: list[list[Floats]] = [[], []]
    step = max(1, _BLOCK_NUMBERS // x.shape[0])
    for start in range(0, x.shape[0], step):
        apart = [np.asarray(cdist(side[start : start + step], side, "chebyshev")) for side in (x, y)]
        # of the row itself, at 0, and its k neighbours
        radius = _below(np.partition(np.maximum(*apart), neighbours, axis=1)[:, neighbours])
        for count, side in zip(counts, apart, strict=True):
            count.append((side <= radius[:, None]).sum(axis=1) - 1.0)
    left, right = (np.maximum(np.concatenate(count), 0.0) for count in counts)
    return left, right


def _below(radius: Floats) -> Floats:
    """Return a radius that leaves out what lies at it, rounding included."""
    return radius * (1 - 1e-9) - _SLACK


def closer(side: Floats, radius: Floats) -> Floats:
    """Return for each row how many other rows lie within its radius, in the maximum norm ``[N]``."""
    if side.shape[1] == 1:
        column = side[:, 0]
        order = np.sort(column)
        within = np.searchsorted(order, column + radius, "right") - np.searchsorted(order, column - radius, "left")
    else:
        within = cKDTree(side).query_ball_point(side, radius, p=np.inf, return_length=True, workers=-1)
    return np.asarray(np.maximum(within - 1, 0), dtype=np.float64)
