"""A model that runs on text: what is refused before it runs, and how text becomes tokens."""

import json
import logging

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from tests.models.tiny import (
    edit_safetensors,
    language_model,
    save_runnable,
    tiny_gpt2,
    tiny_llama,
    words,
    write_gguf,
    write_tokenizer,
)
from theorykit.devices import torch_device
from theorykit.errors import CheckpointError, InputError
from theorykit.models import language_model as module_under_test
from theorykit.models.language_model import heading_tokens, load_language_model, token_blocks, why_not_runnable


def refused(folder, match, kind=CheckpointError):
    with pytest.raises(kind, match=match) as caught:
        load_language_model(str(folder), device="cpu")
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("limit", ["1GB", "40KB"])
def test_a_model_is_loaded_in_float32_for_evaluation(tmp_path, dtype, tied, limit):
    module = tiny_llama(tie_word_embeddings=tied).to(dtype)
    save_runnable(module, tmp_path, max_shard_size=limit)
    assert why_not_runnable(str(tmp_path)) == ""
    loaded = load_language_model(str(tmp_path), device="cpu")
    assert loaded.name == str(tmp_path)
    assert loaded.device == torch.device("cpu")
    assert not loaded.module.training
    assert {parameter.dtype for parameter in loaded.module.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in loaded.module.parameters())
    expected = dict(module.named_parameters())
    for name, parameter in loaded.module.named_parameters():
        assert torch.equal(parameter, expected[name].float())


def test_gpt2_is_loaded(tmp_path):
    module = tiny_gpt2()
    loaded = load_language_model(str(save_runnable(module, tmp_path)), device="cpu")
    tokens = torch.arange(20)[None]
    torch.testing.assert_close(loaded.module(tokens).logits, module(tokens).logits)


def test_loading_leaves_the_verbosity_of_transformers(llama_folder):
    from transformers.utils import logging as transformers_logging

    before = transformers_logging.get_verbosity()
    load_language_model(str(llama_folder), device="cpu")
    assert transformers_logging.get_verbosity() == before
    (llama_folder / "tokenizer.json").write_text("{")
    refused(llama_folder, "cannot be run as a causal language model")
    assert transformers_logging.get_verbosity() == before


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_quantised_weights_are_not_taken_for_numbers(llama_folder, dtype):
    edit_safetensors(
        llama_folder,
        lambda tensors: {name: value.to(dtype) if value.ndim == 2 else value for name, value in tensors.items()},
    )
    refused(llama_folder, "a quantised type")


def test_missing_weights_are_not_filled_with_random_numbers(llama_folder):
    def drop(tensors):
        for name in [name for name in tensors if ".1.mlp." in name]:
            del tensors[name]

    edit_safetensors(llama_folder, drop)
    refused(llama_folder, r"lacks 3 of the model's weights, among them model\.layers\.1\.mlp\.down_proj\.weight")


def test_weights_of_another_shape(llama_folder):
    edit_safetensors(llama_folder, lambda tensors: tensors | {"lm_head.weight": torch.ones(98, 48)})
    refused(llama_folder, "cannot be run as a causal language model")


def test_truncated_weights(llama_folder):
    file = llama_folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    refused(llama_folder, "is not a whole safetensors file")


def test_code_of_a_checkpoint_is_never_run(llama_folder, tmp_path):
    mark = tmp_path / "was-run"
    code = f"open({str(mark)!r}, 'w').close()\nclass Config: pass\nclass Model: pass\n"
    (llama_folder / "modeling_own.py").write_text(code)
    config = json.loads((llama_folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "modeling_own.Config"}}
    (llama_folder / "config.json").write_text(json.dumps(config))
    refused(llama_folder, "cannot be run as a causal language model")
    assert not mark.exists()


def test_a_pickle_is_not_run(llama_folder, llama):
    (llama_folder / "model.safetensors").unlink()
    torch.save(llama.state_dict(), llama_folder / "pytorch_model.bin")
    for path in (llama_folder, llama_folder / "pytorch_model.bin"):
        assert "cannot be run" in why_not_runnable(str(path)) or "can be run on text" in why_not_runnable(str(path))
        refused(path, "is a pickle")


def test_a_file_beside_the_model_is_not_taken_for_the_model(llama_folder, llama):
    other = llama_folder / "other.safetensors"
    save_file({name: 2 * value for name, value in llama.state_dict().items()}, other, metadata={"format": "pt"})
    assert "other.safetensors" in why_not_runnable(str(other))
    refused(other, "other.safetensors cannot be run", InputError)
    file = str(llama_folder / "model.safetensors")
    assert why_not_runnable(file) == ""
    assert torch.equal(load_language_model(file, device="cpu").module.lm_head.weight, llama.lm_head.weight)


def test_several_gguf_files_are_not_chosen_from(tmp_path, llama):
    for name in ("a.gguf", "b.gguf"):
        write_gguf(tmp_path / name, llama.state_dict())
    assert why_not_runnable(str(tmp_path))
    refused(tmp_path, "holds 2 GGUF files")


def test_a_damaged_gguf(tmp_path, llama):
    file = write_gguf(tmp_path / "a.gguf", llama.state_dict())
    file.write_bytes(file.read_bytes()[:5000])
    refused(file, "is not a readable GGUF file")


def test_a_gguf_without_tokenizer(tmp_path, llama):
    file = write_gguf(tmp_path / "a.gguf", llama.state_dict())
    refused(file, "cannot be run as a causal language model")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_what_is_missing_is_named(llama_folder, name):
    (llama_folder / name).unlink()
    assert name.split(".")[0] in why_not_runnable(str(llama_folder))
    refused(llama_folder, name if name == "config.json" else "cannot be run", InputError)


