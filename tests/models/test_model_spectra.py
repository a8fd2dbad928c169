"""The file of spectra: what is written comes back, and what is damaged is refused."""

import json
import os

import numpy as np
import pytest

from theorykit.errors import CheckpointError, InputError
from theorykit.models.analysis import model_spectra
from theorykit.models.layers import LinearLayer
from theorykit.models.model_spectra import (
    LayerSpectra,
    LossAnchor,
    LossCalibration,
    ModelSpectra,
    bundled_spectra,
    load_spectra,
)
from theorykit.models.sources import module_source
from theorykit.spectra.spectrum import Spectrum
from theorykit.spectra.whitening import WhitenedSpectrum


@pytest.fixture
def example():
    """Two layers, one with both whitened spectra, an embedding and everything that a file can hold."""
    rng = np.random.default_rng(0)

    def values(size):
        return np.sort(rng.uniform(0.1, 3, size))[::-1].astype(np.float32).astype(np.float64)

    layers = []
    for name, shape, kind, metrics in (
        ("model.embed", (30, 6), "embedding", ()),
        ("h.0.a", (20, 8), "attention", ("fisher",)),
        ("h.0.e[1]", (5, 9), "expert", ("activation", "fisher")),
    ):
        layer = LinearLayer(name, f"{name}.weight", shape, kind, expert=1 if "[" in name else None, active_share=0.5)
        whitened = {metric: WhitenedSpectrum(values(min(shape)), shape, "gram", metric=metric) for metric in metrics}
        layers.append(LayerSpectra(layer, Spectrum(values(min(shape)), shape, "gram"), whitened))
    anchors = (LossAnchor(0.9, 0.1, 0.2), LossAnchor(0.7, 0.4, 0.9))
    calibration = LossCalibration("text.txt", 1024, 512, 7, 0.03, anchors, heading=("<bos>",))
    return ModelSpectra("an example", tuple(layers), calibration, {"files": ["a.safetensors"], "licence": None})


def test_round_trip(example, tmp_path):
    file = example.save(tmp_path / "a.npz")
    again = load_spectra(file)
    assert (again.name, again.calibration, again.origin) == (example.name, example.calibration, example.origin)
    assert [part.layer for part in again.layers] == [part.layer for part in example.layers]
    for one, other in zip(example.layers, again.layers, strict=True):
        np.testing.assert_array_equal(one.spectrum.singular_values, other.spectrum.singular_values)
        assert one.whitened.keys() == other.whitened.keys()
        for metric, spectrum in one.whitened.items():
            np.testing.assert_array_equal(spectrum.singular_values, other.whitened[metric].singular_values)
            assert other.whitened[metric].metric == metric
    assert again.is_calibrated
    assert (again.linear_parameters, again.embedding_parameters) == (20 * 8 + 5 * 9, 30 * 6)
    assert again.save(tmp_path / "b.npz").read_bytes() == file.read_bytes()


def test_round_trip_of_a_model(llama, tmp_path):
    found = model_spectra(module_source(llama, "tiny"))
    again = load_spectra(found.save(tmp_path / "a.npz"))
    for one, other in zip(found.layers, again.layers, strict=True):
        np.testing.assert_allclose(one.spectrum.singular_values, other.spectrum.singular_values, rtol=1e-7)
    assert repr(again) == repr(found)
    assert again.to_frame().shape == found.to_frame().shape


