"""Draws of paired vectors: every function returns X ``[n, d_x]`` and Y ``[n, d_y]``, float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from theorykit.arguments import Floats
from theorykit.information.tasks.task import Sampler

Map = Callable[[Floats], Floats]


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


def mapped_pairs(
    n_samples: int, generator: np.random.Generator, *, base: Sampler, maps: tuple[Map, Map]
) -> tuple[Floats, Floats]:
    """Draw (f(X), g(Y)) for the maps f, g of ``[n, d]`` arrays; injective ones leave the information as it is."""
    first, second = base(n_samples, generator)
    return maps[0](first), maps[1](second)
