"""Quantised formats and adapters are refused by name, whatever their tensors are called; masks and ids do no harm."""

import json

import pytest
import torch
from safetensors.torch import save_file

from tests.models.tiny import edit_safetensors, tiny_llama
from theorykit.errors import CheckpointError
from theorykit.models.language_model import load_language_model
from theorykit.models.sources import module_source, open_weights
from theorykit.models.stored_formats import quantisation_method

BYTES, SCALES = torch.ones(48, 32, dtype=torch.int8), torch.rand(48, 2)
STORED = {
    "torchao": {"_weight_qdata": BYTES, "_weight_scale": SCALES},
    "torchao in floats": {"_weight_scale": SCALES},
    "hqq": {"W_q": torch.zeros(48, 16, dtype=torch.uint8), "scale": torch.rand(96, 1)},
    "quanto": {"weight._data": BYTES, "weight._scale": torch.rand(48, 1)},
    "aqlm": {"codes": torch.zeros(48, 4, 1, dtype=torch.int16), "codebooks": torch.rand(1, 256, 1, 8)},
    "vptq": {"indices": torch.zeros(1, 48, 8, dtype=torch.int32), "centroids.weight": torch.rand(1, 256)},
    "quip": {"Qidxs": torch.zeros(48, 4, dtype=torch.int16), "SU": torch.rand(32)},
    "bitsandbytes": {"weight": torch.zeros(768, 1, dtype=torch.uint8), "weight.absmax": torch.rand(24)},
    "gptq": {"qweight": torch.zeros(4, 48, dtype=torch.int32), "scales": torch.rand(1, 48)},
    "fp8": {"weight": torch.ones(48, 32).to(torch.float8_e4m3fn), "weight_scale_inv": torch.rand(1, 1)},
    "fp8 scales": {"weight": torch.ones(48, 32), "scale": torch.ones(48, 2).to(torch.float8_e8m0fnu)},
    "fp8 read as floats": {"weight": torch.ones(48, 32), "weight_scale_inv": torch.rand(1, 1)},
    "unknown": {"thing": torch.zeros(48, 4, 3, dtype=torch.uint8)},
    "unknown, flat": {"thing": torch.zeros(768, dtype=torch.uint8)},
}


def with_layer(tensors):
    named = {f"model.layers.0.mlp.up_proj.{name}": tensor for name, tensor in tensors.items()}
    return {"model.embed_tokens.weight": torch.randn(64, 32)} | named


def refused(path, match, **options):
    with pytest.raises(CheckpointError, match=match) as caught:
        open_weights(path, **options)
    assert "\n" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("method", STORED)
def test_tensors_of_a_quantised_format(method, tmp_path):
    save_file(with_layer(STORED[method]), tmp_path / "model.safetensors")
    refused(tmp_path, r"model\.layers\.0\.mlp\.up_proj\.\S+ .* quantised")
    torch.save(with_layer(STORED[method]), tmp_path / "model.pt")
    refused(tmp_path / "model.pt", "quantised", allow_pickle=True)


