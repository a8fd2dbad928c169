"""Inverses of the maps of the published tasks, written on their own, and densities of their base laws."""

from __future__ import annotations

import numpy as np
from scipy.linalg import expm
from scipy.special import ndtri
from scipy.stats import multivariate_normal, multivariate_t, norm


def unspiralled(points: np.ndarray, plane: tuple[int, int]) -> np.ndarray:
    """Undo x → exp(A ‖x‖²/d) x point by point; A is the generator of rotations in the plane."""
    size = points.shape[1]
    generator = np.zeros((size, size))
    generator[plane], generator[plane[::-1]] = -1.0, 1.0
    return np.array([expm(-generator * (point @ point) / size) @ point for point in points])


def unrolled(points: np.ndarray) -> np.ndarray:
    """Undo the Swiss roll: the angle from the radius, u from 3π/2 (1 + 2u)."""
    angle = 21 * np.hypot(points[:, :1], points[:, 1:])
    return (angle / (1.5 * np.pi) - 1) / 2


def unmixed(points: np.ndarray, weights: tuple[float, float], means: tuple[float, float]) -> np.ndarray:
    """Map a mixture of two unit-variance normals to normal scores."""
    return ndtri(sum(weight * norm.cdf(points, loc=mean) for weight, mean in zip(weights, means, strict=True)))


def uncubed(points: np.ndarray) -> np.ndarray:
    return np.sign(points) * np.abs(points) ** (2 / 3)


def unwiggled(points: np.ndarray, wave) -> np.ndarray:
    """Invert the increasing ``wave`` by halving [−10, 10] 60 times."""
    low, high = np.full_like(points, -10), np.full_like(points, 10)
    for _ in range(60):
        middle = (low + high) / 2
        below = wave(middle) < points
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


def wave_x(x: np.ndarray) -> np.ndarray:
    return x + 0.4 * np.sin(x) + 0.2 * np.sin(1.7 * x + 1) + 0.03 * np.sin(3.3 * x - 2.5)


def wave_y(x: np.ndarray) -> np.ndarray:
    return x - 0.4 * np.sin(0.4 * x) + 0.17 * np.sin(1.3 * x + 3.5) + 0.02 * np.sin(4.3 * x - 2.5)


def log_ratio(pair: tuple[np.ndarray, np.ndarray], dispersion: np.ndarray, degrees: float = np.inf) -> np.ndarray:
    """log p(x, y) / (p(x) p(y)) of centred Gaussian or Student-t pairs, by the densities of scipy."""
    split = pair[0].shape[1]

    def log_density(points: np.ndarray, shape: np.ndarray) -> np.ndarray:
        if np.isinf(degrees):
            return multivariate_normal(cov=shape).logpdf(points)
        return multivariate_t(shape=shape, df=degrees).logpdf(points)

    return (
        log_density(np.hstack(pair), dispersion)
        - log_density(pair[0], dispersion[:split, :split])
        - log_density(pair[1], dispersion[split:, split:])
    )
