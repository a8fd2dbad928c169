"""One training step of ours against Hugging Face's, in turn and in one run.

python benchmarks/step_speed.py [--device cpu]

GPT-2 small's shape, random weights, AdamW, 2 blocks of 128 random tokens (8 of 512 on an accelerator).

1. A factored student of rank 64 with labels against a dense Hugging Face GPT-2 with labels. Target: the ratio of times
   is at most 1.25 × the ratio of floating-point operations, which torch counts. A profile of both tells how long the
   operators over the vocabulary take, which are the same for every rank, and how long all others.
2. The Low-Rank Clone (labels, soft targets at τ = 2, all hidden states; rank 64) against the same losses and factors
   written with Hugging Face's Trainer. Target: at least 1.2 × faster.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import record
import torch
from torch.nn.functional import kl_div, log_softmax, mse_loss
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments
from transformers.pytorch_utils import Conv1D

from theorykit.devices import torch_device
from validation.students.architecture import architecture_of, dense_weights
from validation.students.factored import factored_students
from validation.training.data import BlockOrders
from validation.training.loop import Training
from validation.training.losses import LossWeights
from validation.training.problem import TrainingPlan
from validation.training.teachers import Teacher

RANK = 64
ROUNDS = 5
STEPS = 3
SEED = 0
RATE = 3e-4
TEMPERATURE = 2.0


def gpt2_small(device: torch.device) -> GPT2LMHeadModel:
    """Return an untrained GPT-2 small without dropout."""
    torch.manual_seed(SEED)
    return GPT2LMHeadModel(GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)).to(device)


def our_training(module: Any, objective: LossWeights, blocks: np.ndarray, batch: int) -> Training:
    """Return a training of one factored student, before its first step."""
    return Training(
        factored_students(module, [RANK]),
        objective,
        TrainingPlan(steps=10_000, batch_size=batch, learning_rates=RATE),
        BlockOrders([np.arange(len(blocks))], [SEED]),
        blocks,
        blocks[:1],
        Teacher(architecture_of(module), dense_weights(module)),
    )


def dense_step(module: Any, blocks: np.ndarray, batch: int) -> Callable[[], None]:
    """Return one step of a dense Hugging Face model on labels."""
    optimiser = torch.optim.AdamW(module.parameters(), lr=RATE, weight_decay=0.01, fused=True)
    tokens = torch.from_numpy(blocks[:batch]).to(module.device, torch.int64)

    def step() -> None:
        optimiser.zero_grad()
        module(input_ids=tokens, labels=tokens).loss.backward()
        optimiser.step()

    return step


class Factors(torch.nn.Module):
    """A linear layer as two factors, as one would write it in a Hugging Face model."""

    def __init__(self, layer: Conv1D, rank: int) -> None:
        super().__init__()
        u, s, v = torch.linalg.svd(layer.weight.detach(), full_matrices=False)
        self.right = torch.nn.Parameter((u[:, :rank] * s[:rank].sqrt()).contiguous())
        self.left = torch.nn.Parameter((s[:rank].sqrt()[:, None] * v[:rank]).contiguous())
        self.bias = torch.nn.Parameter(layer.bias.detach().clone())

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return rows ``[…, out]``."""
        return rows @ self.right @ self.left + self.bias


class CloneTrainer(Trainer):
    """The losses of the Low-Rank Clone inside Hugging Face's Trainer."""

    teacher: Any

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        """Return labels, soft targets and hidden states, weighted equally."""
        with torch.no_grad():
            taught = self.teacher(input_ids=inputs["input_ids"], output_hidden_states=True)
        found = model(**inputs, output_hidden_states=True)
        ours, theirs = (log_softmax(out.logits / TEMPERATURE, dim=-1).flatten(0, 1) for out in (found, taught))
        divergence = TEMPERATURE**2 * kl_div(ours, theirs, log_target=True, reduction="batchmean")
        clone = torch.stack([mse_loss(a, b) for a, b in zip(found.hidden_states, taught.hidden_states, strict=True)])
        loss = found.loss + divergence + clone.mean()
        return (loss, found) if return_outputs else loss


