"""Tasks that no estimator of this package was built or chosen on: what its intervals hold elsewhere.

Mixtures, sparse relations, rotated half-cubes, images of few latent numbers, and discrete values beside continuous
ones. Truths are closed forms, or integrals over one or two dimensions on a grid that is right to 1e-4 nats.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np
from scipy.special import digamma, gammaln, i0e

from theorykit.arguments import Floats
from theorykit.information.tasks import maps
from theorykit.information.tasks.task import InformationTask, canonical_pairs, student_pairs
from theorykit.information.tasks.truths import canonical_information, student_information

_GRID = 2001
Draw = Callable[[int, np.random.Generator], tuple[Floats, Floats]]


def grid_information(density: Floats, first: Floats, second: Floats) -> float:
    """Return ∫∫ p log p/(p_x p_y) of a density ``[n, m]`` on an even grid, p_x and p_y its own margins, in nats."""
    cell = (first[1] - first[0]) * (second[1] - second[0])
    share = density * cell / (density.sum() * cell)
    product = np.outer(share.sum(axis=1), share.sum(axis=0))
    held = share > 0
    return float((share[held] * np.log(share[held] / product[held])).sum())


def label_information(weights: Floats, conditional: Floats, width: float) -> float:
    """Return I(L; Y) of a label with these weights ``[k]``, from the densities of Y given it ``[k, n]``, in nats."""
    mixed = weights @ conditional
    ratio = np.divide(conditional, mixed, out=np.ones_like(conditional), where=conditional > 0)
    return float(weights @ (conditional * np.log(ratio)).sum(axis=1) * width)


def _shared_label(count: int, generator: np.random.Generator, *, places: Floats) -> tuple[Floats, Floats]:
    """Draw x = a_k + noise and y = b_k + noise of one label k, places ``[k, 2]``."""
    label = generator.integers(0, len(places), count)
    x, y = places[label].T + generator.standard_normal((2, count))
    return x[:, None], y[:, None]


def _label_task(places: Floats) -> tuple[float, Draw]:
    from scipy.stats import norm

    grid = np.linspace(places.min() - 8, places.max() + 8, _GRID)
    parts = norm.pdf(grid[:, None] - places.T[:, None])  # [2, n, k]
    density = parts[0] @ parts[1].T
    return grid_information(density, grid, grid), partial(_shared_label, places=places)


def _crossed(count: int, generator: np.random.Generator, *, rho: float) -> tuple[Floats, Floats]:
    """Draw normals whose correlation is ρ or −ρ, each with probability ½."""
    x, z = generator.standard_normal((2, count, 1))
    return x, generator.choice([-rho, rho], (count, 1)) * x + np.sqrt(1 - rho**2) * z


def _crossed_task(rho: float) -> tuple[float, Draw]:
    from scipy.stats import norm

    grid = np.linspace(-8, 8, _GRID)
    spread = np.sqrt(1 - rho**2)
    given = sum(norm.pdf(grid, sign * rho * grid[:, None], spread) for sign in (-1, 1)) / 2
    return grid_information(norm.pdf(grid)[:, None] * given, grid, grid), partial(_crossed, rho=rho)


def _padded(
    count: int, generator: np.random.Generator, *, base: Draw, mixing: tuple[Floats, Floats]
) -> tuple[Floats, Floats]:
    """Draw a pair with independent normal columns beside it, either side mixed by a regular matrix."""
    sides = base(count, generator)
    wide = [
        np.hstack([side, generator.standard_normal((count, len(matrix) - side.shape[1]))]) @ matrix
        for side, matrix in zip(sides, mixing, strict=True)
    ]
    return wide[0], wide[1]


def _rotations(size: int, seed: int) -> tuple[Floats, Floats]:
    from scipy.stats import ortho_group

    rng = np.random.default_rng([seed, size])
    first, second = (ortho_group.rvs(size, random_state=rng) if size > 1 else np.eye(1) for _ in range(2))
    return first, second


def _sparse(size: int, correlations: Floats) -> Draw:
    return partial(
        canonical_pairs, correlations=np.asarray(correlations, dtype=float), mixing=(np.eye(size), np.eye(size))
    )


def _turned(rows: Floats, *, matrix: Floats) -> Floats:
    return rows @ matrix


def _cubed(rows: Floats, *, matrix: Floats) -> Floats:
    return maps.half_cube(rows) @ matrix


def _blob(places: Floats, *, size: int) -> Floats:
    """Return images ``[n, size²]`` of a spot at places ``[n, 2]`` drawn into the picture by tanh."""
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1).reshape(-1, 2)
    centre = (size - 1) / 2 * (1 + 0.7 * np.tanh(places / 2))
    return np.asarray(np.exp(-((grid - centre[:, None]) ** 2).sum(axis=2) / (size / 2)))


def _grating(phase: Floats, *, size: int) -> Floats:
    """Return images ``[n, size²]`` of a wave whose phase is 2 arctan of a number, so that no two are alike."""
    first, second = np.meshgrid(np.arange(size), np.arange(size))
    return np.asarray(np.cos((0.7 * first + 0.4 * second).ravel() + 2 * np.arctan(phase)))


def _binary_channel(count: int, generator: np.random.Generator, *, flip: float, rho: float) -> tuple[Floats, Floats]:
    """Draw (bit, normal) on either side: the bits differ with probability ``flip``, the normals correlate by ρ."""
    bit = generator.integers(0, 2, count)
    other = np.where(generator.random(count) < flip, 1 - bit, bit)
    u, z = generator.standard_normal((2, count))
    return np.column_stack([bit, u]), np.column_stack([other, rho * u + np.sqrt(1 - rho**2) * z])


def _label_score(count: int, generator: np.random.Generator, *, means: Floats, beside: int) -> tuple[Floats, Floats]:
    """Draw a label, with ``beside`` independent normals next to it, and y = its mean + noise."""
    label = generator.integers(0, means.size, count)
    x = np.column_stack([label, generator.standard_normal((count, beside))])
    return x, means[label][:, None] + generator.standard_normal((count, 1))


def _score_information(means: Floats) -> float:
    from scipy.stats import norm

    grid = np.linspace(means.min() - 9, means.max() + 9, 20 * _GRID)
    conditional = norm.pdf(grid - means[:, None])
    return label_information(np.full(means.size, 1 / means.size), conditional, grid[1] - grid[0])


def _rounded(count: int, generator: np.random.Generator, *, rho: float, step: float) -> tuple[Floats, Floats]:
    x, z = generator.standard_normal((2, count, 1))
    return x, np.round((rho * x + np.sqrt(1 - rho**2) * z) / step)


def _rounded_information(rho: float, step: float) -> float:
    """Return H(Y) − H(Y | X) of the rounded side."""
    from scipy.stats import norm

    edges = (np.arange(-15, 17) - 0.5) * step
    own = np.diff(norm.cdf(edges))
    grid = np.linspace(-9, 9, 20 * _GRID)
    given = np.diff(norm.cdf((edges - rho * grid[:, None]) / np.sqrt(1 - rho**2)), axis=1)
    conditional = -np.where(given > 0, given * np.log(np.maximum(given, 1e-300)), 0).sum(axis=1)
    entropy = -np.where(own > 0, own * np.log(np.maximum(own, 1e-300)), 0).sum()
    return float(entropy - (norm.pdf(grid) * conditional).sum() * (grid[1] - grid[0]))


def _counts(count: int, generator: np.random.Generator, *, shape: float, rate: float) -> tuple[Floats, Floats]:
    """Draw x of a gamma law and y a Poisson number with mean ``rate`` x."""
    x = generator.gamma(shape, size=(count, 1))
    return x, generator.poisson(rate * x).astype(float)


def _counts_information(shape: float, rate: float) -> float:
    """Return E log p(y | x) − E log p(y), y negative binomial: the first from E[λ log λ] − E[λ] − E[log y!]."""
    from scipy.stats import nbinom

    numbers = np.arange(2000)
    law = nbinom(shape, 1 / (1 + rate))
    share = law.pmf(numbers)
    grid = np.linspace(1e-6, 80, 400_001)
    density = np.exp((shape - 1) * np.log(grid) - grid - gammaln(shape))
    mean = rate * grid
    first = float((density * (mean * np.log(mean) - mean)).sum() * (grid[1] - grid[0]))
    return first - float(share @ gammaln(numbers + 1)) - float(share @ law.logpmf(numbers))


def _sums(count: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw x and y − x of the exponential law."""
    x, noise = generator.exponential(size=(2, count, 1))
    return x, x + noise


