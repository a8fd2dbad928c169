"""32 small students trained as one batch against one after another, in one run.

python benchmarks/students_speed.py [--device cpu]

Factored students of a GPT-2-shaped teacher (width 64, 2 blocks, 512 tokens), ranks 2 to 33, 20 steps of labels and soft
targets on 4 blocks of 64 random tokens. Targets: at least 2 × faster on two cores, 8 × on an accelerator, the same
losses to float32 accuracy.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np
import record
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from theorykit.devices import torch_device
from validation.students.architecture import architecture_of, dense_weights
from validation.students.factored import factored_students
from validation.training.data import BlockOrders
from validation.training.loop import Training
from validation.training.losses import LossWeights
from validation.training.problem import TrainingPlan
from validation.training.teachers import Teacher

STUDENTS = 32
STEPS = 20
ROUNDS = 3
SEED = 0


def training(module: Any, ranks: list[int], blocks: np.ndarray) -> Training:
    """Return a training of students of these ranks, before its first step."""
    return Training(
        factored_students(module, ranks),
        LossWeights(1, 1, 0),
        TrainingPlan(steps=STEPS, batch_size=4, learning_rates=1e-3),
        BlockOrders([np.arange(len(blocks))] * len(ranks), [SEED] * len(ranks)),
        blocks,
        blocks[:1],
        Teacher(architecture_of(module), dense_weights(module)),
    )


def timed(trainings: list[Training]) -> tuple[float, list[float]]:
    """Return the seconds of all and the last losses."""
    start = time.perf_counter()
    for one in trainings:
        one.run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    return seconds, [loss for one in trainings for loss in one.records[-1].loss if loss is not None]


def main() -> None:
    """Time both, in turn, and record the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    device = torch_device(parser.parse_args().device)
    torch.manual_seed(SEED)
    module = GPT2LMHeadModel(
        GPT2Config(vocab_size=512, n_positions=64, n_embd=64, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
    ).to(device)
    blocks = np.random.default_rng(SEED).integers(0, 512, (64, 64)).astype(np.int32)
    ranks = list(range(2, 2 + STUDENTS))
    timed([training(module, ranks[:1], blocks)])
    rows = [
        (timed([training(module, [rank], blocks) for rank in ranks]), timed([training(module, ranks, blocks)]))
        for _ in range(ROUNDS)
    ]
    apart, together = rows[-1][0][1], rows[-1][1][1]
    result = {
        "students": STUDENTS,
        "device": str(device),
        "one_after_another_seconds": round(statistics.median(row[0][0] for row in rows), 2),
        "one_batch_seconds": round(statistics.median(row[1][0] for row in rows), 2),
        "speed_up": round(statistics.median(row[0][0] / row[1][0] for row in rows), 2),
        "target_speed_up": 2.0 if device.type == "cpu" else 8.0,
        "largest_relative_difference": float(np.max(np.abs(np.divide(together, apart) - 1))),
    }
    record.save(f"students_speed_{device.type}", result, seeds=[SEED])


if __name__ == "__main__":
    main()
