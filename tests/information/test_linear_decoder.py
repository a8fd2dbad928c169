from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ortho_group

from tests.information.covariances import random_covariance
from theorykit.errors import InputError, NonFiniteError
from theorykit.information import (
    gaussian_mutual_information,
    linear_decoder_information_bound,
    rate_distortion,
    water_level,
)
from theorykit.information.estimators.decoder import tangent_bound


def halves(teacher: np.ndarray, student: np.ndarray, train: int) -> tuple[np.ndarray, ...]:
    return teacher[:train], student[:train], teacher[train:], student[train:]


def isotropic_states(rng: np.random.Generator, count: int, size: int, rho: float) -> tuple[np.ndarray, np.ndarray]:
    teacher, noise = rng.standard_normal((2, count, size))
    return teacher, rho * teacher + np.sqrt(1 - rho**2) * noise


@pytest.mark.parametrize("seed", range(5))
def test_the_tangent_lies_below_and_touches(seed):
    rng = np.random.default_rng(seed)
    variances = rng.exponential(size=6)
    distortion = np.linspace(0.01, 1.2, 40) * variances.sum()
    rates = rate_distortion(variances, distortion)
    for level in np.geomspace(1e-3, 10, 30):
        assert (tangent_bound(variances, distortion, level) <= rates + 1e-12).all()
    for one in distortion[distortion < variances.sum()]:
        level = water_level(variances, one)
        assert tangent_bound(variances, one, level) == pytest.approx(rate_distortion(variances, one), abs=1e-12)


def test_the_tangent_is_concave_in_the_covariance(rng):
    for _ in range(200):
        first, second = random_covariance(rng, 4), random_covariance(rng, 4) * rng.exponential()
        level = rng.exponential()
        ends = [tangent_bound(np.linalg.eigvalsh(part), 1.0, level) for part in (first, second)]
        middle = tangent_bound(np.linalg.eigvalsh((first + second) / 2), 1.0, level)
        assert middle >= np.mean(ends) - 1e-12


@pytest.mark.parametrize("rho", [0.3, 0.8, 0.99])
def test_the_isotropic_model_meets_it(rng, rho):
    """Equality up to sampling: 20 000 rows a half, whatever rotation and scale the student has."""
    teacher, student = isotropic_states(rng, 40_000, 4, rho)
    student = 1000.0 * student @ ortho_group.rvs(4, random_state=rng) + 7.0
    found = linear_decoder_information_bound(*halves(teacher, student, 20_000), ridge=1e-6)
    information = -2 * np.log(1 - rho**2)
    assert found.information == pytest.approx(information, abs=0.05)
    assert found.interval[0] < information < found.interval[1]
    assert found.distortion == pytest.approx(4 * (1 - rho**2), rel=0.03)
    assert found.rate_distortion == pytest.approx(found.information, abs=0.01)


@pytest.mark.parametrize("rho", [0.3, 0.9])
def test_the_interval_covers_the_tangent_at_the_true_covariance_and_error(rng, rho):
    """Budget: 300 repetitions with one decoder refitted each time; 95 % less two standard errors is 92.5 %."""
    covered = below = 0
    for _ in range(300):
        teacher, student = isotropic_states(rng, 800, 2, rho)
        found = linear_decoder_information_bound(*halves(teacher, student, 400), ridge=0.0)
        covered += found.interval[0] < -np.log(1 - rho**2) < found.interval[1]
        below += found.interval[0] < -np.log(1 - rho**2)
    assert covered >= 0.92 * 300
    assert below >= 0.955 * 300


@pytest.mark.parametrize("rows", [12, 40, 200])
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.95])
def test_on_average_it_is_at_most_the_information_at_any_sample_size(rng, rho, rows):
    """Budget: 150 repetitions at 8 dimensions, fewer rows than dimensions of the pair included; 3 standard errors."""
    axes = np.linspace(0.2, 2.0, 8)
    found = []
    for _ in range(150):
        teacher, student = isotropic_states(rng, 2 * rows, 8, rho)
        found.append(linear_decoder_information_bound(*halves(teacher * axes, student, rows), ridge=0.1).information)
    margin = 3 * np.std(found) / np.sqrt(len(found))
    assert np.mean(found) <= -4 * np.log(1 - rho**2) + margin


def test_it_converges_to_the_rate_distortion_function_of_the_decoders_error(rng):
    covariance = random_covariance(rng, 6)
    both = rng.standard_normal((60_000, 6)) @ np.linalg.cholesky(covariance).T
    found = linear_decoder_information_bound(*halves(both[:, :3], both[:, 3:], 30_000), ridge=0.0)
    cross = covariance[:3, 3:]
    error = np.trace(covariance[:3, :3] - cross @ np.linalg.solve(covariance[3:, 3:], cross.T))
    expected = rate_distortion(np.linalg.eigvalsh(covariance[:3, :3]), error)
    assert found.information == pytest.approx(expected, abs=0.05)
    assert found.information < gaussian_mutual_information(covariance, 3)


def test_it_holds_for_a_student_that_is_not_gaussian(rng):
    """H_s = sign(H_t): I = log 2 per coordinate; the best linear decoder leaves 1 − 2/π of the variance."""
    teacher = rng.standard_normal((20_000, 3))
    found = linear_decoder_information_bound(*halves(teacher, np.sign(teacher), 10_000))
    assert found.information == pytest.approx(-1.5 * np.log(1 - 2 / np.pi), abs=0.03)
    assert found.information < 3 * np.log(2)


