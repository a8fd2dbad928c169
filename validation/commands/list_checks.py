"""``python -m validation list``: the experiments, what each measures, and its parts in each preset."""

from __future__ import annotations

from typing import Any

import typer

from theorykit.cli.options import Debug, Json
from theorykit.cli.output import console, document
from validation import presets


def list_checks(json: Json = False, debug: Debug = False) -> None:
    """List the statements that students are held against, what is measured, and which parts each preset has."""
    from theorykit.statements import STATEMENTS, find_statement
    from validation.reports import experiments

    found = [experiments.find_experiment(slug) for slug in experiments.SLUGS]
    rows: list[dict[str, Any]] = [
        {
            "statement": check.slug,
            "label": find_statement(check.slug)[0].label,
            "title": check.title,
            "measures": check.measures,
            "parts": list(check.parts),
            "presets": {
                name: list(own) for name in presets.PRESETS if (own := presets.check_settings(name, check.slug))
            },
        }
        for check in found
    ]
    rest = [one.slug for one in STATEMENTS if one.slug not in {check.slug for check in found}]
    if json:
        result = {"checks": rows, "audit_only": rest}
        typer.echo(document("list", {}, result, units={}, warnings=()))
        return
    _print(rows, rest)


def _print(rows: list[dict[str, Any]], rest: list[str]) -> None:
    from rich.padding import Padding
    from rich.text import Text

    screen = console()
    for row in rows:
        title = row["title"].removeprefix(f"{row['label']}: ")
        screen.print(Text(f"{row['statement']}  ({row['label']}): {title}", style="bold"))
        screen.print(Padding(Text(row["measures"]), (0, 0, 0, 2), expand=False))
        presets = "; ".join(f"{name}: {', '.join(parts)}" for name, parts in row["presets"].items())
        told = f"parts: {', '.join(row['parts'])}" + (f"; by preset: {presets}" if presets else "; in no preset")
        screen.print(Padding(Text(told), (0, 0, 0, 2), expand=False))
        screen.print()
    screen.print(Text(f"Decided by theorykit audit alone: {', '.join(rest)}."))
