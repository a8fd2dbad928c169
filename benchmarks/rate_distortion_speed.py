"""Reverse water-filling of 4096 eigenvalues in milliseconds, against bisection of the water level in the same run.

python benchmarks/rate_distortion_speed.py

Target: one distortion below 5 ms.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import record
from scipy.optimize import brentq

from theorykit.information import rate_distortion

DIMENSION = 4096
DISTORTIONS = 1000
ROUNDS = 31
SEED = 0


def by_bisection(variances: np.ndarray, distortion: float) -> float:
    """Return the rate from a bracketed root of the water level."""
    level = brentq(lambda water: np.minimum(water, variances).sum() - distortion, 0.0, variances.max(), xtol=1e-14)
    return float(np.maximum(0.0, np.log(variances / level)).sum() / 2)


def milliseconds_of(function: Callable[..., object], *arguments: object) -> float:
    """Return the median wall time of a call."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def main() -> None:
    """Time one distortion, many at once and the bisection, and record."""
    variances = np.random.default_rng(SEED).permutation(np.arange(1.0, DIMENSION + 1) ** -1.0)
    distortion = 0.1 * float(variances.sum())
    grid = np.geomspace(1e-4, 1.0, DISTORTIONS) * variances.sum()
    one, other = rate_distortion(variances, distortion), by_bisection(variances, distortion)
    result = {
        "dimension": DIMENSION,
        "milliseconds": round(milliseconds_of(rate_distortion, variances, distortion), 3),
        "target_milliseconds": 5,
        "distortions_at_once": DISTORTIONS,
        "milliseconds_for_all": round(milliseconds_of(rate_distortion, variances, grid), 3),
        "bisection_milliseconds_for_one": round(milliseconds_of(by_bisection, variances, distortion), 3),
        "relative_disagreement_with_bisection": abs(one / other - 1),
    }
    record.save("rate_distortion_speed", result, seeds=[SEED])


if __name__ == "__main__":
    main()
