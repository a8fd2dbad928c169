"""Which students Tables 1 and 2 and figures 3 and 4 ask for, and what their number can show.

Settings of a part, beside the fields of a run that all students share:

- ``seeds``, of which the first ``tuning_seeds`` choose (rates, inner ranks, …) and the others judge what was chosen;
- ``methods``: of Table 1, the judged one first; ``learning_rates``: tried for each of them alike;
- ``learning_rate``: of all students that are not tuned, which are those of Table 2 and of figures 3 and 4;
- ``sensitivity_rates``, ``clone_weights``: of figure 3, with 3e-4 and 1 among them, which the paper prefers;
- ``ranks``, ``rank_blocks``: of figure 4, the train blocks that its students see, 0 for all of them;
- ``planned_sd``: expected standard deviation over seeds of a paired difference, nats per token.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from theorykit.errors import InputError
from theorykit.statements import reported_results as printed
from theorykit.verdicts import power_expectation
from validation.claims.experiment import Settings
from validation.claims.grids import needed, seeds_of, student
from validation.reported_results.verdicts import LEAST_SEEDS, ROBUST, SMALLEST_EFFECT
from validation.training.config import StudentConfig
from validation.training.methods import METHODS

Group = list[StudentConfig]
"""Students that differ in the seed alone, in the order of the seeds."""
ALPHA = 0.05
FULL, DENSE, LORA = "lrc", "finetune, whole teacher", "lora, whole teacher"
WHOLE = {DENSE: {"method": "finetune", "student": "dense"}, LORA: {"method": "lora", "student": "dense"}}
"""Beside Table 1's methods, and larger: all of the teacher is deployed."""
WITHOUT: dict[str, dict[str, Any]] = {
    "low-rank projection": {"start": "random"},
    "cloning": {"clone_weight": 0.0},
    "LM loss": {"language_model_weight": 0.0},
    "KD loss": {"distillation_weight": 0.0},
}
"""Rows of Table 2. The text calls its first component a "parameter-efficient initialization": without it, factors of
the same size start anew. The other reading, no factors at all, is larger: :data:`UNFACTORED`."""
UNFACTORED = "any factors (a dense student)"
PAPER_RATE, PAPER_CLONE_WEIGHT = 3e-4, 1.0
AROUND_RATE = (1e-4, 1e-3)
"""What counts as "around 3e-4": its neighbours, half a power of ten away."""


@dataclass(frozen=True)
class Design:
    """The students of a part by table or figure.

    Attributes:
        tuning: How many seeds choose; the others judge.
        table_1: By method, then by learning rate.
        table_2: By what is left out; ``FULL`` has all.
        rates: By learning rate.
        clone_weights: By λ.
        ranks: By train blocks (0 for all), then by rank.
    """

    tuning: int
    table_1: dict[str, dict[float, Group]]
    table_2: dict[str, Group]
    rates: dict[float, Group]
    clone_weights: dict[float, Group]
    ranks: dict[int, dict[int, Group]]

    def students(self) -> Group:
        """Return each student once."""
        nested: list[Mapping[Any, Group]] = [
            *self.table_1.values(),
            self.table_2,
            self.rates,
            self.clone_weights,
            *self.ranks.values(),
        ]
        found = (one for groups in nested for group in groups.values() for one in group)
        return list({one.identity: one for one in found}.values())


def design(settings: Settings, seed: int) -> Design:
    """Return the students of a part.

    Raises:
        InputError: settings that are missing, or grids without what the paper prefers.
    """
    seeds, tuning = seeds_of(settings, seed), int(needed(settings, "tuning_seeds"))
    if not 0 < tuning < len(seeds):
        raise InputError(f"tuning_seeds = {tuning} of {len(seeds)} seeds", "leave at least one seed that judges")
    methods = {name: {"method": name} for name in needed(settings, "methods")}
    unknown = [name for name in methods if name not in METHODS]
    if unknown or next(iter(methods)) != FULL:
        raise InputError(f"methods = {list(methods)}", f"begin with {FULL} and go on with {', '.join(METHODS)}")

    def group(**fields: Any) -> Group:
        return [student(settings, **{"method": FULL, **fields, "seed": one}) for one in seeds]

    rates = _numbers(settings, "sensitivity_rates", PAPER_RATE)
    if all(near_paper_rate(rate) for rate in rates):
        raise InputError(f"sensitivity_rates = {rates} has none outside {AROUND_RATE}", "put one among them")
    own = float(needed(settings, "learning_rate"))
    tried = sorted({*_numbers(settings, "learning_rates"), own})
    blocks = [int(count) for count in needed(settings, "rank_blocks")]
    return Design(
        tuning,
        {
            name: {rate: group(**fields, learning_rate=rate) for rate in tried}
            for name, fields in (methods | WHOLE).items()
        },
        {FULL: group(), UNFACTORED: group(student="dense")}
        | {name: group(**fields) for name, fields in WITHOUT.items()},
        {rate: group(learning_rate=rate) for rate in rates},
        {one: group(clone_weight=one) for one in _numbers(settings, "clone_weights", PAPER_CLONE_WEIGHT)},
        {
            count: {int(rank): group(rank=int(rank), n_blocks=count or None) for rank in _numbers(settings, "ranks")}
            for count in blocks
        },
    )


def near_paper_rate(rate: float) -> bool:
    """Return whether a learning rate is around the one that the paper prefers."""
    return AROUND_RATE[0] <= rate <= AROUND_RATE[1]


def _numbers(settings: Settings, name: str, among: float | None = None) -> list[float]:
    found = sorted({float(value) for value in needed(settings, name)})
    if len(found) < (1 if name == "learning_rates" else 3):
        raise InputError(f"{name} = {found} has no inner value", "give at least 3")
    if among is not None and among not in found[1:-1]:
        raise InputError(f"{name} = {found} has no values on both sides of {among:g}", f"put {among:g} among them")
    return found


def students(settings: Settings, seed: int) -> Group:
    """Return all students of a part."""
    return design(settings, seed).students()


def power(settings: Settings) -> dict[str, float]:
    """Return the chances to show effects of the size that the paper reports, each for one comparison."""
    spread, seeds = float(needed(settings, "planned_sd")), int(needed(settings, "seeds"))
    judging = seeds - int(needed(settings, "tuning_seeds"))
    rivals = len(needed(settings, "methods")) - 1
    gain = math.log(printed.TABLE_1["PC-LoRA"][0] / printed.TABLE_1["LRC"][0])
    least = math.log(min(value for value, _ in printed.TABLE_2.values()) / printed.FULL)

    def of(effect: float, count: int, alpha: float) -> float:
        return float(power_expectation(effect, spread, count, alpha)) if count >= LEAST_SEEDS else 0.0

    return {
        "table 1: one rival as much worse as PC-LoRA": of(gain, judging, ALPHA / rivals),
        "table 2: the least of the components": of(least - SMALLEST_EFFECT, seeds, ALPHA),
        "figure 3: a rate that loses nothing, as robust": of(ROBUST, judging, ALPHA),
        "figures 3 and 4: an end worse by 1 %": of(SMALLEST_EFFECT, judging, ALPHA),
    }
