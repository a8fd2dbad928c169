"""Ranks as peft builds them: modules, stacked experts, and what peft does not adapt."""

import json
import warnings
from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM, Mamba2Config, Mamba2ForCausalLM

from tests.models.tiny import tiny_llama, tiny_mixtral
from tests.rank_selection.synthetic import layer_spectra, model
from theorykit import model_spectra, module_source, select_ranks
from theorykit.errors import InputError
from theorykit.models.skeleton import skeleton_like
from theorykit.rank_selection.adapters import Target, adapted_beside, checked_lora_arguments, stub_of, why_not_adaptable


def stacked(name, index, decay):
    part = layer_spectra(f"{name}[{index}]", (64, 64), decay, kind="expert")
    return replace(part, layer=replace(part.layer, tensor=name, expert=index, stack=2))


@pytest.fixture
def mixture():
    parts = [stacked("mlp.experts.down_proj", index, 0.5 + index) for index in range(2)]
    return model(*parts, layer_spectra("fc", (64, 64), 3.0), anchors=None)


def built(arguments, module):
    """Return module or parameter to the rank that peft gives it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = get_peft_model(module, LoraConfig(**arguments))
    ranks = {}
    for path, part in adapted.named_modules():
        if isinstance(getattr(part, "r", None), dict) and part.r:
            name = path.removeprefix("base_model.model.").replace(".base_layer", "")
            parameter = getattr(part, "parameter_name", None)
            ranks[f"{name}.{parameter}" if parameter else name] = part.r["default"]
    return ranks


def checked(selection, module):
    return checked_lora_arguments(
        selection.adapter_targets(), module, stacked=selection.has_stacks, name=selection.model
    )


def test_experts_with_ranks_of_their_own_are_no_targets(mixture):
    selection = select_ranks(mixture, 1e4, budget=0.4)
    assert set(selection.ranks) > {"fc"}
    assert selection.to_peft()["target_modules"] == ["fc"]
    assert "target_parameters" not in selection.to_peft()


def test_shared_experts_have_one_rank_and_lose_no_less_than_their_own(mixture):
    own = select_ranks(mixture, 1e4, budget=0.4)
    shared = select_ranks(mixture, 1e4, budget=0.4, experts="shared")
    ranks = [part.rank for part in shared.layers if part.stack > 1]
    assert len(set(ranks)) == 1
    assert len({part.rank for part in own.layers if part.stack > 1}) == 2
    # the best of fewer choices
    assert shared.rules[-1].relative_error >= own.rules[-1].relative_error
    if ranks[0] is not None:
        assert shared.to_peft()["target_parameters"] == ["mlp.experts.down_proj"]


@pytest.mark.parametrize(
    ("options", "match"),
    [({"experts": "some"}, "experts = 'some' is neither"), ({"experts": "shared", "rule": "spectrum"}, "of its own")],
)
def test_wrong_experts(mixture, options, match):
    with pytest.raises(InputError, match=match):
        select_ranks(mixture, 1e4, **options)


@pytest.mark.parametrize("experts", ["own", "shared"])
def test_peft_builds_what_was_chosen_on_a_mixture(experts):
    module = tiny_mixtral()
    empty = skeleton_like(module)
    spectra = model_spectra(module_source(module))
    reasons = why_not_adaptable(spectra, empty, shared_experts=experts == "shared")
    assert len(reasons) == (0 if experts == "shared" else 8)
    selection = select_ranks(spectra.holding(reasons), 1000, budget=0.5, rank_multiple=1, experts=experts)
    arguments = checked(selection, empty)
    expected = {
        target.layer if target.stack == 1 else target.tensor: target.rank for target in selection.adapter_targets()
    }
    assert built(arguments, module) == expected
    assert ("target_parameters" in arguments) == (experts == "shared")
    held = {part.layer for part in selection.held}
    assert held == set(reasons)
    assert any("stay dense, outside the budget" in warning for warning in selection.warnings) == bool(held)


def test_experts_that_are_adapted_with_their_stack_are_said(mixture):
    """One that no token of the text came to stays dense, and peft has one adapter for the stack."""
    held = mixture.holding({"mlp.experts.down_proj[1]": "no token of the text came to it"})
    for spectra, beside in ((held, 1), (mixture, 0)):
        targets = select_ranks(spectra, 1000, budget=0.5, experts="shared").adapter_targets()
        assert any(target.stack == 2 for target in targets)
        assert (
            adapted_beside(targets, spectra).count("1 maps that stay dense here get it too, among them mlp") == beside
        )


def test_dense_layers_of_a_mixture_are_not_moved_to_its_experts():
    torch.manual_seed(0)
    config = DeepseekV3Config(
        vocab_size=64, hidden_size=32, intermediate_size=48, moe_intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=4, n_routed_experts=4, num_experts_per_tok=2, n_shared_experts=1,
        n_group=1, topk_group=1, first_k_dense_replace=1, q_lora_rank=24, kv_lora_rank=20, qk_rope_head_dim=8,
        qk_nope_head_dim=16, v_head_dim=12, max_position_embeddings=64,
    )  # fmt: skip
    module = DeepseekV3ForCausalLM(config)
    selection = select_ranks(model_spectra(module_source(module)), 1000, budget=0.5)
    ranks = {part.layer: part.rank for part in selection.layers if part.rank is not None and part.stack == 1}
    assert any("mlp.gate_proj" in name or "mlp.down_proj" in name for name in ranks)
    names = {name.removesuffix(".weight"): rank for name, rank in built(selection.to_peft(), module).items()}
    assert names == ranks


def test_what_peft_refuses_is_left_out_with_its_words():
    config = Mamba2Config(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=1,
        num_heads=8,
        head_dim=8,
        n_groups=1,
        state_size=8,
        chunk_size=8,
    )
    module = Mamba2ForCausalLM(config)
    spectra = model_spectra(module_source(module))
    reasons = why_not_adaptable(spectra, skeleton_like(module), shared_experts=False)
    assert list(reasons) == ["backbone.layers.0.mixer.out_proj"]
    assert "incompatible with Mamba" in reasons["backbone.layers.0.mixer.out_proj"]
    selection = select_ranks(spectra.holding(reasons), 1000, budget=0.5, rank_multiple=1)
    assert built(checked(selection, skeleton_like(module)), module) == selection.ranks


def test_nothing_to_adapt():
    module = tiny_llama()
    selection = select_ranks(model_spectra(module_source(module)), 1000, budget=1)
    with pytest.raises(InputError, match="nothing for peft to adapt"):
        checked(selection, skeleton_like(module))


def test_spectra_without_a_model_are_checked_on_their_names():
    spectra = model_spectra(module_source(tiny_llama()))
    stub = stub_of(part.layer for part in spectra.layers)
    selection = select_ranks(spectra, 1000, budget=0.5, rank_multiple=1)
    assert built(checked(selection, stub), stub) == selection.ranks


class Alike(torch.nn.Module):
    """Names that peft takes for the end of other paths, and for regular expressions."""

    def __init__(self):
        super().__init__()
        names = ("a+b", "x[1]", "q|r", "up")
        self.d = torch.nn.ModuleDict({name: torch.nn.Linear(32, 32) for name in names})
        self.tower = torch.nn.ModuleDict({"d": torch.nn.ModuleDict({"up": torch.nn.Linear(32, 40)})})
        self.up = torch.nn.Linear(32, 24)


@pytest.mark.parametrize(
    "ranks", [{"d.up": 6, "d.a+b": 8}, {"up": 6}, {"d.x[1]": 4, "d.q|r": 2}, {"up": 3, "d.up": 4, "tower.d.up": 5}]
)
def test_names_that_match_more_than_they_mean_are_anchored(ranks):
    targets = [Target(name, f"{name}.weight", 1, rank) for name, rank in ranks.items()]
    arguments = checked_lora_arguments(targets, Alike(), stacked=False, name="alike")
    assert built(json.loads(json.dumps(arguments)), Alike()) == ranks


def test_layers_of_like_names_are_all_adaptable():
    spectra = model_spectra(module_source(Alike()))
    assert why_not_adaptable(spectra, Alike(), shared_experts=False) == {}
