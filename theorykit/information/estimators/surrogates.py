"""Trials of an estimator: on Gaussian pairs of known information that resemble a given pair, and against itself.

The estimator that is right on the pair at hand need not be right on its surrogate, and the other way round: a
surrogate says what N and d allow, not whether the relation is Gaussian. Against itself it is held to what mutual
information obeys: zero for shuffled pairs, no gain by processing, additive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from theorykit.arguments import Floats, Progress, checked_generator, positive_integer, positive_number
from theorykit.errors import InputError
from theorykit.information.estimate import InformationEstimate
from theorykit.information.estimators.canonical import CanonicalLaw, correlation_matrix, noise_edge
from theorykit.information.estimators.pairs import Pair, checked_pair
from theorykit.results import Result

if TYPE_CHECKING:
    import pandas as pd

Estimator = Callable[[Floats, Floats], InformationEstimate]

LEVELS = (0.0, 0.5, 1.0, 2.0)
"""Information of the surrogates in units of what the pair is thought to have."""


@dataclass(frozen=True, eq=False)
class SurrogateFamily:
    """Gaussian pairs with the margins' covariances of a sample and a scaled profile of its canonical correlations.

    Attributes:
        left: ``[d_x, d_x]``: x = left u for canonical coordinates u.
        right: ``[d_y, d_y]``.
        profile: Share of the information in each canonical pair ``[min(d_x, d_y)]``, sums to 1.
        n_samples: N.
    """

    left: Floats
    right: Floats
    profile: Floats
    n_samples: int

    def sample(self, information: float, generator: np.random.Generator) -> tuple[Floats, Floats]:
        """Draw N pairs with this information in nats, ρ_i² = 1 − exp(−2 · its share)."""
        rho = np.sqrt(-np.expm1(-2 * information * self.profile))
        return CanonicalLaw(self.left, self.right, rho).sample(self.n_samples, generator)


def surrogate_family(pair: Pair) -> SurrogateFamily:
    """Return the Gaussian pairs that resemble a sample.

    The profile is that of the correlations above the noise edge, −½ log(1 − ρ²) each, or even over all pairs where
    none is above.

    Raises:
        InputError: N ≤ d_x + d_y, or columns of one side that depend linearly on one another.
    """
    split, count = pair.x.shape[1], pair.n_samples
    if count <= pair.width + 1:
        raise InputError(
            f"N = {count} rows do not fix the spectra of {pair.width} columns", f"give more than {pair.width + 1} rows"
        )
    joint = correlation_matrix(pair.x, pair.y)
    try:
        left, right = (cholesky(block, lower=True) for block in (joint[:split, :split], joint[split:, split:]))
    except LinAlgError as error:
        raise InputError("columns of one side depend linearly on one another", "leave out those that do") from error
    whitened = solve_triangular(right, solve_triangular(left, joint[:split, split:], lower=True).T, lower=True).T
    u, correlations, vt = np.linalg.svd(whitened)
    kept = correlations**2 > noise_edge(count, *sorted((split, pair.width - split)))
    amounts = np.where(kept, -np.log1p(-np.minimum(correlations**2, 1 - 1e-12)), 0.0)
    profile = amounts / amounts.sum() if kept.any() else np.full(correlations.size, 1 / correlations.size)
    scales = pair.x.std(axis=0), pair.y.std(axis=0)
    return SurrogateFamily(scales[0][:, None] * (left @ u), scales[1][:, None] * (right @ vt.T), profile, count)


@dataclass(frozen=True)
class EstimatorCalibration(Result):
    """How an estimator does on surrogates of a pair: same N, d and spectra, known information, in nats.

    Attributes:
        method: Name of the estimator.
        truths: Information of the surrogates ``[levels]``.
        errors: Mean of estimate − truth over the draws ``[levels]``; None where all failed.
        spreads: Their standard deviation over the draws ``[levels]``; None with one draw.
        covered: Share of the draws whose 95 % interval holds the truth ``[levels]``; None without intervals.
        draws: How many for each level.
    """

    method: str
    truths: tuple[float, ...]
    errors: tuple[float | None, ...]
    spreads: tuple[float | None, ...]
    covered: tuple[float | None, ...]
    draws: int

    def to_frame(self) -> pd.DataFrame:
        """Return one row per level."""
        import pandas as pd

        return pd.DataFrame(
            {"information": self.truths, "error": self.errors, "spread": self.spreads, "covered": self.covered}
        )


def calibrate_estimator(
    estimator: Estimator,
    x: Any,
    y: Any,
    *,
    information: float,
    generator: np.random.Generator,
    levels: Sequence[float] = LEVELS,
    draws: int = 3,
    progress: Progress | None = None,
) -> EstimatorCalibration:
    """Compute the error of an estimator on Gaussian pairs with the N, the d and the spectra of a given pair, in nats.

    Args:
        estimator: From x ``[N, d_x]`` and y ``[N, d_y]`` to an estimate.
        x: As for :func:`theorykit.mutual_information`, as is y.
        y: The same rows.
        information: What the pair is thought to have, above 0, in nats.
        generator: Draws the surrogates.
        levels: Their information over ``information``.
        draws: Surrogates for each level.
        progress: Called with (what, done, count).

    Raises:
        InputError: the pair is refused or too small (:func:`surrogate_family`), or an argument out of range.
        NonFiniteError: NaN or infinity.

    Example:
        >>> from theorykit.information.estimators.gaussian import gaussian_estimate
        >>> rng = np.random.default_rng(0)
        >>> x, noise = rng.standard_normal((2, 1000, 3))
        >>> trials = calibrate_estimator(gaussian_estimate, x, x + noise, information=1.0, generator=rng)
        >>> max(abs(error) for error in trials.errors) < 0.1
        True
    """
    reference, count = positive_number("information", information), positive_integer("draws", draws)
    generator = checked_generator(generator)
    pair = checked_pair(x, y)
    family = surrogate_family(pair)
    truths = tuple(positive_number("levels", level, allow_zero=True) * reference for level in levels)
    trials = []
    for place, truth in enumerate(truths):
        estimates = []
        for draw in range(count):
            estimates.append(estimator(*family.sample(truth, generator)))
            if progress is not None:
                progress("known pairs", place * count + draw + 1, len(truths) * count)
        trials.append(_trial(estimates, truth))
    errors, spreads, covered = zip(*trials, strict=True)
    return EstimatorCalibration(estimates[0].method, truths, errors, spreads, covered, count)


def _trial(estimates: list[InformationEstimate], truth: float) -> tuple[float | None, float | None, float | None]:
    """Return mean error, spread and coverage of the estimates of one level."""
    values = np.array([estimate.information for estimate in estimates if estimate.information is not None])
    intervals = [estimate.interval for estimate in estimates if estimate.interval is not None]
    return (
        float(values.mean() - truth) if values.size else None,
        float(values.std(ddof=1)) if values.size > 1 else None,
        float(np.mean([low <= truth <= high for low, high in intervals])) if intervals else None,
    )


@dataclass(frozen=True)
class SelfConsistency(Result):
    """Four estimates of one estimator that mutual information ties together, in nats.

    Attributes:
        estimate: Of I(X; Y).
        shuffled: With the rows of Y permuted; I = 0.
        processed: Of I(X; (Y, h(Y))); equal to I(X; Y) for any function h.
        doubled: Of I((X, X′); (Y, Y′)), the primed an independent copy; equal to 2 I(X; Y). From N/2 rows.
        problems: Which equality fails by more than the tolerance, one sentence each.
    """

    estimate: InformationEstimate
    shuffled: InformationEstimate
    processed: InformationEstimate
    doubled: InformationEstimate
    problems: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return one row per estimate, with what it should be if ``estimate`` were right."""
        import pandas as pd

        base = self.estimate.information
        wanted = {"estimate": base, "shuffled": 0.0, "processed": base, "doubled": None if base is None else 2 * base}
        rows = [
            {"quantity": name, "information": getattr(self, name).information, "expected": expected}
            for name, expected in wanted.items()
        ]
        return pd.DataFrame(rows)


