from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from theorykit.information.estimators.canonical import noise_edge
from theorykit.information.estimators.gaussian import gaussian_estimate
from theorykit.information.estimators.pairs import checked_pair
from theorykit.information.estimators.planted import PLANTED, PLANTED_RELATIONS, on_margins, planted_pair
from theorykit.information.estimators.training import TrainingSettings
from theorykit.information.estimators.variational import critic_estimate

EVEN = next(relation for relation in PLANTED_RELATIONS if "even" in relation.name)


@pytest.mark.parametrize("relation", PLANTED_RELATIONS, ids=lambda relation: relation.name)
def test_planted_relations_hold_what_they_say_and_only_two_show_in_correlations(relation):
    rng = np.random.default_rng(1)
    pair = checked_pair(*rng.standard_normal((2, 20_000, 3)))
    planted = planted_pair(pair, rng, relation)
    joint = np.corrcoef(np.hstack([planted.x, planted.y]), rowvar=False)
    assert (np.abs(joint[:3, 3:]).max() > 4 / np.sqrt(20_000) * 1.5) == relation.correlates
    # e^(2 · 0.3) is the variance along d over the one without the signal
    before, after = (np.linalg.slogdet(np.cov(side.y, rowvar=False))[1] for side in (pair, planted))
    assert (after - before) / 2 == pytest.approx(PLANTED, abs=0.03)


def test_the_margins_stay_those_of_the_data(rng):
    """Labels stay labels, and heavy tails stay: the planted columns hold the same values in another order."""
    x, y = rng.standard_normal((300, 2)), np.c_[rng.integers(0, 3, 300), rng.standard_t(2, 300)]
    pair = checked_pair(x, y)
    own = on_margins(planted_pair(pair, rng, EVEN), pair)
    np.testing.assert_array_equal(np.sort(own.y, axis=0), np.sort(pair.y, axis=0))
    np.testing.assert_array_equal(own.x, pair.x)
    assert not np.array_equal(own.y, pair.y)


@pytest.mark.parametrize("size", [1, 4])
def test_a_planted_relation_is_seen_by_a_critic_and_not_by_correlations(size):
    rng = np.random.default_rng(size)
    pair = planted_pair(checked_pair(*rng.standard_normal((2, 4000, size))), rng, EVEN)
    assert abs(gaussian_estimate(pair.x, pair.y).information) < noise_edge(4000, size, size)
    settings = TrainingSettings(anchored=True)
    found = critic_estimate(pair, "mine", np.random.default_rng(0), settings)
    assert found.gain[0] > 0.5 * PLANTED
    linear = gaussian_estimate(np.abs(pair.x), pair.y) if size == 1 else None
    assert linear is None or linear.information == pytest.approx(PLANTED, abs=0.04)


def test_what_the_pair_shares_stays(rng):
    x, noise = rng.standard_normal((2, 4000, 3))
    before = checked_pair(x, x + noise, np.arange(4000) // 4)
    after = planted_pair(before, rng, EVEN)
    assert gaussian_estimate(after.x, after.y).information > 0.5 * gaussian_estimate(x, x + noise).information
    np.testing.assert_array_equal(after.groups, before.groups)
    assert dataclasses.replace(after, x=x, y=before.y).n_samples == 4000


def test_columns_that_depend_on_one_another_are_no_obstacle(rng):
    x = rng.standard_normal((500, 2))
    pair = planted_pair(checked_pair(np.hstack([x, x[:, :1]]), x), rng, EVEN)
    assert np.isfinite(pair.y).all()
