"""Calibration statistics against brute force: every moment formed densely from inputs and gradients token by token."""

import dataclasses
import re
from functools import partial

import numpy as np
import pytest
import torch

from tests.models.tiny import (
    language_model,
    linear_modules,
    oriented_weight,
    random_tokens,
    tiny_gpt2,
    tiny_llama,
    tiny_mixtral,
)
from theorykit.errors import CalibrationError, InputError, NonFiniteError
from theorykit.models import calibration, statistics
from theorykit.models.analysis import whitened_spectra
from theorykit.models.calibration import collect_statistics
from theorykit.models.causality import require_causal
from theorykit.models.truncation import log_probabilities
from theorykit.spectra import whitened_singular_values

MODELS = {"gpt2": tiny_gpt2, "llama": tiny_llama}


def generator(seed=3):
    return torch.Generator().manual_seed(seed)


def brute_force(module, tokens, *, batch, seed=3):
    """Form A and G of every layer from the inputs and output gradients of single tokens, with the same labels."""
    draws = generator(seed)
    inputs, gradients = {}, {}
    pairs = linear_modules(module)
    for start in range(0, tokens.shape[0], batch):
        block = tokens[start : start + batch]
        outputs, handles = {}, []

        def record(layer, outputs=outputs):
            def hook(_, given, output):
                inputs.setdefault(layer.name, []).append(given[0].detach().double().flatten(0, -2))
                outputs[layer.name] = output

            return hook

        for layer, owner in pairs:
            handles.append(owner.register_forward_hook(record(layer)))
        with torch.enable_grad():
            embedded = module.get_input_embeddings()(block).requires_grad_()
            logits = module(inputs_embeds=embedded, use_cache=False).logits[:, :-1]
            labels = calibration._sampled_label_gradient(logits, draws).argmin(dim=-1)
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
            found = torch.autograd.grad(loss, list(outputs.values()))
        for handle in handles:
            handle.remove()
        for name, gradient in zip(outputs, found, strict=True):
            gradients.setdefault(name, []).append(gradient.double().flatten(0, -2))
    moments = {}
    for name in inputs:
        x, g = torch.cat(inputs[name]), torch.cat(gradients[name])
        moments[name] = x.T @ x / tokens.numel(), g.T @ g / tokens.numel()
    return moments


@pytest.fixture(scope="module", params=MODELS)
def collected(request):
    """A model, its statistics and its dense moments; 3 blocks in batches of 2, so that the last batch is smaller."""
    module = MODELS[request.param]()
    tokens = random_tokens(3, 24)
    found = collect_statistics(language_model(module), tokens, generator=generator())
    return module, found, brute_force(module, tokens, batch=2), tokens


def relative(found, expected):
    return float((found - expected).norm() / expected.norm())


def test_moments_equal_brute_force(collected):
    module, found, dense, tokens = collected
    owners = {layer.name: oriented_weight(layer, owner).double() for layer, owner in linear_modules(module)}
    assert [part.name for part in found] == list(owners)
    sides = set()
    for part in found:
        a, g = dense[part.name]
        w = owners[part.name]
        m, n = w.shape
        assert part.shape == (m, n)
        assert part.n_tokens == tokens.numel() == 72
        torch.testing.assert_close(part.weight.double(), w, rtol=0, atol=0)
        own, pulled = (a, w.T @ g @ w) if n <= m else (g, w @ a @ w.T)
        assert part.own.shape == part.pulled.shape == (min(m, n), min(m, n))
        assert part.own.dtype == part.pulled.dtype == torch.float64
        assert relative(part.own, own) < 1e-5
        assert relative(part.pulled, pulled) < 1e-5
        sides.add((m > n) - (m < n))
    assert sides == {1, 0, -1}  # tall, square and wide layers were among them


