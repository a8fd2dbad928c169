"""Critics of 24 layers trained as one batch against one after another, in one run.

python benchmarks/critics_speed.py

24 pairs of 5 + 5 dimensions, N = 10⁴, MINE, 300 steps each without early stop. Target: at least 1.5 × faster.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import record

from theorykit.information.estimators.training import TrainingSettings
from theorykit.information.estimators.variational import trained_estimates

LAYERS = 24
SAMPLES = 10_000
DIMENSION = 5
ROUNDS = 3
SEED = 0
SETTINGS = TrainingSettings(max_steps=300, patience=100)


def layer_pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return Gaussian pairs whose correlation grows with the layer."""
    generator = np.random.default_rng(SEED)
    pairs = []
    for correlation in np.linspace(0.1, 0.9, LAYERS):
        x, noise = generator.standard_normal((2, SAMPLES, DIMENSION))
        pairs.append((x, correlation * x + np.sqrt(1 - correlation**2) * noise))
    return pairs


def one_after_another(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, list[float]]:
    """Return the seconds and the estimates."""
    start = time.perf_counter()
    children = np.random.default_rng(SEED).spawn(LAYERS)
    found = [
        trained_estimates([pair], generator=child, settings=SETTINGS)[0]
        for pair, child in zip(pairs, children, strict=True)
    ]
    return time.perf_counter() - start, [float(one.information) for one in found]


def one_batch(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, list[float]]:
    """Return the seconds and the estimates."""
    start = time.perf_counter()
    found = trained_estimates(pairs, generator=np.random.default_rng(SEED), settings=SETTINGS)
    return time.perf_counter() - start, [float(one.information) for one in found]


def main() -> None:
    """Time both, in turn, and record the ratio."""
    pairs = layer_pairs()
    trained_estimates(pairs[:1], generator=np.random.default_rng(SEED), settings=TrainingSettings(max_steps=10))
    rows = [(one_after_another(pairs), one_batch(pairs)) for _ in range(ROUNDS)]
    apart, together = ([row[side][1] for row in rows][-1] for side in (0, 1))
    result = {
        "layers": LAYERS,
        "samples": SAMPLES,
        "dimensions": [DIMENSION, DIMENSION],
        "steps": SETTINGS.max_steps,
        "one_after_another_seconds": round(statistics.median(row[0][0] for row in rows), 2),
        "one_batch_seconds": round(statistics.median(row[1][0] for row in rows), 2),
        "speed_up": round(statistics.median(row[0][0] / row[1][0] for row in rows), 2),
        "target_speed_up": 1.5,
        "largest_difference_nats": float(np.abs(np.subtract(apart, together)).max()),
    }
    record.save("critics_speed", result, seeds=[SEED])


if __name__ == "__main__":
    main()
