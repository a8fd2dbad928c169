"""Weights that cannot or must not be read: one error with a hint, quickly, and no code of a pickle is run."""

import json
import os
import pickle
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.models.tiny import edit_safetensors, tiny_llama, write_gguf
from theorykit.errors import CheckpointError, InputError, NonFiniteError
from theorykit.models.analysis import model_spectra
from theorykit.models.sources import module_source, open_weights


def refused(path, match, **options):
    """Open and expect one line with a hint."""
    with pytest.raises(InputError, match=match) as caught:
        open_weights(path, **options)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 600
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    "name",
    [
        "./nowhere",
        "/no/such/folder",
        "~nosuchuser/model",
        "missing.safetensors",
        "missing.gguf",
        "missing.bin",
        "missing.npz",
        "",
        "  ",
        "a/b/c",
        "a b",
        "x" * 300,
        "a\0b",
    ],
)
def test_missing_paths_never_reach_the_network(name, monkeypatch):
    import huggingface_hub

    def never(*_, **__):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", never)
    refused(name, "there is no model at")


def test_an_unknown_hub_id_without_a_network_is_one_quick_error():
    code = (
        "from theorykit.models.sources import open_weights\n"
        "from theorykit.errors import InputError\n"
        "try:\n    open_weights('nobody/no-such-model')\n"
        "except InputError as error:\n    print(error.message)\n    print(error.hint)\n"
    )
    environment = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert time.monotonic() - start < 30
    message, hint = done.stdout.splitlines()
    assert message.startswith("model 'nobody/no-such-model' is neither a local path nor reachable on the hub")
    assert hint
    assert done.stderr == ""


def test_a_folder_without_weights(tmp_path):
    refused(tmp_path, "holds no weights")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("hello")
    refused(tmp_path, "holds no weights")
    refused(tmp_path / "notes.txt", "unknown ending '.txt'")


def test_what_is_neither_file_nor_folder():
    refused("/dev/null", "neither a file nor a folder")


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, 0.5, -1])
def test_truncated_safetensors(llama_folder, keep):
    file = llama_folder / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    assert isinstance(refused(llama_folder, "is not a whole safetensors file"), CheckpointError)
    refused(file, "is not a whole safetensors file")


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content + b"more",
        lambda content: b"\xff" * 8 + content[8:],
        lambda content: content[:8] + b"x" + content[9:],
        lambda content: np.random.default_rng(0).bytes(len(content)),
        lambda content: content[:8] + content[8:].replace(b'"F32"', b'"F33"', 1),
        lambda content: content.replace(b"[97,48]", b"[97,49]", 1),
        lambda content: b"",
        lambda content: b"\x89PNG\r\n" + content,
    ],
)
def test_corrupt_safetensors(llama_folder, damage):
    file = llama_folder / "model.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    refused(llama_folder, "is not a whole safetensors file")


def sharded(tmp_path):
    tiny_llama().save_pretrained(tmp_path, max_shard_size="40KB")
    return sorted(tmp_path.glob("model-*.safetensors")), tmp_path / "model.safetensors.index.json"


def test_a_missing_shard_is_named(tmp_path):
    files, _ = sharded(tmp_path)
    files[1].unlink()
    refused(tmp_path, f"names the shard {files[1].name}, which is not there")


@pytest.mark.parametrize("outside", ["../secret.safetensors", "/etc/hostname", "sub/model.safetensors", ".."])
def test_an_index_that_points_outside_its_folder(tmp_path, outside):
    folder = tmp_path / "model"
    folder.mkdir()
    sharded(folder)
    (folder / "sub").mkdir()
    for place in (tmp_path / "secret.safetensors", folder / "sub" / "model.safetensors"):
        save_file({"secret.weight": torch.ones(3, 3)}, place)
    index = folder / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["secret.weight"] = outside
    index.write_text(json.dumps(content))
    refused(folder, "names the shard")


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", "3", "{}", '{"weight_map": null}', '{"weight_map": [1]}', '{"weight_map": {"a": [1]}}'],
)
def test_an_index_that_is_none(tmp_path, content):
    _, index = sharded(tmp_path)
    index.write_text(content)
    refused(tmp_path, "is not an index of shards")


def test_an_empty_index(tmp_path):
    _, index = sharded(tmp_path)
    index.write_text('{"weight_map": {}}')
    refused(tmp_path, "holds no linear layer")


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


def pickle_with(maker, path, trap):
    if maker == "torch":
        torch.save({"a.weight": torch.ones(4, 4), "trap": trap}, path)
    elif maker == "old torch":
        torch.save({"trap": trap}, path, _use_new_zipfile_serialization=False)
    else:
        path.write_bytes(pickle.dumps({"a.weight": trap}))


@pytest.mark.parametrize("maker", ["torch", "old torch", "plain"])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "last.ckpt", "w.pkl", "w.pickle"])
def test_no_pickle_is_ever_run(maker, name, tmp_path):
    folder, mark = tmp_path / "model", tmp_path / "was-run"
    folder.mkdir()
    pickle_with(maker, folder / name, Trap(mark))
    for path in (folder, folder / name):
        error = refused(path, "is a pickle, which can run code")
        assert "--allow-pickle" in error.hint
        refused(path, "cannot be read with weights_only", allow_pickle=True)
    assert not mark.exists()


def test_the_trap_works():
    with pytest.raises(FileExistsError):
        pickle.loads(pickle.dumps(Trap("/")))


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": None},
        {"state_dict": [1]},
        {"a.weight": torch.ones(3, 3).to_sparse()},
        {"a.weight": torch.ones(3)},
        torch.ones(3, 3),
        [torch.ones(3, 3)],
        {},
    ],
)
def test_pickles_without_matrices(content, tmp_path):
    torch.save(content, tmp_path / "a.bin")
    refused(tmp_path / "a.bin", "holds no linear layer", allow_pickle=True)


