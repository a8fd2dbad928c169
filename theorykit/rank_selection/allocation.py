"""One budget over all layers: the cheapest choice of one option per layer, by a common price and exact at its jumps.

This is the multiple-choice knapsack problem. A common price per unit of cost solves it wherever the loss of each
layer is convex in its cost; the jump from two factors back to one dense matrix, and ranks in multiples, break
that. The price then leaves a gap of at most one step of one layer (Sinha & Zoltners 1979); what remains within the
gap is searched exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from theorykit.arguments import Floats
from theorykit.errors import InputError, NonFiniteError

_EXACT = 1e-9
_BUDGET_ROUNDING = 1e-12
_MOST_STATES = 300_000
_MOST_COMBINATIONS = 20_000_000


@dataclass(frozen=True, eq=False)
class LayerOptions:
    """What one layer may become.

    Attributes:
        costs: ``[k]``, at least 0.
        losses: ``[k]``, any finite numbers.
    """

    costs: Floats
    losses: Floats

    def __post_init__(self) -> None:
        costs, losses = (np.asarray(values, dtype=np.float64) for values in (self.costs, self.losses))
        if costs.ndim != 1 or costs.size == 0 or costs.shape != losses.shape:
            raise InputError(
                f"costs of shape {costs.shape} and losses of shape {losses.shape}",
                "give two vectors of the same length, at least one option",
            )
        if not (np.isfinite(costs).all() and np.isfinite(losses).all()):
            raise NonFiniteError("the options of a layer hold NaN or infinity", "leave out what is not possible")
        if (costs < 0).any():
            raise InputError(f"cost {costs.min():.4g} is below 0", "give costs of at least 0")
        object.__setattr__(self, "costs", costs)
        object.__setattr__(self, "losses", losses)


@dataclass(frozen=True)
class Allocation:
    """One option per layer.

    Attributes:
        choice: Index of the option of each layer, ``[layers]``.
        cost: Sum of the costs.
        loss: Sum of the losses.
        price: Loss that one more unit of cost would save; 0 where the budget does not bind.
        lower_bound: No choice within the budget has a smaller loss than this.
        least_loss: Sum of the least loss of every layer: what an unlimited budget would give.
    """

    choice: tuple[int, ...]
    cost: float
    loss: float
    price: float
    lower_bound: float
    least_loss: float

    @property
    def exact(self) -> bool:
        """Return whether the choice is proven optimal, to 1e-9 of what its loss has above ``least_loss``."""
        return self.loss - self.lower_bound <= _EXACT * (self.loss - self.least_loss)


def _hull(option: LayerOptions) -> list[int]:
    """Return the indices of the lower convex hull of (cost, loss), from the cheapest to the one of least loss."""
    costs, losses = option.costs.tolist(), option.losses.tolist()  # a loop over floats, not over NumPy's scalars
    hull: list[int] = []
    for index in np.lexsort((option.losses, option.costs)).tolist():
        cost, loss = costs[index], losses[index]
        if hull and (loss >= losses[hull[-1]] or cost == costs[hull[-1]]):
            continue
        while len(hull) >= 2:
            before, last = hull[-2], hull[-1]
            left = (losses[before] - losses[last]) * (cost - costs[last])
            right = (losses[last] - loss) * (costs[last] - costs[before])
            if left > right:
                break
            hull.pop()
        hull.append(index)
    return hull


def _steps(options: Sequence[LayerOptions], hulls: Sequence[list[int]]) -> list[tuple[float, int, int]]:
    """Return all hull steps as (price, layer, position on the hull), the best price first."""
    steps = []
    for layer, (option, hull) in enumerate(zip(options, hulls, strict=True)):
        price = float("inf")
        for position in range(1, len(hull)):
            before, after = hull[position - 1], hull[position]
            saved = option.losses[before] - option.losses[after]
            # prices fall along a hull; rounding must not let a later step overtake an earlier one
            price = min(price, float(saved / (option.costs[after] - option.costs[before])))
            steps.append((price, layer, position))
    # Python's sort is stable: a layer's own steps stay in order where their prices are equal
    return sorted(steps, key=lambda step: -step[0])


def allocate(options: Sequence[LayerOptions], budget: float, *, exact: bool = True) -> Allocation:
    """Choose one option per layer with the least total loss at a total cost of at most ``budget``.

    Args:
        options: One entry per layer.
        budget: In the unit of the costs, at least 0; infinity for none.
        exact: Search the gap that the common price leaves; otherwise take what the price gives.

    Returns:
        The choice, with its common price and the lower bound that proves it.

    Raises:
        InputError: even the cheapest option of every layer costs more than the budget, or the budget is not a number.

    References:
        Sinha & Zoltners (1979), The multiple-choice knapsack problem, Operations Research 27(3); Dyer, Kayal & Walker
        (1984), A branch and bound algorithm for solving the multiple-choice knapsack problem, for the reduction.

    Example:
        >>> two = LayerOptions(np.array([1.0, 2.0]), np.array([5.0, 1.0]))
        >>> allocate([two, two], 3.0).loss
        6.0
    """
    if not budget >= 0:
        raise InputError(f"budget = {budget!r} has to be at least 0", "give a budget in the unit of the costs")
    hulls = [_hull(option) for option in options]
    position = [0] * len(options)
    cost = float(sum(option.costs[hull[0]] for option, hull in zip(options, hulls, strict=True)))
    limit = budget * (1 + _BUDGET_ROUNDING)
    if cost > limit:
        raise InputError(
            f"the budget {budget:,.0f} is below {cost:,.0f}, the least that all layers together can cost",
            "give a larger budget (0.8 or 80% is a share) or a smaller rank multiple",
        )
    price = 0.0
    blocked: set[int] = set()
    for step_price, layer, place in _steps(options, hulls):
        hull = hulls[layer]
        extra = float(options[layer].costs[hull[place]] - options[layer].costs[hull[place - 1]])
        if layer not in blocked and cost + extra <= limit:
            position[layer] = place
            cost += extra
        else:
            price = price or step_price  # the first step that does not fit is the price of the linear relaxation
            blocked.add(layer)
    choice = [hull[place] for hull, place in zip(hulls, position, strict=True)]
    cost, loss = _total(options, choice)
    least = float(sum(option.losses.min() for option in options))
    if not blocked:
        return Allocation(tuple(choice), cost, loss, price, loss, least)
    bound = min(_dual_bound(options, limit, price), loss)
    rounding = 4 * np.finfo(float).eps * sum(np.abs(option.losses).max() for option in options)
    if loss - bound <= rounding:
        bound = loss
    best = Allocation(tuple(choice), cost, loss, price, bound, least)
    return best if best.exact or not exact else _close_gap(options, limit, best)


def _total(options: Sequence[LayerOptions], choice: Sequence[int]) -> tuple[float, float]:
    picked = list(zip(options, choice, strict=True))
    return (
        float(sum(option.costs[index] for option, index in picked)),
        float(sum(option.losses[index] for option, index in picked)),
    )


def _dual_bound(options: Sequence[LayerOptions], limit: float, price: float) -> float:
    """Return Σ_l min_j (loss + price · cost) − price · limit: no feasible choice has a smaller loss."""
    return float(sum((option.losses + price * option.costs).min() for option in options) - price * limit)


def _close_gap(options: Sequence[LayerOptions], limit: float, best: Allocation) -> Allocation:
    """Search what the price leaves open: only options within the gap can be part of a better choice."""
    choice, complete = _search_core(options, limit, best.price, best.loss - best.lower_bound)
    if choice:
        cost, loss = _total(options, choice)
        if loss < best.loss:
            best = replace(best, choice=tuple(choice), cost=cost, loss=loss)
    return replace(best, lower_bound=best.loss) if complete else best


def _search_core(options: Sequence[LayerOptions], limit: float, price: float, gap: float) -> tuple[list[int], bool]:
    """Find the best choice whose loss lies at most ``gap`` above the bound, by dynamic programming with dominance.

    A state is one choice for the layers seen so far, as its cost and its excess of reduced loss (loss + price · cost)
    over the best of every layer. The loss of a complete choice is the bound plus its excess plus price times the
    budget it leaves, both at least 0: a state whose excess alone exceeds the gap is dropped, as is one that
    another undercuts in cost and in loss.

    Returns:
        The choice (empty if none is better) and whether the search was complete.
    """
    reduced = [option.losses + price * option.costs for option in options]
    best = [int(np.argmin(values)) for values in reduced]
    slack = limit - sum(option.costs[index] for option, index in zip(options, best, strict=True))
    # what sums and differences of the reduced losses may be off by: nothing is dropped for that much
    rounding = 16 * np.finfo(float).eps * (sum(np.abs(values).max() for values in reduced) + price * limit)
    costs, excess = np.zeros(1), np.zeros(1)
    history: list[tuple[int, list[int], NDArray[np.intp], NDArray[np.intp]]] = []
    for layer, option in enumerate(options):
        above = reduced[layer] - reduced[layer][best[layer]]
        core = np.flatnonzero(above <= gap + rounding)
        if core.size == 1:
            continue
        if costs.size * core.size > _MOST_COMBINATIONS:
            return [], False
        all_costs = (costs[:, None] + (option.costs[core] - option.costs[best[layer]])[None, :]).ravel()
        all_excess = (excess[:, None] + above[core][None, :]).ravel()
        fits = all_costs <= slack
        if fits.any():
            gap = min(gap, float((all_excess + price * (slack - all_costs))[fits].min()))
        kept = np.flatnonzero(all_excess <= gap + rounding)
        order = kept[np.lexsort((all_excess[kept], all_costs[kept]))]
        losses = all_excess[order] - price * all_costs[order]
        lowest = np.minimum.accumulate(losses)
        kept = order[np.concatenate([[True], losses[1:] < lowest[:-1]])]
        if kept.size > _MOST_STATES:
            return [], False
        history.append((layer, core.tolist(), kept // core.size, kept % core.size))
        costs, excess = all_costs[kept], all_excess[kept]
    feasible = np.flatnonzero(costs <= slack)
    if not feasible.size:
        return [], True
    state = int(feasible[np.argmin(excess[feasible] - price * costs[feasible])])
    for layer, core_list, parents, picks in reversed(history):
        best[layer] = core_list[int(picks[state])]
        state = int(parents[state])
    return best, True
