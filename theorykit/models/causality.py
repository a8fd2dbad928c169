"""Whether a model reads forwards only, so that its scores are predictions of the next token."""

from __future__ import annotations

import torch

from theorykit.errors import CalibrationError
from theorykit.models.locations import WEIGHTS_ALONE
from theorykit.models.running import as_judged, run_on

LENGTHS = (24, 8, 4)
"""Tokens that are tried, half of them changed; a model of few positions reads no more."""
_MOVED = 1e-3
"""Change of an earlier score, as a share of the spread of all scores, that rounding in another order cannot explain."""


def require_causal(module: torch.nn.Module, name: str) -> None:
    """Raise where scores at a position change with the tokens behind it.

    Args:
        module: A language model on its device, in evaluation mode.
        name: How the error calls it.

    Raises:
        CalibrationError: an earlier score moves: the model reads in both directions, and its scores are no
            probabilities of the next token.
    """
    device = next(module.parameters()).device
    words = int(module.get_input_embeddings().weight.shape[0])  # type: ignore[operator]
    for length in LENGTHS:
        generator = torch.Generator().manual_seed(0)
        first = torch.randint(0, words, (1, length), generator=generator)
        second = first.clone()
        second[:, length // 2 :] = torch.randint(0, words, (1, length - length // 2), generator=generator)
        try:
            with as_judged(module), torch.no_grad():
                before, after = (
                    run_on(module, tokens.to(device)).logits[:, : length // 2].float() for tokens in (first, second)
                )
            break
        except (IndexError, RuntimeError):  # more tokens than it has positions for
            if length == LENGTHS[-1]:
                raise
    moved, spread = (before - after).abs().max(), before.std()
    if bool(moved > _MOVED * spread):
        raise CalibrationError(
            f"{name} is not causal: its scores at a token change with the tokens behind it",
            f"give a decoder, trained to predict the next token; {WEIGHTS_ALONE}",
        )
