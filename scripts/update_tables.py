"""Write the tables of the README and of docs/ from recorded results, between their markers.

python scripts/update_tables.py
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import information_tasks
import truncation_loss
from benchmark_table import benchmark_table, record_of

from paper_figs.catalogue import NAMES, build
from paper_figs.sources import Sources
from theorykit import bundled_spectra, find_statement, run_audit, select_ranks
from theorykit.statements.audit import summary_of
from theorykit.statements.evidence import Effort
from theorykit.tables import Table, markdown_cells
from theorykit.verdicts import Form
from validation.reports.audit import audited
from validation.reports.table import COMMITTED, Recorded, Row, cells_of, recorded, recorded_table, rows_of


def rules() -> str:
    """Return all rules at n = 100,000 on the bundled spectra."""
    selection = select_ranks(bundled_spectra(), 100_000)
    rows = []
    for rule in selection.rules:
        cells = [rule.title, rule.rank_span, str(rule.dense_layers), f"{rule.share:.1%}", f"{rule.predicted_loss:.2g}"]
        if rule.key == selection.rule:
            cells = [f"**{cell}**" for cell in cells]
        rows.append(cells)
    columns = ("rule", "ranks", "layers left dense", "linear parameters kept", "predicted KL")
    return markdown_cells(columns, rows, tight=True)


_SHOWN = ("eq-8", "eq-11", "eq-17", "corollary-1-proof", "eq-19", "eq-20", "eq-21", "eq-23", "eq-27", "eq-37")


def verdicts() -> str:
    """Return the verdicts on the paper's main statements, computed now; they do not depend on the trials."""
    audit = run_audit([find_statement(key) for key in _SHOWN], effort=Effort(trials=500))
    lines = ["| | as printed | verdict | corrected |", "|---|---|---|---|"]
    for row in audit.rows:
        summary = summary_of(row)
        lines.append(
            "| " + " | ".join(summary[name] for name in ("equation", "as printed", "verdict", "corrected")) + " |"
        )
    return "\n".join(lines)


@dataclass(frozen=True)
class Headline:
    """A sentence of the paper, and what says how true it is: each sentence stands beside findings on itself alone.

    Attributes:
        sentence: Of the paper, in short.
        equation: Whose printed form it is.
        general: Equation or claim that the audit decides it by: ``equation`` if None, none if empty.
        key: Of the findings; all on the printed form if None.
        of: Values that their configurations have.
        corrected: Equation whose corrected form takes its place.
        reading: Of that equation, the one that the sentence has.
    """

    sentence: str
    equation: str
    general: str | None = None
    key: str | None = None
    of: Mapping[str, float] = field(default_factory=dict)
    corrected: str = ""
    reading: str = ""


_HEADLINES = (
    Headline("Lemma 1: truncation moves gradients by at most C Σ ε", "eq-8", corrected="eq-8"),
    Headline("Theorem 1: SGD converges like 1/T, up to σ²/T and O(ε²/√T)", "eq-11", corrected="eq-11"),
    Headline("§5.4: low rank converges faster", "faster-convergence"),
    # eq 17 is right, its step from Theorem 2 is not
    Headline(
        "Corollary 1: the best rank grows like √n",
        "eq-17",
        "corollary-1-proof",
        key="exponent",
        corrected="corollary-1-proof",
        reading="scaling",
    ),
    Headline("Theorem 2: gap ≤ O(r(m + n) log n/√n)", "eq-19", corrected="eq-19"),
    Headline("§5.5: the gap grows linearly with the rank", "gap-linear-in-rank"),
    Headline("Theorem 3: I ≥ log d − (d/2) L_clone + const", "eq-23", corrected="eq-23"),
    Headline(
        "§5.7: cloning adds 1.2 nats of information", "mutual-information-gain", key="gain", of={"more_than": 1.2}
    ),
    Headline("Table 1: LRC is the best of its size", "table-1-improvement", "", key="best"),
    Headline("Table 2: every component is indispensable", "table-2", key="every-component"),
    Headline("Figure 4: the loss over the rank is a U", "figure-4"),
)