def test_a_model_that_is_no_language_model(llama_folder):
    config = json.loads((llama_folder / "config.json").read_text()) | {"model_type": "t5"}
    (llama_folder / "config.json").write_text(json.dumps(config))
    refused(llama_folder, "cannot be run as a causal language model")


def test_too_little_memory_is_a_reason(llama_folder, monkeypatch):
    monkeypatch.setattr(module_under_test, "free_bytes", lambda: 1000)
    assert "of memory are needed" in why_not_runnable(str(llama_folder))
    monkeypatch.setattr(module_under_test, "free_bytes", lambda: None)
    assert why_not_runnable(str(llama_folder)) == ""


@pytest.mark.parametrize("device", ["cuda:99", "meta", "nonsense", "", "cpu:x"])
def test_devices_that_are_not_there(device):
    with pytest.raises(InputError, match="is not there") as caught:
        torch_device(device)
    assert repr(device) in caught.value.message


def test_the_default_device():
    assert torch_device(None).type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert torch_device("cpu") == torch.device("cpu")


@pytest.fixture
def reader(llama, tmp_path):
    return language_model(llama, write_tokenizer(tmp_path / "tokenizer"))


def test_text_becomes_blocks(reader):
    text = words(100)
    blocks = token_blocks(reader, text, 96, 32)
    assert blocks.shape == (3, 32)
    assert blocks.dtype == torch.int64
    assert blocks.flatten().tolist() == [int(word[1:]) + 2 for word in text.split()[:96]]


def test_long_words_do_not_make_a_text_look_short(reader):
    spaced = "   ".join(word + " " * 40 for word in words(64).split())
    assert torch.equal(token_blocks(reader, spaced, 64, 32), token_blocks(reader, words(64), 64, 32))


@pytest.mark.parametrize(("text", "match"), [("", "is empty"), (" \n\t", "is empty"), ("w1 w2", "has 2 tokens, and")])
def test_texts_that_are_too_short(reader, text, match):
    with pytest.raises(InputError, match=f"^my text {match}"):
        token_blocks(reader, text, 32, 32, name="my text")


def test_a_block_longer_than_the_context(tmp_path):
    model = language_model(tiny_gpt2(n_positions=16), write_tokenizer(tmp_path))
    assert token_blocks(model, words(32), 32, 16).shape == (2, 16)
    with pytest.raises(InputError, match="reads at most 16 tokens at once, and a block has 32"):
        token_blocks(model, words(32), 32, 32)


def test_a_tokenizer_of_another_model(tmp_path):
    model = language_model(tiny_llama(vocab_size=20), write_tokenizer(tmp_path))
    with pytest.raises(InputError, match=r"the tokenizer gives the id 9\d and the model has 20 embeddings"):
        token_blocks(model, words(64), 64, 32)


def test_no_warning_about_long_texts(llama, tmp_path, capsys):
    tokenizer = write_tokenizer(tmp_path, model_max_length=8)
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    for name in ("transformers", "transformers.tokenization_utils_base"):
        logging.getLogger(name).addHandler(handler)
    try:
        token_blocks(language_model(llama, tokenizer), words(64), 64, 32)
    finally:
        for name in ("transformers", "transformers.tokenization_utils_base"):
            logging.getLogger(name).removeHandler(handler)
    assert records == []
    assert capsys.readouterr().err == ""


def headed(folder, template="<s> $A"):
    """A tokenizer that puts special tokens around a text by itself."""
    tokenizer = write_tokenizer(folder)
    raw = tokenizer.backend_tokenizer
    raw.post_processor = processors.TemplateProcessing(single=template, special_tokens=[("<s>", 1), ("<unk>", 0)])
    tokenizer = type(tokenizer)(tokenizer_object=raw, unk_token="<unk>", bos_token="<s>")
    tokenizer.save_pretrained(folder)
    return tokenizer


@pytest.mark.parametrize(
    ("template", "heading"),
    [("<s> $A", (1,)), ("<s> $A <s>", (1,)), ("$A <s>", ()), ("$A", ()), ("<unk> <s> $A <unk>", (0, 1))],
)
def test_what_a_tokenizer_puts_in_front_heads_each_block(template, heading, llama, tmp_path):
    tokenizer = headed(tmp_path, template)
    assert heading_tokens(tokenizer) == heading
    blocks = token_blocks(language_model(llama, tokenizer), words(100), 96, 32)
    assert blocks.shape == (3, 32)
    assert [tuple(row[: len(heading)].tolist()) for row in blocks] == [heading] * 3
    text = [int(word[1:]) + 2 for word in words(100).split()]
    assert blocks[:, len(heading) :].flatten().tolist() == text[: 96 - 3 * len(heading)]


def test_a_heading_is_seen_where_letters_are_no_tokens(tmp_path):
    raw = Tokenizer(models.WordLevel({f"w{number}": number for number in range(20)}))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(single="w7 $A", special_tokens=[("w7", 7)])
    assert heading_tokens(PreTrainedTokenizerFast(tokenizer_object=raw)) == (7,)


def test_a_block_has_room_behind_its_heading(llama, tmp_path):
    with pytest.raises(InputError, match="a block of 1 tokens has no room behind the 1 that head it"):
        token_blocks(language_model(llama, headed(tmp_path)), words(9), 4, 1)
