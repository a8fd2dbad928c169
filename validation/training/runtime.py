"""One process, or several of ``accelerate launch`` that share every batch; the precision of forward passes; memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from theorykit.arguments import one_of
from theorykit.errors import InputError
from validation.students.batch import Runner
from validation.students.forward import Output
from validation.training.losses import LossTerms

PRECISIONS = ("no", "bf16")
T = TypeVar("T")
Gradients = Sequence[torch.Tensor | None]


@dataclass(frozen=True)
class Runtime:
    """Where a training runs; the default is one process in float32.

    Every process holds all students and takes its share of each batch; gradients are averaged before the step, so that
    weights stay equal everywhere. Losses are means over tokens and shares are equal, so that the mean over processes
    is that of one process with the whole batch.

    Attributes:
        precision: ``no``, or ``bf16`` for products in bfloat16; weights, sums, losses and steps stay float32.
        index: Of this process.
        count: Of processes.
        device: Of this process where there are several, or None.
    """

    precision: str = "no"
    index: int = 0
    count: int = 1
    device: torch.device | None = None

    def __post_init__(self) -> None:
        if self.precision == "fp16":
            raise InputError("mixed_precision = 'fp16' needs its losses scaled, student by student", "give bf16")
        one_of("mixed_precision", self.precision, PRECISIONS)

    @property
    def main(self) -> bool:
        """Return whether this is the process that writes."""
        return self.index == 0

    def check_batch(self, size: int) -> None:
        """Raise where processes cannot share batches of this size equally."""
        if size % self.count:
            raise InputError(
                f"batch_size = {size} cannot be shared equally by {self.count} processes",
                f"give a multiple of {self.count}",
            )

    def share(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return this process's blocks of ``[S, B, T]``."""
        size = tokens.shape[1] // self.count
        return tokens[:, self.index * size : (self.index + 1) * size]

    def run(self, runner: Runner, tokens: torch.Tensor, *, keep: bool = False, signals: bool = False) -> Output:
        """Run a forward pass in the precision of the run; what comes out is float32."""
        if self.precision == "no":
            return runner(tokens, keep=keep, signals=signals)
        with torch.autocast(tokens.device.type, torch.bfloat16):
            output = runner(tokens, keep=keep, signals=signals)
        return output.mapped(torch.Tensor.float)

    def mean(self, terms: LossTerms, gradients: Gradients) -> tuple[LossTerms, Gradients]:
        """Return losses and gradients of the whole batch, from those of this process's share."""
        if self.count == 1:
            return terms, gradients
        from accelerate.utils import reduce

        named = {"total": terms.total, **terms.named()}
        there = [part for part in gradients if part is not None]
        joined = torch.cat([part.detach().flatten() for part in (*there, *named.values())])
        mean = torch.as_tensor(reduce(joined, "mean"))
        parts = torch.split(mean, [part.numel() for part in (*there, *named.values())])
        losses = dict(zip(named, parts[len(there) :], strict=True))
        rest = iter([part.view_as(own) for part, own in zip(parts, there, strict=False)])
        return replace(terms, **losses), [None if part is None else next(rest) for part in gradients]

    def start(self, weights: torch.Tensor) -> torch.Tensor:
        """Return a copy of weights at their start: the main process's in all."""
        copy = weights.clone()
        if self.count == 1:
            return copy
        from accelerate.utils import broadcast

        return torch.as_tensor(broadcast(copy))

    def agreed(self, value: T) -> T:
        """Return the main process's value."""
        if self.count == 1:
            return value
        from accelerate.utils import broadcast_object_list

        values: list[T] = broadcast_object_list([value])
        return values[0]

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.count > 1:
            from accelerate import PartialState

            PartialState().wait_for_everyone()

    def close(self) -> None:
        """Leave the other processes."""
        if self.count > 1:
            from accelerate import PartialState

            PartialState().destroy_process_group()


def launched(precision: str = "no", device: str | None = None) -> Runtime:
    """Return the runtime of this process, as ``accelerate launch`` started it or alone.

    Args:
        precision: Of the run.
        device: Of the run; ``cpu`` or None for several processes, which get a GPU each.

    Raises:
        InputError: an unknown precision, another one in the launcher's settings, or a device that several would share.
    """
    given = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if given not in ("no", precision):
        raise InputError(
            f"accelerate launch says mixed precision {given} and the run says {precision}",
            "the run's own counts: give --mixed-precision to it, behind -m validation train",
        )
    runtime = Runtime(precision)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return runtime
    if device not in (None, "cpu"):
        raise InputError(f"device = {device!r} is for one process", "leave it out: accelerate gives each its own")
    from accelerate import PartialState

    state = PartialState(cpu=device == "cpu" or not torch.accelerator.is_available())
    return replace(runtime, index=state.process_index, count=state.num_processes, device=state.device)


def too_large(size: int, fits: Callable[[int], bool], processes: int = 1) -> InputError:
    """Return the error of a batch that does not fit into memory, which says the largest that does.

    Args:
        size: Of the batch that did not fit, all processes together.
        fits: Tries a smaller one in this process.
        processes: That share the batch.
    """
    low, high = 0, size // processes
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    if low == 0:
        return InputError(
            f"batch_size = {size} does not fit into memory, nor does {processes}",
            "give shorter blocks, fewer students or a smaller rank",
        )
    most = low * processes
    return InputError(f"batch_size = {size} does not fit into memory: {most} does", f"give {most} or less")
