from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import ortho_group

from tests.information.covariances import decoder_error, mapped, random_covariance
from theorykit.errors import InputError, NonFiniteError
from theorykit.information import (
    clone_loss,
    distortion_rate,
    gaussian_differential_entropy,
    gaussian_mutual_information,
    rate_distortion,
    shannon_lower_bound,
    water_level,
)

variances = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=20)


def by_root_finding(values: np.ndarray, distortion: float) -> tuple[float, float]:
    """θ and R by bisection in log θ: the definition, without the closed form."""
    values = np.asarray(values)
    if distortion >= values.sum():
        return float(values.max()), 0.0
    top = np.log(values.max())
    log_level = brentq(
        lambda x: np.minimum(np.exp(x), values).sum() - distortion, top - 60, top, xtol=1e-14, rtol=1e-14
    )
    positive = values[values > 0]
    return float(np.exp(log_level)), float(np.maximum(0, np.log(positive) - log_level).sum() / 2)


@given(variances, st.floats(1e-6, 1.5))
def test_the_closed_form_against_root_finding(values, share):
    distortion = share * sum(values)
    level, rate = by_root_finding(np.array(values), distortion)
    assert water_level(values, distortion) == pytest.approx(level, rel=1e-9)
    assert rate_distortion(values, distortion) == pytest.approx(rate, rel=1e-8, abs=1e-8)


@given(variances, st.integers(0, 5), st.floats(1e-9, 1.0))
def test_the_level_uses_up_the_distortion_and_zeros_do_not_count(values, zeros, share):
    padded = [0.0] * zeros + values
    distortion = share * sum(values)
    level = water_level(padded, distortion)
    assert np.minimum(level, padded).sum() == pytest.approx(distortion, rel=1e-9)
    assert rate_distortion(padded, distortion) == pytest.approx(rate_distortion(values, distortion), abs=1e-9)


@given(variances, st.lists(st.floats(1e-9, 0.999), min_size=2, max_size=20))
def test_it_falls_and_is_convex_and_does_not_see_order_or_scale(values, shares):
    distortion = np.sort(shares) * sum(values)
    rates = rate_distortion(values, distortion)
    assert (rates >= 0).all()
    assert (np.diff(rates) <= 1e-9).all()
    middle = rate_distortion(values, (distortion[:-1] + distortion[1:]) / 2)
    assert (middle <= (rates[:-1] + rates[1:]) / 2 + 1e-9).all()
    np.testing.assert_allclose(rate_distortion(values[::-1], distortion), rates, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(rate_distortion(1e20 * np.array(values), 1e20 * distortion), rates, rtol=1e-9, atol=1e-9)


@given(variances, st.floats(0.0, 60.0))
def test_the_inverse(values, rate):
    distortion = distortion_rate(values, rate)
    assert 0 < distortion <= sum(values) * (1 + 1e-12)
    assert rate_distortion(values, distortion) == pytest.approx(rate, abs=1e-7)


@given(variances, st.floats(1e-9, 1.0))
def test_the_inverse_the_other_way(values, share):
    distortion = share * sum(values)
    assert distortion_rate(values, rate_distortion(values, distortion)) == pytest.approx(distortion, rel=1e-7)


def test_zeros_in_the_inverse():
    np.testing.assert_allclose(
        distortion_rate([0.0, 4.0, 0.0, 1.0], [0.0, 0.3, 9.0]), distortion_rate([4.0, 1.0], [0.0, 0.3, 9.0])
    )


def test_the_slope_is_minus_half_over_the_level():
    """dR/dD = −1/(2θ), by differences, away from and at the kinks of the level."""
    values, distortion, step = [4.0, 1.0, 0.25], np.array([0.1, 0.75, 1.0, 2.25, 4.0]), 1e-6
    slope = (rate_distortion(values, distortion + step) - rate_distortion(values, distortion - step)) / (2 * step)
    np.testing.assert_allclose(slope, -1 / (2 * water_level(values, distortion)), rtol=1e-5)


@pytest.mark.parametrize("dimension", [1, 7, 4096])
def test_an_isotropic_source(dimension):
    share = np.array([1e-9, 0.1, 0.5, 1.0])
    rates = rate_distortion(np.full(dimension, 3.0), 3.0 * dimension * share)
    np.testing.assert_allclose(rates, -dimension / 2 * np.log(share), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3)])
