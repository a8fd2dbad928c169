from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln

from theorykit.errors import InputError
from theorykit.models.model_spectra import bundled_spectra
from theorykit.spectra import fit_power_law
from theorykit.spectra.decay import MIN_VALUES, rounding_tail
from theorykit.spectra.kernels import spectrum

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


def stored(rank, dtype, shape=(256, 192), power=0.7, seed=0):
    """Singular values of a matrix of exact rank whose numbers were rounded to a type that checkpoints have."""
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(shape[0], rank, generator=generator, dtype=torch.float64) * torch.arange(1, rank + 1) ** -power
    return spectrum((left @ torch.randn(rank, shape[1], generator=generator, dtype=torch.float64)).to(dtype))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("rank", "shape"), [(32, (256, 192)), (100, (192, 256)), (180, (192, 192))])
def test_rounding_noise_of_a_stored_matrix_of_low_rank_takes_no_part(rank, shape, dtype):
    values = stored(rank, dtype, shape).singular_values
    fit, alone = fit_power_law(values), fit_power_law(values[:rank])
    assert fit.left_out == (0 if dtype == torch.float64 else pytest.approx(min(shape) - rank, abs=2))
    assert (fit.exponent, fit.interval, fit.n_values) == (alone.exponent, alone.interval, alone.n_values)
    assert alone.left_out == 0


def test_too_few_values_above_rounding_noise():
    with pytest.raises(InputError, match="8 singular values above rounding noise are too few"):
        fit_power_law(stored(8, torch.bfloat16).singular_values)


@pytest.mark.parametrize("exponent", [0.02, 0.5, 2.0, 10.0])
def test_power_laws_keep_their_tail(exponent, rng):
    draws = 500
    lost = sum(rounding_tail(np.exp(exponent * np.sort(rng.standard_exponential(150))[::-1])) > 0 for _ in range(draws))
    assert lost <= 4  # at most 0.5 are expected: more come once in a thousand runs
    assert all(rounding_tail(np.arange(1.0, count + 1) ** -exponent) == 0 for count in (9, 30, 1000))


@pytest.mark.parametrize("shape", [(9, 9), (30, 30), (100, 100), (100, 101), (200, 50)])
def test_the_hard_edge_of_random_matrices_is_no_gap(shape, rng):
    for _ in range(100):
        assert rounding_tail(np.linalg.svd(rng.standard_normal(shape), compute_uv=False)) == 0


@pytest.mark.parametrize(
    "values",
    [
        np.concatenate([np.full(30, 1.0), np.full(30, 0.02)]),  # too large for rounding
        np.concatenate([np.arange(1.0, 53) ** -0.5, np.full(7, 1e-6)]),  # too few
        np.exp(-0.5 * np.arange(60.0)),  # a steep fall everywhere
        np.ones(40),
        np.ones(1),
    ],
)
def test_what_is_no_rounding_noise(values):
    assert rounding_tail(values) == 0


def test_no_fit_of_the_bundled_spectra_leaves_anything_out():
    assert {part.decay.left_out for part in bundled_spectra().layers} == {0}
