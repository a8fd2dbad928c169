from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from theorykit.errors import InputError, NonFiniteError
from theorykit.rank_selection import Allocation, LayerOptions, allocate, allocation

ROUNDING = 1e-9


def layer(costs: Sequence[float], losses: Sequence[float]) -> LayerOptions:
    return LayerOptions(np.array(costs, dtype=float), np.array(losses, dtype=float))


def totals(layers: Sequence[LayerOptions], choice: Sequence[int]) -> tuple[float, float]:
    cost = sum(float(part.costs[index]) for part, index in zip(layers, choice, strict=True))
    return cost, sum(float(part.losses[index]) for part, index in zip(layers, choice, strict=True))


def brute_force(layers: Sequence[LayerOptions], budget: float) -> float:
    """Try every choice; costs may exceed the budget by its rounding."""
    every = (totals(layers, choice) for choice in product(*(range(part.costs.size) for part in layers)))
    return min(loss for cost, loss in every if cost <= budget * (1 + 1e-12))


def integer_program(layers: Sequence[LayerOptions], budget: float) -> float:
    """HiGHS on the textbook formulation: x_lj in {0, 1}, one option per layer, one budget."""
    costs, losses = (np.concatenate([getattr(part, name) for part in layers]) for name in ("costs", "losses"))
    owner = np.repeat(np.arange(len(layers)), [part.costs.size for part in layers])
    one_each = LinearConstraint((owner[None, :] == np.arange(len(layers))[:, None]).astype(float), 1, 1)
    found = milp(
        losses,
        constraints=[one_each, LinearConstraint(costs[None, :], -np.inf, budget)],
        integrality=np.ones_like(losses),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 0.0},
    )
    assert found.success
    return float(found.fun)


def assert_valid(found: Allocation, layers: Sequence[LayerOptions], budget: float) -> None:
    """What is reported is what was chosen, it fits, and its bound is none above it."""
    cost, loss = totals(layers, found.choice)
    scale = sum(np.abs(part.losses).max() for part in layers)
    assert found.cost == pytest.approx(cost, rel=1e-12)
    assert found.loss == pytest.approx(loss, rel=1e-12, abs=1e-12 * scale)
    assert cost <= budget * (1 + 1e-11)
    assert found.least_loss <= found.lower_bound + 1e-12 * scale
    assert found.lower_bound <= found.loss
    assert found.price >= 0


def assert_optimal(found: Allocation, layers: Sequence[LayerOptions], budget: float, least: float) -> None:
    assert_valid(found, layers, budget)
    scale = sum(np.abs(part.losses).max() for part in layers) + 1e-300
    assert found.exact
    assert found.loss == pytest.approx(least, rel=ROUNDING, abs=ROUNDING * scale)
    assert found.lower_bound <= least + ROUNDING * scale


def random_layers(rng: np.random.Generator, kind: str, number: int) -> list[LayerOptions]:
    layers = []
    for _ in range(number):
        size = int(rng.integers(1, 6))
        if kind == "whole numbers":
            costs, losses = rng.integers(0, 8, size), rng.integers(-5, 6, size)
        elif kind == "tenths":
            costs, losses = rng.integers(0, 8, size) / 10, rng.integers(-5, 6, size) / 10
        elif kind == "any":
            costs, losses = rng.random(size), rng.random(size)
        elif kind == "one price":  # all options on one line: every choice ties
            costs = 0.1 * np.sort(rng.choice(np.arange(1, 9), size, replace=False))
            losses = 0.3 * (1 - costs)
        elif kind == "nearly one price":
            costs = 0.1 * np.sort(rng.choice(np.arange(1, 9), size, replace=False))
            losses = 0.3 * (1 - costs) + 1e-3 * rng.random(size)
        else:  # losses far from zero: what counts is their difference
            costs, losses = 1e6 * rng.integers(1, 8, size), 1e6 + rng.random(size)
        layers.append(layer(costs, losses))
    return layers


@pytest.mark.parametrize("kind", ["whole numbers", "tenths", "any", "one price", "nearly one price", "far from zero"])
@pytest.mark.parametrize("exact_budget", [True, False])
def test_small_instances_against_brute_force(rng, kind, exact_budget):
    for _ in range(300):
        layers = random_layers(rng, kind, int(rng.integers(1, 5)))
        low = sum(part.costs.min() for part in layers)
        high = sum(part.costs.max() for part in layers)
        budget = low + (high - low) * rng.random()
        if exact_budget:  # a sum that some choice meets to the last digit
            budget = sum(float(rng.choice(part.costs)) for part in layers)
        assert_optimal(allocate(layers, budget), layers, budget, brute_force(layers, budget))


small_costs = st.integers(0, 12)
options = st.lists(st.tuples(small_costs, st.integers(-20, 20)), min_size=1, max_size=5)


