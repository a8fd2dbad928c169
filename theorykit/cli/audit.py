"""``theorykit audit``: every equation and claim of the paper with a verdict that is computed anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from theorykit.cli.options import Debug, Json, Quiet, check_outputs
from theorykit.errors import InputError

if TYPE_CHECKING:
    from theorykit.statements.audit import Audit, AuditRow
    from theorykit.statements.statement import Statement

FORMATS = ("table", "md", "html", "json", "latex")
VIOLATED = 3
_UNITS = {"largest_ratio": "claimed smaller side / claimed larger side, at most 1 where the claim holds"}
_COLUMNS = {
    "equation": 10,
    "as printed": None,
    "verdict": 10,
    "corrected": None,
    "corrected verdict": 16,
    "evidence": 13,
}
_NARROW_COLUMNS = {"equation": 10, "verdict": 10, "as printed": None}
_WIDE = 120
_MARKS = {"REFUTED": "✗", "PROVED": "✓", "UNDECIDED": "?"}


def audit(
    key: Annotated[
        str | None,
        typer.Argument(metavar="[STATEMENT]", help="theorem-1, sgd-convergence, eq-11 or 11; all without it."),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="table, md, html, json or latex.")] = "table",
    trials: Annotated[int, typer.Option(help="Trials of each adversarial search.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Seed of the searches.")] = 0,
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
        raise InputError(f"format {form!r} is not known", f"give one of {', '.join(FORMATS)}")
    check_outputs(output=output)
    from theorykit.cli.output import progress
    from theorykit.results import write_whole
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
        if output is None:
            typer.echo(text)
        else:
            write_whole(output, text + "\n")
    if found.broken:
        from theorykit.cli.output import warn

        warn(tuple(part.sentence for part in found.broken), quiet=False)
        raise typer.Exit(VIOLATED)


def _written(found: Audit, form: str, inputs: dict[str, Any], statement: Statement | None) -> str:
    """Return the audit as text in one of the formats; a table in a file is Markdown."""
    from theorykit.cli.output import document

    if form == "json":
        rows = [row.to_dict() | {"truth": row.truth, "corrected_truth": row.corrected_truth} for row in found.rows]
        return document("audit", inputs, {"rows": rows}, units=_UNITS, warnings=())
    frame = found.to_frame()
    if form == "html":
        return str(frame.to_html(index=False))
    if form == "latex":
        return _latex(frame)
    return _markdown(found, statement)


def _markdown(found: Audit, statement: Statement | None) -> str:
    frame = found.to_frame()
    lines = ["| " + " | ".join(frame.columns) + " |", "|" + "---|" * len(frame.columns)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in frame.to_numpy()]
    if statement is not None:
        lines += ["", *_whole(statement)]
        lines += [f"- **{part.method}** ({part.side}): {part.sentence}" for row in found.rows for part in row.evidence]
    return "\n".join(lines)


def _latex(frame: Any) -> str:
    """Return a longtable; the formulas are text, so that the characters TeX reserves are escaped."""
    reserved = {character: f"\\{character}" for character in "&%$#_{}"} | {"^": "\\^{}", "~": "\\~{}", "\\": "\\\\"}

    def escaped(text: str) -> str:
        return "".join(reserved.get(character, character) for character in str(text))

    lines = ["\\begin{longtable}{" + "l" * len(frame.columns) + "}", " & ".join(map(escaped, frame.columns)) + " \\\\"]
    lines += [" & ".join(escaped(cell) for cell in row) + " \\\\" for row in frame.to_numpy()]
    return "\n".join([*lines, "\\end{longtable}"])


def _whole(statement: Statement) -> list[str]:
    """Return a statement's bound in symbols, its quantities, assumptions and references, a line each."""
    lines = [f"{statement.label}: {statement.title} ({statement.kind}); slug {statement.slug}"]
    lines += [f"  {name}: {part.text}" for name, part in statement.forms.items()]
    lines += [f"  {symbol.name}: {symbol.meaning}; {symbol.domain}" for symbol in statement.symbols]
    lines += [f"  assumes: {text}" for text in statement.assumptions]
    lines += [f"  see: {text}" for text in statement.references]
    return lines


def _print(found: Audit, statement: Statement | None) -> None:
    """Print one statement whole, or all rows as a table."""
    from rich.text import Text

    from theorykit.cli.output import console

    screen = console()
    if statement is not None:
        for line in _whole(statement):
            screen.print(Text(line))
        for row in found.rows:
            _print_row(screen, row)
        return
    screen.print(_table(found, screen.width))
    printed = [row.truth for row in found.rows]
    counts = ", ".join(
        f"{sum(truth == name for truth in printed)} {name}" for name in ("PROVED", "REFUTED", "UNDECIDED")
    )
    screen.print()
    screen.print(
        Text(
            f"{len(found.rows)} equations and claims as printed: {counts}, {sum(truth is None for truth in printed)} "
            f"definitions. Largest ratio over all searches of corrected forms ({found.effort.trials:,} trials each): "
            f"{found.largest_ratio:.6f}. See one whole: theorykit audit theorem-1"
        )
    )


def _table(found: Audit, width: int) -> Any:
    """Return one row per equation; on a narrow terminal the corrected form stands below the printed one."""
    from rich.table import Table
    from rich.text import Text

    from theorykit.statements.audit import summary_of

    table = Table(box=None, pad_edge=False)
    columns = _COLUMNS if width >= _WIDE else _NARROW_COLUMNS
    for name, size in columns.items():
        table.add_column(name, width=size, overflow="fold")
    for row in found.rows:
        cells = summary_of(row)
        if width < _WIDE and row.corrected:
            cells["as printed"] += f"\n→ {cells['corrected']}"
        table.add_row(*(Text(cells[name]) for name in columns))
    return table


def _print_row(screen: Any, row: AuditRow) -> None:
    from rich.text import Text

    from theorykit.statements.audit import summary_of

    screen.print()
    screen.print(Text(f"{row.label}  as printed: {row.printed}  →  {summary_of(row)['verdict']}"))
    if row.corrected:
        screen.print(Text(f"{' ' * len(row.label)}  corrected:  {row.corrected}  →  {row.corrected_truth or '—'}"))
    if row.remark:
        screen.print(Text(f"  {row.remark}"))
    for part in row.evidence:
        screen.print(Text(f"  {_MARKS[part.truth]} {part.side} · {part.method} · {part.sentence}"))
