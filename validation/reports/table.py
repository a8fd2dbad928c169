"""From records to the table of verdicts: every statement of the paper, as printed and as corrected, side by side."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from theorykit import provenance
from theorykit.arguments import one_of
from theorykit.errors import InputError
from theorykit.statements import STATEMENTS
from theorykit.statements.readings import JudgedReading
from theorykit.tables import markdown_cells
from theorykit.verdicts import Form, Instance
from validation.claims.experiment import PARTS, PLANTED, STUDENTS, TEACHER
from validation.claims.finding import Finding, Outcome
from validation.claims.record import Record, folder_of, read_records
from validation.reports import audit
from validation.reports.audit import Audited, AuditedEquation

PRESETS_BY_SIZE = ("paper", "gpu", "cpu", "smoke")
COMMITTED = provenance.ROOT / "validation" / "results"
NONE = "—"
_WORST_FIRST = (
    Instance.VIOLATED,
    Instance.INCONCLUSIVE,
    Instance.HOLDS,
    Instance.UNFALSIFIABLE,
    Instance.NOT_APPLICABLE,
    Instance.NOT_RUN,
)


@dataclass(frozen=True)
class Row:
    """One form of one equation with all that is known about it.

    Attributes:
        statement: Slug.
        equation: Key.
        label: As the paper has it.
        form: ``printed``, ``corrected``, or ``instrument`` for findings about neither.
        text: The formula, empty for the instrument.
        truth: Of the audit; ``definition`` or ``premise`` where there is nothing to be true, empty without an audit.
        instances: By part, what its findings say, and how many students were lost; of planted controls, how many came
            out as they had to.
        value: Of the finding that ``measured`` is of; of the audit where that one does not say.
        exponent: Of that finding.
        measured: On students, of the part nearest to practice: the finding nearest to a violation, in ``unit``.
        interval: Of it.
        bound: It was held against.
        unit: Of the three.
        tightness: bound / measured.
        tightness_interval: Of it.
        seeds: Independent repetitions behind it.
        findings: Number of findings, all parts together.
        records: Files of the evidence, by name.
        readings: The claims that the printed words allow, each with its verdict by the audit.
    """

    statement: str
    equation: str
    label: str
    form: str
    text: str = ""
    truth: str = ""
    instances: dict[str, str] = field(default_factory=dict)
    value: str = ""
    exponent: str = ""
    measured: float | None = None
    interval: tuple[float, float] | None = None
    bound: float | None = None
    unit: str = ""
    tightness: float | None = None
    tightness_interval: tuple[float, float] | None = None
    seeds: int = 0
    findings: int = 0
    records: tuple[str, ...] = ()
    readings: tuple[JudgedReading, ...] = ()


@dataclass(frozen=True)
class Recorded:
    """The records of one preset and seed.

    Attributes:
        folder: Where they lie.
        preset: Of all of them.
        seed: Of all of them.
        records: The experiments' parts.
        audit: The symbolic audit, or None.
        passed: Folders of the same preset and seed that hold fewer records: runs that are not finished.
    """

    folder: Path
    preset: str
    seed: int
    records: tuple[Record, ...]
    audit: Record | None
    passed: tuple[Path, ...] = ()

    @property
    def all_records(self) -> tuple[Record, ...]:
        """Return the records with that of the audit, where there is one."""
        return self.records if self.audit is None else (*self.records, self.audit)

    def origin(self) -> str:
        """Return in one line what made them."""
        made = [record.made for record in self.all_records]
        commits = ", ".join(sorted({provenance.short(origin.commit) for origin in made})) or "none"
        seconds = sum(origin.seconds for origin in made)
        place = provenance.shown(self.folder)
        return f"preset {self.preset}, seed {self.seed}, commit {commits}, {seconds:,.0f} s, {place}"


def recorded(out: Path | None, preset: str | None, seed: int, work: Path) -> Recorded:
    """Read the records of a preset.

    Args:
        out: Folder that holds them; None for ``work`` or those that come with the repository, whichever has more.
        preset: None for the largest that has records.
        seed: That they were made with.
        work: Folder that runs write to.

    Raises:
        InputError: no record there, or one that is not in order.
    """
    presets = PRESETS_BY_SIZE if preset is None else (one_of("preset", preset, PRESETS_BY_SIZE),)
    places = (work, COMMITTED) if out is None else (out,)
    for name in presets:
        folders = (folder_of(place, name, seed) for place in places)
        by_folder = {folder: list(read_records(folder)) for folder in folders}
        folder, records = max(by_folder.items(), key=lambda item: len(item[1]))  # the first of those that hold as many
        if records:
            symbolic = next((record for record in records if record.slug == audit.SLUG), None)
            rest = tuple(record for record in records if record.slug != audit.SLUG)
            passed = tuple(other for other, fewer in by_folder.items() if fewer and other != folder)
            return Recorded(folder, name, seed, rest, symbolic, passed)
    wanted = f"of preset {preset} " if preset else ""
    raise InputError(
        f"there are no records {wanted}with seed {seed} in {' or '.join(map(str, places))}",
        f"python -m validation run --preset {preset or 'smoke'}",
    )


def rows_of(recorded: Recorded) -> list[Row]:
    """Return the rows of all equations, in the order of the paper; a corrected form only where there is one."""
    return [row for equation in _equations(recorded.audit) for row in _rows(equation, recorded.records)]


def _equations(symbolic: Record | None) -> tuple[AuditedEquation, ...]:
    """Return what the audit says of each equation; without one, what the equation itself says."""
    if symbolic is not None and not symbolic.failure:
        return symbolic.read_data(Audited).rows
    return tuple(
        AuditedEquation(
            statement.slug, equation.key, equation.label, equation.kind, equation.printed, equation.corrected
        )
        for statement in STATEMENTS
        for equation in statement.equations
    )


def _rows(equation: AuditedEquation, records: Sequence[Record]) -> Iterator[Row]:
    for form in (Form.PRINTED, Form.CORRECTED, Form.INSTRUMENT):
        pairs = [(record, finding) for record in records for finding in record.select(equation.key, form)]
        text = equation.text(form)
        if not pairs and not text:
            continue
        failed = {record.part: "FAILED" for record in records if record.failure and record.slug == equation.statement}
        row = Row(
            equation.statement,
            equation.key,
            equation.label,
            form,
            text,
            equation.truth(form),
            instances={} if form is Form.INSTRUMENT else failed,
            value=(equation.printed_value or "") if form is Form.PRINTED else "",
            readings=equation.readings if form is Form.PRINTED else (),
        )
        yield _measured(row, pairs) if pairs else row


def _measured(row: Row, pairs: Sequence[tuple[Record, Finding]]) -> Row:
    """Return the row with what its findings say; numbers are of students, in the part nearest to practice."""
    by_part: dict[str, list[tuple[Record, Finding]]] = {}
    for record, finding in pairs:
        by_part.setdefault(record.part, []).append((record, finding))
    parts = sorted(by_part, key=PARTS.index)
    cells = {part: _controls_cell(by_part[part]) if part == PLANTED else _words_cell(by_part[part]) for part in parts}
    row = dataclasses.replace(
        row,
        instances=row.instances | cells,
        findings=len(pairs),
        records=tuple(dict.fromkeys(record.file.name for record, _ in pairs)),
    )
    if parts[-1] == PLANTED:
        return row
    nearest = min((finding for _, finding in by_part[parts[-1]]), key=_nearness)
    verdict = nearest.verdict
    return dataclasses.replace(
        row,
        value=verdict.value or row.value,
        exponent=verdict.exponent or "",
        measured=nearest.measured,
        interval=nearest.interval,
        bound=nearest.bound,
        unit=nearest.unit,
        tightness=verdict.tightness,
        tightness_interval=verdict.tightness_interval,
        seeds=verdict.n_seeds,
    )


def _nearness(finding: Finding) -> tuple[int, bool, float]:
    """Return a key that puts the finding nearest to a violation first; of alike ones, those that say a value."""
    verdict = finding.verdict
    tightness = float("inf") if verdict.tightness is None else verdict.tightness
    return _WORST_FIRST.index(verdict.instance), verdict.value is None, tightness


def _controls_cell(pairs: Sequence[tuple[Record, Finding]]) -> str:
    """Return how many planted controls came out as they had to, and how the others did."""
    outcomes = Counter(finding.outcome for _, finding in pairs)
    bad = "".join(f", {outcomes[word]} {word}" for word in (Outcome.WRONG, Outcome.UNDECIDED) if outcomes[word])
    return f"{outcomes[Outcome.RIGHT]} of {len(pairs)}{bad}"


def _words_cell(pairs: Sequence[tuple[Record, Finding]]) -> str:
    """Return what the findings of one part say: how often each word, and the students that were lost."""
    counts = Counter(finding.verdict.instance for _, finding in pairs)
    words = [f"{word} {counts[word]}" if counts[word] > 1 else str(word) for word in _WORST_FIRST if counts[word]]
    records = {record.name: record for record, _ in pairs}.values()
    lost, trained = sum(len(record.lost) for record in records), sum(len(record.students) for record in records)
    return ", ".join(words) + (f"; lost {lost} of {trained}" if lost else "")


def controls_of(recorded: Recorded) -> tuple[int, int]:
    """Return how many planted controls came out as they had to, of how many."""
    outcomes = [finding.outcome for record in recorded.records for finding in record.findings if finding.outcome]
    return outcomes.count(Outcome.RIGHT), len(outcomes)


def split_rows(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Return the rows that students say something about, or whose controls failed, and the others."""
    told = [row for row in rows if {STUDENTS, TEACHER} & set(row.instances) or _not_in_order(row)]
    return told, [row for row in rows if row not in told]


