"""What every batch of S students can do, whatever they are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Protocol, Self

import torch

from theorykit.errors import InputError
from validation.students.architecture import Architecture, Weights
from validation.students.forward import Output, forward

SIGNALS = ("query", "key", "value", "attention", "gate", "up", "feed_forward")
"""What the Low-Rank Clone (arXiv 2505.12781) compares inside a block; GPT-2 has no gate."""
HIDDEN = "hidden"
"""The hidden states of eq 4."""
REGRESSOR = "regressor"
"""Name of the map from a student's guided layer to the teacher's hint layer (FitNets), no part of the student."""


class Runner(Protocol):
    """Runs S students on tokens ``[B, T]`` or ``[S, B, T]``."""

    def __call__(self, tokens: torch.Tensor, *, keep: bool = False, signals: bool = False) -> Output:
        """Return logits and, on demand, hidden states and signals."""


@dataclass(frozen=True, eq=False)
class StudentBatch:
    """S students of one teacher.

    Attributes:
        architecture: Theirs.
        weights: What they are made of, ``[S, …]`` each.
        ranks: For each student, the rank of each factored layer; empty where there are no factors.
    """

    architecture: Architecture
    weights: Weights
    ranks: tuple[dict[str, int], ...]

    default_signals: ClassVar[tuple[str, ...]] = (HIDDEN,)
    """What the clone loss compares unless it is told."""

    @property
    def count(self) -> int:
        """Return S."""
        return len(self.ranks)

    @property
    def trainable(self) -> tuple[str, ...]:
        """Return the names of what is trained."""
        return tuple(self.weights)

    def deployed(self, number: int) -> Weights:
        """Return what one student stores once it is trained, without the axis of students: factors as factors."""
        self.check_number(number)
        return {name: part[number] for name, part in self.effective().items() if name != REGRESSOR}

    def merged(self, number: int) -> Weights:
        """Return one student as dense weights under the names and in the shapes of its Hugging Face model."""
        return stored_shapes(self.architecture, multiplied_out(self.deployed(number), self.ranks[number]))

    def alone(self, number: int) -> Self:
        """Return one student as a batch of its own, with copies of its weights."""
        self.check_number(number)
        chosen = slice(number, number + 1)
        weights = {name: part.detach()[chosen].clone() for name, part in self.weights.items()}
        return replace(self, weights=weights, ranks=self.ranks[chosen])

    def effective(self) -> Weights:
        """Return the weights that the forward pass runs on."""
        return self.weights

    def runner(self, progress: float = 1.0) -> Runner:
        """Return the forward pass at the present weights.

        Args:
            progress: Share of the training that is done, in [0, 1]; some students change with it.
        """
        del progress
        return partial(forward, self.architecture, self.effective())

    def compared(
        self, own: Output, teacher: Output, names: Sequence[str]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Return what the clone loss compares, ours and the teacher's, in the same order.

        Args:
            own: Of the students.
            teacher: Of the teacher, on the same tokens.
            names: ``hidden`` or names of signals; a signal that the architecture lacks is left out.
        """
        ours, theirs = (list(own.hidden), list(teacher.hidden)) if HIDDEN in names else ([], [])
        for number, (mine, taught) in enumerate(zip(own.signals, teacher.signals, strict=True)):
            for name in names:
                if name in mine:
                    ours.append(mine[name])
                    theirs.append(self._seen(taught[name], number, name))
        return ours, theirs

    def check_signals(self, names: Sequence[str], width: int) -> None:
        """Raise where the clone loss would compare nothing, or hidden states that are not as wide as the teacher's.

        Args:
            names: As for :meth:`compared`.
            width: Of the teacher.
        """
        own = self.architecture.width
        if HIDDEN in names and own != width:
            raise InputError(
                f"hidden states {own} wide cannot be compared with the teacher's {width}",
                f"compare signals inside the blocks: {', '.join(SIGNALS)}",
            )
        if set(names) == {"gate"} and self.architecture.family == "gpt2":
            raise InputError("GPT-2 has no gate that a clone loss could compare", "compare up")

    def _seen(self, signal: torch.Tensor, block: int, name: str) -> torch.Tensor:
        """Return the teacher's signal as this student can be compared with it."""
        del block, name
        return signal

    def deployed_parameters(self, *, embeddings: bool = True) -> list[int]:
        """Return how many numbers each student stores once it is trained.

        Args:
            embeddings: Count token and position embeddings and the head.
        """
        skipped = () if embeddings else embedding_names(self.architecture)
        with torch.no_grad():
            return [
                sum(part.numel() for name, part in self.deployed(number).items() if name not in skipped)
                for number in range(self.count)
            ]

    def trained_parameters(self, *, embeddings: bool = True) -> list[int]:
        """Return how many numbers of each student are trained, projections and regressors included.

        Args:
            embeddings: Count token and position embeddings and the head, or their projections.
        """
        skipped = () if embeddings else embedding_names(self.architecture)
        count = sum(self.weights[name][0].numel() for name in self.trainable if not name.startswith(skipped))
        return [count] * self.count

    def check_number(self, number: int) -> None:
        """Raise where there is no such student."""
        if not 0 <= number < self.count:
            raise InputError(f"number = {number} is no student", f"there are {self.count}, counted from 0")


def embedding_names(architecture: Architecture) -> tuple[str, ...]:
    """Return the names of embeddings and head."""
    return (architecture.embedding, "transformer.wpe.weight", "lm_head.weight")


def multiplied_out(weights: Weights, layers: Iterable[str]) -> Weights:
    """Return one model's weights with the factors ``right`` and ``left`` of these layers as one matrix."""
    whole = dict(weights)
    for layer in layers:
        whole[f"{layer}.weight"] = whole.pop(f"{layer}.right") @ whole.pop(f"{layer}.left")
    return whole


def stored_shapes(architecture: Architecture, weights: Weights) -> Weights:
    """Return one model's weights with matrices turned from ``[in, out]`` to what its Hugging Face model stores."""
    turned = architecture.turned
    return {
        name: (part.T if name in turned else part).detach().clone().contiguous()
        for name, part in weights.items()
        if name != REGRESSOR
    }
