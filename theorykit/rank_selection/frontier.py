"""The least of a loss that depends on two sums over the layers: of their raw losses, and of their degrees of freedom.

The predicted loss F(L, k) grows with the sum L of the raw losses and with the degrees of freedom k, and bends in both,
so that one price does not find its least value. Every common price λ of k gives a choice that no other beats in
L + λ k, and a bound that holds for all choices; together they enclose the least F. Where few choices are left, all
are tried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from theorykit.arguments import Floats
from theorykit.rank_selection.allocation import Allocation, LayerOptions, allocate

_MOST_PRICES = 48
_FEW_OPTIONS = 3000
"""Up to so many options in all each price is solved exactly; beyond, only the one that is chosen."""
_MOST_STATES = 200_000
_PIECES = 64
_SPLITS = 8
_NEAR_ENOUGH = 5e-4
"""No price is looked for where it could lower F by less, relatively."""
_EQUAL = 1e-12
PROVEN = 1e-9
"""Largest relative gap that counts as none."""


@dataclass(frozen=True, eq=False)
class TwoSums:
    """What the options of every layer cost and add.

    Attributes:
        costs: ``[options]`` for each layer.
        losses: Raw losses, likewise.
        freedoms: Degrees of freedom, likewise.
    """

    costs: Sequence[Floats]
    losses: Sequence[Floats]
    freedoms: Sequence[Floats]

    def allocate(self, price: float, limit: float, *, exact: bool = False) -> Allocation:
        """Return the choice of least L + price · k within a limit of cost; an infinite price asks for the least k."""
        if np.isinf(price):
            weighted: Sequence[Floats] = self.freedoms
        else:
            weighted = [loss + price * freedom for loss, freedom in zip(self.losses, self.freedoms, strict=True)]
        options = [LayerOptions(cost, value) for cost, value in zip(self.costs, weighted, strict=True)]
        return allocate(options, limit, exact=exact)

    def sums(self, choice: Sequence[int]) -> tuple[float, float]:
        """Return L and k of a choice."""
        return tuple(  # type: ignore[return-value]
            float(sum(part[index] for part, index in zip(values, choice, strict=True)))
            for values in (self.losses, self.freedoms)
        )


@dataclass(frozen=True, eq=False)
class LeastLoss:
    """The best choice that was met, and how far it can be from the best of all.

    Attributes:
        allocation: The choice; its price is in units of L per unit of cost.
        value: F of it.
        lower_bound: No choice within the budget has a smaller F.
    """

    allocation: Allocation
    value: float
    lower_bound: float

    @property
    def gap(self) -> float:
        """Return how far the choice may lie above the best, relative to the best's bound: 0 is proven optimal."""
        above = self.value - self.lower_bound
        if above <= PROVEN * abs(self.value):
            return 0.0
        return above / self.lower_bound if self.lower_bound > 0 else np.inf


def least_loss(layers: TwoSums, limit: float, predicted: Callable[[float, float], float]) -> LeastLoss:
    """Choose one option per layer with the least F(L, k) at a total cost of at most ``limit``.

    Args:
        layers: Costs, raw losses and degrees of freedom of every option.
        limit: Of the sum of the costs.
        predicted: F, not falling in either argument.

    Raises:
        InputError: the budget is below what all layers together cost at least.

    References:
        Aneja & Nair (1979), Bicriteria transportation problem, Management Science 25(1), for the order of the prices.
    """
    result = _least_within(layers, limit, predicted)
    if np.isfinite(limit) and result.allocation.price == 0:
        # where the budget does not bind, the choice is to be the same at all larger ones
        free = _least_within(layers, np.inf, predicted)
        if free.allocation.cost <= limit and free.value <= result.value * (1 + PROVEN):
            return free
    return result


def _least_within(layers: TwoSums, limit: float, predicted: Callable[[float, float], float]) -> LeastLoss:
    few = sum(cost.size for cost in layers.costs) <= _FEW_OPTIONS
    ends = [_Point.of(layers, layers.allocate(price, limit, exact=few), price) for price in (0.0, np.inf)]
    points = list(ends)
    pending = [(ends[0], ends[1])]
    best = min(predicted(point.loss, point.freedom) for point in points)
    while pending and len(points) < _MOST_PRICES:
        pending.sort(key=lambda pair: -predicted(pair[0].loss, pair[1].freedom))
        low, high = pending.pop()  # the pair with the smallest corner
        if not (low.freedom > high.freedom and high.loss > low.loss):
            continue
        if predicted(low.loss, high.freedom) >= best * (1 - (0 if few else _NEAR_ENOUGH)):
            break  # nor does any other pair, whose corners are larger
        price = (high.loss - low.loss) / (low.freedom - high.freedom)
        middle = _Point.of(layers, layers.allocate(price, limit, exact=few), price)
        points.append(middle)
        best = min(best, predicted(middle.loss, middle.freedom))
        reached = low.loss + price * low.freedom
        if middle.loss + price * middle.freedom < reached - _EQUAL * abs(reached):
            pending += [(low, middle), (middle, high)]
    chosen = min(points, key=lambda point: predicted(point.loss, point.freedom))
    if not few:
        points.append(_Point.of(layers, layers.allocate(chosen.price, limit, exact=True), chosen.price))
        chosen = min(points, key=lambda point: predicted(point.loss, point.freedom))
    value = predicted(chosen.loss, chosen.freedom)
    bound = min(_lower_bound(points, predicted), value)
    result = LeastLoss(chosen.allocation, value, bound)
    return _all_tried(layers, limit, predicted, result) if few and result.gap > 0 else result