def _squashed(y: Floats, generator: np.random.Generator) -> Floats:
    """Return h(y) ``[N, d_y]``: the hyperbolic tangent of a random rotation of the standardised columns."""
    from scipy.stats import ortho_group

    standard = (y - y.mean(axis=0)) / y.std(axis=0)
    rotation = ortho_group.rvs(y.shape[1], random_state=generator) if y.shape[1] > 1 else np.eye(1)
    return np.asarray(np.tanh(standard @ rotation), dtype=np.float64)


def _misses(name: str, trial: InformationEstimate, base: InformationEstimate, factor: int, slack: float) -> list[str]:
    """Return a sentence where ``trial`` is not ``factor`` · ``base`` within ``slack`` nats or 3 standard errors."""
    if trial.information is None or base.information is None:
        return [f"{name}: the estimator failed, {trial.failure or base.failure}"]
    error = np.hypot(trial.standard_error or 0.0, factor * (base.standard_error or 0.0))
    wanted = factor * base.information
    if abs(trial.information - wanted) <= max(slack, 3 * error):
        return []
    return [f"{name}: {trial.information:.3g} nats where {wanted:.3g} are consistent"]


def self_consistency(
    estimator: Estimator, x: Any, y: Any, generator: np.random.Generator, *, tolerance: float = 0.2
) -> SelfConsistency:
    """Test an estimator on one pair of samples whose information is unknown, in nats.

    Necessary, not sufficient: an estimator that always says 0 passes. Rows are taken to be independent.

    Args:
        estimator: Takes x and y, returns an :class:`~theorykit.information.estimate.InformationEstimate`; wrap one
            that needs more, as ``lambda x, y: mutual_information(x, y, "mine", generator=rng)``.
        x: ``[N, d_x]``.
        y: ``[N, d_y]``.
        generator: Draws the permutations and h.
        tolerance: Allowed relative error; at least 0.05 nats and 3 standard errors are allowed in any case.

    Returns:
        The four estimates and what is wrong with them.

    Raises:
        InputError: a pair that :func:`.checked_pair` refuses, fewer than 4 rows, a tolerance not above 0.

    References:
        Song & Ermon (2020), Understanding the Limitations of Variational Mutual Information Estimators, ICLR,
        section 5.2 (arXiv 1910.06222).

    Example:
        >>> from theorykit.information.estimate import InformationEstimate
        >>> def constant(x, y):
        ...     return InformationEstimate("constant", 1.0, None, None, None, True, len(x), (1, 1))
        >>> states = np.random.default_rng(0).standard_normal((100, 1))
        >>> self_consistency(constant, states, states, np.random.default_rng(1)).problems
        ('independence: 1 nats where 0 are consistent', 'additivity: 1 nats where 2 are consistent')
    """
    relative = positive_number("tolerance", tolerance)
    pair = checked_pair(x, y)
    half = pair.n_samples // 2
    if half < 2:
        raise InputError(f"{pair.n_samples} rows are too few to be halved", "give at least 4")
    order = generator.permutation(pair.n_samples)
    first, second = order[:half], order[half : 2 * half]
    base = estimator(pair.x, pair.y)
    shuffled = estimator(pair.x, pair.y[generator.permutation(pair.n_samples)])
    processed = estimator(pair.x, np.hstack([pair.y, _squashed(pair.y, generator)]))
    doubled = estimator(*(np.hstack([side[first], side[second]]) for side in (pair.x, pair.y)))
    size = abs(base.information or 0.0)
    problems = [
        *_misses("independence", shuffled, base, 0, 0.05),
        *_misses("data processing", processed, base, 1, max(0.05, relative * size)),
        *_misses("additivity", doubled, base, 2, max(0.05, 2 * relative * size)),
    ]
    return SelfConsistency(base, shuffled, processed, doubled, tuple(problems))
