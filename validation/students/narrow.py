"""Narrower students (reading R3, the Low-Rank Clone): the teacher's matrices through one-sided projections, trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from theorykit.arguments import checked_generator, positive_integer
from theorykit.errors import InputError
from validation.students.architecture import Architecture, Weights, architecture_of, dense_weights
from validation.students.batch import SIGNALS, StudentBatch
from validation.students.forward import forward
from validation.training.data import Blocks

_INTO_HEADS = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")
"""Layers that read the residual stream; ``o_proj`` and ``down_proj`` write to it."""
PROJECTION = ".projection"


@dataclass(frozen=True, eq=False)
class NarrowStudents(StudentBatch):
    """S students whose residual stream has r of the teacher's d columns; heads, feed-forward width and depth stay.

    ``weights`` are what is trained: a projection ``[S, d, r]`` for each matrix and the embedding, gains ``[S, r]``.

    Attributes:
        teacher: The frozen matrices ``[1, …]``, the gains of the norms before them folded in.
    """

    teacher: Weights

    default_signals = SIGNALS

    def effective(self) -> Weights:
        """Return the weights of ordinary smaller models ``[S, …]``, as functions of the projections."""
        weights: Weights = {}
        for name, part in self.weights.items():
            if not name.endswith(PROJECTION):
                weights[name] = part
                continue
            target = name.removesuffix(PROJECTION)
            matrix = self.teacher[target].expand(part.shape[0], -1, -1)
            reads = target.split(".")[-2] in _INTO_HEADS
            weights[target] = torch.bmm(part.transpose(1, 2), matrix) if reads else torch.bmm(matrix, part)
        return weights

    def _seen(self, signal: torch.Tensor, block: int, name: str) -> torch.Tensor:
        """Return query, key, value, gate and up as they are, as they have the teacher's width.

        What o and down write is seen through their own projection: no map has to be learned beside the student's.
        """
        if name not in ("attention", "feed_forward"):
            return signal
        layer, _ = self.architecture.source(name)
        return torch.bmm(signal, self.weights[f"{self.architecture.block(block)}{layer}.weight{PROJECTION}"])


def residual_basis(teacher: Any, blocks: Blocks, width: int) -> torch.Tensor:
    """Compute the r directions ``[d, r]`` that hold most of the residual stream, layers weighted equally.

    Eigenvectors of the mean over the hidden states of x xᵀ/E‖x‖², not centred, orthonormal.

    Args:
        teacher: As for :func:`narrow_students`.
        blocks: Tokens ``[n, T]``, run at once.
        width: r ≤ d.
    """
    architecture = architecture_of(teacher)
    rank = positive_integer("width", width, maximum=architecture.width)
    with torch.no_grad():
        weights = dense_weights(teacher)
        device = weights[architecture.embedding].device
        tokens = torch.from_numpy(np.array(blocks)).to(device, torch.int64)
        states = forward(architecture, weights, tokens, keep=True).hidden
    moment = torch.zeros(architecture.width, architecture.width, dtype=torch.float64, device=device)
    for state in states:
        rows = state.flatten(0, -2).double()
        moment += rows.T @ rows / rows.square().sum()
    vectors: torch.Tensor = torch.linalg.eigh(moment).eigenvectors
    return vectors[:, -rank:].flip(1).float()


def narrow_students(
    teacher: Any,
    width: int,
    copies: int = 1,
    *,
    basis: torch.Tensor | None = None,
    generators: Sequence[np.random.Generator] = (),
) -> NarrowStudents:
    """Make students of width r from a Llama-type teacher, all projections starting at one basis.

    With x_s = Pᵀ x, P orthonormal, q, k, v, gate and up become Pᵀ W, o and down W P, the embedding E P. RMSNorm over r
    in place of d columns is made up for by gains of √(d/r); the teacher's gains go into the matrices behind them, that
    of the final norm by its mean. At r = d the student is then the teacher but for the final norm's gain.

    Args:
        teacher: A Hugging Face Llama-type causal language model.
        width: r in [1, d].
        copies: S.
        basis: P ``[d, r]``, orthonormal columns, as of :func:`residual_basis`; None for a random one.
        generators: For random bases, one for each student.

    Raises:
        InputError: a GPT-2 teacher (its heads must fill its width), r out of range or no multiple of the heads, or
            neither basis nor generators.

    References:
        Hao et al. (2025), A Token is Worth over 1,000 Tokens: Efficient Knowledge Distillation through Low-Rank Clone
        (arXiv 2505.12781).
    """
    architecture = architecture_of(teacher)
    if architecture.family != "llama":
        raise InputError("a narrow student needs a Llama-type teacher", "GPT-2's heads must fill its width")
    rank, count = positive_integer("width", width, maximum=architecture.width), positive_integer("copies", copies)
    if rank % architecture.heads:
        raise InputError(
            f"width = {rank} is no multiple of the {architecture.heads} heads",
            "Hugging Face's Llama files ask for one",
        )
    dense = dense_weights(teacher)
    check_start(basis, (architecture.width, rank), f"{count} narrow students", count, generators)
    start = (
        torch.stack([random_basis(architecture.width, rank, generator) for generator in generators])
        if basis is None
        else basis.expand(count, -1, -1)
    )
    gain = float(np.sqrt(architecture.width / rank))
    weights: Weights = {}
    frozen: Weights = {}
    for name, tensor in dense.items():
        if tensor.ndim == 3:
            frozen[name] = tensor * _gain_before(architecture, dense, name)
            weights[name + PROJECTION] = start.to(tensor).clone()
        else:
            own = tensor.mean() if name == "model.norm.weight" else torch.ones(())
            weights[name] = (gain * own).to(tensor).expand(count, rank).clone()
    narrow = replace(architecture, width=rank)
    return NarrowStudents(narrow, weights, tuple({} for _ in range(count)), frozen)


def check_start(
    basis: torch.Tensor | None,
    shape: tuple[int, int],
    whose: str,
    count: int,
    generators: Sequence[np.random.Generator],
) -> None:
    """Raise where students have neither a basis of this shape nor a generator each."""
    if basis is not None and basis.shape != shape:
        raise InputError(f"basis has shape {tuple(basis.shape)}, not {shape}", "give P [d, r]")
    if basis is None and len(generators) != count:
        raise InputError(
            f"{whose} need a basis, or a generator each and not {len(generators)}", "give residual_basis(…)"
        )


def random_basis(width: int, rank: int, generator: np.random.Generator) -> torch.Tensor:
    """Return random orthonormal columns ``[width, rank]``."""
    return torch.from_numpy(np.linalg.qr(checked_generator(generator).standard_normal((width, rank))).Q).float()


def _gain_before(architecture: Architecture, dense: Weights, name: str) -> torch.Tensor:
    """Return the gain ``[1, d, 1]`` of the norm whose output a matrix reads, or 1."""
    parts = name.split(".")
    if parts[-2] not in _INTO_HEADS:
        return torch.ones(())
    norm = "input_layernorm" if parts[-3] == "self_attn" else "post_attention_layernorm"
    return dense[".".join([*parts[:-3], norm, "weight"])].unsqueeze(2)
