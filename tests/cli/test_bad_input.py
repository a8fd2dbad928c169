"""Every bad input: exit code 2, one line that names the value and the rule, one hint, nothing on stdout, no file."""

import json
import os
import shutil

import numpy as np
import pytest
import torch

from tests.models.tiny import edit_safetensors, save_runnable, tiny_gpt2, tiny_llama, write_gguf


@pytest.fixture
def refuse(run, tmp_path):
    """Run with all three output files asked for, one of which is there already, and expect a proper error."""

    def call(*arguments, outputs=True):
        kept, new, spectra = (tmp_path / name for name in ("kept.json", "new.json", "new.npz"))
        kept.write_text("kept")
        before = {path for path in tmp_path.rglob("*") if "cache" not in path.parts}
        files = []
        if outputs:
            files = ["--save-spectra", spectra]
            if "rank-select" in arguments:
                files += ["-o", kept, "--peft", new]
        done = run(*arguments, *files)
        assert done.code == 2, done
        assert done.out == ""
        assert "Traceback" not in done.err
        error, hint = done.err.splitlines()
        assert error.startswith("error: ")
        assert hint.startswith("hint: ")
        assert len(hint) > len("hint: ")
        assert kept.read_text() == "kept"
        assert {path for path in tmp_path.rglob("*") if "cache" not in path.parts} == before
        quiet = run(*arguments, *files, "--quiet")
        assert (quiet.code, quiet.err.splitlines()) == (2, [error])
        return error, hint

    return call


@pytest.mark.parametrize(
    "n", ["0", "-5", "nan", "inf", "-inf", "abc", "", " ", "1e999", "1,5", "1,00", "5 k", "0x10", "k"]
)
def test_n(refuse, n):
    error, _ = refuse("rank-select", f"--n={n}")
    assert repr(n) in error


@pytest.mark.parametrize(
    ("option", "value", "match"),
    [
        ("--unit", "words", "unit = 'words' is not known"),
        ("--seq-len", "0", "seq_len = 0.0 has to be finite and above 0"),
        ("--seq-len", "-1", "seq_len = -1.0 has to be finite and above 0"),
        ("--seq-len", "nan", "seq_len = nan has to be finite and above 0"),
        ("--seq-len", "long", "(given: 'long')"),
        ("--objective", "rl", "objective = 'rl' is not known"),
        ("--rule", "best", "rule 'best' is not known"),
        ("--rank-multiple", "0", "rank multiple = 0 has to be finite and above 0"),
        ("--rank-multiple", "-1", "rank multiple = -1 has to be finite and above 0"),
        ("--rank-multiple", "193", "rank multiple = 193 is larger than min(m, n) = 192"),
        ("--rank-multiple", "1.5", "(given: '1.5')"),
        ("--budget", "0", "budget '0' is not above 0"),
        ("--budget", "900%", "budget '900%' is a share above 1"),
        ("--budget", "10G", "budget '10G' is larger than the model"),
        ("--budget", "10GFLOP", "budget '10GFLOP' is larger than the model"),
        ("--budget", "abc", "budget 'abc' is not understood"),
        ("--budget", "", "budget '' is not understood"),
        ("--budget", "-0.5", "budget '-0.5' is not understood"),
        ("--budget", "nan", "budget 'nan' is not understood"),
        ("--budget", "1.5", "budget '1.5' is a share above 1"),
        ("--budget", "1e-9", "the least that all layers together can cost"),
        ("--seed", "-1", "seed = -1 has to lie between 0 and"),
        ("--seed", str(2**70), f"seed = {2**70} has to lie between 0 and"),
        ("--calibration", "train.txt", "--calibration needs a model"),
        ("--evaluate", "train.txt", "--evaluate needs a model"),
        ("--model", "./nowhere", "there is no model at './nowhere'"),
        ("--model", "missing.npz", "missing.npz"),
        ("--model", "", "there is no model at ''"),
        ("--no-such-option", "1", "No such option"),
    ],
)
def test_options(refuse, option, value, match):
    error, _ = refuse("rank-select", "--n", "1000", f"{option}={value}")
    assert match in error


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["rank-select", "--n", "5", "--n", "100000"], "--n is given 2 times: 5, 100000"),
        (["rank-select", "--n", "5", "-qo", "a", "--output=b", "-oc"], "--output is given 3 times: a, b, c"),
        (["spectrum", "model", "--device", "--json", "--device", "cpu"], "--device is given 2 times: --json, cpu"),
        (["mi", "x.npy", "y.npy", "--seed", "1", "--seed", "1"], "--seed is given 2 times: 1, 1"),
        (["audit", "--format", "md", "--format", "html"], "--format is given 2 times: md, html"),
    ],
)
def test_an_option_that_holds_one_value_is_given_once(refuse, arguments, match):
    error, hint = refuse(*arguments, outputs=False)
    assert error == f"error: {match}"
    assert hint == f"hint: give one {match.split()[0]}"


