from __future__ import annotations

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from theorykit.errors import InputError
from validation.students.architecture import architecture_of, dense_weights
from validation.students.forward import forward, linear

VOCABULARY = 53


def gpt2(**changes):
    torch.manual_seed(0)
    module = GPT2LMHeadModel(
        GPT2Config(**{"vocab_size": VOCABULARY, "n_positions": 32, "n_embd": 24, "n_layer": 3, "n_head": 4} | changes)
    )
    return with_noise(module)


def llama(**changes):
    torch.manual_seed(1)
    settings = {
        "vocab_size": VOCABULARY,
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32,
        "tie_word_embeddings": False,
    }
    return with_noise(LlamaForCausalLM(LlamaConfig(**settings | changes)))


def with_noise(module):
    """Norms and biases start as 1 and 0: noise keeps them from hiding."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module.eval().requires_grad_(False)


def own_head(make):
    """A model whose configuration says that its head is tied, and which has one of its own all the same."""
    module = make(tie_word_embeddings=True)
    noise = torch.randn(module.lm_head.weight.shape, generator=torch.Generator().manual_seed(3))
    module.lm_head.weight = torch.nn.Parameter(0.1 * noise, requires_grad=False)
    return module


TEACHERS = {
    "gpt2": gpt2,
    "gpt2 with a head of its own": lambda: own_head(gpt2),
    "llama with a head of its own": lambda: own_head(llama),
    "llama": llama,
    "tied llama": lambda: llama(tie_word_embeddings=True, rope_theta=5e3),
    "all heads": lambda: llama(num_key_value_heads=4, head_dim=8),
}


@pytest.mark.parametrize("name", TEACHERS)
def test_it_is_the_model_of_transformers(name):
    module = TEACHERS[name]()
    tokens = torch.randint(VOCABULARY, (2, 17), generator=torch.Generator().manual_seed(2))
    expected = module(tokens, output_hidden_states=True)
    found = forward(architecture_of(module), dense_weights(module), tokens, keep=True)
    torch.testing.assert_close(found.logits[0], expected.logits, rtol=1e-4, atol=1e-5)
    assert len(found.hidden) == len(expected.hidden_states)
    for ours, theirs in zip(found.hidden, expected.hidden_states, strict=True):
        torch.testing.assert_close(ours[0], theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_gradients_are_those_of_the_model_of_transformers(name):
    module = TEACHERS[name]().requires_grad_(True)
    tokens = torch.randint(VOCABULARY, (2, 9), generator=torch.Generator().manual_seed(2))
    module(tokens).logits.square().mean().backward()
    architecture = architecture_of(module)
    weights = {key: value.requires_grad_() for key, value in dense_weights(module).items()}
    forward(architecture, weights, tokens).logits.square().mean().backward()
    for key in (architecture.embedding, f"{architecture.linear[0]}.weight", f"{architecture.linear[-1]}.weight"):
        theirs = module.get_parameter(key).grad
        turned = name == "llama" and key != architecture.embedding
        torch.testing.assert_close(weights[key].grad[0], theirs.T if turned else theirs, rtol=1e-3, atol=1e-6)


def test_students_do_not_mix_and_may_have_tokens_of_their_own():
    first, second = gpt2(), gpt2()
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.mul_(1.1)
    architecture = architecture_of(first)
    weights = {
        key: torch.cat([value, other])
        for (key, value), other in zip(dense_weights(first).items(), dense_weights(second).values(), strict=True)
    }
    tokens = torch.randint(VOCABULARY, (2, 3, 8), generator=torch.Generator().manual_seed(3))
    found = forward(architecture, weights, tokens).logits
    for number, module in enumerate((first, second)):
        torch.testing.assert_close(found[number], module(tokens[number]).logits, rtol=1e-4, atol=1e-5)


def test_factors_masks_and_biases():
    generator = torch.Generator().manual_seed(0)
    rows, right, left, bias = (
        torch.randn(shape, generator=generator) for shape in ((2, 5, 6), (2, 6, 3), (2, 3, 4), (2, 4))
    )
    weights = {"a.right": right, "a.left": left, "a.bias": bias}
    torch.testing.assert_close(linear(weights, "a", rows), rows @ right @ left + bias[:, None])
    mask = torch.tensor([[[1.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]]])
    found = linear(weights | {"a.mask": mask}, "a", rows)
    torch.testing.assert_close(found[1], rows[1] @ right[1, :, :1] @ left[1, :1] + bias[1])
    torch.testing.assert_close(found[0], rows[0] @ right[0, :, :2] @ left[0, :2] + bias[0])


def test_signals_are_those_of_a_clone_loss():
    for module, names in ((gpt2(), {"up"}), (llama(), {"gate", "up"})):
        tokens = torch.zeros(1, 4, dtype=torch.int64)
        found = forward(architecture_of(module), dense_weights(module), tokens, signals=True)
        assert len(found.signals) == 3
        expected = {"query", "key", "value", "attention", "feed_forward"} | names
        assert all(set(trace) == expected for trace in found.signals)
        assert found.hidden == []


def test_copies_share_no_memory():
    weights = dense_weights(gpt2(), copies=2)
    key = next(iter(weights))
    weights[key][0] = 0
    assert weights[key][1].abs().sum() > 0


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (lambda: gpt2(activation_function="relu"), "activation 'relu'"),
        (lambda: gpt2(scale_attn_by_inverse_layer_idx=True), "scaled attention"),
        (lambda: llama(attention_bias=True), "biased projections"),
        (lambda: llama(hidden_act="gelu"), "activation 'gelu'"),
        (
            lambda: llama(rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}),
            "rotary positions of type 'linear'",
        ),
    ],
)
def test_variants_that_are_not_known_are_refused(module, message):
    with pytest.raises(InputError, match=message):
        architecture_of(module())


def test_other_models_are_refused():
    class Other:
        class config:
            model_type = "bert"

    with pytest.raises(InputError, match="model type 'bert' cannot be a teacher"):
        architecture_of(Other())
