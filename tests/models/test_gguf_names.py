"""The names of a GGUF file's matrices: those of the file's own family, never of another."""

import gguf
import numpy as np
import pytest
import torch
from transformers import (
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    GptOssConfig,
    GptOssForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
)

from tests.models.tiny_gguf import stored_tensors, write_runnable_gguf
from theorykit.models.gguf.families import built_parameters, model_type_of
from theorykit.models.gguf.names import join, joined_shape, stored_names, stored_parameters, unread_tensors
from theorykit.models.sources import module_source, open_weights

MATRIX, STACK = (8, 8), (4, 8, 8)
WIDTHS = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}


def all_tensors(architecture):
    """Return a shape for each tensor that gguf knows of an architecture, for one layer."""
    key = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == architecture)
    names = [gguf.TENSOR_NAMES[tensor].format(bid=0) for tensor in gguf.MODEL_TENSORS[key]]
    return {f"{name}.weight": STACK if "_exps" in name else MATRIX for name in names}


def names(architecture, shapes, n_layers=None):
    return {part.name for part in stored_parameters(architecture, shapes, n_layers)}


FAMILIES = [
    ("gemma2", set()),
    ("phi2", {"blk.0.attn_qkv.weight"}),
    ("phi3", {f"blk.0.attn_{name}.weight" for name in "qkv"}),
    ("starcoder2", set()),
    ("glm4", {"blk.0.attn_qkv.weight"}),
    ("lfm2moe", set()),
    ("jamba", set()),
    ("nemotron_h_moe", set()),
    ("granitehybrid", {*(f"blk.0.ffn_{name}.weight" for name in ("gate", "up", "down"))}),
    ("kimi-linear", {f"blk.0.attn_{name}.weight" for name in ("q_a", "q_b", "k_b", "v_b")}),
    ("dbrx", set()),
    ("llama4", set()),
    ("qwen35", set()),
    ("qwen3vl", set()),
    ("gptneox", set()),
    ("mpt", {"blk.0.ffn.weight", "position_embd.weight"}),
]


@pytest.mark.parametrize(("architecture", "kept"), FAMILIES, ids=[family for family, _ in FAMILIES])
def test_names_are_those_of_the_own_family(architecture, kept):
    shapes = {
        name: shape for name, shape in all_tensors(architecture).items() if "nextn" not in name and "ssm_dt" not in name
    }
    found = names(architecture, shapes)
    model = built_parameters(model_type_of(architecture, shapes))
    assert {name for name in found if name not in model} == kept
    assert len(found - kept) > 5


@pytest.mark.parametrize("architecture", ["rwkv6", "rwkv7", "internlm2", "bert", "exaone", "no-such-thing"])
def test_a_family_that_transformers_has_not_keeps_the_names_of_the_file(architecture):
    shapes = {"token_embd.weight": MATRIX, "blk.0.attn_output.weight": MATRIX, "blk.0.ffn_up.weight": MATRIX}
    assert names(architecture, shapes) == set(shapes)


def test_what_is_no_matrix_is_left_out():
    left = ["blk.0.ssm_conv1d.weight", "blk.0.ssm_a", "blk.0.ssm_d", "blk.0.ssm_conv1d_q.weight"]
    left += ["blk.0.time_mix_first.weight", "blk.0.time_mix_lerp_k.weight", "blk.0.attn_rel_b.weight"]
    left += ["rope_freqs.weight", "blk.0.shortconv.conv.weight", "blk.0.exp_probs_b.bias", "blk.0.attn_sinks.weight"]
    left += ["blk.0.attn_norm.weight", "blk.0.altup_correct_scale.weight"]
    for architecture in ("mamba", "kimi-linear", "rwkv6", "t5", "no-such-thing"):
        assert names(architecture, dict.fromkeys([*left, "blk.0.ssm_x.weight"], MATRIX)) in (
            {"blk.0.ssm_x.weight"},
            {"backbone.layers.0.mixer.x_proj.weight"},
        )
    roles = {part.name: part.role for part in stored_parameters("gemma3n", all_tensors("gemma3n"))}
    assert roles["model.embed_tokens_per_layer.weight"] == "embedding"
    assert {part.role for part in stored_parameters("made-up", {"per_layer_token_embd.weight": MATRIX})} == {
        "embedding"
    }


def test_blocks_that_predict_several_tokens_are_no_layers_of_the_model():
    shapes = dict.fromkeys(["blk.0.ffn_up.weight", "blk.1.ffn_up.weight", "blk.1.nextn.eh_proj.weight"], MATRIX)
    assert names("glm4moe", shapes, n_layers=1) == {
        "model.layers.0.mlp.up_proj.weight",
        "blk.1.ffn_up.weight",
        "blk.1.nextn.eh_proj.weight",
    }


def test_a_stack_of_modules_is_taken_apart():
    shapes = {"altup_proj.weight": (3, 8, 8)}
    assert [(part.name, part.parts) for part in stored_parameters("gemma3n", shapes)] == [
        (f"model.altup_projections.{index}.weight", (("altup_proj.weight", index),)) for index in range(3)
    ]
    assert names("made-up", shapes) == set(shapes)


