"""The planted controls of all experiments over 20 seeds: which come out right, and whether a wrong bound is noticed.

python benchmarks/planted_controls.py [--seeds 20]

Targets: no wrong verdict and at most one undecided among all; every bound that an experiment names, made twice as large
or half as large, changes at least one of its planted verdicts.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from typing import Any
from unittest import mock

import record

import theorykit as tk
from theorykit.errors import TheorykitError
from validation.claims.experiment import PLANTED, Context, Experiment
from validation.claims.factors import multiplied
from validation.claims.finding import Outcome
from validation.presets import check_settings
from validation.reports.experiments import SLUGS, find_experiment

PRESET = "smoke"
FACTORS = (2.0, 0.5)


def planted(check: Experiment, seed: int) -> tuple[list[Any], float]:
    """Return the planted findings of an experiment, and the seconds that they took."""
    part, start = check.part(PLANTED), time.perf_counter()
    settings = part.read(check_settings(PRESET, check.slug)[PLANTED])
    evidence = part.run(Context(settings, seed, train=lambda _: []))
    return list(evidence.findings), time.perf_counter() - start


def over_seeds(check: Experiment, seeds: list[int]) -> dict[str, Any]:
    """Count outcomes over seeds and name what was not right."""
    counts: Counter[str] = Counter()
    unlike, seconds = [], []
    for seed in seeds:
        findings, taken = planted(check, seed)
        seconds.append(taken)
        counts.update(str(one.outcome) for one in findings)
        unlike += [
            f"seed {seed}, {one.equation}: {one.what}: {', '.join(one.words)}"
            for one in findings
            if one.outcome != Outcome.RIGHT
        ]
    return {"outcomes": dict(counts), "not_right": unlike, "seconds_per_seed": round(sum(seconds) / len(seconds), 2)}


def changed(check: Experiment, name: str, factor: float) -> int:
    """Return how many planted findings are not right while a bound is off by a factor."""
    with mock.patch.object(tk, name, multiplied(getattr(tk, name), factor), create=True):
        try:
            findings, _ = planted(check, 0)
        except TheorykitError:
            return -1  # refused: noticed as well
    return sum(one.outcome != Outcome.RIGHT for one in findings)


def main() -> None:
    """Run all and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    seeds = list(range(parser.parse_args().seeds))
    checks = [find_experiment(slug) for slug in SLUGS]
    found = {check.slug: over_seeds(check, seeds) for check in checks}
    wrong = [(check, name, factor) for check in checks for name in check.bounds for factor in FACTORS]
    noticed = {f"{check.slug}: {name} × {factor:g}": changed(check, name, factor) for check, name, factor in wrong}
    total: Counter[str] = Counter()
    for row in found.values():
        total.update(row["outcomes"])
    result = {
        "seeds": len(seeds),
        "outcomes": dict(total),
        "experiments": found,
        "wrong_bounds": len(wrong),
        "wrong_bounds_noticed": sum(count != 0 for count in noticed.values()),
        "planted_findings_changed": noticed,
    }
    record.save("planted_controls", result, seeds=seeds, preset=PRESET)


if __name__ == "__main__":
    main()
