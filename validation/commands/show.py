"""``python -m validation show``: the verdicts on every statement, from records alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from theorykit.arguments import one_of
from theorykit.cli.options import Debug, Json, Seed
from theorykit.cli.output import console, document, fitted_table, print_lines
from theorykit.provenance import shown
from validation.commands.options import WORK

if TYPE_CHECKING:
    from theorykit.statements import Equation, Statement
    from validation.claims.finding import Finding
    from validation.claims.record import Record
    from validation.reports.table import Recorded, Row

_FORMATS = ("table", "md", "json")
_OPTIONAL = ("record", "slack", "controls", "exponent", "value", "measured")
_SHORT = {"INCONCLUSIVE": "INCONCL.", "NOT_APPLICABLE": "N/A", "UNFALSIFIABLE": "UNFALS."}
_SMOKE = (
    "The preset smoke trains a few students for a few steps: the words below test the program and say nothing about "
    "the paper. For verdicts: python -m validation show --preset cpu."
)
_UNITS = {"tightness": "bound / measured"}


def show(
    slug: Annotated[
        str | None, typer.Argument(metavar="STATEMENT", help="All findings of one, as theorem-1 or eq-11.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            "--from",
            metavar="FOLDER",
            help=f"Where records are. [default: {WORK} or those that come with the repository, whichever has more]",
        ),
    ] = None,
    size: Annotated[
        str | None, typer.Option("--preset", help="Of the records. [default: the largest that has some]")
    ] = None,
    seed: Seed = 0,
    json: Json = False,
    form: Annotated[str, typer.Option("--format", help="table, md or json.")] = "table",
    everything: Annotated[bool, typer.Option("--all", help="Equations that no student was held against too.")] = False,
    controls: Annotated[bool, typer.Option("--controls", help="Of one statement: planted controls too.")] = False,
    debug: Debug = False,
) -> None:
    """Show the verdict on every statement, as printed and as corrected, and where the evidence lies."""
    form = one_of("format", "json" if json else form, _FORMATS)
    from theorykit.statements import find_statement
    from validation.reports.table import markdown, recorded, rows_of

    pair = None if slug is None else find_statement(slug)
    read = recorded(out, size, seed, WORK)
    rows = rows_of(read)
    if pair is not None:
        _show_one(read, rows, *pair, form, controls=controls)
    elif form == "json":
        typer.echo(_json(read, rows, rows, list(_findings(read, None, None))))
    elif form == "md":
        typer.echo(f"{markdown(rows)}\n\n{read.origin()}")
    else:
        _print(read, rows, everything=everything)


def _json(
    read: Recorded, recorded_rows: Sequence[Row], rows: Sequence[Row], findings: Sequence[tuple[Record, Finding]]
) -> str:
    """Return ``rows`` and ``findings`` as JSON, with what is true in general by ``recorded_rows``, which are all."""
    inputs = {"folder": str(read.folder), "preset": read.preset, "seed": read.seed}
    records = [
        {
            "check": record.slug,
            "part": record.part,
            "file": str(record.file),
            "failure": record.failure,
            "lost": record.lost,
            "made": record.made,
        }
        for record in read.all_records
    ]
    truths = {(row.equation, row.form): row.truth or None for row in recorded_rows}
    plain_findings = []
    for record, finding in findings:
        fields = finding.to_dict()
        fields["verdict"] |= {"truth": truths.get((finding.equation, finding.form))}
        plain_findings.append({"check": record.slug, "part": record.part, "record": str(record.file)} | fields)
    result = {"rows": rows, "findings": plain_findings, "records": records}
    return document("show", inputs, result, units=_UNITS)


def _print(read: Recorded, rows: Sequence[Row], *, everything: bool) -> None:
    from validation.reports.table import cells_of, columns_in_use, controls_of, split_rows

    screen, (told, others) = console(), (list(rows), []) if everything else split_rows(rows)
    columns = columns_in_use(told)
    plain = [cells_of(replace(row, unit="")) for row in told]  # units are long, and stand in what is shown of one
    cells = [[shortened(row[name]) for name in columns] for row in plain]
    optional = tuple(name for name in _OPTIONAL if name in columns)
    right, count = controls_of(read)
    if read.preset == "smoke":
        print_lines(_SMOKE, "")
    screen.print(fitted_table(screen.width, f"Verdicts, {read.origin()}", columns, cells, optional=optional))
    print_lines(
        "",
        f"Planted controls, whose truth is known: {right} of {count} came out as they had to.",
        *_settled(others),
        *_missing(read),
        "",
        *_LEGEND,
    )


_LEGEND = (
    "An equation stands as printed, below it as corrected. In general: for all instances, by theorykit audit; "
    "AMBIGUOUS: readings with different verdicts, shown with the statement. On "
    "students: HOLDS was not contradicted there, even where it is refuted in general; N/A: an assumption fails; "
    "UNFALS.: nothing is registered that could be contradicted; instrument: whether the measurement itself can be "
    "trusted. VACUOUS: the bound says no more than what is known without it. Measured stands beside the bound, of the "
    "finding nearest to a violation; slack is bound / measured.",
    "All findings of one statement, with reasons and units: python -m validation show theorem-1. All rows: --all.",
)


def _settled(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a line for each verdict on what no student was held against."""
    from validation.reports.table import name_of

    told: dict[str, list[str]] = {}
    for row in rows:
        if row.truth:
            told.setdefault(row.truth, []).append(name_of(row) + (" corrected" if row.form == "corrected" else ""))
    if told:
        yield "Not measured on students, by theorykit audit:"
    yield from (f"  {truth}: {', '.join(names)}" for truth, names in told.items())


