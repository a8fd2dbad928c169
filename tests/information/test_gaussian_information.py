from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, ortho_group

from tests.information.covariances import decoder_error, isotropic, mapped, random_covariance
from theorykit.errors import InputError, NonFiniteError
from theorykit.information import (
    canonical_correlations,
    clone_loss,
    gaussian_mutual_information,
    isotropic_gaussian_mutual_information,
    printed_isotropic_bound,
)

SPLITS = [(2, 1), (5, 1), (5, 2), (6, 3), (9, 7)]


@pytest.mark.parametrize("correlation", [-0.999, -0.5, 0.0, 0.1, 0.9, 1 - 1e-12])
@pytest.mark.parametrize("dimension", [1, 3, 40])
def test_the_isotropic_model_three_ways(correlation, dimension):
    covariance = isotropic(correlation, dimension, variance=7.0)
    expected = -dimension / 2 * np.log((1 - correlation) * (1 + correlation))
    assert isotropic_gaussian_mutual_information(correlation, dimension) == pytest.approx(expected, rel=1e-12, abs=0)
    assert gaussian_mutual_information(covariance, dimension) == pytest.approx(expected, rel=1e-5, abs=1e-12)
    np.testing.assert_allclose(canonical_correlations(covariance, dimension), abs(correlation), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(("size", "split"), SPLITS)
def test_log_determinants_canonical_correlations_and_the_divergence_agree(rng, size, split):
    covariance = random_covariance(rng, size)
    information = gaussian_mutual_information(covariance, split)
    correlations = canonical_correlations(covariance, split)
    assert correlations.shape == (min(split, size - split),)
    assert (np.diff(correlations) <= 0).all()
    assert information == pytest.approx(-np.log1p(-(correlations**2)).sum() / 2, rel=1e-9)
    # eq 24: KL from the joint law to the product of its marginals, both centred
    product = covariance.copy()
    product[:split, split:] = product[split:, :split] = 0.0
    divergence = np.trace(np.linalg.solve(product, covariance)) - size
    divergence += np.linalg.slogdet(product).logabsdet - np.linalg.slogdet(covariance).logabsdet
    assert information == pytest.approx(divergence / 2, rel=1e-9)


def test_the_value_is_the_mean_log_density_ratio(rng):
    """Eq 22 itself, by Monte Carlo: 40 000 draws, standard error sqrt(Σ ρ²/40 000)."""
    covariance = random_covariance(rng, 4)
    draws = rng.multivariate_normal(np.zeros(4), covariance, size=40_000)
    ratio = multivariate_normal(np.zeros(4), covariance).logpdf(draws)
    ratio -= multivariate_normal(np.zeros(2), covariance[:2, :2]).logpdf(draws[:, :2])
    ratio -= multivariate_normal(np.zeros(2), covariance[2:, 2:]).logpdf(draws[:, 2:])
    error = np.sqrt((canonical_correlations(covariance, 2) ** 2).sum() / draws.shape[0])
    assert ratio.std() / 200 == pytest.approx(error, rel=0.05)
    assert ratio.mean() == pytest.approx(gaussian_mutual_information(covariance, 2), abs=4 * error)


@pytest.mark.parametrize(("size", "split"), SPLITS)
def test_invertible_maps_change_nothing(rng, size, split):
    covariance = random_covariance(rng, size)
    moved = mapped(
        covariance,
        1e6 * rng.standard_normal((split, split)),
        1e-6 * rng.standard_normal((size - split, size - split)),
    )
    assert gaussian_mutual_information(moved, split) == pytest.approx(
        gaussian_mutual_information(covariance, split), rel=1e-6
    )
    np.testing.assert_allclose(
        canonical_correlations(moved, split), canonical_correlations(covariance, split), rtol=1e-6
    )


@pytest.mark.parametrize(("size", "split"), SPLITS)
def test_the_sides_are_exchangeable_and_a_lossy_map_never_adds(rng, size, split):
    covariance = random_covariance(rng, size)
    order = np.r_[split:size, :split]
    information = gaussian_mutual_information(covariance, split)
    assert gaussian_mutual_information(covariance[np.ix_(order, order)], size - split) == pytest.approx(information)
    narrower = mapped(covariance, np.eye(split), rng.standard_normal((1, size - split)))
    assert gaussian_mutual_information(narrower, split) <= information + 1e-12


@pytest.mark.parametrize("student", [2.0 * np.eye(4), np.roll(np.eye(4), 1, axis=0), np.diag([1.0, -1e8, 1e-8, 3.0])])
def test_counterexample_5_a_scaled_or_rotated_copy_has_infinite_information_and_a_large_clone_loss(student):
    teacher = np.diag([1.0, 2.0, 3.0, 4.0])
    covariance = mapped(np.kron(np.ones((2, 2)), teacher), np.eye(4), student)
    assert gaussian_mutual_information(covariance, 4) == float("inf")
    assert clone_loss(covariance, 4) == pytest.approx(((student - np.eye(4)) ** 2 @ np.diag(teacher)).sum())
    assert clone_loss(covariance, 4) >= 0.999 * np.trace(teacher)


@pytest.mark.parametrize("size", [1, 2, 5, 20])
def test_rounding_does_not_make_a_noise_free_relation_finite(rng, size):
    for _ in range(20):
        scales = np.geomspace(1, 10 ** rng.uniform(0, 3), size)
        teacher = rng.standard_normal((5 * size + 3, size)) * scales
        covariance = np.cov(np.hstack([teacher, teacher @ rng.standard_normal((size, size))]).T)
        assert gaussian_mutual_information(covariance.reshape(2 * size, 2 * size), size) == float("inf")


def test_one_shared_direction_is_enough_for_infinity(rng):
    """The student sees one combination of the teacher without noise and the others not at all."""
    direction = rng.standard_normal((1, 5))
    covariance = mapped(np.kron(np.ones((2, 2)), random_covariance(rng, 5)), np.eye(5), direction)
    assert gaussian_mutual_information(covariance, 5) == float("inf")
    assert canonical_correlations(covariance, 5) == pytest.approx([1.0])


@pytest.mark.parametrize("noise", [1e-3, 1e-6, 1e-9])
def test_almost_singular_is_large_and_finite(noise):
    """H_s = H_t + noise: I = ½ log(1 + 1/noise)."""
    covariance = [[1.0, 1.0], [1.0, 1.0 + noise]]
    assert gaussian_mutual_information(covariance, 1) == pytest.approx(np.log1p(1 / noise) / 2, rel=1e-6)


@pytest.mark.parametrize(("size", "split"), SPLITS)
def test_shrinkage_is_independent_noise_and_never_raises_the_value(rng, size, split):
    covariance = random_covariance(rng, size)
    weights = [0.0, 1e-6, 1e-3, 0.1, 0.5, 0.9, 1.0]
    values = [gaussian_mutual_information(covariance, split, shrinkage=weight) for weight in weights]
    assert (np.diff(values) < 0).all()
    assert values[-1] == 0.0
    means = [np.diag(covariance)[:split].mean(), np.diag(covariance)[split:].mean()]
    noisy = covariance + np.diag(np.repeat(means, [split, size - split])) * 0.1 / 0.9
    assert values[3] == pytest.approx(gaussian_mutual_information(noisy, split), rel=1e-9)
    rotated = mapped(covariance, 100 * ortho(rng, split), 0.01 * ortho(rng, size - split))
    assert gaussian_mutual_information(rotated, split, shrinkage=0.1) == pytest.approx(values[3], rel=1e-9)


def ortho(rng: np.random.Generator, size: int) -> np.ndarray:
    return ortho_group.rvs(size, random_state=rng) if size > 1 else np.eye(1)


def test_shrinkage_takes_a_singular_block():
    copies = np.ones((4, 4))
    assert gaussian_mutual_information(copies, 2, shrinkage=0.5) > 0


def test_one_gaussian_side_makes_it_a_lower_bound_and_none_makes_it_no_bound():
    """H_s = sign(H_t), H_t normal: ρ² = 2/π and I = log 2. Then H_t = ±1 and H_s = H_t + noise of variance s."""
    root = np.sqrt(2 / np.pi)
    assert gaussian_mutual_information([[1.0, root], [root, 1.0]], 1) < np.log(2)
    assert gaussian_mutual_information([[1.0, 1.0], [1.0, 1.01]], 1) > 3 * np.log(2)


def test_the_divergence_is_half_the_log_ratio_of_determinants():
    """Eqs 24 and 25 by sympy for one coordinate each."""
    s, t, rho = sp.symbols("s t rho", positive=True)
    joint = sp.Matrix([[s**2, rho * s * t], [rho * s * t, t**2]])
    product = sp.diag(s**2, t**2)
    divergence = (sp.trace(product.inv() * joint) - 2 + sp.log(product.det() / joint.det())) / 2
    assert sp.simplify(sp.exp(2 * divergence) - s**2 * t**2 / joint.det()) == 0
    assert sp.simplify(joint.det() / (s**2 * t**2) - (1 - rho**2)) == 0


def test_the_printed_inequality_of_eq_27_is_reversed_between_0_and_1():
    rho = np.linspace(1e-6, 1 - 1e-6, 1001)
    gap = printed_isotropic_bound(rho, 8) - isotropic_gaussian_mutual_information(rho, 8)
    np.testing.assert_allclose(gap, 4 * np.log1p(rho), rtol=1e-9)
    assert (gap > 0).all()
    assert (printed_isotropic_bound(-rho, 8) < isotropic_gaussian_mutual_information(-rho, 8)).all()
    assert (printed_isotropic_bound(-rho, 8) < 0).all()
    assert printed_isotropic_bound(0.0, 8) == isotropic_gaussian_mutual_information(0.0, 8) == 0.0


def test_eq_27_by_sympy():
    rho, d = sp.symbols("rho d", positive=True)
    gap = -d / 2 * sp.log(1 - rho) + d / 2 * sp.log(1 - rho**2)
    assert sp.simplify(sp.exp(2 * gap / d) - (1 + rho)) == 0


@given(st.floats(-1, 1), st.integers(1, 5000))
def test_isotropic_functions_broadcast_and_keep_their_order(correlation, dimension):
    one = isotropic_gaussian_mutual_information(correlation, dimension)
    assert isinstance(one, float)
    assert one >= 0
    grid = isotropic_gaussian_mutual_information([[correlation], [-correlation]], [dimension, 2 * dimension])
    assert grid.shape == (2, 2)
    assert grid[0, 0] == grid[1, 0] == one
    assert grid[0, 1] == pytest.approx(2 * one)


def test_the_ends_of_the_correlation():
    assert isotropic_gaussian_mutual_information([-1.0, 1.0], 3).tolist() == [float("inf")] * 2
    assert printed_isotropic_bound(1.0, 3) == float("inf")
    assert printed_isotropic_bound(-1.0, 2) == pytest.approx(-np.log(2))


def test_the_determinant_form_of_the_error_is_the_information(rng):
    covariance = random_covariance(rng, 7)
    teacher, error = covariance[:3, :3], decoder_error(covariance, 3)
    expected = np.linalg.slogdet(teacher).logabsdet - np.linalg.slogdet(error).logabsdet
    assert gaussian_mutual_information(covariance, 3) == pytest.approx(expected / 2, rel=1e-9)


GOOD = [[1.0, 0.5], [0.5, 1.0]]
REFUSED = [
    (([[1.0, np.nan], [np.nan, 1.0]], 1), "covariance holds NaN"),
    (([[1.0, np.inf], [np.inf, 1.0]], 1), "covariance holds NaN"),
    (([[1.0, 0.5], [0.2, 1.0]], 1), "not symmetric"),
    (([[1.0, 2.0], [2.0, 1.0]], 1), "negative eigenvalue"),
    # indefinite only beside a far larger side
    (([[1e-12, 0.0, 2e-12], [0.0, 1.0, 0.0], [2e-12, 0.0, 1e-12]], 2), "negative eigenvalue"),
    (([[1.0, 0.0]], 1), r"shape \(1, 2\)"),
    (([[0.0, 0.0], [0.0, 1.0]], 1), "variance 0, not above 0"),
    ((np.ones((3, 3)), 2), "teacher block of covariance is singular"),
    ((np.ones((3, 3)), 1), "student block of covariance is singular"),
    ((GOOD, 0), "split = 0"),
    ((GOOD, 2), "split = 2 is above its maximum 1"),
    ((GOOD, 1.5), "not a whole number"),
    (([[1.0]], 1), "split = 1 is above"),
]


@pytest.mark.parametrize("function", [gaussian_mutual_information, canonical_correlations])
@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_what_is_no_covariance_is_refused(function, arguments, message):
    with pytest.raises(InputError, match=message):
        function(*arguments)


@pytest.mark.parametrize("shrinkage", [-0.1, 1.1, np.nan])
def test_shrinkage_outside_the_unit_interval(shrinkage):
    with pytest.raises(InputError, match="shrinkage"):
        gaussian_mutual_information(GOOD, 1, shrinkage=shrinkage)


@pytest.mark.parametrize("function", [isotropic_gaussian_mutual_information, printed_isotropic_bound])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0001, 2), r"correlation = 1.0001 lies outside \[-1, 1\]"),
        (([0.0, -2.0], 2), "correlation = -2"),
        ((0.5, 0), r"dimension = 0 lies outside \[1, inf\)"),
        ((0.5, 1.5), "dimension = 1.5 is not a whole number"),
        ((0.5, True), "dimension is not made of real numbers: True"),
    ],
)
def test_bad_correlations_and_dimensions(function, arguments, message):
    with pytest.raises(InputError, match=message):
        function(*arguments)


@pytest.mark.parametrize("function", [isotropic_gaussian_mutual_information, printed_isotropic_bound])
def test_nan_correlation(function):
    with pytest.raises(NonFiniteError, match="correlation = nan"):
        function([0.1, np.nan], 3)