@pytest.mark.parametrize(
    ("config", "method"),
    [
        ({"quantization_config": {"quant_method": "torchao"}}, "torchao"),
        ({"quantization_config": {"quant_algo": "NVFP4"}}, "NVFP4"),
        ({"quantization_config": {"load_in_4bit": True}}, "bitsandbytes"),
        ({"text_config": {"quantization_config": {"quant_method": "awq"}}}, "awq"),
        ({"compression_config": {"quant_method": "compressed-tensors"}}, "compressed-tensors"),
        ({"quantization_config": {"bits": 4}}, "an unnamed method"),
        ({"quantization_config": {"load_in_4bit": False, "load_in_8bit": False}}, None),
        ({"quantization_config": None}, None),
        ({"quantization_config": {}}, None),
        ({}, None),
    ],
)
def test_a_configuration_that_says_so(config, method, tmp_path):
    assert quantisation_method(config) == method
    save_file({"b.weight": torch.ones(4, 4)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    if method is None:
        assert len(open_weights(tmp_path).layers) == 1
    else:
        refused(tmp_path, rf"is quantised \({method}, says its configuration\)")
        refused(tmp_path / "model.safetensors", f"is quantised .{method}")


@pytest.mark.parametrize("content", ['{"quantization": {"quant_algo": "FP8"}}', '{"quant_method": "FP8"}', "{", "[]"])
@pytest.mark.parametrize("name", ["hf_quant_config.json", "quantize_config.json", "quant_config.json"])
def test_a_file_beside_the_configuration_that_says_so(name, content, tmp_path):
    save_file({"b.weight": torch.ones(4, 4)}, tmp_path / "model.safetensors")
    (tmp_path / name).write_text(content)
    refused(tmp_path, rf"is quantised \({'FP8' if 'FP8' in content else name}")


@pytest.mark.parametrize(
    "name",
    [
        "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight",
        "model.layers.0.mlp.up_proj.lora_B.default.weight",
        "model.layers.0.mlp.up_proj.base_layer.weight",
        "model.layers.0.mlp.up_proj.lora_magnitude_vector.weight",
        "model.embed_tokens.lora_embedding_A.default",
        "lm_head.modules_to_save.default.weight",
        "model.layers.0.mlp.up_proj.hada_w1_a",
    ],
)
def test_adapters_that_were_not_merged(name, tmp_path):
    save_file({"b.weight": torch.ones(4, 4), name: torch.ones(4, 3)}, tmp_path / "model.safetensors")
    refused(tmp_path, "belongs to an adapter that was not merged")


def test_an_adapter_beside_the_weights(llama_folder):
    (llama_folder / "adapter_config.json").write_text("{}")
    for path in (llama_folder, llama_folder / "model.safetensors"):
        refused(path, "holds an adapter that was not merged")
    with pytest.raises(CheckpointError, match="holds an adapter"):
        load_language_model(str(llama_folder), device="cpu")


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_a_live_module_with_an_adapter():
    peft = pytest.importorskip("peft")
    module = peft.get_peft_model(tiny_llama(), peft.LoraConfig(r=2, target_modules=["up_proj"]))
    with pytest.raises(CheckpointError, match=r"up_proj\.\S+ belongs to an adapter"):
        module_source(module)
    assert len(module_source(module.merge_and_unload()).layers) == 16


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32, torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("kind", ["parameter", "buffer"])
def test_a_live_module_with_quantised_weights(kind, dtype):
    module, weight = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 6)), torch.ones(6, 4).to(dtype)
    if kind == "parameter":
        module[1].weight = torch.nn.Parameter(weight, requires_grad=False)
    else:
        module[1].weight = None
        module[1].register_buffer("qweight", weight)
    with pytest.raises(CheckpointError, match=r"^1\.q?weight is stored as \w+, a quantised type"):
        module_source(module)


def test_a_live_module_with_packed_layers():
    module = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 6))
    module.append(torch.nn.Module())
    module[2]._packed_params = object()  # as torch.ao's dynamic layers have, which cannot be built on all processors
    with pytest.raises(CheckpointError, match="2 is a Module, a quantised layer"):
        module_source(module)


def test_masks_ids_and_rotations_do_no_harm(llama_folder):
    extra = {
        "model.layers.0.attn.bias": torch.ones(1, 1, 8, 8, dtype=torch.uint8),
        "model.layers.0.attn.causal_mask": torch.ones(8, 8, dtype=torch.int8),
        "model.position_ids": torch.arange(8, dtype=torch.int32)[None],
        "model.relative_position_index": torch.ones(8, 8, dtype=torch.int32),
        "model.layers.0.num_batches_tracked": torch.tensor(3, dtype=torch.uint8),
        "model.freqs_cis": torch.ones(8, 4, dtype=torch.complex64),
    }
    edit_safetensors(llama_folder, lambda tensors: tensors | extra)
    assert len(open_weights(llama_folder).layers) == 16
