"""``python -m validation plan``: what a run will take, before it is begun."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from theorykit.cli.options import Debug, Json, Seed
from theorykit.cli.output import console, duration, fitted_table, print_lines, write_json
from theorykit.errors import InputError
from validation.commands.options import STUDENTS, WORK, Device, MaxHours, Parts, Preset, Records, Slugs, Underpowered

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
    out: Records = WORK,
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
        names = ("cost", "seconds", "power", "done")
        rows = [
            {"check": part.job.experiment.slug, "part": part.job.part} | {name: getattr(part, name) for name in names}
            for part in parts
        ]
        write_json("plan", inputs, rows, units=_UNITS)
    else:
        _print(parts, size, device)
    if refused is not None:
        raise refused
    refuse_above(parts, max_hours)


def _print(parts: Sequence[PlannedPart], preset: str, device: str | None) -> None:
    from theorykit.devices import torch_device

    screen = console()
    seconds = sum(part.seconds for part in parts)
    total = sum((part.cost for part in parts[1:]), parts[0].cost)
    rows = [_cells(part) for part in parts]
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
    for part in parts:
        let_through = part.job.settings.underpowered
        remark = "underpowered, as allowed" if let_through else "refused without --underpowered"
        for name, power in part.power.items():
            weak = "" if power >= 0.8 else f"  below 0.8: {remark}"
            print_lines(f"power of {part.job.name}, {name}: {power:.2f}{weak}")


def _cells(part: PlannedPart) -> list[str]:
    power = f"{min(part.power.values()):.2f}" if part.power else "—"
    if part.done:
        return [part.job.name, *["—"] * 4, "done", power]
    cost = part.cost
    counts = _counts(cost.students, cost.done, cost.tokens, cost.operations)
    return [part.job.name, *counts, duration(part.seconds), power]


def _counts(students: int, done: int, tokens: int, operations: float) -> list[str]:
    if not students:
        return ["—"] * 4
    return [str(students), str(students - done), f"{tokens:,}", f"{operations:.2g}"]
