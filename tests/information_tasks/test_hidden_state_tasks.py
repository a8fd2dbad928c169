from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy.stats import kurtosis

from tests.information_tasks.pull_backs import log_ratio
from theorykit.errors import InputError, NonFiniteError
from theorykit.information import (
    canonical_correlations,
    gaussian_mutual_information,
    gaussian_mutual_information_from_samples,
)
from theorykit.information.tasks import hidden_state_task, student_information
from theorykit.information.tasks.hidden_states import DEFAULT_CORRELATIONS

SMALL = {"correlations": [0.9, -0.5], "outliers": 1}


def covariance_of(task) -> np.ndarray:
    """The joint covariance of a Gaussian task from its sampler's mixing matrices."""
    rho, (first, second) = task.sampler.keywords["correlations"], task.sampler.keywords["mixing"]
    cross = np.diag(np.r_[rho, np.zeros(len(first) - len(rho))])
    return np.block([[first @ first.T, first @ cross @ second.T], [second @ cross.T @ first.T, second @ second.T]])


@pytest.mark.parametrize("size", [8, 64, 256])
def test_the_truth_against_the_covariance(size):
    """By slogdet of a badly conditioned joint covariance, and by its canonical correlations."""
    task = hidden_state_task(size)
    covariance = covariance_of(task)
    assert task.information == pytest.approx(gaussian_mutual_information(covariance, size), abs=1e-9)
    assert task.information == pytest.approx(3.343, abs=1e-3)
    found = canonical_correlations(covariance, size)
    assert found[:8] == pytest.approx(DEFAULT_CORRELATIONS, abs=1e-9)
    assert found[8:] == pytest.approx(0, abs=1e-6)


def test_the_sampler_has_that_covariance(rng):
    task = hidden_state_task(4, generator=rng, **SMALL)
    pairs = np.hstack(task.sample(200_000, rng))
    expected = covariance_of(task)
    deviations = np.sqrt(np.diagonal(expected))
    error = (np.cov(pairs.T) - expected) / deviations / deviations[:, None]
    assert np.abs(error).max() < 5 * np.sqrt(2 / 200_000)


def test_the_gaussian_estimate_finds_the_truth_at_64(rng):
    """Budget: 5 000 pairs, one draw; 4 standard errors from the interval of the estimator."""
    task = hidden_state_task(64)
    found = gaussian_mutual_information_from_samples(*task.sample(5_000, rng))
    error = (found.interval[1] - found.interval[0]) / 2 / 1.96
    assert found.corrected == pytest.approx(task.information, abs=4 * error)
    assert error < 0.05


@pytest.mark.parametrize("decay", [0.0, 1.0, 1.7])
def test_the_spectrum_is_a_power_law(decay):
    task = hidden_state_task(32, spectrum_decay=decay, outliers=0)
    for block in (slice(0, 32), slice(32, 64)):
        found = np.linalg.eigvalsh(covariance_of(task)[block, block])[::-1]
        assert found == pytest.approx(np.arange(1.0, 33) ** -decay, rel=1e-9)


def test_outliers_are_large_and_differ_between_the_sides():
    variances = np.diagonal(covariance_of(hidden_state_task(256, spectrum_decay=0, outliers=3, outlier_scale=10)))
    assert np.sort(variances)[-6:] == pytest.approx(100, rel=1e-9)
    assert np.sort(variances)[:-6] == pytest.approx(1, rel=1e-9)
    large = np.flatnonzero(variances > 50)
    assert (large < 256).sum() == 3
    assert set(large[:3]) != set(large[3:] - 256)


def test_a_tail_bends_each_coordinate_and_keeps_the_truth():
    """Kurtosis 3 (1 − 2h)³ / (1 − 4h)^(5/2) of Tukey's h."""
    straight = hidden_state_task(4, **SMALL)
    bent = hidden_state_task(4, tail=0.1, **SMALL)
    assert (bent.information, bent.gaussian_copula) == (straight.information, True)
    before = straight.sample(200_000, np.random.default_rng(1))
    after = bent.sample(200_000, np.random.default_rng(1))
    scale = np.sqrt(np.diagonal(covariance_of(straight)))
    for side, sides_scale in zip(range(2), (scale[:4], scale[4:]), strict=True):
        unit = before[side] / sides_scale
        assert np.allclose(after[side], sides_scale * unit * np.exp(0.05 * unit**2), rtol=1e-9)
        assert kurtosis(after[side], fisher=False) == pytest.approx(3 * 0.8**3 / 0.6**2.5, rel=0.15)


