"""How often verdicts err: exponents on coarse grids, means of skewed seeds, controls, and intervals of gradient noise.

python benchmarks/verdict_calibration.py [--experiments 400]

Targets: at the margin of an exponent, on grids of ratio 1.2 to 2 with noise of 0.05 to 0.5 in ln r, and at the bound of
a mean of exponential and lognormal seeds, each wrong answer comes in at most alpha = 5 % of experiments, up to two
standard errors of the count. κ is what ``theorykit.verdicts.intervals`` has an envelope of.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import record
from scipy.special import stdtrit

from theorykit.arguments import Floats
from theorykit.convergence import gradient_variance
from theorykit.verdicts import (
    Instance,
    ReferenceTask,
    equivalence,
    expectation_verdict,
    exponent_verdict,
    plan_exponent,
)

ALPHA, SEEDS, CLAIMED, MARGIN = 0.05, 8, 0.5, 0.1
SIZES = np.geomspace(1e4, 5e6, 6)
RATIOS, NOISE = (1.2, 1.35, 1.5, 1.7, 2.0), (0.05, 0.1, 0.2, 0.35, 0.5)
UNEQUAL = np.geomspace(0.5, 0.03, SIZES.size)
"""Noise that falls with the size by a factor of 17."""
LEVELS = (0.3, 0.2, 0.1, 0.05, 0.025, 0.01, 0.0025, 0.001, 0.0001)
COUNTS = (5, 6, 8, 12, 20)

Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]
LAWS: dict[str, Draw] = {
    "normal": lambda generator, shape: generator.standard_normal(shape),
    "t with 3 degrees of freedom": lambda generator, shape: generator.standard_t(3, shape),
    "exponential": lambda generator, shape: generator.standard_exponential(shape) - 1,
    "exponential, long tail on the left": lambda generator, shape: 1 - generator.standard_exponential(shape),
    "lognormal, sigma 0.5": lambda generator, shape: generator.lognormal(0, 0.5, shape) - np.exp(0.125),
    "lognormal, sigma 1": lambda generator, shape: generator.lognormal(0, 1, shape) - np.exp(0.5),
    "gamma of shape 0.7": lambda generator, shape: generator.gamma(0.7, size=shape) - 0.7,
    "chi-squared, 1 degree": lambda generator, shape: generator.chisquare(1, shape) - 1,
}
"""Each of mean 0. The last two were not looked at when the limits were set, and no law below shape 1 is promised."""


def limit(count: int) -> float:
    """Return alpha and two standard errors of a count."""
    return float(ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / count))


def share(
    ratio: float, noise: Any, slope: float, instance: Instance, count: int, generator: np.random.Generator
) -> float:
    """Return how often ln r* of a slope, rounded to a grid of equal steps and drawn offset, gives an instance."""
    plan = plan_exponent(CLAIMED, SIZES, n_seeds=SEEDS, sd_log=0.1, margin=MARGIN)
    step, grid, hits = np.log(ratio), ratio ** np.arange(-60.0, 61.0), 0
    for _ in range(count):
        logs = generator.uniform(0, step) + slope * (np.log(SIZES) - np.log(SIZES).mean())
        logs = logs + noise * generator.standard_normal((SEEDS, SIZES.size))
        found = grid[np.rint(logs / step).astype(int) + 60]
        hits += exponent_verdict(plan, found, generator, grid=grid, n_bootstrap=60).instance is instance
    return hits / count


def exponents(n_experiments: int, generator: np.random.Generator) -> dict[str, Any]:
    """Count wrong verdicts at both ends of the margin and right ones at the claim and at a quarter."""
    half, few, rows = n_experiments // 2, n_experiments // 8, []
    ends = (CLAIMED - MARGIN, CLAIMED + MARGIN)
    for ratio in RATIOS:
        for noise in (*NOISE, UNEQUAL):
            wrong = {
                name: [share(ratio, noise, end, instance, half, generator) for end in ends]
                for name, instance in (("false_violated", Instance.VIOLATED), ("false_holds", Instance.HOLDS))
            }
            rows.append(
                {
                    "ratio": ratio,
                    "noise": noise if isinstance(noise, float) else "0.5 to 0.03 over the sizes",
                    **{name: float(np.mean(shares)) for name, shares in wrong.items()},
                    "power_holds_at_the_claim": share(ratio, noise, CLAIMED, Instance.HOLDS, few, generator),
                    "power_violated_at_a_quarter": share(ratio, noise, 0.25, Instance.VIOLATED, few, generator),
                }
            )
    rates = {name: np.array([row[name] for row in rows], dtype=float) for name in ("false_violated", "false_holds")}
    return {
        "experiments_per_rate": n_experiments,
        "limit": limit(n_experiments),
        **{f"largest_{name}": float(values.max()) for name, values in rates.items()},
        "cells": len(rows),
        "cells_above_the_limit": int(sum((values > limit(n_experiments)).sum() for values in rates.values())),
        "rows": rows,
    }


def means(generator: np.random.Generator, n_experiments: int = 10_000) -> list[dict[str, Any]]:
    """Count what is said of means at their bound, with the default limits and with Student's."""
    rows = []
    for name, draw in LAWS.items():
        for count in COUNTS:
            sample = draw(generator, (n_experiments, count))
            row: dict[str, Any] = {"law": name, "seeds": count}
            for law in ("skewed", "symmetric"):
                judged: Any = expectation_verdict(sample, 0.0, law=law, alpha=ALPHA).evidence  # type: ignore[arg-type]
                row[f"false_holds_{law}"] = float(np.mean([one.interval[1] <= 0 for one in judged.rows]))
                row[f"false_violated_{law}"] = float(np.mean([one.p_value <= ALPHA for one in judged.rows]))
            tasks = [ReferenceTask("moved", 1 + 0.1 * seeds, 0.0, 1.0) for seeds in sample[:2000]]
            row["control_at_its_margin_passes"] = float(
                np.mean([equivalence(task, "negative control", ALPHA).passed for task in tasks])
            )
            rows.append(row)
    return rows