def _not_in_order(row: Row) -> bool:
    right, _, rest = row.instances.get(PLANTED, "").partition(" of ")
    return right != rest


_PART_COLUMNS = {PLANTED: "controls", STUDENTS: "on students", TEACHER: "on a real teacher"}
COLUMNS = ("equation", "in general", *_PART_COLUMNS.values(), "measured", "value", "exponent", "slack", "record")


def cells_of(row: Row) -> dict[str, str]:
    """Return the cells of a row as text."""
    name = name_of(row) if row.form == Form.PRINTED else f"{name_of(row)} {row.form}"
    measured = number(row.measured)
    if row.measured is not None and row.interval:
        measured += " " + span(row.interval)
    if row.measured is not None and row.bound is not None:
        sign = "<" if row.measured < row.bound else ">" if row.measured > row.bound else "="
        measured += f" {sign} {number(row.bound)}"
    slack = number(row.tightness)
    if row.tightness is not None and row.tightness_interval:
        slack += " " + span(row.tightness_interval)
    records = dict.fromkeys(name.split(".")[0] for name in row.records)  # the columns before tell the parts
    cells = {"equation": name, "in general": row.truth}
    cells |= {column: row.instances.get(part, "") for part, column in _PART_COLUMNS.items()}
    cells |= {"measured": f"{measured} {row.unit}".strip() if measured else "", "value": row.value}
    cells |= {"exponent": row.exponent, "slack": slack, "record": ", ".join(records)}
    return {column: cell or NONE for column, cell in cells.items()}