@pytest.mark.parametrize("name", ["model.safetensors", "model.gguf", "pytorch_model.bin"])
def test_a_pointer_of_git_lfs(name, tmp_path):
    """What a clone without git-lfs leaves in the place of the weights."""
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 269060552\n")
    with pytest.raises(CheckpointError, match="is a pointer of Git LFS and no weights") as caught:
        open_weights(tmp_path, allow_pickle=True)
    assert "git lfs pull" in caught.value.hint


def test_a_damaged_pickle(tmp_path):
    for content in (b"", b"junk", b"PK\x03\x04 no zip"):
        (tmp_path / "a.bin").write_bytes(content)
        refused(tmp_path / "a.bin", "cannot be read with weights_only", allow_pickle=True)


def test_several_gguf_files_have_to_be_told_apart(tmp_path, llama):
    for name in ("a.gguf", "b.gguf"):
        write_gguf(tmp_path / name, llama.state_dict())
    error = refused(tmp_path, "holds 2 GGUF files")
    assert str(tmp_path / "a.gguf") in error.hint


@pytest.mark.parametrize("keep", [0, 3, 4, 8, 20, 300, 1000, 0.5, 0.99, -1])
def test_truncated_gguf(tmp_path, llama, keep):
    file = write_gguf(tmp_path / "a.gguf", llama.state_dict())
    content = file.read_bytes()
    file.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    refused(file, "is not a readable GGUF file")


def test_random_bytes_are_no_gguf(tmp_path):
    content = np.random.default_rng(0).bytes(5000)
    for start in (b"", b"GGUF" + (3).to_bytes(4, "little")):
        (tmp_path / "a.gguf").write_bytes(start + content)
        refused(tmp_path / "a.gguf", "is not a readable GGUF file")


def test_a_piece_of_a_split_gguf_is_not_taken_for_the_model(tmp_path, llama):
    file = write_gguf(tmp_path / "a-00001-of-00003.gguf", llama.state_dict(), numbers={"split.count": 3})
    refused(file, "is one of 3 pieces")


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn, torch.int32])
def test_quantised_weights_are_refused(llama_folder, dtype):
    name = "model.layers.1.mlp.up_proj.weight"
    edit_safetensors(llama_folder, lambda tensors: tensors | {name: torch.ones(80, 48).to(dtype)})
    refused(llama_folder, f"{name} is stored as .*, a quantised type")


@pytest.mark.parametrize("name", ["a.qweight", "a.weight_packed", "a.gate_up_proj_blocks"])
def test_packed_weights_are_refused_and_not_left_out(tmp_path, name):
    file = tmp_path / "model.safetensors"
    save_file({name: torch.ones(8, 8, dtype=torch.uint8), "b.weight": torch.ones(4, 4)}, file)
    refused(tmp_path, f"{name} is stored as U8")


def test_whole_numbers_that_are_no_weights_do_no_harm(tmp_path):
    extra = {
        "position_ids": torch.arange(8)[None],
        "h.0.attn.bias": torch.ones(8, 8, dtype=torch.uint8),
        "mask": torch.ones(8, 8, dtype=torch.bool),
        "steps": torch.tensor(3, dtype=torch.int32),
    }
    save_file({"b.weight": torch.ones(4, 4), **extra}, tmp_path / "model.safetensors")
    assert [layer.name for layer in open_weights(tmp_path).layers] == ["b"]


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_quantised_live_modules_and_pickles_are_refused(tmp_path, dtype):
    weight = torch.ones(4, 4).to(dtype)
    module = torch.nn.Linear(4, 4)
    module.weight = torch.nn.Parameter(weight, requires_grad=False)
    with pytest.raises(CheckpointError, match=r"weight is stored as \w+, a quantised type"):
        module_source(module)
    torch.save({"a.weight": weight, "b.weight": torch.ones(3, 3)}, tmp_path / "a.bin")
    refused(tmp_path / "a.bin", "a quantised type", allow_pickle=True)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_that_are_not_finite_name_the_layer(llama_folder, value, dtype):
    name = "model.layers.1.mlp.down_proj.weight"

    def change(tensors):
        tensors[name] = tensors[name].to(dtype)
        tensors[name][3, 5] = value

    edit_safetensors(llama_folder, change)
    with pytest.raises(NonFiniteError, match=r"model\.layers\.1\.mlp\.down_proj holds NaN or infinite weights"):
        model_spectra(open_weights(llama_folder))


@pytest.mark.parametrize("content", ["", "{", "not json", '{"a": }', "\ufeff{"])
def test_a_configuration_that_is_not_json(llama_folder, content):
    (llama_folder / "config.json").write_text(content, encoding="utf-8")
    refused(llama_folder, "config.json is not JSON")
    refused(llama_folder / "model.safetensors", "config.json is not JSON")


@pytest.mark.parametrize("content", ["[]", "null", "3", '"text"'])
def test_a_configuration_that_is_no_object(llama_folder, content):
    (llama_folder / "config.json").write_text(content)
    refused(llama_folder, "is not a JSON object")


def test_a_configuration_in_another_encoding(llama_folder):
    (llama_folder / "config.json").write_bytes(b'{"a": "\xff\xfe"}')
    refused(llama_folder, "config.json is not JSON")


def test_no_linear_layer(tmp_path):
    save_file({"norm.weight": torch.ones(4)}, tmp_path / "model.safetensors")
    refused(tmp_path, "holds no linear layer")
