"""The step of plain SGD that Theorem 1 speaks of, measured where students start: 1/L, or the tuned one.

L is the magnitude of the top Hessian eigenvalue at the start, on a batch of train blocks. That is a local number and a
lower bound on the L of Assumption 1, which has to hold wherever the run goes: a step of 1/L can be too long for Theorem
1, and the top eigenvalue along the run (measurement ``hessian``) tells where it was.
"""

from __future__ import annotations

from typing import Any

from theorykit.convergence import tuned_step_size
from theorykit.errors import NonFiniteError, TheorykitError
from validation.measure.curvature import top_eigenvalue
from validation.measure.gradients import gradient_variance
from validation.measure.losses import loss_terms
from validation.measure.samples import DEFAULT
from validation.training.failures import Failure, FailureKind
from validation.training.problem import Problem


def measured_step_sizes(problem: Problem) -> list[dict[str, Any] | None]:
    """Measure the step of each student by the plan's ``step_size``, in squared units of the weights per nat.

    ``1/L``, or ``tuned``: min(1/L, sqrt(2Δ/(L σ² T))) (Ghadimi & Lan 2013, Corollary 2.2) with T the steps of the plan,
    σ² the variance of the plan's minibatch gradient and Δ the loss on the train sample, which is at least L(θ0) − L* as
    no term is negative. A student where a number cannot be had fails, with the reason.

    Args:
        problem: Before its first step.

    Returns:
        For each student ``step_size``, ``rule``, ``smoothness`` (L) and, where tuned, ``gradient_variance`` (σ²) and
        ``initial_gap`` (Δ).
    """
    rule, count = problem.plan.step_size, problem.students.count
    tuned = rule == "tuned"
    variances = gradient_variance(problem) if tuned else [None] * count
    terms = loss_terms(problem) if tuned else []

    def step(number: int) -> dict[str, Any]:
        smoothness = top_eigenvalue(problem, number, DEFAULT.hessian_blocks).smoothness_lower_bound
        if smoothness == 0:
            raise NonFiniteError("the loss has no curvature at the start")
        longest = {"step_size": 1 / smoothness, "rule": rule, "smoothness": smoothness}
        noise = variances[number]
        if not tuned:
            return longest
        if noise is None:
            raise NonFiniteError("a gradient was not finite at the start")
        known = {"initial_gap": terms[number]["train"]["total"], "gradient_variance": noise["variance"]}
        tuned_step = tuned_step_size(problem.plan.steps, smoothness=smoothness, **known)
        return longest | known | {"step_size": float(tuned_step)}

    def step_or_failure(number: int) -> dict[str, Any] | None:
        try:
            return step(number)
        except TheorykitError as error:
            problem.failures[number] = Failure(FailureKind.NO_STEP_SIZE, f"no step size: {error.message}")
            return None

    return [step_or_failure(number) for number in range(count)]
