import json
import os
import re
import shutil

import gguf
import numpy as np
import pytest
import torch
import torch.nn.utils.prune

from tests.models.tiny import edit_safetensors, gguf_name, tiny_gpt2, tiny_llama, write_gguf
from theorykit.errors import CheckpointError, InputError
from theorykit.models import sources
from theorykit.models.analysis import model_spectra
from theorykit.models.sources import fingerprint, module_source, open_weights, unread_remark

Q = gguf.GGMLQuantizationType
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def numpy_spectra(module):
    """Singular values of every matrix of a module, by NumPy from float64."""
    return {
        name.removesuffix(".weight"): np.linalg.svd(parameter.double().numpy(), compute_uv=False)
        for name, parameter in module.named_parameters()
        if parameter.ndim == 2
    }


def assert_same_spectra(source, expected, *, tolerance=1e-6):
    found = model_spectra(source)
    assert {part.layer.name for part in found.layers} == set(expected)
    for part in found.layers:
        reference = expected[part.layer.name]
        assert part.spectrum.shape == part.layer.shape
        np.testing.assert_allclose(
            part.spectrum.singular_values, reference, rtol=tolerance, atol=tolerance * reference[0]
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", [tiny_gpt2, tiny_llama])
@pytest.mark.parametrize("form", ["folder", "file", "sharded", "live", "pickle", "pickle folder"])
def test_every_form_gives_the_same_spectra(form, make, dtype, tmp_path):
    module = make().to(DTYPES[dtype])
    expected = numpy_spectra(module)
    if form == "live":
        assert_same_spectra(module_source(module), expected)
        return
    if form.startswith("pickle"):
        module.config.save_pretrained(tmp_path)
        torch.save(module.state_dict(), tmp_path / "pytorch_model.bin")
        path = tmp_path if form == "pickle folder" else tmp_path / "pytorch_model.bin"
        assert_same_spectra(open_weights(path, allow_pickle=True), expected)
        return
    module.save_pretrained(tmp_path, max_shard_size="20KB" if form == "sharded" else "1GB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2 or form != "sharded"
    path = tmp_path / "model.safetensors" if form == "file" else tmp_path
    source = open_weights(path)
    assert source.name == str(path)
    assert_same_spectra(source, expected)


@pytest.mark.parametrize("kind", [None, Q.F16, Q.BF16, Q.Q8_0, Q.Q4_1])
def test_gguf_gives_hub_names_and_the_spectra_of_what_it_stores(kind, tmp_path):
    module = tiny_llama(hidden_size=64, intermediate_size=96)  # quantised rows come in blocks of 32
    file = write_gguf(tmp_path / "tiny.gguf", module.state_dict(), kind=kind)
    stored = {}
    for name, parameter in module.state_dict().items():
        if parameter.ndim == 2:
            array = parameter.float().numpy()
            if kind is not None:
                array = gguf.dequantize(gguf.quantize(array, kind), kind)
            stored[name.removesuffix(".weight")] = np.linalg.svd(array.astype(np.float64), compute_uv=False)
    for path in (file, tmp_path):
        assert_same_spectra(open_weights(path), stored)
    kinds = {layer.name: layer.kind for layer in open_weights(file).layers}
    assert kinds == {layer.name: layer.kind for layer in module_source(module).layers}
    exact = numpy_spectra(module)
    error = {None: 1e-6, Q.F16: 2e-3, Q.BF16: 1e-2, Q.Q8_0: 1e-2, Q.Q4_1: 1e-1}[kind]
    assert_same_spectra(open_weights(file), exact, tolerance=error)


def test_gguf_of_gpt2_gets_the_names_of_gpt2(tmp_path):
    names = {
        "transformer.wte.weight": ("token_embd.weight", (97, 48)),
        "transformer.wpe.weight": ("position_embd.weight", (64, 48)),
        "transformer.h.0.attn.c_attn.weight": ("blk.0.attn_qkv.weight", (144, 48)),
        "transformer.h.0.attn.c_proj.weight": ("blk.0.attn_output.weight", (48, 48)),
        "transformer.h.0.mlp.c_fc.weight": ("blk.0.ffn_up.weight", (192, 48)),
        "transformer.h.0.mlp.c_proj.weight": ("blk.0.ffn_down.weight", (48, 192)),
    }
    weights = {name: torch.randn(shape) for name, (_, shape) in names.items()}
    file = write_gguf(tmp_path / "g.gguf", weights, architecture="gpt2", rename=lambda name: names[name][0])
    found = {layer.name: (layer.kind, layer.shape, layer.fused) for layer in open_weights(file).layers}
    assert found["transformer.h.0.attn.c_attn"] == ("attention", (144, 48), True)
    assert found["transformer.h.0.mlp.c_proj"] == ("mlp", (48, 192), False)
    assert set(found) == {name.removesuffix(".weight") for name in names}


def test_gguf_of_an_unknown_architecture_keeps_its_own_names(tmp_path, llama):
    file = write_gguf(tmp_path / "g.gguf", llama.state_dict(), architecture="no-such-thing")
    layers = {layer.name: layer.kind for layer in open_weights(file).layers}
    assert set(layers) == {
        gguf_name(name).removesuffix(".weight") for name, value in llama.state_dict().items() if value.ndim == 2
    }
    assert layers["blk.1.attn_output"] == "attention"
    assert layers["blk.1.ffn_down"] == "mlp"
    assert layers["token_embd"] == "embedding"
    assert layers["output"] == "head"


@pytest.mark.parametrize("kind", [None, Q.Q8_0])
def test_gguf_experts_are_read_one_at_a_time(kind, tmp_path, monkeypatch):
    stack = torch.randn(4, 128, 32, generator=torch.Generator().manual_seed(0))
    gate, up = stack.chunk(2, dim=1)
    file = write_gguf(
        tmp_path / "g.gguf",
        {"gate": gate.contiguous(), "up": up.contiguous()},
        kind=kind,
        numbers={"llama.expert_count": 4, "llama.expert_used_count": 1},
        rename=lambda name: f"blk.0.ffn_{name}_exps.weight",
    )
    source = open_weights(file)
    assert [(layer.name, layer.active_share, layer.fused) for layer in source.layers] == [
        (f"model.layers.0.mlp.experts.gate_up_proj[{index}]", 0.25, True) for index in range(4)
    ]
    sizes = []
    original = gguf.dequantize
    monkeypatch.setattr(gguf, "dequantize", lambda data, form: sizes.append(len(data)) or original(data, form))
    expected = {
        layer.name: np.linalg.svd(stack[index].double().numpy(), compute_uv=False)
        for index, layer in enumerate(source.layers)
    }
    assert_same_spectra(source, expected, tolerance=1e-6 if kind is None else 1e-2)
    assert set(sizes) == {64}  # rows of one expert, never of all


@pytest.mark.parametrize("limit", ["1GB", "20KB"])
def test_layers_come_in_the_order_of_their_numbers(limit, tmp_path):
    tiny_llama(num_hidden_layers=12).save_pretrained(tmp_path, max_shard_size=limit)
    names = [layer.name for layer in open_weights(tmp_path).layers if layer.name.endswith("q_proj")]
    assert names == [f"model.layers.{index}.self_attn.q_proj" for index in range(12)]


def test_a_tied_head_in_a_pickle_counts_once_without_a_configuration(tmp_path):
    module = tiny_llama(tie_word_embeddings=True)
    torch.save(module.state_dict(), tmp_path / "pytorch_model.bin")
    source = open_weights(tmp_path, allow_pickle=True)
    assert [layer.name for layer in source.layers if not layer.factorable] == ["model.embed_tokens"]


def test_a_pickle_with_a_state_dict_inside_and_with_more_beside_it(tmp_path, llama):
    state = llama.state_dict()
    torch.save({"epoch": 3, "state_dict": {**state, 5: "text", "steps": torch.tensor(4)}}, tmp_path / "all.ckpt")
    source = open_weights(tmp_path / "all.ckpt", allow_pickle=True)
    assert_same_spectra(source, numpy_spectra(llama))


def test_trainer_files_beside_the_weights_are_not_read(tmp_path, llama):
    torch.save(llama.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "training_args.bin").write_bytes(b"not weights")
    assert len(open_weights(tmp_path, allow_pickle=True).layers) == 16


def test_a_live_module_without_configuration():
    module = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.LayerNorm(7), torch.nn.Linear(7, 3, bias=False))
    source = module_source(module, "mine")
    assert [(layer.name, layer.shape) for layer in source.layers] == [("0", (7, 5)), ("2", (3, 7))]
    assert source.name == "mine"
    assert fingerprint(source) is None


class Odd(torch.nn.Module):
    def __init__(self, tensor):
        super().__init__()
        self.odd = torch.nn.Parameter(tensor, requires_grad=False)
        self.plain = torch.nn.Linear(8, 6)


@pytest.mark.parametrize(
    "tensor", [torch.ones(8, 8, dtype=torch.complex64), torch.ones(8, 8, dtype=torch.int64), torch.eye(8).to_sparse()]
)
def test_parameters_that_are_no_dense_real_numbers_are_omitted(tensor):
    source = module_source(Odd(tensor))
    assert [layer.name for layer in source.layers] == ["plain"]
    assert [(part.name, part.parameters) for part in source.omitted] == [("odd", 64)]


def test_a_table_of_bags_is_no_layer():
    module = torch.nn.ModuleDict({"words": torch.nn.EmbeddingBag(9, 4), "plain": torch.nn.Linear(8, 6)})
    assert [(layer.name, layer.kind) for layer in module_source(module).layers if not layer.factorable] == [
        ("words", "embedding")
    ]


def test_a_pruned_weight_is_said_to_be_left_out():
    """The product is with the masked copy, so that the numbers behind it are no map of the model."""
    module = tiny_llama()
    torch.nn.utils.prune.l1_unstructured(module.model.layers[0].mlp.up_proj, "weight", 0.5)
    assert [part.name for part in module_source(module).omitted] == ["model.layers.0.mlp.up_proj.weight_orig"]


def test_a_traced_module_is_read_as_it_is():
    """torch.jit hides the classes of its modules: names and shapes have to do."""
    module = torch.jit.trace(torch.nn.Sequential(torch.nn.Linear(8, 6)), torch.ones(2, 8))
    assert [layer.shape for layer in module_source(module).layers] == [(6, 8)]


def test_masks_of_older_files_are_nobodys_weights(tmp_path):
    tiny_gpt2().save_pretrained(tmp_path)
    mask = torch.ones(1, 1, 16, 16)
    edit_safetensors(tmp_path, lambda tensors: tensors | {"transformer.h.0.attn.bias": mask})
    source = open_weights(tmp_path)
    assert source.omitted == ()
    assert unread_remark(source) == ""
    edit_safetensors(tmp_path, lambda tensors: tensors | {"transformer.h.9.attn.c_attn.weight": mask[0, 0]})
    assert re.search(
        r": 256 numbers of the files \(0\.2%\) .* among them transformer\.h\.9\.", unread_remark(open_weights(tmp_path))
    )


@pytest.mark.parametrize(
    ("module", "match"),
    [
        ({"weight": torch.ones(4, 4)}, "a dict is no torch"),
        ("gpt2", "a str is no torch"),
        (torch.nn.LazyLinear(4), "weight has no shape yet"),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_what_is_no_module_with_weights(module, match):
    with pytest.raises(InputError, match=match):
        module_source(module)


def test_a_module_without_numbers_has_layers_and_no_spectra():
    source = module_source(torch.nn.Linear(8, 6, device="meta"))
    assert [layer.shape for layer in source.layers] == [(6, 8)]
    with pytest.raises(CheckpointError, match="has no weights"):
        model_spectra(source)


def test_the_fingerprint_follows_the_contents_alone(llama_folder, tmp_path):
    first = fingerprint(open_weights(llama_folder))
    copy = shutil.copytree(llama_folder, tmp_path / "copy")
    os.utime(copy / "model.safetensors", (0, 0))
    assert fingerprint(open_weights(copy)) == first
    file = llama_folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    for place in (len(content) // 2, -1):
        content[place] ^= 1
        file.write_bytes(content)
        os.utime(file, (0, 0))
        assert fingerprint(open_weights(llama_folder)) != first
        content[place] ^= 1


def test_the_fingerprint_sees_every_block(llama_folder, monkeypatch):
    monkeypatch.setattr(sources, "_HASHED_BLOCK", 1000)
    file = llama_folder / "model.safetensors"
    content = file.read_bytes()
    first = fingerprint(open_weights(llama_folder))
    start = content.index(b"}}") + 3000
    for place in range(start, start + 4000, 999):
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert fingerprint(open_weights(llama_folder)) != first
    file.write_bytes(content)
    assert fingerprint(open_weights(llama_folder)) == first


def test_a_folder_without_configuration_is_read_all_the_same(llama_folder):
    (llama_folder / "config.json").unlink()
    assert len(open_weights(llama_folder).layers) == 16
    (llama_folder / "config.json").write_text(json.dumps({"model_type": ["odd"]}))
    assert len(open_weights(llama_folder).layers) == 16


def test_weights_named_otherwise_in_a_folder(llama_folder):
    (llama_folder / "model.safetensors").rename(llama_folder / "weights.safetensors")
    assert len(open_weights(llama_folder).layers) == 16
