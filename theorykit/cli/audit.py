"""``theorykit audit``: every equation and claim of the paper with a verdict that is computed anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from theorykit.arguments import did_you_mean
from theorykit.cli.options import Debug, Json, Quiet, check_outputs
from theorykit.errors import InputError

if TYPE_CHECKING:
    from theorykit.statements.audit import Audit, AuditRow
    from theorykit.statements.statement import Statement

FORMATS = ("table", "md", "html", "json", "latex", "csv")
VIOLATED = 3
_UNITS = {"largest_ratio": "claimed smaller side / claimed larger side, at most 1 where the claim holds"}
# widths; what is left is shared by the others
_COLUMNS = {"equation": 10, "as printed": None, "verdict": 22, "corrected": None, "corrected verdict": 16}
_NARROW_COLUMNS = {"equation": 10, "verdict": 20, "corrected": 11, "as printed": None}
_WIDE = 120
_MARKS = {"REFUTED": "✗", "PROVED": "✓", "AMBIGUOUS": "~", "UNDECIDED": "?"}


def audit(
    key: Annotated[
        str | None,
        typer.Argument(metavar="[STATEMENT]", help="theorem-1, sgd-convergence, eq-11 or 11; all without it."),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="table, md, html, json, latex or csv.")] = "table",
    trials: Annotated[int, typer.Option(help="Trials of each adversarial search.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Seed of the searches.")] = 0,
    paper: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Text of the paper: which sentence makes which claim, and which is not listed."
        ),
    ] = None,
    json: Json = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to a file.")] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Check every equation and claim of the paper, as printed and as corrected, and say which are true.

    Exit code 3 where a corrected form is refuted or a stored witness no longer verifies.
    """
    form = "json" if json else form
    if form not in FORMATS:
        raise InputError(
            f"format {form!r} is not known", f"{did_you_mean(form, FORMATS)}give one of {', '.join(FORMATS)}"
        )
    check_outputs(output=output)
    if paper is not None:
        from theorykit.cli.audit_paper import walked

        _give(walked(paper, form), output)
        return
    from theorykit.cli.output import progress
    from theorykit.statements import find_statement
    from theorykit.statements.audit import run_audit
    from theorykit.statements.evidence import Effort

    pair = None if key is None else find_statement(key)
    with progress(quiet=quiet) as step:
        found = run_audit(
            None if pair is None else [pair],
            effort=Effort(trials, seed),
            progress=lambda done, count, label: step("checking", done, count),
        )
    if form == "table" and output is None:
        _print(found, pair and pair[0])
    else:
        text = _written(found, form, {"statement": key, "trials": trials, "seed": seed}, pair and pair[0])
        _give(text, output)
    if found.broken:
        from theorykit.cli.output import warn

        warn(tuple(part.sentence for part in found.broken), quiet=False)
        raise typer.Exit(VIOLATED)


def _give(text: str, output: Path | None) -> None:
    from theorykit.results import write_whole

    if output is None:
        typer.echo(text)
    else:
        write_whole(output, text + "\n")


def _written(found: Audit, form: str, inputs: dict[str, Any], statement: Statement | None) -> str:
    """Return the audit as text in one of the formats; a table in a file is Markdown."""
    from theorykit.cli.output import document

    if form == "json":
        rows = [row.to_dict() | {"truth": row.truth, "corrected_truth": row.corrected_truth} for row in found.rows]
        return document("audit", inputs, {"rows": rows}, units=_UNITS, warnings=())
    if form == "csv":
        return found.to_frame().to_csv(index=False).rstrip("\n")
    from theorykit.cli import audit_text

    write = {"html": audit_text.html, "latex": audit_text.latex}.get(form, audit_text.markdown)
    return write(found, statement)


def _print(found: Audit, statement: Statement | None) -> None:
    """Print one statement whole, or all rows as a table."""
    from rich.text import Text

    from theorykit.cli.audit_text import LEGEND, statement_lines
    from theorykit.cli.output import console
    from theorykit.verdicts import Truth

    screen = console()
    if statement is not None:
        for line in statement_lines(statement):
            screen.print(Text(line))
        for row in found.rows:
            _print_row(screen, row)
        return
    screen.print(_table(found, screen.width))
    printed = [row.truth for row in found.rows]
    counts = ", ".join(f"{printed.count(name)} {name}" for name in Truth)
    lines = (
        f"{len(found.rows)} equations and claims as printed: {counts}, {printed.count(None)} definitions and premises. "
        f"Largest ratio over all searches of corrected forms ({found.effort.trials:,} trials each): "
        f"{found.largest_ratio:.6f}.",
        LEGEND,
        "One whole, with its evidence: theorykit audit theorem-1. All of it: theorykit audit --format md",
    )
    screen.print()
    for line in lines:
        screen.print(Text(line))


def _table(found: Audit, width: int) -> Any:
    """Return one row per equation; on a narrow terminal one line each, cut, without the corrected formula."""
    from rich.table import Table
    from rich.text import Text

    from theorykit.statements.audit import summary_of

    narrow = width < _WIDE
    table = Table(box=None, pad_edge=False)
    columns = _NARROW_COLUMNS if narrow else _COLUMNS
    left = max(width - sum(2 + (size or 0) for size in columns.values()), 10) if narrow else None
    for name, size in columns.items():
        cut = narrow and size is None
        table.add_column(name, width=size or left, no_wrap=cut, overflow="ellipsis" if cut else "fold")
    for row in found.rows:
        cells = summary_of(row)
        if narrow:
            truth = str(row.corrected_truth or cells["corrected verdict"])
            cells["corrected"] = "not refuted" if truth == "UNDECIDED" else truth
            if row.readings:
                cells["verdict"] = str(row.truth)
        table.add_row(*(Text(cells[name]) for name in columns))
    return table


def _print_row(screen: Any, row: AuditRow) -> None:
    from rich.text import Text

    from theorykit.cli.audit_text import reading_line, side_of
    from theorykit.statements.audit import summary_of

    cells = summary_of(row)
    screen.print()
    screen.print(Text(f"{row.label}  as printed: {row.printed}  →  {cells['verdict']}"))
    if row.corrected:
        screen.print(Text(f"{' ' * len(row.label)}  corrected:  {row.corrected}  →  {cells['corrected verdict']}"))
    if row.remark:
        screen.print(Text(f"  {row.remark}"))
    for reading in row.readings:
        screen.print(Text(f"  {_MARKS[reading.truth]} {reading_line(reading)}"))
    for part in row.evidence:
        screen.print(Text(f"  {_MARKS[part.truth]} {side_of(part)} · {part.method} · {part.sentence}"))