def test_keys_and_values_that_are_stored_twice_count_once():
    shapes = {
        "blk.0.attn_kv_b.weight": (4 * (6 + 16), 8),
        "blk.0.attn_k_b.weight": (4, 8, 6),
        "blk.0.attn_v_b.weight": (4, 16, 8),
    }
    assert names("deepseek2", shapes) == {"model.layers.0.self_attn.kv_b_proj.weight"}


def test_parts_that_do_not_fit_keep_their_names():
    assert joined_shape([(8, 4), (6, 4)], "rows") == (14, 4)
    assert joined_shape([(8, 4), (6, 5)], "rows") is None
    assert joined_shape([(8, 4), (6, 4)], "alternating") is None
    assert joined_shape([(2, 8, 4), (3, 5, 8)], "heads") is None
    shapes = {"blk.0.ffn_gate_exps.weight": (4, 8, 8), "blk.0.ffn_up_exps.weight": (3, 8, 8)}
    assert names("qwen3moe", shapes) == set(shapes)
    alone = {"blk.0.ffn_up_exps.weight": STACK}
    assert names("qwen3moe", alone) == set(alone)


def mixtral():
    return MixtralForCausalLM(MixtralConfig(**WIDTHS, **HEADS, num_local_experts=4))


def gpt_oss():
    return GptOssForCausalLM(GptOssConfig(**WIDTHS, **HEADS, head_dim=8, num_local_experts=4))


def deepseek():
    latent = {"q_lora_rank": 12, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 10}
    routed = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 20, "n_group": 1}
    widths = WIDTHS | latent | routed | {"first_k_dense_replace": 1, "topk_group": 1}
    return DeepseekV3ForCausalLM(DeepseekV3Config(**widths, num_attention_heads=4))


def split_latent(tensors):
    """Store keys and values of latent attention as llama.cpp does: apart, and the keys turned."""
    for name in [name for name in tensors if name.endswith("attn_kv_b.weight")]:
        keys, values = tensors.pop(name).reshape(4, 18, 16).split([8, 10], dim=1)
        tensors |= {name.replace("kv_b", "k_b"): keys.transpose(1, 2), name.replace("kv_b", "v_b"): values}
    return tensors


@pytest.mark.parametrize(("build", "architecture"), [(mixtral, "llama"), (gpt_oss, "gpt-oss"), (deepseek, "deepseek2")])
def test_a_parameter_in_pieces_is_the_one_of_the_model(build, architecture, tmp_path):
    torch.manual_seed(0)
    module = build()
    tensors = split_latent(stored_tensors(module, architecture))
    numbers = {"block_count": 2, "expert_used_count": 2}
    source = open_weights(write_runnable_gguf(tmp_path / "m.gguf", tensors, architecture, numbers))
    parameters = dict(module.named_parameters())
    fused = {layer.name.partition("[")[0].rpartition(".")[2] for layer in source.layers if layer.fused}
    assert "gate_up_proj" in fused
    assert {layer.tensor for layer in source.layers} == {layer.tensor for layer in module_source(module).layers}
    permuted = ("q_proj", "k_proj") if architecture == "llama" else ()
    for layer in source.layers:
        weight = parameters[layer.tensor].detach()
        weight = weight if layer.expert is None else weight[layer.expert]
        if architecture == "gpt-oss" and layer.expert is not None:
            weight = weight.T  # inputs before outputs in the model
        with source.open(layer) as matrix:
            assert matrix.shape == layer.shape == tuple(weight.shape)
            if not layer.name.endswith(permuted):
                assert np.array_equal(matrix, weight.numpy())
        assert layer.active_share == (0.5 if layer.expert is not None else 1.0)


def test_gate_and_up_in_one_matrix_are_fused_under_any_name(tmp_path):
    tensors = {"blk.0.ffn_up.weight": torch.randn(32, 8), "blk.0.ffn_down.weight": torch.randn(8, 16)}
    source = open_weights(write_runnable_gguf(tmp_path / "m.gguf", tensors, "codeshell", {"block_count": 1}))
    assert {layer.name: layer.fused for layer in source.layers} == {"blk.0.ffn_down": False, "blk.0.ffn_up": True}


def test_rows_are_joined_as_the_layout_says():
    gate, up = torch.zeros(2, 3).numpy(), torch.ones(2, 3).numpy()
    assert join([gate, up], "rows")[:, 0].tolist() == [0, 0, 1, 1]
    assert join([gate, up], "alternating")[:, 0].tolist() == [0, 1, 0, 1]


def test_one_architecture_does_not_change_the_names_of_the_next():
    before = dict(stored_names("llama"))
    stored_names("arctic")
    assert dict(stored_names("llama")) == before


def test_tensors_that_a_model_does_not_take_are_named():
    module = mixtral()
    tensors = [*stored_tensors(module, "llama"), "rope_freqs.weight"]
    assert unread_tensors(module, "llama", tensors) == []
    assert unread_tensors(module, "llama", [*tensors, "blk.1.attn_q.bias"]) == ["blk.1.attn_q.bias"]
    assert unread_tensors(module, "llama", [*tensors, "blk.2.nextn.eh_proj.weight"], n_layers=2) == []
