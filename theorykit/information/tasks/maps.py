"""Injective maps of samples ``[n, d]``: I(f(X); g(Y)) = I(X; Y) for every one of them."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr, ndtri

from theorykit.arguments import Floats

_REACH = 12.0
"""Beyond this many standard deviations outside its means no mixture is tabulated: probability below 1e-32."""
_KNOTS = 20_001


def normal_cdf(points: Floats) -> Floats:
    """Map each coordinate by the standard normal distribution function, onto (0, 1)."""
    return np.asarray(ndtr(points), dtype=np.float64)


def half_cube(points: Floats) -> Floats:
    """Map each coordinate by x √|x|, increasing with longer tails."""
    return points * np.sqrt(np.abs(points))


def wiggly(points: Floats, *, waves: tuple[tuple[float, float, float], ...]) -> Floats:
    """Map each coordinate by x + Σ a sin(b x + c) over the waves (a, b, c); increasing where Σ |a b| < 1."""
    return points + sum(a * np.sin(b * points + c) for a, b, c in waves)


def mixture_quantile(points: Floats, *, weights: tuple[float, ...], means: tuple[float, ...]) -> Floats:
    """Map each standard normal coordinate z by F⁻¹(Φ(z)), F the distribution of a mixture of unit-variance normals.

    Φ⁻¹(F(x)) is tabulated at 20 001 points and inverted by a monotone cubic: increasing whatever the error of the
    table (1e-10 of Φ(z)), so that the information is exactly kept.
    """
    from scipy.interpolate import PchipInterpolator

    knots = np.linspace(min(means) - _REACH, max(means) + _REACH, _KNOTS)
    offsets, shares = knots[:, None] - np.asarray(means), np.asarray(weights)
    below, above = ndtr(offsets) @ shares, ndtr(-offsets) @ shares
    scores = np.where(below < above, ndtri(below), -ndtri(above))
    return np.asarray(PchipInterpolator(scores, knots)(points), dtype=np.float64)


def spiral(points: Floats, *, plane: tuple[int, int], speed: float) -> Floats:
    """Rotate each point by the angle ``speed`` · ‖x‖² in the plane of two coordinates; undone by the opposite speed."""
    i, j = plane
    angle = speed * np.einsum("nd,nd->n", points, points)
    cosine, sine = np.cos(angle), np.sin(angle)
    turned = points.copy()
    turned[:, i] = cosine * points[:, i] - sine * points[:, j]
    turned[:, j] = sine * points[:, i] + cosine * points[:, j]
    return turned


def swiss_roll(points: Floats) -> Floats:
    """Roll u in [0, 1], ``[n, 1]``, up in the plane: t (cos t, sin t)/21 with t = 3π(½ + u); injective, ‖·‖ = t/21."""
    angle = 3 * math.pi * (0.5 + points)
    return np.asarray(angle * np.hstack([np.cos(angle), np.sin(angle)]) / 21, dtype=np.float64)


def heavy_tails(points: Floats, *, tail: float, scale: Floats) -> Floats:
    """Map each coordinate by x exp(h x²/(2 s²)), s its scale: Tukey's h; moments below 1/h are finite if Gaussian."""
    return points * np.exp(tail / 2 * (points / scale) ** 2)
