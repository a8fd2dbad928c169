"""Runs experiments: part by part, planted truths first; each leaves a record, and a part that has one is not repeated.

Killed at any moment, the same command goes on: records are written whole, students are kept in a store of their own.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from theorykit import provenance
from theorykit.arguments import Progress, one_of, positive_integer
from theorykit.devices import torch_device
from theorykit.errors import InputError
from theorykit.results import make_folder
from theorykit.statements import find_statement
from theorykit.statements.statement import Kind
from theorykit.verdicts import Exponent, Form, Instance, Value
from validation import presets
from validation.claims.experiment import PARTS, Context, Experiment, Part, PartResult
from validation.claims.finding import Finding, Outcome
from validation.claims.record import (
    Made,
    Record,
    content_of,
    folder_of,
    read_record,
    record_file,
    settings_identity,
    write_record,
)
from validation.claims.settings import PartSettings
from validation.claims.trained import TrainedStudent, train_students
from validation.reports import audit, experiments
from validation.training.config import StudentConfig
from validation.training.failures import Failure
from validation.training.store import Store
from validation.training.sweep import Executor

LEAST_POWER = 0.8
INCOMPLETE, CONTRADICTED, OPEN = 1, 3, 4
"""Exit codes."""


@dataclass(frozen=True)
class Job:
    """One part of one experiment, as it is to run.

    Attributes:
        experiment: Whose part it is.
        part: Name of the part.
        table: Settings of the part, as the preset has them: what the identity of its record is made of.
        preset: That the settings come from.
        seed: Of everything that is drawn.
    """

    experiment: Experiment
    part: str
    table: Mapping[str, Any]
    preset: str
    seed: int

    @property
    def name(self) -> str:
        """Return what it is called in messages."""
        return f"{self.experiment.slug} {self.part}"

    @property
    def work(self) -> Part[Any]:
        """Return what is run."""
        return self.experiment.part(self.part)

    @functools.cached_property
    def settings(self) -> PartSettings:
        """Return the settings of the part.

        Raises:
            InputError: the table is not in order.
        """
        settings: PartSettings = self.work.read(self.table)
        return settings

    def students(self) -> list[StudentConfig]:
        """Return the students that it will train."""
        return self.work.students(self.settings, self.seed)

    def power(self) -> dict[str, float]:
        """Return the planned power of each of its decisions; asked for as if a low one were allowed."""
        return self.work.power(dataclasses.replace(self.settings, underpowered=True))

    def file(self, out: Path) -> Path:
        """Return the file of its record."""
        return record_file(out, self.preset, self.seed, self.experiment.slug, self.part)

    def finished(self, out: Path) -> Record | None:
        """Return its record, where one with these settings is there, without a failure and students lost by accident.

        Verdicts of another commit are drawn again, from the students that are kept.

        Raises:
            InputError: a file there that is no record, of another schema, or changed after it was written.
        """
        file = self.file(out)
        if not file.exists():
            return None
        record = read_record(file)
        mine = settings_identity(self.experiment.slug, self.part, self.table, self.seed)
        same = record.content.identity == mine and record.made.commit == _commit()
        return record if same and not accidents(record) else None


def jobs_of(slugs: Sequence[str], preset: str, parts: Sequence[str] = (), seed: int = 0) -> list[Job]:
    """Return what is asked for, in the order in which it runs: planted truths of all, then students, then teachers.

    Args:
        slugs: Names of statements; all that are measured if empty.
        preset: Of the settings.
        parts: Names of parts; all that the preset has if empty.
        seed: Of everything that is drawn.

    Raises:
        InputError: an unknown statement, preset or part, a statement that the audit alone decides, a seed below 0, or
            nothing to run.
    """
    positive_integer("seed", seed, allow_zero=True)
    for part in parts:
        one_of("part", part, PARTS)
    asked = [experiments.find_experiment(slug) for slug in slugs or experiments.SLUGS]
    by_slug = {experiment.slug: experiment for experiment in asked}
    settings = {slug: presets.check_settings(preset, slug) for slug in by_slug}
    for slug, experiment in by_slug.items():
        for part in settings[slug]:
            experiment.part(part)  # a table of the preset that is for no part
    jobs = [
        Job(by_slug[slug], part, own[part], preset, seed)
        for part in PARTS
        for slug, own in settings.items()
        if part in own and (not parts or part in parts)
    ]
    idle = [slug for slug in by_slug if slug not in {job.experiment.slug for job in jobs}]
    if not jobs or (slugs and idle):
        there = {slug: f"it has {', '.join(own)} of {slug}" for slug, own in settings.items() if own}
        missing = {slug: f"add [checks.{slug}.{PARTS[0]}] to validation/presets/{preset}.toml" for slug in idle}
        wanted = " or ".join(parts) or "part"
        raise InputError(
            f"the preset {preset} has no {wanted} of {', '.join(idle)}",
            "; ".join((missing | there)[slug] for slug in idle[:3]),
        )
    return jobs


def audit_job(preset: str, seed: int) -> Job:
    """Return the symbolic audit that goes with the records of a preset."""
    return Job(audit.AUDIT, audit.SYMBOLIC, audit.TABLE, preset, seed)


def weak_decisions(job: Job) -> dict[str, float]:
    """Return the decisions of a part whose planned power is too low, by name."""
    return {name: power for name, power in job.power().items() if not power >= LEAST_POWER}


def allowed(jobs: Sequence[Job], *, underpowered: bool = False) -> list[Job]:
    """Return the jobs, those of low power marked as such where that is allowed.

    Args:
        jobs: To run.
        underpowered: Let those with a planned power below 0.8 run too; ``underpowered = true`` in the settings of a
            part does the same for that one.

    Raises:
        InputError: a power below 0.8 that is not allowed.
    """
    marked = []
    for job in jobs:
        weak = weak_decisions(job)
        if weak and not (underpowered or job.settings.underpowered):
            name, power = min(weak.items(), key=lambda item: item[1])
            raise InputError(
                f"{job.name}: the planned power of {name} is {power:.2f}, below {LEAST_POWER}",
                "take more seeds or sizes, or add --underpowered to run it all the same",
            )
        marked.append(dataclasses.replace(job, table={**job.table, "underpowered": True}) if weak else job)
    return marked


def check_out(out: Path, preset: str, seed: int) -> None:
    """Make the folder of the records, before any work is done.

    Raises:
        InputError: it cannot be made or written.
    """
    folder = folder_of(out, preset, seed)
    make_folder(folder)
    if not os.access(folder, os.W_OK):
        raise InputError(f"cannot write to {folder}: no permission", "give another folder with --out")


@dataclass(frozen=True)
class Session:
    """How jobs are run.

    Attributes:
        out: Folder of the records.
        store: Of the students of all experiments.
        execute: Where they are trained.
        device: A torch device; a GPU where there is one if None.
        progress: Shows how far a part is.
        debug: Let errors of a part through in place of keeping them as its failure.
    """

    out: Path
    store: Store
    execute: Executor
    device: str | None = None
    progress: Progress = lambda what, done, count: None
    debug: bool = False

    def run(self, job: Job) -> Record:
        """Run one part and write its record; where it raises, the record says why."""
        started = time.perf_counter()
        described = job.experiment.slug, job.part, job.preset, job.seed, job.table

        def keep(result: PartResult | None, failure: str = "", trace: str = "") -> Record:
            content = content_of(*described, result, failure, trace)
            return write_record(job.file(self.out), content, _made(time.perf_counter() - started, self.device))

        try:
            return keep(job.work.run(Context(job.settings, job.seed, self._train(job), self.device, self.progress)))
        except Exception as error:  # of the part, or of a result that no record can hold: nothing was written then
            if self.debug:
                raise
            failure = Failure.of(error)
            return keep(None, failure.reason, failure.trace)

    def _train(self, job: Job) -> Callable[[Sequence[StudentConfig]], list[TrainedStudent]]:
        def train(students: Sequence[StudentConfig]) -> list[TrainedStudent]:
            return train_students(
                students,
                self.store,
                self.execute,
                preset=job.preset,
                batch_students=job.settings.batch_students,
                device=self.device,
                progress=lambda done, count: self.progress("students", done, count),
            )

        return train


def _commit() -> str:
    return provenance.commit("theorykit", "validation")


def _made(seconds: float, device: str | None) -> Made:
    return Made(
        command=provenance.command_line(),
        commit=_commit(),
        time=datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
        seconds=round(seconds, 3),
        device=str(torch_device(device)),
        machine=provenance.machine(),
        environment=provenance.environment(),
    )


def accidents(record: Record) -> list[str]:
    """Return why a record is not whole: the part failed, or students ended for another reason than divergence."""
    sentences = [f"{record.name} failed: {record.failure}"] if record.failure else []
    reasons = [student.failure for student in record.lost if student.by_accident]
    if reasons:
        sentences.append(f"{record.name}: {len(reasons)} of {len(record.students)} students ended: {reasons[0]}")
    return sentences


def contradictions(record: Record) -> list[str]:
    """Return what must not be: wrong planted controls, and corrected forms that a measurement contradicts.

    Corrected claims and rates are no theorems on students: a gain of another experiment, exponents of which only one
    can be right. That a measurement does not meet them is a finding, and contradicts nothing that was proved.
    """
    wrong = [f"{record.slug} planted control came out {_words(finding)}: {finding.what}" for finding in record.wrong]
    contradicted = [
        f"{record.name} contradicts the corrected {finding.equation}: {finding.what}"
        for finding in record.findings
        if finding.form is Form.CORRECTED and not finding.outcome and finding.verdict.instance is Instance.VIOLATED
        if _is_theorem(finding.equation)
    ]
    return [*wrong, *contradicted, *(f"audit: {sentence}" for sentence in audit.audited(record).broken)]


def _is_theorem(key: str) -> bool:
    equation = find_statement(key)[1]
    return equation is not None and equation.kind not in (Kind.CLAIM, Kind.RATE)


def open_ends(record: Record) -> list[str]:
    """Return the findings that decide nothing, or decide what says nothing."""
    words = {Instance.INCONCLUSIVE, Instance.NOT_APPLICABLE, Exponent.INDISTINGUISHABLE, Value.VACUOUS}
    return [
        f"{record.name} {finding.equation}: {_words(finding)}: {finding.what}"
        for finding in record.findings
        if (finding.outcome is Outcome.UNDECIDED if finding.outcome else words & set(finding.words))
    ]


def _words(finding: Finding) -> str:
    return ", ".join(finding.words)


def exit_code(records: Sequence[Record], *, strict: bool = False) -> int:
    """Return how a run ends: 1 where it is not whole, 3 where something is contradicted, 4 where strict and open."""
    if any(accidents(record) for record in records):
        return INCOMPLETE
    if any(contradictions(record) for record in records):
        return CONTRADICTED
    return OPEN if strict and any(open_ends(record) for record in records) else 0
