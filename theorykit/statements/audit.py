"""Run the checks of every equation and draw its verdicts from what they find: nothing here is remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from theorykit.errors import InputError
from theorykit.results import Result
from theorykit.statements import STATEMENTS, find_statement
from theorykit.statements.evidence import Effort, Evidence, EvidenceKind, Form, truth_of
from theorykit.statements.readings import JudgedReading, printed_truth, run_checks
from theorykit.statements.statement import Equation, Kind, Statement
from theorykit.verdicts import Truth, Value

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class AuditRow(Result):
    """One equation or claim with its verdicts.

    Attributes:
        statement: Slug of its statement.
        key: ``eq-11``.
        label: ``eq 11``.
        kind: What it claims.
        printed: As the paper prints it.
        corrected: What is true instead; empty where the printed form stands.
        remark: One sentence for the reader.
        condition: What the verdict on the printed form assumes beyond the paper; empty where nothing.
        evidence: What each check found.
        readings: The claims that the printed words allow, each with its verdict; empty where there is one.
    """

    statement: str
    key: str
    label: str
    kind: Kind
    printed: str
    corrected: str
    remark: str
    condition: str
    evidence: tuple[Evidence, ...]
    readings: tuple[JudgedReading, ...] = ()

    def _of(self, side: Form) -> list[Evidence]:
        return [part for part in self.evidence if part.side == side]

    @property
    def truth(self) -> Truth | None:
        """Return the verdict on the printed form; None for a definition or a premise, neither true nor false."""
        return None if self.kind.claims_nothing else printed_truth(self.evidence, self.readings)

    @property
    def corrected_truth(self) -> Truth | None:
        """Return the verdict on the corrected form; None where there is none."""
        return truth_of(self._of(Form.CORRECTED))

    @property
    def value(self) -> Value | None:
        """Return what a check found the printed form to be worth; VACUOUS where several did."""
        worth = [part.value for part in self._of(Form.PRINTED) if part.value is not None]
        return Value.VACUOUS if Value.VACUOUS in worth else worth[0] if worth else None

    @property
    def broken(self) -> tuple[Evidence, ...]:
        """Return the checks that failed at their own task: a witness that does not verify, a refuted correction."""
        return tuple(
            part
            for part in self.evidence
            if (part.side == Form.CORRECTED and part.truth == Truth.REFUTED)
            or (part.method in (EvidenceKind.WITNESS, EvidenceKind.PROOF) and part.truth == Truth.UNDECIDED)
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per check."""
        import pandas as pd

        return pd.DataFrame([{"equation": self.label, **part.to_dict()} for part in self.evidence])