def test_whitened_spectra_equal_those_of_dense_moments(collected, monkeypatch):
    _, found, dense, _ = collected
    monkeypatch.setattr(statistics, "RIDGE", 0.0)
    for part in found:
        a, g = (moment.numpy() for moment in dense[part.name])
        w = part.weight.double().numpy()
        for metric, moments in (("fisher", (a, g)), ("activation", (a, None)), ("plain", (None, None))):
            values = dataclasses.replace(part).whitened_spectrum(metric)  # a copy without what is kept for next time
            expected = whitened_singular_values(w, *moments)
            assert values.metric == metric
            assert values.shape == part.shape
            # squares, since the moments are right to float32's rounding and a root magnifies it near 0
            np.testing.assert_allclose(
                values.singular_values**2, expected**2, rtol=1e-4, atol=1e-6 * float(expected[0]) ** 2
            )


def test_values_below_the_resolution_are_noted(collected):
    """Squares are diagonalised in float64: below sqrt(k·eps) of the largest nothing is known."""
    _, found, _, _ = collected
    part = dataclasses.replace(found[0], pulled=torch.zeros_like(found[0].pulled))
    part.pulled[0, 0] = 1.0
    values = part.whitened_spectrum("activation" if not part.on_inputs else "fisher")
    lost = int((values.singular_values < values.resolution).sum())
    assert lost > 0
    assert values.note == f"{lost} whitened singular values lie below the resolution {values.resolution:.2e}"
    assert values.resolution == pytest.approx(values.singular_values[0] * np.sqrt(min(part.shape) * 2.2e-16), rel=0.01)
    assert found[0].whitened_spectrum("fisher").note == ""


def test_the_ridge_lifts_the_spectrum(collected):
    _, found, dense, _ = collected
    part = found[0]
    a, g = (moment.numpy() for moment in dense[part.name])
    ridge = statistics.RIDGE * np.trace(a) / len(a)
    expected = whitened_singular_values(part.weight.double().numpy(), a + ridge * np.eye(len(a)), g)
    np.testing.assert_allclose(
        dataclasses.replace(part).whitened_spectrum("fisher").singular_values,
        expected,
        rtol=1e-4,
        atol=1e-5 * expected[0],
    )


@pytest.mark.parametrize("name", MODELS)
def test_the_model_is_left_as_it_was(name):
    module = MODELS[name]()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    collect_statistics(language_model(module), random_tokens(2, 16), generator=generator())
    for part in module.modules():
        assert not part._forward_hooks
        assert not part._backward_hooks
        assert not part._forward_pre_hooks
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert not module.training
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-5), (torch.float16, 2e-2)])
def test_moments_in_other_precision(dtype, tolerance, batch, llama):
    """Sums are kept in float64, each layer's its own, although gate and up read one input."""
    tokens = random_tokens(4, 16)
    expected = collect_statistics(language_model(llama), tokens, generator=generator(), batch=batch)
    found = collect_statistics(language_model(tiny_llama().to(dtype)), tokens, generator=generator(), batch=batch)
    for part, other in zip(found, expected, strict=True):
        assert part.own.dtype == torch.float64
        assert relative(part.own, other.own) < tolerance
        assert relative(part.pulled, other.pulled) < tolerance


def in_training(module):
    return module.train().requires_grad_()


@pytest.mark.parametrize("wrap", [in_training, torch.compile, torch.nn.DataParallel])
@pytest.mark.parametrize(
    "mode", [torch.enable_grad, torch.no_grad, torch.inference_mode, partial(torch.autocast, "cpu", torch.bfloat16)]
)
def test_however_a_model_is_handed_over_it_is_judged_as_it_is(wrap, mode):
    """No dropout, no compiled graph, no gradient kept in a parameter; and it is left as it was."""
    tokens, parameters = random_tokens(2, 16), {"attn_pdrop": 0.3, "resid_pdrop": 0.3, "embd_pdrop": 0.3}
    expected = collect_statistics(language_model(tiny_gpt2(**parameters)), tokens, generator=generator())
    module = wrap(tiny_gpt2(**parameters))
    module.training = not module.training  # of the outermost alone
    before = [part.training for part in module.modules()]
    with mode():
        model = language_model(module)
        found = collect_statistics(model, tokens.clone(), generator=generator())
        log_p = log_probabilities(model, tokens)
    for part, other in zip(found, expected, strict=True):
        assert part.name == other.name
        assert torch.equal(part.own, other.own)
        assert torch.equal(part.pulled, other.pulled)
    assert torch.equal(log_p, log_probabilities(language_model(tiny_gpt2(**parameters)), tokens))
    assert [part.training for part in module.modules()] == before
    assert all(parameter.grad is None for parameter in module.parameters())
    assert {parameter.requires_grad for parameter in module.parameters()} == {wrap is in_training}


