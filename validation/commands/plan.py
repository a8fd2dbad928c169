"""``python -m validation plan``: what a run will take, before it is begun."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from theorykit.cli.options import Debug, Json, Seed
from theorykit.cli.output import console, document, fitted_table
from theorykit.errors import InputError
from validation.commands.selection import (
    STUDENTS,
    WORK,
    Device,
    MaxHours,
    Parts,
    Preset,
    Slugs,
    Underpowered,
    duration,
)

if TYPE_CHECKING:
    from validation.reports.planning import PlannedPart

_COLUMNS = ("part", "students", "to train", "tokens", "operations", "time", "least power")
_UNITS = {"operations": "floating-point operations of matrix products", "seconds": "s, expected on this device"}


def plan(
    slugs: Slugs = None,
    size: Preset = "smoke",
    part: Parts = None,
    seed: Seed = 0,
    device: Device = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where records are kept.")] = WORK,
    again: Annotated[bool, typer.Option("--again", help="As if no part had a record.")] = False,
    max_hours: MaxHours = None,
    underpowered: Underpowered = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what a run will take: students, tokens, operations, time on this device, and the power of its decisions."""
    from validation.reports.planning import planned, refuse_above
    from validation.reports.run import allowed, audit_job, jobs_of
    from validation.training.store import Store

    asked, refused = jobs_of(slugs or [], size, part or [], seed), None
    try:
        asked = allowed(asked, underpowered=underpowered)
    except InputError as error:  # told first and refused then
        refused = error
    parts = planned([audit_job(size, seed), *asked], out, Store(STUDENTS), device=device, again=again)
    if json:
        inputs = {"statements": slugs or [], "preset": size, "parts": part or [], "seed": seed, "device": device}
        typer.echo(document("plan", inputs, [_plain(one) for one in parts], units=_UNITS, warnings=()))
    else:
        _print(parts, size, device)
    if refused is not None:
        raise refused
    refuse_above(parts, max_hours)


def _plain(one: PlannedPart) -> dict[str, Any]:
    return {
        "check": one.job.check.slug,
        "part": one.job.part,
        "cost": one.cost,
        "seconds": one.seconds,
        "power": one.power,
        "done": one.done,
    }


def _print(parts: Sequence[PlannedPart], preset: str, device: str | None) -> None:
    from theorykit.devices import torch_device

    screen = console()
    seconds = sum(one.seconds for one in parts)
    total = sum((one.cost for one in parts[1:]), parts[0].cost)
    rows = [_cells(one) for one in parts]
    rows.append(["all", *_counts(total.students, total.done, total.tokens, total.operations), duration(seconds), "—"])
    caption = "Students that several parts share are counted in the first. Time: one batch after another on this device"
    caption += f" ({torch_device(device)}), give or take a factor of two"
    if total.teachers:
        caption += f"; trained first, and counted: {', '.join(total.teachers)}"
    table = fitted_table(
        screen.width,
        f"Preset {preset}",
        _COLUMNS,
        rows,
        optional=("tokens", "students", "operations"),
        caption=caption,
        bold=len(rows) - 1,
    )
    screen.print(table)
    for one in parts:
        for name, power in one.power.items():
            let_through = one.job.settings.get("underpowered")
            weak = "underpowered, as allowed" if let_through else "refused without --underpowered"
            weak = "" if power >= 0.8 else f"  below 0.8: {weak}"
            screen.print(f"power of {one.job.name}, {name}: {power:.2f}{weak}", markup=False)


def _cells(one: PlannedPart) -> list[str]:
    power = f"{min(one.power.values()):.2f}" if one.power else "—"
    if one.done:
        return [one.job.name, *["—"] * 4, "done", power]
    cost = one.cost
    return [
        one.job.name,
        *_counts(cost.students, cost.done, cost.tokens, cost.operations),
        duration(one.seconds),
        power,
    ]


def _counts(students: int, done: int, tokens: int, operations: float) -> list[str]:
    if not students:
        return ["—"] * 4
    return [str(students), str(students - done), f"{tokens:,}", f"{operations:.2g}"]
