"""The transformers family behind an architecture of GGUF, and the parameters of the model that it builds."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, Literal

Role = Literal["linear", "embedding", "other"]

_MODEL_TYPES = {
    "chatglm": "glm",
    "command-r": "cohere",
    "deepseek2": "deepseek_v3",  # DeepSeek V2, GLM-4.7-Flash and Youtu name their modules alike
    "gemma3": "gemma3_text",
    "gemma3n": "gemma3n_text",
    "gemma4": "gemma4_text",
    "glm-dsa": "glm_moe_dsa",
    "glm4moe": "glm4_moe",
    "gptneox": "gpt_neox",
    "granitehybrid": "granitemoehybrid",
    "hunyuan-dense": "hunyuan_v1_dense",
    "hunyuan-moe": "hunyuan_v1_moe",
    "lfm2moe": "lfm2_moe",
    "llama4": "llama4_text",
    "mimo2": "mimo_v2_flash",
    "mistral3": "ministral3",
    "nemotron_h_moe": "nemotron_h",
    "paddleocr": "paddleocr_vl",
    "phi2": "phi",
    "qwen2moe": "qwen2_moe",
    "qwen2vl": "qwen2_vl",
    "qwen35": "qwen3_5_text",
    "qwen35moe": "qwen3_5_moe_text",
    "qwen3moe": "qwen3_moe",
    "qwen3next": "qwen3_next",
    "qwen3vl": "qwen3_vl",
    "qwen3vlmoe": "qwen3_vl_moe",
    "starcoder": "gpt_bigcode",
    "t5encoder": "t5",
}
# files of encoders hold the bare encoder, whose modules have another prefix than those of the class with a head
_ENCODERS = frozenset({"bert"})
_DENSE_OR_ROUTED: tuple[dict[str, Any], ...] = ({}, {"mlp_only_layers": [0]})
_MLA: tuple[dict[str, Any], ...] = ({"first_k_dense_replace": 1}, {"first_k_dense_replace": 1, "q_lora_rank": None})
# settings that between them build every kind of module of the family; the defaults alone where none are given
_SETTINGS: Mapping[str, tuple[dict[str, Any], ...]] = {
    "chameleon": ({"vocabulary_map": {"<image>": 1}},),
    "dbrx": ({"attn_config": {"rope_theta": 10000.0}},),
    "deepseek_v3": _MLA,
    "dots1": (
        {
            "first_k_dense_replace": 1,
            "moe_intermediate_size": 32,
            "n_routed_experts": 4,
            "n_shared_experts": 1,
            "num_experts_per_tok": 2,
        },
    ),
    "gemma4_text": (
        {},
        {"enable_moe_block": True, "moe_intermediate_size": 32, "num_experts": 4, "top_k_experts": 2},
    ),
    "glm_moe_dsa": ({},),
    "granitemoehybrid": (
        {"layer_types": ["attention", "mamba"], "num_hidden_layers": 2},
        {"layer_types": ["attention", "mamba"], "num_hidden_layers": 2, "num_local_experts": 0},
    ),
    "granitemoeshared": ({"shared_intermediate_size": 32},),
    "hunyuan_v1_dense": ({"head_dim": 128},),
    "hunyuan_v1_moe": ({"head_dim": 128},),
    "hunyuan_vl": ({"text_config": {"head_dim": 128}},),
    "lfm2": ({"layer_types": ["conv", "full_attention"] * 2, "num_hidden_layers": 4},),
    "lfm2_moe": ({"layer_types": ["conv", "full_attention"] * 2, "num_hidden_layers": 4},),
    "llama4_text": ({"interleave_moe_layer_step": 2},),
    "mistral4": _MLA,
    "nemotron": ({"num_key_value_heads": 8},),
    "nemotron_h": ({}, {"moe_latent_size": 64}),
    "qwen2_moe": _DENSE_OR_ROUTED,
    "qwen3_moe": _DENSE_OR_ROUTED,
    "qwen3_next": _DENSE_OR_ROUTED,
    "t5": ({"feed_forward_proj": "gated-gelu"},),
}
# the most common family needs no transformers, which take seconds to import; a test holds this against its model
_LLAMA: Mapping[str, Role] = {
    "model.embed_tokens.weight": "embedding",
    "lm_head.weight": "linear",
    **{f"model.layers.0.self_attn.{name}_proj.weight": "linear" for name in "qkvo"},
    **{f"model.layers.0.mlp.{name}_proj.weight": "linear" for name in ("gate", "up", "down")},
}


def model_type_of(architecture: str, tensors: Collection[str]) -> str:
    """Return the ``model_type`` whose model transformers builds for a file, or an empty string where it has none.

    Args:
        architecture: ``general.architecture`` of the file.
        tensors: Names of its tensors: some architectures stand for several families.

    Example:
        >>> model_type_of("phi2", []), model_type_of("llama", ["blk.0.ffn_up_exps.weight"]), model_type_of("clip", [])
        ('phi', 'mixtral', '')
    """
    if architecture == "llama":
        return "mixtral" if _any_ends(tensors, ".ffn_up_exps.weight") else "llama"
    if architecture == "chatglm" and not _any_ends(tensors, ".attn_q.weight"):
        return ""  # ChatGLM's own code, with one matrix for queries, keys and values; GLM has three
    if architecture == "granitemoe" and _any_ends(tensors, ".ffn_up_shexp.weight"):
        return "granitemoeshared"
    if architecture in ("t5", "t5encoder") and not _any_ends(tensors, ".ffn_gate.weight"):
        return ""  # the first T5 has no gate; transformers reads the later ones only
    model_type = _MODEL_TYPES.get(architecture, architecture.replace("-", "_"))
    return model_type if model_type not in _ENCODERS and _auto_class(model_type) is not None else ""


def _any_ends(tensors: Collection[str], ending: str) -> bool:

    return any(name.endswith(ending) for name in tensors)


def _auto_class(model_type: str) -> Any:
    """Return the class of transformers that builds a family: causal before vision-language before encoder-decoder."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForSeq2SeqLM
    from transformers.models.auto import modeling_auto as families

    if model_type in families.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return AutoModelForCausalLM
    if model_type in families.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return AutoModelForImageTextToText
    if model_type in families.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        return AutoModelForSeq2SeqLM
    return None


