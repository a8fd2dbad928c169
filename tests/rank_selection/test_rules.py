from __future__ import annotations

import numpy as np
import pytest

from theorykit.models.layers import LinearLayer
from theorykit.models.model_spectra import LayerSpectra
from theorykit.rank_selection import RULE_KEYS, RULES
from theorykit.rank_selection.rules import COMMON_PRICE, clipped_rank
from theorykit.spectra import Spectrum, effective_rank, fit_power_law, optimal_hard_threshold

from .synthetic import layer_spectra

BY_KEY = {rule.key: rule for rule in RULES}


def part_of(values: np.ndarray, shape: tuple[int, int]) -> LayerSpectra:
    return LayerSpectra(LinearLayer("fc", "fc.weight", shape, "mlp"), Spectrum(values, shape))


def test_keys_are_unique_and_documented():
    assert (COMMON_PRICE, *BY_KEY) == RULE_KEYS
    assert len(set(RULE_KEYS)) == len(RULE_KEYS)
    assert all(rule.title and rule.source for rule in RULES)


@pytest.mark.parametrize(
    ("key", "rank"),
    [
        ("paper-eq17", 316.2277660168379),
        ("paper-section6", 31.62277660168379),
        ("theorem2", 17.782794100389228),
        ("corrected", 4 ** (1 / 3) * 1e5 ** (1 / 3)),
        ("energy90", 2.0),
        ("energy95", 2.0),
        ("energy99", 3.0),
        ("stable-rank", (100 + 25 + 4) / 100),
    ],
)
def test_hand_values_at_a_hundred_thousand(key, rank):
    """s = (10, 5, 2): energies 100, 25, 4 of 129, so that 77.5 % and 96.9 % lie in the first one and two."""
    part = part_of(np.array([10.0, 5.0, 2.0]), (3, 5))
    assert BY_KEY[key].rank(part, 1e5) == pytest.approx(rank)


@pytest.mark.parametrize("n", [1e3, 1e6])
def test_measured_rules_are_those_of_their_measures(rng, n):
    shape = (60, 40)
    values = np.linalg.svd(rng.standard_normal(shape) + 20 * np.outer(np.ones(60), np.ones(40)) / 40, compute_uv=False)
    part = part_of(values, shape)
    assert BY_KEY["effective-rank"].rank(part, n) == effective_rank(values)
    threshold = optimal_hard_threshold(shape, singular_values=values)
    assert BY_KEY["gavish-donoho"].rank(part, n) == (values > threshold).sum() == 1
    alpha = fit_power_law(values).exponent
    expected = float("inf") if alpha <= 0.5 else n ** (1 / (2 * alpha))
    assert BY_KEY["spectrum"].rank(part, n) == pytest.approx(expected)


@pytest.mark.parametrize("decay", [0.6, 1.0, 2.0])
def test_the_spectrum_rule_is_n_to_one_over_two_alpha(decay):
    part = layer_spectra("fc", (500, 400), decay)
    assert part.decay is not None
    assert BY_KEY["spectrum"].rank(part, 1e4) == pytest.approx(1e4 ** (1 / (2 * part.decay.exponent)))


def test_the_spectrum_rule_does_not_jump_where_the_tail_stops_converging():
    """Towards α = ½ from above the rank grows to n, far past any matrix: no small rank beside a full one."""
    ranks = [BY_KEY["spectrum"].rank(layer_spectra("fc", (900, 800), decay), 1e5) for decay in (0.49, 0.505, 0.51, 0.6)]
    assert ranks[0] == float("inf")
    assert (np.diff(ranks) <= 0).all()
    assert ranks[1] > 800


@pytest.mark.parametrize("key", [rule.key for rule in RULES])
@pytest.mark.parametrize(
    "values", [np.zeros(20), np.ones(20), np.r_[1.0, np.zeros(19)], np.arange(20.0)[::-1], 0.01 ** np.arange(20)]
)
@pytest.mark.parametrize("n", [0.5, 1e5, 1e15])
def test_every_rule_answers_on_every_spectrum(key, values, n):
    part = part_of(values, (30, 20))
    rank = BY_KEY[key].rank(part, n)
    assert rank >= 0
    assert 1 <= clipped_rank(rank, 20) <= 20


def test_the_hard_threshold_counts_what_is_not_zero():
    assert BY_KEY["gavish-donoho"].rank(part_of(np.r_[3.0, 1.0, np.zeros(18)], (30, 20)), 1e5) == 2.0
    assert BY_KEY["gavish-donoho"].rank(part_of(np.zeros(20), (30, 20)), 1e5) == 0.0


@pytest.mark.parametrize(
    ("rank", "clipped"), [(0.0, 1), (1.49, 1), (1.5, 2), (2.5, 3), (7.6, 8), (8.4, 8), (1e300, 8), (float("inf"), 8)]
)
def test_ranks_are_rounded_half_up_and_clipped(rank, clipped):
    assert clipped_rank(rank, 8) == clipped
    assert type(clipped_rank(rank, 8)) is int
