"""The page of families, ``docs/architectures.md``, and the figures of the record."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import peft
import torch
import transformers

from .judge import COLUMNS, CRASH, REFUSED, RIGHT, WRONG, Row

COMMAND = "python benchmarks/architectures.py"
_TITLES = {
    "family": "Families behind `AutoModelForCausalLM`",
    "layout": "Layouts of families",
    "refused": "Models that cannot be calibrated on text",
}
_EXPLAINED = {
    "refused": [
        "Calibration is refused with one line that says what the model is. *spectrum* and *evaluate*: spectra, and",
        "ranks by `rank-select` without further options, still come from the weights alone.",
        "",
    ]
}
_SHORT = {RIGHT: "✓", REFUSED: "refused", WRONG: "WRONG", CRASH: "CRASH"}


def summary(rows: list[Row]) -> dict[str, Any]:
    """Return how many models are right throughout, wrong in silence, crash, or cannot be calibrated."""
    built = [row for row in rows if not row.unbuilt]
    causal = [row for row in built if row.group != "refused"]
    with_status = {
        status: [row.name for row in built if any(cell.status == status for cell in row.cells.values())]
        for status in (WRONG, CRASH)
    }
    return {
        "tried": len(rows),
        "built": len(built),
        "not_built": {row.name: row.unbuilt for row in rows if row.unbuilt},
        "right_throughout": sum(row.right_throughout for row in built),
        "causal_models": len(causal),
        "causal_right_throughout": sum(row.right_throughout for row in causal),
        "silently_wrong": with_status[WRONG],
        "wrong_by_column": {column: [row.name for row in built if _status(row, column) == WRONG] for column in COLUMNS},
        "crashes": with_status[CRASH],
        "not_calibrated": {
            row.name: row.cells["calibration"].note for row in causal if _status(row, "calibration") == REFUSED
        },
        "largest_error_of_a_moment": max((row.error for row in built if row.error is not None), default=None),
        "seconds": round(sum(row.seconds for row in rows)),
    }


def _status(row: Row, column: str) -> str:
    cell = row.cells.get(column)
    return cell.status if cell else ""


def record_of(rows: list[Row]) -> dict[str, Any]:
    """Return what is recorded: the summary, the versions and every verdict."""
    return {
        "summary": summary(rows),
        "versions": {
            "transformers": transformers.__version__,
            "torch": torch.__version__,
            "peft": peft.__version__,
            "gguf": _version("gguf"),
        },
        "rows": [
            {"name": row.name, "group": row.group, "unbuilt": row.unbuilt, "error": row.error, "seconds": row.seconds}
            | {column: {"status": cell.status, "note": cell.note} for column, cell in row.cells.items()}
            for row in rows
        ],
    }


def _version(name: str) -> str:
    from importlib import metadata

    return metadata.version(name)


def page(result: dict[str, Any]) -> str:
    """Return the Markdown of the page from the recorded result."""
    figures, versions = result["summary"], result["versions"]
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    lines = [
        "# Families of models",
        "",
        *textwrap.wrap(
            f"What works with which family, tried with a tiny model of each: {figures['built']} of {figures['tried']} "
            f"could be built, {figures['right_throughout']} are right throughout. What is right is told by the models "
            "themselves: the matrix products of real passes (which parameters are linear maps, which way round, how "
            "many in a stack), plain autograd (the moments A and G), peft (the adapters that it builds from the file) "
            "and transformers (folders, and whether later tokens move earlier scores).",
            100,
        ),
        "",
        "- **spectrum**: every linear map is found, in memory and in the folder, and nothing else;",
        "- **calibration**: moments agree with autograd to 1e-4, experts included;",
        "- **evaluate**: `rank-select --evaluate` measures KL and perplexity;",
        "- **peft**: `get_peft_model` builds the ranks that were chosen, or what it cannot is said;",
        "- **GGUF**: names in a file of this family are those of its modules (where gguf knows the family).",
        "",
        *textwrap.wrap(f"Made by `{COMMAND}` with {told}.", 100),
        "",
        "| | models |",
        "|---|---|",
        f"| right throughout | {figures['right_throughout']} of {figures['built']} |",
        f"| silently wrong somewhere | {len(figures['silently_wrong'])} |",
        f"| crash somewhere | {len(figures['crashes'])} |",
        f"| cannot be calibrated, reason given | {len(figures['not_calibrated'])} |",
        f"| not built by transformers itself | {len(figures['not_built'])} |",
        f"| largest relative error of a moment | {_error(figures['largest_error_of_a_moment'])} |",
    ]
    notes: list[str] = []
    for group, title in _TITLES.items():
        rows = [row for row in result["rows"] if row["group"] == group and not row["unbuilt"]]
        lines += [
            "",
            f"## {title}",
            "",
            *_EXPLAINED.get(group, []),
            "| model | " + " | ".join(_heading(column) for column in COLUMNS) + " |",
        ]
        lines.append("|---" * (len(COLUMNS) + 1) + "|")
        for row in rows:
            marks = [_mark(row.get(column), row["name"], notes) for column in COLUMNS]
            lines.append(f"| {row['name']} | " + " | ".join(marks) + " |")
    if notes:
        lines += ["", "## Notes", ""]
        for number, note in enumerate(notes, start=1):
            lines += textwrap.wrap(f"{number}. {note}", 100, subsequent_indent="   ", break_long_words=False)
    lines += ["", "## Not built by transformers", ""]
    for name, reason in figures["not_built"].items():
        lines += textwrap.wrap(f"- {name}: {reason}", 100, subsequent_indent="  ", break_long_words=False)
    return "\n".join(lines) + "\n"


def _heading(column: str) -> str:
    return "GGUF" if column == "gguf" else column


def _error(value: float | None) -> str:
    return "–" if value is None else f"{value:.0e}"


def _mark(cell: dict[str, str] | None, name: str, notes: list[str]) -> str:
    """Return the mark of one cell; equal reasons share one note."""
    if cell is None:
        return "–"
    mark = _SHORT.get(cell["status"], "–")
    note = _note(cell["note"], name)
    if not note:
        return mark
    if note not in notes:
        notes.append(note)
    return f"{mark} [{notes.index(note) + 1}]"


def _note(text: str, name: str) -> str:
    """Return a reason without what differs from model to model: its name and the lists that peft prints unordered."""
    text = re.sub(rf"^{re.escape(re.sub(r'[^0-9A-Za-z]+', '_', name))}(?= )|^{re.escape(name)}(?= )", "It", text)
    text = re.sub(r"\[PEFT:[^\]]*\] | \(model_type='[^']*'\)|\.? ?Incompatible modules.*", "", text)
    return re.sub(r"Unrecognized configuration class <class '[\w.]+\.(\w+)'>.*", r"Auto classes do not know \1", text)


def write_page(result: dict[str, Any], file: Path) -> None:
    """Write the page."""
    file.write_text(page(result), encoding="utf-8")
