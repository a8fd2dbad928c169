"""Stretched positions of GGUF files, put back into the configuration: the angles are those that the file says."""

import math

import pytest
import torch
from transformers import Gemma3TextConfig, GPT2Config, LlamaConfig, Phi3Config
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from theorykit.errors import CheckpointError
from theorykit.models.gguf.positions import read_stretching, restore_positions

WIDTHS = {"hidden_size": 128, "num_attention_heads": 2, "max_position_embeddings": 131072, "vocab_size": 64}
BASE = 500000.0


def llama(**parameters):
    return LlamaConfig(**WIDTHS, rope_parameters={"rope_type": "default", "rope_theta": BASE} | parameters)


def frequencies(config):
    rotary = LlamaRotaryEmbedding(config)
    return rotary.inv_freq, rotary.attention_scaling


def restored(metadata, divisors=None, config=None):
    config = config or llama()
    restore_positions(config, metadata, divisors or {})
    return config


def scaling(**values):
    return {f"rope.scaling.{key}": value for key, value in values.items()}


def assert_same_angles(config, right):
    (told, told_scale), (true, true_scale) = frequencies(config), frequencies(right)
    torch.testing.assert_close(told, true, rtol=1e-6, atol=0)
    assert told_scale == pytest.approx(true_scale, rel=1e-6)


@pytest.mark.parametrize(
    ("metadata", "parameters"),
    [
        ({}, {}),
        (scaling(type="none", factor=4.0), {}),
        (scaling(type="linear", factor=1.0), {}),
        (scaling(type="linear", factor=8.0), {"rope_type": "linear", "factor": 8.0}),
        (scaling(factor=8.0), {"rope_type": "linear", "factor": 8.0}),
        ({"rope.scale_linear": 8.0}, {"rope_type": "linear", "factor": 8.0}),
        (
            scaling(type="yarn", factor=4.0, original_context_length=4096, finetuned=True),
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096},
        ),
        (
            scaling(
                type="yarn",
                factor=4.0,
                original_context_length=4096,
                yarn_ext_factor=1.0,
                yarn_attn_factor=1.5,
                yarn_beta_fast=20.0,
                yarn_beta_slow=2.0,
            ),
            {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 4096,
                "attention_factor": 1.5,
                "beta_fast": 20.0,
                "beta_slow": 2.0,
            },
        ),
        (
            scaling(type="yarn", factor=4.0, original_context_length=4096, attn_factor=0.5),
            {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 4096,
                "attention_factor": 0.5 * (0.1 * math.log(4.0) + 1.0),
            },
        ),
    ],
)
def test_stretching_that_the_metadata_say(metadata, parameters):
    assert_same_angles(restored(metadata), llama(**parameters))


@pytest.mark.parametrize(
    ("factor", "low", "high", "length"), [(8.0, 1.0, 4.0, 8192), (32.0, 1.0, 4.0, 8192), (16.0, 1.0, 8.0, 4096)]
)
def test_the_divisors_of_llama_3_become_its_parameters(factor, low, high, length):
    right = llama(
        rope_type="llama3",
        factor=factor,
        low_freq_factor=low,
        high_freq_factor=high,
        original_max_position_embeddings=length,
    )
    divisors = frequencies(llama())[0] / frequencies(right)[0]
    config = restored({}, {"rope_freqs": divisors.tolist()})
    assert config.rope_parameters == right.rope_parameters
    assert_same_angles(config, right)


def test_any_other_divisors_are_kept_exactly():
    divisors = torch.linspace(1.0, 7.0, 32)
    config = restored({}, {"rope_freqs": divisors.tolist()})
    config.validate_rope()
    told, scale = frequencies(config)
    torch.testing.assert_close(told, frequencies(llama())[0] / divisors, rtol=1e-6, atol=0)
    assert scale == 1.0
    rotary = LlamaRotaryEmbedding(config)
    rotary(torch.zeros(1, 1), torch.arange(200)[None])
    torch.testing.assert_close(rotary.inv_freq, told, rtol=0, atol=0)


