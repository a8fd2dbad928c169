"""The audit as Markdown, HTML and LaTeX: the table, one statement whole where it was asked for, and all evidence."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from theorykit.latex import latex_list, latex_table, latex_text
from theorykit.statements.audit import summary_of
from theorykit.tables import markdown_cells

if TYPE_CHECKING:
    from theorykit.statements.audit import Audit
    from theorykit.statements.evidence import Evidence
    from theorykit.statements.readings import JudgedReading
    from theorykit.statements.statement import Statement

LEGEND = (
    "definition, premise: neither true nor false. AMBIGUOUS: the words allow readings with different verdicts, and a "
    "well-typed one is not refuted; REFUTED: every well-typed one is. if …: what the proof assumes and the paper does "
    "not say. —: no such form, or no check of it. not refuted, trials ≤ x: a search found no violation, which proves "
    "nothing; x is the largest ratio of the claimed smaller to the claimed larger side."
)
# the evidence follows the table
_LATEX_COLUMNS = {"equation": 0.07, "as printed": 0.27, "verdict": 0.15, "corrected": 0.27, "corrected verdict": 0.12}


def statement_lines(statement: Statement) -> list[str]:
    """Return a statement's bound in symbols, its quantities, assumptions and references, a line each."""
    lines = [f"{statement.label}: {statement.title} ({statement.kind}); slug {statement.slug}"]
    lines += [f"  {name}: {part.text}" for name, part in statement.forms.items()]
    lines += [f"  {symbol.name}: {symbol.meaning}; {symbol.domain}" for symbol in statement.symbols]
    lines += [f"  assumes: {text}" for text in statement.assumptions]
    lines += [f"  see: {text}" for text in statement.references]
    return lines


def evidence_lines(found: Audit) -> list[str]:
    """Return the readings of every claim and what every check found, a line each."""
    lines = []
    for row in found.rows:
        lines += [f"{row.label}, {reading_line(reading)}" for reading in row.readings]
        lines += [
            f"{row.label}, {side_of(part)}, {part.method}, {part.truth}: {part.sentence}" for part in row.evidence
        ]
    return lines


def reading_line(reading: JudgedReading) -> str:
    """Return a reading with its verdict in one line."""
    typed = "" if reading.well_typed else ", ill-typed"
    return f"read as {reading.key}{typed}, {reading.truth}: {reading.claim}"


def side_of(part: Evidence) -> str:
    """Return what a piece of evidence is about: the form, and the reading where it is about one."""
    return f"{part.side}, {part.reading}" if part.reading else str(part.side)


def markdown(found: Audit, statement: Statement | None) -> str:
    """Return the audit in Markdown."""
    columns, rows = _table(found)
    lines = [markdown_cells(columns, rows), "", LEGEND, "", *(statement_lines(statement) if statement else [])]
    return "\n".join([*lines, "", *(f"- {line}" for line in evidence_lines(found))])


def html(found: Audit, statement: Statement | None) -> str:
    """Return the audit as an HTML fragment."""

    def row(cells: list[str], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"

    columns, rows = _table(found)
    lines = ["<table>", row(columns, "th"), *(row(cells, "td") for cells in rows), "</table>"]
    lines += [f"<p>{escape(line)}</p>" for line in (LEGEND, *(statement_lines(statement) if statement else []))]
    return "\n".join([*lines, "<ul>", *(f"<li>{escape(line)}</li>" for line in evidence_lines(found)), "</ul>"])


def latex(found: Audit, statement: Statement | None) -> str:
    """Return the audit as a LaTeX fragment in ASCII."""
    rows = [[summary_of(row)[name] for name in _LATEX_COLUMNS] for row in found.rows]
    lines = [
        "% \\input this between \\begin{document} and \\end{document}; needs \\usepackage{longtable}, plain pdflatex",
        "{\\footnotesize\\sloppy",
        latex_table(list(_LATEX_COLUMNS), list(_LATEX_COLUMNS.values()), rows),
        latex_text(LEGEND),
    ]
    parts = [statement_lines(statement)] if statement else []
    return "\n".join([*lines, *map(latex_list, [*parts, evidence_lines(found)]), "}"])


def _table(found: Audit) -> tuple[list[str], list[list[str]]]:
    cells = [summary_of(row) for row in found.rows]
    return list(cells[0]), [list(row.values()) for row in cells]
