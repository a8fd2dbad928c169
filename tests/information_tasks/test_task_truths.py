from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import gammaln
from scipy.stats import f, trapezoid

from tests.information_tasks.pull_backs import log_ratio
from theorykit.errors import InputError, NonFiniteError
from theorykit.information import gaussian_mutual_information
from theorykit.information.tasks import (
    TASKS,
    additive_uniform_information,
    canonical_information,
    find_task,
    student_information,
)

DENSE = [task for task in TASKS if task.identifier.startswith("multinormal-dense")]
SPARSE = [task for task in TASKS if task.identifier.startswith("multinormal-sparse")]
STUDENT = [task for task in TASKS if task.identifier.startswith("student")]
ADDITIVE = [task for task in TASKS if task.identifier.startswith("1v1-additive")]


def named(task) -> str:
    return task.identifier


def dispersion(task) -> np.ndarray:
    """The covariance or dispersion of a base task, written on its own."""
    size = task.dimensions[0]
    matrix = np.eye(2 * size)
    if task in DENSE:
        return 0.5 * matrix + 0.5
    if task in STUDENT:
        return matrix
    pairs = range(2) if task in SPARSE else range(1)
    for i in pairs:
        matrix[i, size + i] = matrix[size + i, i] = 0.8 if task in SPARSE else 0.75
    return matrix


def student_entropy(dimension: int, degrees: float) -> float:
    """−∫ f log f of a standard t vector over its radius sinh(t): no digamma function in it."""
    log_constant = gammaln((degrees + dimension) / 2) - gammaln(degrees / 2) - dimension / 2 * np.log(degrees * np.pi)
    log_sphere = np.log(2) + dimension / 2 * np.log(np.pi) - gammaln(dimension / 2)

    def integrand(t: float) -> float:
        log_f = log_constant - (degrees + dimension) / 2 * np.log1p(np.sinh(t) ** 2 / degrees)
        return -np.exp(log_sphere + (dimension - 1) * np.log(np.sinh(t)) + log_f) * np.cosh(t) * log_f

    return quad(integrand, 1e-12, 50, epsabs=1e-12, epsrel=1e-10, limit=500)[0]


@pytest.mark.parametrize(("degrees", "first", "second"), [(1, 1, 1), (1, 2, 2), (2, 3, 3), (3, 5, 5), (2.5, 1, 4)])
def test_student_information_against_entropies_by_integration(degrees, first, second):
    expected = (
        student_entropy(first, degrees) + student_entropy(second, degrees) - student_entropy(first + second, degrees)
    )
    assert student_information(degrees, first, second) == pytest.approx(expected, abs=1e-8)


def test_student_information_of_one_dimension_by_a_sum_over_the_plane():
    """In the coordinates of arsinh, where the Cauchy law has thin tails: the trapezium rule is exact to 1e-9."""
    grid, step = np.linspace(-40, 40, 801, retstep=True)
    x, y = np.meshgrid(np.sinh(grid), np.sinh(grid))
    joint = 1 / (2 * np.pi * (1 + x**2 + y**2) ** 1.5)
    margins = 1 / (np.pi**2 * (1 + x**2) * (1 + y**2))
    weight = np.cosh(grid)[:, None] * np.cosh(grid)
    information = (joint * weight * np.log(joint / margins)).sum() * step**2
    assert find_task("asinh-student-identity-1-1-1").information == pytest.approx(information, abs=1e-9)
    assert information == pytest.approx(np.log(8 * np.pi) - 3, abs=1e-9)


@given(st.floats(0.3, 200), st.integers(1, 60), st.integers(1, 60))
def test_student_information_is_symmetric_positive_and_grows_with_the_dimension(degrees, first, second):
    found = student_information(degrees, first, second)
    assert found > 0
    assert found == pytest.approx(student_information(degrees, second, first), abs=1e-11)
    assert found < student_information(degrees, first + 1, second)
    assert found > student_information(degrees * 1.1, first, second)
    assert student_information(degrees, first, second, 0.7) == pytest.approx(found + 0.7)


def test_student_information_falls_like_the_inverse_square_of_the_degrees():
    assert student_information(1e4, 3, 4) == pytest.approx(3 * 4 / (2 * 1e8), rel=2e-3)


def test_arrays_in_arrays_out():
    table = student_information([[1.0], [2.0]], [1, 2, 3], 2)
    assert table.shape == (2, 3)
    assert table[1, 2] == student_information(2.0, 3, 2)
    assert additive_uniform_information(np.ones((2, 3))).shape == (2, 3)
    assert canonical_information([[0.6, 0.8], [0.0, 0.0]]).tolist() == [canonical_information([0.6, 0.8]), 0.0]
    assert canonical_information(0.6) == pytest.approx(np.log(1.25))


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.4, 0.5, 0.6, 0.75, 3.0])
def test_additive_information_against_the_entropy_by_integration(noise):
    """h(Y) − log 2ε, the density of Y from scipy's trapezoid."""
    low, wide = -noise, 1 + 2 * noise
    corner = min(1, 2 * noise) / wide
    law = trapezoid(corner, 1 - corner, loc=low, scale=wide)

    def integrand(y: float) -> float:
        density = law.pdf(y)
        return -density * np.log(density) if density > 0 else 0.0

    corners = low + wide * np.array([0, corner, 1 - corner, 1])
    entropy = sum(quad(integrand, *ends)[0] for ends in pairwise(corners))
    assert additive_uniform_information(noise) == pytest.approx(entropy - np.log(2 * noise), abs=1e-7)