def test_the_form_of_outputs_does_not_matter():
    """Some configurations ask for tuples, or for all hidden states."""
    tokens = random_tokens(2, 8)
    expected = collect_statistics(language_model(tiny_llama()), tokens, generator=generator())
    module = tiny_llama(return_dict=False, output_hidden_states=True)
    require_causal(module, "tiny")
    found = collect_statistics(language_model(module), tokens, generator=generator())
    assert all(torch.equal(part.own, other.own) for part, other in zip(found, expected, strict=True))
    assert (module.config.return_dict, module.config.output_hidden_states) == (False, True)


def test_a_model_made_under_inference_mode_is_refused():
    with torch.inference_mode():
        model = language_model(tiny_llama())
    with pytest.raises(InputError, match=r"made under torch\.inference_mode"):
        collect_statistics(model, random_tokens(2, 8), generator=generator())


def test_a_matrix_that_is_also_used_turned_is_left_dense():
    """The moments of W x tell nothing of the loss of Wᵀ y, which the truncation would cost as well."""

    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.embed_tokens, self.lm_head = torch.nn.Embedding(97, 8), torch.nn.Linear(8, 97, bias=False)
            self.inner, self.outer = torch.nn.Linear(8, 12, bias=False), torch.nn.Linear(8, 8)

        def forward(self, input_ids):
            x = self.outer(self.embed_tokens(input_ids))
            return type("Output", (), {"logits": self.lm_head(x + self.inner(x).relu() @ self.inner.weight)})

    model = language_model(Tied().requires_grad_(False))
    parts = collect_statistics(model, random_tokens(2, 8), generator=generator())
    assert [part.name for part in parts] == ["outer"]
    assert list(calibration.why_left_out(model, parts)) == ["inner"]


def test_hooks_go_after_an_error(llama):
    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect_statistics(
            language_model(llama), random_tokens(4, 16), generator=generator(), batch=2, progress=interrupt
        )
    assert not any(part._forward_hooks or part._backward_hooks for part in llama.modules())


def test_the_seed_decides_and_nothing_else(llama):
    tokens = random_tokens(2, 16)
    model = language_model(llama)
    torch.manual_seed(5)
    first = collect_statistics(model, tokens, generator=generator(1))
    torch.manual_seed(6)
    again = collect_statistics(model, tokens, generator=generator(1))
    other = collect_statistics(model, tokens, generator=generator(2))
    for one, same, different in zip(first, again, other, strict=True):
        assert torch.equal(one.own, same.own)
        assert torch.equal(one.pulled, same.pulled)
        gradients = (one.pulled, different.pulled) if one.on_inputs else (one.own, different.own)
        activations = (one.own, different.own) if one.on_inputs else (one.pulled, different.pulled)
        assert not torch.allclose(*gradients)
        assert torch.equal(*activations)


def test_inputs_do_not_depend_on_the_size_of_a_batch(llama):
    tokens = random_tokens(4, 16)
    model = language_model(llama)
    one = collect_statistics(model, tokens, generator=generator(), batch=1)
    four = collect_statistics(model, tokens, generator=generator(), batch=4)
    for left, right in zip(one, four, strict=True):
        if left.on_inputs:
            assert relative(left.own, right.own) < 1e-5


