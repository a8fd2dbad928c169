from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize_scalar

from theorykit.verdicts.rounding import _largest_shift, _log_likelihoods, rounding_shifts


def rounded(points, logs):
    return points[np.abs(logs[..., None] - points).argmin(axis=-1)]


def ends_of(points):
    return (points[1:] + points[:-1]) / 2


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5, 1.0])
def test_on_equal_steps_the_shift_is_that_of_its_fourier_series(ratio):
    """(h/π) Σ (−1)^k sin(2πkμ/h) e^(−2π²k²σ²/h²)/k, the largest over μ."""
    step = np.log(2)
    points = step * np.arange(-20, 21)
    mean = np.linspace(0, step, 4001)[:, None]
    terms = np.arange(1, 60)
    sizes = (-1.0) ** terms * np.exp(-2 * (np.pi * terms * ratio) ** 2) / terms
    series = sizes * np.sin(2 * np.pi * terms * mean / step)
    expected = np.abs(series.sum(axis=1)).max() * step / np.pi
    sd = ratio * step
    assert _largest_shift(points, ends_of(points), (-step / 2, step / 2), (sd, sd)) == pytest.approx(expected, rel=0.02)


def test_on_whole_ranks_the_shift_is_that_of_draws(rng):
    points, mean, sd = np.log(np.arange(1.0, 60)), np.log(5.3), 0.3
    draws = mean + sd * rng.standard_normal(100_000)
    found = rounded(points, draws)
    inside = (found > points[0]) & (found < points[-1])
    shift = abs((found - draws)[inside].mean() + draws[inside].mean() - mean)
    bound = _largest_shift(points, ends_of(points), (mean, mean + 1e-9), (sd, sd + 1e-9))
    assert bound == pytest.approx(shift, abs=4 * sd / np.sqrt(100_000))


@pytest.mark.parametrize("sd", [0.02, 0.2, 0.4, 1.0])
def test_the_bound_holds_for_every_mean(rng, sd):
    """The shift of the truth, by its series, stays below the bound in all but a share of the draws."""
    step = np.log(2)
    grid = 2.0 ** np.arange(-30, 31)
    terms, misses = np.arange(1, 60), 0
    for _ in range(50):
        means = rng.uniform(-2, 2, 6)
        found = rounded(np.log(grid), means + sd * rng.standard_normal((8, 6)))
        sizes = (-1.0) ** terms * np.exp(-2 * (np.pi * terms * sd / step) ** 2) / terms
        truth = np.abs((sizes * np.sin(2 * np.pi * terms * means[:, None] / step)).sum(axis=1)) * step / np.pi
        misses += bool((truth > rounding_shifts(found, grid, 0.05) + 1e-9).any())
    assert misses <= 50 * 0.05 + 3 * np.sqrt(50 * 0.0475)


def test_the_likelihood_of_cells_is_that_of_an_optimiser(rng):
    low = rng.integers(-2, 3, 12).astype(float)
    noise = np.array([0.5, 1.0, 3.0])
    for sd, value in zip(noise, _log_likelihoods(low, low + 1, noise), strict=True):
        best = minimize_scalar(
            lambda mean, sd=sd: -np.log(stats.norm.cdf(low + 1, mean, sd) - stats.norm.cdf(low, mean, sd)).sum(),
            bounds=(-3, 4),
            method="bounded",
        )
        off = np.ptp(low) + 1  # the best of 97 means is half a step of them off at most
        assert 0 <= -best.fun - value + 1e-6 <= 12 / 2 * (off / 96 / 2 / sd) ** 2 + 2e-6


def test_noise_at_one_size_lends_nothing_to_another(rng):
    """Rounded values of one size that scatter say nothing of a size whose seeds agree."""
    grid = 2.0 ** np.arange(-20, 31)
    logs = np.log(2) * np.stack([*rng.integers(2, 9, (5, 40)), np.full(40, 5)], axis=1)
    shifts = rounding_shifts(logs.astype(float), grid, 0.01)
    assert (shifts[:5] < 1e-3).all()
    assert shifts[5] > 0.2 * np.log(2) / 2


def test_equal_values_are_known_to_half_a_cell():
    grid = 2.0 ** np.arange(12)
    assert rounding_shifts(np.full((8, 3), 5 * np.log(2)), grid, 0.01) == pytest.approx(np.full(3, np.log(2) / 2))
