"""One training loop for S students at once, which goes on exactly where it stopped.

Students share the architecture and the batch size; they may differ in rank, in how many blocks they see, in the order
of these, in learning rate and in the weights of the loss. No product mixes students, so that each is what it would be
alone, up to the rounding of batched products.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from theorykit.arguments import positive_integer, positive_number
from theorykit.errors import InputError
from validation.students.batch import HIDDEN, REGRESSOR, Runner, StudentBatch
from validation.students.forward import Output
from validation.training.batches import BlockOrders
from validation.training.data import Blocks
from validation.training.objectives import LossTerms, Objective, distillation_loss, hint_loss, language_model_loss
from validation.training.runtime import Gradients, Runtime, too_large
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


@dataclass(frozen=True)
class StepRecord:
    """What was measured at one step, for each of the S students; None where a student has failed.

    Attributes:
        step: Updates taken before it.
        loss: The weighted sum.
        terms: The terms of the loss by name.
        gradient_norm: Of the student's whole gradient.
        held_out: Nats per token on the held-out blocks; empty where they were not looked at.
    """

    step: int
    loss: tuple[float | None, ...]
    terms: dict[str, tuple[float | None, ...]]
    gradient_norm: tuple[float | None, ...]
    held_out: tuple[float | None, ...] = ()


class Training:
    """S students on their way: weights, optimiser, orders of blocks, and what was measured.

    Args:
        students: Where they start; their weights are copied.
        objective: Terms of the loss, common to all.
        plan: Steps, rates, batch.
        orders: Which blocks each student sees, in which order.
        blocks: Train tokens ``[n, T]``.
        held_out: Held-out tokens ``[m, T]``.
        teacher: Needed for KL, clone and hint terms.
        tokens_per_byte: Of the held-out text, for bits per byte.
        runtime: One process or several, and the precision.
    """

    def __init__(
        self,
        students: StudentBatch,
        objective: Objective,
        plan: TrainingPlan,
        orders: BlockOrders,
        blocks: Blocks,
        held_out: Blocks,
        teacher: Teacher | None = None,
        tokens_per_byte: float | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        count = students.count
        if orders.count != count:
            raise InputError(f"{orders.count} orders of blocks for {count} students", "give one per student")
        rates = np.broadcast_to(np.asarray(plan.learning_rates, dtype=float), (count,))
        self.runtime = runtime or Runtime()
        self.runtime.check_batch(plan.batch_size)
        weights = {name: self.runtime.start(part.detach()) for name, part in students.weights.items()}
        self.students = replace(students, weights=weights)
        self.objective, self.plan, self.orders, self.teacher = objective, plan, orders, teacher
        self.blocks, self.held_out, self.tokens_per_byte = blocks, held_out, tokens_per_byte
        self.step = 0
        self.failures = [""] * count
        self.records: list[StepRecord] = []
        self.step_sizes: list[dict[str, Any] | None] | None = None
        self._device = next(iter(self.students.weights.values())).device
        self._trained = {name: self.students.weights[name].requires_grad_() for name in self.students.trainable}
        self._set_rates(rates)
        self._optimiser = self._new_optimiser()
        hinted = plan.hint_steps > 0
        if teacher is not None and (objective.needs_teacher or hinted):
            names, wanted = self._compared(objective, self.students)
            self.students.check_signals(names, teacher.architecture.width)
            teacher.plan(self._tokens(1)[0], keep=hinted or wanted["keep"], signals=wanted["signals"])

    def _set_rates(self, rates: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
        self._shares = torch.tensor(rates / rates.max(), dtype=torch.float32, device=self._device)
        self._peak = float(rates.max())

    def _use_step_sizes(self, found: list[dict[str, Any] | None] | None) -> None:
        """Take the measured step of each student; one without a step has failed and takes none."""
        self.step_sizes = found
        steps = [one["step_size"] for one in found or [] if one]
        if found and steps:
            self._set_rates(np.array([one["step_size"] if one else min(steps) for one in found]))

    def _new_optimiser(self) -> torch.optim.Optimizer:
        parameters = list(self._trained.values())
        if self.plan.optimiser == "sgd":
            return torch.optim.SGD(parameters, lr=self._peak)
        return torch.optim.AdamW(parameters, lr=self._peak, weight_decay=self.plan.weight_decay, fused=True)

    @property
    def alive(self) -> list[bool]:
        """Return which students have not failed."""
        return [not failure for failure in self.failures]

    def run(self, until: int | None = None, progress: Callable[[StepRecord], None] | None = None) -> None:
        """Train to the end of the plan, or to a step before it; a student whose loss is not finite stops there."""
        last = self.plan.steps if until is None else min(until, self.plan.steps)
        if self.plan.step_size and self.step_sizes is None:
            from validation.measure.step_sizes import measured_step_sizes

            self._use_step_sizes(self.runtime.agreed(measured_step_sizes(self)))
        while self.step < last and any(self.alive):
            record = self._update()
            every = self.plan.evaluate_every
            if self.step == self.plan.steps or (every and self.step % every == 0):
                held_out = self.evaluate()
                self._note_failures(torch.isfinite(held_out), "the held-out loss")
                record = replace(record, held_out=self._shown(held_out))
            self.records.append(record)
            if progress is not None:
                progress(record)

    def _update(self) -> StepRecord:
        try:
            return self._take_step()
        except torch.OutOfMemoryError:
            pass  # the error holds what did not fit: it is let go before anything smaller is tried
        raise too_large(self.plan.batch_size, self._fits, self.runtime.count)

    def _take_step(self) -> StepRecord:
        drawn = torch.from_numpy(self.orders.next(self.blocks, self.plan.batch_size))
        terms, gradients = self._gradients(self.runtime.share(drawn).to(self._device, torch.int64))
        terms, gradients = self.runtime.mean(terms, gradients)
        parts = [torch.linalg.vector_norm(part.flatten(1), dim=1) for part in gradients if part is not None]
        norms = torch.linalg.vector_norm(torch.stack(parts), dim=0)
        self._note_failures(torch.isfinite(terms.total) & torch.isfinite(norms), "the loss or its gradient")
        record = self._record(terms, norms)
        self._apply(gradients)
        self.step += 1
        if self.step == self.plan.hint_steps:
            self._optimiser = self._new_optimiser()
        return record

    def _gradients(self, tokens: torch.Tensor) -> tuple[LossTerms, Gradients]:
        terms = self.loss(tokens)[0]  # what the students gave is let go before the backward pass
        return terms, torch.autograd.grad(terms.total.sum(), list(self._trained.values()), allow_unused=True)

    def _fits(self, size: int) -> bool:
        """Return whether a step of this batch size finds its memory in this process."""
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        steps_need = 2 if self.plan.optimiser == "adamw" and not self._optimiser.state else 0
        try:
            moments = [torch.empty_like(part) for part in self._trained.values() for _ in range(steps_need)]
            self._gradients(self._tokens(size))
            del moments
        except torch.OutOfMemoryError:
            return False
        return True

    def _tokens(self, size: int) -> torch.Tensor:
        """Return the first blocks ``[S, size, T]``, of a few again and again."""
        few = torch.from_numpy(np.resize(self.blocks[:size], (size, self.blocks.shape[1])))
        return few.to(self._device, torch.int64).expand(len(self.failures), -1, -1)

    def loss(
        self, tokens: torch.Tensor, objective: Objective | None = None, students: StudentBatch | None = None
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
        names, kept = self._compared(weighed, batch)
        found = self.runtime.run(runner, tokens, **kept)
        taught = self.runtime.run(self.teacher, tokens, **kept) if self.teacher and weighed.needs_teacher else None
        states, theirs = batch.compared(found, taught, names) if names and taught is not None else ([], [])
        terms = distillation_loss(
            weighed,
            found.logits,
            tokens,
            teacher_logits=None if taught is None else taught.logits,
            states=states,
            teacher_states=theirs,
        )
        return terms, found

    @staticmethod
    def _compared(objective: Objective, batch: StudentBatch) -> tuple[tuple[str, ...], dict[str, bool]]:
        """Return what the clone loss compares, and what forward passes keep for it."""
        names = (objective.clone_signals or batch.default_signals) if objective.weighs("clone") else ()
        return names, {"keep": HIDDEN in names, "signals": any(name != HIDDEN for name in names)}

    def _hint(self, batch: StudentBatch, runner: Runner, tokens: torch.Tensor) -> tuple[LossTerms, Output]:
        """Return the loss of the middle hidden states, from which the layers behind them get no gradient."""
        if self.teacher is None or REGRESSOR not in batch.weights:
            raise InputError("hints need a teacher and a regressor", "give both, or hint_steps = 0")
        found = self.runtime.run(runner, tokens, keep=True)
        guided = found.hidden[batch.architecture.depth // 2]
        hint = self.runtime.run(self.teacher, tokens, keep=True).hidden[self.teacher.architecture.depth // 2]
        loss = hint_loss(guided, hint, batch.weights[REGRESSOR])
        return LossTerms(loss, hint=loss), found

    def _note_failures(self, fine: torch.Tensor, what: str) -> None:
        for number, good in enumerate(fine.tolist()):
            if not good and not self.failures[number]:
                self.failures[number] = f"{what} was not finite at step {self.step}"

    def _apply(self, gradients: Gradients) -> None:
        """Take one step of each student that has not failed, scaled to its own learning rate.

        The steps of AdamW and SGD are proportional to the learning rate, weight decay included.
        """
        for group in self._optimiser.param_groups:
            group["lr"] = self._peak * self.plan.rate(self.step)
        share = self._shares * torch.tensor(self.alive, dtype=torch.float32, device=self._device)
        before = [part.detach().clone() for part in self._trained.values()] if bool((share != 1).any()) else []
        for part, gradient in zip(self._trained.values(), gradients, strict=True):
            # what the loss does not depend on is left alone, by weight decay too
            part.grad = (
                None if gradient is None else _laid_out(gradient if all(self.alive) else _finite(gradient), part)
            )
        self._optimiser.step()
        self._optimiser.zero_grad()
        with torch.no_grad():
            for part, old in zip(self._trained.values(), before, strict=False):
                part.copy_(old + share.view(-1, *[1] * (part.ndim - 1)) * (part - old))

    def evaluate(self, progress: float | None = None) -> torch.Tensor:
        """Return the mean cross-entropy of each student on the held-out blocks, ``[S]`` in nats per token.

        Args:
            progress: Share of the training that counts as done; 1 is what would be deployed now, None the present one.
        """
        size = self.plan.batch_size
        total = torch.zeros(len(self.failures), dtype=torch.float64, device=self._device)
        with torch.no_grad():
            runner = self.students.runner(self.step / self.plan.steps if progress is None else progress)
            for start in range(0, len(self.held_out), size):
                part = torch.from_numpy(np.array(self.held_out[start : start + size])).to(self._device, torch.int64)
                total += language_model_loss(self.runtime.run(runner, part).logits, part).double() * len(part)
        return total / len(self.held_out)

    def _record(self, terms: LossTerms, norms: torch.Tensor) -> StepRecord:
        shown = {name: self._shown(value) for name, value in terms.named().items()}
        return StepRecord(self.step, self._shown(terms.total), shown, self._shown(norms))

    def _shown(self, values: torch.Tensor) -> tuple[float | None, ...]:
        return tuple(value if good else None for value, good in zip(values.tolist(), self.alive, strict=True))

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Return tensors and plain values from which :meth:`restore` goes on bit for bit."""
        tensors = {f"weights/{name}": part.detach() for name, part in self._trained.items()}
        for name, part in self._trained.items():
            for key, value in self._optimiser.state.get(part, {}).items():
                if isinstance(value, torch.Tensor):
                    tensors[f"optimiser/{key}/{name}"] = value
        values = {"step": self.step, "failures": self.failures, "orders": self.orders.state()}
        alone = self.teacher is not None and self.teacher.one_by_one
        return tensors, values | {"step_sizes": self.step_sizes, "teacher_one_by_one": alone}

    def restore(self, tensors: dict[str, torch.Tensor], values: dict[str, Any]) -> None:
        """Go back to a state of a training of the same students and plan."""
        with torch.no_grad():
            for name, part in self._trained.items():
                part.copy_(tensors[f"weights/{name}"])
        for key, tensor in tensors.items():
            if key.startswith("optimiser/"):
                _, slot, name = key.split("/", 2)
                part = self._trained[name]
                # fused AdamW reads moments in the memory layout of the weights; files keep none
                moments = torch.empty_like(part).copy_(tensor) if tensor.shape == part.shape else tensor.clone()
                self._optimiser.state[part][slot] = moments
        self.step, self.failures = int(values["step"]), list(values["failures"])
        self.orders.restore(values["orders"])
        self._use_step_sizes(values["step_sizes"])
        if self.teacher is not None:
            self.teacher.one_by_one = bool(values["teacher_one_by_one"])


def _laid_out(gradient: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return the gradient in the memory layout of its weights: fused AdamW reads both as if they lay alike.

    That of a tied embedding comes from a transposed product.
    """
    return gradient if gradient.stride() == like.stride() else torch.empty_like(like).copy_(gradient)


def _finite(gradient: torch.Tensor) -> torch.Tensor:
    """Return the gradient with zeros where a student that has failed has none."""
    return torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
