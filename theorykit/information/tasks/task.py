"""One pair of random vectors whose mutual information is known, and how it is drawn.

Every sampler returns X ``[n, d_x]`` and Y ``[n, d_y]``, float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from theorykit.arguments import Floats, checked_generator, positive_integer

Sampler = Callable[[int, np.random.Generator], tuple[Floats, Floats]]
Map = Callable[[Floats], Floats]


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

    def mapped(self, first: Map, second: Map, **changes: Any) -> InformationTask:
        """Return the law of (f(X), g(Y)) for injective maps f, g of ``[n, d]`` arrays: the information stays.

        Args:
            first: f.
            second: g.
            **changes: What else is not that of this task, by field.
        """
        return replace(self, sampler=partial(_mapped_pairs, base=self.sampler, maps=(first, second)), **changes)


def _mapped_pairs(
    n_samples: int, generator: np.random.Generator, *, base: Sampler, maps: tuple[Map, Map]
) -> tuple[Floats, Floats]:
    first, second = base(n_samples, generator)
    return maps[0](first), maps[1](second)


def covariance_pairs(
    n_samples: int, generator: np.random.Generator, *, factor: Floats, split: int
) -> tuple[Floats, Floats]:
    """Draw centred Gaussian pairs with the covariance L Lᵀ, L the ``factor`` ``[d, d]``; X is the first ``split``."""
    both = generator.standard_normal((n_samples, factor.shape[0])) @ factor.T
    return both[:, :split].copy(), both[:, split:].copy()


def canonical_pairs(
    n_samples: int, generator: np.random.Generator, *, correlations: Floats, mixing: tuple[Floats, Floats]
) -> tuple[Floats, Floats]:
    """Draw (A U, B V) for Gaussian U, V with unit covariances and E[U_i V_i] = ρ_i, else 0.

    Args:
        n_samples: n.
        generator: Draws U, then the innovations of V.
        correlations: ρ ``[k]``, k ≤ d; the rest is 0.
        mixing: A and B, ``[d, d]`` each. Where both are regular, ρ are the canonical correlations.
    """
    size, shared = mixing[0].shape[1], correlations.size
    first = generator.standard_normal((n_samples, size))
    second = generator.standard_normal((n_samples, size))
    second[:, :shared] *= np.sqrt((1 - correlations) * (1 + correlations))
    second[:, :shared] += correlations * first[:, :shared]
    return first @ mixing[0].T, second @ mixing[1].T


def student_pairs(
    n_samples: int, generator: np.random.Generator, *, base: Sampler, degrees_of_freedom: float
) -> tuple[Floats, Floats]:
    """Divide Gaussian pairs by one √(χ²_ν/ν) a pair: jointly Student-t, the Gaussian covariance as dispersion."""
    first, second = base(n_samples, generator)
    scale = np.sqrt(degrees_of_freedom / generator.chisquare(degrees_of_freedom, size=(n_samples, 1)))
    return first * scale, second * scale


def additive_uniform_pairs(n_samples: int, generator: np.random.Generator, *, noise: float) -> tuple[Floats, Floats]:
    """Draw X uniform on (0, 1) and Y = X + N, N uniform on (−ε, ε)."""
    first = generator.uniform(size=(n_samples, 1))
    return first, first + generator.uniform(-noise, noise, size=(n_samples, 1))
