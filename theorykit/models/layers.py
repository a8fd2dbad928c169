"""Which tensors of a checkpoint are linear layers, and what each of them is."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from theorykit.errors import CheckpointError

Kind = Literal["attention", "mlp", "expert", "other", "router", "embedding", "head"]

_EMBEDDING = re.compile(
    r"(^|[._])(wte|wpe|\w*embed(ding)?s?(_tokens|_in|_positions)?|token_embd|position_embd|relative_attention_bias)$"
    r"|^(model\.)?shared$"
)
_HEAD = re.compile(
    r"(^|\.)(lm_head(\.decoder)?|embed_out|output_projection|score|classifier(\.out_proj)?|qa_outputs)$"
    r"|^(output|head|proj_out|cls\.predictions\.decoder)$"
)
_EXPERT = re.compile(r"expert|_exps$")
_ROUTER = re.compile(r"(^|[._])router(_\w+)?(\.|$)|ffn_gate_inp|(^|\.)shared_expert_gate$")
# a router where the model has experts, as a module or with its matrix inside: not the gate of attention or of an expert
_GATE = re.compile(r"^(?!.*(attn|attention|shared_expert|experts\.\d)).*(^|\.)gate(\.\w+)?$")
_ROUTED = re.compile(r"(?<!shared_)experts\.\d+\.")
_ATTENTION = re.compile(r"attn|attention|(^|[._])[qkvo](_proj|_lin)?$|query|key|value")
_MLP = re.compile(r"mlp|ffn|feed_forward|fc1|fc2|c_fc|intermediate|dense|gate|up_proj|down_proj|w[123]$")
# by the last name of the path alone: "norm_attn_norm.attn.out_proj" is a map
_NOT_LINEAR = re.compile(
    r"((^|[._])(\w*norm|ln_\d|ln_f)|bias|A_log|ssm_[ad]|conv\w*|inv_freq|rotary\w*|mask|position_ids)$"
    r"|router\.scale|(^|\.)lora_[AB](\.|$)"
)
_COUNT = re.compile(
    r"^(n|num|moe_num|num_local|n_routed|num_routed|moe_n_routed)_(routed_)?experts$|^num_experts$|^moe_num_experts$"
)
_PER_TOKEN = re.compile(
    r"^((num|n|moe)_)?(experts_per_tok(en)?|experts_used|selected_experts|top_?k|k|top_k_experts|used_experts)$|^moe_router_topk$"
)
_TABLES = re.compile(r"embed_tokens_per_layer$|per_layer_token_embd$")
FUSED = re.compile(r"(c_attn|qkv|qkv_proj|query_key_value|Wqkv|gate_up_proj|in_proj)$")
_HIDDEN = re.compile(r"^(hidden_size|d_model|n_embd|hidden_dim)$")
_BESIDE = re.compile(r"^zero_expert_num$")
_CONV1D_MODELS = frozenset({"gpt2", "openai-gpt", "imagegpt", "decision_transformer", "clvp"})


@dataclass(frozen=True)
class Omitted:
    """A parameter of two or more dimensions that is no layer.

    Attributes:
        name: Of the parameter.
        parameters: Numbers in it.
        reason: What it is, or why it cannot be one.
        state: ``left out`` of the layers; ``lacking``: a layer of the model that the files do not hold; ``unread``: in
            the files, and in no module of the model.
    """

    name: str
    parameters: int
    reason: str
    state: Literal["left out", "lacking", "unread"] = "left out"


@dataclass(frozen=True)
class LinearLayer:
    """One linear map x ↦ W x of a model.

    Attributes:
        name: Module path (``model.layers.0.mlp.up_proj``), with ``[e]`` behind it for the e-th stacked expert.
        tensor: Name of the stored tensor.
        shape: (m, n) = (outputs, inputs), whatever way round the tensor is stored.
        kind: attention, mlp, expert, other, router, embedding or head. Only the first four are factored.
        transposed: The tensor is stored as inputs × outputs (GPT-2's ``Conv1D``).
        expert: Index into a stacked expert tensor, or None.
        fused: Several projections share the matrix (fused q, k, v; fused gate and up); it is factored as one.
        active_share: Share of tokens that use the layer: experts per token / experts, else 1.
        stack: How many maps of this shape lie one behind the other in the tensor.
        calls: How often one pass sends a token through the layer: more than once where it is shared or looped.
    """

    name: str
    tensor: str
    shape: tuple[int, int]
    kind: Kind
    transposed: bool = False
    expert: int | None = None
    fused: bool = False
    active_share: float = 1.0
    stack: int = 1
    calls: int = 1

    @property
    def parameters(self) -> int:
        """Return m · n."""
        return self.shape[0] * self.shape[1]

    @property
    def offset(self) -> int:
        """Return where the map begins in its tensor, in elements: maps of a stack lie one behind the other."""
        return (self.expert or 0) * self.parameters if self.stack > 1 else 0

    @property
    def parameters_per_rank(self) -> int:
        """Return m + n: what one unit of rank costs when W is stored as two factors (reading R2)."""
        return self.shape[0] + self.shape[1]

    @property
    def break_even(self) -> float:
        """Return mn / (m + n): only below this rank do two factors hold fewer numbers than W."""
        return self.parameters / self.parameters_per_rank

    @property
    def factorable(self) -> bool:
        """Return whether the layer is a candidate for factoring: routers, embeddings and heads stay as they are."""
        return self.kind not in ("router", "embedding", "head")


def kind_of(name: str) -> Kind:
    """Tell the kind of a layer from its module path.

    Example:
        >>> kind_of("transformer.h.0.mlp.c_fc"), kind_of("lm_head"), kind_of("transformer.wpe")
        ('mlp', 'head', 'embedding')
    """
    if _EMBEDDING.search(name) or _TABLES.search(name):
        return "embedding"
    if _HEAD.search(name):
        return "head"
    if _ROUTER.search(name):
        return "router"
    if _EXPERT.search(name):
        return "expert"
    if _ATTENTION.search(name.rsplit(".layers.")[-1]):
        return "attention"
    return "mlp" if _MLP.search(name) else "other"


def _is_transposed(
    tensor: str, shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any]
) -> bool:
    """Tell whether a 2-D tensor is stored as inputs × outputs: its bias has one entry per output."""
    bias = shapes.get(re.sub(r"weight$", "bias", tensor)) if tensor.endswith("weight") else None
    if bias is not None and len(bias) == 1 and shape[0] != shape[1]:
        return bias[0] == shape[1]
    return str(config.get("model_type")) in _CONV1D_MODELS and bool(
        re.search(r"\.(c_attn|c_proj|c_fc|q_attn)\.weight$", tensor)
    )


def _values(config: Mapping[str, Any], names: re.Pattern[str]) -> list[int]:
    """Return the whole numbers above 0 under keys of a configuration, its own before those of its parts."""
    values: list[int] = []
    parts: list[Mapping[str, Any]] = []
    for key, value in config.items():
        if isinstance(value, Mapping):
            parts.append(value)
        elif names.search(str(key)):
            # per layer in some families
            listed = value if isinstance(value, (list, tuple)) else [value]
            values += [
                entry for entry in listed if isinstance(entry, int) and not isinstance(entry, bool) and entry > 0
            ]
    return values + [value for part in parts for value in _values(part, names)]


def expert_counts(config: Mapping[str, Any]) -> set[int]:
    """Return how many experts a block may have, as the configuration or one of its parts says."""
    counts = _values(config, _COUNT)
    # some blocks may pass a token by all experts, and their router scores that as well
    beside = sum(_values(config, _BESIDE)[:1])
    return {count + beside for count in counts}


def active_share(config: Mapping[str, Any], experts: int) -> float:
    """Return experts per token / experts, or 1 where the configuration says nothing of it."""
    beside = sum(_values(config, _BESIDE)[:1])
    routed = experts + beside if experts in _values(config, _COUNT) else experts
    # a larger number is another one, such as the top_k of sampling
    used = next((value for value in _values(config, _PER_TOKEN) if value <= routed), routed)
    return used / routed if routed else 1.0


def _experts(tensor: str, shape: tuple[int, ...], config: Mapping[str, Any]) -> list[LinearLayer]:
    """Split a stacked tensor [experts, a, b] into one layer per expert; the hidden width tells which side is input."""
    count, first, second = shape
    name = tensor.removesuffix(".weight")
    hidden = next(iter(_values(config, _HIDDEN)), None)
    inwards = not re.search(r"down|w2|c_proj|fc2|output_linear", name)
    transposed = first != second and (first == hidden if inwards else second == hidden)
    return [
        LinearLayer(
            name=f"{name}[{index}]",
            tensor=tensor,
            shape=(second, first) if transposed else (first, second),
            kind="expert",
            transposed=transposed,
            expert=index,
            fused=bool(FUSED.search(name)),
            active_share=active_share(config, count),
            stack=count,
        )
        for index in range(count)
    ]


def _is_stack(name: str, shape: tuple[int, ...], config: Mapping[str, Any]) -> bool:
    """Return whether a three-dimensional tensor holds one matrix per expert."""
    return min(shape) > 1 and bool(_EXPERT.search(name) or shape[0] in expert_counts(config))


def find_layers(shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any] | None = None) -> list[LinearLayer]:
    """List the linear layers and embeddings among the tensors of a checkpoint, in their order.

    Args:
        shapes: Tensor name to stored shape. Vectors, norms, masks and adapters are left out; 3-D tensors count
            only where their name says that they are stacked experts.
        config: The model's configuration where one is known: ``model_type`` (Conv1D storage), ``hidden_size`` and
            ``num_experts_per_tok`` (experts), ``tie_word_embeddings``.

    Returns:
        The layers; a tied head is left out, since the embedding stands for both.
    """
    config = config or {}
    layers: list[LinearLayer] = []
    routed = len({match for name in shapes for match in re.findall(r"(?<!shared_)experts\.(\d+)\.", name)})
    mixture = any(_EXPERT.search(name.removesuffix(".weight")) for name in shapes)
    for tensor, shape in shapes.items():
        name = tensor.removesuffix(".weight")
        if _NOT_LINEAR.search(name) and not _EMBEDDING.search(name):
            continue
        if len(shape) == 3 and _is_stack(name, shape, config):
            layers += _experts(tensor, shape, config)
        elif len(shape) == 2 and min(shape) > 1:
            turned = _is_transposed(tensor, shape, shapes, config)
            kind: Kind = "router" if mixture and _GATE.search(name) else kind_of(name)
            layers.append(
                LinearLayer(
                    name=name,
                    tensor=tensor,
                    shape=(shape[1], shape[0]) if turned else (shape[0], shape[1]),
                    kind=kind,
                    transposed=turned,
                    fused=bool(FUSED.search(name)),
                    active_share=active_share(config, routed) if _ROUTED.search(name) else 1.0,
                )
            )
    if config.get("tie_word_embeddings"):
        layers = [layer for layer in layers if layer.kind != "head"]
    return layers


def by_number(name: str) -> list[tuple[int, str]]:
    """Return a key that puts layer 2 before layer 10: files list their tensors by the alphabet."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def require_layers(layers: list[LinearLayer], name: str) -> list[LinearLayer]:
    """Return the layers, or raise where a model has none."""
    if not layers:
        raise CheckpointError(f"{name} holds no linear layer", "expected floating-point matrices")
    return layers


def omitted_tensors(shapes: Mapping[str, tuple[int, ...]], layers: Iterable[LinearLayer]) -> tuple[Omitted, ...]:
    """Return the tensors of two or more dimensions that no layer lies in."""
    taken = {layer.tensor for layer in layers}
    wide = {name: shape for name, shape in shapes.items() if len([size for size in shape if size > 1]) > 1}
    return tuple(
        Omitted(name, math.prod(shape), "no layer by its name and shape")
        for name, shape in wide.items()
        if name not in taken
    )