@settings(max_examples=300)
@given(st.lists(options, min_size=1, max_size=4), st.integers(0, 48), st.sampled_from([1.0, 0.1, 1 / 3, 1e-9, 1e9]))
def test_any_instance_against_brute_force(layers_, budget, unit):
    layers = [layer([cost * unit for cost, _ in pairs], [loss * unit for _, loss in pairs]) for pairs in layers_]
    budget = budget * unit
    if sum(part.costs.min() for part in layers) > budget * (1 + 1e-12):
        with pytest.raises(InputError, match=r"the budget .* is below"):
            allocate(layers, budget)
    else:
        assert_optimal(allocate(layers, budget), layers, budget, brute_force(layers, budget))


@settings(max_examples=60)
@given(st.lists(options, min_size=1, max_size=4), st.floats(1e-6, 1e6), st.floats(-1e3, 1e3))
def test_the_unit_of_the_loss_and_its_zero_do_not_matter(layers_, factor, offset):
    layers = [layer([cost for cost, _ in pairs], [loss for _, loss in pairs]) for pairs in layers_]
    moved = [layer(part.costs, factor * part.losses + offset) for part in layers]
    budget = sum(part.costs.mean() for part in layers)
    least = allocate(layers, budget).loss
    found = allocate(moved, budget)
    assert found.exact
    assert totals(layers, found.choice)[1] == pytest.approx(least, abs=1e-6)


