from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group

from tests.information.covariances import random_covariance
from theorykit.errors import InputError, NonFiniteError
from theorykit.information import (
    gaussian_mutual_information,
    gaussian_mutual_information_from_samples,
    plug_in_bias,
)


def draws(rng: np.random.Generator, covariance: np.ndarray, count: int, split: int) -> tuple[np.ndarray, np.ndarray]:
    both = rng.standard_normal((count, covariance.shape[0])) @ np.linalg.cholesky(covariance).T
    return both[:, :split], both[:, split:]


@pytest.mark.parametrize(("count", "size", "split"), [(8, 4, 1), (12, 6, 3), (40, 9, 2), (200, 20, 10)])
def test_the_exact_bias_against_a_simulation(rng, count, size, split):
    """Budget: 800 repetitions; the mean of Î has to lie within 4 of its standard errors of I + bias."""
    covariance = random_covariance(rng, size)
    samples = (np.hstack(draws(rng, covariance, count, split)) for _ in range(800))
    plug_ins = [gaussian_mutual_information(np.cov(rows, rowvar=False), split) for rows in samples]  # no intervals
    expected = gaussian_mutual_information(covariance, split) + plug_in_bias(count, split, size - split)
    error = np.std(plug_ins) / np.sqrt(len(plug_ins))
    assert np.mean(plug_ins) == pytest.approx(expected, abs=4 * error)
    assert plug_in_bias(count, split, size - split) > 6 * error  # so that no bias at all, or half of it, would show


@pytest.mark.parametrize("dependent", [True, False])
@pytest.mark.parametrize("count", [12, 60, 400])
def test_the_interval_covers(rng, count, dependent):
    covariance = random_covariance(rng, 6) if dependent else np.eye(6)
    truth = gaussian_mutual_information(covariance, 3)
    covered = 0
    for _ in range(400):
        low, high = gaussian_mutual_information_from_samples(*draws(rng, covariance, count, 3)).interval
        covered += low <= truth <= high
    assert covered >= 0.93 * 400  # 95 % less two standard errors


def test_the_bias_of_the_papers_own_size():
    """d = 768 on both sides: more than the 1.2 nats that the paper reports as an effect, up to N = 246 000."""
    assert plug_in_bias(100_000, 768, 768) > 1.2
    assert plug_in_bias(240_000, 768, 768, leading_order=True) > 1.2


def test_the_fields_belong_together(rng):
    covariance = random_covariance(rng, 5)
    teacher, student = draws(rng, covariance, 50, 2)
    found = gaussian_mutual_information_from_samples(teacher, student)
    assert (found.n_samples, found.dimensions, found.shrinkage) == (50, (2, 3), 0.0)
    assert found.information == pytest.approx(
        gaussian_mutual_information(np.cov(np.hstack([teacher, student]).T, bias=True), 2)
    )
    assert found.corrected == found.information - found.bias
    assert found.bias == plug_in_bias(50, 2, 3)
    assert found.interval[0] < found.corrected < found.interval[1]
    assert len(found.to_frame()) == 1


def test_counterexample_5_from_samples(rng):
    teacher = rng.standard_normal((200, 6)) * np.geomspace(1, 100, 6)
    rotation = ortho_group.rvs(6, random_state=rng)
    for student in (teacher @ rotation.T, 2 * teacher, teacher + 5.0):
        assert gaussian_mutual_information_from_samples(teacher, student).information == float("inf")
        assert ((teacher - student) ** 2).sum(axis=1).mean() > 25


def test_shrinkage_allows_fewer_samples_than_dimensions_and_never_raises_the_value(rng):
    teacher, student = rng.standard_normal((2, 5, 8))
    values = [
        gaussian_mutual_information_from_samples(teacher, student, shrinkage=weight) for weight in (0.01, 0.1, 0.5, 1.0)
    ]
    assert [value.information for value in values] == sorted((value.information for value in values), reverse=True)
    assert values[-1].information == 0.0
    assert (values[0].bias, values[0].corrected, values[0].interval) == (None, None, None)


def test_tensors_are_taken(rng):
    teacher, student = rng.standard_normal((2, 30, 2))
    assert gaussian_mutual_information_from_samples(torch.from_numpy(teacher), torch.from_numpy(student)) == (
        gaussian_mutual_information_from_samples(teacher, student)
    )


@pytest.mark.parametrize(
    ("teacher", "student", "message"),
    [
        (np.zeros((5, 1)), np.zeros((4, 1)), "teacher has 5 rows and student has 4"),
        (np.zeros((1, 1)), np.zeros((1, 1)), "teacher has 1 rows"),
        (np.zeros((4, 2)), np.zeros((4, 2)), "4 samples are too few for 4 dimensions"),
        (np.zeros((9, 1)), np.arange(9.0)[:, None], "variance 0, not above 0"),
        (np.arange(9.0)[:, None] * [1.0, 2.0], np.arange(9.0)[:, None] ** 2, "teacher block of covariance is singular"),
        (np.zeros(9), np.zeros((9, 1)), "shape"),
    ],
)
def test_bad_samples(teacher, student, message):
    with pytest.raises(InputError, match=message):
        gaussian_mutual_information_from_samples(teacher, student)


def test_nan_samples():
    with pytest.raises(NonFiniteError, match="student holds NaN"):
        gaussian_mutual_information_from_samples(np.zeros((9, 1)), np.full((9, 1), np.nan))


def test_bad_shrinkage(rng):
    teacher, student = rng.standard_normal((2, 9, 1))
    with pytest.raises(InputError, match="shrinkage"):
        gaussian_mutual_information_from_samples(teacher, student, shrinkage=-1)


@pytest.mark.parametrize(("size", "count", "correlation"), [(20, 200, 0.2), (30, 300, 0.3), (20, 200, 0.6)])
def test_the_interval_is_not_too_wide_at_a_tenth_as_many_dimensions_as_samples(rng, size, count, correlation):
    """Budget: 200 draws. With Σ ρ̂² not cleared of its bias the first two covered 98.5 and 99.5 %."""
    truth = -size / 2 * np.log1p(-(correlation**2))
    covered = 0
    for _ in range(200):
        teacher, noise = rng.standard_normal((2, count, size))
        student = correlation * teacher + np.sqrt(1 - correlation**2) * noise
        low, high = gaussian_mutual_information_from_samples(teacher, student).interval
        covered += low <= truth <= high
    assert 0.90 * 200 <= covered <= 0.98 * 200
