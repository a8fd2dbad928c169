"""Table 1: methods side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paper_figs.reported_results import (
    CHECK,
    INTERVALS,
    MEASURED,
    PART,
    is_reference,
    measured,
    measured_cells,
    parameter_cells,
    settings_of,
)
from paper_figs.sources import Sources
from theorykit.errors import InputError
from theorykit.provenance import short
from theorykit.statements import reported_results as printed
from theorykit.tables import Table
from theorykit.verdicts import Form
from validation.claims.comparison import Group
from validation.claims.record import Record
from validation.reported_results.design import DENSE, FULL, KD, LORA, PC_LORA, DesignSettings
from validation.reported_results.students import ONE_RATE, OWN_RATES, StudentsData
from validation.reported_results.verdicts import PARAMETERS_WITHIN

ABOUT = "methods at equal deployed parameters, beside the paper's numbers"
_PAPER: Mapping[str, tuple[float, float, float]] = {
    "teacher": (124.0, 18.3, 35.2),
    KD: (12.4, 22.1, 42.8),
    "fitnets": (12.4, 21.8, 41.5),
    LORA: (12.4, 23.5, 44.2),
    PC_LORA: (12.4, *printed.TABLE_1["PC-LoRA"]),
    FULL: (12.4, *printed.TABLE_1["LRC"]),
}
"""Millions of parameters and perplexities on WikiText-103 and PTB, as §5.2 prints them."""
_PAPER_COLUMNS = ("the paper: params (M)", "the paper: WikiText-103 PPL", "the paper: PTB PPL")
_SMOLLM2 = "methods"
"""Name of the comparison of students of SmolLM2-135M."""


@dataclass(frozen=True)
class _Student:
    """One student of a comparison: the fields of its run."""

    config: Mapping[str, Any]


@dataclass(frozen=True)
class _Comparison:
    """Students side by side; see :mod:`validation.claims.comparison`.

    Attributes:
        presets: That their settings come from.
        trained_at_commit: One or several.
        groups: Of students that differ in the seed alone.
        students: All of them.
    """

    presets: tuple[str, ...]
    trained_at_commit: tuple[str, ...]
    groups: tuple[Group, ...]
    students: tuple[_Student, ...]

    def __post_init__(self) -> None:
        rates = all(self._configs(group) for group in self.groups)
        if not any(is_reference(group) and group.facts for group in self.groups) or not rates:
            raise InputError("a comparison without its reference, or without a group's students", "compare again")

    @property
    def reference(self) -> Group:
        """Return the group that the others are held against."""
        return next(group for group in self.groups if is_reference(group))

    def learning_rate(self, group: Group) -> float:
        """Return that of the students of a group."""
        return float(self._configs(group)[0]["learning_rate"][0])

    def _configs(self, group: Group) -> list[Mapping[str, Any]]:
        configs = (student.config for student in self.students if student.config.get("learning_rate"))
        return [config for config in configs if all(config.get(key) == value for key, value in group.name.items())]


def build(sources: Sources) -> Table:
    """Return the methods each at its own best learning rate, at one rate for all, and on SmolLM2-135M."""
    data, settings = measured(sources), settings_of(sources)
    compared = sources.comparison(_SMOLLM2, _Comparison)
    rates = data.table_1_rates
    rows = [
        _teacher(data),
        *(_row("own best rate", group, rates[_name(group)], paper=True) for group in data.table_1),
        *(_row("one rate", group, settings.learning_rate) for group in data.table_1_one_rate),
        *_smollm2(compared),
    ]
    tuned, common = (_claim(sources.record(CHECK, PART), choice) for choice in (OWN_RATES, ONE_RATE))
    return Table(
        "Methods side by side",
        ("students", "method", "deployed", "trained", "learning rate", *MEASURED, *_PAPER_COLUMNS),
        rows,
        "The columns of the paper are of its own teacher and texts, without seeds: no number of ours is one of theirs. "
        "The claim that LRC is the best of the methods of its size, judged over seeds: each at its own best learning "
        f"rate, {tuned}; at one rate for all, {common}. These verdicts leave out the seeds that chose the best rates, "
        f"which the rows at one rate have. {_beyond(compared)} The paper's LoRA-FT stands beside LoRA on the whole "
        "teacher, which deploys all of it.",
        f"{INTERVALS} {_chosen(settings, rates)} {data.setting} {_of_smollm2(compared)}",
    )


def _claim(record: Record, choice: str) -> str:
    """Return the verdict on the claim, the nearest rival, and against whom a method by itself decides otherwise."""
    best = record.finding("table-1-improvement", Form.PRINTED, "best", rates=choice)
    words, seeds = best.sentence_words, best.verdict.n_seeds
    near = f"; the nearest rival at {best.measured:+.4f}" if best.measured is not None else ""
    if best.interval and best.verdict.alpha:
        low, high = best.interval
        near += f" [{low:+.4f}, {high:+.4f}], a {1 - 2 * best.verdict.alpha:.0%} interval"
    other: dict[str, list[str]] = {}
    for pair in record.select("table-1-improvement", Form.PRINTED, "better", rates=choice):
        if pair.sentence_words != words:
            level = f"{pair.sentence_words} at level {pair.verdict.alpha:.2g}"
            other.setdefault(level, []).append(str(pair.of["rival"]))
    apart = "".join(f"; against {' and '.join(names)} alone {level}" for level, names in other.items())
    return f"{words} ({seeds} seed{'s' * (seeds != 1)}{near}{apart})"


def _beyond(compared: _Comparison) -> str:
    """Return which students of SmolLM2-135M contradict the claim."""
    reference = compared.reference
    most = (1 + PARAMETERS_WITHIN) * reference.facts["deployed_parameters"]
    better = [
        _other_name(group.name, reference.name)
        for group in compared.groups
        if group.difference_interval and group.difference_interval[1] < 0
        if group.facts["deployed_parameters"] <= most
    ]
    if not better:
        return "On SmolLM2-135M no method of LRC's size has an interval wholly below LRC's loss."
    return (
        "The students of SmolLM2-135M contradict the claim at their one rate: an interval lies wholly below LRC's loss "
        f"for {'; '.join(better)}."
    )


def _name(group: Group) -> str:
    return str(group.name["row"])


def _row(block: str, group: Group, rate: float, *, paper: bool = False, name: str = "") -> list[str]:
    method = name or _name(group)
    theirs = _paper(method) if paper and method in _PAPER else [""] * len(_PAPER_COLUMNS)
    return [block, method, *parameter_cells(group), f"{rate:g}", *measured_cells(group), *theirs]


def _paper(name: str) -> list[str]:
    return [f"{number:.1f}" for number in _PAPER[name]]


def _teacher(data: StudentsData) -> list[str]:
    """Return the row of the teacher: no student, no seeds."""
    whole = next(group for group in data.table_1 if _name(group) == DENSE)
    loss = data.teacher_loss
    measured = [f"{loss:.4f}", f"{math.exp(loss):.4g}", *[""] * (len(MEASURED) - 2)]
    return ["none", "teacher", parameter_cells(whole)[0], "", "", *measured, *_paper("teacher")]


def _chosen(settings: DesignSettings, rates: Mapping[str, float]) -> str:
    """Return how best rates were chosen, and whose a wider grid might have changed."""
    tried = {*settings.learning_rates, settings.learning_rate}
    edge = [f"“{name}”" for name, rate in rates.items() if rate in (min(tried), max(tried))]
    return (
        f"Own best rates were chosen on {settings.tuning_seeds} of {settings.seeds} seeds, which are left out "
        f"there; at the end of the grid: {'; '.join(edge) or 'none'}."
    )


def _smollm2(compared: _Comparison) -> list[list[str]]:
    """Return rows of the students of SmolLM2-135M; a name tells what differs from the reference."""
    names = [_other_name(group.name, compared.reference.name) for group in compared.groups]
    return [
        _row("SmolLM2-135M", group, compared.learning_rate(group), name=name)
        for group, name in zip(compared.groups, names, strict=True)
    ]


def _other_name(name: Mapping[str, str], reference: Mapping[str, str]) -> str:
    other = [f"{key} {name[key]}" for key in name if key != "method" and name[key] != reference[key]]
    return ", ".join([name["method"], *other])


def _of_smollm2(compared: _Comparison) -> str:
    config = compared.students[0].config
    return (
        f"Last block, of preset {' and '.join(compared.presets)}, trained at commit "
        f"{' and '.join(map(short, compared.trained_at_commit))}: factors of SmolLM2-135M on "
        f"{config['data']}, {config['steps']} steps of {config['batch_size']} × {config['length']} tokens at one rate "
        "for all, from another record: how fast a method repairs a truncation, not where it ends."
    )
