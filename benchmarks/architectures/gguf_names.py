"""A GGUF file of a family, with the names that gguf's own table gives its tensors, read back by theorykit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gguf
import torch
from safetensors.torch import load_file

from .adapters import parameters_by_rows, place_of
from .matrices import tables_of

# where gguf's architecture is not called like transformers' model type
_OTHER_NAMES = {
    "cohere": "command-r",
    "deepseek_v2": "deepseek2",
    "deepseek_v3": "deepseek2",
    "falcon_mamba": "mamba",
    "gemma3_text": "gemma3",
    "gemma3n_text": "gemma3n",
    "gemma4_text": "gemma4",
    "glm": "chatglm",
    "gpt_bigcode": "starcoder",
    "gpt_neox": "gptneox",
    "granitemoehybrid": "granitehybrid",
    "hunyuan_v1_dense": "hunyuan-dense",
    "hunyuan_v1_moe": "hunyuan-moe",
    "internlm3": "llama",
    "llama4_text": "llama4",
    "mimo_v2_flash": "mimo2",
    "ministral3": "mistral3",
    "mistral": "llama",
    "mixtral": "llama",
    "olmo3": "olmo2",
    "phi": "phi2",
    "qwen3_5_text": "qwen35",
    "qwen3_5_moe_text": "qwen35moe",
    "rwkv": "",
}
_EXPERT = re.compile(r"^(.*experts)\.(\d+)\.(.*)$")


def architecture_of(model_type: str) -> str:
    """Return gguf's name of a family, or an empty string where it has none."""
    known = set(gguf.MODEL_ARCH_NAMES.values())
    names = (_OTHER_NAMES.get(model_type, model_type), model_type.replace("_", "-"), model_type.replace("_", ""))
    return next((name for name in names if name in known), "") if _OTHER_NAMES.get(model_type) != "" else ""


def write_gguf(folder: Path, live: Any, file: Path) -> dict[str, torch.Tensor]:
    """Write the folder's tensors as gguf names them, outputs × inputs; return what was written.

    Matrices per expert are stacked and fused gate and up matrices of experts are parted, as converters do.
    """
    config = live.config.get_text_config()
    architecture = architecture_of(live.config.model_type)
    arch = {name: key for key, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    blocks = int(config.num_hidden_layers)
    table = gguf.get_tensor_name_map(arch, blocks)
    tensors: dict[str, torch.Tensor] = {}
    for shard in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(shard)
    turned = _conv1d_names(live)
    stacks: dict[str, dict[int, torch.Tensor]] = {}
    flat: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        match = _EXPERT.match(name)
        if match:
            stacks.setdefault(f"{match[1]}.{match[3]}", {})[int(match[2])] = tensor
        else:
            flat[name] = tensor.T if name in turned else tensor
    flat |= {name: torch.stack([parts[index] for index in sorted(parts)]) for name, parts in stacks.items()}
    written: dict[str, torch.Tensor] = {}
    for name, tensor in flat.items():
        for part, values in _parted(name, tensor, config, table):
            stored = table.get_name(part, try_suffixes=(".weight", ".bias"))
            if stored and values.ndim in (1, 2, 3) and stored not in written:
                written[stored if stored.endswith((".weight", ".bias")) else f"{stored}.weight"] = values
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_block_count(blocks)
    used = next(
        (getattr(config, key) for key in ("num_experts_per_tok", "moe_topk", "moe_k") if getattr(config, key, None)), 0
    )
    if used:
        writer.add_expert_used_count(int(used))
    for name, tensor in written.items():
        writer.add_tensor(name, tensor.float().contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return written


def _conv1d_names(live: Any) -> set[str]:
    return {f"{name}.weight" for name, module in live.named_modules() if type(module).__name__ == "Conv1D"}


def _parted(name: str, tensor: torch.Tensor, config: Any, table: Any) -> list[tuple[str, torch.Tensor]]:
    """Return a stacked gate_up_proj as two stacks, outputs × inputs; everything else as it is."""
    if tensor.ndim != 3 or table.get_name(name, try_suffixes=(".weight",)) or not name.endswith("gate_up_proj"):
        if tensor.ndim == 3 and name.endswith(("down_proj", "gate_up_proj")) and tensor.shape[2] == config.hidden_size:
            tensor = tensor.mT if name.endswith("down_proj") and tensor.shape[1] != config.hidden_size else tensor
        return [(name, tensor)]
    if tensor.shape[2] != config.hidden_size:
        tensor = tensor.mT
    stem = name.removesuffix("gate_up_proj")
    gate, up = tensor.chunk(2, dim=1)
    return [(f"{stem}gate_proj", gate), (f"{stem}up_proj", up)]


def judge_gguf(folder: Path, live: Any) -> Any:
    """Say whether the names that theorykit gives the layers of a GGUF file are those of the modules that hold them."""
    from theorykit.errors import TheorykitError
    from theorykit.models.sources import open_weights

    from .judge import NONE, REFUSED, RIGHT, WRONG, Cell, one_line

    if not architecture_of(live.config.model_type):
        return Cell(NONE)
    file = folder.with_suffix(".gguf")  # beside the folder, whose own weights stay what they are
    if not any(tensor.ndim > 1 for tensor in write_gguf(folder, live, file).values()):
        return Cell(NONE)
    try:
        source = open_weights(file)
    except TheorykitError as error:
        return Cell(REFUSED, one_line(error.message))
    parameters = dict(live.named_parameters(remove_duplicate=False))
    rows = parameters_by_rows(parameters)
    lines, stored = [], []
    for layer in source.layers:
        name = re.sub(r"\[\d+\]$", "", layer.name)
        if name.startswith(("blk.", "output", "token_embd")):
            stored.append(name)
            continue
        claimed = name if name in parameters else f"{name}.weight"
        if claimed not in parameters:
            lines.append(f"no such module: {name}")
            continue
        with source.open(layer) as opened:
            matrix = torch.as_tensor(opened[:] if not isinstance(opened, torch.Tensor) else opened).float()
        place = place_of(matrix, rows)
        if place and place != claimed and parameters[place].data_ptr() != parameters[claimed].data_ptr():
            lines.append(f"{name}: the numbers are those of {place}")
    lines += _miscounted(source, live)
    if lines:
        return Cell(WRONG, lines[0], list(dict.fromkeys(lines)))
    return Cell(RIGHT, f"stored names stay: {stored[0]}" if stored else "")


def _miscounted(source: Any, live: Any) -> list[str]:
    """Return what is told as a layer to factor and is none: convolutions, state matrices, tables, heads, routers."""
    tables = tables_of(live)
    owners = dict(live.named_modules())
    lines = []
    for layer in source.layers:
        name = re.sub(r"\[\d+\]$", "", layer.name)
        owner = owners.get(name)
        if layer.factorable and (
            f"{name}.weight" in tables
            or (owner is not None and "Conv" in type(owner).__name__ and type(owner).__name__ != "Conv1D")
        ):
            lines.append(f"{name} is told as a layer to factor ({layer.kind})")
        if (
            layer.factorable
            and layer.name.startswith("blk.")
            and re.search(r"conv1d|ssm_a|ssm_d|norm|inp_gate|gate_inp|exp_probs", layer.name)
        ):
            lines.append(f"{name} is told as a layer to factor ({layer.kind})")
    return lines
