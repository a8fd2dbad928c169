"""Losses of logits, token by token, a few rows at a time: the copies of all logits that they need stay in the cache.

A vocabulary of 50,000 makes logits the largest tensors of a step. Each chunk is computed again in the backward pass, so
that nothing of it is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import cross_entropy, log_softmax
from torch.utils.checkpoint import checkpoint

NO_LABEL = -100
_NUMBERS = {"cpu": 2**20, "cuda": 2**26}
"""Logits in a chunk: 4 MB fit into a processor's cache, 256 MB keep an accelerator busy."""


def token_losses(
    logits: torch.Tensor, labels: torch.Tensor | None, teacher: torch.Tensor | None, temperature: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return −log p(label) and τ² KL(p_t^τ ‖ p_s^τ) of each row, ``[N]`` in nats; 0 for what is not asked for.

    Args:
        logits: ``[N, V]``.
        labels: ``[N]``; rows with ``NO_LABEL`` give 0; None for no labels at all.
        teacher: Logits ``[N, V]``, or None.
        temperature: τ ``[N]``; needed with ``teacher``.
    """
    size = max(1, _NUMBERS.get(logits.device.type, 2**22) // logits.shape[-1])
    if logits.shape[0] <= size:
        return _losses_of_rows(logits, labels, teacher, temperature)
    parts = zip(*(_split(one, size, logits) for one in (logits, labels, teacher, temperature)), strict=True)
    found = [checkpoint(_losses_of_rows, *part, use_reentrant=False, preserve_rng_state=False) for part in parts]
    first, second = (torch.cat(losses) for losses in zip(*found, strict=True))
    return first, second


def _split(rows: torch.Tensor | None, size: int, like: torch.Tensor) -> Sequence[torch.Tensor | None]:
    return [None] * -(-like.shape[0] // size) if rows is None else torch.split(rows, size)


def _losses_of_rows(
    logits: torch.Tensor, labels: torch.Tensor | None, teacher: torch.Tensor | None, temperature: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    nothing = logits.new_zeros(logits.shape[0])
    of_labels = of_teacher = nothing
    if labels is not None:
        of_labels = cross_entropy(logits, labels, reduction="none", ignore_index=NO_LABEL)
    if teacher is not None and temperature is not None:
        ours, theirs = (log_softmax(part / temperature[:, None], dim=-1) for part in (logits, teacher))
        theirs = theirs.clamp(min=torch.finfo(theirs.dtype).min)  # a teacher's −∞ has probability 0 and no share in KL
        of_teacher = temperature**2 * (theirs.exp() * (theirs - ours)).sum(dim=-1)
    return of_labels, of_teacher
