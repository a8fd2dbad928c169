"""Square students (reading R1, eq 1 as printed): W_s = P_left W_t P_right is r × r in every linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from theorykit.arguments import positive_integer
from theorykit.errors import InputError
from validation.students.architecture import Architecture, Weights, architecture_of, dense_weights
from validation.students.batch import SIGNALS, StudentBatch
from validation.students.narrow import PROJECTION, check_start, random_basis

LEFT, RIGHT = ".left", ".right"


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
        weights: Weights = {}
        for name, part in self.weights.items():
            if name.endswith(LEFT):
                target = name.removesuffix(LEFT)
                square = part @ self.teacher[target] @ self.weights[target + RIGHT]
                weights[target] = square.permute(0, 3, 1, 2).flatten(2)
            elif name.endswith(PROJECTION):
                target = name.removesuffix(PROJECTION)
                weights[target] = self.teacher[target] @ part
            elif not name.endswith(RIGHT):
                weights[name] = part
        return weights

    def _seen(self, signal: torch.Tensor, block: int, name: str) -> torch.Tensor:
        """Return P_left times the teacher's signal: every layer's output is seen through the layer's own projection.

        No map has to be learned beside the student's; P_left = 0 would bring the clone term alone to 0.
        """
        layer, part = self.architecture.source(name)
        left = self.weights[f"{self.architecture.block(block)}{layer}.weight{LEFT}"][:, part]
        return torch.matmul(signal, left.mT)


def square_students(
    teacher: Any,
    width: int,
    copies: int = 1,
    *,
    basis: torch.Tensor | None = None,
    generators: Sequence[np.random.Generator] = (),
) -> SquareStudents:
    """Make students that are r wide from a teacher, from one basis of the residual stream or at random.

    With a basis as :func:`residual_start` says. Without one every projection has
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


@dataclass
class Projections:
    """What one student is made of, by the name of the teacher's tensor.

    Attributes:
        left: P_left ``[parts, r, m]`` of each linear layer.
        right: P_right ``[parts, n, r]``.
        projections: P ``[d, r]`` of embeddings and head.
        vectors: Gains and biases.
    """

    left: Weights = field(default_factory=dict)
    right: Weights = field(default_factory=dict)
    projections: Weights = field(default_factory=dict)
    vectors: Weights = field(default_factory=dict)


def residual_start(architecture: Architecture, frozen: Weights, dense: Weights, basis: torch.Tensor) -> Projections:
    """Return projections that keep r directions of the residual stream and of what lies inside the layers.

    With B ``[d, r]`` orthonormal and x_s = Bᵀ x:

    - Layers that read the stream: P_right = diag(g) B with the gain g of the norm before them, whose bias goes into the
      layer's; layers that write to it: P_left = Bᵀ. Norms get gains √(d/r), since they divide by the root mean square
      of r and not of d numbers; the final one times the mean of its own. LayerNorm takes the mean off, so that GPT-2's
      B maps the teacher's direction of ones on the student's.
    - Inside a head: the directions that query and key (value and output) use most, the leading left singular vectors of
      both matrices beside each other, each divided by its norm; rotary positions turn pairs, of which those of nearest
      frequency are kept. Query by (r/m)^½, since logits are divided by the root of the head's size.
    - Inside the feed-forward layer, where the activation works on single numbers: the r neurons with the largest
      product of the norms of their weights.

    At r = d = hidden, with as many key as query heads, the student is the teacher but for the final norm's gain.

    Args:
        architecture: Of the teacher.
        frozen: W_t ``[1, parts, m, n]`` and embeddings, by name.
        dense: All of the teacher's weights ``[1, …]``.
        basis: B; for GPT-2 its first r − 1 columns are taken.
    """
    start = Projections()
    like = frozen[architecture.embedding]
    basis = basis.to(like)
    basis = _with_the_mean(basis) if architecture.family == "gpt2" else basis
    for number in range(architecture.depth):
        _start_block(architecture, frozen, dense, basis, architecture.block(number), start)
    width, rank = basis.shape
    gain = (width / rank) ** 0.5
    for name, tensor in dense.items():
        if tensor.ndim == 3 and name not in start.left:
            start.projections[name] = basis
        elif tensor.ndim == 2 and name not in start.vectors:
            final = not name.startswith(f"{architecture.prefix}{'h' if architecture.family == 'gpt2' else 'layers'}.")
            if name.endswith("bias"):
                start.vectors[name] = basis.T @ tensor[0] if final else like.new_zeros(rank)
            else:
                start.vectors[name] = like.new_full((rank,), gain * (tensor.mean().item() if final else 1.0))
    return start


def _with_the_mean(basis: torch.Tensor) -> torch.Tensor:
    """Return orthonormal ``[d, r]`` that map the direction of ones of d on that of r, and hold r − 1 of the basis."""
    rank = basis.shape[1]
    sides = []
    for rows in (basis[:, : rank - 1], torch.eye(rank, device=basis.device)[:, : rank - 1]):
        ones = torch.ones(len(rows), 1, dtype=torch.float64, device=basis.device)
        others = torch.linalg.qr(torch.cat([ones, rows.double()], dim=1)).Q[:, 1:]
        sides.append(torch.cat([ones / len(rows) ** 0.5, others], dim=1))
    return (sides[0] @ sides[1].T).to(basis)