def shortened(cell: str) -> str:
    """Return a cell as a terminal has room for it, long words cut.

    Example:
        >>> shortened("HOLDS, NOT_APPLICABLE 2")
        'HOLDS, N/A 2'
    """
    for word, short in _SHORT.items():
        cell = cell.replace(word, short)
    return cell


def _missing(read: Recorded) -> Iterator[str]:
    """Yield what a reader of the table has to know: no audit, parts that failed, students that were lost."""
    for folder in read.passed:
        yield f"{shown(folder)} holds fewer records, of a run that is not finished: --out {shown(folder.parent)}"
    if read.audit is None:
        yield "No symbolic audit among these records: python -m validation run writes it."
    for record in read.records:
        yield from _troubles(record)


def _troubles(record: Record) -> Iterator[str]:
    if record.failure:
        yield f"{record.name} failed: {record.failure}"
    for reason, count in Counter(student.failure for student in record.lost).items():
        yield f"{record.name} lost {count} of {len(record.students)} students: {reason}"


def _findings(
    read: Recorded, statement: Statement | None, equation: Equation | None
) -> Iterator[tuple[Record, Finding]]:
    """Yield the findings of one statement, of its equations and of its own experiment."""
    keys = None if statement is None else {known.key for known in statement.equations}
    for record in read.records:
        for finding in record.findings:
            if equation is not None:
                wanted = finding.equation == equation.key
            else:
                wanted = keys is None or finding.equation in keys or record.slug == getattr(statement, "slug", "")
            if wanted:
                yield record, finding


def _show_one(
    read: Recorded,
    rows: Sequence[Row],
    statement: Statement,
    equation: Equation | None,
    form: str,
    *,
    controls: bool,
) -> None:
    """Show one statement whole: what students say first, controls that came out as they had to on demand."""
    from theorykit.cli.audit_text import reading_line
    from validation.claims.experiment import PLANTED
    from validation.claims.finding import Outcome

    findings = list(_findings(read, statement, equation))
    keys = {known.key for known in ((equation,) if equation is not None else statement.equations)}
    keys |= {finding.equation for _, finding in findings}
    own = [row for row in rows if row.equation in keys]
    if form == "json":
        typer.echo(_json(read, rows, own, findings))
        return
    bold = "**" if form == "md" else ""
    lines = [f"{bold}{statement.label}: {statement.title} ({statement.slug}){bold}", ""]
    for row in own:
        lines += (
            [f"{row.label}, {row.form}: {row.text}" + (f"  →  {row.truth}" if row.truth else "")] if row.text else []
        )
        lines += [f"  {reading_line(reading)}" for reading in row.readings]
    by_file: dict[Path, list[Finding]] = {}
    for record, finding in findings:
        by_file.setdefault(record.file, []).append(finding)
    records = [
        record
        for record in read.records
        if record.file in by_file or (record.slug == statement.slug and record.failure)
    ]
    for record in sorted(records, key=lambda record: record.part == PLANTED):
        mine = by_file.get(record.file, [])
        shown = [finding for finding in mine if controls or finding.outcome is not Outcome.RIGHT]
        lines += ["", f"{bold}{record.name}{bold}  {record.file}", *_troubles(record)]
        if len(shown) < len(mine):
            lines += [
                f"{len(mine) - len(shown)} of {len(mine)} controls came out as they had to: --controls shows them"
            ]
        for finding in shown:
            lines += ["", *_lines(finding, form)]
    if not records:
        lines += ["", "No measurement: decided by theorykit audit alone, or not run yet."]
    lines += ["", read.origin()]
    if form == "md":
        typer.echo("\n".join(lines))
    else:
        print_lines(*lines)


def _lines(finding: Finding, form: str) -> Iterator[str]:
    """Yield a finding: what was judged, the verdict, its numbers, its reasons."""
    from validation.reports.table import number, span

    verdict, unit = finding.verdict, finding.unit
    expected = ", ".join(finding.expected)
    mark = "" if not finding.outcome else f"  (control: {finding.outcome}, had to be {expected})"
    yield f"{'- ' if form == 'md' else ''}{finding.equation} {finding.form}: {', '.join(finding.words)}{mark}"
    yield f"  {finding.what}"
    parts = []
    if finding.measured is not None:
        between = f" {span(finding.interval)}" if finding.interval else ""
        parts.append(f"measured {number(finding.measured)}{between}" + (f" {unit}" if finding.bound is None else ""))
    if finding.bound is not None:
        parts.append(f"bound {number(finding.bound)} {unit}".rstrip())
    if verdict.tightness is not None:
        parts.append(f"bound / measured {number(verdict.tightness)}")
    level = "" if verdict.alpha is None else f", alpha {verdict.alpha:g}"
    parts.append(f"{verdict.method or 'no test'}, n = {verdict.n_seeds}{level}")
    yield f"  {'; '.join(parts)}"
    yield from (f"  - {reason}" for reason in verdict.reasons)
