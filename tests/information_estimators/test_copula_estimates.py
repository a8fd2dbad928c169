"""The Gaussian-copula estimate: increasing maps, its correction, many columns and nearly exact relations."""

from __future__ import annotations

import numpy as np
import pytest

from tests.information_estimators.gaussian_pairs import canonical_pairs, information_of
from theorykit.information.estimators.canonical import correlation_matrix, correlations_of
from theorykit.information.estimators.gaussian import gaussian_copula_estimate, gaussian_estimate, replicate_law
from theorykit.information.estimators.ranks import normal_scores


@pytest.mark.parametrize(
    ("left", "right"),
    [(np.exp, lambda v: v**3), (lambda v: np.sign(v) * np.abs(v) ** 0.2, np.tanh), (np.arcsinh, np.sinh)],
)
def test_the_copula_does_not_see_increasing_maps(rng, left, right):
    x, y = canonical_pairs(rng, 900, np.array([0.7, 0.2]))
    plain = gaussian_copula_estimate(x, y)
    found = gaussian_copula_estimate(left(x), right(y))
    assert found.information == plain.information
    assert found.interval == plain.interval
    assert found.interval[0] < information_of([0.7, 0.2]) < found.interval[1]


@pytest.mark.parametrize(("size", "rho", "count"), [(1, 0.95, 100), (5, 0.9, 150)])
def test_the_correction_of_the_copula(rng, size, rho, count):
    """Budget: 60 repetitions: without it the bias would be many standard errors."""
    truth, values, plain, covered = information_of(np.full(size, rho)), [], [], 0
    for _ in range(60):
        x, y = canonical_pairs(rng, count, np.full(size, rho))
        found = gaussian_copula_estimate(x**3, y, generator=rng)
        values.append(found.information)
        covered += found.interval[0] <= truth <= found.interval[1]
        scores = [normal_scores(side, rng)[0] for side in (x, y)]
        plain.append(gaussian_estimate(*scores).information)
    error = np.std(values) / np.sqrt(60)
    assert abs(np.mean(values) - truth) < 3 * error
    assert np.mean(plain) - truth < -3.5 * error
    assert covered >= 52


@pytest.mark.parametrize(
    ("count", "correlations", "draws", "least"),
    [
        (60, np.zeros(25), 40, 0.9),
        (400, np.zeros(100), 12, 0.9),
        (400, np.full(60, 0.5), 25, 0.88),
        (400, np.r_[np.linspace(0.95, 0.1, 15), np.zeros(45)], 25, 0.88),
        (1000, np.full(50, 0.5), 12, 0.9),
    ],
)
def test_many_columns_of_the_copula(rng, count, correlations, draws, least):
    """Replicates with the sample's own, too large, information put the mean nats too high."""
    truth = information_of(correlations)
    found = [gaussian_copula_estimate(*canonical_pairs(rng, count, correlations)) for _ in range(draws)]
    values = np.array([one.information for one in found])
    assert abs(values.mean() - truth) < 3 * values.std() / np.sqrt(draws)
    assert np.mean([one.interval[0] <= truth <= one.interval[1] for one in found]) >= least


def test_too_many_columns_of_the_copula_are_said(rng):
    crowded, roomy = (canonical_pairs(rng, 100, np.full(size, 0.5)) for size in (21, 20))
    assert any("d_x + d_y = 42 is near N = 100" in warning for warning in gaussian_copula_estimate(*crowded).warnings)
    assert gaussian_copula_estimate(*roomy).warnings == ()


def test_replicates_have_the_information_that_is_asked_for(rng):
    x, y = canonical_pairs(rng, 200, np.r_[0.9, np.zeros(7)])
    joint = correlation_matrix(x, y[:, :5])
    for information in (0.0, 0.5, correlations_of(joint, 8).plug_in):
        law = replicate_law(joint, 8, information)
        assert information_of(law.correlations) == pytest.approx(information, abs=1e-12)
        left, right = law.sample(200_000, rng)
        assert gaussian_estimate(left, right).information == pytest.approx(information, abs=0.02)
        inside = np.corrcoef(left.T)
        np.testing.assert_allclose(inside, joint[:8, :8], atol=0.015)
    assert (replicate_law(joint, 8, -1.0).correlations == 0).all()
    assert (replicate_law(joint, 8, 0.5).correlations[1:] == 0).all()  # what is left is the strong pair's


@pytest.mark.parametrize(("count", "left"), [(100, 4e-4), (1000, 1e-4)])
def test_relations_that_ranks_hardly_resolve_are_said(rng, count, left):
    """Nothing is said of tails or residuals: the rounding of ranks is what those tests would see."""
    for _ in range(20):
        found = gaussian_copula_estimate(*canonical_pairs(rng, count, np.full(1, np.sqrt(1 - left))))
        assert ["hardly resolve" in warning for warning in found.warnings] == [True]


@pytest.mark.parametrize("count", [100, 1000])
def test_the_interval_of_the_copula_covers_strong_pairs(rng, count):
    """Budget: 100 repetitions at 1 − ρ² = 2/N, where scores of the same ranks scatter more than Gaussian rows do."""
    correlations, covered = np.full(1, np.sqrt(1 - 2 / count)), 0
    for _ in range(100):
        low, high = gaussian_copula_estimate(*canonical_pairs(rng, count, correlations)).interval
        covered += low <= information_of(correlations) <= high
    assert covered >= 88


def test_false_alarms_of_the_copula_at_strong_pairs_are_rare(rng):
    alarms = sum(
        any("Gaussian" in warning for warning in gaussian_copula_estimate(*canonical_pairs(rng, 5000, pair)).warnings)
        for pair in [np.full(2, 0.9998)] * 40
    )
    assert alarms <= 2


def test_the_copula_repeats_itself_and_takes_a_generator(rng):
    x, y = canonical_pairs(rng, 200, np.array([0.5]))
    assert gaussian_copula_estimate(x, y).information == gaussian_copula_estimate(x, y).information
    assert gaussian_copula_estimate(x, y, generator=rng).information != gaussian_copula_estimate(x, y).information


def test_discrete_columns_are_said(rng):
    x, y = canonical_pairs(rng, 500, np.array([0.5]))
    found = gaussian_copula_estimate(np.round(x), y)
    assert any("ties: 100%" in warning for warning in found.warnings)
    assert not gaussian_copula_estimate(np.round(x, 3), y).warnings or found.information > 0
