"""Models that transformers loads from GGUF files compute what they did before they were written."""

import math

import pytest
import torch
import transformers as hf

from tests.models.tiny_gguf import divergence, stored_tensors, write_runnable_gguf
from theorykit.errors import CheckpointError
from theorykit.models.gguf.settings import read_settings, restored_config
from theorykit.models.language_model import load_language_model

WIDTHS = {
    "vocab_size": 64,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}
GROUPED = WIDTHS | {"num_key_value_heads": 2, "intermediate_size": 96}
RMS = GROUPED | {"rms_norm_eps": 1e-3}
NUMBERS = {
    "block_count": 2,
    "context_length": 512,
    "embedding_length": 64,
    "feed_forward_length": 96,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "vocab_size": 64,
    "rope.freq_base": 5000.0,
    "attention.layer_norm_rms_epsilon": 1e-3,
}
LAYER_NORM = {key: value for key, value in NUMBERS.items() if "rms" not in key} | {"attention.layer_norm_epsilon": 1e-3}
ROUTED = {"expert_count": 4, "expert_used_count": 2}
SHORT, LONG = [1.0 + index / 10 for index in range(8)], [1.5 + 2 * index for index in range(8)]


def rope(**parameters):
    return {"rope_parameters": {"rope_type": "default", "rope_theta": 5000.0} | parameters}


CASES = {
    "llama": ("llama", hf.LlamaConfig(**RMS, **rope()), NUMBERS | {"rope.dimension_count": 16}),
    "biases": (
        "llama",
        hf.LlamaConfig(**RMS, **rope(), attention_bias=True, mlp_bias=True),
        NUMBERS | {"rope.dimension_count": 16},
    ),
    "wide heads": (
        "qwen3",
        hf.Qwen3Config(**RMS, **rope(), head_dim=32),
        NUMBERS | {"attention.key_length": 32},
    ),
    "experts": (
        "qwen2moe",
        hf.Qwen2MoeConfig(
            **RMS,
            **rope(),
            num_experts=4,
            num_experts_per_tok=2,
            moe_intermediate_size=48,
            shared_expert_intermediate_size=80,
        ),
        NUMBERS | ROUTED | {"expert_feed_forward_length": 48, "expert_shared_feed_forward_length": 80},
    ),
    "soft caps": (
        "gemma2",
        hf.Gemma2Config(
            **RMS,
            **rope(),
            head_dim=16,
            sliding_window=32,
            attn_logit_softcapping=20.0,
            final_logit_softcapping=10.0,
        ),
        NUMBERS
        | {"attention.key_length": 16, "attention.sliding_window": 32}
        | {"attn_logit_softcapping": 20.0, "final_logit_softcapping": 10.0},
    ),
    "window": (
        "phi3",
        hf.Phi3Config(**RMS, **rope(), sliding_window=40),
        NUMBERS | {"attention.sliding_window": 40, "rope.dimension_count": 16},
    ),
    "no window": (
        "phi3",
        hf.Phi3Config(**RMS, **rope(), sliding_window=None),
        NUMBERS | {"attention.sliding_window": 0, "rope.dimension_count": 16},
    ),
    "long and short divisors": (
        "phi3",
        hf.Phi3Config(
            **RMS,
            original_max_position_embeddings=64,
            **rope(
                rope_type="longrope",
                short_factor=SHORT,
                long_factor=LONG,
                original_max_position_embeddings=64,
                factor=8.0,
            ),
        ),
        NUMBERS
        | {"rope.dimension_count": 16, "rope.scaling.original_context_length": 64}
        | {"rope.scaling.attn_factor": math.sqrt(1 + math.log(8) / math.log(64))},
    ),
    "part of a head": (
        "phi3",
        hf.Phi3Config(**RMS, **rope(partial_rotary_factor=0.75)),
        NUMBERS | {"rope.dimension_count": 12},
    ),
    "base": ("starcoder2", hf.Starcoder2Config(**GROUPED, **rope(), norm_epsilon=1e-3), LAYER_NORM),
    "half a head": (
        "stablelm",
        hf.StableLmConfig(**GROUPED, **rope(partial_rotary_factor=0.5), layer_norm_eps=1e-3),
        LAYER_NORM | {"rope.dimension_count": 8},
    ),
    "norm": (
        "nemotron",
        hf.NemotronConfig(**GROUPED, **rope(partial_rotary_factor=0.25), norm_eps=1e-3),
        LAYER_NORM | {"rope.dimension_count": 4},
    ),
    "learned positions": (
        "gpt2",
        hf.GPT2Config(
            vocab_size=64,
            n_embd=64,
            n_layer=2,
            n_head=4,
            n_inner=96,
            n_positions=512,
            initializer_range=0.3,
            layer_norm_epsilon=1e-3,
        ),
        LAYER_NORM,
    ),
    "yarn": (
        "qwen2",
        hf.Qwen2Config(
            **RMS,
            **rope(
                rope_type="yarn",
                factor=8.0,
                original_max_position_embeddings=64,
                beta_fast=16.0,
                beta_slow=2.0,
                attention_factor=1.3,
            ),
        ),
        NUMBERS
        | {"rope.scaling.type": "yarn", "rope.scaling.factor": 8.0, "rope.scaling.original_context_length": 64}
        | {"rope.scaling.yarn_attn_factor": 1.3}
        | {"rope.scaling.yarn_beta_fast": 16.0, "rope.scaling.yarn_beta_slow": 2.0},
    ),
    "convolutions": (
        "lfm2",
        hf.Lfm2Config(
            **GROUPED, **rope(), norm_eps=1e-3, layer_types=["conv", "full_attention"], block_auto_adjust_ff_dim=False
        ),
        NUMBERS | {"attention.head_count_kv": [0, 2], "shortconv.l_cache": 3},
    ),
}


