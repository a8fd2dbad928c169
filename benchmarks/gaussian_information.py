"""Corrected Gaussian information at d = 64, 256 and 768 with N = 10,000: bias, coverage and time.

python benchmarks/gaussian_information.py

200 draws of the sample covariance by Bartlett's decomposition stand for 200 samples: the estimate sees nothing else.
At d = 768 two of the four cases are drawn. Times are taken first, alone, on all cores. Targets: bias within 3 standard
errors of the mean, 90 to 98 % covered, at most 1 s at d = 768.
"""

from __future__ import annotations

import multiprocessing
import statistics

import numpy as np
import record
from threadpoolctl import threadpool_limits

from theorykit.information.estimators.canonical import correlations_of
from theorykit.information.estimators.gaussian import _from_correlations, gaussian_estimate

ROWS = 10_000
DRAWS = 200
SEED = 0
PAIRS = {
    "independent": lambda size: np.zeros(size),
    "few strong": lambda size: np.r_[np.linspace(0.95, 0.1, 20), np.zeros(size - 20)],
    "all weak": lambda size: np.full(size, 0.3),
    "all 0.95": lambda size: np.full(size, 0.95),
}
CASES = [(size, name) for size in (64, 256, 768) for name in PAIRS if size < 768 or name in ("few strong", "all 0.95")]


def drawn_correlation(rng: np.random.Generator, correlations: np.ndarray) -> np.ndarray:
    """Return the sample correlation matrix of N rows of pairs with these canonical correlations."""
    size = correlations.size
    root = np.tril(rng.standard_normal((2 * size, 2 * size)), -1)
    root[np.diag_indices(2 * size)] = np.sqrt(rng.chisquare(ROWS - 1 - np.arange(2 * size)))
    root[size:] = correlations[:, None] * root[:size] + np.sqrt(1 - correlations**2)[:, None] * root[size:]
    root /= np.linalg.norm(root, axis=1, keepdims=True)
    return root @ root.T


def bias_and_coverage(rng: np.random.Generator, correlations: np.ndarray, draws: int) -> dict[str, float]:
    """Return how far the mean lies off in its standard errors, and the share of intervals that cover."""
    truth = float(-np.log1p(-(correlations**2)).sum() / 2)
    found = [
        _from_correlations(correlations_of(drawn_correlation(rng, correlations), correlations.size), ROWS)
        for _ in range(draws)
    ]
    values = np.array([outcome.information for outcome in found])
    return {
        "information": round(truth, 4),
        "bias_in_standard_errors": round(float((values.mean() - truth) / (values.std() / np.sqrt(draws))), 2),
        "standard_deviation": round(float(values.std()), 4),
        "mean_standard_error": round(statistics.mean(outcome.standard_error for outcome in found), 4),
        "covered": round(float(np.mean([one.interval()[0] <= truth <= one.interval()[1] for one in found])), 3),
    }


def seconds(rng: np.random.Generator, size: int) -> float:
    """Return the median seconds of five estimates from rows."""
    x, noise = rng.standard_normal((2, ROWS, size))
    y = 0.6 * x + 0.8 * noise
    return statistics.median(gaussian_estimate(x, y).seconds for _ in range(5))


def case(job: tuple[int, str]) -> dict[str, float]:
    """Return bias and coverage of one case, on one thread."""
    size, name = job
    with threadpool_limits(1):
        return bias_and_coverage(np.random.default_rng([SEED, size, *name.encode()]), PAIRS[name](size), DRAWS)


def main() -> None:
    """Time, draw and record."""
    times = {size: round(seconds(np.random.default_rng(SEED), size), 3) for size in (64, 256, 768)}
    result: dict[str, object] = {"n_samples": ROWS, "draws": DRAWS, "target_seconds_768": 1.0}
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.map(case, CASES, chunksize=1)
    for size in (64, 256, 768):
        cases = {name: one for (width, name), one in zip(CASES, found, strict=True) if width == size}
        result[f"d={size}"] = cases | {"seconds": times[size]}
    record.save("gaussian_information", result, seeds=[SEED])


if __name__ == "__main__":
    main()
