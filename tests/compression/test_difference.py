"""What a fine-tuning changed, as an adapter."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch

from tests.models.tiny import (
    language_model,
    linear_modules,
    random_tokens,
    tiny_gpt2,
    tiny_llama,
    words,
    write_tokenizer,
)
from theorykit.compression.difference import compress_difference, save_adapter
from theorykit.compression.request import CompressionSettings, PieceSizes
from theorykit.compression.texts import Text
from theorykit.errors import InputError

pytestmark = [
    pytest.mark.filterwarnings("ignore:fan_in_fan_out"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),  # peft 0.21 asks by that name
]
SETTINGS = CompressionSettings(PieceSizes(32, 4, 2, 3), own_text=False, rank_multiple=1)
TEXT = Text("words", words(600))
CHANGED_RANK = 3
MODELS = {name: partial(make, initializer_range=0.3) for name, make in (("llama", tiny_llama), ("gpt2", tiny_gpt2))}


@pytest.fixture(scope="module", params=MODELS)
def pair(request, tmp_path_factory):
    """A base, and the same with a change of rank 3 in all linear layers but the first."""
    tokenizer = write_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    base = language_model(MODELS[request.param](), tokenizer)
    tuned = language_model(copy.deepcopy(base.module), tokenizer)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, owner in linear_modules(tuned.module)[1:]:
            first, second = owner.weight.shape
            left = torch.randn(first, CHANGED_RANK, generator=generator)
            owner.weight += 0.05 * left @ torch.randn(CHANGED_RANK, second, generator=generator)
    return tuned, base


def test_a_change_of_small_rank_is_held_whole(pair, tmp_path):
    from peft import PeftModel

    tuned, base = pair
    before = copy.deepcopy(base.module.state_dict())
    adapted, report = compress_difference(tuned, base, TEXT, budget=0.5, settings=SETTINGS)
    first, *others = (layer.name for layer, _ in linear_modules(tuned.module))
    assert report.ranks == dict.fromkeys(others, CHANGED_RANK)
    assert next(layer for layer in report.layers if layer.name == first).reason == "the fine-tuning did not change it"
    assert report.numbers == sum(CHANGED_RANK * sum(layer.shape) for layer in report.layers if layer.name != first)
    assert report.losses[0].kl.value < 1e-6 < 1e-3 < report.losses_of_base[0].kl.value
    assert report.predicted_kl == pytest.approx(0, abs=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in base.module.state_dict().items())
    save_adapter(adapted, report, tmp_path / "adapter", command="theorykit compress x")
    loaded = PeftModel.from_pretrained(copy.deepcopy(base.module), tmp_path / "adapter")
    tokens = random_tokens(2, 20)
    with torch.no_grad():
        torch.testing.assert_close(loaded(tokens).logits, tuned.module(tokens).logits, rtol=0, atol=1e-4)
    assert "| words |" in (tmp_path / "adapter" / "README.md").read_text()


def test_a_smaller_adapter_loses_less_than_one_without_the_moments(pair):
    """At a third of the numbers the whitened truncation leaves less KL than the plain one at the same ranks."""
    tuned, base = pair
    adapted, report = compress_difference(tuned, base, TEXT, budget=report_share(tuned) / 3, settings=SETTINGS)
    assert 0 < report.losses[0].kl.value < report.losses_of_base[0].kl.value
    plain = copy.deepcopy(base.module)
    with torch.no_grad():
        for (layer, owner), (_, target) in zip(linear_modules(tuned.module), linear_modules(plain), strict=True):
            rank = report.ranks.get(layer.name, 0)
            left, values, right = torch.linalg.svd(owner.weight - target.weight, full_matrices=False)
            target.weight += left[:, :rank] * values[:rank] @ right[:rank]
        tokens = random_tokens(16, 32, seed=5)
        reference = tuned.module(tokens).logits.log_softmax(-1)
        losses = [
            float((reference.exp() * (reference - side(tokens).logits.log_softmax(-1))).sum(-1).mean())
            for side in (adapted.base_model.model, plain)
        ]
    assert losses[0] < losses[1]


def report_share(tuned) -> float:
    """The numbers of an adapter of rank 3 everywhere over those of the layers."""
    shapes = [layer.shape for layer, _ in linear_modules(tuned.module)]
    return sum(CHANGED_RANK * (m + n) for m, n in shapes) / sum(m * n for m, n in shapes)


def test_what_no_adapter_holds_is_told(pair):
    tuned, base = pair
    other = replace(tuned, module=copy.deepcopy(tuned.module))
    with torch.no_grad():
        name, norm = next((name, part) for name, part in other.module.named_parameters() if part.ndim == 1)
        norm += 0.5
    _, report = compress_difference(other, base, TEXT, budget=0.5, settings=SETTINGS)
    assert report.left_out == (name,)
    assert report.warnings[0].startswith("1 parameter differs that no adapter holds")
    assert report.losses[0].kl.value > 1e-4


def test_models_that_are_no_pair_are_refused(pair):
    tuned, base = pair
    with pytest.raises(InputError, match="no linear layer of tiny differs from tiny"):
        compress_difference(base, base, TEXT, settings=SETTINGS)
    wider = language_model(tiny_llama(hidden_size=64), base.tokenizer)
    with pytest.raises(InputError, match="has no parameter"):
        compress_difference(tuned, wider, TEXT, settings=SETTINGS)
    with pytest.raises(InputError, match="holds no adapter"):
        compress_difference(tuned, base, TEXT, budget=1e-6, settings=SETTINGS)
