"""Narrower students (reading R3, the Low-Rank Clone): the teacher's matrices through one-sided projections, trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from theorykit.checks import checked_generator, positive_integer
from theorykit.errors import InputError
from validation.data import Blocks
from validation.students.architecture import Architecture, Weights, architecture_of, dense_weights
from validation.students.forward import Output, forward

_INTO_HEADS = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")
"""Layers that read the residual stream; ``o_proj`` and ``down_proj`` write to it."""
_WRITERS = {"attention": "self_attn.o_proj", "feed_forward": "mlp.down_proj"}
"""Signals that are written to the residual stream, and by which layer."""
_PROJECTION = ".projection"


@dataclass(frozen=True, eq=False)
class NarrowStudents:
    """S students whose residual stream has r of the teacher's d columns; heads, feed-forward width and depth stay.

    Attributes:
        architecture: Theirs: ``width`` is r.
        weights: What is trained: a projection ``[S, d, r]`` for each matrix and the embedding, gains ``[S, r]``.
        teacher: The frozen matrices ``[1, …]``, the gains of the norms before them folded in.
        ranks: Empty for each student: there are no factors.
    """

    architecture: Architecture
    weights: Weights
    teacher: Weights
    ranks: tuple[dict[str, int], ...]

    clones_signals = True
    """Hidden states are narrower than the teacher's: the clone loss compares the signals inside the blocks."""

    @property
    def trainable(self) -> tuple[str, ...]:
        """Return the names of what is trained."""
        return tuple(self.weights)

    def effective(self) -> Weights:
        """Return the weights of ordinary smaller models ``[S, …]``, as functions of the projections."""
        found: Weights = {}
        for name, part in self.weights.items():
            if not name.endswith(_PROJECTION):
                found[name] = part
                continue
            target = name.removesuffix(_PROJECTION)
            matrix = self.teacher[target].expand(part.shape[0], -1, -1)
            reads = target.split(".")[-2] in _INTO_HEADS
            found[target] = torch.bmm(part.transpose(1, 2), matrix) if reads else torch.bmm(matrix, part)
        return found

    def compared(self, own: Output, teacher: Output) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Return the seven signals of each block, ours and the teacher's.

        Query, key, value, gate and up have the teacher's width. What o and down write is compared with what the
        teacher's write, seen through their own projection: no map has to be learned beside the student's.
        """
        ours, theirs = [], []
        for number, (mine, taught) in enumerate(zip(own.signals, teacher.signals, strict=True)):
            block = self.architecture.block(number)
            for name, part in mine.items():
                layer = _WRITERS.get(name)
                ours.append(part)
                if layer is None:
                    theirs.append(taught[name])
                else:
                    theirs.append(torch.bmm(taught[name], self.weights[f"{block}{layer}.weight{_PROJECTION}"]))
        return ours, theirs

    def deployed_parameters(self, *, embeddings: bool = True) -> list[int]:
        """Return how many numbers each merged student stores.

        Args:
            embeddings: Count the token embedding and the head.
        """
        with torch.no_grad():
            merged = self.effective()
        skipped = () if embeddings else (self.architecture.embedding, "lm_head.weight")
        count = sum(part[0].numel() for name, part in merged.items() if name not in skipped)
        return [count] * len(self.ranks)


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
        tokens = torch.from_numpy(np.array(blocks)).to(torch.int64)
        states = forward(architecture, dense_weights(teacher), tokens, keep=True).hidden
    moment = torch.zeros(architecture.width, architecture.width, dtype=torch.float64)
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
    generator: np.random.Generator | None = None,
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
        generator: For a random basis.

    Raises:
        InputError: a GPT-2 teacher (its heads must fill its width), r out of range or no multiple of the heads, or
            neither basis nor generator.

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
    start = _random_basis(architecture.width, rank, generator) if basis is None else basis
    if start.shape != (architecture.width, rank):
        raise InputError(f"basis has shape {tuple(start.shape)}, not {(architecture.width, rank)}", "give P [d, r]")
    gain = float(np.sqrt(architecture.width / rank))
    weights: Weights = {}
    frozen: Weights = {}
    for name, tensor in dense.items():
        if tensor.ndim == 3:
            frozen[name] = tensor * _gain_before(architecture, dense, name)
            weights[name + _PROJECTION] = start.to(tensor).repeat(count, 1, 1)
        else:
            own = tensor.mean() if name == "model.norm.weight" else torch.ones(())
            weights[name] = (gain * own).to(tensor).expand(count, rank).clone()
    narrow = replace(architecture, width=rank)
    return NarrowStudents(narrow, weights, frozen, tuple({} for _ in range(count)))


def _random_basis(width: int, rank: int, generator: np.random.Generator | None) -> torch.Tensor:
    if generator is None:
        raise InputError("a narrow student needs a basis or a generator", "give residual_basis(…)")
    return torch.from_numpy(np.linalg.qr(checked_generator(generator).standard_normal((width, rank))).Q).float()


def _gain_before(architecture: Architecture, dense: Weights, name: str) -> torch.Tensor:
    """Return the gain ``[1, d, 1]`` of the norm whose output a matrix reads, or 1."""
    parts = name.split(".")
    if parts[-2] not in _INTO_HEADS:
        return torch.ones(())
    norm = "input_layernorm" if parts[-3] == "self_attn" else "post_attention_layernorm"
    return dense[".".join([*parts[:-3], norm, "weight"])].unsqueeze(2)
