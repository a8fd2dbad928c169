"""What a compression is asked for, and what can be refused before a model is loaded."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from theorykit.arguments import positive_integer, positive_number
from theorykit.errors import InputError
from theorykit.rank_selection.objective import Objective, SampleSize

Format = Literal["factored", "dense"]
FORMATS: tuple[Format, ...] = ("factored", "dense")
DTYPES = ("float32", "float16", "bfloat16")

_LENGTH = re.compile(r"^\s*([0-9]*\.?[0-9]+)\s*([kM]?)\s*(s|m|min|h|steps?|tokens?)\s*$")
_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_SCALE = {"": 1.0, "k": 1e3, "M": 1e6}


@dataclass(frozen=True)
class PieceSizes:
    """Blocks per kind of text.

    Attributes:
        block: Tokens per block.
        moments: Blocks for the moments.
        prices: Blocks for the prices.
        judging: Blocks for the reported losses.
        healing: Blocks for healing, at most.
    """

    block: int = 512
    moments: int = 8
    prices: int = 2
    judging: int = 8
    healing: int = 0

    @property
    def least(self) -> int:
        """Return the blocks that a text must have."""
        return self.moments + self.prices + self.judging


@dataclass(frozen=True)
class HealingLength:
    """How long to heal; exactly one of the three is given.

    Attributes:
        seconds: Of wall clock.
        steps: Of the optimizer.
        tokens: Read by the student.
    """

    seconds: float | None = None
    steps: int | None = None
    tokens: int | None = None

    def done(self, steps: int, tokens: int, seconds: float) -> float:
        """Return which part of the way is done, from 0 to 1 and above."""
        if self.seconds is not None:
            return seconds / self.seconds
        if self.steps is not None:
            return steps / self.steps
        assert self.tokens is not None
        return tokens / self.tokens


@dataclass(frozen=True)
class HealingSettings:
    """How factors are distilled.

    Attributes:
        learning_rate: Of Adam, at its highest.
        batch: Blocks per step.
        warmup: Share of the way on which the rate rises.
        every: Steps between two looks at the held-out text.
        patience: Looks without a better one after which it ends.
    """

    learning_rate: float = 2e-4
    batch: int = 2
    warmup: float = 0.05
    every: int = 10
    patience: int = 5


@dataclass(frozen=True)
class CompressionSettings:
    """How a model is compressed.

    Attributes:
        sizes: Blocks of each kind of text for moments, prices, judging and healing.
        own_text: Whether the model writes a kind of text of its own.
        rank_multiple: Ranks are multiples of it.
        heal: How long the factors are distilled from the dense model; None for not at all.
        healing: How they are.
        seed: Of the labels, of the model's own text and of the order of healing.
        samples: What the smaller model will be trained on afterwards; None where it will not be.
        objective: What it will learn from there.
    """

    sizes: PieceSizes = field(default_factory=PieceSizes)
    own_text: bool = True
    rank_multiple: int = 8
    heal: HealingLength | None = None
    healing: HealingSettings = field(default_factory=HealingSettings)
    seed: int = 0
    samples: SampleSize | None = None
    objective: Objective = field(default_factory=Objective)


def read_healing(text: str) -> HealingLength:
    """Read ``30m``, ``500steps`` or ``2Mtokens``.

    Raises:
        InputError: not such a text, or not above 0.

    Example:
        >>> read_healing("30m").seconds, read_healing("500steps").steps, read_healing("2Mtokens").tokens
        (1800.0, 500, 2000000)
    """
    match = _LENGTH.match(text)
    amount = float(match[1]) * _SCALE[match[2]] if match else 0.0
    if match is None or amount <= 0 or (match[3] in _SECONDS and match[2]):
        raise InputError(f"heal = {text!r} is no length of time, steps or tokens", "give 30m, 500steps or 2Mtokens")
    if match[3] in _SECONDS:
        return HealingLength(seconds=amount * _SECONDS[match[3]])
    count = max(1, round(amount))
    return HealingLength(steps=count) if match[3].startswith("step") else HealingLength(tokens=count)


def require_share(budget: float) -> float:
    """Return the share of the linear numbers to keep; raise where it lies outside (0, 1]."""
    share = positive_number("budget", budget)
    if share > 1:
        raise InputError(f"budget = {budget} is above 1, the whole model", "give a share such as 0.8")
    return share


def require_multiple(rank_multiple: int) -> int:
    """Return what ranks are multiples of; raise where it is no positive integer."""
    return positive_integer("rank multiple", rank_multiple)


def require_dtype(dtype: str) -> str:
    """Return the name of a type in which numbers can be written; raise where it is another."""
    if dtype not in DTYPES:
        raise InputError(f"dtype = {dtype!r} is not known", f"give one of {', '.join(DTYPES)}")
    return dtype


def require_format(form: str) -> Format:
    """Return the form of the folder; raise where it is another."""
    for known in FORMATS:
        if form == known:
            return known
    raise InputError(f"format = {form!r} is not known", f"give {' or '.join(FORMATS)}")


def require_length(name: str, text: str, n_tokens: int) -> None:
    """Raise where a text is certainly too short: no tokenizer makes more tokens than a text has bytes."""
    size = len(text.encode())
    if size < n_tokens:
        raise InputError(
            f"{name} has {size:,} bytes, too few for the {n_tokens:,} tokens that are needed", "give a longer text"
        )


def require_absent(folder: Path) -> None:
    """Raise where something lies already where a folder is to be written, or where its parent cannot be written to."""
    if folder.exists() or folder.is_symlink():
        raise InputError(f"{folder} exists already", "give -o a new folder; nothing is written over")
    parent = folder.absolute().parent
    if not parent.is_dir():
        raise InputError(f"the folder of {folder} does not exist", "make it first")
    if not os.access(parent, os.W_OK):
        raise InputError(f"cannot write {folder}: no permission in its folder", "give another folder")
