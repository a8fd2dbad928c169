"""Whether a model reads forwards only, so that its scores are predictions of the next token."""

from __future__ import annotations

import torch

from theorykit.errors import CalibrationError
from theorykit.models.module_layers import eager_experts, run_on

LENGTH = 24
KEPT = 12
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
    generator = torch.Generator().manual_seed(0)
    first = torch.randint(0, words, (1, LENGTH), generator=generator)
    second = first.clone()
    second[:, KEPT:] = torch.randint(0, words, (1, LENGTH - KEPT), generator=generator)
    with torch.no_grad(), eager_experts(module):
        scores = [run_on(module, tokens.to(device)).logits[:, :KEPT].float() for tokens in (first, second)]
    moved, spread = (scores[0] - scores[1]).abs().max(), scores[0].std()
    if bool(moved > _MOVED * spread):
        raise CalibrationError(
            f"{name} is not causal: its scores at a token change with the tokens behind it",
            "give a decoder, trained to predict the next token; --calibration none reads the weights of any model",
        )
