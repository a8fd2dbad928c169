"""The matrices of a teacher and of its students, from configurations and file headers: no weight is read."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path

from theorykit import open_weights
from validation.training.config import StudentConfig
from validation.training.methods import method_of
from validation.training.scratch import SIZES, is_scratch, scratch_teacher

_WRITERS = ("c_proj", "o_proj", "down_proj")
"""Linear layers that write to the residual stream; the others read from it."""

_POSITIONS = ("wpe", "embed_positions")


@dataclass(frozen=True)
class Matrix:
    """Matrices of one shape.

    Attributes:
        name: Of the layer; empty for a head.
        inputs: m.
        outputs: n.
        count: How many.
    """

    name: str
    inputs: int
    outputs: int
    count: int = 1

    @property
    def parameters(self) -> int:
        """Return the entries of all of them."""
        return self.count * self.inputs * self.outputs


@dataclass(frozen=True)
class ModelShape:
    """What a language model multiplies with.

    Attributes:
        matrices: Linear layers of the blocks, and the head last.
    """

    matrices: tuple[Matrix, ...]

    @property
    def parameters(self) -> int:
        """Return the parameters that every token meets: embeddings are looked up and count as the head alone."""
        return sum(matrix.parameters for matrix in self.matrices)

    @property
    def width(self) -> int:
        """Return the width of the residual stream."""
        return self.matrices[-1].inputs


@functools.cache
def model_shape(teacher: str) -> ModelShape:
    """Return the shape of a teacher: of a scratch size, of GPT-2 small, or of the files behind a name.

    Raises:
        InputError: no such model, or an unknown size.
    """
    published = teacher == "gpt2" and not Path(teacher).exists()  # a plan on it needs no network
    if is_scratch(teacher) or published:
        asked = SIZES["base"] if published else scratch_teacher(teacher)
        d, names = asked.width, ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
        sides = ((d, 3 * d), (d, d), (d, 4 * d), (4 * d, d))
        layers = tuple(
            Matrix(f"transformer.h.{block}.{name}", *side)
            for block in range(asked.depth)
            for name, side in zip(names, sides, strict=True)
        )
        return ModelShape((*layers, Matrix("", d, asked.vocabulary)))
    layers = open_weights(teacher).layers
    heads = [layer for layer in layers if layer.kind == "head"]
    tied = [layer for layer in layers if layer.kind == "embedding" and not layer.name.endswith(_POSITIONS)]
    vocabulary, width = max(layer.shape for layer in heads or tied)
    linear = tuple(
        Matrix(layer.name, layer.shape[1], layer.shape[0])
        for layer in layers
        if layer.kind not in ("head", "embedding", "router")
    )
    return ModelShape((*linear, Matrix("", width, vocabulary)))


def student_matrices(shape: ModelShape, config: StudentConfig) -> list[Matrix]:
    """Return the matrices of one student, equal ones together.

    Adapters count as what they are added to, and square students as the small models that they make: P_left W_t
    P_right itself is left out.
    """
    *linear, head = shape.matrices
    rank = config.rank
    if config.student in ("narrow", "square"):
        head = replace(head, inputs=rank)
    counts: dict[tuple[int, int], int] = {}
    for matrix in (*(part for layer in linear for part in _parts(layer, shape.width, rank, config)), head):
        sides = matrix.inputs, matrix.outputs
        counts[sides] = counts.get(sides, 0) + 1
    return [Matrix("", *sides, count) for sides, count in counts.items()]


def _parts(layer: Matrix, width: int, rank: int, config: StudentConfig) -> list[Matrix]:
    """Return what a student has in the place of one linear layer of its teacher."""
    writes = layer.name.endswith(_WRITERS)
    if config.student == "narrow":
        return [replace(layer, outputs=rank) if writes else replace(layer, inputs=rank)]
    if config.student == "square":
        return [replace(layer, inputs=rank, outputs=rank * (3 if layer.outputs == 3 * width else 1))]
    own = rank if config.layer_ranks is None else config.layer_ranks.get(layer.name)
    if config.student == "dense" or own is None or method_of(config.method).adapters:
        return [layer]
    own = min(own, layer.inputs, layer.outputs)
    return [replace(layer, outputs=own), replace(layer, inputs=own)]
