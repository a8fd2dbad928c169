from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theorykit.complexity import (
    generalization_bound,
    printed_generalization_bound,
    rank_free_rademacher_bound,
)
from theorykit.errors import InputError, NonFiniteError
from theorykit.verdicts import trivial_bound

PAPER = {"shape": (768, 768)}


def test_the_parts_by_hand():
    found = generalization_bound(0.5, 0.02, 800, delta=0.1, lipschitz=3.0, loss_range=2.0)
    assert found.complexity_term == pytest.approx(0.12)
    assert found.confidence_term == pytest.approx(6.0 * np.sqrt(np.log(20) / 1600))
    assert found.gap_bound == pytest.approx(found.complexity_term + found.confidence_term)
    assert found.risk_bound == pytest.approx(0.5 + found.gap_bound)
    assert (found.trivial_risk, found.delta, found.value) == (2.0, 0.1, "informative")


@pytest.mark.parametrize(("rank", "printed"), [(8, 447), (64, 3579), (256, 14316)])
def test_the_printed_bound_is_vacuous_by_orders_of_magnitude(rank, printed):
    found = printed_generalization_bound(rank, 100_000, **PAPER)
    assert round(float(found.gap_bound)) == printed
    assert found.value == "vacuous"
    assert found.confidence_term == pytest.approx(np.sqrt(np.log(20) / 100_000))


def test_the_logarithm_is_natural():
    base_ten = 8 * 1536 * np.log10(100_000) / np.sqrt(100_000)
    assert printed_generalization_bound(8, 100_000, **PAPER).complexity_term == pytest.approx(base_ten * np.log(10))


def test_the_printed_bound_is_dominated_where_it_is_not_vacuous():
    """The rank-free rival is 2ρBR/√N: constants on both sides of it make the printed term the larger or the smaller."""
    rank_free = rank_free_rademacher_bound(100_000, frobenius_bound=1.0, input_norm=1.0)
    found = printed_generalization_bound(
        [1, 8], 100_000, constant=2.0, rank_free_complexity=rank_free, loss_range=200.0, **PAPER
    )
    assert found.value.tolist() == ["dominated", "vacuous"]
    rival = 2.0 / (1536 * np.log(100_000))
    found = printed_generalization_bound(
        1, 100_000, constant=np.array([0.9, 1.1]) * rival, rank_free_complexity=rank_free, **PAPER
    )
    assert found.value.tolist() == ["informative", "dominated"]


@given(
    st.integers(1, 50),
    st.integers(2, 10**6),
    st.floats(1e-6, 0.5),
    st.floats(1e-3, 1e3),
    st.floats(1e-3, 1e3),
)
def test_the_printed_bound_follows_from_the_rank_free_one(rank, n_samples, delta, radius, loss_range):
    """With C1 = 2ρBR and C2 = 3c, for δ ≤ ½ and N ≥ 2, also in the smallest layer."""
    rank_free = rank_free_rademacher_bound(n_samples, frobenius_bound=radius, input_norm=1.0)
    right = generalization_bound(0.0, rank_free, n_samples, delta=delta, loss_range=loss_range)
    for shape, r in (((1, 1), 1), ((50, 60), rank)):
        printed = printed_generalization_bound(
            r, n_samples, shape=shape, delta=delta, constant=2 * radius, confidence_constant=3 * loss_range
        )
        assert right.gap_bound <= printed.gap_bound * (1 + 1e-12)


def test_it_holds_for_a_class_that_overfits(rng):
    """All ± labellings of 6 points: the empirical minimiser has risk ½, and R̂ is that of the labellings seen."""
    labellings = np.array(list(itertools.product((-1.0, 1.0), repeat=6)))
    n_samples, delta, failures = 9, 0.05, 0
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=n_samples)))
    for _ in range(60):
        points, labels = rng.integers(0, 6, n_samples), rng.choice([-1.0, 1.0], n_samples)
        values = labellings[:, points]
        complexity = (signs @ values.T).max(axis=1).mean() / n_samples
        losses = (values != labels).mean(axis=1)
        # the 0-1 loss is (1 − y f)/2: slope ½
        found = generalization_bound(losses.min(), complexity, n_samples, delta=delta, lipschitz=0.5)
        failures += found.risk_bound < 0.5
    assert failures == 0
    assert complexity > 0.3


