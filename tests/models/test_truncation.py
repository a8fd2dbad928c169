"""A truncated model: weights put back bit for bit, losses against direct computation."""

import math

import numpy as np
import pytest
import torch

from tests.models.tiny import language_model, linear_modules, oriented_weight, random_tokens, tiny_gpt2, tiny_llama
from theorykit.errors import InputError
from theorykit.models import statistics as statistics_module
from theorykit.models.calibration import collect_statistics
from theorykit.models.truncation import log_probabilities, truncated, truncation_losses
from theorykit.spectra import whitened_truncation

MODELS = {"gpt2": tiny_gpt2, "llama": tiny_llama}
METRICS = ("plain", "activation", "fisher")


@pytest.fixture(scope="module", params=MODELS)
def calibrated(request):
    module = MODELS[request.param]()
    tokens = random_tokens(4, 32)
    model = language_model(module)
    return model, collect_statistics(model, tokens, generator=torch.Generator().manual_seed(0)), tokens


def snapshot(model):
    return {name: value.clone() for name, value in model.module.state_dict().items()}


def assert_untouched(model, before):
    for name, value in model.module.state_dict().items():
        assert torch.equal(value, before[name]), name


def live_weights(model):
    return {layer.name: oriented_weight(layer, owner) for layer, owner in linear_modules(model.module)}


@pytest.mark.parametrize("metric", METRICS)
def test_weights_have_the_rank_and_come_back(calibrated, metric):
    model, parts, _ = calibrated
    before = snapshot(model)
    ranks = {part.name: 3 + index for index, part in enumerate(parts[:-1])}
    with truncated(model, parts, ranks, metric) as predicted:
        weights = live_weights(model)
        for part in parts:
            rank = ranks.get(part.name, min(part.shape))
            values = torch.linalg.svdvals(weights[part.name].double())
            assert values[rank - 1] > 1e-4 * values[0]
            assert rank == min(part.shape) or values[rank] < 1e-6 * values[0]
    assert predicted > 0
    assert_untouched(model, before)


@pytest.mark.parametrize("metric", ["plain", "activation"])
def test_statistics_keep_looking_at_the_dense_weights(calibrated, metric):
    model, _, tokens = calibrated
    before, within = (collect_statistics(model, tokens, generator=torch.Generator().manual_seed(0)) for _ in range(2))
    with truncated(model, before, {part.name: 2 for part in before}, "fisher"):
        values = [part.whitened_spectrum(metric).singular_values for part in within]
    expected = [part.whitened_spectrum(metric).singular_values for part in before]
    assert all(np.array_equal(left, right) for left, right in zip(values, expected, strict=True))


def test_weights_come_back_after_an_exception(calibrated):
    model, parts, _ = calibrated
    before = snapshot(model)
    with pytest.raises(ZeroDivisionError), truncated(model, parts, {part.name: 2 for part in parts}, "fisher"):
        raise ZeroDivisionError
    assert_untouched(model, before)


def test_weights_come_back_where_a_later_layer_fails(calibrated, monkeypatch):
    model, parts, _ = calibrated
    before = snapshot(model)
    original = statistics_module.LayerStatistics.truncated_weight

    def fail_on_the_last(part, projector):
        if part is parts[-1]:
            raise MemoryError
        return original(part, projector)

    monkeypatch.setattr(statistics_module.LayerStatistics, "truncated_weight", fail_on_the_last)
    with pytest.raises(MemoryError), truncated(model, parts, {part.name: 2 for part in parts}, "fisher"):
        pytest.fail("the context was entered")
    assert_untouched(model, before)


def test_nested_truncations_come_back_in_order(calibrated):
    model, parts, _ = calibrated
    before = snapshot(model)
    first, second = parts[0].name, parts[1].name
    with truncated(model, parts, {first: 4}, "fisher"):
        inside = snapshot(model)
        with truncated(model, parts, {second: 4}, "fisher"):
            assert not torch.equal(live_weights(model)[second], oriented(before, model, second))
        assert_untouched(model, inside)
    assert_untouched(model, before)


