"""The loss terms of distillation, in nats per token or per coordinate, one value for each of S students.

All are means: over tokens, and for clone losses over coordinates, signals and layers too, so that no value depends on
the batch size, the sequence length, the width or the depth. The paper prints sums and no temperature (eqs 2 to 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy, log_softmax

from theorykit.checks import positive_number
from theorykit.errors import InputError
from validation.students.batch import HIDDEN, SIGNALS

TERMS = ("language_model", "distillation", "clone", "hint")
PerStudent = float | tuple[float, ...]
"""One number for all students of a batch, or one for each."""


@dataclass(frozen=True)
class LossTerms:
    """The terms of one step, ``[S]`` each, and their weighted sum; a term that no student weighs is None.

    Attributes:
        total: What is minimised.
        language_model: Cross-entropy with the labels.
        distillation: τ² KL(teacher ‖ student) at temperature τ.
        clone: Mean squared distance of hidden states or signals.
        hint: Mean squared distance of the regressed guided layer to the hint layer.
    """

    total: torch.Tensor
    language_model: torch.Tensor | None = None
    distillation: torch.Tensor | None = None
    clone: torch.Tensor | None = None
    hint: torch.Tensor | None = None

    def named(self) -> dict[str, torch.Tensor]:
        """Return the terms that were computed."""
        found = {name: getattr(self, name) for name in TERMS}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class Objective:
    """Weights of the terms of eq 2 and the temperature of §5.1, for all students of a batch or for each.

    Attributes:
        language_model: Weight of the cross-entropy.
        distillation: Weight of the KL term.
        clone: λ, weight of the clone loss.
        temperature: τ.
        clone_signals: What the clone loss compares: ``hidden`` (eq 4) or names of signals inside the blocks; empty for
            the students' own default.
    """

    language_model: PerStudent = 1.0
    distillation: PerStudent = 1.0
    clone: PerStudent = 1.0
    temperature: PerStudent = 2.0
    clone_signals: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("language_model", "distillation", "clone", "temperature"):
            for value in _each(getattr(self, name)):
                positive_number(name, value, allow_zero=name != "temperature")
        weights = np.broadcast_arrays(*(_each(part) for part in (self.language_model, self.distillation, self.clone)))
        if not np.any(weights, axis=0).all():
            raise InputError("all weights are 0", "give at least one term a weight above 0")
        unknown = [name for name in self.clone_signals if name not in (HIDDEN, *SIGNALS)]
        if unknown:
            raise InputError(f"clone signal {unknown[0]!r} is unknown", f"choose from {', '.join((HIDDEN, *SIGNALS))}")

    def weighs(self, term: str) -> bool:
        """Return whether any student weighs a term."""
        return any(_each(getattr(self, term)))


def _each(value: PerStudent) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)


def _spread(value: PerStudent, like: torch.Tensor) -> torch.Tensor | float:
    """Return one number for all, or ``[S]``."""
    return torch.tensor(value, dtype=like.dtype, device=like.device) if isinstance(value, tuple) else value


def language_model_loss(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of each token given those before it, ``[S]`` in nats per token.

    Args:
        logits: ``[S, B, T, V]``, T ≥ 2.
        tokens: ``[B, T]`` or ``[S, B, T]``.
    """
    students, vocabulary = logits.shape[0], logits.shape[-1]
    labels = tokens.expand(students, *tokens.shape[-2:])[..., 1:]
    losses = cross_entropy(logits[..., :-1, :].reshape(-1, vocabulary), labels.reshape(-1), reduction="none")
    return losses.view(students, -1).mean(dim=1)


def distillation_kl(student: torch.Tensor, teacher: torch.Tensor, temperature: PerStudent) -> torch.Tensor:
    """Return τ² KL(p_t^τ ‖ p_s^τ), the mean over positions, ``[S]`` in nats per token (eq 3 with the τ² of Hinton).

    τ² keeps the gradient's size as τ grows (Hinton, Vinyals & Dean 2015, arXiv 1503.02531); the paper prints neither.

    Args:
        student: Logits ``[S, B, T, V]``.
        teacher: Logits ``[B, T, V]`` or ``[S, B, T, V]``.
        temperature: τ > 0, of all students or of each.

    Example:
        >>> one = torch.tensor([0.0, 1.0986]).view(1, 1, 1, 2)  # ¼ and ¾
        >>> round(float(distillation_kl(torch.zeros(1, 1, 1, 2), one, 1.0)), 4)  # ¾ log 3 − log 2
        0.1308
    """
    tau = _spread(temperature, student)
    scale = tau.view(-1, 1, 1, 1) if isinstance(tau, torch.Tensor) else tau
    of_student = log_softmax(student / scale, dim=-1)
    of_teacher = log_softmax(teacher / scale, dim=-1)
    divergence = (of_teacher.exp() * (of_teacher - of_student)).sum(dim=-1)
    return tau**2 * divergence.flatten(1).mean(dim=1)