def _clayton(count: int, generator: np.random.Generator, *, theta: float) -> tuple[Floats, Floats]:
    """Draw a pair with the copula of Clayton (1978)."""
    first, second = generator.random((2, count, 1))
    other = (first**-theta * (second ** (-theta / (1 + theta)) - 1) + 1) ** (-1 / theta)
    return first, other


def _clayton_information(theta: float) -> float:
    """Return the information of the copula: log(1 + θ) + E of its log density, by E[log s] of a gamma mixture."""
    grid = (np.arange(_GRID) + 0.5) / _GRID
    # u uniform and the conditional quantile w uniform: the integral over the copula is one over the square
    u, w = grid[:, None], grid[None, :]
    v = (u**-theta * (w ** (-theta / (1 + theta)) - 1) + 1) ** (-1 / theta)
    inner = u**-theta + v**-theta - 1
    log_density = np.log1p(theta) - (1 + theta) * (np.log(u) + np.log(v)) - (2 + 1 / theta) * np.log(inner)
    return float(log_density.mean())


def _wrapped(count: int, generator: np.random.Generator, *, turns: int, width: float) -> tuple[Floats, Floats]:
    """Draw x uniform and y = (turns x + uniform noise of a width below 1) mod 1: I = −log width."""
    x, noise = generator.random((2, count, 1))
    return x, (turns * x + width * noise) % 1


