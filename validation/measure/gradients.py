"""Gradients of the loss: how large on the whole subset, how noisy in a minibatch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from theorykit.convergence import paired_gradient_variance
from theorykit.errors import InputError, NonFiniteError
from validation.measure.samples import DEFAULT, MeasurementSettings, mean_gradient, squared_norms, train_sample
from validation.training.problem import Problem

_FEWEST_BATCHES = 8


def gradient_norm(problem: Problem, settings: MeasurementSettings = DEFAULT) -> list[float | None]:
    """Compute ‖∇L‖ of the mean loss over the student's train subset, in nats per unit of the trained weights.

    Exact where the subset has no more than ``settings.blocks`` blocks, else over a sample of so many. The square of it
    is what Theorem 1 averages. It costs a forward and a backward pass over these blocks.

    Args:
        problem: Left as it is.
        settings: ``blocks``.
    """
    squares = squared_norms(mean_gradient(problem, train_sample(problem, settings.blocks)))
    return problem.of_the_living(lambda number: _finite(math.sqrt(squares[number])))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def gradient_variance(problem: Problem, settings: MeasurementSettings = DEFAULT) -> list[dict[str, Any] | None]:
    """Estimate σ² = E‖g_B − ∇L‖² of a minibatch gradient at the plan's batch size, with a 95 % interval.

    Squared norm, in (nats per unit of the trained weights)². From pairs of independent minibatches, each drawn as the
    first of an epoch is, without replacement from the whole subset (:func:`theorykit.convergence.
    paired_gradient_variance`): unbiased for the batches of the training. The draws depend on the step alone, so that
    students of one subset see the same batches. It costs as much as a step of training for each of
    ``settings.blocks / batch_size`` minibatches, at least 8, and holds two gradients.

    Args:
        problem: Left as it is.
        settings: ``blocks``: in all minibatches together.

    Returns:
        For each student the fields of :class:`theorykit.convergence.GradientVariance`.
    """
    size = problem.plan.batch_size
    parameters = list(problem.trained.values())
    generators = [np.random.default_rng([problem.step, 3]) for _ in problem.orders.subsets]
    halves, products = [], []
    for _ in range(max(_FEWEST_BATCHES, settings.blocks // size) // 2):
        first, second = (_minibatch_gradient(problem, parameters, generators) for _ in range(2))
        pairs = [(a.flatten(1).double(), b.flatten(1).double()) for a, b in zip(first, second, strict=True)]
        halves.append(torch.stack([(a - b).square().sum(dim=1) for a, b in pairs]).sum(dim=0) / 2)
        products.append(torch.stack([(a * b).sum(dim=1) for a, b in pairs]).sum(dim=0))
    distances, inner = (torch.stack(part).numpy(force=True) for part in (halves, products))

    def estimate(number: int) -> dict[str, Any] | None:
        try:
            return paired_gradient_variance(distances[:, number], inner[:, number], batch_size=size).to_dict()
        except NonFiniteError:
            return None

    return problem.of_the_living(estimate)


def _minibatch_gradient(
    problem: Problem, parameters: list[torch.Tensor], generators: list[np.random.Generator]
) -> tuple[torch.Tensor, ...]:
    """Return the gradient ``[S, …]`` by each parameter on a minibatch of each student's own."""
    size = problem.plan.batch_size
    drawn = [_first_of_an_epoch(*pair, size) for pair in zip(generators, problem.orders.subsets, strict=True)]
    tokens = torch.from_numpy(np.array(problem.blocks[np.stack(drawn)])).to(problem.device, torch.int64)
    losses = problem.loss(tokens)[0].total
    return torch.autograd.grad(losses.sum(), parameters, materialize_grads=True)


def _first_of_an_epoch(
    generator: np.random.Generator, subset: np.ndarray[tuple[int], np.dtype[np.intp]], size: int
) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    if not len(subset):
        raise InputError("a subset holds no block", "give each student at least one")
    epochs = [generator.permutation(subset) for _ in range(math.ceil(size / len(subset)))]
    return np.concatenate(epochs)[:size]
