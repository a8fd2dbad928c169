"""What a compression is calibrated and judged on: several kinds of text, and text that the model writes itself.

Calibrated on one kind alone, a model loses far more on others; the model's own text is a kind that every model has.
From each kind come four pieces that do not overlap, in the order of the text: for the moments, for the prices of the
layers, for the losses that are reported, and for healing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from theorykit.compression.request import PieceSizes
from theorykit.errors import InputError
from theorykit.models.language_model import LanguageModel, heading_tokens, token_blocks
from theorykit.rank_selection.calibrated import builtin_text

OWN_TEXT = "the model's own text"
_PROMPT = 4
_MEASURED_CHARACTERS = 20_000
_SAMPLED_AT_ONCE = 64


@dataclass(frozen=True)
class Text:
    """A plain text with the name under which results mention it."""

    name: str
    text: str

    @property
    def sha256(self) -> str:
        """Return the hash of its UTF-8 bytes."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class TextPieces:
    """The tokens of one kind of text, ``[blocks, block]`` int64 each.

    Attributes:
        name: Of the kind.
        sha256: Of the text, or of its tokens where the model wrote it.
        moments: For the second moments.
        prices: For the measured prices, and for choosing between allocations.
        judging: For the losses that are reported; nothing is chosen on them.
        healing: What is left of the text; may be empty.
        tokens_per_character: Of the text; None where the model wrote it.
    """

    name: str
    sha256: str
    moments: torch.Tensor
    prices: torch.Tensor
    judging: torch.Tensor
    healing: torch.Tensor
    tokens_per_character: float | None = None

    @property
    def is_broken_up(self) -> bool:
        """Return whether the tokenizer knows no words of the text: it makes more tokens than there are characters."""
        return self.tokens_per_character is not None and self.tokens_per_character > 1


def default_texts() -> list[Text]:
    """Return two kinds of text that every installation has: public-domain prose and Python's documentation."""
    from pydoc_data.topics import topics

    documentation = "\n\n".join(topics[name] for name in sorted(topics))
    return [Text("prose", builtin_text()), Text("documentation", documentation)]


def text_pieces(model: LanguageModel, text: Text, sizes: PieceSizes) -> TextPieces:
    """Cut a text into its pieces.

    Raises:
        InputError: it is too short for all but the healing piece.
    """
    block, wanted = sizes.block, sizes.least
    if sizes.healing:  # takes what there is
        ids = model.tokenizer(text.text, add_special_tokens=False)["input_ids"]
        usable = block - len(heading_tokens(model.tokenizer))
        wanted = max(wanted, min(len(ids) // max(usable, 1), wanted + sizes.healing))
    hint = f"give a longer text, at least {sizes.least * block:,} tokens for moments, prices and judging"
    tokens = token_blocks(model, text.text, wanted * block, block, name=text.name, hint=hint)
    beginning = text.text[:_MEASURED_CHARACTERS]
    count = len(model.tokenizer(beginning, add_special_tokens=False)["input_ids"])
    return replace(_cut(text.name, text.sha256, tokens, sizes), tokens_per_character=count / len(beginning))


def own_pieces(
    model: LanguageModel, kinds: Sequence[TextPieces], sizes: PieceSizes, *, generator: torch.Generator
) -> TextPieces:
    """Let the model write text, each block behind a few words of one of the given kinds, and cut it into pieces.

    Args:
        model: Samples at temperature 1 from the whole distribution.
        kinds: Where the first words come from.
        sizes: Of the pieces.
        generator: Draws the first words, and the seed of the sampling.
    """
    heading = heading_tokens(model.tokenizer)
    count = sizes.least + sizes.healing
    pool = torch.cat([kind.moments[:, len(heading) :] for kind in kinds])
    rows = torch.randint(pool.shape[0], (count,), generator=generator)
    starts = torch.randint(pool.shape[1] - _PROMPT, (count,), generator=generator)
    prompts = torch.stack([pool[row, start : start + _PROMPT] for row, start in zip(rows, starts, strict=True)])
    prompts = torch.cat([torch.tensor(heading, dtype=torch.int64).expand(count, -1), prompts], dim=1)
    seed = int(torch.randint(2**62, (1,), generator=generator))
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.no_grad():
        torch.manual_seed(seed)
        written = [_continued(model, part, sizes.block) for part in torch.split(prompts, _SAMPLED_AT_ONCE)]
    tokens = torch.cat(written)
    digest = hashlib.sha256(tokens.numpy().tobytes()).hexdigest()
    return _cut(OWN_TEXT, digest, tokens, sizes)


def _continued(model: LanguageModel, prompts: torch.Tensor, length: int) -> torch.Tensor:
    """Return prompts ``[batch, p]`` with sampled tokens behind them, ``[batch, length]`` in all."""
    tokens = prompts.to(model.device)
    try:
        # no end of text: a block goes on behind it, as the blocks of other texts go on behind theirs
        tokens = model.module.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            repetition_penalty=1.0,
            max_new_tokens=length - prompts.shape[1],
            min_new_tokens=length - prompts.shape[1],
            pad_token_id=0,
        )
    except Exception as error:  # families fail in their own ways where they cannot write text
        raise InputError(
            f"{model.name} cannot write text of its own: {error}".splitlines()[0], "pass --no-own-text"
        ) from error
    written: torch.Tensor = tokens[:, :length].cpu()
    return written


def _cut(name: str, sha256: str, tokens: torch.Tensor, sizes: PieceSizes) -> TextPieces:
    edges = (sizes.moments, sizes.prices, sizes.judging, tokens.shape[0] - sizes.least)
    moments, prices, judging, healing = torch.split(tokens, list(edges))
    return TextPieces(name, sha256, moments, prices, judging, healing)
