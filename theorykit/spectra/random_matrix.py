"""What a matrix of pure noise would show: Marchenko–Pastur edges, the noise level, the optimal hard threshold."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from theorykit.arguments import non_increasing, positive_number, shape_2d
from theorykit.errors import InputError


def marchenko_pastur_edges(shape: tuple[int, int], noise: float) -> tuple[float, float]:
    """Compute the edges σ|√m − √n| and σ(√m + √n) of the singular values of m × n iid noise.

    An asymptotic equality (Marchenko & Pastur 1967; Bai & Yin 1993) for independent entries of mean 0,
    standard deviation ``noise`` and finite fourth moment as m, n → ∞ with m/n fixed.

    Args:
        shape: (m, n).
        noise: Standard deviation of one entry, in the unit of the matrix, above 0.

    Returns:
        Lower and upper edge, in the unit of the matrix.

    Raises:
        InputError: ``noise`` is not above 0 or the shape is not that of a matrix.

    Example:
        >>> marchenko_pastur_edges((4, 1), 1.0)
        (1.0, 3.0)
    """
    m, n = shape_2d(shape)
    noise = positive_number("noise", noise)
    return noise * abs(np.sqrt(m) - np.sqrt(n)).item(), noise * (np.sqrt(m) + np.sqrt(n)).item()


@lru_cache(maxsize=256)
def marchenko_pastur_median(aspect: float) -> float:
    """Compute the median eigenvalue of the Marchenko–Pastur law with unit variance and aspect β = min/max ≤ 1.

    Found by integrating the density in the angle φ, x = 1 + β − 2√β cos φ, where it is smooth at both edges.

    Args:
        aspect: β in (0, 1].

    Returns:
        The median of the eigenvalues of Z Zᵀ / max(m, n), Z with iid entries of variance 1; below 1.

    Example:
        >>> round(marchenko_pastur_median(1.0), 4)
        0.6528
    """
    aspect = positive_number("aspect", aspect)
    if aspect > 1:
        raise InputError(f"aspect = {aspect} is above 1", "give min(m, n) / max(m, n)")
    # dF = sqrt((x₊ − x)(x − x₋)) / (2π β x) dx; with the angle the integrand is 2 sin²φ / (π x) on [0, π]
    angles = (np.arange(20_000) + 0.5) * (np.pi / 20_000)
    points = 1 + aspect - 2 * np.sqrt(aspect) * np.cos(angles)
    cumulative = np.cumsum(2 * np.sin(angles) ** 2 / points) / 20_000
    return float(np.interp(0.5 * cumulative[-1], cumulative - np.diff(cumulative, prepend=0) / 2, points))


def noise_level(singular_values: Any, shape: tuple[int, int]) -> float:
    """Estimate the standard deviation of the noise from the median singular value.

    σ̂ = median(s) / sqrt(max(m, n) · μ_β): right as the share of signal among the values goes to 0
    (Gavish & Donoho 2014, section III.E), an over-estimate with any larger share (1.24 σ at 30 % strong signal).

    Args:
        singular_values: ``[q]``, non-negative, non-increasing.
        shape: (m, n).

    Returns:
        Standard deviation of one entry, in the unit of the matrix.

    Raises:
        InputError: not min(m, n) singular values.
    """
    m, n = shape_2d(shape)
    values = non_increasing("singular_values", singular_values)
    if values.size != min(m, n):
        raise InputError(f"{values.size} singular values for shape {m} × {n}", f"give all {min(m, n)} of them")
    return float(np.median(values) / np.sqrt(max(m, n) * marchenko_pastur_median(min(m, n) / max(m, n))))


def optimal_hard_threshold(shape: tuple[int, int], *, noise: float | None = None, singular_values: Any = None) -> float:
    """Compute the singular value below which a component is better dropped than kept (Gavish & Donoho 2014).

    λ(β) sqrt(max(m, n)) σ with λ(β) = sqrt(2(β + 1) + 8β / (β + 1 + sqrt(β² + 14β + 1))): asymptotically
    optimal in mean squared error for a low-rank signal in white noise, any aspect ratio β = min/max. It
    answers a denoising question; it does not know the loss of a language model.

    Args:
        shape: (m, n).
        noise: σ, the standard deviation of one entry, where it is known.
        singular_values: ``[q]``; used to estimate σ from their median where ``noise`` is not given.

    Returns:
        The threshold, in the unit of the matrix.

    Raises:
        InputError: neither or both of ``noise`` and ``singular_values`` are given.

    References:
        Gavish & Donoho (2014), The optimal hard threshold for singular values is 4/√3, IEEE Trans. Inf.
        Theory 60(8), eqs 11 and 14.

    Example:
        >>> round(optimal_hard_threshold((100, 100), noise=0.1) * 3**0.5, 12)
        4.0
    """
    m, n = shape_2d(shape)
    if (noise is None) == (singular_values is None):
        raise InputError("give either noise or singular_values", "the other is computed from it")
    sigma = noise_level(singular_values, shape) if noise is None else positive_number("noise", noise)
    beta = min(m, n) / max(m, n)
    factor = 2 * (beta + 1) + 8 * beta / (beta + 1 + np.sqrt(beta**2 + 14 * beta + 1))
    return float(np.sqrt(factor * max(m, n)) * sigma)