def test_it_does_not_hold_for_a_teacher_that_is_not_gaussian(rng):
    """H_t = ±1 with a little noise, H_s its sign: I ≤ log 2."""
    signs = np.sign(rng.standard_normal((2000, 1)))
    teacher = signs + 1e-3 * rng.standard_normal((2000, 1))
    assert linear_decoder_information_bound(*halves(teacher, signs, 1000), ridge=0.0).information > 4 * np.log(2)


def test_an_unrelated_student_gives_about_nothing(rng):
    teacher, student = rng.standard_normal((2, 2000, 5))
    found = linear_decoder_information_bound(*halves(teacher, student, 1000))
    assert -0.2 < found.information <= 0
    assert found.rate_distortion < 0.01
    shuffled = linear_decoder_information_bound(*halves(teacher, rng.permutation(teacher), 1000))
    assert -0.2 < shuffled.information <= 0


def test_an_exact_copy_is_finite_and_large(rng):
    teacher = rng.standard_normal((400, 5))
    found = linear_decoder_information_bound(*halves(teacher, -3 * teacher, 200), ridge=0.0)
    assert 60 < found.information < 120


def test_the_left_out_error_is_that_of_refitting(rng):
    """The closed form of the leave-one-out error behind the level, against N fits (offset refitted, ridge 0)."""
    teacher, student = isotropic_states(rng, 12, 2, 0.7)
    errors = []
    for row in range(12):
        keep = np.arange(12) != row
        design = np.column_stack([np.ones(11), student[keep]])
        fit = np.linalg.lstsq(design, teacher[keep], rcond=None)[0]
        errors.append(((teacher[row] - np.r_[1.0, student[row]] @ fit) ** 2).sum())
    found = linear_decoder_information_bound(teacher, student, teacher[::-1], student[::-1], ridge=0.0)
    expected = water_level(np.linalg.eigvalsh(np.cov(teacher.T)), np.mean(errors))
    assert found.water_level == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("ridge", [0.0, 0.01, 3.0])
def test_the_decoder_is_the_penalised_least_squares_fit(rng, ridge):
    """Against lstsq with one more row of sqrt(penalty) per coordinate; the unit of the student does not matter."""
    teacher, student = isotropic_states(rng, 60, 3, 0.6)
    train, centre = student[:30], student[:30].mean(axis=0)
    penalty = np.sqrt(ridge * 30 * train.var(axis=0).mean()) * np.eye(3)
    target = np.vstack([teacher[:30] - teacher[:30].mean(axis=0), np.zeros((3, 3))])
    weights = np.linalg.lstsq(np.vstack([train - centre, penalty]), target, rcond=None)[0]
    errors = ((teacher[30:] - teacher[:30].mean(axis=0) - (student[30:] - centre) @ weights) ** 2).sum(axis=1)
    for unit in (1.0, 1e5):
        found = linear_decoder_information_bound(*halves(teacher, unit * student, 30), ridge=ridge)
        assert found.distortion == pytest.approx(errors.mean(), rel=1e-9)


def test_the_fields_belong_together(rng):
    teacher, student = isotropic_states(rng, 90, 3, 0.9)
    found = linear_decoder_information_bound(*halves(teacher, student[:, :2], 40), ridge=0.5)
    assert (found.n_train, found.n_test, found.ridge) == (40, 50, 0.5)
    assert found.teacher_variance == pytest.approx(np.cov(teacher[40:].T).trace())
    assert found.distortion_interval[0] < found.distortion < found.distortion_interval[1]
    assert found.interval[0] < found.information < found.interval[1]
    assert found.information <= found.rate_distortion
    assert len(found.to_frame()) == 1


GOOD = np.arange(12.0).reshape(6, 2) ** 2
REFUSED = [
    ((GOOD, GOOD[:5], GOOD, GOOD), "teacher_train has 6 rows and student_train has 5"),
    ((GOOD, GOOD, GOOD, GOOD[:5]), "teacher_test has 6 rows and student_test has 5"),
    ((GOOD, GOOD, GOOD[:1], GOOD[:1]), "at least 2|1 rows"),
    ((GOOD, GOOD, GOOD[:, :1], GOOD), "teacher_train has 2 columns and teacher_test has 1"),
    ((GOOD, GOOD, GOOD, GOOD[:, :1]), "student_train has 2 columns and student_test has 1"),
    ((np.ones((6, 2)), GOOD, GOOD, GOOD), "teacher is constant"),
    ((GOOD, GOOD, np.ones((6, 2)), GOOD), "teacher is constant"),
    ((GOOD, GOOD[:, :1] * [1.0, 2.0], GOOD, GOOD), "student_train is linearly dependent with ridge = 0"),
    ((GOOD, np.ones((6, 2)), GOOD, GOOD), "linearly dependent"),
    ((GOOD[0], GOOD, GOOD, GOOD), "shape"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_bad_states(arguments, message):
    with pytest.raises(InputError, match=message):
        linear_decoder_information_bound(*arguments, ridge=0.0)


def test_nan_states_and_bad_ridge():
    with pytest.raises(NonFiniteError, match="student_test holds NaN"):
        linear_decoder_information_bound(GOOD, GOOD, GOOD, GOOD * np.nan)
    with pytest.raises(InputError, match="ridge"):
        linear_decoder_information_bound(GOOD, GOOD, GOOD, GOOD, ridge=-1.0)
