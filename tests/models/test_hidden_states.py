import dataclasses

import numpy as np
import pytest
import torch

from tests.models.tiny import VOCABULARY, language_model, random_tokens, tiny_gpt2, tiny_llama, write_tokenizer
from theorykit.errors import InputError
from theorykit.information.layers import layer_information
from theorykit.models.hidden_states import hidden_states


def expected_states(module, tokens):
    with torch.inference_mode():
        return [layer.numpy() for layer in module(tokens, output_hidden_states=True).hidden_states]


def test_the_states_are_those_of_the_models(gpt2, llama):
    tokens = random_tokens(5, 12)
    states = hidden_states(language_model(gpt2), language_model(llama), tokens, batch=2)
    assert states.layers == ((0, 0), (1, 1), (2, 2))
    assert len(states) == 3
    assert "3 layers, 5 × 12 tokens" in repr(states)
    for _ in range(2):
        batches = list(states())
        assert [teacher[0].shape for teacher, _ in batches] == [(2, 12, 48), (2, 12, 48), (1, 12, 48)]
        for side, module in enumerate((gpt2, llama)):
            for index, layer in enumerate(expected_states(module, tokens)):
                found = np.concatenate([batch[side][index] for batch in batches])
                assert found.dtype == np.float32
                np.testing.assert_allclose(found, layer, rtol=1e-5, atol=1e-5)


def test_nothing_runs_in_inference_mode_between_batches(gpt2):
    states = hidden_states(language_model(gpt2), language_model(gpt2), random_tokens(4, 6))
    for _ in states():
        assert not torch.is_inference_mode_enabled()


def test_layers_by_relative_depth_and_by_hand(gpt2, llama):
    deep = language_model(tiny_llama(num_hidden_layers=5))
    tokens = random_tokens(2, 6)
    assert hidden_states(deep, language_model(llama), tokens).layers == ((0, 0), (2, 1), (5, 2))
    assert hidden_states(language_model(gpt2), deep, tokens).layers == ((0, 0), (1, 2), (2, 5))
    chosen = hidden_states(deep, language_model(gpt2), tokens, layers=[(5, 2), (1, 2)])
    teacher, student = next(iter(chosen()))
    assert (len(teacher), len(student)) == (2, 2)
    np.testing.assert_array_equal(student[0], student[1])
    assert not np.array_equal(teacher[0], teacher[1])


def test_the_information_of_a_model_with_itself_is_the_largest(gpt2):
    """Two tiny models of the same start, one with perturbed weights."""
    noisy = tiny_gpt2()
    generator = torch.Generator().manual_seed(3)
    for parameter in noisy.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    tokens = random_tokens(40, 32)
    same, other = (
        layer_information(
            hidden_states(language_model(gpt2), language_model(student), tokens), method="gaussian", components=8
        )
        for student in (gpt2, noisy)
    )
    assert len(same.layers) == 3
    for first, second in zip(same.layers, other.layers, strict=True):
        assert (first.estimate.failure, second.estimate.failure) == ("", "")
        assert first.sequences == 20
        assert first.estimate.information > second.estimate.information > 0


@pytest.mark.gpu
def test_on_a_gpu_as_on_the_cpu(llama):
    tokens = random_tokens(4, 16)
    there = dataclasses.replace(language_model(tiny_llama().cuda()), device=torch.device("cuda"))
    for (first, second), (third, _) in zip(
        hidden_states(there, language_model(llama), tokens)(),
        hidden_states(language_model(llama), language_model(llama), tokens)(),
        strict=True,
    ):
        for gpu, mixed, cpu in zip(first, second, third, strict=True):
            np.testing.assert_allclose(gpu, cpu, atol=1e-3)
            np.testing.assert_array_equal(mixed, cpu)


def test_vocabularies(gpt2, llama, tmp_path):
    own, other = write_tokenizer(tmp_path / "a"), write_tokenizer(tmp_path / "b", n_words=40)
    tokens = random_tokens(2, 6) % 40
    with pytest.raises(InputError, match="have different vocabularies, of 97 and 42 tokens"):
        hidden_states(language_model(gpt2, own), language_model(llama, other), tokens)
    with pytest.raises(InputError, match="have different vocabularies, of 97 and 104 tokens"):
        hidden_states(language_model(gpt2), language_model(tiny_llama(vocab_size=104)), tokens)
    padded = language_model(tiny_llama(vocab_size=104), own)  # spare rows of the embedding
    assert len(hidden_states(language_model(gpt2, own), padded, tokens)) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blocks": torch.zeros(3, dtype=torch.int64)}, r"blocks have shape \(3,\)"),
        ({"blocks": torch.zeros((2, 3))}, r"type torch\.float32"),
        ({"blocks": torch.zeros((0, 3), dtype=torch.int64)}, r"shape \(0, 3\)"),
        ({"blocks": "text"}, "blocks = 'text' are no tokens"),
        ({"blocks": [[0, VOCABULARY]]}, "blocks hold the tokens 0 to 97, and tiny knows 0 to 96"),
        ({"blocks": [[-1, 0]]}, "blocks hold the tokens -1 to 0"),
        ({"blocks": torch.zeros((1, 1025), dtype=torch.int64)}, "1025 tokens each, and tiny reads at most 1024"),
        ({"batch": 0}, "batch"),
        ({"layers": []}, "layers = .* are no pairs"),
        ({"layers": [1, 2]}, "layers = .* are no pairs"),
        ({"layers": [(0, 3)]}, "the student's layer = 3 is above its maximum 2"),
        ({"layers": [(-1, 0)]}, "the teacher's layer = -1"),
        ({"layers": [(0.5, 0)]}, "not a whole number"),
    ],
)
def test_refused(gpt2, options, message):
    model = language_model(gpt2)
    with pytest.raises(InputError, match=message):
        hidden_states(model, model, **{"blocks": random_tokens(2, 6)} | options)


def test_a_module_without_hidden_states(gpt2):
    class Plain(torch.nn.Module):
        def get_input_embeddings(self):
            return gpt2.get_input_embeddings()

        def forward(self, input_ids, **_):
            return input_ids

    with pytest.raises(InputError, match="tiny gives no hidden states"):
        hidden_states(language_model(gpt2), language_model(Plain()), random_tokens(2, 6))
