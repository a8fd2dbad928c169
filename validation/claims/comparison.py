"""Groups of students side by side: means over seeds with intervals, and differences from one of them, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from theorykit.errors import InputError
from theorykit.tables import markdown_cells
from theorykit.verdicts import student_interval

MEASURED = "held_out"
_EXPERIMENT = ("teacher", "data", "length", "held_out_blocks", "steps", "batch_size")
_FACTS = ("deployed_parameters", "deployed_parameters_without_embeddings", "trained_parameters")


@dataclass(frozen=True)
class Group:
    """Students that differ in the seed alone.

    Attributes:
        name: Values of the fields that tell the groups apart.
        seeds: Of the students that ended.
        failed: Students that failed.
        held_out: Mean loss in nats per token.
        interval: 95 % t interval of that mean over seeds; None below 2 seeds.
        held_out_at_start: Mean loss of what would be deployed without any training.
        perplexity: exp of the mean loss.
        bits_per_byte: Mean.
        pairs: Seeds in common with the reference.
        difference: Mean over these seeds of the loss less the reference's; None for the reference.
        difference_interval: Its 95 % t interval, paired by seed.
        facts: Parameter counts, equal for all seeds.
    """

    name: dict[str, Any]
    seeds: tuple[int, ...]
    failed: int
    held_out: float | None
    interval: tuple[float, float] | None
    held_out_at_start: float | None
    perplexity: float | None
    bits_per_byte: float | None
    pairs: int
    difference: float | None
    difference_interval: tuple[float, float] | None
    facts: dict[str, int]


def compare(rows: pd.DataFrame, by: Sequence[str], reference: dict[str, Any] | None = None) -> list[Group]:
    """Compare the students of a store (:meth:`validation.training.store.Store.to_frame`).

    Args:
        rows: One student each.
        by: Fields that tell the groups apart; all others but the seed have to be equal within a group.
        reference: Values of these fields of the group that the others are held against; the first one if None.

    Raises:
        InputError: no students, a field that they do not have, students of one group that differ in more than the seed,
            or no such reference.
    """
    if rows.empty or (MEASURED not in rows and "failure" not in rows):
        raise InputError("there are no students to compare", "sweep a plan first")
    missing = [name for name in by if name not in rows]
    if missing:
        raise InputError(f"the students have no field {missing[0]!r}", f"choose from {', '.join(rows.columns)}")
    names = pd.Series(list(zip(*(rows[name].map(str) for name in by), strict=True)), index=rows.index)
    parts: dict[tuple[str, ...], pd.DataFrame] = {key: rows[names == key] for key in dict.fromkeys(names)}
    for part in parts.values():
        _check_alike(part, by)
    _check_comparable(rows, by)
    wanted = _reference(list(parts), by, reference)
    against = _losses(_done(parts[wanted]))
    return [
        _group(dict(zip(by, key, strict=True)), part, None if key == wanted else against) for key, part in parts.items()
    ]


def _reference(keys: Sequence[tuple[str, ...]], by: Sequence[str], reference: dict[str, Any] | None) -> tuple[str, ...]:
    """Return the one group that has these values, or the first."""
    if not reference:
        return keys[0]
    unknown = [name for name in reference if name not in by]
    if unknown:
        raise InputError(f"{unknown[0]!r} does not tell the groups apart", f"choose from {', '.join(by)}")
    wanted = {by.index(name): str(value) for name, value in reference.items()}
    fitting = [key for key in keys if all(key[place] == value for place, value in wanted.items())]
    if len(fitting) != 1:
        raise InputError(f"{len(fitting)} groups have {reference}", f"name one of them by {', '.join(by)}")
    return fitting[0]


def _check_comparable(rows: pd.DataFrame, by: Sequence[str]) -> None:
    """Raise where groups differ in what makes their losses another experiment."""
    for name in _EXPERIMENT:
        if name in rows and name not in by and rows[name].map(repr).nunique() > 1:
            raise InputError(f"the students differ in {name}: no comparison", f"sweep them alike, or add --by {name}")


def _check_alike(part: pd.DataFrame, by: Sequence[str]) -> None:
    fields = [name for name in part.columns if name not in (*by, "seed", "identity", "failure")]
    configured = fields[: fields.index(MEASURED)] if MEASURED in fields else fields
    for name in configured:
        if part[name].map(repr).nunique() > 1:
            raise InputError(f"students of one group differ in {name}", f"add it: --by {name}")


def _losses(done: pd.DataFrame) -> pd.Series[float]:
    return done.set_index("seed")[MEASURED].astype(float).sort_index()


def _done(part: pd.DataFrame) -> pd.DataFrame:
    """Return the students that ended with a loss: one that is missing or not finite is a failure."""
    if MEASURED not in part:
        return part.iloc[:0].assign(**{MEASURED: []})
    return part[(part["failure"] == "") & np.isfinite(part[MEASURED].astype(float))]


def _group(name: dict[str, Any], part: pd.DataFrame, against: pd.Series[float] | None) -> Group:
    done = _done(part)
    losses = _losses(done)
    differences = np.array([]) if against is None else (losses - against).dropna().to_numpy(np.float64)
    mean = None if losses.empty else float(losses.mean())
    return Group(
        name=name,
        seeds=tuple(int(seed) for seed in losses.index),
        failed=len(part) - len(losses),
        held_out=mean,
        interval=_interval(losses.to_numpy(np.float64)),
        held_out_at_start=None if losses.empty else float(done["held_out_at_start"].astype(float).mean()),
        perplexity=None if mean is None else math.exp(min(mean, 700.0)),
        bits_per_byte=None if losses.empty else float(done["bits_per_byte"].astype(float).mean()),
        pairs=int(differences.size),
        difference=float(differences.mean()) if differences.size else None,
        difference_interval=_interval(differences),
        facts={} if losses.empty else {fact: int(done[fact].iloc[0]) for fact in _FACTS},
    )


def _interval(values: np.ndarray[Any, Any]) -> tuple[float, float] | None:
    """Return the t interval of a mean; None below two values or where all are equal."""
    if values.size < 2 or np.ptp(values) == 0:
        return None
    _, low, high = student_interval(values)
    return float(low), float(high)


def to_markdown(groups: Sequence[Group], title: str) -> str:
    """Return the comparison as a table, best first."""
    ranked = sorted(groups, key=lambda group: math.inf if group.held_out is None else group.held_out)
    names = list(ranked[0].name)
    head = [
        *names,
        "deployed",
        "of these outside embeddings",
        "trained",
        "seeds",
        "before training",
        "nats per token",
        "perplexity",
    ]
    head += ["bits per byte", "less the reference's loss (seeds in common)"]
    return f"{title}\n\n{markdown_cells(head, map(_cells, ranked), tight=True)}\n"


def _cells(group: Group) -> list[str]:
    counts = [f"{group.facts[fact]:,}" if group.facts else "" for fact in _FACTS]
    seeds = f"{len(group.seeds)}" + (f", {group.failed} failed" if group.failed else "")
    first = [str(value) for value in group.name.values()]
    start = "" if group.held_out_at_start is None else f"{group.held_out_at_start:.4f}"
    if group.held_out is None or group.perplexity is None or group.bits_per_byte is None:
        return [*first, *counts, seeds, "", "failed", "", "", ""]
    loss = f"{group.held_out:.4f}{_shown(group.interval)}"
    gap = (
        "reference"
        if group.difference is None
        else f"{group.difference:+.4f}{_shown(group.difference_interval)} ({group.pairs})"
    )
    return [*first, *counts, seeds, start, loss, f"{group.perplexity:.4g}", f"{group.bits_per_byte:.4f}", gap]


def _shown(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" [{interval[0]:.4f}, {interval[1]:.4f}]"
