"""What measurements read: each student's own blocks, in batches that weigh right where some have more than others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from validation.students.architecture import Weights
from validation.students.batch import StudentBatch
from validation.training.data import Blocks
from validation.training.losses import LossWeights
from validation.training.problem import Problem


@dataclass(frozen=True)
class MeasurementSettings:
    """How much is looked at.

    Attributes:
        blocks: Most train blocks of a mean; a student that sees no more than that is measured on all of its blocks,
            one that sees more on the first of its subset, which is in a random order of the student's seed.
        hessian_blocks: Train blocks, the first of the subset, whose mean loss has the Hessian.
        state_blocks: Held-out blocks, the first ones, whose hidden states are kept.
        state_layers: Which of them, counted as transformers does (0 is the embedded tokens); empty for the middle and
            the last one.
        folder: Where hidden states are written; needed for them alone.
    """

    blocks: int = 256
    hessian_blocks: int = 8
    state_blocks: int = 16
    state_layers: tuple[int, ...] = ()
    folder: Path | None = None


DEFAULT = MeasurementSettings()


def train_sample(problem: Problem, most: int) -> list[NDArray[np.intp]]:
    """Return the numbers of the blocks that each student is measured on."""
    return [subset[:most] for subset in problem.orders.subsets]


def batches_of(
    blocks: Blocks, sample: list[NDArray[np.intp]], size: int, device: torch.device
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield tokens ``[S, b, T]`` and the share ``[S]`` (float64) of a student's sample that they are.

    All students have equally many blocks in a batch: batches end where a sample does. A student whose sample has ended
    gets its blocks again with share 0.
    """
    counts = np.array([len(chosen) for chosen in sample])
    numbers = np.stack([np.resize(chosen, counts.max()) for chosen in sample])
    edges = sorted({*range(0, int(counts.max()), size), *counts.tolist()})
    for low, high in pairwise(edges):
        tokens = torch.from_numpy(np.array(blocks[numbers[:, low:high]])).to(device, torch.int64)
        yield tokens, torch.from_numpy(np.where(low < counts, (high - low) / counts, 0.0)).to(device)


def mean_gradient(
    problem: Problem,
    sample: list[NDArray[np.intp]],
    by: Weights | None = None,
    students: StudentBatch | None = None,
    objective: LossWeights | None = None,
) -> Weights:
    """Return the gradient of each student's mean loss over its sample, ``[S, …]`` in float64.

    An exact average: whatever the batch size, up to the rounding of each batch's gradient.

    Args:
        problem: Of the students.
        sample: For each student, numbers of train blocks.
        by: What is differentiated by; None for what is trained.
        students: That are run, in place of those that are trained.
        objective: In place of that of the present stage.
    """
    parameters = problem.trained if by is None else by
    total = {name: torch.zeros_like(part, dtype=torch.float64) for name, part in parameters.items()}
    for tokens, shares in batches_of(problem.blocks, sample, problem.plan.batch_size, problem.device):
        losses = problem.loss(tokens, objective, students)[0].total
        gradients = torch.autograd.grad(losses.sum(), list(parameters.values()), allow_unused=True)
        for name, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                total[name] += shares.view(-1, *[1] * (gradient.ndim - 1)) * gradient
    return total


def squared_norms(gradients: Weights) -> NDArray[np.float64]:
    """Return the squared norm of each student's whole gradient ``[S]``."""
    parts = [part.double().flatten(1).square().sum(dim=1) for part in gradients.values()]
    return np.asarray(torch.stack(parts).sum(dim=0).numpy(force=True), dtype=np.float64)
