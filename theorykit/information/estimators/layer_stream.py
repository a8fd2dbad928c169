"""Batches of hidden states read twice: what a batch must look like, and that the second reading repeats the first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np

from theorykit.arguments import Floats, Progress, _floats, data_matrix, shown
from theorykit.errors import InputError
from theorykit.information.estimators.pairs import Indices

States = Callable[[], Iterable[tuple[Sequence[Any], Sequence[Any]]]]

_SAME = 1e-3
"""Two readings of one hidden state agree up to this share of it: GPUs add in any order."""
_FEWEST = 4
"""Sequences: two to fit on, two to estimate from."""


@dataclass(frozen=True, eq=False)
class Batch:
    """One batch of hidden states of L layers.

    Attributes:
        teacher: L arrays or tensors ``[sequences, tokens, d_l]``.
        student: L of them, the same tokens, widths of their own.
        start: Number of the first sequence in the stream.
    """

    teacher: Sequence[Any]
    student: Sequence[Any]
    start: int

    @property
    def sizes(self) -> tuple[int, int]:
        """Return (sequences, tokens)."""
        sequences, tokens, _ = self.teacher[0].shape
        return int(sequences), int(tokens)

    @property
    def widths(self) -> tuple[tuple[int, int], ...]:
        """Return (d_t, d_s) of each layer."""
        return tuple(
            (int(first.shape[2]), int(second.shape[2]))
            for first, second in zip(self.teacher, self.student, strict=True)
        )

    def mark(self) -> Floats:
        """Return the hidden state by which the batch is known again: the teacher's last one."""
        state = _floats("teacher", self.teacher[-1][-1, -1])
        return np.where(np.isfinite(state), state, 0.0)

    def sequences(self, parity: int) -> Indices:
        """Return the numbers of its sequences of even (0) or odd (1) index."""
        return np.arange(self.start, self.start + self.sizes[0])[self._chosen(parity)]

    def rows(self, layer: int, parity: int) -> tuple[Floats, Floats]:
        """Return the rows ``[n, d_t]`` and ``[n, d_s]`` of a layer's sequences of one parity, at least one.

        Raises:
            InputError: no numbers, or numbers too large for a covariance.
            NonFiniteError: NaN or infinity.
        """
        chosen = self._chosen(parity)
        first, second = (
            data_matrix(f"the {name}'s layer {layer}", side[layer][chosen].reshape(-1, width))
            for name, side, width in zip(
                ("teacher", "student"), (self.teacher, self.student), self.widths[layer], strict=True
            )
        )
        return first, second

    def _chosen(self, parity: int) -> slice:
        return slice((parity - self.start) % 2, None, 2)


class Stream:
    """A callable of batches, to be read twice."""

    def __init__(self, states: States, progress: Progress | None) -> None:
        if not callable(states):
            raise InputError(f"states = {shown(states)} cannot be called", "give a function that returns the batches")
        self._states, self._progress = states, progress
        self._seen: list[tuple[tuple[int, int], Floats]] = []
        self._widths: tuple[tuple[int, int], ...] = ()
        self.sequences = self.tokens = 0

    def first(self) -> Iterator[Batch]:
        """Yield the batches and remember them.

        Raises:
            InputError: batches that are no such, that do not fit together, or fewer than four sequences.
        """
        expected = len(self._states) if isinstance(self._states, Sized) else 0
        for given in self._read():
            batch = _checked_batch(given, self.sequences)
            self._widths = self._widths or batch.widths
            self._check_widths(batch)
            self._seen.append((batch.sizes, batch.mark()))
            self.sequences += batch.sizes[0]
            self.tokens += batch.sizes[0] * batch.sizes[1]
            yield batch
            self.tell("second moments", len(self._seen), expected)
        if self.sequences < _FEWEST:
            raise InputError(
                f"states gave {self.sequences} sequences, and {_FEWEST} are needed",
                "one half of them fits the maps, the other is estimated from",
            )

    def second(self) -> Iterator[Batch]:
        """Yield the batches again.

        Raises:
            InputError: they are not those of the first reading.
        """
        start = number = 0
        for given in self._read():
            batch = _checked_batch(given, start)
            self._check_widths(batch)
            self._check_repeated(number, batch)
            start, number = start + batch.sizes[0], number + 1
            yield batch
            self.tell("canonical pairs", number, len(self._seen))
        if number < len(self._seen):
            raise InputError(
                f"states gave {len(self._seen)} batches on the first call and {number} on the second",
                "return a new iterator from each call",
            )

    def _read(self) -> Iterator[Any]:
        given = self._states()
        if not isinstance(given, Iterable):
            raise InputError(f"states gave {shown(given)} and not batches", "return an iterator over batches")
        return iter(given)

    def _check_widths(self, batch: Batch) -> None:
        if batch.widths != self._widths:
            raise InputError(
                f"layers of widths {shown(self._widths)} are followed by {shown(batch.widths)}",
                "give the same layers in each batch",
            )

    def _check_repeated(self, number: int, batch: Batch) -> None:
        """Raise where a sequence could have been fitted on and be estimated from."""
        hint = "give the same batches in the same order on each call, without dropout"
        if number >= len(self._seen):
            raise InputError(f"states gave {number} batches on the first call and more on the second", hint)
        sizes, mark = self._seen[number]
        if batch.sizes != sizes:
            raise InputError(
                f"batch {number} has {sizes} sequences and tokens on the first call and {batch.sizes} on the second",
                hint,
            )
        if np.linalg.norm(batch.mark() - mark) > _SAME * np.linalg.norm(mark):
            raise InputError(f"batch {number} holds other hidden states on the second call", hint)

    def tell(self, what: str, done: int, count: int) -> None:
        """Report progress where it is wanted."""
        if self._progress is not None:
            self._progress(what, done, count)


def _checked_batch(given: Any, start: int) -> Batch:
    """Return the batch or raise where it is no pair of L layers over the same tokens."""
    try:
        teacher, student = given
        shapes = [[tuple(layer.shape) for layer in side] for side in (teacher, student)]
    except (TypeError, ValueError, AttributeError):
        raise InputError(
            f"a batch is {shown(given)} and not two lists of arrays", "give (teacher layers, student layers)"
        ) from None
    if len(shapes[0]) != len(shapes[1]) or not shapes[0]:
        raise InputError(
            f"a batch has {len(shapes[0])} layers of the teacher and {len(shapes[1])} of the student",
            "give one layer of the student for each of the teacher, at least one",
        )
    first = shapes[0][0]
    wrong = [shape for side in shapes for shape in side if len(shape) != 3 or 0 in shape or shape[:2] != first[:2]]
    if wrong:
        raise InputError(
            f"a layer has shape {wrong[0]}, and the first one {first}",
            "give [sequences, tokens, width], the same tokens in all layers",
        )
    return Batch(teacher, student, start)
