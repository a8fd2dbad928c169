from __future__ import annotations

import numpy as np
import pytest

from theorykit.information import mutual_information
from theorykit.information.estimate import Doubt
from theorykit.information.estimators.elliptical import (
    degrees_error,
    distance_warning,
    heavier_tails,
    student_estimate,
    student_fit,
)
from theorykit.information.estimators.pairs import checked_pair
from theorykit.information.tasks import find_task, hidden_state_task
from theorykit.information.tasks.truths import student_information


def student_rows(seed: int, count: int, scatter, degrees: float):
    rng = np.random.default_rng([seed, 11])
    rows = rng.standard_normal((count, len(scatter))) @ np.linalg.cholesky(scatter).T
    return rows / np.sqrt(rng.chisquare(degrees, (count, 1)) / degrees)


SCATTER = np.array([[2.0, 0.6, 0.0], [0.6, 1.0, -0.2], [0.0, -0.2, 0.5]])


@pytest.mark.parametrize("degrees", [0.7, 2.0, 8.0])
def test_the_fit_finds_scatter_and_degrees(degrees):
    fit = student_fit(100.0 + student_rows(0, 20_000, SCATTER, degrees))
    assert fit.converged
    assert fit.degrees == pytest.approx(degrees, abs=4 * degrees_error(degrees, 3, 20_000))
    np.testing.assert_allclose(fit.factor @ fit.factor.T, SCATTER, atol=0.1)
    np.testing.assert_allclose(fit.centre, 100.0, atol=0.05)


def test_the_fit_is_where_the_likelihood_is_largest():
    rows = student_rows(1, 500, SCATTER, 4.0)
    fit = student_fit(rows)
    best = fit.log_density(rows).sum()
    for change in ({"degrees": 1.05 * fit.degrees}, {"factor": 1.02 * fit.factor}, {"centre": fit.centre + 0.05}):
        assert type(fit)(**{**vars(fit), **change}).log_density(rows).sum() < best
    grid = np.linspace(-60, 60, 4001)
    line = student_fit(rows[:, :1])
    assert np.trapezoid(np.exp(line.log_density(grid[:, None])), grid) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("degrees", "size"), [(2.0, 1), (5.0, 4)])
def test_the_error_of_the_degrees(degrees, size):
    found = [student_fit(student_rows(seed, 1000, np.eye(size), degrees)).degrees for seed in range(60)]
    assert np.std(np.log(found)) == pytest.approx(degrees_error(degrees, size, 1000) / degrees, rel=0.3)


@pytest.mark.parametrize(
    ("name", "count"), [("student-identity-1-1-1", 300), ("student-identity-5-5-2", 1000), ("1v1-normal-0.75", 500)]
)
def test_the_interval_covers(name, count):
    """95 % are promised: of 40 draws fewer than 33 by chance once in 20,000."""
    task = find_task(name)
    found = [student_estimate(*task.sample(count, np.random.default_rng([seed, 5]))) for seed in range(40)]
    assert sum(one.interval[0] <= task.information <= one.interval[1] for one in found) >= 33
    assert np.mean([one.information for one in found]) == pytest.approx(
        task.information, abs=4 * np.mean([one.standard_error for one in found]) / np.sqrt(40)
    )
    assert sum(bool(one.warnings) for one in found) <= 2


@pytest.mark.parametrize(("dimension", "count"), [(64, 1000), (256, 4000)])
def test_hidden_states_with_heavy_tails(dimension, count):
    task = hidden_state_task(dimension, degrees_of_freedom=5.0)
    found = student_estimate(*task.sample(count, np.random.default_rng(1)))
    assert found.information == pytest.approx(task.information, rel=0.1)
    assert found.interval[0] < task.information < found.interval[1]
    assert not found.warnings


@pytest.mark.parametrize(
    "name", ["asinh-student-identity-2-2-1", "1v1-additive-0.1", "spiral-multinormal-sparse-3-3-2-2.0"]
)
def test_other_laws_fail_the_tests_of_fit(name):
    found = student_estimate(*find_task(name).sample(2000, np.random.default_rng(0)))
    assert found.has(Doubt.NOT_GAUSSIAN) or found.has(Doubt.NOT_ELLIPTICAL)


def test_an_elliptical_law_of_other_lengths_is_told():
    """Lengths of two kinds alone: the scatter is right, what the common scale adds is not."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((3000, 6)) * rng.choice([1.0, 5.0], (3000, 1))
    assert distance_warning(student_fit(rows))
    assert not distance_warning(student_fit(student_rows(0, 3000, np.eye(6), 2.0)))


def test_held_out_rows_decide_between_the_laws(rng):
    heavy = student_rows(0, 600, np.eye(4), 4.0)
    assert heavier_tails(checked_pair(heavy[:, :2], heavy[:, 2:])) > 50
    light = rng.standard_normal((600, 4))
    assert heavier_tails(checked_pair(light[:, :2], light[:, 2:])) < 1
    together = heavier_tails(checked_pair(heavy[:, :2], heavy[:, 2:], np.arange(600) // 4))
    assert 10 < together < 50
    assert heavier_tails(checked_pair(light[:8, :2], light[:8, 2:])) is None


def test_sequences_widen_the_interval():
    rows = np.repeat(student_rows(0, 300, SCATTER, 4.0), 8, axis=0)
    rows += 0.01 * np.random.default_rng(0).standard_normal(rows.shape)
    apart, together = (
        mutual_information(rows[:, :1], rows[:, 1:], "student", groups=groups)
        for groups in (None, np.repeat(np.arange(300), 8))
    )
    assert together.standard_error > 2 * apart.standard_error
    truth = student_information(4.0, 1, 2, -np.log(1 - 0.36 / 2 / (1 - 0.04 / 0.5)) / 2)
    assert together.interval[0] < truth < together.interval[1]


def test_what_it_cannot_do_is_a_record(rng):
    x = rng.standard_normal((50, 30))
    assert "too few" in student_estimate(x, rng.standard_normal((50, 30))).failure
    assert student_estimate(np.c_[x[:, :1], x[:, :1]], x[:, 1:2]).information is None
    assert student_estimate(x[:, :2], x[:, :2] @ [1.0, 2.0]).information is None
