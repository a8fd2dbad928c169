from __future__ import annotations

import hashlib
import json
import sys

import numpy as np
import pytest
from tokenizers import Tokenizer, processors
from transformers import PreTrainedTokenizerFast

from theorykit.errors import InputError
from validation.training import data
from validation.training.data import (
    Corpus,
    bits_per_byte,
    read_corpus,
    split_documents,
    token_blocks,
    tokens_per_byte,
    train_tokenizer,
)

WORDS = tuple(f"line {number}: the quick brown fox\n" * 40 for number in range(20))


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(WORDS, 300)


def test_files_folders_and_the_standard_library(tmp_path):
    for name in ("b", "a"):
        (tmp_path / f"{name}.txt").write_text(f"text {name}", encoding="utf-8")
    (tmp_path / "c.md").write_text("no text", encoding="utf-8")
    assert read_corpus(str(tmp_path)).documents == ("text a", "text b")
    assert read_corpus(str(tmp_path / "b.txt")).documents == ("text b",)
    assert sum(map(len, read_corpus("python-docs").documents)) > 300_000


def test_documents_are_held_out_whole():
    corpus = split_documents(Corpus("words", WORDS), 0.1)
    assert corpus.documents + corpus.held_out == WORDS
    assert len(corpus.held_out) == 2
    assert split_documents(Corpus("two", ("a" * 10, "b" * 1000)), 0.5).held_out == ("b" * 1000,)
    own = Corpus("published", ("a",), ("b",))
    assert split_documents(own) is own


def test_one_document_is_cut_at_a_line_end():
    text = "".join(f"{number:04d}\n" for number in range(1000))
    corpus = split_documents(Corpus("one", (text,)), 0.25)
    assert corpus.documents[0] + corpus.held_out[0] == text
    assert corpus.documents[0].endswith("\n")
    assert len(corpus.held_out[0]) == pytest.approx(0.25 * len(text), abs=6)
    whole = split_documents(Corpus("one", ("x" * 100,)), 0.25)
    assert (len(whole.documents[0]), len(whole.held_out[0])) == (75, 25)


def test_blocks_are_the_tokens_with_ends_of_text_between(tokenizer):
    blocks = token_blocks(WORDS, tokenizer, 16)
    joined = "<|endoftext|>".join(WORDS)
    assert joined.startswith(tokenizer.decode(blocks.ravel().tolist()))
    assert blocks.dtype == np.int32
    assert (blocks == tokenizer.eos_token_id).sum() in (19, 20)


def test_the_cache_is_keyed_by_text_tokenizer_and_length(tokenizer, tmp_path):
    first = token_blocks(WORDS, tokenizer, 16, cache=tmp_path)
    again = token_blocks(WORDS, tokenizer, 16, cache=tmp_path)
    np.testing.assert_array_equal(first, again)
    assert isinstance(again.base, np.memmap)
    assert len(list(tmp_path.iterdir())) == 1
    token_blocks(WORDS[1:], tokenizer, 16, cache=tmp_path)
    token_blocks(WORDS, tokenizer, 8, cache=tmp_path)
    token_blocks(WORDS, train_tokenizer(WORDS, 290), 16, cache=tmp_path)
    token_blocks((WORDS[0] + WORDS[1], *WORDS[2:]), tokenizer, 16, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 5


@pytest.fixture(scope="module")
def headed(tokenizer):
    """The same tokenizer with a token in front of every text and one behind it."""
    raw = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    end = ("<|endoftext|>", 0)
    raw.post_processor = processors.TemplateProcessing(single=f"{end[0]} $A {end[0]}", special_tokens=[end])
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=end[0])


def test_what_the_tokenizer_puts_in_front_heads_each_block(tokenizer, headed, tmp_path):
    blocks = token_blocks(WORDS, headed, 16)
    assert blocks.dtype == np.int32
    assert (blocks[:, 0] == 0).all()
    plain = token_blocks(WORDS, tokenizer, 15)
    np.testing.assert_array_equal(blocks[:, 1:], plain)
    assert tokens_per_byte(blocks, headed) == pytest.approx(
        blocks[:, 1:].size / len(headed.decode(plain.ravel(), skip_special_tokens=True).encode()), rel=1e-3
    )
    np.testing.assert_array_equal(token_blocks(WORDS, headed, 16, cache=tmp_path), blocks)
    with pytest.raises(InputError, match="length = 1 has no room behind the 1 tokens that head it"):
        token_blocks(WORDS, headed, 1)


def test_blocks_kept_before_headings_were_known_are_not_taken(tokenizer, headed, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "heading_tokens", lambda _: ())
    before = token_blocks(WORDS, headed, 16, cache=tmp_path)
    monkeypatch.undo()
    assert not np.array_equal(token_blocks(WORDS, headed, 16, cache=tmp_path), before)


def test_the_name_of_kept_blocks_without_a_heading_is_what_it_was(tokenizer):
    digest = hashlib.sha256(json.dumps([16, tokenizer.eos_token_id]).encode())
    digest.update(tokenizer.backend_tokenizer.to_str().encode())
    digest.update(len("text").to_bytes(8, "big") + b"text")
    assert data._key(["text"], tokenizer, 16) == digest.hexdigest()[:32]


def test_bits_per_byte_do_not_depend_on_how_tokens_are_cut():
    assert bits_per_byte(2.0, 0.25) == pytest.approx(bits_per_byte(1.0, 0.5))


def test_refusals(tokenizer, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="'no such text' is no text"):
        read_corpus("no such text")
    with pytest.raises(InputError, match="is no text"):
        read_corpus(str(tmp_path))
    (tmp_path / "empty.txt").write_text(" \n", encoding="utf-8")
    with pytest.raises(InputError, match="holds no words"):
        read_corpus(str(tmp_path))
    (tmp_path / "latin.txt").write_bytes("Zoë".encode("latin-1"))
    with pytest.raises(InputError, match="is not UTF-8"):
        read_corpus(str(tmp_path / "latin.txt"))
    with pytest.raises(InputError, match="the texts are not in"):
        read_corpus("austen", tmp_path / "nowhere")
    with pytest.raises(InputError, match="'kjv' is not in"):
        read_corpus("kjv", tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match="needs the package datasets"):
        read_corpus("ptb")
    with pytest.raises(InputError, match="fewer than one block of 64"):
        token_blocks(("short",), tokenizer, 64)
    with pytest.raises(InputError, match="vocabulary = 256 is below 257"):
        train_tokenizer(WORDS, 256)
    with pytest.raises(InputError, match="share"):
        split_documents(Corpus("words", WORDS), 1.0)


def test_held_out_topics_of_pythons_documentation_repeat_no_paragraph_of_the_train_text():
    corpus = split_documents(read_corpus("python-docs"))
    train, held_out = (
        {" ".join(part.split()) for text in texts for part in text.split("\n\n") if len(" ".join(part.split())) >= 60}
        for texts in (corpus.documents, corpus.held_out)
    )
    assert held_out
    assert not train & held_out
