"""A model that runs on text: what is refused before it runs, and how text becomes tokens."""

import json
import logging
import re

import pytest
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from tests.models.tiny import (
    VOCABULARY,
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
from theorykit.errors import CalibrationError, CheckpointError, InputError
from theorykit.models import language_model as module_under_test
from theorykit.models.language_model import (
    context_length,
    heading_tokens,
    load_language_model,
    token_blocks,
    why_not_runnable,
)


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
    refused(llama_folder, "cannot be run as a causal language model", CalibrationError)
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
    refused(llama_folder, "some weights have other shapes than the model that transformers builds")


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
    refused(llama_folder, "cannot be run as a causal language model", CalibrationError)
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
    refused(file, "cannot be run as a causal language model", CalibrationError)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_what_is_missing_is_named(llama_folder, name):
    (llama_folder / name).unlink()
    assert name.split(".")[0] in why_not_runnable(str(llama_folder))
    refused(llama_folder, name if name == "config.json" else "cannot be run", InputError)


SIZES = {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
LLAMA = {**SIZES, "intermediate_size": 24, "num_key_value_heads": 2, "pad_token_id": 0}
BART = {
    "vocab_size": VOCABULARY,
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 40,
}
T5 = {"vocab_size": VOCABULARY, "d_model": 16, "d_ff": 24, "d_kv": 8, "num_layers": 1, "num_heads": 2}
CLIP = {
    "model_type": "clip_vision_model",
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 8,
    "patch_size": 4,
    "projection_dim": 16,
}
OTHERS = {
    "bart": (
        lambda: transformers.BartForConditionalGeneration(transformers.BartConfig(**BART)),
        r"holds an encoder-decoder \(BartForConditionalGeneration\)",
    ),
    "t5": (
        lambda: transformers.T5ForConditionalGeneration(transformers.T5Config(**T5)),
        r"holds an encoder-decoder \(T5ForConditionalGeneration\)",
    ),
    "classifier": (
        lambda: transformers.LlamaForSequenceClassification(transformers.LlamaConfig(**LLAMA, num_labels=5)),
        "holds a LlamaForSequenceClassification, which is no causal language model",
    ),
    "vision and language": (
        lambda: transformers.LlavaForConditionalGeneration(
            transformers.LlavaConfig(text_config={"model_type": "llama", **LLAMA}, vision_config=CLIP)
        ),
        "holds a LlavaForConditionalGeneration, which transformers does not build as a causal",
    ),
    "without a head": (
        lambda: transformers.LlamaModel(transformers.LlamaConfig(**LLAMA, tie_word_embeddings=False)),
        r"holds no head of a language model \(lm_head\.weight\)",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_model_that_is_no_causal_language_model_is_told_what_it_is(name, tmp_path):
    make, match = OTHERS[name]
    save_runnable(make(), tmp_path)
    error = refused(tmp_path, match, CalibrationError)
    assert "decoder-only" in error.hint
    assert name == "without a head" or re.search(match, why_not_runnable(str(tmp_path)))


def test_the_decoder_of_an_encoder_decoder_is_a_causal_language_model(tmp_path):
    save_runnable(transformers.BartForCausalLM(transformers.BartConfig(**BART)), tmp_path)
    assert why_not_runnable(str(tmp_path)) == ""
    assert context_length(load_language_model(str(tmp_path), device="cpu")) == 40


def test_a_configuration_of_another_family(llama_folder):
    config = json.loads((llama_folder / "config.json").read_text()) | {"model_type": "t5", "architectures": None}
    (llama_folder / "config.json").write_text(json.dumps(config))
    refused(llama_folder, "holds an encoder-decoder", CalibrationError)


OPT = {"hidden_size": 16, "ffn_dim": 24, "word_embed_proj_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
PROPHET = {"hidden_size": 16, "decoder_ffn_dim": 24, "num_decoder_layers": 1, "num_decoder_attention_heads": 2}
READ = {
    "rows before the first token": (
        lambda: transformers.RobertaForCausalLM(
            transformers.RobertaConfig(
                **SIZES, intermediate_size=24, max_position_embeddings=40, is_decoder=True, pad_token_id=1
            )
        ),
        38,
    ),
    "rows beyond the told ones": (
        lambda: transformers.OPTForCausalLM(
            transformers.OPTConfig(vocab_size=VOCABULARY, max_position_embeddings=40, **OPT)
        ),
        40,
    ),
    "two tables": (
        lambda: transformers.ProphetNetForCausalLM(
            transformers.ProphetNetConfig(vocab_size=VOCABULARY, max_position_embeddings=40, **PROPHET)
        ),
        38,
    ),
    "learned": (lambda: tiny_gpt2(n_positions=40), 40),
    "slopes": (
        lambda: transformers.MptForCausalLM(
            transformers.MptConfig(vocab_size=VOCABULARY, d_model=16, n_layers=1, n_heads=2, max_seq_len=40)
        ),
        40,
    ),
}


@pytest.mark.parametrize("name", READ)
def test_the_context_is_what_the_model_really_reads(name):
    make, longest = READ[name]
    model = language_model(make().eval())
    assert context_length(model) == longest
    tokens = torch.full((1, longest + 1), 50)
    with torch.no_grad():
        assert model.module(tokens[:, 1:]).logits.shape[1] == longest
        with pytest.raises((IndexError, RuntimeError)):
            model.module(tokens)


def test_a_context_without_a_table_is_what_the_configuration_says():
    assert context_length(language_model(tiny_llama(max_position_embeddings=40))) == 40
    nested = type("Config", (), {"get_text_config": lambda self: tiny_llama(max_position_embeddings=50).config})()
    assert context_length(language_model(type("Module", (), {"config": nested})())) == 50
    assert context_length(language_model(torch.nn.Linear(2, 2))) is None


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
