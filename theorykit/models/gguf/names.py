"""Which parameter of the model that transformers builds each tensor of a GGUF file holds, whole or in part."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from theorykit.models.gguf.families import Role, family_parameters, model_type_of

Layout = Literal["whole", "rows", "alternating", "heads"]
Shape = tuple[int, ...]

# what transformers calls a module, and what gguf's list of names calls it
_OTHER_WORDS = (
    (r"^model\.language_model\.", "model."),
    (r"^model\.", "backbone."),
    (r"^transformer\.", ""),
    (r"\.mlp\.(gate\.)?e_score_correction_bias$", ".mlp.gate.e_score_correction"),
    (r"\.dt_bias$", ".dt_proj"),
    (r"\.forget_gate\.", "."),
    (r"\.block_sparse_moe\.experts\.", ".mlp.experts."),
    (r"\.block_sparse_moe\.router$", ".mlp.gate"),
    (r"\.layers\.0\.experts\.", ".layers.0.mlp.experts."),
    (r"\.layers\.0\.router\.proj$", ".layers.0.mlp.gate"),
)
_BLOCK = re.compile(r"^((?:enc\.|dec\.)?blk\.)(\d+)(\..+)$")
_HELD_APART: tuple[tuple[str, tuple[str, ...], Layout], ...] = (
    (r"\.experts\.gate_up_proj$", ("blk.0.ffn_gate_exps", "blk.0.ffn_up_exps"), "rows"),
    (r"\.shared_mlp\.input_linear\.weight$", ("blk.0.ffn_gate_shexp", "blk.0.ffn_up_shexp"), "rows"),
    (r"\.shared_mlp\.input_linear\.weight$", ("blk.0.ffn_gate", "blk.0.ffn_up"), "rows"),
    (r"\.kv_b_proj\.weight$", ("blk.0.attn_k_b", "blk.0.attn_v_b"), "heads"),
    (r"\.in_proj_qkvz\.weight$", ("blk.0.attn_qkv", "blk.0.attn_gate"), "rows"),
)
_HELD_TOGETHER: tuple[tuple[str, tuple[str, ...], Layout], ...] = (
    (r"\.experts\.gate_up_proj$", ("blk.0.ffn_gate_up_exps",), "whole"),
    (r"\.experts\.up_proj$", ("blk.0.ffn_up_exps",), "whole"),
    (r"\.experts\.down_proj$", ("blk.0.ffn_down_exps",), "whole"),
    (r"\.shared_mlp\.output_linear\.weight$", ("blk.0.ffn_down_shexp",), "whole"),
    (r"\.shared_mlp\.output_linear\.weight$", ("blk.0.ffn_down",), "whole"),
)
_STACKS = {"altup_proj": "altup_projections", "altup_unembd_proj": "altup_unembed_projections"}
_ALTERNATING = frozenset({"gpt_oss"})
"""Families whose experts hold gate and up in turns, a row of each."""

_NOT_LINEAR = re.compile(
    r"norm|bias|conv|sinks|exp_probs_b|rope_|rot_embd|_rel_b|(^|\.)(ssm_[ad]|dw|gamma)$|layer_output_scale|altup_correct_scale"
    r"|mix_lerp|time_mix_(first|decay|[wavg]0|k_k|k_a|r_k)$|(^|\.)ls\d$|patch_embd|per_dim"
)
_EMBEDDING = re.compile(r"(token_embd|position_embd|token_types|embed_tokens)$")
_HEAD = re.compile(r"(^output|shared_head_head)$")


@dataclass(frozen=True)
class StoredParameter:
    """A matrix of the model, or a stack of them, and the tensors of the file that hold it.

    Attributes:
        name: Of the parameter in the model that transformers builds, or of the tensor where that model has none.
        shape: ``[outputs, inputs]``, or ``[experts, outputs, inputs]``.
        parts: Name of each tensor, with the index of the matrix where the tensor is a stack of modules.
        layout: How the parts make up the parameter: ``rows`` below one another, ``alternating`` rows, or keys and
            values of one head after the other (``heads``).
        role: ``embedding`` and ``head`` where that is known, else ``linear``.
    """

    name: str
    shape: Shape
    parts: tuple[tuple[str, int | None], ...]
    layout: Layout = "whole"
    role: Literal["linear", "embedding", "head"] = "linear"


@dataclass(frozen=True)
class _Rule:
    """A parameter of layer 0, the stems of the tensors that hold it, and how."""

    name: str
    stems: tuple[str, ...]
    layout: Layout
    role: Role


@cache
def _rules(architecture: str, model_type: str) -> tuple[_Rule, ...]:
    """Say which tensors hold each parameter of a family, for layer 0."""
    stored_name = stored_names(architecture)
    rules = []
    for name, role in family_parameters(model_type).items():
        stem = name.removesuffix(".weight")
        apart = [(stems, layout) for pattern, stems, layout in _HELD_APART if re.search(pattern, name)]
        together = [(stems, layout) for pattern, stems, layout in _HELD_TOGETHER if re.search(pattern, name)]
        named = next((stored_name[word] for word in module_words(stem) if word in stored_name), None)
        if named is not None:
            together = [((named,), "whole"), *together]
        for stems, layout in together + apart:
            turns = layout == "rows" and model_type in _ALTERNATING
            rules.append(_Rule(name, stems, "alternating" if turns else layout, role))
    return tuple(rules)


def module_words(stem: str) -> list[str]:
    """Return what gguf's list may call a module of layer 0."""
    return [stem, *(re.sub(pattern, word, stem) for pattern, word in _OTHER_WORDS)]