def _task(
    name: str, dimensions: tuple[int, int], information: float, draw: Draw, copula: bool = False
) -> InformationTask:
    identifier = name.lower().replace(" × ", "-").replace(", ", "-").replace(" ", "-")
    return InformationTask(name, identifier, dimensions, information, copula, draw)


def _padded_task(name: str, size: int, task: tuple[float, Draw], seed: int) -> InformationTask:
    return _task(name, (size, size), task[0], partial(_padded, base=task[1], mixing=_rotations(size, seed)))


def _gamma_rate(count: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw x of the gamma law of shape 2 and y exponential with the rate x."""
    x = generator.gamma(2.0, size=(count, 1))
    return x, generator.exponential(size=(count, 1)) / x


def _disc(count: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw a point of the unit disc, evenly: I = log π − 1."""
    radius, angle = np.sqrt(generator.random((count, 1))), 2 * np.pi * generator.random((count, 1))
    return radius * np.cos(angle), radius * np.sin(angle)


def _triangle(count: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw x, y ≥ 0 with x + y ≤ 1, evenly: I = 1 − log 2."""
    points = generator.random((count, 2))
    points = np.where(points.sum(axis=1, keepdims=True) > 1, 1 - points, points)
    return points[:, :1], points[:, 1:]


def _ring(count: int, generator: np.random.Generator, *, spread: float) -> tuple[Floats, Floats]:
    """Draw a point of the unit circle and normal noise on both coordinates."""
    angle = 2 * np.pi * generator.random((count, 1))
    x, y = spread * generator.standard_normal((2, count, 1))
    return np.cos(angle) + x, np.sin(angle) + y


def _ring_information(spread: float) -> float:
    """Return the information from the density exp(−(r² + 1)/(2σ²)) I₀(r/σ²)/(2πσ²)."""
    grid = np.linspace(-1 - 8 * spread, 1 + 8 * spread, _GRID)
    radius = np.hypot(grid[:, None], grid)
    return grid_information(np.exp(-((radius - 1) ** 2) / (2 * spread**2)) * i0e(radius / spread**2), grid, grid)


def _laplace_sum(count: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw x and y − x of the Laplace law: y has the density (1 + |y|) exp(−|y|)/4."""
    x, noise = generator.laplace(size=(2, count, 1))
    return x, x + noise


def _laplace_information() -> float:
    """Return h(Y) − h(noise), the second 1 + log 2."""
    grid = np.linspace(0, 60, 100 * _GRID)
    log_density = np.log1p(grid) - grid - np.log(4)
    entropy = -2 * np.trapezoid(np.exp(log_density) * log_density, grid)
    return float(entropy - 1 - np.log(2))


@cache
def second_tasks() -> tuple[InformationTask, ...]:
    """Return five tasks of one column each, written after a first look at how ``auto`` does on the others.

    Example:
        >>> [round(task.information, 3) for task in second_tasks()[:3]]  # log π − 1, 1 − log 2, ψ(2) + ½ − log 2
        [0.145, 0.307, 0.23]
    """
    rate = float(0.5 - np.log(2) + digamma(2))
    return (
        _task("Disc 1 × 1", (1, 1), float(np.log(np.pi) - 1), _disc),
        _task("Triangle 1 × 1", (1, 1), float(1 - np.log(2)), _triangle),
        _task("Exponential of a gamma rate 1 × 1", (1, 1), rate, _gamma_rate),
        _task("Ring 1 × 1", (1, 1), _ring_information(0.15), partial(_ring, spread=0.15)),
        _task("Sum of two Laplace 1 × 1", (1, 1), _laplace_information(), _laplace_sum),
    )


@cache
def further_tasks() -> tuple[InformationTask, ...]:
    """Return the 26 tasks.

    Example:
        >>> len(further_tasks()), len({task.identifier for task in further_tasks()})
        (26, 26)
    """
    two = np.array([[-1.5, 1.5], [1.5, -1.5]])
    three = np.array([[-4.0, 0.0], [0.0, 5.0], [4.0, -5.0]])
    pair = float(canonical_information([0.8, 0.8]))
    eight = np.full(2, 0.8)
    cubes = {size: _rotations(size, 3) for size in (3, 10)}
    dense = _rotations(6, 4)
    blobs, wave = partial(_blob, size=10), partial(_grating, size=6)
    sparse = [(20, [0.9]), (50, [0.5] * 5), (10, [0.3]), (15, [0.0])]
    means = np.array([0.0, 2.0]), np.array([0.0, 1.5, 3.0, 4.5, 6.0])
    bits = float(np.log(2) + 0.1 * np.log(0.1) + 0.9 * np.log(0.9))
    gaussian = {size: _task("", (size, size), pair, _sparse(size, eight), copula=True) for size in (2, 3, 6, 10)}
    return (
        _task("Two shared clusters 1 × 1", (1, 1), *_label_task(two)),
        _task("Three shared clusters 1 × 1", (1, 1), *_label_task(three)),
        _padded_task("Two shared clusters 4 × 4", 4, _label_task(two), 0),
        _padded_task("Three shared clusters 3 × 3", 3, _label_task(three), 1),
        _task("Correlation of either sign 1 × 1", (1, 1), *_crossed_task(0.9)),
        _padded_task("Correlation of either sign 3 × 3", 3, _crossed_task(0.9), 2),
        *(
            _task(
                f"Sparse normal {size} × {size}, {len(rho)} of {rho[0]}",
                (size, size),
                float(canonical_information(rho)),
                _sparse(size, np.array(rho)),
                copula=True,
            )
            for size, rho in sparse
        ),
        *(
            gaussian[size].mapped(
                partial(_cubed, matrix=cubes[size][0]),
                partial(_cubed, matrix=cubes[size][1]),
                name=f"Turned half-cube {size} × {size}",
                identifier=f"turned-half-cube-{size}",
                gaussian_copula=False,
            )
            for size in (3, 10)
        ),
        gaussian[6]
        .mapped(partial(_turned, matrix=dense[0]), partial(_turned, matrix=dense[1]))
        .mapped(
            maps.half_cube, maps.half_cube, name="Half-cube of a turned normal 6 × 6", identifier="half-cube-turned-6"
        ),
        gaussian[2].mapped(
            blobs, blobs, name="Spots 100 × 100", identifier="spots-10", dimensions=(100, 100), gaussian_copula=False
        ),
        gaussian[2].mapped(
            blobs,
            np.asarray,
            name="Spot and place 100 × 2",
            identifier="spot-place-10",
            dimensions=(100, 2),
            gaussian_copula=False,
        ),
        _task("", (1, 1), float(canonical_information([0.8])), _sparse(1, np.array([0.8]))).mapped(
            wave, wave, name="Gratings 36 × 36", identifier="gratings-6", dimensions=(36, 36)
        ),
        _task(
            "Label and score 1 × 1",
            (1, 1),
            _score_information(means[0]),
            partial(_label_score, means=means[0], beside=0),
        ),
        _task(
            "Five labels and a score 1 × 1",
            (1, 1),
            _score_information(means[1]),
            partial(_label_score, means=means[1], beside=0),
        ),
        _task(
            "Label beside two normals and a score 3 × 1",
            (3, 1),
            _score_information(means[0]),
            partial(_label_score, means=means[0], beside=2),
        ),
        _task(
            "Bits beside normals 2 × 2",
            (2, 2),
            bits + float(canonical_information([0.7])),
            partial(_binary_channel, flip=0.1, rho=0.7),
        ),
        _task("Rounded normal 1 × 1", (1, 1), _rounded_information(0.8, 1.0), partial(_rounded, rho=0.8, step=1.0)),
        _task("Counts 1 × 1", (1, 1), _counts_information(2.0, 3.0), partial(_counts, shape=2.0, rate=3.0)),
        InformationTask(
            "Student-t 10 × 10 (dof=4)",
            "student-sparse-10-4",
            (10, 10),
            float(student_information(4.0, 10, 10, pair)),
            False,
            partial(student_pairs, base=_sparse(10, eight), degrees_of_freedom=4.0),
        ),
        _task("Sum of two exponentials 1 × 1", (1, 1), float(np.euler_gamma), _sums),
        _task("Clayton copula 1 × 1", (1, 1), _clayton_information(2.0), partial(_clayton, theta=2.0)),
        _task("Three turns of a circle 1 × 1", (1, 1), float(np.log(2)), partial(_wrapped, turns=3, width=0.5)),
    )
