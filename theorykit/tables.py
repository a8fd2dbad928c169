"""A table of results as plain cells, and as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from theorykit.latex import latex_text

_COLUMN = 6
"""So many columns fit into one column of a page."""
FORMATS = ("md", "tex", "csv")


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: What it shows, in one line.
        columns: Names, with units.
        rows: Cells as text; an empty one is what nobody measured.
        caption: What it says, and what it does not.
        note: Under it: seeds, kind of intervals, what is missing.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str
    note: str = ""


def markdown(table: Table, origin: Sequence[str]) -> str:
    """Return a table as Markdown, with its origin in a comment."""
    lines = [f"**{table.title}**", "", markdown_cells(table.columns, table.rows)]
    for text in (table.caption, table.note):
        lines += ["", text] if text else []
    lines += ["", "<!--", *(_line(source).replace("-->", "-- >") for source in origin), "-->"]
    return "\n".join(lines) + "\n"


def markdown_cells(columns: Sequence[str], rows: Iterable[Sequence[str]], *, tight: bool = False) -> str:
    """Return the cells alone as Markdown; ``tight`` leaves no blanks in the line under the names of the columns."""
    head, *body = ("| " + " | ".join(map(_markdown_cell, row)) + " |" for row in (columns, *rows))
    rule = "---".join("|" * (len(columns) + 1))
    return "\n".join([head, rule if tight else rule.replace("---", " --- "), *body])


def _markdown_cell(text: str) -> str:
    """Return text on one line that no bar divides, with the backslashes before a bar kept as they are."""
    return _line(text).replace("\\", "\\\\").replace("|", "\\|")


def _line(text: str) -> str:
    return " ".join(text.split())


def latex(table: Table, origin: Sequence[str]) -> str:
    """Return a table as LaTeX with booktabs, with its origin in comments."""
    caption = " ".join(text for text in (f"{table.title}.", table.caption, table.note) if text)
    kind = "table*" if len(table.columns) > _COLUMN else "table"
    return "\n".join(
        [
            *(f"% {_line(source)}" for source in origin),
            "% needs the packages booktabs and adjustbox",
            rf"\begin{{{kind}}}",
            r"\centering",
            rf"\caption{{{_escaped(caption)}}}",
            r"\begin{adjustbox}{max width=\linewidth}",
            rf"\begin{{tabular}}{{{''.join(map(_alignment, zip(*table.rows, strict=True)))}}}",
            r"\toprule",
            _latex_row(table.columns),
            r"\midrule",
            *map(_latex_row, table.rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{adjustbox}",
            rf"\end{{{kind}}}",
            "",
        ]
    )


def _latex_row(row: Sequence[str]) -> str:
    # what ends the row before would take a bracket or a star for an argument of its own
    return re.sub(r"^(?=[\[*])", "{}", " & ".join(map(_escaped, row))) + r" \\"


def _alignment(column: Sequence[str]) -> str:
    """Return left for words and right for numbers."""
    return "r" if any(re.match(r"[-+]?\d", cell) for cell in column) else "l"


def _escaped(text: str) -> str:
    """Return text on one line as LaTeX; the sign of a number becomes a minus."""
    return latex_text(re.sub(r"(?<![\w.\-])-(?=\d)", "−", _line(text)))


def as_csv(table: Table, origin: Sequence[str]) -> str:
    """Return the cells as CSV; the origin has no place there and stands in the other formats."""
    del origin
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows([table.columns, *table.rows])
    return lines.getvalue()


WRITERS = {"md": markdown, "tex": latex, "csv": as_csv}
