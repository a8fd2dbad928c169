"""The symbolic audit as one more experiment: kept beside the measurements, so that showing them computes nothing."""

from __future__ import annotations

from typing import Any

from theorykit.statements.audit import DEFINITION, AuditRow, run_audit, summary_of
from theorykit.statements.evidence import Effort
from theorykit.statements.statement import Kind
from theorykit.verdicts import Truth
from validation.claims.experiment import Context, Experiment, Part, PartResult

SLUG, SYMBOLIC = "audit", "symbolic"
SETTINGS = {"trials": 2000}
"""Of each adversarial search: what is proved or refuted does not depend on them. ``theorykit audit`` looks harder."""


def _run(ctx: Context) -> PartResult:
    """Audit every equation, and keep what does not fit a finding: truth for all instances is no measurement."""
    effort = Effort(int(ctx.settings["trials"]), ctx.seed)
    found = run_audit(effort=effort, progress=lambda done, count, label: ctx.progress("auditing", done, count))
    broken = [part.sentence for part in found.broken]
    return PartResult((), {"rows": [_row(one) for one in found.rows], "broken": broken})


def _row(row: AuditRow) -> dict[str, Any]:
    cells = summary_of(row)
    names = ("statement", "key", "label", "kind", "printed", "corrected", "condition", "remark")
    return {name: getattr(row, name) for name in names} | {
        "printed_truth": row.truth or DEFINITION,
        "printed_value": row.value,
        "printed_verdict": cells["verdict"],
        "corrected_truth": row.corrected_truth or (DEFINITION if row.kind == Kind.DEFINITION else Truth.UNDECIDED),
        "corrected_verdict": cells["corrected verdict"],
    }


AUDIT = Experiment(
    SLUG,
    "all equations and claims",
    "Proofs, exact witnesses and adversarial searches of every equation and claim, as printed and as corrected.",
    {SYMBOLIC: Part(_run, seconds=lambda settings: 5.0)},
)
"""Not one of :data:`validation.reports.experiments.SLUGS`: it needs no student, and runs before all others."""