@pytest.mark.parametrize("task", ADDITIVE, ids=named)
def test_additive_information_against_the_log_density_ratio(rng, task):
    noise = float(task.identifier.removeprefix("1v1-additive-"))
    x, y = task.sample(100_000, rng)
    assert np.abs(y - x).max() <= noise
    assert 0 <= x.min() < x.max() <= 1
    density = np.minimum(y + noise, 1) - np.maximum(y - noise, 0)  # 2ε times that of Y
    check_mean(-np.log(density), task.information)


def check_mean(draws: np.ndarray, truth: float) -> None:
    """The mean has to lie within 4 standard errors, which are small enough to see a tenth of the truth missing."""
    error = draws.std() / np.sqrt(draws.size)
    assert draws.mean() == pytest.approx(truth, abs=4 * error)
    assert 0.1 * truth > 5 * error


@pytest.mark.parametrize("task", [TASKS[0], *DENSE, *SPARSE, *STUDENT], ids=named)
def test_base_truths_against_the_log_density_ratio(rng, task):
    """The sampler and the truth at once: E log p(x, y)/(p(x) p(y)) over drawn pairs, densities of scipy."""
    degrees = float(task.identifier.split("-")[-1]) if task in STUDENT else np.inf
    check_mean(log_ratio(task.sample(40_000, rng), dispersion(task), degrees), task.information)


@pytest.mark.parametrize("task", [TASKS[0], *DENSE, *SPARSE], ids=named)
def test_gaussian_samples_have_the_right_covariance(rng, task):
    pairs = np.hstack(task.sample(40_000, rng))
    assert np.abs(np.cov(pairs.T) - dispersion(task)).max() < 5.5 * np.sqrt(2 / 40_000)
    assert np.abs(pairs.mean(axis=0)).max() < 5.5 / np.sqrt(40_000)


@pytest.mark.parametrize("task", STUDENT, ids=named)
def test_student_samples_have_the_right_margins(rng, task):
    """The mean square of k coordinates of a standard t vector follows F with (k, ν) degrees of freedom."""
    degrees = float(task.identifier.split("-")[-1])
    both = np.hstack(task.sample(20_000, rng))
    for quantile in (0.1, 0.5, 0.9):
        below = (both**2).mean(axis=1) < f.ppf(quantile, both.shape[1], degrees)
        assert below.mean() == pytest.approx(quantile, abs=4 * 0.5 / np.sqrt(20_000))


@pytest.mark.parametrize("task", DENSE, ids=named)
def test_dense_truth_from_the_determinant_of_equal_correlations(task):
    """det = (1 − r)^(k−1) (1 + (k − 1) r) of k coordinates with the correlation r = ½."""
    size = task.dimensions[0]
    expected = np.log((1 + (size - 1) / 2) ** 2 / (0.5 * (1 + (2 * size - 1) / 2))) / 2
    assert task.information == pytest.approx(expected, abs=1e-10)


def test_bivariate_normal_truth():
    assert TASKS[0].information == pytest.approx(-np.log(1 - 0.75**2) / 2, abs=1e-12)


@pytest.mark.parametrize("task", SPARSE, ids=named)
def test_two_pair_truth(task):
    assert task.information == pytest.approx(np.log(25 / 9), abs=1e-12)  # −log(1 − 0.64)


def test_canonical_information_against_the_covariance(rng):
    rho = rng.uniform(-0.99, 0.99, 4)
    covariance = np.block([[np.eye(4), np.diag(rho)], [np.diag(rho), np.eye(4)]])
    assert canonical_information(rho) == pytest.approx(gaussian_mutual_information(covariance, 4), rel=1e-12)


@pytest.mark.parametrize("value", [1.0, -1.0, 1.5])
def test_canonical_information_refuses_correlations_that_are_none(value):
    with pytest.raises(InputError, match=rf"correlations = {value:g} lies outside \(-1, 1\)"):
        canonical_information([0.5, value])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1, 1), "degrees_of_freedom = 0 lies outside"),
        ((1, 0, 1), "first_dimension = 0 lies outside"),
        ((1, 1, 1.5), "second_dimension = 1.5 is not a whole number"),
        ((1, 1, 1, -0.1), "gaussian_information = -0.1 lies outside"),
    ],
)
def test_student_information_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        student_information(*arguments)


@pytest.mark.parametrize("function", [additive_uniform_information, canonical_information])
def test_truths_refuse_nan(function):
    with pytest.raises(NonFiniteError, match="nan lies outside"):
        function([0.5, np.nan])
    with pytest.raises(NonFiniteError, match="inf lies outside"):
        student_information(np.inf, 1, 1)


def test_additive_information_refuses_no_noise():
    with pytest.raises(InputError, match="noise = 0 lies outside"):
        additive_uniform_information(0.0)