def test_shapes(rng, shape):
    distortion = rng.random(shape) + 0.1
    for function in (rate_distortion, water_level, distortion_rate):
        found = function([2.0, 1.0], distortion)
        assert np.shape(found) == shape
        assert isinstance(found, float) == (shape == ())


def test_the_ends():
    assert rate_distortion([1.0, 2.0], [0.0, 3.0, 4.0]).tolist() == [float("inf"), 0.0, 0.0]
    assert rate_distortion([0.0, 0.0], [0.0, 1.0]).tolist() == [0.0, 0.0]
    assert distortion_rate([0.0], 1.0) == 0.0
    assert water_level([1.0, 2.0], [0.0, 3.0, 9.0]).tolist() == [0.0, 2.0, 2.0]
    assert rate_distortion([1e-320], 1.0) == 0.0


def random_coupling(rng: np.random.Generator, size: int) -> np.ndarray:
    """A joint Gaussian law of two d-vectors, from nearly independent to nearly equal."""
    root = rng.standard_normal((2 * size, 2 * size))
    if rng.random() < 0.7:  # close to H_s = H_t
        root[size:] = root[:size] + 10.0 ** rng.uniform(-3, 0.5) * root[size:]
    return root @ root.T


def test_theorem_3_corrected_no_gaussian_coupling_crosses_it(rng):
    """1500 couplings, by the clone loss and by the best decoder's error; the largest ratio shows the effort."""
    largest = 0.0
    for _ in range(1500):
        size = int(rng.integers(1, 5))
        covariance = random_coupling(rng, size)
        information = gaussian_mutual_information(covariance, size)
        teacher = np.linalg.eigvalsh(covariance[:size, :size])
        cloned = rate_distortion(teacher, clone_loss(covariance, size))
        decoded = rate_distortion(teacher, np.trace(decoder_error(covariance, size)))
        assert cloned <= decoded * (1 + 1e-9) + 1e-9
        assert decoded <= information * (1 + 1e-6)
        largest = max(largest, decoded / information)
    assert largest > 0.98


def test_a_source_twice_as_loud_would_be_caught(rng):
    """The search can say no: with R at half the distortion the bound is crossed."""
    crossed = 0
    for _ in range(200):
        covariance = random_coupling(rng, 2)
        teacher = np.linalg.eigvalsh(covariance[:2, :2])
        wrong = rate_distortion(teacher, np.trace(decoder_error(covariance, 2)) / 2)
        crossed += wrong > gaussian_mutual_information(covariance, 2)
    assert crossed > 20


@pytest.mark.parametrize("share", [0.01, 0.2, 0.6, 0.9])
def test_the_backward_channel_meets_it_under_any_map_of_the_student(rng, share):
    """H_t = Ĥ + error with error variances min(θ, λ): I = R(D); directions below the water are not in the student."""
    values, axes = np.array([4.0, 2.0, 1.0, 0.3, 0.1]), ortho_group.rvs(5, random_state=rng)
    distortion = share * values.sum()
    error = np.minimum(values, water_level(values, distortion))
    seen = values > error
    reproduction = (axes[:, seen] * (values - error)[seen]) @ axes[:, seen].T
    teacher = (axes * values) @ axes.T
    map_of_student = rng.standard_normal((seen.sum(), seen.sum())) @ axes[:, seen].T
    covariance = mapped(np.block([[teacher, reproduction], [reproduction, reproduction]]), np.eye(5), map_of_student)
    assert np.trace(decoder_error(covariance, 5)) == pytest.approx(distortion)
    assert gaussian_mutual_information(covariance, 5) == pytest.approx(rate_distortion(values, distortion), rel=1e-9)


def test_isotropic_decoding_meets_it_and_the_bare_clone_loss_does_not():
    rho, size, variance = 0.8, 6, 3.0
    information = -size / 2 * np.log(1 - rho**2)
    assert rate_distortion(np.full(size, variance), size * variance * (1 - rho**2)) == pytest.approx(information)
    assert rate_distortion(np.full(size, variance), 2 * size * variance * (1 - rho)) < information


