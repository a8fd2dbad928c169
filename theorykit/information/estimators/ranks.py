"""Normal scores: each column replaced by the Gaussian quantiles of its ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtri

from theorykit.arguments import Floats, finite_matrix
from theorykit.information.estimate import Doubt, KeyedWarning

MANY_TIES = 0.05
"""Above this share of tied values a column counts as discrete."""


def normal_scores(samples: Any, generator: np.random.Generator) -> tuple[Floats, float]:
    """Compute Φ⁻¹(rank/(N + 1)) of each column, and the largest share of tied values in a column.

    Scores of columns that are increasing functions of those of a Gaussian vector are again those of that vector, and
    such functions leave information as it is. Ties are broken at random: the randomised distributional transform, from
    which the discrete value can be read off, so that information does not change either.

    Args:
        samples: ``[N, d]``, N ≥ 2.
        generator: Breaks ties; not drawn from where there are none.

    Returns:
        Scores ``[N, d]`` and the share in [0, 1].

    Raises:
        InputError: no matrix of numbers.
        NonFiniteError: NaN or infinity.

    References:
        van der Waerden (1952); Rüschendorf (2009), Journal of Statistical Planning and Inference 139.

    Example:
        >>> scores, ties = normal_scores([[3.0], [1e9], [-5.0]], np.random.default_rng(0))
        >>> scores.ravel().round(4).tolist(), ties  # Φ⁻¹ of ½, ¾, ¼
        ([0.0, 0.6745, -0.6745], 0.0)
    """
    matrix = finite_matrix("samples", samples)
    count = matrix.shape[0]
    quantiles = ndtri(np.arange(1, count + 1) / (count + 1))
    scores = np.empty_like(matrix)
    most = 0.0
    for index, column in enumerate(matrix.T):
        order = np.argsort(column)
        equal = np.diff(column[order]) == 0
        if equal.any():
            tied = np.r_[equal, False] | np.r_[False, equal]
            most = max(most, float(tied.mean()))
            order = np.lexsort((generator.random(count), column))
        scores[order, index] = quantiles
    return scores, most


def seeded(generator: np.random.Generator | None) -> np.random.Generator:
    """Return the generator, or a fixed one for None, so that the same input gives the same answer."""
    return np.random.default_rng(0) if generator is None else generator


def tie_warning(share: float) -> tuple[str, ...]:
    """Return a warning where a column looks discrete."""
    if share <= MANY_TIES:
        return ()
    sentence = f"ties: {share:.0%} of the values of a column occur more than once; ties were broken at random"
    return (KeyedWarning(sentence, Doubt.TIED_VALUES),)