def family_parameters(model_type: str) -> Mapping[str, Role]:
    """Return the parameters of a family's model and what each of them is, with every layer's number set to 0.

    Args:
        model_type: As in ``config.json``.

    Returns:
        Empty where transformers cannot build the family; for Llama its matrices alone.
    """
    return _LLAMA if model_type == "llama" else built_parameters(model_type)


@cache
def built_parameters(model_type: str) -> Mapping[str, Role]:
    """Build a family's model and return what :func:`family_parameters` does.

    The model is built without memory (device ``meta``) with the family's default configuration, and again with those
    that it needs to show all its kinds of layer.

    Args:
        model_type: As in ``config.json``.
    """
    import torch
    from transformers import AutoConfig
    from transformers.utils import logging

    auto_class = _auto_class(model_type)
    roles: dict[str, Role] = {}
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        for settings in _SETTINGS.get(model_type, ({},)):
            with warnings.catch_warnings(), torch.device("meta"):
                warnings.simplefilter("ignore")
                try:
                    module = auto_class.from_config(AutoConfig.for_model(model_type, **settings))
                except Exception:  # another release, other defaults; then the file's names stay
                    continue
            for name, parameter in module.named_parameters(remove_duplicate=False):
                role = _role(module.get_submodule(name.rpartition(".")[0]), name, parameter.ndim)
                roles[re.sub(r"\.\d+\.", ".0.", name, count=1)] = role
    finally:
        logging.set_verbosity(verbosity)
    return roles


def _role(module: Any, name: str, dimensions: int) -> Role:
    """Tell a matrix of weights from all else by the module that holds it."""
    import torch

    kind = type(module)
    if isinstance(module, torch.nn.Embedding):
        return "embedding"
    if issubclass(kind, torch.nn.modules.conv._ConvNd) or "Norm" in kind.__name__ or dimensions < 2:
        return "other"
    if name.endswith(".weight"):
        return "linear"
    return "linear" if "experts." in name and "bias" not in name else "other"
