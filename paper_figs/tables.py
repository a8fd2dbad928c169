"""A table of results as plain cells, and as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

_COLUMN = 6
"""So many columns fit into one column of a page."""
FORMATS = ("md", "tex", "csv")
_LATEX = {
    "\\": r"\textbackslash{}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "<": "$<$",
    ">": "$>$",
    "|": r"\textbar{}",
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
    lines = [f"**{table.title}**", "", cells(table)]
    for text in (table.caption, table.note):
        lines += ["", text] if text else []
    lines += ["", "<!--", *origin, "-->"]
    return "\n".join(lines) + "\n"


def cells(table: Table) -> str:
    """Return the cells alone as Markdown."""
    rows = [table.columns, ["---"] * len(table.columns), *table.rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def latex(table: Table, origin: Sequence[str]) -> str:
    """Return a table as LaTeX with booktabs, with its origin in comments."""
    caption = " ".join(text for text in (f"{table.title}.", table.caption, table.note) if text)
    kind = "table*" if len(table.columns) > _COLUMN else "table"
    body = [" & ".join(map(_escaped, row)) + r" \\" for row in table.rows]
    return "\n".join(
        [
            *(f"% {line}" for line in origin),
            "% needs the packages booktabs and adjustbox",
            rf"\begin{{{kind}}}",
            r"\centering",
            rf"\caption{{{_escaped(caption)}}}",
            r"\begin{adjustbox}{max width=\linewidth}",
            rf"\begin{{tabular}}{{{''.join(map(_alignment, zip(*table.rows, strict=True)))}}}",
            r"\toprule",
            " & ".join(map(_escaped, table.columns)) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{adjustbox}",
            rf"\end{{{kind}}}",
            "",
        ]
    )


def _alignment(column: Sequence[str]) -> str:
    """Return left for words and right for numbers."""
    return "r" if any(re.match(r"[-+]?\d", cell) for cell in column) else "l"


def _escaped(text: str) -> str:
    """Return text without what LaTeX takes for a command; the sign of a number becomes a minus."""
    signed = re.sub(r"(?<![\w.\-])-(?=\d)", "−", text)
    return "".join(_LATEX.get(letter, letter) for letter in signed)


def as_csv(table: Table, origin: Sequence[str]) -> str:
    """Return the cells as CSV; the origin has no place there and stands in the other formats."""
    del origin
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows([table.columns, *table.rows])
    return lines.getvalue()


WRITERS = {"md": markdown, "tex": latex, "csv": as_csv}
