from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group

from tests.information_estimators.gaussian_pairs import canonical_pairs, information_of
from theorykit.information.estimators import decoder as module
from theorykit.information.estimators.decoder import decoder_estimate, fitted_network
from theorykit.information.estimators.outcomes import LOWER_BOUND

UNEQUAL = np.array([0.95, 0.6, 0.0])


@pytest.fixture
def short(monkeypatch):
    """A network that is fitted in a tenth of a second."""
    monkeypatch.setattr(module, "MOST_STEPS", 200)
    monkeypatch.setattr(module, "PATIENCE", 5)


def test_it_is_tight_for_gaussian_pairs_whatever_their_covariance(rng):
    """Unequal correlations, mixed: R(D) in the coordinates of x would be well below."""
    x, y = canonical_pairs(rng, 20_000, UNEQUAL)
    found = decoder_estimate(x @ rng.normal(size=(3, 3)), y @ rng.normal(size=(3, 3)))
    assert found.information == pytest.approx(information_of(UNEQUAL), abs=0.03)
    assert found.interval[0] < information_of(UNEQUAL) < found.interval[1]
    assert (found.method, found.warnings, found.converged) == ("linear decoder", (LOWER_BOUND,), True)


@pytest.mark.parametrize(("count", "size", "rho"), [(60, 3, 0.9), (60, 20, 0.8), (200, 20, 0.5), (100, 60, 0.7)])
def test_on_average_it_is_a_lower_bound_at_any_size(rng, count, size, rho):
    """Budget: 40 repetitions, more columns than train rows included."""
    found = [decoder_estimate(*canonical_pairs(rng, count, np.full(size, rho))).information for _ in range(40)]
    assert np.mean(found) <= information_of(np.full(size, rho)) + 3 * np.std(found) / np.sqrt(40)


def test_rotation_scale_and_shift_change_nothing(rng):
    x, y = canonical_pairs(rng, 400, UNEQUAL)
    plain = decoder_estimate(x, y).information
    mapped = decoder_estimate(1e3 * x @ ortho_group.rvs(3, random_state=rng) + 5, y @ rng.normal(size=(3, 3)))
    assert mapped.information == pytest.approx(plain, abs=1e-6)
    few = rng.standard_normal((2, 60, 40))
    turned = few[0] @ ortho_group.rvs(40, random_state=rng), 7 * few[1] @ ortho_group.rvs(40, random_state=rng)
    assert decoder_estimate(*turned).information == pytest.approx(decoder_estimate(*few).information, abs=1e-6)


def test_unrelated_sides(rng):
    x, y = canonical_pairs(rng, 10_000, np.full(5, 0.9))
    assert -0.02 < decoder_estimate(x, rng.permutation(y)).information <= 0.005


def test_the_interval_covers_a_tight_bound(rng):
    """Budget: 100 repetitions; the loss to the fit is small against the error here."""
    truth = information_of([0.6])
    covered = 0
    for _ in range(100):
        found = decoder_estimate(*canonical_pairs(rng, 1000, np.array([0.6])))
        covered += found.interval[0] <= truth <= found.interval[1]
    assert covered >= 88


def test_groups_widen_the_interval(rng):
    groups = np.repeat(np.arange(60), 10)
    x, y = canonical_pairs(rng, 60, np.array([0.7]))
    noise = 1e-2 * rng.standard_normal((2, 600, 1))
    plain = decoder_estimate(x[groups] + noise[0], y[groups] + noise[1])
    grouped = decoder_estimate(x[groups] + noise[0], y[groups] + noise[1], groups=groups, folds=5)
    assert grouped.interval[1] - grouped.interval[0] > 1.7 * (plain.interval[1] - plain.interval[0])
    assert grouped.interval[0] < information_of([0.7])


def test_another_x_is_said(rng):
    signs = np.sign(rng.standard_normal((2000, 1)))
    x = signs + 1e-3 * rng.standard_normal((2000, 1))  # I ≤ log 2
    found = decoder_estimate(x, signs)
    assert found.information > 2
    assert "x, the side that is decoded, is not jointly Gaussian" in found.warnings[0]