def stored_names(architecture: str) -> Mapping[str, str]:
    """Return gguf's list for layer 0: the hub names of all families, and what a file calls what they stand for."""
    import gguf

    key = next((key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == architecture), None)
    if key is None:
        return {}
    # gguf 0.19 writes what is special of one architecture into the table of all
    table = dict(gguf.TensorNameMap.block_mappings_cfg)
    try:
        names = gguf.get_tensor_name_map(key, 1).mapping
    finally:
        gguf.TensorNameMap.block_mappings_cfg = table
    return {name: stored for name, (_, stored) in names.items()}


def stored_parameters(
    architecture: str, shapes: Mapping[str, Shape], n_layers: int | None = None
) -> list[StoredParameter]:
    """List the matrices of a GGUF file under the names of the model that transformers builds for it.

    A parameter that the file holds in pieces (gate and up of all experts, keys and values of latent attention) counts
    once. What the family's model does not have keeps the name in the file; it is never called by the name of another
    family. Norms, biases, convolutions, tables of positions and other tensors that are no matrices are left out.

    Args:
        architecture: ``general.architecture`` of the file.
        shapes: Name of each tensor to its shape, outputs before inputs.
        n_layers: Layers of the model; blocks beyond (multi-token prediction) keep their names. None if all count.
    """
    model_type = model_type_of(architecture, shapes)
    rules = _rules(architecture, model_type) if model_type else ()
    parameters: list[StoredParameter] = []
    claimed: set[str] = set()
    names: set[str] = set()
    numbers = {int(block[2]) for block in map(_BLOCK.match, shapes) if block is not None}
    for layer in [None, *sorted(number for number in numbers if n_layers is None or number < n_layers)]:
        for rule in rules:
            tensors = [f"{_at(stem, layer)}.weight" for stem in rule.stems]
            if not all(tensor in shapes and tensor not in claimed for tensor in tensors):
                continue
            shape = joined_shape([shapes[tensor] for tensor in tensors], rule.layout)
            name = rule.name if layer is None else re.sub(r"\.0\.", f".{layer}.", rule.name, count=1)
            # some files hold keys and values of latent attention twice: whole and apart
            if shape is None or (name in names and rule.layout != "heads"):
                continue
            claimed.update(tensors)
            if rule.role != "other" and name not in names:
                parts = tuple((tensor, None) for tensor in tensors)
                parameters.append(StoredParameter(name, shape, parts, rule.layout, rule.role))
            names.add(name)
    for tensor, shape in shapes.items():
        stem = tensor.removesuffix(".weight")
        if tensor in claimed or _NOT_LINEAR.search(stem):
            continue
        stack = f"model.{_STACKS.get(stem)}"
        if model_type and len(shape) == 3 and f"{stack}.0.weight" in family_parameters(model_type):
            parameters += [
                StoredParameter(f"{stack}.{index}.weight", shape[1:], ((tensor, index),)) for index in range(shape[0])
            ]
            continue
        role: Any = "embedding" if _EMBEDDING.search(stem) else "head" if _HEAD.search(stem) else "linear"
        parameters.append(StoredParameter(tensor, shape, ((tensor, None),), role=role))
    return parameters


