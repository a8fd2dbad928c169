"""The loss terms of distillation, in nats per token or per coordinate, one value for each of S students.

All are means: over tokens, and for clone losses over coordinates, signals and layers too, so that no value depends on
the batch size, the sequence length, the width or the depth. The paper prints sums and no temperature (eqs 2 to 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch.nn.functional import cross_entropy, log_softmax, mse_loss, pad
from torch.utils.checkpoint import checkpoint

from theorykit.arguments import one_of, positive_number
from theorykit.errors import InputError
from validation.students.batch import HIDDEN, SIGNALS

TERMS = ("language_model", "distillation", "clone", "hint")
_VARIED = ("language_model", "distillation", "clone", "temperature")
"""Fields of :class:`LossWeights` in which students of one batch may differ."""
CloneScale = Literal["raw", "relative"]
PerStudent = float | tuple[float, ...]
"""One number for all students of a batch, or one for each."""
NO_LABEL = -100
_LOGITS = {"cpu": 2**20, "cuda": 2**26}
"""Logits in a chunk: 4 MB fit into a processor's cache, 256 MB keep an accelerator busy."""


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
        terms = {name: getattr(self, name) for name in TERMS}
        return {name: value for name, value in terms.items() if value is not None}


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of eq 2 and the temperature of §5.1, for all students of a batch or for each.

    Attributes:
        language_model: Weight of the cross-entropy.
        distillation: Weight of the KL term.
        clone: λ, weight of the clone loss.
        temperature: τ.
        clone_signals: What the clone loss compares: ``hidden`` (eq 4) or names of signals inside the blocks; empty for
            the students' own default.
        clone_scale: ``raw`` (eq 4) or ``relative`` to the teacher's states, which gives λ a scale.
    """

    language_model: PerStudent = 1.0
    distillation: PerStudent = 1.0
    clone: PerStudent = 1.0
    temperature: PerStudent = 2.0
    clone_signals: tuple[str, ...] = ()
    clone_scale: CloneScale = "raw"

    def __post_init__(self) -> None:
        for name in _VARIED:
            for value in _each(getattr(self, name)):
                positive_number(name, value, allow_zero=name != "temperature")
        weights = np.broadcast_arrays(*(_each(part) for part in (self.language_model, self.distillation, self.clone)))
        if not np.any(weights, axis=0).all():
            raise InputError("all weights are 0", "give at least one term a weight above 0")
        one_of("clone_scale", self.clone_scale, ("raw", "relative"))
        unknown = [name for name in self.clone_signals if name not in (HIDDEN, *SIGNALS)]
        if unknown:
            raise InputError(f"clone signal {unknown[0]!r} is unknown", f"choose from {', '.join((HIDDEN, *SIGNALS))}")

    def weighs(self, term: str) -> bool:
        """Return whether any student weighs a term."""
        return any(_each(getattr(self, term)))

    @property
    def needs_teacher(self) -> bool:
        """Return whether any student weighs a term that compares it with the teacher."""
        return self.weighs("distillation") or self.weighs("clone")

    def of(self, number: int) -> LossWeights:
        """Return the weights of one student."""
        values = {name: getattr(self, name) for name in _VARIED}
        return replace(self, **{name: value[number] for name, value in values.items() if isinstance(value, tuple)})


def _each(value: PerStudent) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)


def _spread(name: str, value: PerStudent, like: torch.Tensor) -> torch.Tensor | float:
    """Return one number for all, or ``[S]`` as the first axis of ``like``."""
    if not isinstance(value, tuple):
        return value
    if len(value) != like.shape[0]:
        raise InputError(f"{name} has {len(value)} values for {like.shape[0]} students", "give one, or one for each")
    return torch.tensor(value, dtype=like.dtype, device=like.device)


def language_model_loss(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of each token given those before it, ``[S]`` in nats per token.

    Args:
        logits: ``[S, B, T, V]``, T ≥ 2.
        tokens: ``[B, T]`` or ``[S, B, T]``.
    """
    return _logit_terms(logits, tokens, None, 1.0)[0]


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
    return _logit_terms(student, None, teacher, temperature)[1]


