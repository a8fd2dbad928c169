"""Gaussian pairs of known information that resemble a given pair: same N, d and spectra. What estimators are tried on.

The estimator that is right on the pair at hand need not be right on its surrogate, and the other way round: a
surrogate says what N and d allow, not whether the relation is Gaussian.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from theorykit.arguments import Floats, Progress, checked_generator, positive_integer, positive_number
from theorykit.errors import InputError
from theorykit.information.estimate import InformationEstimate
from theorykit.information.estimators.canonical import correlation_matrix, noise_edge
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
        x_map: ``[d_x, d_x]``: x = u @ x_map for u of unit covariance.
        y_map: ``[d_y, d_y]``.
        profile: Share of the information in each canonical pair ``[min(d_x, d_y)]``, sums to 1.
        n_samples: N.
    """

    x_map: Floats
    y_map: Floats
    profile: Floats
    n_samples: int

    def sample(self, information: float, generator: np.random.Generator) -> tuple[Floats, Floats]:
        """Draw N pairs with this information in nats, ρ_i² = 1 − exp(−2 · its share)."""
        rho = np.sqrt(-np.expm1(-2 * information * self.profile))
        sizes = self.x_map.shape[0], self.y_map.shape[0]
        u, v = (generator.standard_normal((self.n_samples, size)) for size in sizes)
        v[:, : rho.size] *= np.sqrt(1 - rho**2)
        v[:, : rho.size] += rho * u[:, : rho.size]
        return u @ self.x_map, v @ self.y_map


def surrogate_family(pair: Pair) -> SurrogateFamily:
    """Return the Gaussian pairs that resemble a sample.

    The profile is that of the correlations above the noise edge, −½ log(1 − ρ²) each, or even over all pairs where
    none is above.

    Raises:
        InputError: N ≤ d_x + d_y, or columns of one side that depend linearly on one another.
    """
    from scipy.linalg import LinAlgError, cholesky, solve_triangular

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
    return SurrogateFamily((left @ u).T * scales[0], (right @ vt.T).T * scales[1], profile, count)


@dataclass(frozen=True)
class Calibration(Result):
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
) -> Calibration:
    """Compute the error of an estimator on Gaussian pairs with the N, the d and the spectra of a given pair, in nats.

    Args:
        estimator: From x ``[N, d_x]`` and y ``[N, d_y]`` to an estimate.
        x: ``[N, d_x]`` or ``[N]``.
        y: ``[N, d_y]`` or ``[N]``.
        information: What the pair is thought to have, above 0, in nats.
        generator: Draws the surrogates.
        levels: Their information over ``information``.
        draws: Surrogates for each level.
        progress: Called with (what, done, count).

    Returns:
        Errors, spreads and coverage by level.

    Raises:
        InputError: the pair is refused or too small (:func:`surrogate_family`), or an argument out of range.
        NonFiniteError: NaN or infinity.

    Example:
        >>> from theorykit.information.estimators.gaussian import gaussian_estimate
        >>> rng = np.random.default_rng(0)
        >>> x, noise = rng.standard_normal((2, 1000, 3))
        >>> found = calibrate_estimator(gaussian_estimate, x, x + noise, information=1.0, generator=rng)
        >>> max(abs(error) for error in found.errors) < 0.1
        True
    """
    reference, count = positive_number("information", information), positive_integer("draws", draws)
    generator = checked_generator(generator)
    pair = checked_pair(x, y)
    family = surrogate_family(pair)
    truths = tuple(positive_number("levels", level, allow_zero=True) * reference for level in levels)
    found: list[list[InformationEstimate]] = []
    for place, truth in enumerate(truths):
        found.append([])
        for draw in range(count):
            found[-1].append(estimator(*family.sample(truth, generator)))
            if progress is not None:
                progress("known pairs", place * count + draw + 1, len(truths) * count)
    return Calibration(
        found[0][0].method,
        truths,
        tuple(_mean_error(row, truth) for row, truth in zip(found, truths, strict=True)),
        tuple(_spread(row) for row in found),
        tuple(_coverage(row, truth) for row, truth in zip(found, truths, strict=True)),
        count,
    )


def _values(estimates: list[InformationEstimate]) -> Floats:
    return np.array([one.information for one in estimates if one.information is not None])


def _mean_error(estimates: list[InformationEstimate], truth: float) -> float | None:
    values = _values(estimates)
    return float(values.mean() - truth) if values.size else None


def _spread(estimates: list[InformationEstimate]) -> float | None:
    values = _values(estimates)
    return float(values.std(ddof=1)) if values.size > 1 else None


def _coverage(estimates: list[InformationEstimate], truth: float) -> float | None:
    intervals = [one.interval for one in estimates if one.interval is not None]
    return float(np.mean([low <= truth <= high for low, high in intervals])) if intervals else None
