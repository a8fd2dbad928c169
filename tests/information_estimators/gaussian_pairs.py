"""Gaussian pairs with a known answer, as rows or as a sample covariance alone."""

from __future__ import annotations

import numpy as np


def canonical_pairs(rng: np.random.Generator, count: int, correlations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """N rows of d independent pairs, the i-th with correlation ρ_i."""
    x, noise = rng.standard_normal((2, count, len(correlations)))
    return x, correlations * x + np.sqrt(1 - np.square(correlations)) * noise


def information_of(correlations: np.ndarray) -> float:
    return float(-np.log1p(-np.square(correlations)).sum() / 2)


def wishart_covariance(rng: np.random.Generator, count: int, correlations: np.ndarray) -> np.ndarray:
    """(N − 1) times the sample covariance of such rows, by Bartlett's decomposition: no rows are drawn."""
    size = len(correlations)
    root = np.tril(rng.standard_normal((2 * size, 2 * size)), -1)
    root[np.diag_indices(2 * size)] = np.sqrt(rng.chisquare(count - 1 - np.arange(2 * size)))
    lower = np.asarray(correlations)[:, None] * root[:size]
    lower = lower + np.sqrt(1 - np.square(correlations))[:, None] * root[size:]
    both = np.vstack([root[:size], lower])
    return both @ both.T