def build(config):
    """Build a model whose norms and biases are drawn as well, so that they cannot hide."""
    torch.manual_seed(0)
    module = hf.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return module


@pytest.mark.parametrize("case", CASES)
def test_a_loaded_model_computes_what_the_written_one_did(case, tmp_path):
    architecture, config, numbers = CASES[case]
    if architecture == "lfm2" and tuple(map(int, hf.__version__.split(".")[:2])) < (5, 23):
        pytest.skip("earlier releases cannot read its tokenizer")
    module = build(config)
    tensors = stored_tensors(module, architecture)
    if case == "long and short divisors":
        tensors |= {"rope_factors_short.weight": torch.tensor(SHORT), "rope_factors_long.weight": torch.tensor(LONG)}
    file = write_runnable_gguf(tmp_path / "m.gguf", tensors, architecture, numbers)
    loaded = load_language_model(str(file), device="cpu").module
    assert divergence(module, loaded) < 1e-8


def written(tmp_path, numbers=None, tensors=None, config=None, architecture="llama"):
    """Write a Llama with other numbers or more tensors."""
    module = build(config or hf.LlamaConfig(**RMS, **rope()))
    every = stored_tensors(module, architecture) | (tensors or {})
    return write_runnable_gguf(tmp_path / "m.gguf", every, architecture, NUMBERS | (numbers or {}))


@pytest.mark.parametrize(
    ("numbers", "tensors", "match"),
    [
        ({"embedding_scale": 12.0}, {}, "embedding_scale 12, and transformers' model has no such number"),
        ({"logit_scale": 0.5}, {}, "logit_scale 0.5"),
        ({"final_logit_softcapping": 30.0}, {}, "final_logit_softcapping 30"),
        ({"attention.causal": False}, {}, "sees later tokens"),
        ({"rope.scaling.type": "dynamic", "rope.scaling.factor": 2.0}, {}, r"stretches positions \(dynamic by 2\)"),
        ({"attention.key_length": 16, "rope.dimension_count": 8}, {}, "turns 8 dimensions.*transformers' model 16"),
        ({}, {"blk.0.attn_q_norm.weight": torch.ones(16)}, r"no place for 1 .* among them blk.0.attn_q_norm.weight"),
        ({}, {"blk.1.attn_q.bias": torch.ones(64)}, r"no place for 1 .* among them blk.1.attn_q.bias"),
        ({}, {"blk.0.ffn_up.weight": torch.ones(80, 64)}, "other shapes? than"),
    ],
)
def test_what_changes_the_logits_and_has_no_place_is_refused(numbers, tensors, match, tmp_path):
    file = written(tmp_path, numbers, tensors)
    with pytest.raises(CheckpointError, match=match) as caught:
        load_language_model(str(file), device="cpu")
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_neutral_numbers_are_no_reason_to_refuse(tmp_path):
    numbers = {
        "embedding_scale": 1.0,
        "residual_scale": 1.0,
        "final_logit_softcapping": 0.0,
        "rope.scaling.type": "none",
    }
    load_language_model(str(written(tmp_path, numbers)), device="cpu")


def test_blocks_that_predict_several_tokens_are_left_out(tmp_path):
    tensors = {"blk.2.nextn.eh_proj.weight": torch.ones(64, 64)}
    file = written(tmp_path, {"nextn_predict_layers": 1, "block_count": 3}, tensors)
    with pytest.raises(CheckpointError, match="lacks 9 of the model's weights"):
        load_language_model(str(file), device="cpu")


def test_the_largest_gemma_divides_queries_by_another_width(tmp_path):
    config = hf.Gemma2Config(**RMS, **rope(), head_dim=16)
    numbers = {"attention.key_length": 16, "block_count": 46}
    file = written(tmp_path, numbers, config=config, architecture="gemma2")
    assert restored_config(file, read_settings(file)).query_pre_attn_scalar == 16
    file = written(tmp_path, {"attention.key_length": 16}, config=config, architecture="gemma2")
    assert restored_config(file, read_settings(file)).query_pre_attn_scalar == 256


def test_what_a_file_says(tmp_path):
    settings = read_settings(written(tmp_path, tensors={"rope_freqs.weight": torch.tensor([1.0, 2.0])}))
    assert settings.architecture == "llama"
    assert settings.metadata["attention.head_count_kv"] == 2
    assert "blk.1.ffn_up.weight" in settings.tensors
    assert settings.divisors == {"rope_freqs": [1.0, 2.0]}