@dataclass(frozen=True, eq=False)
class _Point:
    """One choice, the price that gave it, and its bound: no choice has L + price · k below it."""

    allocation: Allocation
    price: float
    loss: float
    freedom: float

    @staticmethod
    def of(layers: TwoSums, allocation: Allocation, price: float) -> _Point:
        return _Point(allocation, price, *layers.sums(allocation.choice))

    @property
    def bound(self) -> float:
        return self.allocation.lower_bound


def _lower_bound(points: Sequence[_Point], predicted: Callable[[float, float], float]) -> float:
    """Return a value below F of every choice: F grows in both sums, and each price bounds L from below by k.

    Over a piece [k₁, k₂] of the degrees of freedom, L is at least what the prices leave at k₂, and F at least F there
    and at k₁.
    """
    least, most = (next(point for point in points if point.price == price) for price in (np.inf, 0.0))
    best = min(predicted(point.loss, point.freedom) for point in points)
    priced = [point for point in points if np.isfinite(point.price)]
    prices, bounds = np.array([point.price for point in priced]), np.array([point.bound for point in priced])

    def below(start: float, end: float) -> float:
        return predicted(max(float((bounds - prices * end).max()), most.bound, 0.0), start)

    # beyond the freedom of the least loss, that loss alone bounds
    bound = min(best, predicted(max(most.bound, 0.0), max(most.freedom, least.bound)))
    edges = np.linspace(least.bound, max(most.freedom, least.bound), _PIECES + 1).tolist()
    pieces = list(pairwise(edges))
    for _ in range(_SPLITS):
        valued = [(below(*piece), piece) for piece in pieces]
        # only what lies below the best is worth a closer look
        pieces = [piece for value, piece in valued if value < best * (1 - PROVEN)]
        if not pieces:
            return bound
        pieces = [half for start, end in pieces for half in ((start, (start + end) / 2), ((start + end) / 2, end))]
        if len(pieces) > _PIECES * _PIECES:
            break
    return min([bound, *(below(*piece) for piece in pieces)])


def _all_tried(layers: TwoSums, limit: float, predicted: Callable[[float, float], float], best: LeastLoss) -> LeastLoss:
    """Try all choices that could still be better, layer by layer, and give up where they are too many."""
    limit *= 1 + 1e-12
    rest = [
        np.concatenate([np.cumsum([float(part.min()) for part in reversed(values)])[::-1], [0.0]])
        for values in (layers.costs, layers.losses, layers.freedoms)
    ]
    states, picks = np.zeros((1, 3)), np.zeros((1, 0), dtype=np.int32)
    value = best.value
    for index, parts in enumerate(zip(layers.costs, layers.losses, layers.freedoms, strict=True)):
        own = np.stack(parts, axis=1)
        if len(states) * len(own) > _MOST_STATES:
            return best
        grown = (states[:, None, :] + own).reshape(-1, 3)
        chosen = np.concatenate(
            [np.repeat(picks, len(own), axis=0), np.tile(np.arange(len(own), dtype=np.int32), len(states))[:, None]],
            axis=1,
        )
        ahead = grown + [part[index + 1] for part in rest]
        fits = ahead[:, 0] <= limit
        fits[fits] = [predicted(float(loss), float(freedom)) < value for _, loss, freedom in ahead[fits]]
        states, picks = _undominated(grown[fits], chosen[fits])
        if not len(states):
            break
    if len(states):
        values = [predicted(float(loss), float(freedom)) for _, loss, freedom in states]
        winner = int(np.argmin(values))
        if values[winner] < value:
            choice = tuple(int(index) for index in picks[winner])
            loss, freedom = layers.sums(choice)
            value = predicted(loss, freedom)
            cost = float(states[winner, 0])
            best = replace(best, allocation=replace(best.allocation, choice=choice, cost=cost, loss=loss))
    return LeastLoss(best.allocation, value, value)


def _undominated(states: Floats, picks: NDArray[np.int32]) -> tuple[Floats, NDArray[np.int32]]:
    """Leave out states that another undercuts in cost, loss and freedom; a pass over those of least cost first."""
    order = np.lexsort((states[:, 2], states[:, 1], states[:, 0]))
    states, picks = states[order], picks[order]
    if len(states) > 4000:  # the search of pairs would take longer than the states that it saves
        return states, picks
    kept: list[int] = []
    front = np.empty((0, 3))
    for index, state in enumerate(states):
        if len(kept) and bool(np.all(front <= state, axis=1).any()):
            continue
        kept.append(index)
        front = states[kept]
    return states[kept], picks[kept]
