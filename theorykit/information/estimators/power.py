"""What a critic can see at this N and d: a relation without any correlation, planted into the pair at hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from theorykit.arguments import Floats
from theorykit.information.estimators.pairs import Pair
from theorykit.information.estimators.ranks import normal_scores

PLANTED = 0.3
"""Nats of the planted relation, as far as it can be read off its second moments."""


def planted_pair(pair: Pair, generator: np.random.Generator) -> Pair:
    """Return the pair with an even relation added: y + a d |w·x|, invisible to correlations between x and y.

    Columns are brought to normal scores first. w is a random direction of the whitened x, d one of y with
    dᵀ Σ_y⁻¹ d = 1, |w·x| is brought to mean 0 and variance 1, and a² = e^(2 · 0.3) − 1, so that a linear reader of
    |w·x| would find 0.3 nats. What the pair shares already stays.

    Args:
        pair: The pair at hand.
        generator: Draws w and d, and breaks ties.

    Returns:
        A pair of the same N, d and groups.
    """
    x, y = (normal_scores(side, generator)[0] for side in (pair.x, pair.y))
    signal = np.abs(x @ np.linalg.solve(_root(x).T, _direction(x.shape[1], generator)))
    signal = (signal - signal.mean()) / signal.std()
    strength = np.sqrt(np.expm1(2 * PLANTED))
    return replace(pair, x=x, y=y + strength * np.outer(signal, _root(y) @ _direction(y.shape[1], generator)))


def _direction(size: int, generator: np.random.Generator) -> Floats:
    vector = generator.standard_normal(size)
    return np.asarray(vector / np.linalg.norm(vector))


def _root(side: Floats) -> Floats:
    """Return a root L of the covariance, L Lᵀ = Σ; a little is added to the diagonal so that it is regular."""
    covariance = np.atleast_2d(np.cov(side, rowvar=False))
    ridge = 1e-6 * np.trace(covariance) / covariance.shape[0]
    return np.asarray(np.linalg.cholesky(covariance + ridge * np.eye(covariance.shape[0])))
