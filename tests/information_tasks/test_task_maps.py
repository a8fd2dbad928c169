"""Every map of a published task can be undone: the pairs of its base come back, so that the information is the same."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import norm, rankdata

from tests.information_tasks.pull_backs import (
    uncubed,
    unmixed,
    unrolled,
    unspiralled,
    unwiggled,
    wave_x,
    wave_y,
)
from theorykit.information import gaussian_mutual_information
from theorykit.information.tasks import TASKS, find_task, maps

NORMAL = "1v1-normal-0.75"
X_SPIRAL, Y_SPIRAL = partial(unspiralled, plane=(0, 1)), partial(unspiralled, plane=(1, 2))
BY_PREFIX = {
    "normal_cdf": (ndtri, ndtri),
    "half_cube": (uncubed, uncubed),
    "asinh": (np.sinh, np.sinh),
    "spiral": (X_SPIRAL, Y_SPIRAL),
    "wiggly": (partial(unwiggled, wave=wave_x), partial(unwiggled, wave=wave_y)),
    "swissroll_x": (unrolled, np.copy),
}
MAPPED = [task.identifier for task in TASKS if task.identifier.split("-")[0] in BY_PREFIX]


@pytest.mark.parametrize("identifier", MAPPED)
def test_the_base_comes_back(identifier):
    prefix, base = identifier.split("-", 1)
    task, origin = find_task(identifier), find_task(base)
    seen = task.sample(100, np.random.default_rng(3))
    expected = origin.sample(100, np.random.default_rng(3))
    for side, undo, before in zip(seen, BY_PREFIX[prefix], expected, strict=True):
        assert undo(side) == pytest.approx(before, rel=1e-7, abs=1e-8)
    assert not np.allclose(seen[0][:, :1], expected[0][:, :1])
    assert task.information == origin.information


def test_bimodal_margins_come_back():
    seen = find_task("Bimodal 1 x 1").sample(500, np.random.default_rng(3))
    expected = find_task(NORMAL).sample(500, np.random.default_rng(3))
    assert unmixed(seen[0], (0.3, 0.7), (0, 5)) == pytest.approx(expected[0], abs=1e-8)
    assert unmixed(seen[1], (0.5, 0.5), (-1, 3)) == pytest.approx(expected[1], abs=1e-8)


def test_every_task_that_is_no_base_is_undone_here():
    bases = ("1v1-normal", "1v1-additive", "student", "multinormal")
    others = {task.identifier for task in TASKS if not task.identifier.startswith(bases)}
    assert others == {*MAPPED, "1v1-bimodal-0.75"}
    assert len(others) == 21


@pytest.mark.parametrize(
    "increasing",
    [
        maps.half_cube,
        maps.normal_cdf,
        partial(maps.mixture_quantile, weights=(0.3, 0.7), means=(0.0, 5.0)),
        partial(maps.mixture_quantile, weights=(0.5, 0.5), means=(-1.0, 3.0)),
        *find_task(f"wiggly-{NORMAL}").sampler.keywords["maps"],
        partial(maps.heavy_tails, tail=0.3, scale=np.ones(1)),
    ],
)
def test_maps_of_one_coordinate_increase(increasing):
    assert (np.diff(increasing(np.linspace(-7, 7, 5001)[:, None]), axis=0) > 0).all()


def test_mixture_quantiles_reach_the_tails():
    scores = np.array([[-9.0], [-5.0], [5.0], [9.0]])
    found = maps.mixture_quantile(scores, weights=(0.5, 0.5), means=(-1.0, 3.0))
    below = (norm.logcdf(found, loc=-1) + np.log(0.5))[:2]  # the other half is too far off to count
    above = (norm.logsf(found, loc=3) + np.log(0.5))[2:]
    assert below == pytest.approx(norm.logcdf(scores[:2]), rel=1e-6)
    assert above == pytest.approx(norm.logsf(scores[2:]), rel=1e-6)


def normal_scores(side: np.ndarray) -> np.ndarray:
    return ndtri(rankdata(side, axis=0) / (len(side) + 1))


@pytest.mark.parametrize("task", [task for task in TASKS if task.gaussian_copula], ids=lambda task: task.identifier)
def test_normal_scores_of_a_gaussian_copula_hold_the_information(rng, task):
    """Budget: 10 000 pairs; 4 first-order standard errors √(d/N) at most, after the bias d_x d_y/(2N)."""
    pairs = task.sample(10_000, rng)
    covariance = np.cov(np.hstack([normal_scores(side) for side in pairs]).T)
    found = gaussian_mutual_information(covariance, task.dimensions[0]) - np.prod(task.dimensions) / 20_000
    assert found == pytest.approx(task.information, abs=0.06)


@pytest.mark.parametrize(
    "task",
    [task for task in TASKS if not task.gaussian_copula and "additive" not in task.identifier],
    ids=lambda task: task.identifier,
)
def test_normal_scores_of_another_copula_lose_information(rng, task):
    pairs = task.sample(10_000, rng)
    covariance = np.cov(np.hstack([normal_scores(side) for side in pairs]).T)
    found = gaussian_mutual_information(covariance, task.dimensions[0]) - np.prod(task.dimensions) / 20_000
    assert found < task.information - 0.04