def oriented(state, model, name):
    layer = next(layer for layer, _ in linear_modules(model.module) if layer.name == name)
    weight = state[layer.tensor]
    return weight.T if layer.transposed else weight


@pytest.mark.parametrize("metric", METRICS)
def test_truncated_weights_are_those_of_dense_whitening(calibrated, metric, monkeypatch):
    model, _, tokens = calibrated
    monkeypatch.setattr(statistics_module, "RIDGE", 0.0)
    parts = collect_statistics(model, tokens, generator=torch.Generator().manual_seed(0))
    for part in parts:
        own, weight = part.own.numpy(), part.weight.double().numpy()
        # the smaller side's moment alone is known: the metrics that need no other are compared
        moments = {"input_moment": own} if part.on_inputs else {"output_moment": own}
        if metric == "fisher" or (metric == "activation" and not part.on_inputs):
            continue
        left, right = whitened_truncation(weight, 7, **(moments if metric == "activation" else {}))
        found = part.truncated_weight(part.projector(metric, 7)).double().numpy()
        np.testing.assert_allclose(found, left @ right, atol=1e-5 * np.abs(weight).max(), rtol=1e-4)


@pytest.mark.parametrize("ridge", [0.0, 0.03, 1.0])
def test_second_order_loss_is_the_dense_formula(calibrated, ridge, monkeypatch):
    _, parts, _ = calibrated
    monkeypatch.setattr(statistics_module, "RIDGE", ridge)
    rng = np.random.default_rng(0)
    for part in parts:
        m, n = part.shape
        weight = part.weight.double()
        # any moment on the larger side, pulled through W, gives the statistics of the smaller one
        draw = torch.from_numpy(rng.normal(size=(max(m, n), max(m, n))))
        large = draw @ draw.T / max(m, n)
        pulled = weight.T @ large @ weight if part.on_inputs else weight @ large @ weight.T
        made = statistics_module.LayerStatistics(part.name, weight, part.own, pulled, part.n_tokens)
        own = part.own + ridge * part.own.trace() / len(part.own) * torch.eye(len(part.own), dtype=torch.float64)
        a, g = (own, large) if part.on_inputs else (large, own)
        for metric in METRICS:
            projector = made.projector(metric, 5)
            change = weight - made.truncated_weight(projector)
            expected = 0.5 * float(torch.trace(g @ change @ a @ change.T))
            assert made.second_order_loss(projector) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("ridge", [0.0, 0.03])
def test_the_loss_is_half_the_tail_sum(calibrated, ridge, monkeypatch):
    model, _, tokens = calibrated
    monkeypatch.setattr(statistics_module, "RIDGE", ridge)
    parts = collect_statistics(model, tokens, generator=torch.Generator().manual_seed(0))
    for part in parts:
        spectrum = part.whitened_spectrum("fisher")
        for rank in (1, 5, 20):
            loss = part.second_order_loss(part.projector("fisher", rank))
            assert loss == pytest.approx(spectrum.predicted_losses[rank], rel=1e-6)
            for metric in ("plain", "activation"):  # no other metric can do better
                assert part.second_order_loss(part.projector(metric, rank)) >= loss * (1 - 1e-9)


