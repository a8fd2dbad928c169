"""Empirical Rademacher complexity of linear models of low rank beside eq 21 and what is true in its place.

python benchmarks/rademacher_bounds.py [--seeds 0,1,2,3,4]

The class is {X ↦ ⟨W, X⟩ : rank W ≤ r, ‖W‖_F ≤ 1} with W 64 × 64 and X_i = y_i x_iᵀ, scaled so that the mean of ‖X_i‖_F²
is 1: no bound above 1 says anything. y is standard normal; so is x, or its j-th coordinate has standard deviation 1/j.
Complexities are means over 100 draws of the signs; the bounds that look at the sample are evaluated on it.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import record
from scipy.sparse.linalg import LinearOperator, eigsh

from theorykit.arguments import Floats
from theorykit.complexity import (
    empirical_rademacher_complexity,
    khintchine_rademacher_bound,
    low_rank_dudley_bound,
    printed_rademacher_bound,
    rank_free_rademacher_bound,
)

SIZE = 64
DRAWS = 100
RANKS = (1, 2, 4, 8, 16, 32, 64)
SAMPLES = (64, 256, 1024, 4096, 16384)
AT_SAMPLES, AT_RANK = 4096, 8
INPUTS = {"isotropic": np.ones(SIZE), "power law": 1.0 / np.arange(1, SIZE + 1)}
SEEN = ("complexity", "dudley", "khintchine")


def sample(scales: Floats, count: int, seed: int) -> tuple[Floats, Floats]:
    """Return y and x ``[N, 64]`` with (1/N) Σ ‖y_i x_iᵀ‖_F² = 1."""
    generator = np.random.default_rng([seed, count])
    left, right = generator.standard_normal((2, count, SIZE))
    right = right * scales
    energy = float(((left**2).sum(axis=1) * (right**2).sum(axis=1)).mean())
    return left, right / np.sqrt(energy)


def least_input_norm(left: Floats, right: Floats) -> float:
    """Return the least R of Dudley's bound: the root of the largest eigenvalue of the second moment of vec(X_i)."""

    def moment(flat: Floats) -> Floats:
        scores = ((left @ flat.reshape(SIZE, SIZE)) * right).sum(axis=1)
        return np.asarray(left.T @ (scores[:, None] * right)).ravel() / len(left)

    operator = LinearOperator((SIZE**2, SIZE**2), matvec=moment, dtype=np.float64)
    return float(np.sqrt(eigsh(operator, k=1, v0=np.ones(SIZE**2), tol=1e-6, return_eigenvectors=False)[0]))


def seen(scales: Floats, count: int, seed: int) -> dict[str, Floats]:
    """Return the complexity of one sample at the recorded ranks, and the bounds that look at it."""
    left, right = sample(scales, count, seed)
    found = empirical_rademacher_complexity(
        left=left, right=right, n_draws=DRAWS, generator=np.random.default_rng([seed, count, 1])
    )
    norm = least_input_norm(left, right)
    ranks = np.array(RANKS)
    return {
        "complexity": found.values[ranks - 1],
        "dudley": low_rank_dudley_bound(ranks, count, shape=(SIZE, SIZE), frobenius_bound=1.0, input_norm=norm),
        "khintchine": khintchine_rademacher_bound(ranks, left=left, right=right),
    }


def measured(scales: Floats, seeds: list[int]) -> dict[str, Any]:
    """Return numbers by seed over the ranks at one N, and over N at one rank."""
    by_size = {count: [seen(scales, count, seed) for seed in seeds] for count in SAMPLES}
    place = RANKS.index(AT_RANK)
    return {
        "over_ranks": {name: [one[name].tolist() for one in by_size[AT_SAMPLES]] for name in SEEN},
        "over_samples": {
            name: [[float(by_size[count][k][name][place]) for count in SAMPLES] for k in range(len(seeds))]
            for name in SEEN
        },
    }


def unseen(ranks: Any, counts: Any) -> dict[str, Any]:
    """Return the bounds that look at no sample: eq 21 with the constant 1, and B R/√N, which looks at no rank."""
    ranks, counts = np.broadcast_arrays(ranks, counts)
    free = rank_free_rademacher_bound(counts, frobenius_bound=1.0, input_norm=1.0)
    return {"printed": printed_rademacher_bound(ranks, counts, shape=(SIZE, SIZE)).tolist(), "rank_free": free.tolist()}


def main() -> None:
    """Measure both kinds of inputs and record them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2,3,4")
    seeds = [int(seed) for seed in parser.parse_args().seeds.split(",")]
    result = {
        "shape": [SIZE, SIZE],
        "draws": DRAWS,
        "ranks": list(RANKS),
        "samples": list(SAMPLES),
        "at_samples": AT_SAMPLES,
        "at_rank": AT_RANK,
        "trivial": 1.0,
        "over_ranks": unseen(RANKS, AT_SAMPLES),
        "over_samples": unseen(AT_RANK, SAMPLES),
        "inputs": {name: measured(scales, seeds) for name, scales in INPUTS.items()},
    }
    record.save("rademacher_bounds", result, seeds=seeds)


if __name__ == "__main__":
    main()
