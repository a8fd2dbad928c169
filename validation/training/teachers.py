"""The teacher that students learn from: it runs each block once, and keeps its outputs where that is cheaper."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from theorykit.devices import free_bytes
from validation.students.architecture import Architecture, Weights
from validation.students.forward import Output, forward

_ATTENTION = [
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.MATH,
]
FREE_SHARE = 0.25
"""Of the free memory of the device; outputs of all blocks together have to fit in it to be kept."""


class Teacher:
    """A frozen model.

    Blocks that students share are run once a step. Where blocks come back in later steps, their outputs may be kept on
    the device, see :meth:`plan`.

    Args:
        architecture: Its shape.
        weights: ``[1, …]``.
        blocks_seen_again: How many distinct blocks will be asked for more than once; 0 keeps no outputs.

    Attributes:
        one_by_one: Whether each block is run alone, so that no output depends on the batch in which its block came up
            first. That decides the last digits of outputs, so it belongs to the state of a training.
    """

    def __init__(self, architecture: Architecture, weights: Weights, *, blocks_seen_again: int = 0) -> None:
        self.architecture, self.weights = architecture, weights
        self.one_by_one = False
        self._blocks = blocks_seen_again
        self._room = 0
        self._kept: dict[bytes, Output] = {}

    def plan(self, row: torch.Tensor, *, keep: bool = False, signals: bool = False) -> None:
        """Decide once whether outputs are kept: where those of all blocks fit in ``FREE_SHARE`` of the free memory.

        Args:
            row: One block ``[1, T]``, of which the size is taken.
            keep: Hidden states will be asked for.
            signals: Signals will be asked for.
        """
        if not self._blocks:
            return
        free = torch.cuda.mem_get_info(row.device)[0] if row.device.type == "cuda" else free_bytes()
        room = int(FREE_SHARE * (free or 0))
        with torch.no_grad():
            self.one_by_one = self._blocks * _bytes(self._run(row, keep, signals)) <= room
        self._room = room if self.one_by_one else 0

    def __call__(self, tokens: torch.Tensor, *, keep: bool = False, signals: bool = False) -> Output:
        """Run on tokens ``[S, B, T]``, without gradient; everything comes with the axis of students first.

        Outputs of students that see the same blocks are views of one memory.
        """
        rows, places = _distinct(tokens)
        with torch.no_grad():
            if self.one_by_one:
                outputs = [self._output(row.unsqueeze(0), keep, signals) for row in rows]
                output = Output.joined(outputs, lambda parts: torch.cat(parts, dim=1))
            else:
                output = self._run(rows, keep, signals)
            return _spread(output, places, tokens.shape)

    def _output(self, row: torch.Tensor, keep: bool, signals: bool) -> Output:
        """Return the output of one block, as it was kept or anew."""
        key = row.cpu().numpy().tobytes()
        output = self._kept.get(key)
        if output is None or (keep and not output.hidden) or (signals and not output.signals):
            output = self._run(row, keep, signals)
            if key not in self._kept and self._room >= (size := _bytes(output)):
                self._kept[key], self._room = output, self._room - size
        return Output(output.logits, output.hidden if keep else [], output.signals if signals else [])

    def _run(self, rows: torch.Tensor, keep: bool, signals: bool) -> Output:
        """Return the outputs of blocks ``[U, T]``, with axes ``[1, U, …]``.

        Attention is chosen as anywhere, whatever the caller asks of the students': second derivatives allow one kind
        only, and outputs that are kept must not depend on who asked first.
        """
        with sdpa_kernel(_ATTENTION):
            return forward(self.architecture, self.weights, rows, keep=keep, signals=signals)


def _distinct(tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the distinct blocks ``[U, T]`` in the order of their first places, and the number of each ``[S, B]``."""
    rows = tokens.flatten(0, 1)
    _, firsts, inverse = np.unique(rows.cpu().numpy(), axis=0, return_index=True, return_inverse=True)
    order = np.argsort(firsts)
    numbers = np.argsort(order)[inverse.reshape(-1)]
    return rows[torch.from_numpy(firsts[order]).to(rows.device)], torch.from_numpy(numbers).view(tokens.shape[:2])


def _spread(output: Output, places: torch.Tensor, shape: torch.Size) -> Output:
    """Return ``[S, B, …]`` of outputs ``[1, U, …]``; without a copy where all students see the same blocks."""
    count, size, length = shape
    distinct = output.logits.shape[1]
    shared = distinct == size and bool((places == torch.arange(size)).all())
    numbers = places.flatten().to(output.logits.device)

    def blocks(part: torch.Tensor) -> torch.Tensor:
        if shared:
            return part.expand(count, *part.shape[1:])
        return part[0, numbers].view(count, size, *part.shape[2:])

    return Output(
        blocks(output.logits),
        [blocks(state) for state in output.hidden],
        [
            {name: blocks(part.view(1, distinct, length, -1)).flatten(1, 2) for name, part in trace.items()}
            for trace in output.signals
        ],
    )


def _bytes(output: Output) -> int:
    tensors = [output.logits, *output.hidden, *(part for trace in output.signals for part in trace.values())]
    return sum(part.numel() * part.element_size() for part in tensors)
