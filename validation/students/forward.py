"""The forward pass of S students at once: every product is one batched matrix product over the students."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch.nn.functional import gelu, scaled_dot_product_attention, silu
from torch.nn.functional import linear as linear_of_one

from validation.students.architecture import Architecture, Weights


@dataclass
class Output:
    """What a forward pass gives.

    Attributes:
        logits: ``[S, B, T, V]``.
        hidden: Hidden states ``[S, B, T, width]``: the embedded tokens and each block's output, the last one behind
            the final norm, as transformers counts them.
        signals: For each block, what a clone loss may compare: ``query``, ``key``, ``value``, ``attention``,
            ``gate`` (Llama), ``up`` and ``feed_forward``, ``[S, B·T, …]``; empty unless asked for.
    """

    logits: torch.Tensor
    hidden: list[torch.Tensor] = field(default_factory=list)
    signals: list[dict[str, torch.Tensor]] = field(default_factory=list)

    def mapped(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Output:
        """Return the same with each tensor changed."""
        return Output.joined([self], lambda parts: change(parts[0]))

    @staticmethod
    def joined(outputs: Sequence[Output], join: Callable[[list[torch.Tensor]], torch.Tensor]) -> Output:
        """Return several as one, tensor by tensor."""
        return Output(
            join([output.logits for output in outputs]),
            [join(list(states)) for states in zip(*(output.hidden for output in outputs), strict=True)],
            [
                {name: join([trace[name] for trace in traces]) for name in traces[0]}
                for traces in zip(*(output.signals for output in outputs), strict=True)
            ],
        )


def linear(weights: Weights, name: str, rows: torch.Tensor) -> torch.Tensor:
    """Return ``[S, N, out]`` of rows ``[S, N, in]``.

    A layer is stored as ``name.weight [S, in, out]``, or as two factors ``name.right [S, in, r]`` and ``name.left
    [S, r, out]``; ``name.mask [S, 1, r]`` then switches columns off, so that students of different rank share a batch.
    """
    right = weights.get(f"{name}.right")
    if right is None:
        matrix = weights[f"{name}.weight"]
    else:
        rows, matrix = torch.bmm(rows, right), weights[f"{name}.left"]
        mask = weights.get(f"{name}.mask")
        rows = rows if mask is None else rows * mask
    bias = weights.get(f"{name}.bias")
    if bias is None:
        return torch.bmm(rows, matrix)
    return torch.baddbmm(bias.unsqueeze(1), rows, matrix)


def forward(
    architecture: Architecture, weights: Weights, tokens: torch.Tensor, *, keep: bool = False, signals: bool = False
) -> Output:
    """Run S students on their tokens.

    Args:
        architecture: Common to all students.
        weights: ``[S, …]`` each.
        tokens: ``[B, T]`` for all students, or ``[S, B, T]``, int64.
        keep: Keep the hidden states.
        signals: Keep what clone losses compare.
    """
    embedding = weights[architecture.embedding]
    count = embedding.shape[0]
    tokens = tokens.expand(count, *tokens.shape[-2:])
    students = torch.arange(count, device=tokens.device)[:, None, None]
    x = embedding[students, tokens]
    if architecture.family == "gpt2":
        x = x + weights["transformer.wpe.weight"][:, None, : tokens.shape[2]]
    shape = x.shape[:3]
    x = x.flatten(1, 2)
    rotation = _rotation(architecture, shape[2], x)
    hidden, traces = [x], []
    for number in range(architecture.depth):
        trace: dict[str, torch.Tensor] = {}
        x = _block(architecture, weights, architecture.block(number), x, shape, rotation, trace)
        hidden.append(x)
        traces.append(trace)
    x = _norm(architecture, weights, f"{architecture.prefix}{'ln_f' if architecture.family == 'gpt2' else 'norm'}", x)
    hidden[-1] = x
    head = embedding if architecture.tied else weights["lm_head.weight"]
    logits = _head(x, head).view(*shape, -1)
    return Output(logits, [state.view(*shape, -1) for state in hidden] if keep else [], traces if signals else [])


def _head(x: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
    """Return the logits ``[S, N, V]`` of rows ``[S, N, width]`` and a head ``[S, V, width]``.

    The gradient of a batched product with a transposed head comes transposed too; that of the product for one student
    lies as the head does, which spares a copy of the largest matrix.
    """
    return linear_of_one(x[0], head[0]).unsqueeze(0) if len(head) == 1 else torch.bmm(x, head.transpose(1, 2))


def _block(
    architecture: Architecture,
    weights: Weights,
    name: str,
    x: torch.Tensor,
    shape: torch.Size,
    rotation: tuple[torch.Tensor, torch.Tensor] | None,
    trace: dict[str, torch.Tensor],
) -> torch.Tensor:
    """Return the residual stream ``[S, B·T, width]`` behind one block."""
    first, second = (
        ("ln_1", "ln_2") if architecture.family == "gpt2" else ("input_layernorm", "post_attention_layernorm")
    )
    normed = _norm(architecture, weights, name + first, x)
    x = x + _attention(architecture, weights, name, normed, shape, rotation, trace)
    normed = _norm(architecture, weights, name + second, x)
    return x + _feed_forward(architecture, weights, name, normed, trace)


def _norm(architecture: Architecture, weights: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    """Return LayerNorm (GPT-2) or RMSNorm (Llama) over the last axis."""
    gain = weights[f"{name}.weight"].unsqueeze(1)
    if architecture.family == "llama":
        return gain * (x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + architecture.epsilon))
    centred = x - x.mean(dim=-1, keepdim=True)
    scale = torch.rsqrt(centred.square().mean(dim=-1, keepdim=True) + architecture.epsilon)
    return gain * (centred * scale) + weights[f"{name}.bias"].unsqueeze(1)


def _attention(
    architecture: Architecture,
    weights: Weights,
    name: str,
    x: torch.Tensor,
    shape: torch.Size,
    rotation: tuple[torch.Tensor, torch.Tensor] | None,
    trace: dict[str, torch.Tensor],
) -> torch.Tensor:
    if architecture.family == "gpt2":
        parts = linear(weights, f"{name}attn.c_attn", x).chunk(3, dim=-1)
        out = f"{name}attn.c_proj"
    else:
        parts = tuple(linear(weights, f"{name}self_attn.{letter}_proj", x) for letter in "qkv")
        out = f"{name}self_attn.o_proj"
    trace |= dict(zip(("query", "key", "value"), parts, strict=True))
    query, key, value = (_heads(part, architecture.head_size, shape) for part in parts)
    if rotation is not None:
        query, key = _rotated(query, rotation), _rotated(key, rotation)
    mixed = scaled_dot_product_attention(
        query, key, value, is_causal=True, enable_gqa=architecture.kv_heads != architecture.heads
    )
    mixed = mixed.transpose(1, 2).reshape(shape[0], shape[1] * shape[2], -1)
    trace["attention"] = linear(weights, out, mixed)
    return trace["attention"]


def _heads(rows: torch.Tensor, size: int, shape: torch.Size) -> torch.Tensor:
    """Return ``[S·B, heads, T, size]`` of ``[S, B·T, heads·size]``."""
    return rows.reshape(shape[0] * shape[1], shape[2], -1, size).transpose(1, 2)


def _feed_forward(
    architecture: Architecture, weights: Weights, name: str, x: torch.Tensor, trace: dict[str, torch.Tensor]
) -> torch.Tensor:
    if architecture.family == "gpt2":
        trace["up"] = linear(weights, f"{name}mlp.c_fc", x)
        inner, out = gelu(trace["up"], approximate="tanh"), f"{name}mlp.c_proj"
    else:
        trace["gate"] = linear(weights, f"{name}mlp.gate_proj", x)
        trace["up"] = linear(weights, f"{name}mlp.up_proj", x)
        inner, out = silu(trace["gate"]) * trace["up"], f"{name}mlp.down_proj"
    trace["feed_forward"] = linear(weights, out, inner)
    return trace["feed_forward"]


def _rotation(architecture: Architecture, length: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return cosine and sine ``[T, head_size]`` of the rotary angles, each half of a head alike; None for GPT-2."""
    if architecture.rope_theta is None:
        return None
    places = torch.arange(0, architecture.head_size, 2, dtype=torch.float32, device=like.device)
    frequencies = architecture.rope_theta ** (-places / architecture.head_size)
    angles = torch.outer(torch.arange(length, dtype=torch.float32, device=like.device), frequencies).repeat(1, 2)
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def _rotated(states: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    first, second = states.chunk(2, dim=-1)
    return states * rotation[0] + torch.cat([-second, first], dim=-1) * rotation[1]