def test_divisors_of_one_change_nothing():
    assert restored({}, {"rope_freqs": [1.0] * 32}).rope_parameters == llama().rope_parameters


def test_long_and_short_divisors():
    short, long = [1.0 + index / 10 for index in range(32)], [2.0 + index for index in range(32)]
    factors = {"rope_factors_short": short, "rope_factors_long": long}
    config = Phi3Config(**WIDTHS, pad_token_id=0, original_max_position_embeddings=2048)
    restore_positions(config, scaling(original_context_length=4096, attn_factor=1.19), factors)
    assert config.original_max_position_embeddings == 4096
    parameters = config.rope_parameters
    assert (parameters["rope_type"], parameters["attention_factor"]) == ("longrope", 1.19)
    assert (parameters["short_factor"], parameters["long_factor"]) == (short, long)
    assert parameters["original_max_position_embeddings"] == 4096
    assert parameters["factor"] == 32.0


def test_base_and_turned_width():
    config = restored({"rope.freq_base": 12345.0, "rope.dimension_count": 64})
    assert config.rope_parameters == {"rope_type": "default", "rope_theta": 12345.0}
    partial = Phi3Config(**WIDTHS, pad_token_id=0)
    restore_positions(partial, {"rope.dimension_count": 48}, {})
    assert partial.rope_parameters["partial_rotary_factor"] == 0.75


def test_layers_with_a_window_are_not_stretched():
    config = Gemma3TextConfig(**WIDTHS, head_dim=64)
    metadata = scaling(type="linear", factor=8.0) | {"rope.freq_base": 5000.0, "rope.freq_base_swa": 3000.0}
    restore_positions(config, metadata, {})
    assert config.rope_parameters == {
        "full_attention": {"rope_type": "linear", "rope_theta": 5000.0, "factor": 8.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 3000.0},
    }


def test_divisors_that_only_say_what_is_not_turned():
    config = llama(rope_type="proportional", partial_rotary_factor=0.25)
    before = dict(config.rope_parameters)
    restore_positions(config, {}, {"rope_freqs": [1.0] * 8 + [1e30] * 24})
    assert config.rope_parameters == before


@pytest.mark.parametrize(
    ("metadata", "divisors", "match"),
    [
        (scaling(type="dynamic", factor=4.0), {}, r"dynamic by 4\), and transformers does not know it"),
        (scaling(type="longrope"), {}, "longrope.*lacks its divisors"),
        (scaling(type="yarn"), {}, "yarn.*does not say by how much"),
        (scaling(type="yarn", factor=4.0, yarn_ext_factor=0.5), {}, "yarn by 4.*yarn_ext_factor 1"),
        (scaling(type="yarn", factor=4.0, yarn_log_multiplier=0.1), {}, "yarn by 4.*yarn_log_multiplier"),
        (scaling(type="yarn", factor=4.0, alpha=2.0), {}, "yarn by 4.*alpha"),
        (scaling(type="linear", factor=4.0, attn_factor=2.0), {}, "linear by 4.*attention by 2"),
        (scaling(type="linear", factor=4.0), {"rope_freqs": [2.0] * 32}, "linear by 4.*rope_freqs as well"),
    ],
)
def test_what_transformers_cannot_do_is_refused_by_name(metadata, divisors, match):
    with pytest.raises(CheckpointError, match=match) as caught:
        restored(metadata, divisors)
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_a_model_without_rotary_positions():
    config = GPT2Config()
    restore_positions(config, {}, {})
    with pytest.raises(CheckpointError, match=r"rope_freqs\), and the model has no rotary positions"):
        restore_positions(config, {}, {"rope_freqs": [2.0]})


def test_what_a_file_says_of_stretching():
    stretching = read_stretching(scaling(type="yarn", factor=2.0, original_context_length=64, yarn_beta_fast=8.0), {})
    assert (stretching.kind, stretching.factor, stretching.original_length) == ("yarn", 2.0, 64)
    assert stretching.numbers == {"yarn_beta_fast": 8.0}
    assert read_stretching({}, {}).kind == "none"