def headlines(results: Path = COMMITTED) -> str:
    """Return the main sentences: what is true in general, what students say, and the finding nearest to a violation."""
    records = recorded(results, "cpu", 0, results)
    assert records.audit is not None
    equations = {equation.key: equation for equation in audited(records.audit).rows}
    every = {(row.equation, row.form): row for row in rows_of(records)}
    columns = ("the paper says", "in general", "on our students", "nearest to a violation", "as corrected")
    rows = []
    for headline in _HEADLINES:
        symbolic = equations.get(headline.equation if headline.general is None else headline.general)
        row = _row_of(headline, records)
        general = "" if symbolic is None else _said(symbolic.reading(headline.reading), symbolic.printed_value)
        corrected = _whole(every.get((headline.corrected, Form.CORRECTED)))
        judged = headline.general if headline.general and headline.general != headline.equation else ""
        sentence = f"{headline.sentence} (`{headline.equation}`{f', in general `{judged}`' if judged else ''})"
        texts = [sentence, general, _on_students(row), cells_of(row)["measured"], corrected]
        rows.append([text or "–" for text in texts])
    table = markdown_cells(columns, rows, tight=True)
    return "\n".join([table, "", f"{records.origin()}; [all equations and claims](docs/validation.md)."])


def _row_of(headline: Headline, every: Recorded) -> Row:
    """Return the row of a sentence, of no other findings than those on it."""
    question = headline.equation, Form.PRINTED
    records = []
    for record in every.records:
        findings = tuple(record.select(*question, headline.key, **headline.of))
        records.append(replace(record, content=replace(record.content, findings=findings)))
    rows = rows_of(replace(every, records=tuple(records)))
    return next(row for row in rows if (row.equation, row.form) == question)


def _on_students(row: Row) -> str:
    return row.instances.get("students", "").replace("NOT_APPLICABLE", "N/A").lower().replace("n/a", "N/A")


def _whole(row: Row | None) -> str:
    """Return what is true of a corrected form in general, and on students."""
    return "" if row is None else "; ".join(part for part in (_said(row.truth), _on_students(row)) if part)


def _said(*words: str | None) -> str:
    """Return different words in small letters, without what says nothing."""
    different = dict.fromkeys(word.replace("_", " ") for word in words if word)
    return ", ".join(word if "N/A" in word else word.lower() for word in different)


def gallery() -> str:
    """Return every figure and table with its caption, as docs/figures/ has them."""
    lines = []
    for name in NAMES:
        made = build(name, Sources())
        lines += [f"## {name.replace('-', ' ').capitalize()}: {made.title}", ""]
        is_table = isinstance(made, Table)
        lines.append(markdown_cells(made.columns, made.rows) if is_table else f"![{made.title}](figures/{name}.png)")
        lines += ["", made.caption, ""] + ([made.note, ""] if isinstance(made, Table) else [])
    return "\n".join(lines).rstrip()


TABLES = {
    "rules": rules,
    "headlines": headlines,
    "verdicts": verdicts,
    "benchmarks": benchmark_table,
    "information": lambda: information_tasks.markdown_table(record_of("information_tasks")),
    "truncation": lambda: truncation_loss.table(record_of("truncation_loss")["result"]),
    "validation": recorded_table,
    "figures": gallery,
}


def filled(page: str) -> str:
    """Return a page with every table between its markers written anew."""
    return re.sub(
        r"(<!-- begin: ([\w-]+) -->\n).*?(<!-- end: \2 -->)",
        lambda match: f"{match[1]}{TABLES[match[2]]()}\n{match[3]}",
        page,
        flags=re.S,
    )


def pages() -> list[Path]:
    """Return the files with tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


if __name__ == "__main__":
    for page in pages():
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
