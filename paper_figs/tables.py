"""A table of results as plain cells, and as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

FORMATS = ("md", "tex", "csv")
_LATEX = {
    "\\": r"\textbackslash{}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": r"$-$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "–": "--",
    "—": "---",
    "λ": r"$\lambda$",
    "Δ": r"$\Delta$",
    "τ": r"$\tau$",
    "½": r"$\frac{1}{2}$",
}


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
    lines = [f"**{table.title}**", "", _row(table.columns), "|" + "---|" * len(table.columns)]
    lines += [_row(row) for row in table.rows]
    for text in (table.caption, table.note):
        lines += ["", text] if text else []
    lines += ["", "<!--", *origin, "-->"]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def latex(table: Table, origin: Sequence[str]) -> str:
    """Return a table as LaTeX with booktabs, with its origin in comments."""
    caption = " ".join(text for text in (f"{table.title}.", table.caption, table.note) if text)
    body = [" & ".join(map(_escaped, row)) + r" \\" for row in table.rows]
    return "\n".join(
        [
            *(f"% {line}" for line in origin),
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_escaped(caption)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
            r"\toprule",
            " & ".join(map(_escaped, table.columns)) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


def as_csv(table: Table, origin: Sequence[str]) -> str:
    """Return the cells as CSV; the origin has no place there and stands in the other formats."""
    del origin
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows([table.columns, *table.rows])
    return lines.getvalue()


WRITERS = {"md": markdown, "tex": latex, "csv": as_csv}