def test_progress_counts_blocks(llama):
    steps = []
    collect_statistics(
        language_model(llama), random_tokens(5, 8), generator=generator(), progress=lambda *step: steps.append(step)
    )
    assert steps == [(2, 5), (4, 5), (5, 5)]


def test_labels_are_drawn_from_the_model():
    probabilities = torch.tensor([0.0, 0.55, 0.0, 0.3, 0.1, 0.05])
    count = 40_000
    logits = (probabilities + 1e-30).log().expand(1, count, 6).clone().requires_grad_()
    gradient = calibration._sampled_label_gradient(logits, generator())
    drawn = (probabilities - gradient[0]).round()  # the gradient of −log p(ŷ) is p − onehot(ŷ)
    assert torch.equal(drawn.sum(-1), torch.ones(count))
    shares = drawn.mean(0)
    deviation = (probabilities * (1 - probabilities) / count).sqrt()
    assert bool(((shares - probabilities).abs() <= 4 * deviation).all()), shares
    loss = torch.nn.functional.cross_entropy(logits[0], drawn.argmax(dim=-1), reduction="sum")
    (expected,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-6)


def test_a_token_of_probability_zero_is_never_drawn(monkeypatch):
    """u = 0 takes the first token that can come at all, and u just below 1 the last one."""
    logits = torch.tensor([-1e4, -1e4, 0.0, 1.0, -1e4]).expand(1, 2, 5)
    draws = torch.tensor([0.0, 1 - 2**-24]).view(1, 2, 1)
    monkeypatch.setattr(torch, "rand", lambda *_, **__: draws)
    assert calibration._sampled_label_gradient(logits, generator()).argmin(dim=-1).tolist() == [[2, 3]]


