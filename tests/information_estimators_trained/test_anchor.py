from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from theorykit.information.estimators.critics import Critic
from theorykit.information.estimators.pairs import checked_pair
from theorykit.information.estimators.training import TrainingSettings, split_rows
from theorykit.information.estimators.variational import (
    MOST_COMPONENTS,
    critic_estimate,
    gaussian_anchor,
    reduced,
    trained_estimates,
)

QUICK = TrainingSettings(hidden=(16, 16), batch_size=128, max_steps=200, validate_every=50, patience=2, anchored=True)


def pair(seed: int, rho: list[float], count: int = 4000, size: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.random.default_rng(seed).standard_normal((2, count, size or len(rho)))
    strength = np.zeros(x.shape[1])
    strength[: len(rho)] = rho
    return x, strength * x + np.sqrt(1 - strength**2) * y


def test_the_anchor_is_the_log_density_ratio_of_gaussian_vectors(rng):
    from scipy.stats import multivariate_normal

    rho = [0.9, 0.5]
    x, y = pair(0, rho, 40_000)
    first, second = gaussian_anchor(x, y, split_rows(np.arange(40_000), rng))
    covariance = np.block([[np.eye(2), np.diag(rho)], [np.diag(rho), np.eye(2)]])
    rows = np.hstack([x, np.roll(y, -1, axis=0)])[:500]  # product samples
    exact = multivariate_normal(np.zeros(4), covariance).logpdf(rows)
    exact -= multivariate_normal(np.zeros(4), np.eye(4)).logpdf(rows)
    ours = (first[:500] * np.roll(second, -1, axis=0)[:500]).sum(axis=1)
    assert np.median(np.abs(ours - exact) / (1 + np.abs(exact))) < 0.05


def test_independent_sides_have_an_anchor_of_nothing(rng):
    x, y = pair(0, [0.0, 0.0])
    first, second = gaussian_anchor(x, y, split_rows(np.arange(4000), rng))
    assert np.abs((first * second).sum(axis=1)).max() < 0.5


def test_an_anchored_critic_adds_a_fixed_product(rng):
    plain, anchored = (Critic("joint", (2, 3), (4,), anchor=columns) for columns in (0, 5))
    assert plain.n_parameters == anchored.n_parameters
    parameters = torch.from_numpy(rng.standard_normal((1, plain.n_parameters)))
    x, y = (torch.from_numpy(rng.standard_normal((1, 6, size))) for size in (7, 8))
    base = plain.scores(parameters, x[..., :2], y[..., :3], [0, 2])
    found = anchored.scores(parameters, x, y, [0, 2])
    for place, shift in enumerate((0, 2)):
        added = (x[0, :, 2:] * torch.roll(y[0, :, 3:], -shift, dims=0)).sum(dim=1)
        torch.testing.assert_close(found[0, place], base[0, place] + added)


def test_an_anchor_makes_many_gaussian_dimensions_reachable_and_the_gain_small():
    rho = [0.95] * 4
    truth = -2 * np.log1p(-(0.95**2))
    x, y = pair(1, rho, 4000, 40)
    found, plain = (
        trained_estimates([(x, y)], generator=np.random.default_rng(0), settings=settings)[0]
        for settings in (QUICK, dataclasses.replace(QUICK, anchored=False))
    )
    assert abs(found.information - truth) < 0.2 * truth
    assert plain.information < 0.6 * truth
    assert plain.gain is None
    assert found.gain[0] < max(3 * found.gain[1], 0.02 * truth)


def test_the_gain_is_what_the_gaussian_relation_misses():
    x, z = np.random.default_rng(0).standard_normal((2, 4000, 1))
    pairs = [(x, np.abs(x) + 0.3 * z)]
    (found,) = trained_estimates(pairs, generator=np.random.default_rng(0), settings=QUICK)
    assert found.gain[0] > 20 * found.gain[1] > 0
    assert found.gain[0] == pytest.approx(found.information, abs=0.02)  # |x| is uncorrelated with x


def test_wide_pairs_are_reduced_with_rows_that_are_not_used_again():
    x, y = pair(2, [0.9, 0.8], 3000, 80)
    wide = checked_pair(x, y)
    narrow = reduced(wide)
    assert (narrow.n_samples, narrow.x.shape[1], narrow.y.shape[1]) == (1500, 2, 2)
    assert narrow.dimensions == (80, 80)
    assert "reduced to 2 canonical pairs" in narrow.warnings[-1]
    found = critic_estimate(wide, "mine", np.random.default_rng(0), QUICK)
    assert found.method == "anchored mine"
    assert found.n_samples == 3000
    assert 0.5 < found.information < -0.5 * np.log((1 - 0.81) * (1 - 0.64)) + 2 * found.standard_error
    all_related = reduced(checked_pair(*pair(3, [0.95] * 70, 3000)))
    assert all_related.x.shape[1] == MOST_COMPONENTS


def test_narrow_pairs_stay_as_they_are():
    narrow = checked_pair(*pair(0, [0.5], 100))
    assert reduced(narrow) is narrow


def test_groups_stay_whole_in_a_reduction():
    x, y = pair(2, [0.9], 2000, 80)
    groups = np.repeat(np.arange(100), 20)
    narrow = reduced(checked_pair(x, y, groups))
    assert np.unique(narrow.groups).size == 50
    assert np.bincount(narrow.groups)[np.unique(narrow.groups)].tolist() == [20] * 50


def test_too_few_rows_for_a_reduction_are_a_record():
    found = critic_estimate(checked_pair(*pair(0, [0.5], 12, 80)), "mine", np.random.default_rng(0), QUICK)
    assert found.information is None
    assert "too few" in found.failure