def factored_layers(rng: np.random.Generator, number: int, multiple: int) -> list[LayerOptions]:
    """Layers as rank selection makes them: tails of decaying spectra, and the jump back to the dense matrix."""
    layers = []
    for _ in range(number):
        m, n = rng.choice([64, 96, 128, 256], 2)
        values = 10 ** rng.uniform(-1, 0) * np.arange(1.0, min(m, n) + 1) ** -rng.uniform(0.3, 1.5)
        tails = np.concatenate([np.cumsum(values[::-1] ** 2)[::-1], [0.0]])
        ranks = np.arange(multiple, (m * n - 1) // (m + n) + 1, multiple)
        layers.append(layer(np.append(ranks * (m + n), m * n), np.append(tails[ranks], 0.0)))
    return layers


@pytest.mark.parametrize("multiple", [1, 8, 16])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_layers_that_fall_back_to_dense_against_an_integer_program(rng, share, multiple):
    layers = factored_layers(rng, 24, multiple)
    budget = share * sum(part.costs[-1] for part in layers)
    found = allocate(layers, budget)
    assert_valid(found, layers, budget)
    assert found.exact
    assert found.loss == pytest.approx(integer_program(layers, budget), rel=1e-6)


@pytest.mark.parametrize("size", [30, 60])
def test_random_instances_against_an_integer_program(rng, size):
    """Costs and losses without any structure: the hardest kind for a price."""
    layers = [layer(rng.integers(1, 100, 8), rng.random(8)) for _ in range(size)]
    budget = 30.5 * size
    found = allocate(layers, budget)
    assert found.exact
    assert found.loss == pytest.approx(integer_program(layers, budget), abs=1e-6)


def test_convex_layers_meet_the_price(rng):
    """Losses convex in the cost with equal steps: the best is a price, whoever saves more than it gets the step."""
    layers = [
        layer(np.arange(1, 41), rng.uniform(1, 5) * np.arange(1.0, 41) ** -rng.uniform(0.5, 2)) for _ in range(20)
    ]
    for budget in range(20, 801, 13):
        found = allocate(layers, budget)
        assert found.exact
        assert found.cost == budget
        saved = np.sort(np.concatenate([-np.diff(part.losses) for part in layers]))[::-1]
        assert found.least_loss <= found.loss
        start = sum(part.losses[0] for part in layers)
        assert found.loss == pytest.approx(start - saved[: budget - 20].sum(), rel=1e-12)
        if budget < 800:
            assert found.price == pytest.approx(saved[budget - 20])


def test_the_price_is_what_one_more_unit_saves():
    layers = [layer([1, 2, 3], [9.0, 4.0, 3.0]), layer([1, 2, 3], [8.0, 2.0, 0.0])]
    losses = [allocate(layers, budget).loss for budget in range(2, 7)]
    assert losses == [17.0, 11.0, 6.0, 4.0, 3.0]
    assert [allocate(layers, budget).price for budget in range(2, 7)] == [6.0, 5.0, 2.0, 1.0, 0.0]


@pytest.mark.parametrize("budget", [6, 100, float("inf")])
def test_a_budget_that_does_not_bind(budget):
    layers = [layer([1, 3], [5.0, 1.0]), layer([3, 1, 2], [2.0, 7.0, 2.0])]
    found = allocate(layers, budget)
    assert (found.choice, found.loss, found.price, found.exact) == ((1, 2), 3.0, 0.0, True)
    assert found.least_loss == found.lower_bound == 3.0


def test_the_budget_may_be_exactly_the_least():
    layers = [layer([0.1, 1], [5.0, 1.0]), layer([0.2, 1], [4.0, 1.0])]
    found = allocate(layers, 0.1 + 0.2)
    assert (found.choice, found.exact) == ((0, 0), True)


@pytest.mark.parametrize("budget", [0.0, 2.9])
def test_a_budget_below_the_least_names_both(budget):
    with pytest.raises(
        InputError, match=f"the budget {budget:,.0f} is below 3, the least that all layers together can cost"
    ):
        allocate([layer([1, 5], [1, 0]), layer([2, 5], [1, 0])], budget - 1e-9 if budget else 0.0)


@pytest.mark.parametrize("budget", [float("nan"), -1.0, -float("inf")])
def test_a_budget_that_is_none(budget):
    with pytest.raises(InputError, match=r"budget = .* has to be at least 0"):
        allocate([layer([0], [1])], budget)


def test_no_layers_cost_nothing():
    found = allocate([], 10.0)
    assert (found.choice, found.cost, found.loss, found.exact) == ((), 0.0, 0.0, True)


def test_equal_costs_take_the_least_loss():
    layers = [layer([2, 2, 2], [3.0, 1.0, 2.0])] * 2
    assert allocate(layers, 4).choice == (1, 1)


def test_a_dearer_option_that_is_no_better_is_never_taken():
    found = allocate([layer([1, 2, 3], [1.0, 1.0, 5.0])], 10)
    assert (found.choice, found.cost) == ((0,), 1.0)


def test_all_losses_zero_and_losses_that_cancel():
    assert_optimal(allocate([layer([1, 2], [0, 0])] * 3, 4), [layer([1, 2], [0, 0])] * 3, 4, 0.0)
    layers = [layer([1, 2, 3], [5, 1, 0]), layer([1, 2, 3], [-1, -2, -5])]
    assert_optimal(allocate(layers, 5), layers, 5, brute_force(layers, 5))


def test_options_with_a_gap_below_the_hull_are_found():
    """The price alone would leave 3 of 4 units unspent; the point above the hull uses them."""
    layers = [layer([0, 3, 10], [10.0, 9.0, 0.0])]
    cheap = allocate(layers, 4, exact=False)
    assert (cheap.choice, cheap.exact) == ((0,), False)
    assert cheap.lower_bound == pytest.approx(6.0)
    assert_optimal(allocate(layers, 4), layers, 4, 9.0)


@pytest.mark.parametrize("limit", ["_MOST_STATES", "_MOST_COMBINATIONS"])
def test_the_flag_is_honest_when_the_search_is_cut_short(rng, monkeypatch, limit):
    layers = [layer(rng.integers(1, 50, 6), rng.random(6)) for _ in range(12)]
    monkeypatch.setattr(allocation, limit, 3)
    claimed = 0
    for budget in range(150, 260):
        found = allocate(layers, budget)
        assert_valid(found, layers, budget)
        claimed += found.exact
        monkeypatch.undo()
        least = allocate(layers, budget).loss
        monkeypatch.setattr(allocation, limit, 3)
        assert found.lower_bound <= least * (1 + 1e-12) <= found.loss * (1 + 2e-12)
        assert found.loss == pytest.approx(least, rel=1e-9) or not found.exact
    assert claimed < 110


def test_without_the_search_the_flag_says_whether_the_price_was_enough(rng):
    claims = []
    for _ in range(100):
        layers = random_layers(rng, "any", 3)
        budget = 0.5 * sum(part.costs.min() + part.costs.max() for part in layers)
        found = allocate(layers, budget, exact=False)
        assert_valid(found, layers, budget)
        least = brute_force(layers, budget)
        assert found.lower_bound <= least + 1e-12
        claims.append(found.exact)
        if found.exact:
            assert found.loss == pytest.approx(least, rel=1e-9)
    assert 0 < sum(claims) < 100


def test_the_order_of_layers_and_options_does_not_matter(rng):
    layers = factored_layers(rng, 8, 8)
    budget = 0.5 * sum(part.costs[-1] for part in layers)
    least = allocate(layers, budget).loss
    shuffled = [
        layer(part.costs[order], part.losses[order])
        for part in layers[::-1]
        for order in [rng.permutation(part.costs.size)]
    ]
    assert allocate(shuffled, budget).loss == pytest.approx(least, rel=1e-12)


def test_more_budget_never_costs_loss(rng):
    layers = factored_layers(rng, 10, 8)
    dense = sum(part.costs[-1] for part in layers)
    losses = [allocate(layers, share * dense).loss for share in np.linspace(0.2, 1.0, 25)]
    assert (np.diff(losses) <= 1e-12).all()
    assert losses[-1] == 0.0


@pytest.mark.parametrize(
    ("costs", "losses", "error", "message"),
    [
        ([], [], InputError, r"costs of shape \(0,\) and losses of shape \(0,\)"),
        ([1, 2], [1], InputError, r"costs of shape \(2,\) and losses of shape \(1,\)"),
        ([[1]], [[1]], InputError, r"costs of shape \(1, 1\)"),
        ([-1], [0], InputError, "cost -1 is below 0"),
        ([np.nan], [0], NonFiniteError, "hold NaN or infinity"),
        ([1], [np.inf], NonFiniteError, "hold NaN or infinity"),
    ],
)
def test_options_refuse(costs, losses, error, message):
    with pytest.raises(error, match=message):
        LayerOptions(costs, losses)  # type: ignore[arg-type]


def test_options_take_lists():
    assert allocate([LayerOptions([1, 2], [5, 1])], 2).choice == (1,)  # type: ignore[arg-type]
