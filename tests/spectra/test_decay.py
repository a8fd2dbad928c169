from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln

from theorykit.errors import InputError
from theorykit.spectra import fit_power_law
from theorykit.spectra.decay import MIN_VALUES

EXPONENTS = (0.5, 0.75, 1.0, 1.5, 2.0)
DRAWS = 1500
"""Budget of one Monte Carlo: its own standard error of a share of 5 % is 0.6 %, that of the simulated null 0.5 %."""


@pytest.mark.parametrize("count", [16, 20, 64, 256, 1000])
@pytest.mark.parametrize("exponent", EXPONENTS)
def test_a_planted_law_is_recovered_and_accepted(exponent, count):
    fit = fit_power_law(np.arange(1.0, count + 1) ** -exponent)
    assert fit.interval[0] < exponent < fit.interval[1]
    assert fit.interval[0] < fit.exponent < fit.interval[1]
    assert fit.fits
    assert fit.p_value > 0.5
    assert fit.r_squared == pytest.approx(1.0)
    assert fit.r_squared > fit.r_squared_exponential
    assert count // 4 <= fit.n_values < count


@pytest.mark.parametrize(("count", "error"), [(100, 0.03), (1000, 0.005), (4000, 0.0015)])
@pytest.mark.parametrize("exponent", EXPONENTS)
def test_the_estimate_converges(exponent, count, error):
    """Over the first k values of an exact law Hill's estimate is α (log(k + 1) − log(k!)/k)."""
    fit = fit_power_law(np.arange(1.0, count + 1) ** -exponent)
    assert fit.exponent == pytest.approx(exponent, rel=error)
    k = fit.n_values
    assert fit.exponent == pytest.approx(exponent * (np.log(k + 1) - gammaln(k + 1) / k), rel=1e-9)


@pytest.mark.parametrize("count", [16, 64, 256])
def test_coverage_and_false_rejection_on_independent_values(rng, count):
    covered = rejected = 0
    for _ in range(DRAWS):
        exponent = rng.uniform(0.5, 2.0)
        fit = fit_power_law(np.sort(np.exp(exponent * rng.standard_exponential(count)))[::-1])
        covered += fit.interval[0] < exponent < fit.interval[1]
        rejected += not fit.fits
    assert 0.93 <= covered / DRAWS <= 0.97
    assert 0.03 <= rejected / DRAWS <= 0.07


@pytest.mark.parametrize("ratio", [0.99, 0.95, 0.8, 0.5])
@pytest.mark.parametrize("count", [32, 100, 768])
def test_geometric_decay_is_rejected(ratio, count):
    values = ratio ** np.arange(count)
    fit = fit_power_law(values)
    assert not fit.fits
    assert fit.r_squared_exponential > fit.r_squared
    assert fit.r_squared_exponential == pytest.approx(1.0)


@pytest.mark.parametrize("shape", [(32, 32), (64, 192), (200, 200), (256, 1024), (768, 768)])
def test_pure_noise_is_rejected(rng, shape):
    """The bulk of Marchenko & Pastur is bounded; a power law is not."""
    assert not fit_power_law(np.linalg.svd(rng.standard_normal(shape), compute_uv=False)).fits


@pytest.mark.parametrize("sample", ["random", "exponential", "standard_normal"])
def test_other_laws_are_rejected_at_the_size_of_a_layer(rng, sample):
    values = np.sort(np.abs(getattr(rng, sample)(size=768)))[::-1]
    assert not fit_power_law(values).fits


def test_a_power_law_head_over_a_bulk_is_found():
    """The head of a quarter is a law, the rest noise of nearly one size: the fit ends where the law does."""
    head = np.arange(1.0, 201) ** -1.0
    bulk = np.linspace(head[-1], 0.98 * head[-1], 300)[1:]
    fit = fit_power_law(np.concatenate([head, bulk]))
    assert fit.n_values < 230
    assert fit.exponent == pytest.approx(1.0, abs=0.1)


@settings(max_examples=25)
@given(st.floats(-290, 290), st.integers(16, 60), st.integers(0, 2**32 - 1))
def test_the_scale_does_not_matter(power, count, seed):
    values = np.sort(np.random.default_rng(seed).random(count) + 0.01)[::-1]
    one, other = fit_power_law(values), fit_power_law(values * 10.0**power)
    assert one.n_values == other.n_values
    assert other.exponent == pytest.approx(one.exponent, rel=1e-9)
    assert other.p_value == one.p_value


@settings(max_examples=25)
@given(st.floats(0.1, 5.0), st.integers(16, 60), st.integers(0, 2**32 - 1))
def test_a_power_of_the_values_multiplies_the_exponent_and_keeps_the_verdict(power, count, seed):
    values = np.sort(np.random.default_rng(seed).random(count) + 0.1)[::-1]
    one, other = fit_power_law(values), fit_power_law(values**power)
    assert other.exponent == pytest.approx(power * one.exponent, rel=1e-9)
    assert other.interval == pytest.approx([power * edge for edge in one.interval], rel=1e-9)
    assert other.p_value == one.p_value


def test_it_is_deterministic(rng):
    values = np.sort(rng.random(100))[::-1]
    assert fit_power_law(values) == fit_power_law(values.copy())


def test_zeros_and_rounding_noise_are_left_out():
    values = np.arange(1.0, 41) ** -1.0
    alone = fit_power_law(values)
    assert fit_power_law(np.concatenate([values, np.zeros(20)])) == alone
    assert fit_power_law(np.concatenate([values, np.full(20, 1e-17)])) == alone


def test_equal_values_have_exponent_zero_and_no_law():
    fit = fit_power_law(np.ones(50))
    assert (fit.exponent, fit.interval, fit.fits) == (0.0, (0.0, 0.0), False)
    assert fit.density_exponent == float("inf")
    assert (fit.r_squared, fit.r_squared_exponential) == (0.0, 0.0)


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_the_exponent_of_the_density(rng, exponent):
    """s = u^−α with u uniform has eigenvalues s² of density ∝ x^−(1 + 1/2α)."""
    fit = fit_power_law(np.arange(1.0, 1001) ** -exponent)
    assert fit.density_exponent == pytest.approx(1 + 1 / (2 * fit.exponent))
    eigenvalues = rng.random(200_000) ** (-2 * exponent)
    thresholds = np.array([4.0, 400.0])
    survival = (eigenvalues[:, None] > thresholds).mean(axis=0)
    slope = np.diff(np.log(survival))[0] / np.diff(np.log(thresholds))[0]
    assert 1 - slope == pytest.approx(fit.density_exponent, rel=0.03)


@pytest.mark.parametrize("count", [1, 5, MIN_VALUES - 1])
def test_too_few_values(count):
    with pytest.raises(InputError, match=rf"{count} positive singular values are too few") as caught:
        fit_power_law(np.concatenate([np.arange(1.0, count + 1)[::-1], np.zeros(100)]))
    assert "at least 16" in caught.value.hint


@pytest.mark.parametrize(
    ("values", "message"),
    [(np.zeros(50), "0 positive singular values"), (np.arange(20.0), "non-increasing"), ([np.nan] * 20, "NaN")],
)
def test_bad_values(values, message):
    with pytest.raises(InputError, match=message):
        fit_power_law(values)


def test_table():
    frame = fit_power_law(np.arange(1.0, 41) ** -1.0).to_frame()
    assert len(frame) == 1
    assert bool(frame["fits"].iloc[0])
    assert {"exponent", "interval", "p_value", "ks_distance"} <= set(frame.columns)
