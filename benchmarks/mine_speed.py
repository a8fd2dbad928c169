"""MINE on the 50-dimensional dense normal task: ours against that of benchmark-mi 0.1.3, on the same samples.

python benchmarks/mine_speed.py --benchmark-mi .work/benchmark-mi/bin/python

N = 10,000, defaults of both, one after the other for each seed. Their time is the second call's of the same process, so
that compiling is left out. Target: the same accuracy in at most half the wall time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import record

from theorykit import find_task, mutual_information

TASK = "multinormal-dense-50-50-0.5"
ROWS = 10_000
SEEDS = (0, 1, 2)
METHODS = ("mine", "anchored_mine")

THEIRS = """
import json, sys, time
import numpy as np
from bmi.estimators import MINEEstimator
x, y = np.load(sys.argv[1]), np.load(sys.argv[2])
MINEEstimator(verbose=False, max_n_steps=10, test_every_n_steps=5).estimate(x, y)
start = time.perf_counter()
found = float(MINEEstimator(verbose=False).estimate(x, y))
print(json.dumps({"estimate": found, "seconds": time.perf_counter() - start}))
"""


def theirs(python: Path, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return the estimate and the seconds of benchmark-mi's MINE, in its own environment."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{name}.npy" for name in "xy"]
        for path, side in zip(files, (x, y), strict=True):
            np.save(path, side)
        command = [str(python), "-c", THEIRS, *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def ours(method: str, x: np.ndarray, y: np.ndarray, seed: int) -> dict[str, float]:
    """Return the estimate and the seconds of our MINE."""
    found = mutual_information(x, y, method, generator=np.random.default_rng(seed))
    return {"estimate": float(found.information or np.nan), "seconds": found.seconds}


def main() -> None:
    """Time both for each seed and record the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmark-mi", type=Path, required=True, metavar="PYTHON")
    python = parser.parse_args().benchmark_mi
    task = find_task(TASK)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in ("benchmark-mi", *METHODS)}
    for seed in SEEDS:
        x, y = task.sample(ROWS, np.random.default_rng(seed))
        rows["benchmark-mi"].append(theirs(python, x, y))
        for method in METHODS:
            rows[method].append(ours(method, x, y, seed))
    result: dict[str, Any] = {"task": TASK, "information": round(task.information, 4), "target_share_of_time": 0.5}
    for name, found in rows.items():
        errors = [one["estimate"] - task.information for one in found]
        shares = [one["seconds"] / other["seconds"] for one, other in zip(found, rows["benchmark-mi"], strict=True)]
        result[name] = {
            "mean_absolute_error": round(statistics.mean(map(abs, errors)), 4),
            "errors": [round(error, 4) for error in errors],
            "seconds": round(statistics.median(one["seconds"] for one in found), 2),
            "share_of_their_time": round(statistics.median(shares), 3),
        }
    record.save("mine_speed", result, seeds=list(SEEDS))


if __name__ == "__main__":
    main()
