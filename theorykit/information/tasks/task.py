"""One pair of random vectors whose mutual information is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from theorykit.arguments import Floats, checked_generator, positive_integer

Sampler = Callable[[int, np.random.Generator], tuple[Floats, Floats]]


@dataclass(frozen=True, eq=False)
class InformationTask:
    """A law of (X, Y) to sample from, with its mutual information in closed form.

    Attributes:
        name: As published where the task was, such as ``"Bimodal 1 × 1"``.
        identifier: The same without spaces, as published, such as ``"1v1-bimodal-0.75"``.
        dimensions: (d_x, d_y).
        information: I(X; Y) in nats, exact up to rounding.
        gaussian_copula: Whether increasing maps of the single coordinates make (X, Y) jointly Gaussian.
        sampler: Draws n pairs with a generator; :meth:`sample` checks its arguments first.
    """

    name: str
    identifier: str
    dimensions: tuple[int, int]
    information: float
    gaussian_copula: bool
    sampler: Sampler = field(repr=False)

    def sample(self, n_samples: Any, generator: Any) -> tuple[Floats, Floats]:
        """Draw independent pairs.

        Args:
            n_samples: N ≥ 1.
            generator: A ``numpy.random.Generator``; the same seed draws the same pairs.

        Returns:
            X ``[N, d_x]`` and Y ``[N, d_y]``, float64.

        Raises:
            InputError: N no whole number of at least 1, or ``generator`` no ``numpy.random.Generator``.
        """
        count = positive_integer("n_samples", n_samples)
        return self.sampler(count, checked_generator(generator))
