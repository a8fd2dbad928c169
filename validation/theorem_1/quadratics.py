"""SGD on losses small enough to be run in bulk: noisy quadratics, a biased gradient, a truncated teacher's gradient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.signal import lfilter

import theorykit as tk
from theorykit.arguments import Floats

CURVATURES = np.array([1.0, 0.5, 0.2, 0.05])
"""Of f = Σ h_i x_i²/2, whose L is 1: where curvatures lie below L the corrected bound is not met but far away."""
START = 0.5
"""Of each coordinate."""
BIASED_STEP = 0.5
TRUNCATED_STEP = 0.05
_MATRIX, _RANK = 6, 2


def constant_step(generator: np.random.Generator, seeds: int, n_steps: int) -> tuple[Floats, Floats]:
    """Run SGD with η = 1/L = 1 and isotropic noise of variance 1 on the quadratic of ``CURVATURES``.

    Returns:
        ‖∇f(x_t)‖² and f(x_t), t = 0 … T, ``[seeds, T + 1]``.
    """
    squares, losses = np.zeros((2, seeds, n_steps + 1))
    for curvature in CURVATURES:
        noise = generator.standard_normal((seeds, n_steps)) / np.sqrt(CURVATURES.size)
        path = _path(np.full(seeds, START), 1 - curvature, -noise)
        squares += curvature**2 * path**2
        losses += curvature / 2 * path**2
    return squares, losses


def tuned_steps(generator: np.random.Generator, seeds: int, sizes: Sequence[int], coordinates: int = 4) -> Floats:
    """Run SGD on ‖x‖²/2 with Δ = σ² = 1, for each T with the step tuned to it; averages of ‖∇f‖² ``[seeds, sizes]``."""
    start = np.full(seeds, np.sqrt(2 / coordinates))
    found = np.zeros((seeds, len(sizes)))
    for place, steps in enumerate(sizes):
        step = float(tk.tuned_step_size(steps, smoothness=1.0, initial_gap=1.0, gradient_variance=1.0))
        for _ in range(coordinates):
            noise = generator.standard_normal((seeds, steps - 1)) / np.sqrt(coordinates)
            found[:, place] += (_path(start, 1 - step, -step * noise) ** 2).mean(axis=1)
    return found


def without_noise(generator: np.random.Generator, seeds: int, sizes: Sequence[int]) -> Floats:
    """Run gradient descent with η = 1/L on L x²/2 from random starts; averages of ‖∇f‖² ``[seeds, sizes]``."""
    start = 1 + generator.random(seeds)
    path = _path(start, 0.0, np.zeros((seeds, max(sizes) - 1)))
    return averages(path**2, sizes)


def biased(generator: np.random.Generator, seeds: int, sizes: Sequence[int]) -> Floats:
    """Run x²/2 with the gradient x + b, b random; averages of f'² ``[seeds, sizes]``, which tend to b²."""
    bias, start = 1 + generator.random(seeds), generator.standard_normal(seeds)
    path = _path(start, 1 - BIASED_STEP, np.repeat(-BIASED_STEP * bias[:, None], max(sizes) - 1, axis=1))
    return averages(path**2, sizes)


def truncated_teacher(
    generator: np.random.Generator, seeds: int, sizes: Sequence[int]
) -> tuple[dict[str, Floats], Floats, Floats]:
    """Train P_left, P_right on ½‖P_left W_t P_right − A‖², once by its own gradient, once by that at W_t^r.

    The second is what a gradient with an error of the order of the truncation ε (eq 7) means: it is followed although
    the loss is that of W_t. Starts are random: at the SVD of W_t both are the same (errata, eq 8).

    Returns:
        Averages of ‖∇L‖² ``[seeds, sizes]`` by name; on the path of the second the largest squared bias ‖∇L̃ − ∇L‖²
        ``[seeds]``; Δ of each seed, the loss at its start, as the least loss is 0.
    """
    left_vectors, right_vectors = (
        np.linalg.qr(generator.standard_normal((seeds, _MATRIX, _MATRIX)))[0] for _ in range(2)
    )
    values = 1 / np.arange(1.0, _MATRIX + 1)
    teacher = (left_vectors * values) @ right_vectors.mT
    truncated = (left_vectors[..., :_RANK] * values[:_RANK]) @ right_vectors[..., :_RANK].mT
    target = np.eye(_RANK) + 0.3 * generator.standard_normal((seeds, _RANK, _RANK))
    start = [generator.standard_normal((seeds, *shape)) for shape in ((_RANK, _MATRIX), (_MATRIX, _RANK))]
    gaps = ((0.25 * start[0] @ teacher @ start[1] - target) ** 2).sum(axis=(1, 2)) / 2
    curves, worst = {}, np.zeros(seeds)
    for name, followed in (("own gradient", teacher), ("gradient at the truncated teacher", truncated)):
        left, right = (0.5 * part for part in start)
        squares = np.empty((seeds, max(sizes)))
        for step in range(max(sizes)):
            own = _factor_gradients(left, right, teacher, target)
            used = own if followed is teacher else _factor_gradients(left, right, followed, target)
            squares[:, step] = _squared(own)
            worst = np.maximum(worst, _squared([a - b for a, b in zip(own, used, strict=True)]))
            left, right = left - TRUNCATED_STEP * used[0], right - TRUNCATED_STEP * used[1]
        curves[name] = averages(squares, sizes)
    return curves, worst, gaps


def averages(squares: Floats, sizes: Sequence[int]) -> Floats:
    """Return (1/T) Σ_{t<T} of ``[seeds, steps]`` at each T, ``[seeds, sizes]``."""
    return np.asarray(squares.cumsum(axis=1)[:, np.array(sizes) - 1] / np.array(sizes), dtype=np.float64)


def _path(start: Floats, contraction: float, moves: Floats) -> Floats:
    """Return x_0 … of x_{t+1} = contraction · x_t + move_t, ``[seeds, steps + 1]``."""
    return np.asarray(lfilter([1.0], [1.0, -contraction], np.column_stack([start, moves]), axis=1), dtype=np.float64)


def _factor_gradients(left: Floats, right: Floats, teacher: Floats, target: Floats) -> list[Floats]:
    error = left @ teacher @ right - target
    return [error @ (teacher @ right).mT, (left @ teacher).mT @ error]


def _squared(parts: Sequence[Floats]) -> Floats:
    return np.asarray(np.sum([(part**2).sum(axis=(1, 2)) for part in parts], axis=0), dtype=np.float64)
