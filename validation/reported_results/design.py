"""Which students Tables 1 and 2 and figures 3 and 4 ask for, and what their number can show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from theorykit.errors import InputError
from theorykit.statements import reported_results as printed
from theorykit.verdicts import power_expectation
from theorykit.verdicts.intervals import LEAST_SEEDS
from validation.claims.grids import seeds_of, student
from validation.claims.settings import PartSettings
from validation.reported_results.verdicts import ROBUST, SMALLEST_EFFECT
from validation.training.config import StudentConfig
from validation.training.methods import METHODS

ALPHA = 0.05
FULL, DENSE, LORA = "lrc", "finetune, whole teacher", "lora, whole teacher"
WHOLE = {DENSE: {"method": "finetune", "student": "dense"}, LORA: {"method": "lora", "student": "dense"}}
"""Beside Table 1's methods, and larger: all of the teacher is deployed."""
KD, PC_LORA = "kd", "pc-lora"
CLONING = "cloning"
WITHOUT: dict[str, dict[str, Any]] = {
    "low-rank projection": {"start": "random"},
    CLONING: {"clone_weight": 0.0},
    "LM loss": {"language_model_weight": 0.0},
    "KD loss": {"distillation_weight": 0.0},
}
"""Rows of Table 2. The text calls its first component a "parameter-efficient initialization": without it, factors of
the same size start anew. The other reading, no factors at all, is larger: :data:`UNFACTORED`."""
UNFACTORED = "any factors (a dense student)"
ROWS = {FULL: FULL} | {name: f"w/o {name}" for name in (UNFACTORED, *WITHOUT)}
"""Names of the rows of Table 2, by what is left out."""
PAPER_RATE, PAPER_CLONE_WEIGHT = 3e-4, 1.0
AROUND_RATE = (1e-4, 1e-3)
"""What counts as "around 3e-4": its neighbours, half a power of ten away."""


@dataclass(frozen=True, kw_only=True)
class DesignSettings(PartSettings):
    """Settings of a part on students.

    Attributes:
        seeds: Of each group of students.
        tuning_seeds: How many of them choose (rates, inner ranks, …); the others judge what was chosen.
        methods: Of Table 1, the judged one first.
        learning_rates: Tried for each of them alike.
        learning_rate: Of all students that are not tuned, which are those of Table 2 and of figures 3 and 4.
        sensitivity_rates: Of figure 3, with 3e-4 among them, which the paper prefers.
        clone_weights: Of figure 3, with 1 among them.
        ranks: Of figure 4.
        rank_blocks: The train blocks that the students of figure 4 see, 0 for all of them.
        planned_sd: Expected standard deviation over seeds of a paired difference, nats per token.
    """

    seeds: int
    tuning_seeds: int
    methods: tuple[str, ...]
    learning_rates: tuple[float, ...]
    learning_rate: float
    sensitivity_rates: tuple[float, ...]
    clone_weights: tuple[float, ...]
    ranks: tuple[int, ...]
    rank_blocks: tuple[int, ...]
    planned_sd: float


@dataclass(frozen=True)
class Design:
    """The students of a part by table or figure: lists of students that differ in the seed alone, in its order.

    Attributes:
        tuning: How many seeds choose; the others judge.
        table_1: By method, then by learning rate.
        table_2: By what is left out; ``FULL`` has all.
        rates: By learning rate.
        clone_weights: By λ.
        ranks: By train blocks (``all`` for all), then by rank.
    """

    tuning: int
    table_1: dict[str, dict[float, list[StudentConfig]]]
    table_2: dict[str, list[StudentConfig]]
    rates: dict[float, list[StudentConfig]]
    clone_weights: dict[float, list[StudentConfig]]
    ranks: dict[str, dict[int, list[StudentConfig]]]

    def students(self) -> list[StudentConfig]:
        """Return each student once."""
        rows: list[Mapping[Any, list[StudentConfig]]] = [*self.table_1.values(), self.table_2]
        rows += [self.rates, self.clone_weights, *self.ranks.values()]
        configs = (config for row in rows for group in row.values() for config in group)
        return list({config.identity: config for config in configs}.values())


