"""Which files of a folder are the model: all of them, and the same as transformers loads."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tests.models.tiny import save_runnable, tiny_llama
from theorykit.errors import CheckpointError
from theorykit.models.language_model import load_language_model
from theorykit.models.locations import folder_remark, weight_files
from theorykit.models.sources import open_weights

INDEX = "model.safetensors.index.json"
QUERY = "model.layers.0.self_attn.q_proj"


@pytest.fixture
def shards(llama, tmp_path):
    """A folder of several shards with their index."""
    llama.save_pretrained(tmp_path / "shards", max_shard_size="40KB")
    return tmp_path / "shards"


def refused(path, match, **options):
    with pytest.raises(CheckpointError, match=match) as caught:
        open_weights(path, **options)
    assert "\n" not in caught.value.message
    assert caught.value.hint


def numbered(folder):
    return sorted(folder.glob("model-*.safetensors"))


@pytest.mark.parametrize("number", [0, 2, -1])
def test_numbered_shards_without_an_index_have_to_be_all_there(shards, number):
    (shards / INDEX).unlink()
    assert len(open_weights(shards).layers) == 16
    files = numbered(shards)
    files[number].unlink()
    refused(shards, f"holds {len(files) - 1} of {len(files)} shards .* number {number % len(files) + 1} of")


@pytest.mark.parametrize("start", [0, 1])
def test_shards_may_be_counted_from_zero(shards, start):
    (shards / INDEX).unlink()
    files = numbered(shards)
    for place, file in enumerate(files):
        file.rename(shards / f"part_{place + start}-of-{len(files)}.safetensors")
    assert len(open_weights(shards).layers) == 16


def test_two_sets_of_shards_without_an_index(shards, llama):
    (shards / INDEX).unlink()
    save_file(llama.state_dict(), shards / "model-00001-of-00001.safetensors")
    refused(shards, "holds several sets of weights and no index")
    (shards / "model-00001-of-00001.safetensors").rename(shards / "consolidated.safetensors")
    refused(shards, "holds several sets of weights and no index")


def test_one_shard_is_not_the_model(shards):
    files = numbered(shards)
    refused(files[0], f"is one of {len(files)} shards of a model")
    (shards / INDEX).unlink()
    refused(files[0], f"is one of {len(files)} shards of a model")


def test_a_shard_that_is_named_by_its_index_alone(shards):
    content = json.loads((shards / INDEX).read_text())
    for letter, file in zip("abcdefghijkl", numbered(shards), strict=False):
        file.rename(shards / f"{letter}.safetensors")
        for tensor, name in content["weight_map"].items():
            if name == file.name:
                content["weight_map"][tensor] = f"{letter}.safetensors"
    (shards / INDEX).write_text(json.dumps(content))
    assert len(open_weights(shards).layers) == 16
    refused(shards / "b.safetensors", "is one of 5 shards")
    refused(shards / INDEX, "unknown ending '.json'")


def test_a_single_shard_is_a_model(llama, tmp_path):
    save_file(llama.state_dict(), tmp_path / "model-00001-of-00001.safetensors")
    for path in (tmp_path, tmp_path / "model-00001-of-00001.safetensors"):
        assert len(open_weights(path).layers) == 16


def test_a_tensor_that_is_not_in_its_shard(shards):
    file = numbered(shards)[1]
    tensors = load_file(file)
    name = next(iter(tensors))
    save_file({key: value for key, value in tensors.items() if key != name}, file, metadata={"format": "pt"})
    refused(shards, f"places {name} in {file.name}, which does not hold it")


def test_a_tensor_of_the_index_that_is_nowhere(shards):
    content = json.loads((shards / INDEX).read_text())
    content["weight_map"]["model.layers.9.mlp.up_proj.weight"] = numbered(shards)[0].name
    (shards / INDEX).write_text(json.dumps(content))
    refused(shards, r"places model\.layers\.9\.mlp\.up_proj\.weight in")


def test_a_tensor_in_two_shards(shards):
    first, second, *_ = numbered(shards)
    name, value = next(iter(load_file(second).items()))
    save_file(load_file(first) | {name: value + 1}, first, metadata={"format": "pt"})
    refused(shards, f"{name} lies in {first.name} and in {second.name}")


def test_two_models_in_one_folder(llama, tmp_path):
    for name in ("a", "b"):
        save_file(llama.state_dict(), tmp_path / f"{name}.safetensors")
    refused(tmp_path, "lies in a.safetensors and in b.safetensors")
    for name in ("a", "b"):
        torch.save(llama.state_dict(), tmp_path / f"{name}.pth")
        (tmp_path / f"{name}.safetensors").unlink()
    refused(tmp_path, "lies in b.pth and in a file before it", allow_pickle=True)


def test_pickled_shards_have_to_be_all_there(llama, tmp_path):
    names = list(llama.state_dict())
    for number in (1, 2):
        part = {name: llama.state_dict()[name] for name in names[number - 1 :: 2]}
        torch.save(part, tmp_path / f"pytorch_model-0000{number}-of-00002.bin")
    assert len(open_weights(tmp_path, allow_pickle=True).layers) == 16
    (tmp_path / "pytorch_model-00001-of-00002.bin").unlink()
    refused(tmp_path, "holds 1 of 2 shards", allow_pickle=True)
    refused(tmp_path / "pytorch_model-00002-of-00002.bin", "is one of 2 shards", allow_pickle=True)


def query(module):
    return module.get_parameter(f"{QUERY}.weight").detach()


def read_query(path):
    source = open_weights(path)
    layer = next(layer for layer in source.layers if layer.name == QUERY)
    with source.open(layer) as matrix:
        return torch.as_tensor(matrix[:, :])


@pytest.mark.parametrize("order", ["one file, then shards", "shards, then one file", "one file, then pickle"])
def test_a_folder_saved_twice_gives_the_weights_that_transformers_loads(order, tmp_path):
    module, small = tiny_llama(), {"max_shard_size": "20KB"}
    save_runnable(module, tmp_path, **(small if order.startswith("shards") else {}))
    with torch.no_grad():
        query(module).add_(1)
    if order.endswith("pickle"):
        torch.save(module.state_dict(), tmp_path / "pytorch_model.bin")
    else:
        module.save_pretrained(tmp_path, **(small if order.endswith("shards") else {}))
    expected = query(AutoModelForCausalLM.from_pretrained(tmp_path))
    assert torch.equal(read_query(tmp_path), expected)
    assert torch.equal(query(load_language_model(str(tmp_path), device="cpu").module), expected)
    remark = folder_remark(str(tmp_path))
    assert remark == "" or ("model.safetensors is read" in remark and order.endswith("shards"))
    assert bool(remark) == (len(list(tmp_path.glob("*.safetensors"))) > 1)


def test_two_indices(shards):
    shutil.copy(shards / INDEX, shards / "model.fp16.safetensors.index.json")
    assert len(open_weights(shards).layers) == 16  # transformers reads the usual name
    (shards / INDEX).rename(shards / "consolidated.safetensors.index.json")
    refused(shards, "holds 2 indices of shards: consolidated.safetensors.index.json, model.fp16")


def test_an_index_that_outlived_its_shards_names_what_lies_there(shards, llama):
    for file in numbered(shards):
        file.unlink()
    save_file(llama.state_dict(), shards / "consolidated.safetensors")
    refused(shards, "which is not there; the folder holds consolidated.safetensors")


def test_the_file_that_the_configuration_names(llama_folder, llama):
    save_file({name: 2 * part for name, part in llama.state_dict().items()}, llama_folder / "other.safetensors")
    config = json.loads((llama_folder / "config.json").read_text()) | {"transformers_weights": "other.safetensors"}
    (llama_folder / "config.json").write_text(json.dumps(config))
    assert torch.equal(read_query(llama_folder), 2 * query(llama))
    assert [file.name for file in weight_files(llama_folder).passed_over] == ["model.safetensors"]


def test_pieces_of_a_gguf_file_are_known_by_their_names(tmp_path):
    for number in (1, 2):
        (tmp_path / f"a-0000{number}-of-00002.gguf").write_bytes(b"GGUF")
    refused(tmp_path, "a-00001-of-00002.gguf is one of 2 pieces")
    refused(tmp_path / "a-00002-of-00002.gguf", "a-00002-of-00002.gguf is one of 2 pieces")