def clone_loss(student: Sequence[torch.Tensor], teacher: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the squared distance of states, mean over coordinates, tokens and states, ``[S]`` (eq 4, reduced).

    Args:
        student: Hidden states, attention outputs or other signals, ``[S, …, d]`` each.
        teacher: The same of the teacher, ``[…, d]`` or ``[1, …, d]``, in the same order.

    Raises:
        InputError: different numbers of states, none, or different widths: eq 4 is undefined then.
    """
    if len(student) != len(teacher) or not student:
        raise InputError(f"{len(student)} states of the student and {len(teacher)} of the teacher", "pair them")
    for ours, theirs in zip(student, teacher, strict=True):
        if ours.shape[-1] != theirs.shape[-1]:
            raise InputError(
                f"a state of width {ours.shape[-1]} cannot be compared with one of width {theirs.shape[-1]}",
                "compare signals of equal width, or project one side",
            )
    distances = [(ours - theirs).square().flatten(1).mean(dim=1) for ours, theirs in zip(student, teacher, strict=True)]
    return torch.stack(distances).mean(dim=0)


def hint_loss(guided: torch.Tensor, hint: torch.Tensor, regressor: torch.Tensor) -> torch.Tensor:
    """Return ‖guided R − hint‖², mean over coordinates and tokens, ``[S]`` (Romero et al. 2015, arXiv 1412.6550, eq 3).

    Args:
        guided: Hidden states of the students ``[S, B, T, d_s]``.
        hint: Of the teacher ``[S, B, T, d_t]``.
        regressor: R ``[S, d_s, d_t]``; linear, where FitNets has a convolution and its non-linearity.
    """
    return clone_loss([torch.bmm(guided.flatten(1, 2), regressor)], [hint.flatten(1, 2)])


def distillation_loss(
    objective: Objective,
    logits: torch.Tensor,
    tokens: torch.Tensor,
    *,
    teacher_logits: torch.Tensor | None = None,
    states: Sequence[torch.Tensor] = (),
    teacher_states: Sequence[torch.Tensor] = (),
) -> LossTerms:
    """Return the weighted sum of eq 2 and its terms, ``[S]`` each; a term without weight is not computed.

    Args:
        objective: Weights and temperature.
        logits: Of the students ``[S, B, T, V]``.
        tokens: ``[B, T]`` or ``[S, B, T]``.
        teacher_logits: ``[B, T, V]``; needed for the KL term.
        states: What the clone loss compares.
        teacher_states: The same of the teacher.

    Raises:
        InputError: a term has a weight and not what it needs, or vocabularies differ.
    """
    language_model = distillation = clone = None
    total = torch.zeros(logits.shape[0], dtype=logits.dtype, device=logits.device)
    if objective.weighs("language_model"):
        language_model = language_model_loss(logits, tokens)
        total = total + _spread(objective.language_model, total) * language_model
    if objective.weighs("distillation"):
        if teacher_logits is None:
            raise InputError("the distillation term needs the teacher's logits", "run the teacher on the same tokens")
        if teacher_logits.shape[-1] != logits.shape[-1]:
            raise InputError(
                f"vocabularies differ: {logits.shape[-1]} of the student, {teacher_logits.shape[-1]} of the teacher",
                "use the teacher's tokenizer",
            )
        distillation = distillation_kl(logits, teacher_logits, objective.temperature)
        total = total + _spread(objective.distillation, total) * distillation
    if objective.weighs("clone"):
        clone = clone_loss(states, teacher_states)
        total = total + _spread(objective.clone, total) * clone
    return LossTerms(total, language_model, distillation, clone)