def test_shannon_meets_the_gaussian_below_its_smallest_variance_and_stays_below_it_above(rng):
    values = np.linalg.eigvalsh(random_covariance(rng, 6))
    entropy = gaussian_differential_entropy(values)
    low = values[0] * 6 * np.array([1e-6, 0.5, 1.0])
    np.testing.assert_allclose(shannon_lower_bound(entropy, 6, low), rate_distortion(values, low), rtol=1e-9)
    high = np.linspace(1.01 * low[-1], 2 * values.sum(), 50)
    assert (shannon_lower_bound(entropy, 6, high) < rate_distortion(values, high)).all()


def test_shannon_holds_for_a_quantised_uniform_source():
    """H uniform on [0, 1], h = 0, told in k equal bins: I = log k, D = 1/(12 k²), ½ log(2πe/12) = 0.18 nats above."""
    bins = np.array([1, 2, 4, 64])
    bound = shannon_lower_bound(0.0, 1, 1 / (12.0 * bins**2))
    np.testing.assert_allclose(np.log(bins) - bound, np.log(2 * np.pi * np.e / 12) / 2, rtol=1e-9)


def test_the_gaussian_value_overshoots_for_a_source_that_is_not_gaussian():
    """H_t = ±1 with noise of variance s, H_s its sign: I ≤ log 2, D ≈ s, and the Gaussian R(D) ≈ ½ log(1/s)."""
    noise = 1e-6
    assert rate_distortion([1.0 + noise], noise) > 9 * np.log(2)
    # h(H_t) = log 2 + ½ log(2πe s) up to e^(−1/s): Shannon's bound with it is met
    entropy = np.log(2) + np.log(2 * np.pi * np.e * noise) / 2
    assert shannon_lower_bound(entropy, 1, noise) == pytest.approx(np.log(2))


def test_the_entropy_of_a_gaussian_is_the_largest():
    assert gaussian_differential_entropy([1 / 12]) > 0.0  # the uniform law of the same variance has h = 0
    assert gaussian_differential_entropy([4.0, 1.0]) == pytest.approx(
        np.log(2) + 2 * gaussian_differential_entropy([1.0])
    )


@pytest.mark.parametrize("function", [rate_distortion, water_level, distortion_rate])
@pytest.mark.parametrize(
    ("values", "argument", "error", "message"),
    [
        ([1.0, -1.0], 1.0, InputError, r"variances = -1 lies outside \[0, inf\)"),
        ([], 1.0, InputError, "variances is empty"),
        ([[1.0]], 1.0, InputError, r"variances has shape \(1, 1\)"),
        (1.0, 1.0, InputError, r"variances has shape \(\)"),
        (["a"], 1.0, InputError, "not made of real numbers"),
        ([1j], 1.0, InputError, "not made of real numbers"),
        ([np.nan], 1.0, NonFiniteError, "variances = nan"),
        ([1.0], [1.0, -0.5], InputError, "= -0.5 lies outside"),
        ([1.0], np.inf, NonFiniteError, "= inf lies outside"),
        ([1.0], [], InputError, "is empty"),
    ],
)
def test_bad_sources_and_distortions(function, values, argument, error, message):
    with pytest.raises(error, match=message):
        function(values, argument)


def test_a_constant_has_no_level_and_no_density():
    with pytest.raises(InputError, match="variances are all 0"):
        water_level([0.0, 0.0], 1.0)
    with pytest.raises(InputError, match="has no density"):
        gaussian_differential_entropy([0.0, 1.0])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((1.0, 1, 0.0), InputError, r"distortion = 0 lies outside \(0, inf\)"),
        ((1.0, 0, 1.0), InputError, "dimension = 0"),
        ((1.0, 1.5, 1.0), InputError, "not a whole number"),
        ((np.nan, 1, 1.0), NonFiniteError, "differential_entropy = nan"),
    ],
)
def test_bad_arguments_of_shannon(arguments, error, message):
    with pytest.raises(error, match=message):
        shannon_lower_bound(*arguments)
