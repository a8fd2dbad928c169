"""The least loss of two sums against enumeration, its bound, and what budgets do to it."""

from itertools import product

import numpy as np
import pytest

from theorykit.rank_selection import frontier
from theorykit.rank_selection.frontier import TwoSums, least_loss


def drawn(rng, layers, options):
    """Losses that fall and freedoms that grow with the cost, as ranks have them, with a jump at the end."""
    costs, losses, freedoms = [], [], []
    for _ in range(layers):
        cost = np.cumsum(rng.integers(1, 9, options)).astype(float)
        costs.append(cost)
        losses.append(np.sort(rng.random(options) ** rng.uniform(0.5, 4))[::-1] * rng.uniform(0.1, 3))
        freedoms.append(np.cumsum(rng.random(options)) * 10)
    return TwoSums(costs, losses, freedoms)


def bent(rng):
    """A loss of the tool's kind: a power of L, and a noise that grows with it."""
    power, floor, price = rng.uniform(0.7, 1.8), rng.random(), 10 ** rng.uniform(-3, 0)

    def predicted(loss, freedom):
        kl = loss**power
        return kl + price * freedom * (floor + (1 - floor) * min(1.0, 2 * kl))

    return predicted


def enumerated(layers, limit, predicted):
    best = np.inf
    for choice in product(*(range(cost.size) for cost in layers.costs)):
        if sum(cost[index] for cost, index in zip(layers.costs, choice, strict=True)) <= limit:
            best = min(best, predicted(*layers.sums(choice)))
    return best


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_it_is_the_least_of_all_choices(layers):
    rng = np.random.default_rng(layers)
    for _ in range(40):
        sums, predicted = drawn(rng, layers, 7), bent(rng)
        least, most = (sum(float(pick(cost)) for cost in sums.costs) for pick in (np.min, np.max))
        limit = rng.uniform(least, most)
        result = least_loss(sums, limit, predicted)
        assert result.value == pytest.approx(enumerated(sums, limit, predicted), rel=1e-9)
        assert result.gap == 0
        assert sum(cost[index] for cost, index in zip(sums.costs, result.allocation.choice, strict=True)) <= limit
        assert predicted(*sums.sums(result.allocation.choice)) == pytest.approx(result.value, rel=1e-9)


def test_where_not_all_is_tried_the_bound_holds_and_says_the_gap(monkeypatch):
    monkeypatch.setattr(frontier, "_MOST_STATES", 0)
    rng = np.random.default_rng(7)
    gaps = []
    for _ in range(60):
        sums, predicted = drawn(rng, 3, 6), bent(rng)
        limit = rng.uniform(
            sum(float(cost.min()) for cost in sums.costs), sum(float(cost.max()) for cost in sums.costs)
        )
        result, least = least_loss(sums, limit, predicted), enumerated(sums, limit, predicted)
        assert result.lower_bound <= least * (1 + 1e-9)
        assert least * (1 - 1e-9) <= result.value <= least * (1 + result.gap) * (1 + 1e-9)
        gaps.append(result.gap)
    assert max(gaps) > 0  # else nothing was left to bound


def test_a_larger_budget_never_costs_more():
    rng = np.random.default_rng(3)
    for _ in range(5):
        sums, predicted = drawn(rng, 3, 8), bent(rng)
        least, most = (sum(float(pick(cost)) for cost in sums.costs) for pick in (np.min, np.max))
        values = [least_loss(sums, limit, predicted).value for limit in np.linspace(least, 1.1 * most, 12)]
        assert (np.diff(values) <= 1e-12).all()
