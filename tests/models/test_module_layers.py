"""Layers by what a model does with its parameters, with weights and without, in memory and in files."""

import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertLMHeadModel,
    DbrxConfig,
    DbrxForCausalLM,
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    RobertaPreLayerNormConfig,
    RobertaPreLayerNormForCausalLM,
)

from tests.models.tiny import edit_safetensors, language_model, random_tokens, tiny_gpt2, tiny_llama, tiny_mixtral
from theorykit.errors import CalibrationError
from theorykit.models.analysis import model_spectra
from theorykit.models.calibration import collect_statistics
from theorykit.models.causality import require_causal
from theorykit.models.module_layers import module_layers
from theorykit.models.products import ChangedInPlaceError, ParameterProducts
from theorykit.models.skeleton import skeleton_like, skeleton_of
from theorykit.models.sources import module_source, open_weights
from theorykit.rank_selection.budget import parse_budget

SMALL = {"vocab_size": 97, "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 80}


def tiny_dbrx():
    torch.manual_seed(0)
    attention = {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 1e4}
    experts = {"ffn_hidden_size": 40, "moe_num_experts": 4, "moe_top_k": 2, "hidden_size": 48}
    shape = {"vocab_size": 97, "d_model": 48, "n_layers": 1, "n_heads": 4, "max_seq_len": 512}
    config = DbrxConfig(**shape, attn_config=attention, ffn_config=experts)
    return DbrxForCausalLM(config).eval().requires_grad_(False)


def test_experts_below_one_another_in_one_matrix():
    """w1 and v1 are used as x Wᵀ and w2 as x W, each a stack of four [40, 48] in a matrix [160, 48]."""
    layers = {layer.name: layer for layer in module_layers(tiny_dbrx()).layers}
    stem = "transformer.blocks.0.ffn.experts.mlp"
    for index in range(4):
        assert layers[f"{stem}[{index}].w1"].shape == layers[f"{stem}[{index}].v1"].shape == (40, 48)
        assert layers[f"{stem}[{index}].w2"].shape == (48, 40)
        assert {layers[f"{stem}[{index}].{name}"].active_share for name in ("w1", "v1", "w2")} == {0.5}
    assert {"transformer.blocks.0.norm_attn_norm.attn.Wqkv"} <= set(layers)


def test_norm_in_the_path_of_a_module_is_no_reason():
    torch.manual_seed(0)
    module = RobertaPreLayerNormForCausalLM(RobertaPreLayerNormConfig(**SMALL, is_decoder=True))
    expected = 2 * (4 * 48 * 48 + 2 * 48 * 80) + 48 * 48  # and the transform before the head
    assert sum(layer.parameters for layer in module_source(module).layers if layer.factorable) == expected


@pytest.mark.parametrize("make", [tiny_gpt2, tiny_llama, tiny_mixtral, tiny_dbrx])
def test_a_model_without_weights_has_the_same_layers(make):
    module = make()
    assert module_layers(skeleton_like(module)) == module_layers(module)


def tiny_deepseek():
    """Its router is cast to float32 in each pass."""
    torch.manual_seed(0)
    latent = {"kv_lora_rank": 20, "q_lora_rank": 24, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 12}
    experts = {
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": 1,
    }
    settings = SMALL | latent | experts | {"moe_intermediate_size": 40, "num_key_value_heads": 4}
    return DeepseekV3ForCausalLM(DeepseekV3Config(**settings)).eval()


@pytest.mark.parametrize("make", [tiny_mixtral, tiny_dbrx, tiny_deepseek])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_precision_changes_no_layers(make, dtype):
    """Neither that of a live model, nor that which the configuration or the process asks for."""
    expected = module_layers(make())
    module = make().to(dtype)
    assert module_layers(module) == expected
    module.config.dtype, module.config.architectures = dtype, None
    usual = torch.get_default_dtype()
    try:
        torch.set_default_dtype(dtype)
        assert module_layers(skeleton_like(module)) == module_layers(skeleton_of(module.config)) == expected
    finally:
        torch.set_default_dtype(usual)


def test_what_a_broken_pass_did_not_reach_is_told_by_names():
    class Broken(Inner):
        def __init__(self):
            super().__init__()
            self.experts = torch.nn.Parameter(torch.randn(4, 8, 5))

        def forward(self, input_ids, pixels):
            return super().forward(input_ids).logits @ pixels @ self.experts[0]

    layers = {layer.name for layer in module_layers(Broken()).layers}
    assert {f"experts[{index}]" for index in range(4)} <= layers


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("make", [tiny_gpt2, tiny_llama, tiny_mixtral, tiny_dbrx])
def test_a_folder_holds_the_same_matrices_under_the_same_names(make, pickled, tmp_path):
    module = make()
    module.save_pretrained(tmp_path)
    if pickled:
        file = tmp_path / "model.safetensors"
        torch.save(load_file(file), tmp_path / "pytorch_model.bin")
        file.unlink()
    live, stored = module_source(module), open_weights(tmp_path, allow_pickle=True)
    assert stored.layers == live.layers
    for layer in live.layers:
        with live.open(layer) as expected, stored.open(layer) as matrix:
            assert torch.equal(torch.as_tensor(matrix[: matrix.shape[0]]), expected)


@pytest.mark.parametrize("own", [True, False])
def test_a_head_counts_where_its_numbers_are_its_own(own, tmp_path):
    tiny_llama(tie_word_embeddings=True).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    embedding = tensors["model.embed_tokens.weight"]
    tensors["lm_head.weight"] = embedding + 1 if own else embedding.clone()
    save_file(tensors, file, metadata={"format": "pt"})
    for source in (open_weights(tmp_path), _without_class(tmp_path)):
        away = [layer.name for layer in source.layers if not layer.factorable]
        assert sorted(away) == (["lm_head", "model.embed_tokens"] if own else ["model.embed_tokens"])


@pytest.mark.parametrize(
    ("make", "lost", "matrix"),
    [
        (tiny_llama, "layers.1.mlp.up_proj", "model.layers.1.mlp.up_proj.weight"),
        (tiny_mixtral, "experts.1.w1", "model.layers.0.mlp.experts.gate_up_proj"),
    ],
)
def test_matrices_that_the_files_lack_are_said(make, lost, matrix, tmp_path):
    make().save_pretrained(tmp_path)
    edit_safetensors(tmp_path, lambda tensors: {key: value for key, value in tensors.items() if lost not in key})
    spectra = model_spectra(open_weights(tmp_path))
    whole = module_source(make())
    numbers = sum(layer.parameters for layer in whole.layers if layer.factorable)
    assert [(part.name, part.parameters) for part in spectra.omitted if part.state == "lacking"] == [(matrix, 80 * 48)]
    assert spectra.linear_parameters == numbers - 80 * 48
    assert re.search(rf"lacks 1 of the model's matrices \(.*%\), among them {re.escape(matrix)}$", spectra.remark)
    assert not model_spectra(whole).remark


def test_matrices_under_other_names_are_not_lacking(tmp_path):
    tiny_llama().save_pretrained(tmp_path)
    edit_safetensors(tmp_path, lambda tensors: {key.replace("up_proj", "upwards"): tensors[key] for key in tensors})
    spectra = model_spectra(open_weights(tmp_path))
    assert not spectra.remark
    assert spectra.linear_parameters == model_spectra(module_source(tiny_llama())).linear_parameters
    assert "model.layers.1.mlp.upwards" in {part.layer.name for part in spectra.layers}


def _without_class(folder):
    """The same folder for a transformers that does not know the family."""
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"llama"', '"unheard"').replace("LlamaForCausalLM", "Unheard"))
    return open_weights(folder)


class Inner(torch.nn.Module):
    """A model of raw parameters: an einsum, a stack that is used at once, and a change of what a layer has read."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed_tokens = torch.nn.Embedding(9, 8)
        self.mix = torch.nn.Parameter(torch.randn(8, 2, 3))
        self.blocks = torch.nn.Parameter(torch.randn(2, 3, 5))
        self.table = torch.nn.Parameter(torch.randn(4, 5))
        self.out = torch.nn.Linear(10, 8, bias=False)
        self.lm_head = torch.nn.Linear(8, 9, bias=False)

    def forward(self, input_ids):
        x = self.embed_tokens(input_ids)
        heads = torch.einsum("btd,dhe->bthe", x, self.mix)
        middle = torch.matmul(heads.permute(2, 0, 1, 3), self.blocks[:, None]).permute(1, 2, 0, 3).flatten(-2)
        result = self.out(middle)
        middle.mul_(0.0)  # the layer above has read it
        return type("Output", (), {"logits": self.lm_head(result + self.table.sum())})


def test_raw_parameters_are_layers_where_states_are_multiplied_by_them():
    parts = module_layers(Inner())
    shapes = {layer.name: (layer.shape, layer.transposed, layer.active_share) for layer in parts.layers}
    assert shapes["mix"] == ((6, 8), True, 1.0)
    assert shapes["blocks[0]"] == shapes["blocks[1]"] == ((5, 3), True, 1.0)
    assert shapes["out"] == ((8, 10), False, 1.0)
    assert [(part.name, part.parameters) for part in parts.omitted] == [("table", 20)]


class Looped(torch.nn.Module):
    """Three passes through one map, behind a prompt of twelve states, and experts of which a token sees one of four."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed_tokens, self.lm_head = torch.nn.Embedding(97, 8), torch.nn.Linear(8, 97, bias=False)
        self.first, self.loop = torch.nn.Linear(8, 6), torch.nn.Linear(6, 6)
        self.experts = torch.nn.ModuleList(torch.nn.Linear(6, 8) for _ in range(4))
        self.qkv = torch.nn.Linear(8, 8)

    def forward(self, input_ids):
        x = self.embed_tokens(input_ids)
        x = x + torch.cat([torch.nn.functional.linear(x, rows) for rows in self.qkv.weight.split([6, 2])], dim=-1)
        x = torch.nn.functional.pad(self.first(x), (0, 0, 12, 0))
        for _ in range(3):
            x = x + self.loop(x)
        x = x[:, 12:]
        chosen = torch.arange(x.shape[1]) % 4
        outputs = torch.stack([expert(x[:, chosen == index]) for index, expert in enumerate(self.experts)], dim=2)
        return type("Output", (), {"logits": self.lm_head(outputs.flatten(1, 2))})


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_map_costs_as_often_as_a_token_comes_to_it(device):
    """Operations of a loop count each time, those of a prompt in front of any text not at all, parts as parts."""
    module = Looped().to(device)
    layers = [layer for layer in module_layers(module).layers if layer.factorable]
    shares = {layer.name: layer.active_share * layer.calls for layer in layers}
    experts = {f"experts.{index}": 0.25 for index in range(4)}
    assert shares == {"first": 1.0, "loop": 3.0, "qkv": 1.0} | experts
    loop = next(layer for layer in layers if layer.name == "loop")
    assert parse_budget("100 FLOP", [loop]).dense == 2 * 3 * 6 * 6


def test_inputs_that_a_model_changes_later_are_copied():
    module = Inner().requires_grad_(False)
    tokens = random_tokens(2, 6) % 9
    parts = {
        part.name: part for part in collect_statistics(language_model(module), tokens, generator=torch.Generator())
    }
    x = module.embed_tokens(tokens)
    middle = torch.einsum("btd,dhe,hef->bthf", x, module.mix, module.blocks).flatten(-2).flatten(0, 1).double()
    out = parts["out"]
    assert not out.on_inputs
    outputs = middle @ module.out.weight.double().T
    torch.testing.assert_close(out.pulled, outputs.T @ outputs / len(outputs), rtol=1e-5, atol=1e-5)
    with ParameterProducts([("out.weight", module.out.weight)], show=lambda *_: None):
        logits = module(tokens).logits
    with pytest.raises(ChangedInPlaceError):
        logits.sum().backward()


def test_a_model_that_reads_both_ways_is_refused():
    torch.manual_seed(0)
    forwards, both = (BertLMHeadModel(BertConfig(**SMALL, is_decoder=way)).eval() for way in (True, False))
    require_causal(forwards, "a decoder")
    with pytest.raises(CalibrationError, match="an encoder is not causal"):
        require_causal(both, "an encoder")
