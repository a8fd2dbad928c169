from __future__ import annotations

import pytest
import torch

from validation.training import logit_losses
from validation.training.logit_losses import NO_LABEL, token_losses

ROWS, VOCABULARY = 23, 11


def inputs(seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits, teacher = (torch.randn(ROWS, VOCABULARY, generator=generator, dtype=torch.float64) for _ in range(2))
    labels = torch.randint(VOCABULARY, (ROWS,), generator=generator)
    labels[3] = NO_LABEL
    return logits.requires_grad_(), labels, teacher, torch.linspace(0.5, 3, ROWS, dtype=torch.float64)


def by_hand(logits, labels, teacher, temperature):
    of_labels = [
        0.0 if label == NO_LABEL else -row.log_softmax(0)[label] for row, label in zip(logits, labels, strict=True)
    ]
    of_teacher = []
    for row, other, tau in zip(logits, teacher, temperature, strict=True):
        p, q = (other / tau).softmax(0), (row / tau).softmax(0)
        of_teacher.append(tau**2 * (p * (p / q).log()).sum())
    return torch.stack([torch.as_tensor(loss) for loss in of_labels]), torch.stack(of_teacher)


@pytest.mark.parametrize("numbers", [1, 5 * VOCABULARY, 10**6])
def test_chunks_change_neither_losses_nor_first_and_second_derivatives(numbers, monkeypatch):
    monkeypatch.setitem(logit_losses._NUMBERS, "cpu", numbers)
    logits, labels, teacher, temperature = inputs()
    direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = []
    for losses in (token_losses, by_hand):
        first, second = losses(logits, labels, teacher, temperature)
        total = (first * torch.arange(ROWS)).sum() + 0.3 * second.sum()
        (gradient,) = torch.autograd.grad(total, logits, create_graph=True)
        (curvature,) = torch.autograd.grad((gradient * direction).sum(), logits)
        found.append((first.detach(), second.detach(), gradient.detach(), curvature))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_what_is_not_asked_for_is_zero():
    logits, labels, teacher, temperature = inputs()
    assert token_losses(logits, labels, None, None)[1].eq(0).all()
    assert token_losses(logits, None, teacher, temperature)[0].eq(0).all()
