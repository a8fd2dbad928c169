"""``python -m validation compare``: the students of a sweep side by side, over seeds."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from theorykit import provenance
from theorykit.cli.options import Debug
from theorykit.errors import InputError
from theorykit.provenance import environment
from theorykit.results import to_json, write_whole


def compare(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What a sweep was given as --out.")],
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="Field that tells groups apart. [default: method, student, start] May be given several times."
        ),
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            help="FIELD=VALUE of the group that the others are held against. [default: the first group] May be given "
            "several times."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="NAME", help="Write NAME.json and NAME.md.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Show mean held-out losses with 95 % intervals over seeds, and differences paired by seed."""
    from validation.claims.comparison import compare as compared
    from validation.claims.comparison import to_markdown
    from validation.training.store import Store

    fields = by or ["method", "student", "start"]
    store = Store(folder)
    groups = compared(store.to_frame(), fields, _parsed(reference or []))
    records = store.records()
    title = _title(records)
    text = to_markdown(groups, title)
    typer.echo(text, nl=False)
    if out is not None:
        origin = {"command": provenance.command_line(), "commit": provenance.commit("theorykit", "validation")}
        record = origin | {
            "trained_by": sorted({record["made"]["command"] for record in records}),
            "trained_at_commit": sorted({record["made"]["commit"] for record in records}),
            "machines": [dict(machine) for machine in {tuple(record["made"]["machine"].items()) for record in records}],
            "presets": sorted({record["preset"] for record in records}),
            "environment": environment(),
            "title": title,
            "groups": [dataclasses.asdict(group) for group in groups],
            "students": [
                {name: record[name] for name in ("identity", "config", "failure", "result")} for record in records
            ],
        }
        write_whole(out.with_suffix(".json"), to_json(record))
        write_whole(out.with_suffix(".md"), text)


def _title(records: list[dict[str, Any]]) -> str:
    """Return one sentence that says what was trained, and with how little."""
    if not records:
        raise InputError("there are no students to compare", "sweep a plan first")
    config = records[0]["config"]
    tokens = config["steps"] * config["batch_size"] * config["length"]
    return (
        f"Preset {records[0]['preset']}: teacher {Path(config['teacher']).name}, text {Path(config['data']).name}, "
        f"{config['steps']} steps of {config['batch_size']} × {config['length']} tokens ({tokens:,} in all). "
        "95 % t intervals over seeds; differences are paired by seed."
    )


def _parsed(pairs: list[str]) -> dict[str, Any] | None:
    values: dict[str, Any] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign:
            raise InputError(f"reference = {pair!r} is no FIELD=VALUE", "give --reference method=lrc")
        values[name] = value
    return values or None
