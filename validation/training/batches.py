"""Which blocks each student sees next: its own subset, in a new order every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theorykit.errors import InputError
from validation.training.data import Blocks

Indices = NDArray[np.intp]


class BlockOrders:
    """The orders of S students; students of the same subset and seed see the same blocks at the same step.

    Args:
        subsets: For each student, the numbers of the blocks that it may see, as from a nested subset.
        seeds: For each student.

    Attributes:
        subsets: As given.
    """

    def __init__(self, subsets: Sequence[Indices], seeds: Sequence[int]) -> None:
        if len(subsets) != len(seeds) or not subsets:
            raise InputError(f"{len(subsets)} subsets and {len(seeds)} seeds", "give one of both for each student")
        if any(len(subset) == 0 for subset in subsets):
            raise InputError("a subset holds no block", "give each student at least one")
        self.subsets = [np.asarray(subset, dtype=np.intp) for subset in subsets]
        self._generators = [np.random.default_rng([seed, 2]) for seed in seeds]  # not the draws of the subsets
        self._waiting: list[Indices] = [np.empty(0, dtype=np.intp) for _ in subsets]

    @property
    def count(self) -> int:
        """Return S."""
        return len(self.subsets)

    def next(self, blocks: Blocks, size: int) -> Blocks:
        """Return the next ``size`` blocks of each student ``[S, size, T]``."""
        return np.stack([np.asarray(blocks[self._taken(number, size)]) for number in range(self.count)])

    def _taken(self, number: int, size: int) -> Indices:
        while self._waiting[number].size < size:
            order = self._generators[number].permutation(self.subsets[number])
            self._waiting[number] = np.concatenate([self._waiting[number], order])
        taken, self._waiting[number] = np.split(self._waiting[number], [size])
        return taken

    def state(self) -> list[dict[str, Any]]:
        """Return plain values from which :meth:`restore` goes on."""
        return [
            {"generator": generator.bit_generator.state, "waiting": waiting.tolist()}
            for generator, waiting in zip(self._generators, self._waiting, strict=True)
        ]

    def restore(self, state: Sequence[dict[str, Any]]) -> None:
        """Go back to a state of the same subsets."""
        for number, one in enumerate(state):
            self._generators[number].bit_generator.state = one["generator"]
            self._waiting[number] = np.array(one["waiting"], dtype=np.intp)