def test_a_guess_makes_an_error_bound_vacuous():
    arguments = {"empirical_risk": 0.3, "complexity": 0.2, "n_samples": 10_000}
    assert generalization_bound(**arguments).value == "informative"
    guess = trivial_bound("next_token_error", vocabulary=2)
    assert generalization_bound(**arguments, trivial_risk=guess).value == "vacuous"


def test_a_rank_free_competitor_dominates():
    arguments = {"empirical_risk": 0.1, "complexity": [0.05, 0.2], "n_samples": 10_000}
    assert generalization_bound(**arguments, rank_free_complexity=0.1).value.tolist() == ["informative", "dominated"]


def test_arrays_broadcast_into_a_table():
    found = generalization_bound([0.1, 0.2], [[0.01], [0.02], [0.03]], 1000, delta=0.1, rank_free_complexity=0.025)
    assert found.risk_bound.shape == found.empirical_risk.shape == found.value.shape == (3, 2)
    frame = found.to_frame()
    assert frame.shape == (6, 8)
    assert frame["value"].tolist() == ["informative"] * 4 + ["dominated"] * 2
    np.testing.assert_allclose(frame["empirical_risk"] + frame["gap_bound"], frame["risk_bound"])
    assert generalization_bound(0.1, 0.01, 1000).to_frame().shape == (1, 8)
    alone = generalization_bound(0.1, 0.05, 1000, rank_free_complexity=[0.01, 0.1])
    assert alone.to_frame()["value"].tolist() == ["dominated", "informative"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"empirical_risk": -0.1}, InputError, "empirical_risk = -0.1"),
        ({"empirical_risk": 1.5}, InputError, "empirical_risk = 1.5 is above loss_range = 1"),
        ({"complexity": -1.0}, InputError, "complexity = -1"),
        ({"complexity": np.nan}, NonFiniteError, "complexity = nan"),
        ({"n_samples": 0}, InputError, "n_samples = 0"),
        ({"n_samples": -3}, InputError, "n_samples = -3"),
        ({"n_samples": 1.5}, InputError, "n_samples = 1.5 is not a whole number"),
        ({"delta": 0.0}, InputError, r"delta = 0 lies outside \(0, 1\)"),
        ({"delta": 1.0}, InputError, r"delta = 1 lies outside \(0, 1\)"),
        ({"lipschitz": -2.0}, InputError, "lipschitz = -2"),
        ({"loss_range": 0.0}, InputError, "loss_range = 0.0"),
        ({"trivial_risk": 0.0}, InputError, "trivial_risk = 0"),
        ({"rank_free_complexity": -1.0}, InputError, "rank_free_complexity = -1"),
    ],
)
def test_the_bound_refuses(change, error, message):
    arguments = {"empirical_risk": 0.1, "complexity": 0.1, "n_samples": 100} | change
    with pytest.raises(error, match=message):
        generalization_bound(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rank": 0}, "rank = 0"),
        ({"rank": 769}, r"rank = 769 lies outside \[1, 768\]"),
        ({"n_samples": 0}, "n_samples = 0"),
        ({"delta": 1.0}, "delta = 1"),
        ({"constant": 0.0}, "constant = 0"),
        ({"confidence_constant": -1.0}, "confidence_constant = -1"),
        ({"empirical_risk": -1.0}, "empirical_risk = -1"),
        ({"shape": (768,)}, "is not that of a matrix"),
    ],
)
def test_the_printed_bound_refuses(change, message):
    arguments = {"rank": 8, "n_samples": 1000, **PAPER} | change
    with pytest.raises(InputError, match=message):
        printed_generalization_bound(arguments.pop("rank"), arguments.pop("n_samples"), **arguments)
