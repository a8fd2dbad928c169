"""``theorykit spectrum``: the same numbers from every kind of input, as a table, JSON, a picture and a file."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.models.tiny import tiny_llama, write_gguf
from theorykit.cli.output import console
from theorykit.models.analysis import model_spectra
from theorykit.models.model_spectra import load_spectra
from theorykit.models.sources import open_weights

PICTURES = {".png": b"\x89PNG\r\n", ".pdf": b"%PDF-", ".svg": b"<?xml"}


@pytest.fixture(scope="module")
def forms(llama_folder, tmp_path_factory):
    """The same weights in every form that the command reads."""
    weights, folder = load_file(llama_folder / "model.safetensors"), tmp_path_factory.mktemp("forms")
    tiny_llama().save_pretrained(folder / "sharded", max_shard_size="40KB")
    torch.save(weights, folder / "model.pt")
    write_gguf(folder / "model.gguf", weights)
    model_spectra(open_weights(llama_folder)).save(folder / "kept.npz")
    return {
        "folder": [llama_folder],
        "file": [llama_folder / "model.safetensors"],
        "sharded": [folder / "sharded"],
        "pickle": [folder / "model.pt", "--allow-pickle"],
        "gguf": [folder / "model.gguf"],
        "npz": [folder / "kept.npz"],
    }


@pytest.mark.parametrize("form", ["folder", "file", "sharded", "pickle", "gguf", "npz"])
def test_every_form(run, forms, form):
    done = run("spectrum", *forms[form], "--json")
    assert (done.code, done.err) == (0, "")
    document = done.document
    assert document["command"] == "spectrum"
    assert document["inputs"]["model"] == str(forms[form][0])
    assert document["result"]["linear_parameters"] == 2 * (2 * 48 * 48 + 2 * 24 * 48 + 3 * 80 * 48)
    assert document["result"]["embedding_parameters"] == 2 * 97 * 48
    layers = {layer["layer"]: layer for layer in document["result"]["layers"]}
    weights = dict(tiny_llama().named_parameters())
    assert len(layers) == 16
    for name, layer in layers.items():
        expected = np.linalg.svd(weights[f"{name}.weight"].double().numpy(), compute_uv=False)
        np.testing.assert_allclose(layer["singular_values"], expected, rtol=1e-5, atol=1e-6 * expected[0])
        errors = np.sqrt(np.append(np.cumsum(expected[::-1] ** 2)[::-1], 0))
        np.testing.assert_allclose(layer["truncation_errors"], errors, rtol=1e-5, atol=1e-6 * expected[0])


def test_table(run, llama_folder):
    done = run("spectrum", llama_folder)
    assert (done.code, done.err) == (0, "")
    assert "1.self_attn.k_proj" in done.out
    assert "24 × 48" in done.out
    assert "36,864 linear parameters in 14 layers, 9,312 in embeddings and head." in done.out
    again = run("spectrum", llama_folder, "--quiet", "--no-cache")
    assert again.out == done.out


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_a_narrow_terminal_keeps_the_names_of_the_layers(run, llama_folder, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = run("spectrum", llama_folder).out.splitlines()
    assert max(map(len, lines)) <= columns
    assert [line.split()[0] for line in lines if ".self_attn.k_proj" in line] == [
        "0.self_attn.k_proj",
        "1.self_attn.k_proj",
    ]
    assert ("no room for above noise" in " ".join(" ".join(lines).split())) == (columns < 120)


@pytest.mark.parametrize(("columns", "width"), [("70", 70), ("0", 140), ("wide", 140), ("", 140)])
def test_the_width_of_a_pipe_is_what_columns_says(monkeypatch, columns, width):
    monkeypatch.setenv("COLUMNS", columns)
    assert console().width == width


@pytest.mark.parametrize("form", ["safetensors", "gguf"])
def test_layers_come_in_their_order_and_not_by_the_alphabet(run, tmp_path, form):
    names = [f"blk.{index}.ffn_down.weight" for index in range(12)]
    weights = {name: torch.eye(4, 6) for name in sorted(names)}
    file = tmp_path / f"model.{form}"
    if form == "gguf":
        write_gguf(file, weights, architecture="made-up", rename=str)
    else:
        save_file(weights, file)
    layers = run("spectrum", file, "--json").document["result"]["layers"]
    assert [layer["layer"] for layer in layers] == [name.removesuffix(".weight") for name in names]


def test_the_cache_is_used_and_can_be_left_out(run, llama_folder, tmp_path, monkeypatch):
    from theorykit.models import analysis

    assert run("spectrum", llama_folder, "--no-cache").code == 0
    assert not (tmp_path / "cache").exists()
    first = run("spectrum", llama_folder)
    assert (tmp_path / "cache").exists()

    def fail(*_, **__):
        raise AssertionError("computed again")

    monkeypatch.setattr(analysis, "spectrum", fail)
    assert run("spectrum", llama_folder).out == first.out
    assert run("spectrum", llama_folder, "--no-cache").code == 1


@pytest.mark.parametrize("ending", PICTURES)
def test_pictures(run, llama_folder, tmp_path, ending):
    file = tmp_path / f"plot{ending}"
    done = run("spectrum", llama_folder, "--plot", file)
    assert (done.code, done.err) == (0, "")
    assert file.read_bytes().startswith(PICTURES[ending])
    assert len(file.read_bytes()) > 5000
    assert not any(word in file.read_bytes() for word in (b"CreationDate", b"<dc:date>", b"tIME"))


def test_no_figure_stays_open(run, llama_folder, tmp_path):
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    run("spectrum", llama_folder, "--plot", tmp_path / "a.png")
    assert plt.get_fignums() == before


@pytest.mark.parametrize("name", ["a$\\frac$b", "a[/b]", "50%_of"])
def test_odd_names_in_tables_and_pictures(run, llama_folder, tmp_path, name):
    folder = shutil.copytree(llama_folder, tmp_path / name)
    done = run("spectrum", folder, "--plot", tmp_path / "a.png", "--quiet")
    assert (done.code, done.err) == (0, "")
    assert name in done.out.replace("\n", "")


def test_saved_spectra(run, llama_folder, tmp_path):
    file = tmp_path / "s.npz"
    done = run("spectrum", llama_folder, "--save-spectra", file, "--json")
    assert done.code == 0
    kept = load_spectra(file)
    assert kept.name == str(llama_folder)
    assert [part.layer.name for part in kept.layers] == [row["layer"] for row in done.document["result"]["layers"]]


def test_calibrated_spectra_come_back_whole(run, llama_folder, calibration, tmp_path):
    file = tmp_path / "s.npz"
    assert run("rank-select", "--n", 10, "--model", llama_folder, *calibration, "--save-spectra", file).code == 0
    result = run("spectrum", file, "--json").document["result"]
    assert result["calibration"]["n_tokens"] == 1024
    whitened = {row["layer"]: row["whitened_singular_values"] for row in result["layers"]}
    assert set(whitened["model.layers.0.mlp.up_proj"]) == {"fisher"}
    assert whitened["lm_head"] == {}


def test_notes_become_warnings(run, tmp_path, monkeypatch):
    """A layer whose small singular values are lost says so, on stderr and in the JSON."""
    from theorykit.models import analysis

    original = analysis.spectrum
    monkeypatch.setattr(
        analysis, "spectrum", lambda matrix, **options: original(matrix, **options | {"method": "gram"})
    )
    save_file({"a.weight": torch.eye(40), "b.weight": torch.ones(40, 40)}, tmp_path / "model.safetensors")
    document = run("spectrum", tmp_path, "--json").document
    assert [row["stable_rank"] for row in document["result"]["layers"]] == pytest.approx([40, 1])
    (warning,) = document["warnings"]
    assert warning.startswith("b: 39 singular values lie below the resolution")
    assert run("spectrum", tmp_path).lines("warning: ") == [f"warning: {warning}"]
    assert run("spectrum", tmp_path, "--quiet").err == ""


def test_json_has_no_nan_for_zero_weights(run, tmp_path):
    save_file({"a.weight": torch.zeros(40, 30)}, tmp_path / "model.safetensors")
    done = run("spectrum", tmp_path, "--json")
    assert done.code == 0
    (row,) = done.document["result"]["layers"]
    assert row["frobenius"] == 0
    assert row["decay_exponent"] is None
    assert run("spectrum", tmp_path).code == 0
    assert json.loads(done.out) == done.document