def _start_block(
    architecture: Architecture, frozen: Weights, dense: Weights, basis: torch.Tensor, block: str, start: Projections
) -> None:
    """Fill in the projections of one block's layers, and their biases."""
    if architecture.family == "gpt2":
        reads = {"attn.c_attn": "ln_1", "mlp.c_fc": "ln_2"}
        up: tuple[str, ...] = ("mlp.c_fc",)
        out, down = "attn.c_proj", "mlp.c_proj"
    else:
        reads = {f"self_attn.{letter}_proj": "input_layernorm" for letter in "qkv"}
        reads |= {f"mlp.{name}_proj": "post_attention_layernorm" for name in ("gate", "up")}
        up = ("mlp.gate_proj", "mlp.up_proj")
        out, down = "self_attn.o_proj", "mlp.down_proj"
    matrix = {layer: frozen[f"{block}{layer}.weight"][0] for layer in (*reads, out, down)}
    for layer, norm in reads.items():
        matrix[layer] = matrix[layer] * dense[f"{block}{norm}.weight"][0]
    attention = [part for layer in reads if layer not in up for part in matrix[layer]]
    lefts, inner = _head_projections(architecture, (*attention, matrix[out][0]), basis.shape[1])
    neurons = _leading_neurons([*(matrix[layer][0].norm(dim=1) for layer in up), matrix[down][0].norm(dim=0)], basis)
    left = dict.fromkeys((out, down), basis.T[None]) | dict.fromkeys(up, neurons.T[None])
    if architecture.family == "gpt2":
        left["attn.c_attn"] = torch.stack(lefts)
    else:
        left |= {f"self_attn.{letter}_proj": part[None] for letter, part in zip("qkv", lefts, strict=True)}
    right = {out: inner[None], down: neurons[None]}
    for layer in matrix:
        name = f"{block}{layer}"
        start.left[f"{name}.weight"] = left[layer]
        if layer in reads:
            scaled = dense[f"{block}{reads[layer]}.weight"][0][:, None] * basis
            right[layer] = scaled.expand(left[layer].shape[0], -1, -1)
        start.right[f"{name}.weight"] = right[layer]
        if f"{name}.bias" in dense:
            bias = dense[f"{name}.bias"].view(left[layer].shape[0], -1, 1)
            if layer in reads:
                bias = bias + frozen[f"{name}.weight"][0] @ dense[f"{block}{reads[layer]}.bias"][0][:, None]
            start.vectors[f"{name}.bias"] = (left[layer] @ bias).flatten()


def _head_projections(
    architecture: Architecture, matrices: Sequence[torch.Tensor], rank: int
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Return P_left ``[r, m]`` of query, key and value, and P_right ``[heads · size, r]`` of the output."""
    heads, group, size = architecture.heads, architecture.heads // architecture.kv_heads, architecture.head_size
    own = rank // heads
    query, key, value = (matrix.reshape(-1, size, matrix.shape[1]) for matrix in matrices[:3])
    written = matrices[3].T.reshape(heads, size, -1)
    if architecture.rope_theta is None:
        looks = [_common_directions((query[head], key[head]), own) for head in range(heads)]
    else:
        looks = [_rotary_pairs(size, own).to(query)] * heads
    shared = [
        _common_directions((value[head], *written[head * group : (head + 1) * group]), own)
        for head in range(architecture.kv_heads)
    ]
    hands = [shared[head // group] for head in range(heads)]
    places = [head // group for head in range(heads)]
    scale = (own / size) ** 0.5
    lefts = [
        scale * _blocks(looks, list(range(heads)), heads).T,
        _blocks(looks, places, architecture.kv_heads).T,
        _blocks(hands, places, architecture.kv_heads).T,
    ]
    return lefts, _blocks(hands, list(range(heads)), heads)


def _common_directions(matrices: Sequence[torch.Tensor], count: int) -> torch.Tensor:
    """Return the leading left singular vectors ``[size, count]`` of matrices ``[size, …]`` of equal norm."""
    joined = torch.cat([part.double() / part.double().norm().clamp_min(1e-30) for part in matrices], dim=1)
    vectors: torch.Tensor = torch.linalg.svd(joined, full_matrices=False).U
    return vectors[:, :count].to(matrices[0])


def _rotary_pairs(size: int, count: int) -> torch.Tensor:
    """Return ``[size, count]`` that picks, for each rotary pair of the small head, the nearest frequency not below."""
    picked = torch.zeros(size, count)
    for pair in range(count // 2):
        taken = pair * size // count
        picked[taken, pair] = picked[size // 2 + taken, count // 2 + pair] = 1.0
    return picked


def _blocks(parts: Sequence[torch.Tensor], places: Sequence[int], count: int) -> torch.Tensor:
    """Return ``[count · size, heads · own]`` with each head's matrix in the rows of its place."""
    size, own = parts[0].shape
    rows = parts[0].new_zeros(count, size, len(parts), own)
    for head, (part, place) in enumerate(zip(parts, places, strict=True)):
        rows[place, :, head] = part
    return rows.reshape(count * size, len(parts) * own)


def _leading_neurons(norms: Sequence[torch.Tensor], like: torch.Tensor) -> torch.Tensor:
    """Return ``[hidden, r]`` that picks the neurons with the largest product of norms."""
    weights = torch.stack(list(norms)).double().prod(dim=0)
    chosen = weights.topk(like.shape[1]).indices.sort().values
    return torch.nn.functional.one_hot(chosen, len(weights)).T.to(like)
