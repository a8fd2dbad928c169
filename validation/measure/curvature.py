"""The top eigenvalue of the Hessian of each student's loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from theorykit.convergence import HessianEigenvalue, top_hessian_eigenvalue
from theorykit.devices import free_bytes
from theorykit.errors import InputError, TheorykitError
from validation.measure.samples import DEFAULT, MeasurementSettings, train_sample
from validation.training.problem import Problem

_TOLERANCE = 1e-2
"""Relative residual: float32 weights allow not much less. The eigenvalue is off by 1 % at worst."""
_BYTES_PER_WEIGHT = 200
"""ARPACK keeps 20 float64 vectors, and a product needs a few more."""


def hessian(problem: Problem, settings: MeasurementSettings = DEFAULT) -> list[dict[str, Any] | None]:
    """Compute the Hessian eigenvalue of largest magnitude in the trained weights, on a fixed batch of train blocks.

    In nats per squared unit of the weights. A lower bound on ‖∇²L‖₂ at this point, so one on L of Assumption 1, never
    an upper one. Lanczos (:func:`theorykit.convergence.top_hessian_eigenvalue`): tens of products, each about three
    steps of training, one student after another, with a graph of about three times a step's memory and some two dozen
    float64 vectors of all trained weights (200 bytes per weight) in main memory. Ask for it seldom, of small students.

    Args:
        problem: Left as it is.
        settings: ``hessian_blocks``: the first of each student's subset, the same at every step.

    Returns:
        For each student the fields of :class:`theorykit.convergence.HessianEigenvalue` and ``n_blocks``, or ``failure``
        where Lanczos did not converge or memory does not suffice.
    """

    def row(number: int) -> dict[str, Any]:
        count = min(settings.hessian_blocks, len(problem.orders.subsets[number]))
        try:
            return top_eigenvalue(problem, number, settings.hessian_blocks).to_dict() | {"n_blocks": count}
        except TheorykitError as error:
            return {"failure": error.message}

    return problem.of_the_living(row)


def top_eigenvalue(problem: Problem, number: int, blocks: int) -> HessianEigenvalue:
    """Compute the eigenvalue of one student on the first blocks of its subset.

    Raises:
        InputError: the memory that is free does not hold Lanczos' vectors.
        ConvergenceError: Lanczos did not reach its tolerance.
        NonFiniteError: NaN or infinity in a product.
    """
    student = problem.students.alone(number)
    parameters = [student.weights[name].requires_grad_() for name in student.trainable]
    _check_memory(sum(part.numel() for part in parameters))
    objective = None if problem.step < problem.plan.hint_steps else problem.objective.of(number)
    sample = train_sample(problem, blocks)[number]
    tokens = torch.from_numpy(np.array(problem.blocks[sample])).to(problem.device, torch.int64)
    return top_hessian_eigenvalue(
        lambda: problem.loss(tokens[None], objective, student)[0].total.sum(),
        parameters,
        generator=np.random.default_rng(0),
        tolerance=_TOLERANCE,
    )


def _check_memory(weights: int) -> None:
    needed, free = _BYTES_PER_WEIGHT * weights, free_bytes()
    if free is not None and needed > free:
        raise InputError(
            f"the Hessian of {weights:,} weights needs {needed / 1e9:.1f} GB of main memory, {free / 1e9:.1f} are free",
            "measure a smaller student",
        )
