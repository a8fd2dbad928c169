"""The family of an architecture of GGUF, and what the model that transformers builds for it consists of."""

import pytest
from transformers import AutoConfig

from theorykit.models.gguf.families import _LLAMA, built_parameters, family_parameters, model_type_of


@pytest.mark.parametrize(
    ("architecture", "tensors", "model_type"),
    [
        ("llama", ["blk.0.ffn_up.weight"], "llama"),
        ("llama", ["blk.3.ffn_up_exps.weight"], "mixtral"),
        ("phi2", [], "phi"),
        ("gemma3", [], "gemma3_text"),
        ("command-r", [], "cohere"),
        ("qwen3moe", [], "qwen3_moe"),
        ("gpt-oss", [], "gpt_oss"),
        ("chatglm", ["blk.0.attn_q.weight"], "glm"),
        ("chatglm", ["blk.0.attn_qkv.weight"], ""),
        ("t5", ["enc.blk.0.ffn_up.weight"], ""),
        ("t5", ["enc.blk.0.ffn_gate.weight"], "t5"),
        ("granitemoe", ["blk.0.ffn_up_exps.weight"], "granitemoe"),
        ("granitemoe", ["blk.0.ffn_up_shexp.weight"], "granitemoeshared"),
        ("bert", [], ""),
        ("rwkv7", [], ""),
        ("no-such-thing", [], ""),
    ],
)
def test_the_family_of_an_architecture(architecture, tensors, model_type):
    assert model_type_of(architecture, tensors) == model_type


def test_the_matrices_of_llama_are_those_of_its_model():
    built = {name: role for name, role in built_parameters("llama").items() if role != "other"}
    assert dict(family_parameters("llama")) == dict(_LLAMA) == built


def test_what_is_no_matrix_is_told_apart():
    mamba = family_parameters("mamba")
    assert mamba["backbone.layers.0.mixer.in_proj.weight"] == "linear"
    assert mamba["backbone.embeddings.weight"] == "embedding"
    for name in ("mixer.conv1d.weight", "mixer.A_log", "mixer.D", "norm.weight"):
        assert mamba[f"backbone.layers.0.{name}"] == "other"
    gemma = family_parameters("gemma3n_text")
    assert gemma["model.embed_tokens_per_layer.weight"] == "embedding"
    assert family_parameters("mixtral")["model.layers.0.mlp.experts.gate_up_proj"] == "linear"


def test_a_family_that_cannot_be_built_has_no_parameters(monkeypatch):
    def broken(*_, **__):
        raise AttributeError("other defaults in another release")

    monkeypatch.setattr(AutoConfig, "for_model", broken)
    built_parameters.cache_clear()
    assert family_parameters("olmo2") == {}
    built_parameters.cache_clear()