def trainer_steps(module: Any, blocks: np.ndarray, batch: int) -> Callable[[int], None]:
    """Return a function that takes some steps with Hugging Face's Trainer."""
    student = gpt2_small(module.device)
    for block in student.transformer.h:
        for parent, name in (
            (block.attn, "c_attn"),
            (block.attn, "c_proj"),
            (block.mlp, "c_fc"),
            (block.mlp, "c_proj"),
        ):
            setattr(parent, name, Factors(getattr(parent, name), RANK))
    rows = [{"input_ids": row, "labels": row} for row in torch.from_numpy(blocks).to(torch.int64)]

    def run(steps: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder,
                max_steps=steps,
                per_device_train_batch_size=batch,
                learning_rate=RATE,
                weight_decay=0.01,
                lr_scheduler_type="cosine",
                report_to=[],
                save_strategy="no",
                disable_tqdm=True,
                logging_strategy="no",
                use_cpu=module.device.type == "cpu",
            )
            trainer = CloneTrainer(model=student.to(module.device).train(), args=arguments, train_dataset=rows)
            trainer.teacher = module
            trainer.train()

    return run


def seconds(function: Callable[[], object]) -> float:
    """Return the wall time of one call."""
    start = time.perf_counter()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def operations(function: Callable[[], object]) -> int:
    """Return the floating-point operations of one call."""
    with FlopCounterMode(display=False) as counter:
        function()
    return int(counter.get_total_flops())


def profiled(function: Callable[[], object], vocabulary: int) -> dict[str, float]:
    """Return the seconds of one call in operators that read or write the vocabulary, and in all others."""
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    with profile(activities=kinds, record_shapes=True) as found:
        for _ in range(STEPS):
            function()
    seconds_of = {"over_the_vocabulary": 0.0, "all_others": 0.0}
    for event in found.key_averages(group_by_input_shape=True):
        sizes = {size for shape in event.input_shapes if isinstance(shape, list) for size in shape}
        spent = event.self_device_time_total if torch.cuda.is_available() else event.self_cpu_time_total
        seconds_of["over_the_vocabulary" if vocabulary in sizes else "all_others"] += spent / STEPS / 1e6
    return {name: round(value, 3) for name, value in seconds_of.items()}


def main() -> None:
    """Time both pairs, in turn, and record the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    device = torch_device(parser.parse_args().device)
    batch, length = (2, 128) if device.type == "cpu" else (8, 512)
    blocks = np.random.default_rng(SEED).integers(0, 50_257, (64, length)).astype(np.int32)
    module = gpt2_small(device)
    labels = our_training(module, LossWeights(1, 0, 0), blocks, batch)
    dense = dense_step(gpt2_small(device), blocks, batch)

    def ours() -> None:
        labels.run(until=labels.step + 1)

    ratio_operations = operations(ours) / operations(dense)
    pairs = [
        (seconds(lambda: [ours() for _ in range(STEPS)]), seconds(lambda: [dense() for _ in range(STEPS)]))
        for _ in range(ROUNDS)
    ]
    vocabulary = module.config.vocab_size
    profiles = {"factored": profiled(ours, vocabulary), "dense": profiled(dense, vocabulary)}
    clone = our_training(module, LossWeights(1, 1, 1, TEMPERATURE), blocks, batch)
    trainer = trainer_steps(module, blocks, batch)
    clone.run(until=1)
    trainer(1)
    clones = [
        (seconds(lambda: clone.run(until=clone.step + STEPS)), seconds(lambda: trainer(STEPS))) for _ in range(ROUNDS)
    ]
    result = {
        "device": str(device),
        "tokens": batch * length,
        "factored_step_seconds": round(statistics.median(a for a, _ in pairs) / STEPS, 3),
        "dense_step_seconds": round(statistics.median(b for _, b in pairs) / STEPS, 3),
        "operations_ratio": round(ratio_operations, 3),
        "time_ratio_over_operations_ratio": round(statistics.median(a / b for a, b in pairs) / ratio_operations, 3),
        "target_time_ratio_over_operations_ratio": 1.25,
        "profile_seconds": profiles,
        "clone_step_seconds": round(statistics.median(a for a, _ in clones) / STEPS, 3),
        "trainer_step_seconds": round(statistics.median(b for _, b in clones) / STEPS, 3),
        "speed_up_over_trainer": round(statistics.median(b / a for a, b in clones), 2),
        "target_speed_up_over_trainer": 1.2,
    }
    record.save(f"step_speed_{device.type}", result, seeds=[SEED])


if __name__ == "__main__":
    main()
