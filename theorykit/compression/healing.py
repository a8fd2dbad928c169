"""Distillation of the factors from the dense model: what training can still give back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch

from theorykit.compression.checkpoint import low_rank_layers
from theorykit.compression.report import Healing
from theorykit.compression.request import HealingLength, HealingSettings
from theorykit.models.language_model import LanguageModel
from theorykit.models.running import run_on
from theorykit.models.truncation import DenseReference, log_probabilities


def heal(
    dense: LanguageModel,
    student: LanguageModel,
    training: torch.Tensor,
    held_out: torch.Tensor,
    length: HealingLength,
    *,
    generator: torch.Generator,
    settings: HealingSettings | None = None,
    progress: Callable[[float], None] | None = None,
) -> Healing:
    """Distil all factors from the dense model, and keep those of the least KL on held-out text.

    The loss is KL(dense ‖ student) by token, over whole distributions (Hinton, Vinyals & Dean 2015). Other parameters
    stay as they are. Tokens are read in an order drawn anew for each pass.

    Args:
        dense: The teacher.
        student: With low-rank layers; changed in place.
        training: ``[blocks, length]`` int64.
        held_out: Likewise, no part of the training.
        length: When to end, if the held-out loss does not end it earlier.
        generator: Draws the order.
        settings: Defaults if None.
        progress: Called with the part of the way that is done.
    """
    settings = settings or HealingSettings()
    factors = [
        parameter
        for layer in low_rank_layers(student.module).values()
        for parameter in (layer.basis, layer.combination)
    ]
    start = time.monotonic()
    reference = DenseReference(dense, held_out)
    best = before = reference.compare(0.0, student).kl
    kept, kept_step, looks = [factor.detach().clone() for factor in factors], 0, 0
    optimizer = torch.optim.Adam(factors, lr=settings.learning_rate, betas=(0.9, 0.99))
    for factor in factors:
        factor.requires_grad_()
    steps = tokens = 0

    def look() -> bool:
        """Keep the factors where they are the best so far, and return whether they are."""
        nonlocal best, kept, kept_step
        now = reference.compare(0.0, student).kl
        if not now < best:  # nor where it is NaN
            return False
        best, kept_step, kept = now, steps, [factor.detach().clone() for factor in factors]
        return True

    order = torch.empty(0, dtype=torch.int64)
    while (done := length.done(steps, tokens, time.monotonic() - start)) < 1 and looks < settings.patience:
        if order.numel() == 0:
            order = torch.randperm(training.shape[0], generator=generator)
        chosen, order = order[: settings.batch], order[settings.batch :]
        block = training[chosen].to(student.device)
        log_p = log_probabilities(dense, block)
        with torch.enable_grad():
            log_q = run_on(student.module, block).logits[:, :-1].float().log_softmax(dim=-1)
            loss = torch.nn.functional.kl_div(log_q, log_p, log_target=True, reduction="sum") / log_p[..., 0].numel()
            torch.autograd.backward(loss)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _rate(done, settings.warmup)
        torch.nn.utils.clip_grad_norm_(factors, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        steps, tokens = steps + 1, tokens + block.numel()
        if progress:
            progress(min(1.0, done))
        if steps % settings.every == 0:
            looks += 1
            if look():
                looks = 0
    if steps % settings.every:
        look()
    with torch.no_grad():
        for factor, value in zip(factors, kept, strict=True):
            factor.requires_grad_(False)
            factor.copy_(value)
    return Healing(steps, kept_step, before, best, tokens, time.monotonic() - start)


def _rate(done: float, warmup: float) -> float:
    """Return the share of the highest rate: a straight rise, then half a cosine to a tenth."""
    if done < warmup:
        return max(done / warmup, 0.05)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))
