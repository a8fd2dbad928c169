"""Theorem 3 and §5.7 on students: pairs of one seed, start and order, with the clone loss and without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from theorykit.arguments import Floats
from theorykit.errors import InputError
from theorykit.verdicts import Form, Instance, power_expectation
from validation.claims.experiment import Context, PartResult
from validation.claims.finding import CONDITIONAL, Finding, stated
from validation.claims.grids import seeds_of, student
from validation.claims.trained import TrainedStudent
from validation.theorem_3.gain import GAIN, PRINTED_GAIN, gain_findings
from validation.theorem_3.layers import ARMS, ESTIMATES, SHARES, Numbers, Pair, PairSettings, measured
from validation.theorem_3.theorem import theorem_findings, treated
from validation.training.config import StudentConfig

AT_START = " at the start"
"""Of the names of losses before the first step."""
_DIGITS = 5
"""Of numbers that figures are drawn from."""


@dataclass(frozen=True, eq=False)
class StudentsData:
    """What the part leaves for figure 2(b): information and losses by arm, layer and seed, and what they rest on.

    Attributes:
        axes: Of the arrays of ``losses`` and ``information``.
        arms: With the clone loss, and without.
        layers: As counted in the states.
        seeds: Of the pairs.
        rows: That an estimate rests on.
        losses: What :func:`.loss_numbers` gave at the end and, by names with :data:`AT_START`, before the first step.
        information: By estimator, what :func:`.information` gave, nats.
        gaussian_by_noise: Gaussian estimates, ``information``, at falling ``noise``.
        teacher_spectra: Variances of the teacher's principal components, ``[layers, d]``, largest first.
        loss_terms: Terms of the loss at the end, by pair and arm.
        held_out: Held-out loss at the end, ``[pairs, arms]``, nats per token.
    """

    axes: str
    arms: tuple[str, ...]
    layers: tuple[int, ...]
    seeds: tuple[int, ...]
    rows: int
    losses: dict[str, Floats]
    information: dict[str, dict[str, Floats]]
    gaussian_by_noise: dict[str, Floats]
    teacher_spectra: Floats
    loss_terms: tuple[tuple[Any, ...], ...]
    held_out: Floats

    def __post_init__(self) -> None:
        shape = len(ARMS), len(self.layers), len(self.seeds)
        blocks = (self.losses, *self.information.values())
        whole = all(values.shape == shape for block in blocks for values in block.values())
        named = "clone_loss" in self.losses and all(set(ESTIMATES) <= set(block) for block in blocks[1:])
        if 0 in shape or not (self.information and whole and named and len(self.teacher_spectra) == shape[1]):
            raise InputError(f"what is measured on {shape} arms, layers and seeds is not whole", "run it again")


def students(settings: PairSettings, seed: int) -> list[StudentConfig]:
    """Return the pairs: with ``clone_weight`` as it is set, then with 0; all else is the same."""
    return [
        student(settings, seed=own_seed, clone_weight=weight)
        for own_seed in seeds_of(settings.seeds, seed)
        for weight in (settings.clone_weight, 0.0)
    ]


def power(settings: PairSettings) -> dict[str, float]:
    """Return the chance to decide each claim of §5.7 where the mean gain is ``planned_effect`` away from it."""
    count, alpha = settings.seeds, settings.alpha
    flips = 0.5**count <= alpha
    planned = settings.planned_effect, settings.planned_sd
    chance = float(power_expectation(*planned, count, alpha, symmetric=True)) if count > 1 and flips else 0.0
    return {"cloning raises information": chance, f"by more than {PRINTED_GAIN:g} nats": chance}


def seconds(settings: PairSettings) -> float:
    """Return what estimating takes beside training: seven estimates for each layer of each pair."""
    each = {"gaussian": 0.1, "mine": 1.4, "anchored_mine": 1.4, "auto": 3.0}
    trained = 0.2 + 0.8 * settings.critic_steps / 3000
    estimates = 7 * (len(settings.run.get("state_layers", ())) or 2) * settings.seeds
    return float(sum(each.get(name, 2.0) * trained * estimates for name in settings.estimators))


def run(ctx: Context[PairSettings]) -> PartResult:
    """Train the pairs and judge what they measured."""
    trained = tuple(ctx.train(students(ctx.settings, ctx.seed)))
    pairs = list(zip(trained[::2], trained[1::2], strict=True))
    numbers = measured(ctx, pairs)
    if numbers is None or int(numbers.complete.sum()) < 2:
        return PartResult((_nothing(trained),), students=trained)
    treatment = treated(numbers)
    findings = (treatment, *theorem_findings(ctx, numbers), *gain_findings(ctx, numbers, treatment.verdict))
    return PartResult(tuple(finding.because(CONDITIONAL) for finding in findings), _data(numbers, pairs), trained)


def _nothing(trained: Sequence[TrainedStudent]) -> Finding:
    failures = [student.failure for student in trained if student.failure]
    what = "pairs of students with and without the clone loss"
    reasons = (f"{len(failures)} of {len(trained)} students failed; two pairs at least are needed: {failures[:1]}.",)
    return stated(GAIN, Form.PRINTED, what, Instance.INCONCLUSIVE, *reasons, key="pairs")


def _data(numbers: Numbers, pairs: Sequence[Pair]) -> StudentsData:
    losses = {f"{name}{AT_START}": values for name, values in numbers.at_start.items()} | numbers.at_end
    return StudentsData(
        "arms, layers, seeds",
        ARMS,
        numbers.layers,
        numbers.seeds,
        numbers.rows,
        _all_rounded(losses),
        {method: _all_rounded(values) for method, values in numbers.information.items()},
        {"noise": np.array(SHARES), "information": _rounded(np.array(numbers.by_noise))},
        _rounded(np.array(numbers.spectra)[:, ::-1]),
        tuple(tuple(student.last("loss_terms") for student in pair) for pair in pairs),
        np.array([[student.held_out for student in pair] for pair in pairs]),
    )


def _all_rounded(numbers: Mapping[str, Floats]) -> dict[str, Floats]:
    return {name: _rounded(values) for name, values in numbers.items()}


def _rounded(values: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        places = _DIGITS - 1 - np.floor(np.log10(np.abs(values)))
        scale = 10.0 ** np.where(np.isfinite(places), places, 0.0)
        return np.asarray(np.round(values * scale) / scale)
