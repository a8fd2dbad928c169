from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import nbinom, norm, poisson

from theorykit.information.estimators.neighbours import ksg_estimate
from theorykit.information.tasks.further import further_tasks, second_tasks

TASKS = {task.identifier: task for task in (*further_tasks(), *second_tasks())}


def drawn(identifier: str, count: int = 20_000):
    return TASKS[identifier].information, *TASKS[identifier].sample(count, np.random.default_rng([3, count]))


@pytest.mark.parametrize("identifier", TASKS)
def test_every_task_draws_what_it_says(identifier):
    task = TASKS[identifier]
    x, y = task.sample(50, np.random.default_rng(0))
    assert (x.shape, y.shape) == ((50, task.dimensions[0]), (50, task.dimensions[1]))
    assert np.isfinite(x).all()
    assert np.isfinite(y).all()
    again = task.sample(50, np.random.default_rng(0))
    np.testing.assert_array_equal(again[0], x)


@pytest.mark.parametrize(
    "identifier",
    [
        "two-shared-clusters-1-1",
        "three-shared-clusters-1-1",
        "correlation-of-either-sign-1-1",
        "sum-of-two-exponentials-1-1",
        "clayton-copula-1-1",
        "three-turns-of-a-circle-1-1",
        "disc-1-1",
        "triangle-1-1",
        "exponential-of-a-gamma-rate-1-1",
        "ring-1-1",
        "sum-of-two-laplace-1-1",
    ],
)
def test_neighbours_find_the_truth_of_one_column_each(identifier):
    truth, x, y = drawn(identifier)
    assert ksg_estimate(x, y).information == pytest.approx(truth, abs=0.03)


def test_labels_counts_and_rounded_values_by_the_mean_of_their_log_ratio():
    """I = E log p(y | x)/p(y), drawn: three standard errors."""
    means = np.array([0.0, 1.5, 3.0, 4.5, 6.0])
    truth, x, y = drawn("five-labels-and-a-score-1-1")
    labels = np.log(norm.pdf(y - means[x.astype(int)]) / norm.pdf(y - means).mean(axis=1, keepdims=True))
    assert labels.mean() == pytest.approx(truth, abs=3 * labels.std() / np.sqrt(labels.size))
    truth, x, y = drawn("counts-1-1")
    counts = poisson.logpmf(y, 3 * x) - nbinom.logpmf(y, 2, 1 / 4)
    assert counts.mean() == pytest.approx(truth, abs=3 * counts.std() / np.sqrt(counts.size))
    truth, x, y = drawn("rounded-normal-1-1")

    def inside(centre, spread):
        return norm.cdf(y + 0.5, centre, spread) - norm.cdf(y - 0.5, centre, spread)

    rounded = np.log(inside(0.8 * x, 0.6) / inside(0.0, 1.0))
    assert rounded.mean() == pytest.approx(truth, abs=3 * rounded.std() / np.sqrt(rounded.size))


def test_no_two_images_are_alike():
    """Spots and gratings are injective: the latent numbers can be read off them, so that the information stays."""
    _, x, _ = drawn("spot-place-10", 2000)
    _, _, place = drawn("spot-place-10", 2000)
    assert np.unique(x.round(12), axis=0).shape[0] == 2000
    _, wave, _ = drawn("gratings-6", 2000)
    assert np.linalg.matrix_rank(wave - wave.mean(axis=0)) == 2
    assert np.unique(wave.round(9), axis=0).shape[0] == 2000
    assert place.shape == (2000, 2)
