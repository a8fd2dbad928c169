"""Square students (reading R1, eq 1 as printed): W_s = P_left W_t P_right is r × r in every linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from theorykit.arguments import positive_integer
from theorykit.errors import InputError
from validation.students.architecture import Architecture, Family, Weights, architecture_of, dense_weights
from validation.students.batch import REGRESSOR, SIGNALS, StudentBatch, stored_shapes
from validation.students.narrow import PROJECTION, check_start, random_basis
from validation.students.square_start import Projections, residual_start

LEFT, RIGHT = ".left", ".right"
_LAYERS: dict[Family, dict[str, tuple[str, int]]] = {
    "gpt2": {
        "query": ("attn.c_attn", 0),
        "key": ("attn.c_attn", 1),
        "value": ("attn.c_attn", 2),
        "attention": ("attn.c_proj", 0),
        "up": ("mlp.c_fc", 0),
        "feed_forward": ("mlp.c_proj", 0),
    },
    "llama": {
        "query": ("self_attn.q_proj", 0),
        "key": ("self_attn.k_proj", 0),
        "value": ("self_attn.v_proj", 0),
        "attention": ("self_attn.o_proj", 0),
        "gate": ("mlp.gate_proj", 0),
        "up": ("mlp.up_proj", 0),
        "feed_forward": ("mlp.down_proj", 0),
    },
}
"""Which layer of a block gives a signal, and which of that layer's parts: GPT-2's c_attn is three layers in one."""


@dataclass(frozen=True, eq=False)
class SquareStudents(StudentBatch):
    """S plain transformers that are r wide everywhere: residual stream, all heads together, feed-forward layer.

    ``weights`` are what is trained: for each linear layer ``left [S, parts, r, m]`` and ``right [S, parts, n, r]``
    (``parts`` is 3 in GPT-2's c_attn, whose query, key and value are layers of eq 1 of their own, and 1 elsewhere), for
    each embedding and the head a projection ``[S, d, r]``, and the norms and biases ``[S, …]`` of the small model.

    Attributes:
        teacher: Frozen: W_t ``[1, parts, m, n]`` of each linear layer, embeddings ``[1, …, d]``.
    """

    teacher: Weights

    default_signals = SIGNALS

    def effective(self) -> Weights:
        """Return the weights of ordinary smaller models ``[S, …]``, as functions of the projections."""
        found: Weights = {}
        for name, part in self.weights.items():
            if name.endswith(LEFT):
                target = name.removesuffix(LEFT)
                square = part @ self.teacher[target] @ self.weights[target + RIGHT]
                found[target] = square.permute(0, 3, 1, 2).flatten(2)
            elif name.endswith(PROJECTION):
                target = name.removesuffix(PROJECTION)
                found[target] = self.teacher[target] @ part
            elif not name.endswith(RIGHT):
                found[name] = part
        return found

    def _seen(self, signal: torch.Tensor, block: int, name: str) -> torch.Tensor:
        """Return P_left times the teacher's signal: every layer's output is seen through the layer's own projection.

        No map has to be learned beside the student's; P_left = 0 would bring the clone term alone to 0.
        """
        layer, part = _LAYERS[self.architecture.family][name]
        left = self.weights[f"{self.architecture.block(block)}{layer}.weight{LEFT}"][:, part]
        return torch.matmul(signal, left.mT)

    def deployed(self, number: int) -> Weights:
        """Return the weights of one ordinary smaller model."""
        self.check_number(number)
        return {name: part[number] for name, part in self.effective().items() if name != REGRESSOR}

    def merged(self, number: int) -> Weights:
        """Return the same in the shapes of its Hugging Face model."""
        return stored_shapes(self.architecture, self.deployed(number))


def square_students(
    teacher: Any,
    width: int,
    copies: int = 1,
    *,
    basis: torch.Tensor | None = None,
    generators: Sequence[np.random.Generator] = (),
) -> SquareStudents:
    """Make students that are r wide from a teacher, from one basis of the residual stream or at random.

    With a basis as :func:`validation.students.square_start.residual_start` says. Without one every projection has
    random orthonormal rows or columns, drawn for itself, the norms start at gain 1 and bias 0, and a layer's bias at
    P_left b.

    Args:
        teacher: A Hugging Face GPT-2 or Llama-type causal language model.
        width: r, at most the smaller side of every linear layer: above that P_left W_t P_right cannot reach every
            r × r matrix. A multiple of the heads, and of twice the heads where positions are rotary.
        copies: S.
        basis: ``[d, r]``, orthonormal columns, as of :func:`validation.students.narrow.residual_basis`; None for a
            random start.
        generators: For random starts, one for each student.

    Raises:
        InputError: r out of range or not a multiple of the heads, or neither basis nor generators.

    References:
        arXiv 2603.22355, eq 1 and Lemma 1.
    """
    architecture = architecture_of(teacher)
    dense = dense_weights(teacher)
    frozen = {name: _split(architecture, name, tensor) for name, tensor in dense.items() if tensor.ndim == 3}
    rank, count = _checked_width(architecture, frozen, width), positive_integer("copies", copies)
    check_start(basis, (architecture.width, rank), f"{count} square students", count, generators)
    if basis is None:
        starts = [_random_start(architecture, frozen, dense, rank, generator) for generator in generators]
    else:
        starts = [residual_start(architecture, frozen, dense, basis)] * count
    weights = _named(architecture, frozen, starts)
    own = replace(
        architecture,
        width=rank,
        hidden=rank,
        head_size=rank // architecture.heads,
        kv_heads=architecture.heads,
    )
    return SquareStudents(own, weights, tuple({} for _ in range(count)), frozen)


def _split(architecture: Architecture, name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Return W_t ``[1, parts, m, n]`` of a stored matrix ``[1, n, parts · m]``; embeddings stay as they are."""
    if name.removesuffix(".weight") not in architecture.linear:
        return tensor
    parts = 3 if name.endswith("c_attn.weight") else 1
    return tensor.reshape(1, tensor.shape[1], parts, -1).permute(0, 2, 3, 1).contiguous()


def _checked_width(architecture: Architecture, frozen: Weights, width: int) -> int:
    smallest, layer = min((min(frozen[f"{name}.weight"].shape[2:]), name) for name in architecture.linear)
    rank = positive_integer("width", width)
    step = architecture.heads * (1 if architecture.rope_theta is None else 2)
    if rank > smallest:
        raise InputError(f"width = {rank} is above {smallest}, the smaller side of {layer}", "give a smaller --rank")
    if rank % step:
        twice = "" if step == architecture.heads else "twice "
        raise InputError(
            f"width = {rank} of a square student is no multiple of {twice}the {architecture.heads} heads",
            f"give a multiple of {step}",
        )
    return rank


def _random_start(
    architecture: Architecture, frozen: Weights, dense: Weights, rank: int, generator: np.random.Generator
) -> Projections:
    """Return orthonormal projections drawn for each layer by itself."""
    start = Projections()
    for name, matrix in frozen.items():
        if matrix.ndim == 3:
            start.projections[name] = random_basis(architecture.width, rank, generator)
            continue
        parts, m, n = matrix.shape[1:]
        start.left[name] = torch.stack([random_basis(m, rank, generator).T for _ in range(parts)])
        start.right[name] = torch.stack([random_basis(n, rank, generator) for _ in range(parts)])
    for name, vector in dense.items():
        if vector.ndim == 2:
            layer = f"{name.removesuffix('.bias')}.weight"
            is_norm = layer not in start.left
            left = None if is_norm else start.left[layer].to(vector)
            start.vectors[name] = (
                torch.full((rank,), 0.0 if name.endswith("bias") else 1.0)
                if left is None
                else (left @ vector.view(left.shape[0], -1, 1)).flatten()
            )
    return start


def _named(architecture: Architecture, frozen: Weights, starts: Sequence[Projections]) -> Weights:
    """Return the trained tensors ``[S, …]`` by name, on the teacher's device."""
    like = frozen[architecture.embedding]
    groups = (("left", LEFT), ("right", RIGHT), ("projections", PROJECTION), ("vectors", ""))
    return {
        name + ending: torch.stack([getattr(start, group)[name].to(like) for start in starts]).contiguous()
        for group, ending in groups
        for name in getattr(starts[0], group)
    }