def test_writing_into_a_missing_folder_leaves_nothing(example, tmp_path):
    with pytest.raises(InputError, match=r"cannot write .*No such file or directory"):
        example.save(tmp_path / "missing" / "a.npz")
    with pytest.raises(InputError, match=r"cannot write .*it is a folder"):
        example.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(example, tmp_path, monkeypatch):
    file = tmp_path / "a.npz"
    file.write_text("old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(InputError, match="No space left on device"):
        example.save(file)
    assert file.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.npz"]


def test_every_cut_is_refused(example, tmp_path):
    content = example.save(tmp_path / "a.npz").read_bytes()
    for keep in range(0, len(content), 13):
        (tmp_path / "cut.npz").write_bytes(content[:keep])
        with pytest.raises(CheckpointError, match="is not a file of spectra") as caught:
            load_spectra(tmp_path / "cut.npz")
        assert "\n" not in caught.value.message
        assert caught.value.hint


def test_a_flipped_byte_is_refused_or_harmless(example, tmp_path):
    content = example.save(tmp_path / "a.npz").read_bytes()
    refused = 0
    for place in range(0, len(content), 5):
        damaged = bytearray(content)
        damaged[place] ^= 0x55
        (tmp_path / "b.npz").write_bytes(damaged)
        try:
            again = load_spectra(tmp_path / "b.npz")
        except CheckpointError:
            refused += 1
        else:  # a byte that carries nothing: a time, a file attribute
            assert [part.layer for part in again.layers] == [part.layer for part in example.layers]
            for one, other in zip(example.layers, again.layers, strict=True):
                np.testing.assert_array_equal(one.spectrum.singular_values, other.spectrum.singular_values)
    assert refused > len(content) / 5 / 2


def change(file, target, **entries):
    """Copy a file of spectra with other entries in its description."""
    with np.load(file) as content:
        arrays = dict(content)
    meta = json.loads(bytes(arrays["meta"]).decode()) | entries
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
    np.savez(target, **arrays)
    return target


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_schema_version_is_refused(example, tmp_path, version):
    file = change(example.save(tmp_path / "a.npz"), tmp_path / "b.npz", schema_version=version)
    with pytest.raises(CheckpointError, match=f"has schema version {version}, not 1"):
        load_spectra(file)


@pytest.mark.parametrize(
    "entries",
    [
        {"layers": None},
        {"layers": ["abc"]},
        {"layers": [{"name": "a"}]},
        {"layers": [{"name": "a", "tensor": "a", "shape": [3, -3], "kind": "mlp", "whitened": []}]},
        {"layers": [{"name": "a", "tensor": "a", "shape": [3], "kind": "mlp", "whitened": []}]},
        {"layers": [{"name": "a", "tensor": "a", "shape": [900, 900], "kind": "mlp", "whitened": []}]},
        {"calibration": [1]},
        {"calibration": {"text": 1}},
    ],
)
def test_a_wrong_description_is_refused(example, tmp_path, entries):
    file = change(example.save(tmp_path / "a.npz"), tmp_path / "b.npz", **entries)
    with pytest.raises(CheckpointError, match="is not a file of spectra"):
        load_spectra(file)


def test_other_files_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", values=np.ones(3))
    np.save(tmp_path / "b.npy", np.ones(3))
    (tmp_path / "c.npz").write_text("text")
    (tmp_path / "d.npz").mkdir()
    np.savez(tmp_path / "e.npz", meta=np.array([print], dtype=object))
    for name in ("a.npz", "b.npy", "c.npz", "d.npz", "e.npz", "missing.npz"):
        with pytest.raises(CheckpointError, match="is not a file of spectra"):
            load_spectra(tmp_path / name)


def test_values_that_are_not_sorted_or_not_finite_are_refused(example, tmp_path):
    file = example.save(tmp_path / "a.npz")
    with np.load(file) as content:
        arrays = dict(content)
    for values in (arrays["plain"][::-1], np.full_like(arrays["plain"], np.nan), -arrays["plain"]):
        np.savez(tmp_path / "b.npz", **arrays | {"plain": values})
        with pytest.raises(CheckpointError, match="is not a file of spectra"):
            load_spectra(tmp_path / "b.npz")


def test_the_zero_matrix_has_a_row():
    layer = LinearLayer("a", "a.weight", (40, 20), "mlp")
    found = ModelSpectra("zero", (LayerSpectra(layer, Spectrum(np.zeros(20), (40, 20))),))
    row = found.to_frame().loc["a"]
    assert (row["stable_rank"], row["effective_rank"], row["above_noise_edge"]) == (0, 0, 0)
    assert row["decay_exponent"] is None


def test_calibrated_loss_meets_its_anchors():
    calibration = LossCalibration("t", 1, 1, 0, 0.0, (LossAnchor(0.9, 0.1, 0.2), LossAnchor(0.7, 0.4, 0.9)))
    assert calibration.calibrated_loss(0.1) == pytest.approx(0.2)
    assert calibration.calibrated_loss(0.4) == pytest.approx(0.9)
    assert calibration.calibrated_loss(0.2) == pytest.approx((0.2 * 0.9) ** 0.5)  # halfway on both logarithmic scales
    assert calibration.calibrated_loss(0.0) == 0.0
    single = LossCalibration("t", 1, 1, 0, 0.0, (LossAnchor(0.9, 0.1, 0.2),))
    assert single.calibrated_loss(0.3) == pytest.approx(0.6)
    assert LossCalibration("t", 1, 1, 0, 0.0).calibrated_loss(0.3) == 0.3


def test_the_bundled_spectra():
    found = bundled_spectra()
    assert found.is_calibrated
    assert len(found.factorable) == 210
    assert found.linear_parameters == 30 * (2 * 576 * 576 + 2 * 192 * 576 + 3 * 576 * 1536)
    assert found.embedding_parameters == 49152 * 576
    assert found.calibration is not None
    assert found.calibration.anchors
