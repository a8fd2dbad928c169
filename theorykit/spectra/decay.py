"""How fast a spectrum decays: the exponent α of s_i ∝ i^−α, its interval, and whether a power law fits at all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from theorykit.arguments import Floats, non_increasing
from theorykit.errors import InputError
from theorykit.results import Result
from theorykit.spectra.spectrum import tail_energies

if TYPE_CHECKING:
    import pandas as pd

MIN_VALUES = 16
"""Fewest positive singular values from which an exponent is read."""
_CANDIDATES = 16
_NULL_DRAWS = 2000
_NULL_BLOCK = 250
_SIGNIFICANCE = 0.05
_COARSEST_ROUNDING = 2.0**-8
"""Largest relative error of a stored number in the coarsest type that checkpoints have, bfloat16; so the rounding noise
of a stored matrix has at most this share of its Frobenius norm."""
_GAP_LEVEL = 1e-3
_GAP_RATIO = 2.0
_LEAST_TAIL = 8
"""Fewer values behind a gap are a matter of the hard edge, where the last values of any square matrix lie far apart."""


@dataclass(frozen=True)
class PowerLawFit(Result):
    """A power law s_i ∝ i^−α fitted to the head of a spectrum.

    Attributes:
        exponent: α, by Hill's estimator over the first ``n_values`` singular values.
        interval: 95 % interval of α for independent values: the χ² law of the estimator, its levels corrected by
            simulation for the choice of ``n_values``. Singular values repel each other: for them it is too wide.
        n_values: How many of the largest values the law is fitted to (at least a quarter of them).
        ks_distance: Kolmogorov–Smirnov distance between the fitted and the empirical law.
        p_value: Share of samples of independent values from an exact power law, fitted in the same way, that lie at
            least as far off. Singular values scatter less, so that a rejection is strong and ``fits`` weak evidence.
        r_squared: Of log s on log i over the same values; high for almost any smooth curve, so not a test.
        r_squared_exponential: Of log s on i (the rival s_i ∝ e^−βi) over the same values.
        left_out: How many of the smallest values took no part, as rounding noise of the stored type behind a gap.
    """

    exponent: float
    interval: tuple[float, float]
    n_values: int
    ks_distance: float
    p_value: float
    r_squared: float
    r_squared_exponential: float
    left_out: int = 0

    @property
    def fits(self) -> bool:
        """Return whether the power law survives the test at the 5 % level."""
        return self.p_value >= _SIGNIFICANCE

    @property
    def density_exponent(self) -> float:
        """Return 1 + 1/(2α): the exponent of the density of the eigenvalues s², as other tools report it."""
        return 1.0 + 1.0 / (2.0 * self.exponent) if self.exponent > 0 else float("inf")

    def to_frame(self) -> pd.DataFrame:
        """Return one row."""
        import pandas as pd

        return pd.DataFrame([self.to_dict() | {"fits": self.fits}])


def _candidate_sizes(count: int) -> list[int]:
    """Return how many of the largest values a fit may use: from a quarter of them to all but one."""
    low = max(MIN_VALUES - 1, count // 4)
    return sorted({round(size) for size in np.geomspace(low, count - 1, _CANDIDATES).tolist()})


def _fit_by_distance(logs: Floats) -> tuple[Floats, Floats, list[int]]:
    """Fit each row of descending log values at the candidate size of least KS distance.

    Under a power law the log ratios to the (k+1)-th value are exponential with mean α (Rényi 1953), so
    that the distance does not depend on α.

    Args:
        logs: ``[draws, count]``, descending.

    Returns:
        Exponents ``[draws, sizes]``, distances ``[draws, sizes]`` and the sizes.
    """
    sizes = _candidate_sizes(logs.shape[1])
    exponents = np.empty((logs.shape[0], len(sizes)))
    distances = np.empty_like(exponents)
    with np.errstate(divide="ignore", invalid="ignore"):
        for column, size in enumerate(sizes):
            excess = logs[:, :size] - logs[:, size : size + 1]
            mean = excess.mean(axis=1)
            exponents[:, column] = mean
            above = np.exp(-excess / mean[:, None]) - np.arange(size) / size  # the survival ascends, excess descends
            gaps = np.maximum(above.max(axis=1), 1 / size - above.min(axis=1))
            distances[:, column] = np.where(mean > 0, gaps, np.inf)
    return exponents, distances, sizes


@lru_cache(maxsize=64)
def _null_law(count: int) -> tuple[Floats, tuple[float, float]]:
    """Fit samples of ``count`` values from an exact power law with α = 1, as :func:`fit_power_law` does.

    Returns:
        Their least KS distances, sorted, and the levels of the χ² law between which 95 % of the exponents lie:
        2.5 % and 97.5 % if there were no choice among sizes.
    """
    from scipy.special import chdtr

    generator = np.random.default_rng(20_000 + count)
    distances, levels = [], []
    for _ in range(_NULL_DRAWS // _NULL_BLOCK):
        # sorted exponentials are sums of independent spacings E_i / i (Rényi 1953): nothing has to be sorted
        spacings = generator.standard_exponential((_NULL_BLOCK, count)) / np.arange(1, count + 1)
        exponents, gaps, sizes = _fit_by_distance(np.cumsum(spacings[:, ::-1], axis=1)[:, ::-1])
        best = gaps.argmin(axis=1)
        degrees = 2.0 * np.array(sizes)[best]
        distances.append(gaps.min(axis=1))
        levels.append(chdtr(degrees, degrees * exponents[np.arange(best.size), best]))
    low, high = np.quantile(np.concatenate(levels), (0.025, 0.975)).tolist()
    return np.sort(np.concatenate(distances)), (low, high)


def rounding_tail(singular_values: Floats) -> int:
    """Count the smallest singular values that are rounding noise of a matrix of lower rank, as far as they can tell.

    A matrix of rank k that is stored in bfloat16, float16 or float32 has full rank: behind its k values lies a gap, and
    behind that the values of the rounding errors. All has to hold: at least 8 values behind the gap; together no more
    than the rounding of bfloat16 can make, 2^−8 of the Frobenius norm; a fall to less than a half from one value to the
    next; and a gap that power laws do not have. Under those the scaled gaps i·log(s_i / s_{i+1}) are independent and
    exponential with mean α (Rényi 1953), so that one over the mean of those before it has an F law with (2, 2(i − 1))
    degrees of freedom. Of power laws at most one in a thousand loses its tail by chance, whatever α. Noise that no gap
    sets apart is not seen.

    Args:
        singular_values: ``[q]``, positive, non-increasing.

    Returns:
        Their number, 0 where there is no such tail. Of several gaps the last counts.

    Example:
        >>> rounding_tail(np.concatenate([np.arange(1.0, 33) ** -0.5, np.linspace(2e-4, 1e-4, 32)]))
        32
    """
    count = singular_values.size
    if count <= _LEAST_TAIL + 1:
        return 0
    gaps = -np.diff(np.log(singular_values))
    ranks = np.arange(1.0, count)
    before = np.concatenate([[0.0], np.cumsum(ranks * gaps)[:-1]])  # of the gaps 1 … i − 1
    shares = np.sqrt(tail_energies(singular_values / singular_values[0])[1:-1])
    shares /= np.linalg.norm(singular_values / singular_values[0])
    possible = (
        (gaps >= np.log(_GAP_RATIO)) & (shares <= _COARSEST_ROUNDING) & (ranks <= count - _LEAST_TAIL) & (ranks > 1)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        # the survival function of F(2, 2(i − 1)) is (1 + x / (i − 1))^−(i − 1)
        log_levels = -(ranks - 1) * np.log1p(ranks * gaps / before)
    rejected = np.flatnonzero(possible & (log_levels <= np.log(_GAP_LEVEL / count)))
    return int(count - 1 - rejected[-1]) if rejected.size else 0


def _r_squared(x: Floats, y: Floats) -> float:
    if np.ptp(y) == 0:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1] ** 2)


def fit_power_law(singular_values: Any) -> PowerLawFit:
    """Estimate α of s_i ∝ i^−α with a 95 % interval and test whether a power law fits.

    Hill's (1975) estimator of the head, with the number of values chosen by least Kolmogorov–Smirnov distance
    and the p-value simulated with the same choice (Clauset, Shalizi & Newman 2009). The head has to hold at
    least a quarter of the values: the ranks below break-even lie there. Deterministic: the null samples come
    from a fixed seed.

    Args:
        singular_values: ``[q]``, non-negative, non-increasing; zeros are left out, and so is rounding noise of a matrix
            of lower rank where a gap sets it apart (:func:`rounding_tail`).

    Returns:
        The fit. ``fit.fits`` is False for most layers of trained networks, and then α is a description of the
        slope, not a law.

    Raises:
        InputError: fewer than 16 positive values, or fewer than 16 above the rounding noise.

    Example:
        >>> fit = fit_power_law([(i + 1.0) ** -1.0 for i in range(500)])
        >>> fit.interval[0] < 1.0 < fit.interval[1], fit.fits
        (True, True)
    """
    from scipy.special import chdtri

    values = non_increasing("singular_values", singular_values)
    floor = values.size * np.finfo(float).eps * values[0]  # rounding noise has no exponent
    values = values[values > floor]
    left_out = rounding_tail(values)
    values = values[: values.size - left_out]
    if left_out and values.size < MIN_VALUES:
        raise InputError(
            f"{values.size} singular values above rounding noise are too few for a decay fit",
            f"give a matrix of rank {MIN_VALUES} or more",
        )
    if values.size < MIN_VALUES:
        raise InputError(
            f"{values.size} positive singular values are too few for a decay fit",
            f"give a matrix with at least {MIN_VALUES}",
        )
    logs = np.log(values)
    exponents, distances, sizes = _fit_by_distance(logs[None, :])
    best = int(np.argmin(distances[0]))
    size, exponent, distance = sizes[best], float(exponents[0, best]), float(min(distances[0, best], 1.0))
    null, (low, high) = _null_law(values.size)
    exceeding = null.size - int(np.searchsorted(null, distance, side="left"))
    degrees = 2.0 * size
    index = np.arange(1.0, size + 1)
    return PowerLawFit(
        exponent=exponent,
        interval=(
            exponent * degrees / float(chdtri(degrees, 1.0 - high)),
            exponent * degrees / float(chdtri(degrees, 1.0 - low)),
        ),
        n_values=size,
        ks_distance=distance,
        p_value=(1 + exceeding) / (1 + null.size),
        r_squared=_r_squared(np.log(index), logs[:size]),
        r_squared_exponential=_r_squared(index, logs[:size]),
        left_out=left_out,
    )