def test_a_dependent_y_needs_no_ridge(rng):
    x, y = canonical_pairs(rng, 500, np.full(2, 0.6))
    found = decoder_estimate(x, np.c_[y, y[:, 0]], ridge=1e-3)
    assert found.information == pytest.approx(information_of([0.6, 0.6]), abs=0.15)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("rest", [0.0, 1e-9, 1e-4])
def test_a_column_that_is_nearly_constant_but_for_a_row(rng, side, rest):
    """The fold of that row stands 10⁴ and more standard deviations off the others: not a bound of −10⁷ nats."""
    sides = list(canonical_pairs(rng, 400, np.full(3, 0.6)))
    sides[side][:, 1] *= rest
    sides[side][7, 1] = 5.0
    found = decoder_estimate(*sides)
    if found.information is None:
        assert (side, "nearly constant" in found.failure) == (0, True)
    else:
        assert -0.5 < found.information < information_of(np.full(3, 0.6))


def test_a_side_that_is_constant_in_a_fold(rng):
    spike = np.r_[1.0, 2.0, np.zeros(78)]
    assert "x is constant in a fold" in decoder_estimate(spike, rng.standard_normal(80)).failure


@pytest.mark.usefixtures("short")
def test_a_network_decodes_what_a_line_cannot(rng):
    """X = sin(3W)-like wiggle of Y plus noise, X made Gaussian by its scores: the line sees almost nothing."""
    from theorykit.information.estimators.ranks import normal_scores

    y, noise = rng.standard_normal((2, 2500))
    x = normal_scores((np.sin(3 * y) + 0.3 * noise)[:, None], rng)[0]
    linear = decoder_estimate(x, y, folds=2)
    deep = decoder_estimate(x, y, decoder="network", folds=2, generator=rng)
    assert linear.information < 0.05
    assert deep.information > 0.3
    assert deep.method == "network decoder"


@pytest.mark.usefixtures("short")
def test_a_network_keeps_the_bound(rng):
    """Budget: 10 repetitions of an independent pair and of a linear one."""
    for rho in (0.0, 0.8):
        found = [
            decoder_estimate(*canonical_pairs(rng, 300, np.array([rho])), decoder="network", folds=2, generator=rng)
            for _ in range(10)
        ]
        values = np.array([one.information for one in found])
        assert values.mean() <= information_of([rho]) + 3 * values.std() / np.sqrt(10)
        assert values.mean() > information_of([rho]) - 0.15


def test_a_network_that_is_cut_short_is_said(rng, monkeypatch):
    monkeypatch.setattr(module, "MOST_STEPS", 2)
    found = decoder_estimate(*canonical_pairs(rng, 200, np.array([0.8])), decoder="network", folds=2)
    assert not found.converged
    assert "still improving" in found.warnings[0]


@pytest.mark.usefixtures("short")
def test_a_seed_repeats_itself_and_the_global_state_is_left_alone(rng):
    x, y = canonical_pairs(rng, 200, np.array([0.8]))
    before = torch.get_rng_state()
    first, second = (decoder_estimate(x, y, decoder="network", folds=2) for _ in range(2))
    assert first.information == second.information
    assert torch.equal(before, torch.get_rng_state())
    other = decoder_estimate(x, y, decoder="network", folds=2, generator=rng)
    assert other.information != first.information


def test_the_network_restores_its_best_weights(rng, monkeypatch):
    """Targets of pure noise: 300 steps after its best the network knows the train rows by heart."""
    monkeypatch.setattr(module, "PATIENCE", 300)
    monkeypatch.setattr(module, "MOST_EPOCHS", 1000)
    inputs, targets = rng.standard_normal((2, 120, 5))
    predict, settled = fitted_network((inputs[:60], targets[:60]), (inputs[60:], targets[60:]), rng)
    assert settled
    assert predict(inputs[60:]).shape == (60, 5)
    assert ((predict(inputs[60:]) - targets[60:]) ** 2).mean() < 1.4 * targets.var()


def test_four_rows_are_a_failure(rng):
    assert "at least 2" in decoder_estimate(*rng.standard_normal((2, 4, 1))).failure