@dataclass(frozen=True, repr=False)
class Audit(Result):
    """The audited rows, in the paper's order.

    Attributes:
        rows: One per equation or claim.
        effort: How hard the searches looked.
    """

    rows: tuple[AuditRow, ...]
    effort: Effort

    @property
    def broken(self) -> tuple[Evidence, ...]:
        """Return every check that failed at its own task; empty in a sound release."""
        return tuple(part for row in self.rows for part in row.broken)

    @property
    def largest_ratio(self) -> float:
        """Return the largest ratio that any search of a corrected form met; at most 1 where all survive."""
        ratios = [
            float(part.numbers["largest_ratio"])
            for row in self.rows
            for part in row.evidence
            if part.side == Form.CORRECTED and "largest_ratio" in part.numbers
        ]
        return max(ratios, default=0.0)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per equation: printed, verdict, corrected, verdict, evidence, remark."""
        import pandas as pd

        return pd.DataFrame([summary_of(row) for row in self.rows])

    def __repr__(self) -> str:
        counts = {truth: sum(row.truth == truth for row in self.rows) for truth in Truth}
        verdicts = ", ".join(f"{count} {truth}" for truth, count in counts.items())
        return f"Audit({len(self.rows)} equations and claims as printed: {verdicts}; {len(self.broken)} broken checks)"


def summary_of(row: AuditRow) -> dict[str, str]:
    """Return the row of the table that a reader sees."""
    return {
        "statement": row.statement,
        "equation": row.label,
        "as printed": row.printed,
        "verdict": _verdict(row),
        "corrected": row.corrected or "—",
        "corrected verdict": _survival(row),
        "evidence": ", ".join(
            "trained students" if method == EvidenceKind.MEASUREMENT else method
            for method in dict.fromkeys(part.method for part in row.evidence)
        ),
        "remark": row.remark,
    }


def _verdict(row: AuditRow) -> str:
    """Say PROVED, under which condition, and whether it is of use; a value alone where the truth is open.

    An ambiguous claim has the verdict of each reading.
    """
    truth = str(row.kind) if row.kind.claims_nothing else str(row.truth or "—")
    if row.truth == Truth.AMBIGUOUS:
        truth += f": {', '.join(f'{reading.key} {reading.truth}' for reading in row.readings)}"
    if row.value is None:
        return f"{truth} if {row.condition}" if row.condition else truth
    if row.truth == Truth.UNDECIDED:
        return str(row.value)
    return f"{truth}, {row.value}, if {row.condition}" if row.condition else f"{truth}, {row.value}"


def _survival(row: AuditRow) -> str:
    """Say PROVED, REFUTED, or how many trials the corrected form has survived and how near they came."""
    searched = [part for part in row.evidence if part.side == Form.CORRECTED and "largest_ratio" in part.numbers]
    words = [] if row.corrected_truth in (None, Truth.UNDECIDED) else [str(row.corrected_truth)]
    if searched:
        nearest = max(searched, key=lambda part: float(part.numbers["largest_ratio"]))
        words.append(f"{nearest.numbers['trials']:,} trials ≤ {float(nearest.numbers['largest_ratio']):.4f}")
    return ", ".join(words) or (str(row.kind) if row.kind.claims_nothing and row.corrected else "—")


def _paper() -> list[tuple[Statement, Equation]]:
    """Return all equations by number; a claim without a number follows the last numbered one of its statement."""
    placed = []
    for statement in STATEMENTS:
        place = float("inf")
        for equation in statement.equations:
            number = equation.key.removeprefix("eq-")
            place = int(number) if number.isdecimal() else place
            placed.append((place, statement, equation))
    return [(statement, equation) for _, statement, equation in sorted(placed, key=lambda entry: entry[0])]


def _listed(keys: Any) -> list[Any]:
    return list(keys) if isinstance(keys, Iterable) and not isinstance(keys, str) else [keys]


def _pairs(key: Any) -> list[tuple[Statement, Equation]]:
    """Return the equations that a name or a pair stands for."""
    pair = isinstance(key, tuple) and len(key) == 2 and isinstance(key[0], Statement)
    statement, equation = key if pair else find_statement(key)
    return [(statement, equation) for equation in ((equation,) if equation is not None else statement.equations)]


def run_audit(
    keys: str | Iterable[str | tuple[Statement, Equation | None]] | None = None,
    *,
    effort: Effort | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Run the checks of some or all equations.

    Args:
        keys: Names such as ``"theorem-1"``, one or several, or pairs as
            :func:`theorykit.statements.find_statement` returns them; all statements if None.
        effort: Trials and seed of the searches; 100,000 trials if None.
        progress: Called with (equations done, equations in all, label).

    Returns:
        The rows, with fresh evidence, in the paper's order where all are asked for. Deterministic for one effort.

    Raises:
        InputError: fewer than one trial, a negative seed, or a name that no statement has.
    """
    effort = effort or Effort()
    whole = all(isinstance(number, int) and not isinstance(number, bool) for number in (effort.trials, effort.seed))
    if not whole or effort.trials < 1 or effort.seed < 0:
        raise InputError(
            f"trials = {effort.trials}, seed = {effort.seed}: at least 1 trial and a seed of at least 0, whole "
            "numbers, are needed",
            "give --trials 100000 --seed 0",
        )
    work = _paper() if keys is None else [pair for key in _listed(keys) for pair in _pairs(key)]
    rows = []
    for done, (statement, equation) in enumerate(work, start=1):
        printed = {name: value for name, value in vars(equation).items() if name not in ("checks", "readings")}
        evidence, readings = run_checks(equation.checks, equation.readings, effort)
        rows.append(AuditRow(statement.slug, evidence=evidence, readings=readings, **printed))
        if progress:
            progress(done, len(work), equation.label)
    return Audit(tuple(rows), effort)
