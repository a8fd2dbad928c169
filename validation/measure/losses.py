"""All terms of the loss on train and held-out blocks, so that generalisation can be read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from validation.measure.samples import DEFAULT, MeasurementSettings, batches_of, train_sample
from validation.training.data import Blocks
from validation.training.problem import Problem

_WEIGHTS = ("language_model", "distillation", "clone")


def loss_terms(problem: Problem, settings: MeasurementSettings = DEFAULT) -> list[Any]:
    """Compute every term of eq 2 on train and held-out blocks, and how they differ.

    Nats per token; the clone term is a mean square per coordinate. Terms that the run does not weigh are measured too,
    at its temperature; without a teacher there are labels alone. ``total`` is eq 2 with the run's weights, whatever the
    stage. ``accuracy`` is the share of next tokens that get the largest logit. ``gap`` is held-out less train, so that
    overfitting has a positive gap of losses and a negative one of accuracy. It costs a forward pass of student and
    teacher over these blocks.

    Args:
        problem: Left as it is.
        settings: ``blocks``, of train; all held-out blocks are looked at.

    Returns:
        For each student ``{"train": …, "held_out": …, "gap": …}``, each a name to a number.
    """
    every = [np.arange(len(problem.held_out))] * problem.students.count
    train = _means(problem, problem.blocks, train_sample(problem, settings.blocks))
    held_out = _means(problem, problem.held_out, every)

    def row(number: int) -> dict[str, dict[str, float]]:
        terms = {
            part: {name: float(values[number]) for name, values in means.items()}
            for part, means in (("train", train), ("held_out", held_out))
        }
        terms["gap"] = {name: terms["held_out"][name] - value for name, value in terms["train"].items()}
        return terms

    return problem.of_the_living(row)


def _means(problem: Problem, blocks: Blocks, sample: list[NDArray[np.intp]]) -> dict[str, NDArray[np.float64]]:
    """Return the mean ``[S]`` of each term over each student's sample."""
    weight = 0.0 if problem.teacher is None else 1.0
    objective = replace(problem.objective, language_model=1.0, distillation=weight, clone=weight)
    total: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        for tokens, shares in batches_of(blocks, sample, problem.plan.batch_size, problem.device):
            terms, output = problem.loss(tokens, objective)
            right = (output.logits[..., :-1, :].argmax(dim=-1) == tokens[..., 1:]).double().flatten(1).mean(dim=1)
            for name, value in (terms.named() | {"accuracy": right}).items():
                total[name] = total.get(name, 0.0) + torch.where(shares > 0, shares * value.double(), 0.0)
    means = {name: np.asarray(value.numpy(force=True), dtype=np.float64) for name, value in total.items()}
    weighted = [np.asarray(getattr(problem.objective, name)) * means[name] for name in _WEIGHTS if name in means]
    return {"total": np.asarray(np.sum(weighted, axis=0), dtype=np.float64)} | means
