"""The problem that S students are trained on: their weights, the loss, the teacher and the blocks of tokens.

Everything that is measured is a function of these; what updates the weights is :mod:`validation.training.loop`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch

from theorykit.arguments import positive_integer, positive_number
from theorykit.errors import InputError
from validation.students.architecture import Weights
from validation.students.batch import HIDDEN, REGRESSOR, Runner, StudentBatch
from validation.students.forward import Output
from validation.training.data import BlockOrders, Blocks
from validation.training.failures import Failure
from validation.training.losses import LossTerms, LossWeights, distillation_loss, hint_loss, language_model_loss
from validation.training.runtime import Runtime
from validation.training.teachers import Teacher

Optimiser = Literal["adamw", "sgd"]
StepRule = Literal["", "1/L", "tuned"]


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how students are trained; the defaults are the paper's §5.1 but for batch and steps.

    Attributes:
        steps: Updates.
        batch_size: Blocks in a step, of each student.
        learning_rates: Peak learning rate of each student, or one for all.
        optimiser: ``adamw`` with warm-up and cosine, or ``sgd`` with a constant step, for Theorem 1.
        step_size: ``1/L`` or ``tuned``: measured at the start in place of ``learning_rates``
            (:mod:`validation.measure.step_sizes`), for SGD.
        weight_decay: Of AdamW.
        warmup: Share of the steps of a stage over which the learning rate rises linearly.
        hint_steps: Of the first stage of FitNets: the layers up to the guided one learn the teacher's hint layer, and
            nothing else; the second stage starts with a new optimiser and a new schedule.
        evaluate_every: Steps between two looks at the held-out blocks; 0 for the end alone.
    """

    steps: int
    batch_size: int = 8
    learning_rates: float | tuple[float, ...] = 3e-4
    optimiser: Optimiser = "adamw"
    step_size: StepRule = ""
    weight_decay: float = 0.01
    warmup: float = 0.05
    hint_steps: int = 0
    evaluate_every: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            positive_integer(name, getattr(self, name))
        for rate in np.atleast_1d(self.learning_rates):
            positive_number("learning_rates", float(rate))
        positive_number("weight_decay", self.weight_decay, allow_zero=True)
        if not 0 <= self.warmup < 1:
            raise InputError(f"warmup = {self.warmup!r} is not in [0, 1)", "give a share of the steps, as 0.05")
        if not 0 <= self.hint_steps < self.steps:
            raise InputError(f"hint_steps = {self.hint_steps} leaves no second stage", f"give 0 to {self.steps - 1}")
        if self.optimiser not in ("adamw", "sgd"):
            raise InputError(f"optimiser = {self.optimiser!r} is unknown", "choose adamw or sgd")
        if self.step_size not in ("", "1/L", "tuned"):
            raise InputError(f"step_size = {self.step_size!r} is unknown", "choose 1/L or tuned, or leave it out")
        if self.step_size and (self.optimiser != "sgd" or self.hint_steps):
            raise InputError(
                f"step_size = {self.step_size!r} is for sgd on one loss", "give optimiser = sgd, and no hints"
            )

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0, over its peak: linear warm-up, then cosine to 0."""
        if self.optimiser == "sgd":
            return 1.0
        hinted = step < self.hint_steps
        place, steps = (step, self.hint_steps) if hinted else (step - self.hint_steps, self.steps - self.hint_steps)
        rising = math.ceil(self.warmup * steps)
        if place < rising:
            return (place + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (place - rising) / max(1, steps - rising)))


@dataclass(eq=False, repr=False)
class Problem:
    """S students at one step of their training, and all that their loss depends on.

    Attributes:
        students: With weights of their own: copies of those that were handed in.
        objective: Terms of the loss, common to all.
        plan: Steps, rates, batch.
        orders: Which blocks each student sees, in which order.
        blocks: Train tokens ``[n, T]``.
        held_out: Held-out tokens ``[m, T]``.
        teacher: Needed for KL, clone and hint terms.
        tokens_per_byte: Of the held-out text, for bits per byte.
        runtime: One process or several, and the precision.
        step: Updates that were taken.
        failures: Why each student has failed; None for those that are well.
    """

    students: StudentBatch
    objective: LossWeights
    plan: TrainingPlan
    orders: BlockOrders
    blocks: Blocks
    held_out: Blocks
    teacher: Teacher | None = None
    tokens_per_byte: float | None = None
    runtime: Runtime = field(default_factory=Runtime)
    step: int = field(default=0, init=False)
    failures: list[Failure | None] = field(init=False)

    def __post_init__(self) -> None:
        count = self.students.count
        if self.orders.count != count:
            raise InputError(f"{self.orders.count} orders of blocks for {count} students", "give one per student")
        self.runtime.check_batch(self.plan.batch_size)
        weights = {name: self.runtime.start(part.detach()) for name, part in self.students.weights.items()}
        self.students = replace(self.students, weights=weights)
        self.failures = [None] * count
        for part in self.trained.values():
            part.requires_grad_()
        hinted = self.plan.hint_steps > 0
        if self.teacher is not None and (self.objective.needs_teacher or hinted):
            names, wanted = _compared(self.objective, self.students)
            self.students.check_signals(names, self.teacher.architecture.width)
            row = torch.from_numpy(np.array(self.blocks[:1])).to(self.device, torch.int64)
            self.teacher.plan(row, keep=hinted or wanted["keep"], signals=wanted["signals"])

    @property
    def trained(self) -> Weights:
        """Return what is trained by name ``[S, …]``."""
        return {name: self.students.weights[name] for name in self.students.trainable}

    @property
    def device(self) -> torch.device:
        """Return where the students are."""
        return next(iter(self.students.weights.values())).device

    @property
    def alive(self) -> list[bool]:
        """Return which students have not failed."""
        return [failure is None for failure in self.failures]

    def of_the_living(self, value: Callable[[int], Any]) -> list[Any]:
        """Return one value per student, None for those that have failed."""
        return [value(number) if alive else None for number, alive in enumerate(self.alive)]

    def loss(
        self, tokens: torch.Tensor, objective: LossWeights | None = None, students: StudentBatch | None = None
    ) -> tuple[LossTerms, Output]:
        """Return the terms of the present stage on tokens ``[S, B, T]``, and what the students gave.

        Args:
            tokens: int64.
            objective: In place of the present stage's.
            students: In place of those that are trained, as for a measurement.
        """
        batch = self.students if students is None else students
        runner = batch.runner(self.step / self.plan.steps)
        if objective is None and self.step < self.plan.hint_steps:
            return self._hint(batch, runner, tokens)
        weighed = self.objective if objective is None else objective
        names, kept = _compared(weighed, batch)
        output = self.runtime.run(runner, tokens, **kept)
        taught = self.runtime.run(self.teacher, tokens, **kept) if self.teacher and weighed.needs_teacher else None
        states, theirs = batch.compared(output, taught, names) if names and taught is not None else ([], [])
        terms = distillation_loss(
            weighed,
            output.logits,
            tokens,
            teacher_logits=None if taught is None else taught.logits,
            states=states,
            teacher_states=theirs,
        )
        return terms, output

    def _hint(self, batch: StudentBatch, runner: Runner, tokens: torch.Tensor) -> tuple[LossTerms, Output]:
        """Return the loss of the middle hidden states, from which the layers behind them get no gradient."""
        if self.teacher is None or REGRESSOR not in batch.weights:
            raise InputError("hints need a teacher and a regressor", "give both, or hint_steps = 0")
        output = self.runtime.run(runner, tokens, keep=True)
        guided = output.hidden[batch.architecture.depth // 2]
        hint = self.runtime.run(self.teacher, tokens, keep=True).hidden[self.teacher.architecture.depth // 2]
        loss = hint_loss(guided, hint, batch.weights[REGRESSOR])
        return LossTerms(loss, hint=loss), output

    def evaluate(self, progress: float | None = None) -> torch.Tensor:
        """Return the mean cross-entropy of each student on the held-out blocks, ``[S]`` in nats per token.

        Args:
            progress: Share of the training that counts as done; 1 is what would be deployed now, None the present one.
        """
        size = self.plan.batch_size
        total = torch.zeros(len(self.failures), dtype=torch.float64, device=self.device)
        with torch.no_grad():
            runner = self.students.runner(self.step / self.plan.steps if progress is None else progress)
            for start in range(0, len(self.held_out), size):
                part = torch.from_numpy(np.array(self.held_out[start : start + size])).to(self.device, torch.int64)
                total += language_model_loss(self.runtime.run(runner, part).logits, part).double() * len(part)
        return total / len(self.held_out)


def _compared(objective: LossWeights, batch: StudentBatch) -> tuple[tuple[str, ...], dict[str, bool]]:
    """Return what the clone loss compares, and what forward passes keep for it."""
    names = (objective.clone_signals or batch.default_signals) if objective.weighs("clone") else ()
    return names, {"keep": HIDDEN in names, "signals": any(name != HIDDEN for name in names)}