def design(settings: DesignSettings, seed: int) -> Design:
    """Return the students of a part.

    Raises:
        InputError: grids without what the paper prefers, unknown methods, or no seed that judges.
    """
    seeds, tuning = seeds_of(settings.seeds, seed), settings.tuning_seeds
    if not 0 < tuning < len(seeds):
        raise InputError(f"tuning_seeds = {tuning} of {len(seeds)} seeds", "leave at least one seed that judges")
    names = list(dict.fromkeys(settings.methods))
    if not set(names) <= set(METHODS) or names[:1] != [FULL]:
        raise InputError(f"methods = {names}", f"begin with {FULL} and go on with {', '.join(METHODS)}")

    def group(**fields: Any) -> list[StudentConfig]:
        return [student(settings, **{"method": FULL, **fields, "seed": own_seed}) for own_seed in seeds]

    rates = _increasing("sensitivity_rates", settings.sensitivity_rates, among=PAPER_RATE)
    if all(near_paper_rate(rate) for rate in rates):
        raise InputError(f"sensitivity_rates = {rates} has none outside {AROUND_RATE}", "put one among them")
    tried = sorted({*_increasing("learning_rates", settings.learning_rates, least=1), settings.learning_rate})
    weights = _increasing("clone_weights", settings.clone_weights, among=PAPER_CLONE_WEIGHT)
    ranks = [int(rank) for rank in _increasing("ranks", settings.ranks)]
    methods = {name: {"method": name} for name in names} | WHOLE
    return Design(
        tuning,
        {name: {rate: group(**fields, learning_rate=rate) for rate in tried} for name, fields in methods.items()},
        {FULL: group(), UNFACTORED: group(student="dense")}
        | {name: group(**fields) for name, fields in WITHOUT.items()},
        {rate: group(learning_rate=rate) for rate in rates},
        {weight: group(clone_weight=weight) for weight in weights},
        {
            str(count or "all"): {rank: group(rank=rank, n_blocks=count or None) for rank in ranks}
            for count in settings.rank_blocks
        },
    )


def near_paper_rate(rate: float) -> bool:
    """Return whether a learning rate is around the one that the paper prefers."""
    return AROUND_RATE[0] <= rate <= AROUND_RATE[1]


def _increasing(name: str, values: Sequence[float], *, least: int = 3, among: float | None = None) -> list[float]:
    numbers = sorted({float(value) for value in values})
    if len(numbers) < least:
        raise InputError(f"{name} = {numbers} has no inner value", "give at least 3")
    if among is not None and among not in numbers[1:-1]:
        raise InputError(f"{name} = {numbers} has no values on both sides of {among:g}", f"put {among:g} among them")
    return numbers


def students(settings: DesignSettings, seed: int) -> list[StudentConfig]:
    """Return all students of a part."""
    return design(settings, seed).students()


def power(settings: DesignSettings) -> dict[str, float]:
    """Return the chances to show effects of the size that the paper reports, each for one comparison."""
    seeds, judging = settings.seeds, settings.seeds - settings.tuning_seeds
    gain = math.log(printed.TABLE_1["PC-LoRA"][0] / printed.TABLE_1["LRC"][0])
    least = math.log(min(value for value, _ in printed.TABLE_2.values()) / printed.FULL)

    def of(effect: float, count: int, alpha: float = ALPHA) -> float:
        if count < LEAST_SEEDS:
            return 0.0
        return float(power_expectation(effect, settings.planned_sd, count, alpha, symmetric=True))

    return {
        "table 1: one rival as much worse as PC-LoRA": of(gain, judging, ALPHA / (len(settings.methods) - 1)),
        "table 2: the least of the components": of(least - SMALLEST_EFFECT, seeds),
        "figure 3: a rate that loses nothing, as robust": of(ROBUST, judging),
        "figures 3 and 4: an end worse by 1 %": of(SMALLEST_EFFECT, judging),
    }
