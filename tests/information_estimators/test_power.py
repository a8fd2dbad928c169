from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from theorykit.information.estimators.automatic import PLANTED, planted_pair
from theorykit.information.estimators.canonical import noise_edge
from theorykit.information.estimators.gaussian import gaussian_estimate
from theorykit.information.estimators.pairs import checked_pair
from theorykit.information.estimators.training import TrainingSettings
from theorykit.information.estimators.variational import critic_estimate


@pytest.mark.parametrize("size", [1, 4])
def test_a_planted_relation_is_seen_by_a_critic_and_not_by_correlations(size):
    rng = np.random.default_rng(size)
    pair = planted_pair(checked_pair(*rng.standard_normal((2, 4000, size))), rng)
    assert abs(gaussian_estimate(pair.x, pair.y).information) < noise_edge(4000, size, size)
    settings = TrainingSettings(anchored=True)
    found = critic_estimate(pair, "mine", np.random.default_rng(0), settings)
    assert found.gain[0] > 0.5 * PLANTED
    linear = gaussian_estimate(np.abs(pair.x), pair.y) if size == 1 else None
    assert linear is None or linear.information == pytest.approx(PLANTED, abs=0.04)


def test_what_the_pair_shares_stays(rng):
    x, noise = rng.standard_normal((2, 4000, 3))
    before = checked_pair(x, x + noise, np.arange(4000) // 4)
    after = planted_pair(before, rng)
    assert gaussian_estimate(after.x, after.y).information > 0.5 * gaussian_estimate(x, x + noise).information
    np.testing.assert_array_equal(after.groups, before.groups)
    assert dataclasses.replace(after, x=x, y=before.y).n_samples == 4000


def test_columns_that_depend_on_one_another_are_no_obstacle(rng):
    x = rng.standard_normal((500, 2))
    pair = planted_pair(checked_pair(np.hstack([x, x[:, :1]]), x), rng)
    assert np.isfinite(pair.y).all()
