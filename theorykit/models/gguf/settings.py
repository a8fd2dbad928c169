"""What a GGUF file says of its model and transformers leaves out: numbers of the configuration, and whole tensors."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from theorykit.errors import NotRunnableError
from theorykit.models.gguf.names import unread_tensors
from theorykit.models.gguf.positions import restore_positions
from theorykit.models.locations import WEIGHTS_ALONE

# a number of the file, and the names that configurations have for it
_NUMBERS: Mapping[str, tuple[str, ...]] = {
    "attention.key_length_swa": ("head_dim",),
    "attention.layer_norm_epsilon": ("layer_norm_eps", "layer_norm_epsilon", "norm_eps", "norm_epsilon"),
    "attention.layer_norm_rms_epsilon": ("rms_norm_eps", "norm_eps", "layer_norm_epsilon"),
    "attention.sliding_window": ("sliding_window",),
    "context_length": ("n_positions",),
    "expert_feed_forward_length": ("moe_intermediate_size",),
    "expert_shared_feed_forward_length": ("shared_expert_intermediate_size",),
    "feed_forward_length": ("n_inner",),
    "expert_weights_norm": ("norm_topk_prob",),
}
# numbers that scale activations, where they stand in a configuration, and the value that changes nothing
_SCALES: Mapping[str, tuple[tuple[str, ...], float]] = {
    "attention.clamp_kqv": (("clip_qkv",), 0.0),
    "attention.max_alibi_bias": ((), 0.0),
    "attention.scale": (("attention_multiplier",), 0.0),
    "attn_logit_softcapping": (("attn_logit_softcapping",), 0.0),
    "embedding_scale": (("embedding_multiplier",), 1.0),
    "expert_weights_scale": (("routed_scaling_factor",), 1.0),
    "final_logit_softcapping": (("final_logit_softcapping",), 0.0),
    "logit_scale": (("logits_scaling", "logit_scale"), 1.0),
    "residual_scale": (("residual_multiplier",), 1.0),
    "router_logit_softcapping": ((), 0.0),
}
# the largest Gemma 2 and 3 divide queries by the root of width / heads, all others by that of a head's width
_LARGEST_GEMMA = {"gemma2": 46, "gemma3": 62}
_DIVISORS = ("rope_freqs", "rope_factors_short", "rope_factors_long")
_HINT = WEIGHTS_ALONE


@dataclass(frozen=True)
class FileSettings:
    """What a GGUF file says of its model.

    Attributes:
        architecture: ``general.architecture``.
        metadata: Its keys without the architecture's name (``rope.freq_base``), and their values.
        tensors: Names of all tensors.
        divisors: Of the frequencies of rotary positions, by the name of the tensor without ``.weight``.
    """

    architecture: str
    metadata: Mapping[str, Any]
    tensors: tuple[str, ...]
    divisors: Mapping[str, Sequence[float]]


def read_settings(file: Path) -> FileSettings:
    """Read the numbers of a GGUF file, and the few tensors that stretch positions."""
    import gguf

    reader = gguf.GGUFReader(str(file))
    architecture = str(reader.fields["general.architecture"].contents())
    prefix = f"{architecture}."
    metadata = {
        key.removeprefix(prefix): field.contents() for key, field in reader.fields.items() if key.startswith(prefix)
    }
    divisors = {
        part.name.removesuffix(".weight"): [
            float(value) for value in gguf.dequantize(part.data, part.tensor_type).reshape(-1)
        ]
        for part in reader.tensors
        if part.name.removesuffix(".weight") in _DIVISORS
    }
    return FileSettings(architecture, metadata, tuple(part.name for part in reader.tensors), divisors)


def restored_config(file: Path, settings: FileSettings) -> Any:
    """Return the configuration that transformers reads from a GGUF file, with what it leaves out.

    Raises:
        NotRunnableError: the file says something that changes what the model computes and that transformers cannot do.
    """
    from transformers import AutoConfig

    if settings.metadata.get("attention.causal") is False:
        raise NotRunnableError("the file's model sees later tokens (attention.causal is false)", _HINT)
    config = AutoConfig.from_pretrained(file.parent, gguf_file=file.name, trust_remote_code=False)
    text = config.get_text_config()
    metadata = settings.metadata
    for key, names in _NUMBERS.items():
        value = metadata.get(key)
        # a configuration has one name for a number: the first that it knows
        name = next((name for name in names if _has(text, name)), None)
        if name is None or not isinstance(value, int | float):
            continue
        if key == "attention.sliding_window" and not value:
            setattr(text, name, None)  # no window
        elif not _same(getattr(text, name), value):
            setattr(text, name, value)
    _restore_head_width(text, settings)
    for key, (names, neutral) in _SCALES.items():
        value = metadata.get(key)
        if isinstance(value, int | float):
            _restore_scale(text, key, float(value), names, neutral)
    _restore_biases(text, settings.tensors)
    restore_positions(text, metadata, settings.divisors)
    if hasattr(text, "validate_rope"):
        text.validate_rope()
    return config


def _has(text: Any, name: str) -> bool:
    """Tell whether a configuration has a number, and one for all layers (Gemma 4's heads are of two widths)."""
    try:
        getattr(text, name)
    except Exception:  # transformers raises an error of its own for numbers that differ by layer
        return False
    return True


def _same(stated: Any, value: float) -> bool:
    """Tell whether two numbers differ by no more than float32 does."""
    return isinstance(stated, int | float) and math.isclose(stated, value, rel_tol=1e-6)


def _restore_head_width(text: Any, settings: FileSettings) -> None:
    """Set the width of a head, and for the largest Gemma what queries are divided by."""
    width = settings.metadata.get("attention.key_length")
    if isinstance(width, int) and _has(text, "head_dim"):
        text.head_dim = width
    if settings.metadata.get("block_count") == _LARGEST_GEMMA.get(settings.architecture, 0):
        text.query_pre_attn_scalar = text.hidden_size // text.num_attention_heads


def _restore_scale(text: Any, key: str, value: float, names: Sequence[str], neutral: float) -> None:
    """Set a number that scales activations, or refuse it where the configuration has no place for it."""
    name = next((name for name in names if _has(text, name)), None)
    if name is not None:
        stated = getattr(text, name)
        if not _same(stated, value) and not (stated is None and value == neutral):
            setattr(text, name, value)
    elif value not in (neutral, 0.0):
        raise NotRunnableError(f"the file has {key} {value:g}, and transformers' model has no such number", _HINT)


def _restore_biases(text: Any, tensors: Sequence[str]) -> None:
    """Give a model the biases that its file has and its family has not by default."""
    stems = {re.sub(r"^blk\.\d+\.", "", name) for name in tensors}
    for name, stem in (("attention_bias", "attn_output.bias"), ("mlp_bias", "ffn_down.bias")):
        if stem in stems and getattr(text, name, None) is False:
            setattr(text, name, True)


def require_all_read(module: Any, settings: FileSettings) -> None:
    """Check that a built model takes every tensor of its file as it is, and turns as many dimensions as the file says.

    Args:
        module: The model that transformers has loaded.
        settings: Of the file.

    Raises:
        NotRunnableError: something that changes what the model computes has no place in it.
    """
    import torch

    left = unread_tensors(module, settings.architecture, settings.tensors, _layers(settings))
    if left:
        raise NotRunnableError(
            f"transformers' model has no place for {len(left)} of the file's tensors, among them {left[0]}", _HINT
        )
    for name, part in module.named_modules():
        # transformers 5.17 loads a matrix of another shape in place of the model's
        if isinstance(part, torch.nn.Linear) and part.weight.shape != (part.out_features, part.in_features):
            raise NotRunnableError(
                f"the file's {name} has another shape than in the model that transformers builds", _HINT
            )
    turned = int(settings.metadata.get("rope.dimension_count", 0))
    for name, frequencies in module.named_buffers():
        if turned and name.endswith("rotary_emb.inv_freq") and 2 * len(frequencies) != turned:
            raise NotRunnableError(
                f"the file turns {turned} dimensions of a head by position, and transformers' model "
                f"{2 * len(frequencies)}",
                _HINT,
            )


def _layers(settings: FileSettings) -> int | None:
    """Return how many layers the model has without those for multi-token prediction."""
    blocks = settings.metadata.get("block_count")
    return None if not isinstance(blocks, int) else blocks - int(settings.metadata.get("nextn_predict_layers", 0))