def test_what_follows_two_dashes_is_no_option(run):
    done = run("spectrum", "--device", "cpu", "--", "./--device")
    assert done.lines("error: ") == ["error: there is no model at './--device'"]


def test_an_unknown_command(refuse):
    error, hint = refuse("rank-pick", "--n", "5", outputs=False)
    assert "'rank-pick'" in error
    assert hint == "hint: theorykit --help"


@pytest.mark.parametrize("tokens", ["0", "100", "-512", "513", "many"])
def test_calibration_tokens(refuse, llama_folder, text, tokens):
    error, _ = refuse(
        "rank-select", "--n", 10, "--model", llama_folder, "--calibration", text, f"--calibration-tokens={tokens}"
    )
    assert "calibration" in error
    assert tokens in error


TEXTS = {
    "missing.txt": (None, "cannot be read: No such file or directory"),
    "empty.txt": (b"", "is empty"),
    "blank.txt": (b" \n\t\n", "is empty"),
    "short.txt": (b"w1 w2 w3", "short.txt has 3 tokens, and"),
    "binary.txt": (bytes(range(256)), "it is not UTF-8 text"),
    "folder.txt": ("folder", "cannot be read: Is a directory"),
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("option", ["--calibration", "--evaluate"])
def test_texts(refuse, llama_folder, calibration, tmp_path, option, name):
    content, match = TEXTS[name]
    file = tmp_path / name
    if content == "folder":
        file.mkdir()
    elif content is not None:
        file.write_bytes(content)
    options = [*calibration, "--evaluate", file] if option == "--evaluate" else [option, file, *calibration[2:]]
    error, _ = refuse("rank-select", "--n", 10, "--model", llama_folder, *options)
    if (option, name) == ("--evaluate", "short.txt"):
        match = "has 3 tokens, and"
    assert match in error


def test_evaluation_without_calibration(refuse, llama_folder, held_out):
    error, _ = refuse(
        "rank-select", "--n", 10, "--model", llama_folder, "--calibration", "none", "--evaluate", held_out
    )
    assert "--evaluate needs a model that is calibrated" in error


def test_a_short_evaluation_is_refused_before_the_calibration(refuse, llama_folder, calibration, tmp_path, monkeypatch):
    from theorykit.rank_selection import calibrated

    def fail(*_, **__):
        raise AssertionError("minutes lost")

    monkeypatch.setattr(calibrated, "collect_statistics", fail)
    file = tmp_path / "short.txt"
    file.write_text("w1 w2 w3")
    options = [*calibration, "--evaluate", file]
    error, hint = refuse("rank-select", "--n", 10, "--model", llama_folder, *options)
    assert "the evaluation text has 3 tokens, and 4,096 are needed" in error
    assert "--evaluate" in hint


def test_an_evaluation_of_what_cannot_run_is_refused_before_the_spectra(
    refuse, llama_folder, held_out, tmp_path, monkeypatch
):
    from theorykit.models import analysis

    monkeypatch.setattr(analysis, "model_spectra", None)
    file = tmp_path / "weights.safetensors"
    shutil.copy(llama_folder / "model.safetensors", file)
    error, hint = refuse("rank-select", "--n", 10, "--model", file, "--evaluate", held_out)
    assert "--evaluate needs a calibrated model: only GGUF files" in error
    assert "--evaluate" in hint


@pytest.mark.parametrize("device", ["cuda:99", "meta", "tpu", ""])
@pytest.mark.parametrize("command", ["rank-select", "rank-select plain", "spectrum"])
def test_devices(refuse, llama_folder, calibration, command, device):
    if command == "spectrum":
        arguments = ["spectrum", llama_folder]
    else:
        options = ["--calibration", "none"] if "plain" in command else calibration[:-2]
        arguments = ["rank-select", "--n", 10, "--model", llama_folder, *options]
    error, _ = refuse(*arguments, f"--device={device}")
    assert f"device {device!r} is not there" in error


def set_value(value):
    def change(tensors):
        tensors["model.layers.1.mlp.up_proj.weight"][0, 0] = value

    return change


def quantise(tensors):
    return {name: value.to(torch.int8) if value.ndim == 2 else value for name, value in tensors.items()}


DAMAGES = {
    "nan": (lambda folder: edit_safetensors(folder, set_value(float("nan"))), "model.layers.1.mlp.up_proj holds NaN"),
    "inf": (lambda folder: edit_safetensors(folder, set_value(float("inf"))), "model.layers.1.mlp.up_proj holds NaN"),
    "int8": (lambda folder: edit_safetensors(folder, quantise), "is stored as I8, a quantised type"),
    "truncated": (
        lambda folder: os.truncate(folder / "model.safetensors", 30_000),
        "is not a whole safetensors file",
    ),
    "corrupt": (
        lambda folder: (folder / "model.safetensors").write_bytes(np.random.default_rng(0).bytes(10_000)),
        "is not a whole safetensors file",
    ),
    "config": (lambda folder: (folder / "config.json").write_text("{"), "is not JSON"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("way", ["calibrated", "plain", "spectrum"])
def test_damaged_weights(refuse, llama_folder, calibration, tmp_path, damage, way):
    change, match = DAMAGES[damage]
    folder = shutil.copytree(llama_folder, tmp_path / "model")
    change(folder)
    options = calibration if way == "calibrated" else ["--calibration", "none"]
    arguments = ["spectrum", folder] if way == "spectrum" else ["rank-select", "--n", 10, "--model", folder, *options]
    error, _ = refuse(*arguments)
    assert match in error


@pytest.mark.parametrize("command", ["rank-select", "rank-select text", "spectrum"])
@pytest.mark.parametrize("kind", ["no weights", "pickle", "two gguf", "half gguf", "unknown ending", "damaged npz"])
def test_models_that_cannot_be_read(refuse, llama_folder, calibration, tmp_path, kind, command):
    folder = tmp_path / "model"
    folder.mkdir()
    path = folder
    weights = tiny_llama().state_dict()
    if kind == "pickle":
        torch.save(weights, folder / "pytorch_model.bin")
    elif kind == "two gguf":
        write_gguf(folder / "a.gguf", weights)
        write_gguf(folder / "b.gguf", weights)
    elif kind == "half gguf":
        path = write_gguf(folder / "a.gguf", weights)
        os.truncate(path, 40_000)
    elif kind == "unknown ending":
        path = folder / "weights.onnx"
        path.write_bytes(b"onnx")
    elif kind == "damaged npz":
        path = folder / "spectra.npz"
        path.write_bytes(b"PK\x03\x04 no zip")
    if command == "spectrum":
        refuse("spectrum", path)
    elif "text" in command:
        refuse("rank-select", "--n", 10, "--model", path, *calibration)
    else:
        refuse("rank-select", "--n", 10, "--model", path)


def test_a_context_shorter_than_a_block_gives_shorter_blocks(run, calibration, tmp_path):
    folder = save_runnable(tiny_gpt2(n_positions=128), tmp_path / "model")
    done = run("rank-select", "--n", 10, "--model", folder, *calibration, "--json")
    assert done.document["result"]["calibration"]["block"] == 128


def test_a_tokenizer_with_more_words_than_the_model(refuse, calibration, tmp_path):
    folder = save_runnable(tiny_llama(vocab_size=20), tmp_path / "model")
    error, _ = refuse("rank-select", "--n", 10, "--model", folder, *calibration)
    assert "the model has 20 embeddings" in error


OUTPUTS = [
    (["-o", "missing/out.json"], "the folder of missing/out.json does not exist"),
    (["--peft", "missing/out.json"], "the folder of missing/out.json does not exist"),
    (["--save-spectra", "missing/out.npz"], "the folder of missing/out.npz does not exist"),
    (["--peft", "."], "cannot write --peft .: it is a folder"),
    (["-o", "/dev/null"], "cannot write --output /dev/null: it is not a regular file"),
    (["-o", "ok.json", "--peft", "."], "cannot write --peft .: it is a folder"),
    (["-o", "same.json", "--peft", "./same.json"], "--output and --peft both write same.json"),
    (["--save-spectra", "out.spectra"], "--save-spectra out.spectra does not end in .npz"),
]


@pytest.mark.parametrize(("files", "match"), OUTPUTS)
def test_output_files_are_checked_before_the_work(refuse, tmp_path, monkeypatch, files, match):
    from theorykit.rank_selection import selection

    monkeypatch.setattr(selection, "select_ranks", lambda *_, **__: pytest.fail("the work was done"))
    monkeypatch.chdir(tmp_path)
    error, _ = refuse("rank-select", "--n", 10, *files, outputs=False)
    assert match.replace("both write same.json", "both write") in error


@pytest.mark.parametrize(
    ("files", "match"),
    [
        (["--plot", "a.txt"], "a.txt has no ending of a picture"),
        (["--plot", "plot"], "plot has no ending of a picture"),
        (["--plot", "missing/a.png"], "the folder of missing/a.png does not exist"),
        (["--save-spectra", "missing/a.npz"], "the folder of missing/a.npz does not exist"),
        (["--save-spectra", "a.npz", "--plot", "folder.png"], "cannot write --plot folder.png: it is a folder"),
    ],
)
def test_output_files_of_spectrum(refuse, llama_folder, tmp_path, monkeypatch, files, match):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    error, _ = refuse("spectrum", llama_folder, *files, outputs=False)
    assert match in error


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(refuse, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    error, _ = refuse("rank-select", "--n", 10, "-o", folder / "out.json", outputs=False)
    assert "no permission" in error


def test_a_failing_disk_keeps_the_old_file(run, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    file = tmp_path / "out.json"
    file.write_text("old")
    monkeypatch.setattr(os, "replace", full)
    done = run("rank-select", "--n", 10, "-o", file)
    assert done.code == 2
    assert "No space left on device" in done.err
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_an_unknown_hub_id(refuse, monkeypatch):
    import huggingface_hub

    def unreachable(*_, **__):
        raise ConnectionError("no route\nto the hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    for arguments in (["rank-select", "--n", 10, "--model", "nobody/nothing"], ["spectrum", "nobody/nothing"]):
        error, _ = refuse(*arguments)
        assert "'nobody/nothing' is neither a local path nor reachable on the hub" in error


def test_a_hub_model_without_safetensors(refuse, monkeypatch, tmp_path):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: tmp_path)
    (tmp_path / "config.json").write_text("{}")
    error, hint = refuse("spectrum", "nobody/nothing")
    assert "'nobody/nothing' has no safetensors weights on the hub" in error
    assert "--allow-pickle" in hint


def test_spectra_without_a_layer_to_factor(refuse, tmp_path):
    from safetensors.torch import save_file

    save_file({"model.embed_tokens.weight": torch.ones(9, 5)}, tmp_path / "model.safetensors")
    error, _ = refuse("rank-select", "--n", 10, "--model", tmp_path, "--calibration", "none")
    assert "has no linear layer that can be factored" in error


def test_json_errors_are_no_json(run):
    done = run("rank-select", "--n", 0, "--json")
    assert (done.code, done.out) == (2, "")
    with pytest.raises(json.JSONDecodeError):
        json.loads(done.err)
