"""How many dimensions a matrix really has: five measures, each named after its definition."""

from __future__ import annotations

from typing import Any

import numpy as np

from theorykit.arguments import Floats, non_increasing, positive_number, shape_2d
from theorykit.errors import InputError


def _weights(singular_values: Any, power: int) -> Floats:
    """Return s_i^power / Σ s^power, or raise for the zero matrix."""
    values = non_increasing("singular_values", singular_values)
    if values[0] == 0:
        raise InputError("all singular values are 0", "the zero matrix has no rank measure")
    scaled = (values / values[0]) ** power
    return np.asarray(scaled / scaled.sum(), dtype=np.float64)


def _exponential_entropy(weights: Floats) -> float:
    positive = weights[weights > 0]
    return float(np.exp(-(positive * np.log(positive)).sum()))


def stable_rank(singular_values: Any) -> float:
    """Compute ‖W‖_F² / ‖W‖₂² = Σ s_i² / s_1², a number in [1, q] (Rudelson & Vershynin 2007).

    Args:
        singular_values: ``[q]``, non-negative, non-increasing, not all 0.

    Raises:
        InputError: all singular values are 0, or they are not sorted.

    Example:
        >>> stable_rank([2.0, 2.0, 0.0])
        2.0
    """
    return float(1.0 / _weights(singular_values, 2)[0])


def effective_rank(singular_values: Any) -> float:
    """Compute exp(entropy of s_i / Σ s), natural logarithm, in [1, q] (Roy & Vetterli 2007).

    Args:
        singular_values: ``[q]``, non-negative, non-increasing, not all 0.

    Raises:
        InputError: all singular values are 0, or they are not sorted.

    Example:
        >>> round(effective_rank([1.0, 1.0, 1.0, 0.0]), 12)
        3.0
    """
    return _exponential_entropy(_weights(singular_values, 1))


def effective_rank_energy(singular_values: Any) -> float:
    """Compute exp(entropy of s_i² / Σ s²): the effective rank on energies, never above that on values.

    The second definition in use (the von Neumann entropy of WᵀW / tr WᵀW; for example Del Giudice 2021).

    Example:
        >>> round(effective_rank_energy([1.0, 1.0, 0.0]), 12)
        2.0
    """
    return _exponential_entropy(_weights(singular_values, 2))


def participation_ratio(singular_values: Any) -> float:
    """Compute (Σ s²)² / Σ s⁴, in [1, q].

    Example:
        >>> participation_ratio([1.0, 1.0])
        2.0
    """
    weights = _weights(singular_values, 2)
    return float(1.0 / (weights**2).sum())


def energy_rank(singular_values: Any, share: float) -> int:
    """Find the least rank r with Σ_{i≤r} s_i² ≥ share · Σ s².

    Args:
        singular_values: ``[q]``, non-negative, non-increasing, not all 0.
        share: In (0, 1], of the squared Frobenius norm.

    Raises:
        InputError: ``share`` outside (0, 1], or all singular values 0.

    Example:
        >>> energy_rank([3.0, 1.0], 0.9)
        1
    """
    share = positive_number("share", share)
    if share > 1:
        raise InputError(f"share = {share} is above 1", "give a share of the energy in (0, 1]")
    weights = _weights(singular_values, 2)
    # the tail that may go, summed from the small end, decides: 1 − share with a rounding of q·eps allowed
    tails = np.concatenate([np.cumsum(weights[::-1])[::-1], [0.0]])
    return int(np.argmax(tails <= (1.0 - share) + weights.size * np.finfo(float).eps)) or 1


def numerical_rank(singular_values: Any, shape: tuple[int, int]) -> int:
    """Count s_i > max(m, n) · eps · s_1, NumPy's and MATLAB's convention for float64.

    Example:
        >>> numerical_rank([1.0, 0.0], (2, 2))
        1
    """
    values = non_increasing("singular_values", singular_values)
    return int((values > max(shape_2d(shape)) * np.finfo(float).eps * values[0]).sum())
