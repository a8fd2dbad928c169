"""What a decoder-only transformer is made of, and the names under which its weights are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch

from theorykit.errors import InputError

Family = Literal["gpt2", "llama"]
Weights = dict[str, torch.Tensor]
"""Name to tensor ``[S, …]``, S students; matrices are stored as ``[S, in, out]``."""

LAYERS: dict[Family, dict[str, tuple[str, ...]]] = {
    "gpt2": {
        "attn.c_attn": ("query", "key", "value"),
        "attn.c_proj": ("attention",),
        "mlp.c_fc": ("up",),
        "mlp.c_proj": ("feed_forward",),
    },
    "llama": {
        "self_attn.q_proj": ("query",),
        "self_attn.k_proj": ("key",),
        "self_attn.v_proj": ("value",),
        "self_attn.o_proj": ("attention",),
        "mlp.gate_proj": ("gate",),
        "mlp.up_proj": ("up",),
        "mlp.down_proj": ("feed_forward",),
    },
}
"""Linear layers of a block, in the model's order, and which signals the parts of their outputs are."""


@dataclass(frozen=True)
class Architecture:
    """The shape of a GPT-2 or a Llama-type model.

    Attributes:
        family: ``gpt2`` (learned positions, LayerNorm, biases, GELU) or ``llama`` (rotary, RMSNorm, SwiGLU).
        vocabulary: Number of tokens.
        context: Most tokens at once.
        width: Of the residual stream.
        depth: Number of blocks.
        heads: Query heads.
        kv_heads: Key and value heads; equal to ``heads`` for GPT-2.
        head_size: Of each head; ``heads * head_size`` is ``width`` unless the residual stream was narrowed.
        hidden: Width of the feed-forward layer.
        tied: Whether the head is the embedding.
        epsilon: Of the norms.
        rope_theta: Base of the rotary frequencies; None for GPT-2.
    """

    family: Family
    vocabulary: int
    context: int
    width: int
    depth: int
    heads: int
    kv_heads: int
    head_size: int
    hidden: int
    tied: bool
    epsilon: float
    rope_theta: float | None = None

    @property
    def prefix(self) -> str:
        """Return what the names of the body begin with."""
        return "transformer." if self.family == "gpt2" else "model."

    def block(self, number: int) -> str:
        """Return what the names of a block begin with."""
        return f"{self.prefix}{'h' if self.family == 'gpt2' else 'layers'}.{number}."

    @property
    def embedding(self) -> str:
        """Return the name of the token embedding."""
        return f"{self.prefix}{'wte' if self.family == 'gpt2' else 'embed_tokens'}.weight"

    @property
    def linear(self) -> tuple[str, ...]:
        """Return the names of all linear layers inside the blocks, in the model's order."""
        return tuple(self.block(number) + name for number in range(self.depth) for name in LAYERS[self.family])

    def source(self, signal: str) -> tuple[str, int]:
        """Return the layer of a block that gives a signal, and which part of its output that is."""
        return next((layer, names.index(signal)) for layer, names in LAYERS[self.family].items() if signal in names)

    @property
    def turned(self) -> frozenset[str]:
        """Return the names of the matrices that the model stores as ``[out, in]`` and we as ``[in, out]``."""
        return frozenset(f"{name}.weight" for name in self.linear) if self.family == "llama" else frozenset()


def architecture_of(module: Any) -> Architecture:
    """Read the architecture of a Hugging Face causal language model.

    Raises:
        InputError: neither GPT-2 nor Llama, or a variant that the forward pass does not know (scaled rotary
            positions, biased Llama projections, another activation).
    """
    config = module.config
    if config.model_type == "gpt2":
        return _gpt2(config, _is_tied(module))
    if config.model_type == "llama":
        return _llama(config, _is_tied(module))
    raise InputError(f"model type {config.model_type!r} cannot be a teacher", "give a GPT-2 or a Llama-type model")


def _is_tied(module: Any) -> bool:
    """Tell whether the head is the embedding itself: files whose configuration says so may hold a head of its own."""
    return module.get_output_embeddings().weight is module.get_input_embeddings().weight


def _gpt2(config: Any, tied: bool) -> Architecture:
    _require(config.activation_function == "gelu_new", f"activation {config.activation_function!r}")
    _require(config.scale_attn_weights and not config.scale_attn_by_inverse_layer_idx, "scaled attention")
    return Architecture(
        family="gpt2",
        vocabulary=config.vocab_size,
        context=config.n_positions,
        width=config.n_embd,
        depth=config.n_layer,
        heads=config.n_head,
        kv_heads=config.n_head,
        head_size=config.n_embd // config.n_head,
        hidden=config.n_inner or 4 * config.n_embd,
        tied=tied,
        epsilon=config.layer_norm_epsilon,
    )


def _llama(config: Any, tied: bool) -> Architecture:
    rope = config.rope_parameters
    _require(rope["rope_type"] == "default", f"rotary positions of type {rope['rope_type']!r}")
    _require(not config.attention_bias and not config.mlp_bias, "biased projections")
    _require(config.hidden_act == "silu", f"activation {config.hidden_act!r}")
    return Architecture(
        family="llama",
        vocabulary=config.vocab_size,
        context=config.max_position_embeddings,
        width=config.hidden_size,
        depth=config.num_hidden_layers,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_size=getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        hidden=config.intermediate_size,
        tied=tied,
        epsilon=config.rms_norm_eps,
        rope_theta=rope["rope_theta"],
    )


def _require(known: bool, what: str) -> None:
    if not known:
        raise InputError(f"{what} is not known to the students", "give a plain GPT-2 or Llama-type model")


def dense_weights(module: Any, copies: int = 1) -> Weights:
    """Return the weights of a Hugging Face model, once for each of S students.

    Matrices of linear layers come as ``[S, in, out]``, whatever the model stores; a tied head is left out.

    Args:
        module: As for :func:`architecture_of`.
        copies: S; the students share no memory.
    """
    architecture = architecture_of(module)
    turned = architecture.turned
    weights: Weights = {}
    for name, tensor in module.state_dict().items():
        if name == "lm_head.weight" and architecture.tied:
            continue
        tensor = tensor.detach().T if name in turned else tensor.detach()
        weights[name] = tensor.unsqueeze(0).repeat(copies, *[1] * tensor.ndim)
    return weights
