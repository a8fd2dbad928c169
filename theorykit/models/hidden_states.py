"""Hidden states of a teacher and a student on the same tokens, one batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from theorykit.arguments import positive_integer, shown
from theorykit.errors import InputError
from theorykit.models.language_model import LanguageModel, context_length

States = list[NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class HiddenStates:
    """Runs both models anew on each call; ``len`` is the number of batches.

    Attributes:
        teacher: In evaluation mode.
        student: In evaluation mode, the same vocabulary.
        blocks: Tokens ``[sequences, length]``, int64.
        layers: Pairs (teacher's hidden state, student's hidden state); 0 is the embedded tokens.
        batch: Sequences per batch.
    """

    teacher: LanguageModel
    student: LanguageModel
    blocks: torch.Tensor
    layers: tuple[tuple[int, int], ...]
    batch: int

    def __len__(self) -> int:
        return -(-len(self.blocks) // self.batch)

    def __call__(self) -> Iterator[tuple[States, States]]:
        """Run both models and yield (teacher's layers, student's layers) of each batch."""
        for start in range(0, len(self.blocks), self.batch):
            part = self.blocks[start : start + self.batch]
            yield (
                _states(self.teacher, part, [first for first, _ in self.layers]),
                _states(self.student, part, [second for _, second in self.layers]),
            )

    def __repr__(self) -> str:
        size = f"{self.blocks.shape[0]} × {self.blocks.shape[1]} tokens"
        return f"HiddenStates({self.teacher.name!r}, {self.student.name!r}, {len(self.layers)} layers, {size})"


def hidden_states(
    teacher: LanguageModel,
    student: LanguageModel,
    blocks: Any,
    *,
    layers: Sequence[tuple[int, int]] | None = None,
    batch: int = 4,
) -> HiddenStates:
    """Return a callable that gives the hidden states of two models on the same tokens, for ``layer_information``.

    A model of L layers has L + 1 hidden states: 0 is the embedded tokens, i what block i hands on, and the last one
    stands, as transformers gives it, behind the model's final normalisation. Only one batch is held at a time; the
    logits are not formed.

    Args:
        teacher: From :func:`~theorykit.models.language_model.load_language_model`, on any device.
        student: The same vocabulary, any width and depth; may lie on another device.
        blocks: Tokens ``[sequences, length]``, whole numbers, as from
            :func:`~theorykit.models.language_model.token_blocks`.
        layers: Pairs (teacher's hidden state, student's hidden state), each from 0. None: the same index where both
            have equally many; else as many pairs as the shallower model has states, spread evenly by relative depth
            over both, rounded to the nearest, first with first and last with last.
        batch: Sequences per batch, at least 1.

    Returns:
        A callable; each call runs both models anew and gives an iterator over pairs (teacher's layers, student's
        layers), lists of float32 arrays ``[sequences, length, d_l]``. Its ``layers`` tell the pairs.

    Raises:
        InputError: different vocabularies, tokens that a model does not know or blocks longer than it reads, layers
            that are not there, or a model that gives no hidden states.

    Example:
        >>> from transformers import GPT2Config, GPT2LMHeadModel
        >>> module = GPT2LMHeadModel(GPT2Config(vocab_size=9, n_positions=8, n_embd=4, n_layer=3, n_head=1)).eval()
        >>> import torch
        >>> model = LanguageModel("tiny", module, None, torch.device("cpu"))
        >>> states = hidden_states(model, model, [[1, 2, 3], [4, 5, 6]], batch=1)
        >>> states.layers, len(states)
        (((0, 0), (1, 1), (2, 2), (3, 3)), 2)
        >>> [first[0].shape for first, second in states()]
        [(1, 3, 4), (1, 3, 4)]
    """
    _check_vocabularies(teacher, student)
    tokens = _checked_blocks(blocks, (teacher, student))
    size = positive_integer("batch", batch)
    counts = _count_of_states(teacher), _count_of_states(student)
    pairs = _by_relative_depth(*counts) if layers is None else _checked_layers(layers, counts)
    return HiddenStates(teacher, student, tokens, pairs, size)


def _states(model: LanguageModel, tokens: torch.Tensor, chosen: Sequence[int]) -> States:
    """Return the chosen hidden states on the CPU; inference mode ends before anything is handed on."""
    with torch.inference_mode():
        states = _all_states(model, tokens)
        return [states[index].float().numpy(force=True) for index in chosen]


def _all_states(model: LanguageModel, tokens: torch.Tensor) -> Sequence[torch.Tensor]:
    body = getattr(model.module, "base_model", model.module)  # without the head: no logits
    output = body(input_ids=tokens.to(model.device), use_cache=False, output_hidden_states=True)
    states = getattr(output, "hidden_states", None)
    if not states:
        raise InputError(f"{model.name} gives no hidden states", "give a causal language model of transformers")
    return tuple(states)


def _count_of_states(model: LanguageModel) -> int:

    with torch.inference_mode():
        return len(_all_states(model, torch.zeros((1, 1), dtype=torch.int64)))


def _embeddings(model: LanguageModel) -> int:
    return int(model.module.get_input_embeddings().weight.shape[0])


def _check_vocabularies(teacher: LanguageModel, student: LanguageModel) -> None:
    """Raise where one token number means two things; rows of an embedding may be spare where tokenizers are known."""
    if teacher.tokenizer is not None and student.tokenizer is not None:
        same = teacher.tokenizer.get_vocab() == student.tokenizer.get_vocab()
        sizes = len(teacher.tokenizer), len(student.tokenizer)
    else:
        sizes = _embeddings(teacher), _embeddings(student)
        same = sizes[0] == sizes[1]
    if not same:
        raise InputError(
            f"{teacher.name} and {student.name} have different vocabularies, of {sizes[0]:,} and {sizes[1]:,} tokens",
            "give a student that was distilled from this teacher, or of its family",
        )


def _checked_blocks(blocks: Any, models: tuple[LanguageModel, LanguageModel]) -> torch.Tensor:

    try:
        tokens = torch.as_tensor(blocks)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"blocks = {shown(blocks)} are no tokens", "give [sequences, length] whole numbers") from None
    if tokens.ndim != 2 or tokens.numel() == 0 or tokens.is_floating_point() or tokens.dtype == torch.bool:
        raise InputError(
            f"blocks have shape {tuple(tokens.shape)} and type {tokens.dtype}",
            "give [sequences, length] whole numbers, as token_blocks does",
        )
    low, high = int(tokens.min()), int(tokens.max())
    for model in models:
        if low < 0 or high >= _embeddings(model):
            raise InputError(
                f"blocks hold the tokens {low} to {high}, and {model.name} knows 0 to {_embeddings(model) - 1}",
                "tokenise the text with the models' own tokenizer",
            )
        longest = context_length(model)
        if longest is not None and tokens.shape[1] > longest:
            raise InputError(
                f"blocks have {tokens.shape[1]} tokens each, and {model.name} reads at most {longest} at once",
                "give shorter blocks",
            )
    return tokens.to(device="cpu", dtype=torch.int64)


def _by_relative_depth(teacher: int, student: int) -> tuple[tuple[int, int], ...]:
    """Return the pairs that ``hidden_states`` takes for None, from the numbers of states."""
    count = min(teacher, student)
    depths = np.linspace(0.0, 1.0, count)
    first, second = (np.rint(depths * (size - 1)).astype(int).tolist() for size in (teacher, student))
    return tuple(zip(first, second, strict=True))


def _checked_layers(layers: Any, counts: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    try:
        pairs = [(first, second) for first, second in layers]
    except (TypeError, ValueError):
        pairs = []
    if not pairs:
        raise InputError(
            f"layers = {shown(layers)} are no pairs", "give a list of (teacher layer, student layer), or None"
        )
    names = ("the teacher's layer", "the student's layer")
    return tuple(
        (
            positive_integer(names[0], first, allow_zero=True, maximum=counts[0] - 1),
            positive_integer(names[1], second, allow_zero=True, maximum=counts[1] - 1),
        )
        for first, second in pairs
    )
