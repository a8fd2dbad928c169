"""One training loop for S students at once, which goes on exactly where it stopped.

Students share the architecture and the batch size; they may differ in rank, in how many blocks they see, in the order
of these, in learning rate and in the weights of the loss. No product mixes students, so that each is what it would be
alone, up to the rounding of batched products.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from validation.training.failures import Failure, FailureKind, failure_in
from validation.training.losses import LossTerms
from validation.training.problem import Problem
from validation.training.runtime import Gradients, too_large


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


@dataclass(eq=False, repr=False)
class Training(Problem):
    """A problem that is being solved: optimiser, and what was noted at each step.

    Attributes:
        records: Of the steps that were taken here.
        step_sizes: What was measured of each student's step, None for one that has none; None until it was measured.
    """

    records: list[StepRecord] = field(default_factory=list, init=False)
    step_sizes: list[dict[str, Any] | None] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        rates = np.asarray(self.plan.learning_rates, dtype=float)
        self._set_rates(np.broadcast_to(rates, (self.students.count,)))
        self._optimiser = self._new_optimiser()

    def _set_rates(self, rates: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
        self._shares = torch.tensor(rates / rates.max(), dtype=torch.float32, device=self.device)
        self._peak = float(rates.max())

    def use_step_sizes(self, measured: list[dict[str, Any] | None] | None) -> None:
        """Take the measured step of each student; one without a step has failed and takes none."""
        self.step_sizes = measured
        sizes = [size["step_size"] for size in measured or [] if size]
        if measured and sizes:
            self._set_rates(np.array([size["step_size"] if size else min(sizes) for size in measured]))

    def _new_optimiser(self) -> torch.optim.Optimizer:
        parameters = list(self.trained.values())
        if self.plan.optimiser == "sgd":
            return torch.optim.SGD(parameters, lr=self._peak)
        return torch.optim.AdamW(parameters, lr=self._peak, weight_decay=self.plan.weight_decay, fused=True)

    def run(self, until: int | None = None, progress: Callable[[StepRecord], None] | None = None) -> None:
        """Train to the end of the plan, or to a step before it; a student whose loss is not finite stops there."""
        last = self.plan.steps if until is None else min(until, self.plan.steps)
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
        terms, gradients = self._gradients(self.runtime.share(drawn).to(self.device, torch.int64))
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
        return terms, torch.autograd.grad(terms.total.sum(), list(self.trained.values()), allow_unused=True)

    def _fits(self, size: int) -> bool:
        """Return whether a step of this batch size finds its memory in this process."""
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        steps_need = 2 if self.plan.optimiser == "adamw" and not self._optimiser.state else 0
        try:
            moments = [torch.empty_like(part) for part in self.trained.values() for _ in range(steps_need)]
            self._gradients(self._tokens(size))
            del moments
        except torch.OutOfMemoryError:
            return False
        return True

    def _tokens(self, size: int) -> torch.Tensor:
        """Return the first blocks ``[S, size, T]``, of a few again and again."""
        few = torch.from_numpy(np.resize(self.blocks[:size], (size, self.blocks.shape[1])))
        return few.to(self.device, torch.int64).expand(len(self.failures), -1, -1)

    def _note_failures(self, fine: torch.Tensor, what: str) -> None:
        for number, good in enumerate(fine.tolist()):
            if not good and self.failures[number] is None:
                self.failures[number] = Failure(FailureKind.DIVERGED, f"{what} was not finite at step {self.step}")

    def _apply(self, gradients: Gradients) -> None:
        """Take one step of each student that has not failed, scaled to its own learning rate.

        The steps of AdamW and SGD are proportional to the learning rate, weight decay included.
        """
        for group in self._optimiser.param_groups:
            group["lr"] = self._peak * self.plan.rate(self.step)
        share = self._shares * torch.tensor(self.alive, dtype=torch.float32, device=self.device)
        before = [part.detach().clone() for part in self.trained.values()] if bool((share != 1).any()) else []
        for part, gradient in zip(self.trained.values(), gradients, strict=True):
            # what the loss does not depend on is left alone, by weight decay too
            part.grad = (
                None if gradient is None else _laid_out(gradient if all(self.alive) else _finite(gradient), part)
            )
        self._optimiser.step()
        self._optimiser.zero_grad()
        with torch.no_grad():
            for part, old in zip(self.trained.values(), before, strict=False):
                part.copy_(old + share.view(-1, *[1] * (part.ndim - 1)) * (part - old))

    def _record(self, terms: LossTerms, norms: torch.Tensor) -> StepRecord:
        shown = {name: self._shown(value) for name, value in terms.named().items()}
        return StepRecord(self.step, self._shown(terms.total), shown, self._shown(norms))

    def _shown(self, values: torch.Tensor) -> tuple[float | None, ...]:
        return tuple(value if good else None for value, good in zip(values.tolist(), self.alive, strict=True))

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Return tensors and plain values from which :meth:`restore` goes on bit for bit."""
        tensors = {f"weights/{name}": part.detach() for name, part in self.trained.items()}
        for name, part in self.trained.items():
            for key, value in self._optimiser.state.get(part, {}).items():
                if isinstance(value, torch.Tensor):
                    tensors[f"optimiser/{key}/{name}"] = value
        values = {"step": self.step, "orders": self.orders.state()}
        values |= {
            "failures": ["" if failure is None else failure.reason for failure in self.failures],
            "failure_kinds": ["" if failure is None else failure.kind for failure in self.failures],
        }
        alone = self.teacher is not None and self.teacher.one_by_one
        return tensors, values | {"step_sizes": self.step_sizes, "teacher_one_by_one": alone}

    def restore(self, tensors: dict[str, torch.Tensor], values: dict[str, Any]) -> None:
        """Go back to a state of a training of the same students and plan."""
        with torch.no_grad():
            for name, part in self.trained.items():
                part.copy_(tensors[f"weights/{name}"])
        for key, tensor in tensors.items():
            if key.startswith("optimiser/"):
                _, slot, name = key.split("/", 2)
                part = self.trained[name]
                # fused AdamW reads moments in the memory layout of the weights; files keep none
                moments = torch.empty_like(part).copy_(tensor) if tensor.shape == part.shape else tensor.clone()
                self._optimiser.state[part][slot] = moments
        self.step, reasons = int(values["step"]), values["failures"]
        kinds = values.get("failure_kinds", [""] * len(reasons))  # older checkpoints have reasons alone
        self.failures = [
            failure_in({"failure": reason, "failure_kind": kind}) for reason, kind in zip(reasons, kinds, strict=True)
        ]
        self.orders.restore(values["orders"])
        self.use_step_sizes(values["step_sizes"])
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