def _at(stem: str, layer: int | None) -> str:
    """Return the stem of a tensor of block 0 for another block, or for None that of a tensor outside of the blocks."""
    block = _BLOCK.match(stem)
    if block is None:
        return stem if layer is None else ""
    return f"{block[1]}{layer}{block[3]}"


def joined_shape(shapes: list[Shape], layout: Layout) -> Shape | None:
    """Return the shape of what several tensors make up, or None where they do not fit together.

    Example:
        >>> joined_shape([(8, 48, 32), (8, 48, 32)], "rows"), joined_shape([(4, 16, 8), (4, 6, 16)], "heads")
        ((8, 96, 32), (56, 16))
    """
    first, last = shapes[0], shapes[-1]
    if layout == "whole":
        return first
    if layout == "heads":
        # keys are stored [heads, latent, keys], values [heads, values, latent]
        fits = len(first) == len(last) == 3 and first[0] == last[0] and first[1] == last[2]
        return (first[0] * (first[2] + last[1]), first[1]) if fits else None
    fits = len(first) == len(last) and first[:-2] == last[:-2] and first[-1] == last[-1]
    if not fits or (layout == "alternating" and first != last):
        return None
    return (*first[:-2], first[-2] + last[-2], first[-1])


def join(parts: list[Any], layout: Layout) -> Any:
    """Make one matrix of the parts of a parameter, or of one of its experts.

    Example:
        >>> import numpy as np
        >>> join([np.zeros((2, 1)), np.ones((2, 1))], "alternating").T
        array([[0., 1., 0., 1.]])
    """
    import numpy as np

    if layout == "whole":
        return parts[0]
    if layout == "rows":
        return np.concatenate(parts, axis=-2)
    if layout == "alternating":
        return np.stack(parts, axis=1).reshape(-1, parts[0].shape[-1])
    keys, values = parts
    return np.concatenate([keys.transpose(0, 2, 1), values], axis=1).reshape(-1, keys.shape[1])


def unread_tensors(module: Any, architecture: str, tensors: Sequence[str], n_layers: int | None = None) -> list[str]:
    """Return the tensors of a file that no parameter or buffer of a model stands for.

    Args:
        module: A model of transformers.
        architecture: ``general.architecture`` of the file.
        tensors: Their names.
        n_layers: As for :func:`stored_parameters`; blocks beyond are left out. Divisors of frequencies are as well.
    """
    stored_name = stored_names(architecture)
    held: set[str] = set()
    for name in dict(module.state_dict(keep_vars=True)):
        name = re.sub(r"\.\d+\.", ".0.", name, count=1)
        stem, _, ending = name.rpartition(".")
        if ending not in ("weight", "bias"):
            stem, ending = name, ""
        stems = [stored_name[word] for word in module_words(stem) if word in stored_name]
        for pattern, pieces, _ in _HELD_APART + _HELD_TOGETHER:
            stems += pieces if re.search(pattern, name) else ()
        held.update(f"{stored}.{end}" for stored in stems for end in ([ending] if ending else ["weight", "bias"]))
        held.update(stored for stored in stems if not ending)
    left = []
    for tensor in tensors:
        block = _BLOCK.match(tensor)
        at_zero = tensor if block is None else f"{block[1]}0{block[3]}"
        predicts = block is not None and n_layers is not None and int(block[2]) >= n_layers
        if at_zero not in held and not predicts and not tensor.startswith("rope_"):
            left.append(tensor)
    return left