def critical_values(generator: np.random.Generator) -> list[dict[str, Any]]:
    """Simulate κ(α) = √n (c(α)/t(α) − 1), with P(mean + c s/√n < E) = α."""
    rows = []
    for count in (5, 8, 20, 50, 200):
        for name in ("lognormal, sigma 1", "exponential", "chi-squared, 1 degree"):
            blocks = [LAWS[name](generator, (8_000_000 // count, count)) for _ in range(2)]
            t = np.concatenate([np.sqrt(count) * x.mean(axis=1) / x.std(axis=1, ddof=1) for x in blocks])
            kappa = np.sqrt(count) * (np.quantile(t, LEVELS) / stdtrit(count - 1, np.array(LEVELS)) - 1)
            rows.append({"law": name, "seeds": count, "kappa": [round(float(value), 2) for value in kappa]})
    return rows


def gradient_noise(generator: np.random.Generator, n_experiments: int = 400) -> dict[str, Any]:
    """Measure the coverage of the interval of σ² where gradients follow Student's t with 3 degrees of freedom."""
    coverage: dict[str, list[float]] = {}
    for level in (0.9, 0.95, 0.99):
        shares = []
        for count in (8, 32, 128):
            for width in (1, 10, 100):
                for shared in (False, True):
                    hits = 0
                    for _ in range(n_experiments):
                        freedom = generator.chisquare(3, (count, 1 if shared else width))
                        rows = generator.standard_normal((count, width)) * np.sqrt(3 / freedom)
                        low, high = gradient_variance(rows, confidence=level).interval
                        hits += low <= 3 * width <= high
                    shares.append(hits / n_experiments)
        coverage[f"{level:g}"] = [min(shares), max(shares)]
    return {"n_gradients": [8, 32, 128], "parameters": [1, 10, 100], "least_and_most_by_level": coverage}


def main() -> None:
    """Run all and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=400)
    n_experiments = parser.parse_args().experiments
    generator = np.random.default_rng(20260)
    result = {
        "alpha": ALPHA,
        "exponents": exponents(n_experiments, generator),
        "means": means(generator),
        "critical_values": {"levels": LEVELS, "rows": critical_values(generator)},
        "gradient_variance_under_t3": gradient_noise(generator),
    }
    record.save("verdict_calibration", result, seeds=[20260])


if __name__ == "__main__":
    main()