def _logit_terms(
    logits: torch.Tensor, tokens: torch.Tensor | None, teacher: torch.Tensor | None, temperature: PerStudent
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the losses of labels and of soft targets in one pass over the logits, ``[S]`` each."""
    students, batch, length, _ = logits.shape
    labels = rows = tau = None
    if tokens is not None:
        if length < 2:
            raise InputError(f"blocks of {length} token hold no label", "give at least 2 tokens")
        # the last position has no label: leaving it out would copy all logits
        labels = pad(tokens.expand(students, batch, length)[..., 1:], (0, 1), value=NO_LABEL).flatten()
    if teacher is not None:
        rows = teacher.expand_as(logits).flatten(0, 2)
        each = torch.as_tensor(_spread("temperature", temperature, logits), dtype=logits.dtype, device=logits.device)
        tau = each.expand(students).repeat_interleave(batch * length)
    of_labels, of_teacher = token_losses(logits.flatten(0, 2), labels, rows, tau)
    count = batch * (length - 1)
    return of_labels.view(students, -1).sum(dim=1) / count, of_teacher.view(students, -1).mean(dim=1)


def token_losses(
    logits: torch.Tensor, labels: torch.Tensor | None, teacher: torch.Tensor | None, temperature: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return −log p(label) and τ² KL(p_t^τ ‖ p_s^τ) of each row, ``[N]`` in nats; 0 for what is not asked for.

    A few rows at a time, so that the copies of all logits that they need stay in the cache: a vocabulary of 50,000
    makes logits the largest tensors of a step. Each chunk is computed again in the backward pass, and none is kept.

    Args:
        logits: ``[N, V]``.
        labels: ``[N]``; rows with ``NO_LABEL`` give 0; None for no labels at all.
        teacher: Logits ``[N, V]``, or None.
        temperature: τ ``[N]``; needed with ``teacher``.
    """
    size = max(1, _LOGITS.get(logits.device.type, 2**22) // logits.shape[-1])
    if logits.shape[0] <= size:
        return _losses_of_rows(logits, labels, teacher, temperature)
    chunks = zip(*(_split(rows, size, logits) for rows in (logits, labels, teacher, temperature)), strict=True)
    losses = [checkpoint(_losses_of_rows, *chunk, use_reentrant=False, preserve_rng_state=False) for chunk in chunks]
    of_labels, of_teacher = (torch.cat(parts) for parts in zip(*losses, strict=True))
    return of_labels, of_teacher


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


def clone_loss(
    student: Sequence[torch.Tensor], teacher: Sequence[torch.Tensor], scale: CloneScale = "raw"
) -> torch.Tensor:
    """Return the squared distance of states, ``[S]`` (eq 4, reduced to a mean over tokens and states).

    ``raw``: mean over coordinates, in the squared unit of the states, so that λ has no scale: a few huge activations
    can outweigh all else. ``relative``: ‖ours − theirs‖²/‖theirs‖² of each token, no unit; 1 is the loss of zeros, and
    where the teacher's state is zero it counts with norm 1.

    Args:
        student: Hidden states, attention outputs or other signals, ``[S, …, d]`` each.
        teacher: The same of the teacher, ``[…, d]`` or ``[1, …, d]``, in the same order.
        scale: As above.

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
    distances = [_distance(ours, theirs.expand_as(ours), scale) for ours, theirs in zip(student, teacher, strict=True)]
    return torch.stack(distances).mean(dim=0)


def _distance(ours: torch.Tensor, theirs: torch.Tensor, scale: CloneScale) -> torch.Tensor:
    squares = mse_loss(ours, theirs, reduction="none")
    if scale == "raw":
        return squares.flatten(1).mean(dim=1)
    norms = theirs.square().sum(dim=-1)
    return (squares.sum(dim=-1) / torch.where(norms > 0, norms, 1.0)).flatten(1).mean(dim=1)


def hint_loss(guided: torch.Tensor, hint: torch.Tensor, regressor: torch.Tensor) -> torch.Tensor:
    """Return ‖guided R − hint‖², mean over coordinates and tokens, ``[S]`` (Romero et al. 2015, arXiv 1412.6550, eq 3).

    Args:
        guided: Hidden states of the students ``[S, B, T, d_s]``.
        hint: Of the teacher ``[S, B, T, d_t]``.
        regressor: R ``[S, d_s, d_t]``; linear, where FitNets has a convolution and its non-linearity.
    """
    return clone_loss([torch.bmm(guided.flatten(1, 2), regressor)], [hint.flatten(1, 2)])


def distillation_loss(
    objective: LossWeights,
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
        InputError: a term has a weight and not what it needs, vocabularies differ, blocks of one token have no labels,
            or weights or temperatures are not one or one for each student.
    """
    wants_labels, wants_teacher = objective.weighs("language_model"), objective.weighs("distillation")
    if wants_teacher:
        _check_teacher(logits, teacher_logits)
    terms: dict[str, torch.Tensor] = {}
    if wants_labels or wants_teacher:
        labels, soft = _logit_terms(
            logits,
            tokens if wants_labels else None,
            teacher_logits if wants_teacher else None,
            objective.temperature,
        )
        terms |= {"language_model": labels} if wants_labels else {}
        terms |= {"distillation": soft} if wants_teacher else {}
    if objective.weighs("clone"):
        terms["clone"] = clone_loss(states, teacher_states, objective.clone_scale)
    weighted = [_spread(name, getattr(objective, name), logits) * loss for name, loss in terms.items()]
    total = torch.stack(weighted).sum(dim=0)
    return LossTerms(total, **terms)


def _check_teacher(logits: torch.Tensor, teacher_logits: torch.Tensor | None) -> None:
    if teacher_logits is None:
        raise InputError("the distillation term needs the teacher's logits", "run the teacher on the same tokens")
    if teacher_logits.shape[-1] != logits.shape[-1]:
        raise InputError(
            f"vocabularies differ: {logits.shape[-1]} of the student, {teacher_logits.shape[-1]} of the teacher",
            "use the teacher's tokenizer",
        )