@pytest.mark.parametrize("name", ["model.layers.1.mlp.down_proj", "model.layers.0.input_layernorm", "lm_head"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_name_their_layer(name, value):
    module = tiny_llama()
    with torch.no_grad():
        module.get_submodule(name).weight.view(-1)[3] = value
    with pytest.raises(NonFiniteError, match=rf"^{re.escape(name)} holds NaN or infinite weights$"):
        collect_statistics(language_model(module), random_tokens(2, 8), generator=generator())


def test_weights_that_are_not_there_name_their_layer():
    """As of a model that accelerate keeps on disk."""
    module = tiny_llama()
    module.model.layers[1].mlp.down_proj.to("meta")
    with pytest.raises(CalibrationError, match=r"^model\.layers\.1\.mlp\.down_proj has no weights"):
        collect_statistics(language_model(module), random_tokens(2, 8), generator=generator())


def test_activations_that_are_not_finite_name_a_layer():
    module = tiny_llama()
    with torch.no_grad():
        module.model.layers[0].input_layernorm.weight.fill_(1e38)
    with pytest.raises(NonFiniteError, match="NaN or infinite activations or gradients") as caught:
        collect_statistics(language_model(module), random_tokens(2, 8), generator=generator())
    assert caught.value.message.startswith("model.layers.0.self_attn.q_proj")


def test_a_layer_that_is_never_used_is_left_out_with_the_reason():
    module = tiny_llama()
    module.extra = torch.nn.Linear(20, 30)
    model = language_model(module.requires_grad_(False))
    parts = collect_statistics(model, random_tokens(2, 8), generator=generator())
    assert len(parts) == 14
    assert calibration.why_left_out(model, parts) == {"extra": "its products with the text were not seen"}
    spectra = whitened_spectra(model, parts)
    assert spectra.is_calibrated
    assert [part.layer.name for part in spectra.held] == ["extra"]
    assert [part.layer.parameters for part in spectra.held] == [600]


def test_a_model_of_which_no_layer_takes_part():
    class Deaf(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed_tokens, self.unused = torch.nn.Embedding(9, 4), torch.nn.Linear(4, 5)

        def forward(self, input_ids):
            return type("Output", (), {"logits": self.embed_tokens(input_ids)})

    with pytest.raises(InputError, match="no layer of tiny could be followed"):
        collect_statistics(language_model(Deaf().requires_grad_(False)), random_tokens(2, 8) % 9, generator=generator())


def experts_by_hand(module, tokens, batch, seed=3):
    """Form Σ x xᵀ and Σ g gᵀ of every expert of a Mixtral block by a forward pass of the test's own."""
    draws, sums = generator(seed), {}
    block = module.model.layers[0].mlp
    experts, rows = block.experts, {}

    def forward(hidden, chosen, weights):
        result = torch.zeros_like(hidden)
        for expert in range(experts.num_experts):
            token, slot = torch.where(chosen == expert)
            if token.numel():
                inner = hidden[token] @ experts.gate_up_proj[expert].T
                gate, up = inner.chunk(2, dim=-1)
                middle = experts.act_fn(gate) * up
                outer = middle @ experts.down_proj[expert].T
                inner.retain_grad()
                outer.retain_grad()
                rows.setdefault(expert, []).append((hidden[token], inner, middle, outer))
                result.index_add_(0, token, outer * weights[token, slot, None])
        return result

    experts.forward = forward
    try:
        for start in range(0, tokens.shape[0], batch):
            part = tokens[start : start + batch]
            embedded = module.get_input_embeddings()(part).requires_grad_()
            with torch.enable_grad():
                logits = module(inputs_embeds=embedded, use_cache=False).logits[:, :-1]
                logits.backward(calibration._sampled_label_gradient(logits, draws))
    finally:
        del experts.forward
    for expert, calls in rows.items():
        for name, at in (("gate_up_proj", 0), ("down_proj", 2)):
            x = torch.cat([call[at] for call in calls]).detach().double()
            g = torch.cat([call[at + 1].grad for call in calls]).double()
            sums[f"model.layers.0.mlp.experts.{name}[{expert}]"] = (x.T @ x / len(x), g.T @ g / tokens.numel())
    return sums


def test_moments_of_stacked_experts_are_those_of_the_tokens_that_they_see():
    module, tokens = tiny_mixtral(), random_tokens(3, 24)
    model = language_model(module)
    parts = {part.name: part for part in collect_statistics(model, tokens, generator=generator())}
    expected = experts_by_hand(module, tokens, batch=2)
    assert len(expected) == 8
    for name, (a, g) in expected.items():
        part = parts[name]
        w = part.weight.double()
        m, n = w.shape
        own, pulled = (a, w.T @ g @ w) if n <= m else (g, w @ a @ w.T)
        # A is a mean over an expert's own tokens, G over all; which side is scaled by which does not matter
        scale = float(part.own.trace() / own.trace())
        assert relative(part.own, own * scale) < 1e-5
        assert relative(part.pulled * scale, pulled) < 1e-5


@pytest.mark.parametrize("shape", [(0, 8), (2, 1), (16,), (2, 2, 2)])
def test_tokens_of_another_shape(llama, shape):
    with pytest.raises(InputError, match="tokens have shape"):
        collect_statistics(language_model(llama), torch.zeros(shape, dtype=torch.int64), generator=generator())


@pytest.mark.parametrize("vocabulary", [3, 256, 257, 1000])
def test_labels_are_those_of_the_cumulative_distribution(vocabulary, monkeypatch):
    """The sums over groups of tokens draw what one sum over the whole vocabulary draws."""
    logits = torch.randn(2, 50, vocabulary, generator=generator(1)) * 3
    draws = torch.rand(2, 50, 1, generator=generator(2))
    monkeypatch.setattr(torch, "rand", lambda *_, **__: draws)
    labels = calibration._sampled_label_gradient(logits, generator()).argmin(dim=-1, keepdim=True)
    cumulative = logits.double().softmax(dim=-1).cumsum(dim=-1)
    after = cumulative.gather(-1, labels)
    before = after - logits.double().softmax(dim=-1).gather(-1, labels)
    assert bool((before - 1e-6 <= draws).all())
    assert bool((draws < after + 1e-6).all())
