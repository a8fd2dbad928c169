"""A real language model, where its package is installed: 135 million parameters in 4 bits."""

import gguf
import numpy as np
import pytest

from theorykit.errors import InputError
from theorykit.models.layers import find_layers
from theorykit.models.locations import smollm2_file
from theorykit.models.sources import open_weights
from theorykit.spectra.kernels import spectrum


@pytest.fixture(scope="module")
def file():
    try:
        return smollm2_file()
    except InputError as error:
        pytest.skip(f"{error.message}: {error.hint}")


@pytest.fixture(scope="module")
def source(file):
    return open_weights("smollm2")


def test_layers(source):
    linear = {layer.name: layer for layer in source.layers if layer.factorable}
    assert set(linear) == {
        f"model.layers.{index}.{name}"
        for index in range(30)
        for name in (
            "self_attn.q_proj",
            "self_attn.k_proj",
            "self_attn.v_proj",
            "self_attn.o_proj",
            "mlp.gate_proj",
            "mlp.up_proj",
            "mlp.down_proj",
        )
    }
    (embedding,) = [layer for layer in source.layers if not layer.factorable]
    assert (embedding.name, embedding.shape, embedding.kind) == ("model.embed_tokens", (49152, 576), "embedding")
    assert linear["model.layers.3.self_attn.k_proj"].shape == (192, 576)
    assert linear["model.layers.3.mlp.up_proj"].shape == (1536, 576)
    assert linear["model.layers.3.mlp.down_proj"].shape == (576, 1536)
    assert sum(layer.parameters for layer in linear.values()) == 106_168_320


@pytest.mark.parametrize(
    ("name", "tensor"),
    [("model.layers.7.self_attn.k_proj", "blk.7.attn_k"), ("model.layers.29.mlp.down_proj", "blk.29.ffn_down")],
)
def test_spectra_equal_those_of_numpy(source, file, name, tensor):
    layer = next(layer for layer in source.layers if layer.name == name)
    with source.open(layer) as matrix:
        found = spectrum(matrix)
    part = next(part for part in gguf.GGUFReader(file).tensors if part.name == f"{tensor}.weight")
    dense = gguf.dequantize(part.data, part.tensor_type).astype(np.float64)
    assert dense.shape == layer.shape == found.shape
    expected = np.linalg.svd(dense, compute_uv=False)
    np.testing.assert_allclose(found.singular_values, expected, rtol=1e-6, atol=1e-9 * expected[0])


def test_bundled_spectra_are_of_these_layers(source):
    from theorykit.models.model_spectra import bundled_spectra

    bundled = {part.layer.name: part.layer.shape for part in bundled_spectra().layers}
    assert bundled == {layer.name: layer.shape for layer in source.layers}


def test_shapes_alone_tell_the_layers(source):
    shapes = {layer.tensor: layer.shape for layer in source.layers}
    assert [layer.name for layer in find_layers(shapes)] == [layer.name for layer in source.layers]


def test_what_was_loaded_can_be_saved(tmp_path, file):
    from safetensors import safe_open

    from theorykit import load_language_model

    module = load_language_model("smollm2", device="cpu").module
    module.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as saved:
        name = "model.layers.0.mlp.up_proj.weight"
        np.testing.assert_array_equal(saved.get_tensor(name).numpy(), module.state_dict()[name].numpy())
    assert "quantization_config" not in (tmp_path / "config.json").read_text()
