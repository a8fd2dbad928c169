"""Rademacher complexity at all ranks against the bare matrix products of its sign draws, in one run.

python benchmarks/rademacher_speed.py

768 × 768, N = 10⁴, 200 draws, in float64. The floor is one full product of the two factors per draw, without signs and
without singular values. Target: at most 1.5 × the floor.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import record

from theorykit.complexity import empirical_rademacher_complexity

SHAPE = (768, 768)
SAMPLES = 10_000
DRAWS = 200
ROUNDS = 3
SEED = 0


def bare_products(left: np.ndarray, right: np.ndarray) -> None:
    """Multiply the factors once per draw, nothing else."""
    for _ in range(DRAWS):
        left.T @ right


def all_ranks(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the estimates for every rank."""
    generator = np.random.default_rng(SEED)
    return empirical_rademacher_complexity(left=left, right=right, n_draws=DRAWS, generator=generator).values


def worst_disagreement(left: np.ndarray, right: np.ndarray, draws: int = 3) -> float:
    """Return the largest relative difference from signs on the factor and a LAPACK SVD, over all ranks."""
    found = empirical_rademacher_complexity(
        left=left, right=right, n_draws=draws, generator=np.random.default_rng(SEED)
    ).values
    signs = 2.0 * np.random.default_rng(SEED).integers(0, 2, (draws, SAMPLES), dtype=np.int8) - 1.0
    values = [np.linalg.svd(left.T @ (sign[:, None] * right), compute_uv=False) for sign in signs]
    exact = np.mean([np.sqrt(np.cumsum(value**2)) for value in values], axis=0) / SAMPLES
    return float(np.abs(found / exact - 1).max())


def seconds_of(function: Callable[..., object], *arguments: object) -> float:
    """Return the wall time of one call."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def main() -> None:
    """Time both, in turn, and record the ratio."""
    generator = np.random.default_rng(SEED)
    left, right = (generator.standard_normal((SAMPLES, size)) for size in SHAPE)
    disagreement = worst_disagreement(left, right)
    pairs = [(seconds_of(bare_products, left, right), seconds_of(all_ranks, left, right)) for _ in range(ROUNDS)]
    result = {
        "shape": list(SHAPE),
        "samples": SAMPLES,
        "draws": DRAWS,
        "products_seconds": round(statistics.median(base for base, _ in pairs), 2),
        "all_ranks_seconds": round(statistics.median(own for _, own in pairs), 2),
        "ratio_to_products": round(statistics.median(own / base for base, own in pairs), 3),
        "target_ratio_to_products": 1.5,
        "worst_relative_disagreement_with_lapack": disagreement,
    }
    record.save("rademacher_speed", result, seeds=[SEED])


if __name__ == "__main__":
    main()
