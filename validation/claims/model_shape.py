"""The matrices of a teacher and of its students, from configurations and file headers: no weight is read."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path

from theorykit import open_weights
from validation.training.config import StudentConfig
from validation.training.methods import method_of
from validation.training.scratch import SIZES, is_scratch, scratch_teacher

Sides = tuple[int, int]
"""Inputs m and outputs n of a matrix."""
HEAD = ""
"""Its name among the matrices; the last of them."""
_WRITERS = ("c_proj", "o_proj", "down_proj")
"""Linear layers that write to the residual stream; the others read from it."""
_POSITIONS = ("wpe", "embed_positions")


@functools.cache
def model_shape(teacher: str) -> Mapping[str, Sides]:
    """Return the matrices of a teacher by name: of a scratch size, of GPT-2 small, or of the files behind a name.

    Embeddings are looked up and count as the head alone.

    Raises:
        InputError: no such model, or an unknown size.
    """
    published = teacher == "gpt2" and not Path(teacher).exists()  # a plan on it needs no network
    if is_scratch(teacher) or published:
        asked = SIZES["base"] if published else scratch_teacher(teacher)
        d = asked.width
        sides = {"attn.c_attn": (d, 3 * d), "attn.c_proj": (d, d), "mlp.c_fc": (d, 4 * d), "mlp.c_proj": (4 * d, d)}
        layers = {f"transformer.h.{block}.{name}": side for block in range(asked.depth) for name, side in sides.items()}
        return layers | {HEAD: (d, asked.vocabulary)}
    parts = open_weights(teacher).layers
    heads = [part for part in parts if part.kind == "head"]
    tied = [part for part in parts if part.kind == "embedding" and not part.name.endswith(_POSITIONS)]
    vocabulary, width = max(part.shape for part in heads or tied)
    linear = [part for part in parts if part.kind not in ("head", "embedding", "router")]
    return {part.name: (part.shape[1], part.shape[0]) for part in linear} | {HEAD: (width, vocabulary)}


def count_parameters(matrices: Iterable[Sides]) -> int:
    """Return the entries of all of them: the parameters that every token meets."""
    return sum(inputs * outputs for inputs, outputs in matrices)


def student_matrices(config: StudentConfig) -> list[Sides]:
    """Return the matrices of one student.

    Adapters count as what they are added to, and square students as the small models that they make: P_left W_t
    P_right itself is left out.
    """
    shape = model_shape(config.teacher)
    width, vocabulary = shape[HEAD]
    small = config.student in ("narrow", "square")
    parts = [part for name, sides in shape.items() if name != HEAD for part in _parts(name, sides, width, config)]
    return [*parts, (config.rank if small else width, vocabulary)]


def _parts(name: str, sides: Sides, width: int, config: StudentConfig) -> list[Sides]:
    """Return what a student has in the place of one linear layer of its teacher."""
    inputs, outputs = sides
    if config.student == "narrow":
        return [(inputs, config.rank) if name.endswith(_WRITERS) else (config.rank, outputs)]
    if config.student == "square":
        return [(config.rank, config.rank * (3 if outputs == 3 * width else 1))]
    rank = config.rank if config.layer_ranks is None else config.layer_ranks.get(name)
    if config.student == "dense" or rank is None or method_of(config.method).adapters:
        return [sides]
    rank = min(rank, *sides)
    return [(inputs, rank), (rank, outputs)]