def test_a_common_scale_adds_its_information(rng):
    """Against the log density ratio of the Student-t law, whose dispersion is the Gaussian covariance."""
    straight, scaled = hidden_state_task(4, **SMALL), hidden_state_task(4, degrees_of_freedom=3, **SMALL)
    assert not scaled.gaussian_copula
    assert scaled.information == pytest.approx(straight.information + student_information(3, 4, 4))
    draws = log_ratio(scaled.sample(40_000, rng), covariance_of(straight), 3)
    error = draws.std() / np.sqrt(draws.size)
    assert draws.mean() == pytest.approx(scaled.information, abs=4 * error)
    assert student_information(3, 4, 4) > 20 * error


def test_names_say_the_kind_and_seeds_repeat():
    tasks = [hidden_state_task(16, **kind) for kind in ({}, {"tail": 0.1}, {"degrees_of_freedom": 5})]
    assert [task.identifier for task in tasks] == [
        "hidden-states-16",
        "hidden-states-16-tail-0.1",
        "hidden-states-16-dof-5",
    ]
    assert tasks[2].name == "Hidden states 16 × 16 (dof=5)"
    for task, kind in zip(tasks, ({}, {"tail": 0.1}, {"degrees_of_freedom": 5}), strict=True):
        pair = task.sample(9, np.random.default_rng(2))
        again = pickle.loads(pickle.dumps(hidden_state_task(16, **kind))).sample(9, np.random.default_rng(2))
        other = hidden_state_task(16, generator=np.random.default_rng(5), **kind).sample(9, np.random.default_rng(2))
        assert (pair[0] == again[0]).all()
        assert (pair[1] == again[1]).all()
        assert (pair[1] != other[1]).all()


def test_one_dimension_and_the_independent_pair():
    assert hidden_state_task(1, correlations=0.6, outliers=0).information == pytest.approx(np.log(1.25))
    assert hidden_state_task(3, correlations=[0.0], outliers=3).information == 0.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dimension": 0}, "dimension = 0 has to be finite and above 0"),
        ({"dimension": 2.5}, "dimension = 2.5 is not a whole number"),
        ({"dimension": 4, "outliers": 0}, r"correlations has shape \(8,\), not that of at most 4 numbers"),
        ({"correlations": [[0.5]]}, r"correlations has shape \(1, 1\)"),
        ({"correlations": [1.0]}, r"correlations = 1 lies outside \(-1, 1\)"),
        ({"spectrum_decay": -1}, "spectrum_decay = -1 has to be finite and at least 0"),
        ({"outliers": 17}, r"outliers = 17 is no whole number in \[0, 16\]"),
        ({"outliers": True}, "outliers = True is not a number"),
        ({"outliers": 1.5}, "outliers = 1.5 is no whole number"),
        ({"outlier_scale": 0}, "outlier_scale = 0 has to be finite and above 0"),
        ({"tail": 0.5}, r"tail = 0.5 lies outside \[0, 0.5\)"),
        ({"degrees_of_freedom": 0}, "degrees_of_freedom = 0 has to be finite and above 0"),
        ({"degrees_of_freedom": 3, "tail": 0.1}, "tail = 0.1 and degrees_of_freedom = 3 are both given"),
        ({"generator": 3}, "generator = 3 is not a numpy.random.Generator"),
    ],
)
def test_bad_input_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        hidden_state_task(**{"dimension": 16, **change})


def test_nan_is_refused():
    with pytest.raises(NonFiniteError, match="correlations = nan"):
        hidden_state_task(16, correlations=[np.nan])
    with pytest.raises(NonFiniteError, match="tail = nan"):
        hidden_state_task(16, tail=np.nan)