def name_of(row: Row) -> str:
    """Return the name of its equation; claims go by their keys, since several stand under one heading of the paper."""
    return row.label if row.label.startswith("eq") else row.equation


def number(value: float | None) -> str:
    """Return a number with three digits, or nothing."""
    return "" if value is None else f"{value:.3g}"


def span(interval: Sequence[float]) -> str:
    """Return an interval; an end that is infinite as ∞."""
    low, high = interval
    return f"[{'−∞' if low == -math.inf else number(low)}, {'∞' if high == math.inf else number(high)}]"


def columns_in_use(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the columns that say anything."""
    cells = [cells_of(row) for row in rows]
    idle = () if any(_not_in_order(row) for row in rows) else (_PART_COLUMNS[PLANTED],)
    return tuple(
        name
        for name in COLUMNS
        if name in COLUMNS[:2] or (name not in idle and any(one[name] != NONE for one in cells))
    )


def markdown(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    columns = columns_in_use(rows)
    cells = map(cells_of, rows)
    return markdown_cells(columns, ([row[name] for name in columns] for row in cells), tight=True)


def recorded_table(results: Path = COMMITTED, preset: str = "cpu") -> str:
    """Return the recorded verdicts of all forms that were measured, as Markdown; one line where there are none."""
    if not folder_of(results, preset, 0).is_dir():
        return "Not yet recorded."
    records = recorded(results, preset, 0, results)
    right, count = controls_of(records)
    lines = (f"Planted controls that came out as they had to: {right} of {count}.", records.origin())
    return "\n\n".join([markdown(split_rows(rows_of(records))[0]), *lines])
