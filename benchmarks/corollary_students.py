"""Students of Corollary 1 in batches against one of them alone: the cost of each, in one run.

python benchmarks/corollary_students.py [--device cuda] [--preset gpu] [--students 400] [--batch-students 100]

The students are those of `python -m validation run optimal-rank` with that preset: labels alone, all ranks, sizes and
seeds, in its order, spread evenly where fewer are asked for. Three of them are trained alone as well. Targets on an
accelerator: 400 in under 10 minutes, each at no more than a fifth of what it costs alone.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import record
import torch

from theorykit.devices import torch_device
from validation.claims.grids import GridSettings
from validation.claims.settings import read_settings
from validation.corollary_1.students import students
from validation.presets import check_settings
from validation.training.config import BatchConfig
from validation.training.prepare import prepare
from validation.training.store import group

ALONE = 3
CACHE = Path(".work/blocks")


def seconds_of(batch: BatchConfig, device: torch.device) -> float:
    """Train a batch to the end and return the seconds, without those that its teacher takes."""
    training = prepare(batch, cache=CACHE, device=str(device))
    start = time.perf_counter()
    training.run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def main() -> None:
    """Train both and record the costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--preset", default="cpu")
    parser.add_argument("--students", type=int, default=64)
    parser.add_argument("--batch-students", type=int, default=32)
    asked = parser.parse_args()
    device = torch_device(asked.device)
    table = {**check_settings(asked.preset, "optimal-rank")["students"], "curves": []}
    labels = students(read_settings(GridSettings, table), 0)
    chosen = [labels[place] for place in np.linspace(0, len(labels) - 1, asked.students).astype(int)]
    seconds_of(BatchConfig((chosen[0],)), device)  # trains the teacher where there is none yet
    places = np.linspace(0, len(chosen) - 1, ALONE).astype(int)
    apart = [seconds_of(BatchConfig((chosen[place],)), device) for place in places]
    together = [seconds_of(batch, device) for batch in group(chosen, asked.batch_students)]
    alone, share = statistics.mean(apart), sum(together) / len(chosen)
    result = {
        "device": str(device),
        "students": len(chosen),
        "students_in_a_batch": asked.batch_students,
        "steps": chosen[0].steps,
        "seconds_of_all_in_batches": round(sum(together), 1),
        "seconds_of_each_in_batches": round(share, 3),
        "seconds_of_each_alone": round(alone, 3),
        "share_of_the_cost_alone": round(share / alone, 3),
        "target_share_on_an_accelerator": 0.2,
    }
    record.save(f"corollary_students_{device.type}", result, seeds=[0], preset=asked.preset)


if __name__ == "__main__":
    main()
