"""Table 1: methods side by side."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from paper_figs.reported_results import (
    CHECK,
    INTERVALS,
    MEASURED,
    PART,
    is_reference,
    measured_cells,
    parameter_cells,
)
from paper_figs.sources import Data, Sources, verdict_words
from theorykit.provenance import short
from theorykit.statements import reported_results as printed
from theorykit.tables import Table
from validation.claims.finding import Form
from validation.reported_results.design import DENSE, LORA
from validation.reported_results.verdicts import PARAMETERS_WITHIN

ABOUT = "methods at equal deployed parameters, beside the paper's numbers"
_PAPER: Mapping[str, tuple[float, float, float]] = {
    "teacher": (124.0, 18.3, 35.2),
    "kd": (12.4, 22.1, 42.8),
    "fitnets": (12.4, 21.8, 41.5),
    LORA: (12.4, 23.5, 44.2),
    "pc-lora": (12.4, *printed.TABLE_1["PC-LoRA"]),
    "lrc": (12.4, *printed.TABLE_1["LRC"]),
}
"""Millions of parameters and perplexities on WikiText-103 and PTB, as §5.2 prints them."""
_PAPER_COLUMNS = ("the paper: params (M)", "the paper: WikiText-103 PPL", "the paper: PTB PPL")
_SMOLLM2 = "methods"
"""Name of the comparison of students of SmolLM2-135M."""


def build(sources: Sources) -> Table:
    """Return the methods each at its own best learning rate, at one rate for all, and on SmolLM2-135M."""
    data, settings = sources.data(CHECK, PART), sources.record(CHECK, PART).content["settings"]
    rates, own = data["table_1_rates"], settings["learning_rate"]
    compared = sources.comparison(_SMOLLM2)
    rows = [
        _teacher(data),
        *(_row("own best rate", group, rates[_name(group)], paper=True) for group in data["table_1"]),
        *(_row("one rate", group, own) for group in data["table_1_one_rate"]),
        *_smollm2(compared),
    ]
    claims = sources.findings(CHECK, PART, "table-1-improvement", Form.PRINTED)
    tuned, common = (_judged(claims, how) for how in ("each at its own best", "all at the"))
    return Table(
        "Methods side by side",
        ("students", "method", "deployed", "trained", "learning rate", *MEASURED, *_PAPER_COLUMNS),
        rows,
        "The columns of the paper are of its own teacher and texts, without seeds: no number of ours is one of theirs. "
        "The claim that LRC is the best of the methods of its size, judged over seeds: each at its own best learning "
        f"rate, {tuned}; at one rate for all, {common}. These verdicts leave out the seeds that chose the best rates, "
        f"which the rows at one rate have. {_beyond(compared)} The paper's LoRA-FT stands beside LoRA on the whole "
        "teacher, which deploys all of it.",
        f"{INTERVALS} {_chosen(settings, rates)} {data['setting']} {_of_smollm2(compared)}",
    )


def _judged(claims: Sequence[Mapping[str, Any]], how: str) -> str:
    """Return the verdict on the claim, the nearest rival, and against whom a method by itself decides otherwise."""
    own = [one for one in claims if how in one["what"]]
    best = next((one for one in own if "is the best of" in one["what"]), None)
    if best is None:
        return "not judged"
    told, seeds = verdict_words(best), best["verdict"]["n_seeds"]
    near = f"; the nearest rival at {best['measured']:+.4f}" if best["measured"] is not None else ""
    if best["interval"]:
        low, high = best["interval"]
        near += f" [{low:+.4f}, {high:+.4f}], a {1 - 2 * best['verdict']['alpha']:.0%} interval"
    pairs = {
        match[1]: one for one in own if (match := re.match(r"LRC is better than (.+), (?:each|all) at", one["what"]))
    }
    other: dict[str, list[str]] = {}
    for name, one in pairs.items():
        if verdict_words(one) != told:
            other.setdefault(f"{verdict_words(one)} at level {one['verdict']['alpha']:.2g}", []).append(name)
    apart = "".join(f"; against {' and '.join(names)} alone {words}" for words, names in other.items())
    return f"{told} ({seeds} seed{'s' * (seeds != 1)}{near}{apart})"


def _beyond(compared: Data) -> str:
    """Return which students of SmolLM2-135M contradict the claim."""
    groups, reference = compared["groups"], _reference(compared)
    most = (1 + PARAMETERS_WITHIN) * reference["facts"]["deployed_parameters"]
    better = [
        _other_name(group["name"], reference["name"])
        for group in groups
        if group["difference_interval"]
        and group["difference_interval"][1] < 0
        and group["facts"]["deployed_parameters"] <= most
    ]
    if not better:
        return "On SmolLM2-135M no method of LRC's size has an interval wholly below LRC's loss."
    return (
        "The students of SmolLM2-135M contradict the claim at their one rate: an interval lies wholly below LRC's loss "
        f"for {'; '.join(better)}."
    )


def _name(group: Mapping[str, Any]) -> str:
    return str(group["name"]["row"])


def _row(block: str, group: Mapping[str, Any], rate: float, *, paper: bool = False, name: str = "") -> list[str]:
    own = name or _name(group)
    theirs = [f"{number:.1f}" for number in _PAPER[own]] if paper and own in _PAPER else [""] * len(_PAPER_COLUMNS)
    return [block, own, *parameter_cells(group), f"{rate:g}", *measured_cells(group), *theirs]


def _teacher(data: Data) -> list[str]:
    """Return the row of the teacher: no student, no seeds."""
    whole = next(group for group in data["table_1"] if _name(group) == DENSE)
    loss = data["teacher_loss"]
    measured = [f"{loss:.4f}", f"{math.exp(loss):.4g}", *[""] * (len(MEASURED) - 2)]
    theirs = [f"{number:.1f}" for number in _PAPER["teacher"]]
    return ["none", "teacher", parameter_cells(whole)[0], "", "", *measured, *theirs]


def _chosen(settings: Mapping[str, Any], rates: Mapping[str, float]) -> str:
    """Return how best rates were chosen, and whose a wider grid might have changed."""
    tried = {*settings["learning_rates"], settings["learning_rate"]}
    edge = [f"“{name}”" for name, rate in rates.items() if rate in (min(tried), max(tried))]
    return (
        f"Own best rates were chosen on {settings['tuning_seeds']} of {settings['seeds']} seeds, which are left out "
        f"there; at the end of the grid: {'; '.join(edge) or 'none'}."
    )


def _smollm2(compared: Data) -> list[list[str]]:
    """Return rows of the students of SmolLM2-135M; a name tells what differs from the reference."""
    reference = _reference(compared)["name"]
    return [
        _row(
            "SmolLM2-135M",
            group,
            _rate(group["name"], compared["students"]),
            name=_other_name(group["name"], reference),
        )
        for group in compared["groups"]
    ]


def _reference(compared: Data) -> Mapping[str, Any]:
    return next(group for group in compared["groups"] if is_reference(group))


def _other_name(own: Mapping[str, str], reference: Mapping[str, str]) -> str:
    other = [f"{key} {own[key]}" for key in own if key != "method" and own[key] != reference[key]]
    return ", ".join([own["method"], *other])


def _rate(name: Mapping[str, str], students: Sequence[Mapping[str, Any]]) -> float:
    """Return the learning rate of the students of a group."""
    configs = (one["config"] for one in students)
    return float(next(one["learning_rate"][0] for one in configs if all(one[key] == name[key] for key in name)))


def _of_smollm2(compared: Data) -> str:
    config = compared["students"][0]["config"]
    return (
        f"Last block, of preset {' and '.join(compared['presets'])}, trained at commit "
        f"{' and '.join(map(short, compared['trained_at_commit']))}: factors of SmolLM2-135M on "
        f"{config['data']}, {config['steps']} steps of {config['batch_size']} × {config['length']} tokens at one rate "
        "for all, from another record: how fast a method repairs a truncation, not where it ends."
    )
