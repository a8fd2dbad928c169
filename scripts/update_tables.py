"""Write the tables of the README and of docs/ from recorded results, between their markers.

python scripts/update_tables.py
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import information_tasks  # noqa: E402
import truncation_loss  # noqa: E402
from benchmark_table import benchmark_table, record_of  # noqa: E402

from theorykit import bundled_spectra, find_statement, run_audit, select_ranks  # noqa: E402
from theorykit.statements.audit import summary_of  # noqa: E402
from theorykit.statements.evidence import Effort  # noqa: E402
from validation.checks.verdict_table import COMMITTED, Row, cells_of, recorded, recorded_table, rows_of  # noqa: E402


def rules() -> str:
    """Return all rules at n = 100,000 on the bundled spectra."""
    selection = select_ranks(bundled_spectra(), 100_000)
    lines = ["| rule | ranks | layers left dense | linear parameters kept | predicted KL |", "|---|---|---|---|---|"]
    for rule in selection.rules:
        cells = [rule.title, rule.rank_span, str(rule.dense_layers), f"{rule.share:.1%}", f"{rule.predicted_loss:.2g}"]
        if rule.key == selection.rule:
            cells = [f"**{cell}**" for cell in cells]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


_SHOWN = ("eq-8", "eq-11", "eq-17", "corollary-1-proof", "eq-19", "eq-20", "eq-21", "eq-23", "eq-27", "eq-37")


def verdicts() -> str:
    """Return the verdicts on the paper's main statements, computed now; they do not depend on the trials."""
    found = run_audit([find_statement(key) for key in _SHOWN], effort=Effort(trials=500))
    lines = ["| | as printed | verdict | corrected |", "|---|---|---|---|"]
    for row in found.rows:
        cells = summary_of(row)
        lines.append(f"| {cells['equation']} | {cells['as printed']} | {cells['verdict']} | {cells['corrected']} |")
    return "\n".join(lines)


_HEADLINES = {
    "eq-8": "Lemma 1: truncation moves gradients by at most C Σ ε",
    "eq-11": "Theorem 1: SGD converges like 1/T, up to σ²/T and O(ε²/√T)",
    "faster-convergence": "§5.4: low rank converges faster",
    "eq-17": "Corollary 1: the best rank grows like √n",
    "eq-19": "Theorem 2: gap ≤ O(r(m + n) log n/√n)",
    "gap-linear-in-rank": "§5.5: the gap grows linearly with the rank",
    "eq-23": "Theorem 3: I ≥ log d − (d/2) L_clone + const",
    "mutual-information-gain": "§5.7: cloning adds 1.2 nats of information",
    "table-1-improvement": "Table 1: LRC is best, by 2.8 % in perplexity",
    "table-2": "Table 2: every component is indispensable",
    "figure-4": "Figure 4: the loss over the rank is a U",
}
_IN_GENERAL = {"eq-17": "corollary-1-proof"}
"""What decides a claim in general where it is another equation: eq 17 is right, its step from Theorem 2 is not."""


def headlines() -> str:
    """Return the main statements: what is true of them in general, what was measured on students, and where it ends."""
    found = recorded(COMMITTED, "cpu", 0, COMMITTED)
    assert found.audit is not None
    audited = {row["key"]: row for row in found.audit.content["data"]["rows"]}
    rows = {(row.equation, row.form): row for row in rows_of(found)}
    lines = [
        "| the paper says | in general | on our students | nearest to a violation | as corrected |",
        "|---|---|---|---|---|",
    ]
    for key, claim in _HEADLINES.items():
        known, row = audited[_IN_GENERAL.get(key, key)], rows[key, "printed"]
        general = [known["printed_truth"], known["printed_value"]]
        cells = [
            claim,
            _said(*general),
            _seen(row),
            cells_of(row)["measured"],
            _whole(rows.get((known["key"], "corrected"))),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"{found.origin()}; [all equations and claims](docs/validation.md)."])


def _seen(row: Row) -> str:
    return row.instances.get("students", "").replace("NOT_APPLICABLE", "N/A").lower().replace("n/a", "N/A")


def _whole(row: Row | None) -> str:
    """Return what is true of a corrected form in general, and on students."""
    return "" if row is None else "; ".join(part for part in (_said(row.truth), _seen(row)) if part)


def _said(*words: str | None) -> str:
    """Return different words in small letters, without what says nothing."""
    told = dict.fromkeys(word.replace("_", " ") for word in words if word)
    return ", ".join(word if "N/A" in word else word.lower() for word in told)


def gallery() -> str:
    """Return every figure and table with its caption, as docs/figures/ has them."""
    from paper_figs.catalogue import NAMES, build
    from paper_figs.sources import Sources
    from paper_figs.tables import Table, cells

    lines = []
    for name in NAMES:
        made = build(name, Sources())
        lines += [f"## {name.replace('-', ' ').capitalize()}: {made.title}", ""]
        lines += [cells(made)] if isinstance(made, Table) else [f"![{made.title}](figures/{name}.png)"]
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
    for one in pages():
        one.write_text(filled(one.read_text(encoding="utf-8")), encoding="utf-8")
