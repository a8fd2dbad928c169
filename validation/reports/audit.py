"""The symbolic audit as one more experiment: kept beside the measurements, so that showing them computes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from theorykit.statements.audit import AuditRow, run_audit, summary_of
from theorykit.statements.evidence import Effort
from theorykit.statements.readings import JudgedReading
from theorykit.verdicts import Form, Truth
from validation.claims.experiment import Context, Experiment, Part, PartResult
from validation.claims.record import Record
from validation.claims.settings import PartSettings

SLUG, SYMBOLIC = "audit", "symbolic"
TABLE = {"trials": 2000}
"""Of each adversarial search: what is proved or refuted does not depend on them. ``theorykit audit`` looks harder."""


@dataclass(frozen=True, kw_only=True)
class AuditSettings(PartSettings):
    """Settings of the audit.

    Attributes:
        trials: Of each adversarial search.
    """

    trials: int


@dataclass(frozen=True)
class AuditedEquation:
    """What the audit says of one equation.

    Attributes:
        statement: Slug.
        key: Of the equation.
        label: As the paper has it.
        kind: Of :class:`theorykit.statements.statement.Kind`.
        printed: The formula.
        corrected: The same as corrected, or nothing.
        condition: Under which the corrected form is meant.
        remark: Beside it.
        printed_truth: A word of the audit; ``definition`` or ``premise`` where there is nothing to be true.
        printed_value: VACUOUS or DOMINATED, where the audit shows it.
        printed_verdict: Both in one cell.
        corrected_truth: As of the printed form.
        corrected_verdict: In one cell.
        readings: The claims that the printed words allow, each with its verdict; empty where there is one.
    """

    statement: str
    key: str
    label: str
    kind: str
    printed: str
    corrected: str
    condition: str = ""
    remark: str = ""
    printed_truth: str = ""
    printed_value: str | None = None
    printed_verdict: str = ""
    corrected_truth: str = ""
    corrected_verdict: str = ""
    readings: tuple[JudgedReading, ...] = ()

    def text(self, form: Form) -> str:
        """Return the formula of a form; the instrument has none."""
        return {Form.PRINTED: self.printed, Form.CORRECTED: self.corrected}.get(form, "")

    def reading(self, key: str) -> str:
        """Return the word of the audit on one reading of the printed form; that on the form itself without it."""
        return next((str(reading.truth) for reading in self.readings if reading.key == key), self.printed_truth)

    def truth(self, form: Form) -> str:
        """Return the word of the audit on a form; the instrument has none."""
        return {Form.PRINTED: self.printed_truth, Form.CORRECTED: self.corrected_truth}.get(form, "")


@dataclass(frozen=True)
class Audited:
    """What the audit leaves.

    Attributes:
        rows: One for each equation and claim.
        broken: Evidence that did not come out as it had to.
    """

    rows: tuple[AuditedEquation, ...]
    broken: tuple[str, ...] = ()


def audited(record: Record) -> Audited:
    """Return what the record of an audit has; nothing of other records."""
    return record.read_data(Audited) if record.slug == SLUG and not record.failure else Audited(())


def _run(ctx: Context[AuditSettings]) -> PartResult:
    """Audit every equation, and keep what does not fit a finding: truth for all instances is no measurement."""
    effort = Effort(ctx.settings.trials, ctx.seed)
    audit = run_audit(effort=effort, progress=lambda done, count, label: ctx.progress("auditing", done, count))
    broken_evidence = tuple(part.sentence for part in audit.broken)
    return PartResult((), Audited(tuple(_audited(row) for row in audit.rows), broken_evidence))


def _audited(row: AuditRow) -> AuditedEquation:
    cells = summary_of(row)
    return AuditedEquation(
        row.statement,
        row.key,
        row.label,
        row.kind,
        row.printed,
        row.corrected,
        row.condition,
        row.remark,
        printed_truth=row.truth or row.kind,
        printed_value=row.value,
        printed_verdict=cells["verdict"],
        corrected_truth=row.corrected_truth or (row.kind if row.kind.claims_nothing else Truth.UNDECIDED),
        corrected_verdict=cells["corrected verdict"],
        readings=row.readings,
    )


AUDIT = Experiment(
    SLUG,
    "all equations and claims",
    "Proofs, exact witnesses and adversarial searches of every equation and claim, as printed and as corrected.",
    {SYMBOLIC: Part(_run, seconds=lambda settings: 5.0, settings=AuditSettings, data=Audited)},
)
"""Not one of :data:`validation.reports.experiments.SLUGS`: it needs no student, and runs before all others."""
