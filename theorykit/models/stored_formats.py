"""Stored tensors that are no plain weights: quantised formats and adapters that were not merged, refused by name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from theorykit.errors import CheckpointError
from theorykit.plugin import METHOD as LOW_RANK_METHOD

if TYPE_CHECKING:
    import torch

_FLOATS = frozenset({"f64", "f32", "f16", "bf16", "float64", "float32", "float16", "bfloat16"})
_NO_WEIGHTS = frozenset({"i64", "bool", "int64", "c64", "c128", "complex64", "complex128"})
"""Ids, masks and tables of rotations: formats that quantise take narrower types."""
_WIDE = frozenset({"i32", "u32", "i16", "u16", "u64", "int32", "uint32", "int16", "uint16", "uint64"})
_IDS = re.compile(r"(position_ids|token_type_ids|relative_position_index|relative_coords_table|tid2eid)$")
_MASK = re.compile(r"(^|\.)(bias|masked_bias|mask|\w+_mask)$")
_PACKED = re.compile(
    r"(^|\.)(qweight|qzeros|W_q|Qidxs|SCB|_weight_(qdata|scale|zero_point)|"
    r"weight(_packed|_scale|_scale_inv|_scale_2|_global_scale|_zero_point|_format|_blocks|_scales)|"
    r"weight\.(absmax|quant_map|nested_absmax|nested_quant_map|_data|_scale)|\w+_(blocks|scale_inv))$"
    r"|\.quant_state\."
)
"""Companions of packed weights, in the types of floating point too."""
_ADAPTER = re.compile(
    r"(^|\.)(base_layer|lora_(A|B|E|embedding_A|embedding_B|magnitude_vector|diag)|hada_w[12]_[ab]|lokr_w[12](_[ab])?|"
    r"oft_[RrSs]|boft_[RS]|vera_lambda_[bd]|ia3_l|modules_to_save|original_module)(\.|$)"
)
_ADAPTER_HINT = "merge it into its model first: peft's merge_and_unload(), then save_pretrained()"
_PLAIN_HINT = "give the model in float32, bfloat16 or float16, or as GGUF"
_SIDE_FILES = ("hf_quant_config.json", "quantize_config.json", "quant_config.json")
"""In which older tools and NVIDIA's say how the weights were quantised."""


def refuse_unreadable(name: str, shape: tuple[int, ...], dtype: str) -> None:
    """Raise where a tensor belongs to a quantised format or to an adapter, whatever it is called.

    Vectors of ids and masks may be of any whole type.

    Args:
        name: Of the tensor, with or without its file.
        shape: As stored.
        dtype: As safetensors (``U8``) or torch (``uint8``) call it.

    Raises:
        CheckpointError: it does.
    """
    tensor, kind = name.rpartition(": ")[2], dtype.lower()
    if _ADAPTER.search(tensor):
        raise CheckpointError(f"{name} belongs to an adapter that was not merged", _ADAPTER_HINT)
    if kind not in _FLOATS | _NO_WEIGHTS and not _is_harmless(tensor, shape, kind):
        raise CheckpointError(f"{name} is stored as {dtype}, a quantised type", _PLAIN_HINT)
    if _PACKED.search(tensor):
        raise CheckpointError(f"{name} belongs to a quantised layer", _PLAIN_HINT)


def _is_harmless(name: str, shape: tuple[int, ...], kind: str) -> bool:
    """Tell whether a tensor of a narrow type is a number, a mask or ids rather than weights."""
    sides = [size for size in shape if size != 1]
    if not sides or _IDS.search(name):
        return True
    if is_mask(name, shape):
        return True
    return len(sides) == 1 and kind in _WIDE


def is_mask(name: str, shape: tuple[int, ...]) -> bool:
    """Tell whether a stored tensor is a mask of attention, as older files of GPT-2 hold one in each layer."""
    sides = [size for size in shape if size != 1]
    return bool(_MASK.search(name)) and len(sides) == 2 and sides[0] == sides[1]


def refuse_quantised_config(name: str, folder: Path, config: Mapping[str, Any]) -> None:
    """Raise where the configuration, or a file beside it, says that the weights are quantised.

    Raises:
        CheckpointError: it does; the method is named where it is known.
    """
    method = quantisation_method(config)
    for file in _SIDE_FILES if method is None else ():
        if (folder / file).is_file():
            method = _side_method(folder / file)
    if method == LOW_RANK_METHOD:
        raise CheckpointError(
            f"{name} holds layers of smaller rank, written by theorykit compress",
            f"multiply them out first: theorykit expand {folder} -o DIR",
        )
    if method is not None:
        raise CheckpointError(f"{name} is quantised ({method}, says its configuration)", _PLAIN_HINT)


def quantisation_method(config: Mapping[str, Any]) -> str | None:
    """Return how a configuration, or one nested in it, says that the weights are quantised; None where it does not.

    Example:
        >>> quantisation_method({"text_config": {"quantization_config": {"quant_method": "awq"}}})
        'awq'
    """
    for key in ("quantization_config", "compression_config"):
        settings = config.get(key)
        if not isinstance(settings, Mapping) or not settings:
            continue
        method = settings.get("quant_method") or settings.get("quant_algo") or settings.get("quantization_method")
        bits = {name: settings[name] for name in ("load_in_4bit", "load_in_8bit") if name in settings}
        if bits and not any(bits.values()):
            continue  # bitsandbytes switched off
        return str(method or ("bitsandbytes" if bits else "an unnamed method"))
    for nested in config.values():
        if isinstance(nested, Mapping) and (method := quantisation_method(nested)) is not None:
            return method
    return None


def _side_method(file: Path) -> str | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return file.name
    settings = content.get("quantization", content) if isinstance(content, dict) else {}
    method = settings.get("quant_method") or settings.get("quant_algo") if isinstance(settings, dict) else None
    return str(method or file.name)


def refuse_adapter_folder(folder: Path) -> None:
    """Raise where a folder holds an adapter, which transformers would lay over the weights beside it.

    Raises:
        CheckpointError: it does.
    """
    if (folder / "adapter_config.json").is_file():
        raise CheckpointError(f"{folder} holds an adapter that was not merged (adapter_config.json)", _ADAPTER_HINT)


def refuse_quantised_module(module: torch.nn.Module) -> None:
    """Raise where a live module holds quantised weights, as parameters, as buffers or packed in a tensor's subclass.

    Raises:
        CheckpointError: it does.
    """
    import torch

    for name, part in module.named_modules():
        if hasattr(part, "_packed_params") or type(part).__module__.startswith("torch.ao.nn.quantized"):
            raise CheckpointError(f"{name} is a {type(part).__name__}, a quantised layer", _PLAIN_HINT)
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        kind = type(tensor)
        if kind.__module__.partition(".")[0] in ("torchao", "optimum", "quanto", "bitsandbytes", "hqq"):
            raise CheckpointError(f"{name} is a {kind.__name__}, a quantised tensor", _PLAIN_HINT)
    for name, buffer in module.named_buffers():
        if isinstance(buffer, torch.Tensor):
            refuse_unreadable(name, tuple(buffer.shape), str(buffer.dtype).removeprefix("torch."))