def test_the_prediction_adds_up_over_layers(calibrated):
    model, parts, _ = calibrated
    ranks = {part.name: 6 for part in parts}
    singles = []
    for part in parts:
        with truncated(model, parts, {part.name: 6}, "fisher") as predicted:
            singles.append(predicted)
    with truncated(model, parts, ranks, "fisher") as together:
        assert together == pytest.approx(sum(singles), rel=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_full_rank_costs_nothing(calibrated, metric):
    model, parts, tokens = calibrated
    ranks = {part.name: min(part.shape) for part in parts}
    (loss,) = truncation_losses(model, parts, [(ranks, metric)], tokens)
    assert abs(loss.kl) < 1e-6
    assert abs(loss.second_order) < 1e-9
    assert loss.cross_entropy == pytest.approx(loss.dense_cross_entropy, abs=1e-5)


def test_losses_against_direct_computation(calibrated):
    model, parts, _ = calibrated
    tokens = random_tokens(3, 20, seed=9)
    plans = [({part.name: rank for part in parts}, metric) for rank in (4, 16) for metric in ("fisher", "plain")]
    found = truncation_losses(model, parts, plans, tokens, batch=2)
    with torch.no_grad():
        dense = model.module(tokens).logits.double()[:, :-1].log_softmax(-1)
    targets = tokens[:, 1:, None]
    for (ranks, metric), loss in zip(plans, found, strict=True):
        with truncated(model, parts, ranks, metric) as predicted, torch.no_grad():
            now = model.module(tokens).logits.double()[:, :-1].log_softmax(-1)
        divergence = float((dense.exp() * (dense - now)).sum(-1).mean())
        assert loss.n_tokens == 3 * 19
        assert loss.second_order == pytest.approx(predicted, rel=1e-12)
        assert loss.kl == pytest.approx(divergence, rel=1e-3, abs=1e-7)
        assert loss.kl >= 0
        assert loss.dense_perplexity == pytest.approx(math.exp(-float(dense.gather(-1, targets).mean())), rel=1e-5)
        assert loss.perplexity == pytest.approx(math.exp(-float(now.gather(-1, targets).mean())), rel=1e-5)
    # fewer ranks cost more, in either metric
    assert found[0].kl > found[2].kl
    assert found[1].kl > found[3].kl


def test_no_plan_gives_no_result_and_no_rank_changes_nothing(calibrated):
    model, parts, tokens = calibrated
    assert truncation_losses(model, parts, [], tokens) == []
    (loss,) = truncation_losses(model, parts, [({}, "fisher")], tokens)
    assert loss.kl == 0.0
    assert loss.second_order == 0.0
    frame = loss.to_frame()
    assert frame["perplexity"].item() == pytest.approx(math.exp(loss.dense_cross_entropy))


def test_log_probabilities_are_normalised(calibrated):
    model, _, tokens = calibrated
    found = log_probabilities(model, tokens)
    assert found.shape == (4, 31, 97)
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(4, 31), rtol=0, atol=1e-5)


def test_unknown_layers_and_ranks_outside_the_range(calibrated):
    model, parts, _ = calibrated
    before = snapshot(model)
    name, most = parts[0].name, min(parts[0].shape)
    for ranks, match in (
        ({"no.such.layer": 3}, "the model has no layer 'no.such.layer'"),
        ({name: 0}, "has to be finite and above 0"),
        ({name: -1}, "has to be finite and above 0"),
        ({name: 2.5}, "is not a whole number"),
        ({name: most + 1}, f"is above its maximum {most}"),
    ):
        with pytest.raises(InputError, match=match), truncated(model, parts, ranks, "fisher"):
            pytest.fail("the context was entered")
    with (
        pytest.raises(InputError, match="there are no statistics of the layer"),
        truncated(model, parts[1:], {name: 3}, "fisher"),
    ):
        pytest.fail("the context was entered")
    assert_untouched(model, before)


def independent_tokens():
    """A model whose tokens do not see each other, so that the Fisher information has no cross terms between them."""
    module = tiny_gpt2(n_layer=1)
    block = module.transformer.h[0]
    with torch.no_grad():
        for parameter in (block.attn.c_proj.weight, block.attn.c_proj.bias, module.transformer.wpe.weight):
            parameter.zero_()
        for parameter in (module.transformer.wte.weight, block.mlp.c_fc.weight, block.mlp.c_proj.weight):
            parameter.normal_(std=0.3)
    return module


def test_the_prediction_is_the_measured_divergence_where_tokens_are_independent(monkeypatch):
    monkeypatch.setattr(statistics_module, "RIDGE", 0.0)
    model = language_model(independent_tokens())
    tokens = random_tokens(16, 256)
    parts = collect_statistics(model, tokens, generator=torch.Generator().manual_seed(0))
    plans = [({part.name: rank}, "fisher") for part in parts if ".mlp." in part.name for rank in (46, 44, 40)]
    assert len(plans) == 6
    for (ranks, _), loss in zip(plans, truncation_losses(model, parts, plans, tokens, batch=4), strict=True):
        assert loss.second_order > 1e-6, ranks
        assert 0.75 < loss.kl / loss.second_order < 1.33, ranks
