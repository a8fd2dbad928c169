"""``python -m validation run``: the experiments, and what they say of the paper's statements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from theorykit.cli.options import Debug, Quiet, Seed
from theorykit.cli.output import ProgressBar, duration, progress, warn
from validation.commands.options import (
    LOCAL,
    STUDENTS,
    WORK,
    Address,
    Device,
    MaxHours,
    Parts,
    Place,
    Preset,
    Records,
    Slugs,
    Underpowered,
    alone,
    chosen_executor,
)

if TYPE_CHECKING:
    from validation.claims.record import Record
    from validation.reports.run import Job
    from validation.training.config import BatchConfig
    from validation.training.failures import Failure
    from validation.training.loop import StepRecord
    from validation.training.sweep import Executor, Task, Work


def run(
    slugs: Slugs = None,
    size: Preset = "smoke",
    part: Parts = None,
    seed: Seed = 0,
    executor: Place = LOCAL,
    address: Address = None,
    workers: Annotated[int | None, typer.Option(help="Batches of students at once. [default: 1]")] = None,
    device: Device = None,
    out: Records = WORK,
    again: Annotated[bool, typer.Option("--again", help="Run parts that have a record; students are kept.")] = False,
    max_hours: MaxHours = None,
    underpowered: Underpowered = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 4 where a finding is undecided, inconclusive or vacuous.")
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Hold trained students against the statements of the paper; the same command goes on where it was stopped.

    Exit code 1 where a part failed or students ended by accident, 3 where a planted control came out wrong or a
    measurement contradicts a corrected form.
    """
    from validation.reports.run import Session, allowed, audit_job, check_out, exit_code, jobs_of
    from validation.training.store import Store

    jobs = [audit_job(size, seed), *allowed(jobs_of(slugs or [], size, part or [], seed), underpowered=underpowered)]
    execute = chosen_executor(executor, address, workers, device)
    check_out(out, size, seed)
    store = Store(STUDENTS)
    _check(jobs, out, store, device if executor == LOCAL else None, again, max_hours)
    _tell_power(jobs, quiet=quiet)
    records = []
    with progress(quiet=quiet, elapsed=True) as experiments:
        inside = _Training(experiments.below())
        watched = inside.watch(execute) if alone(executor, workers) else execute
        session = Session(out, store, watched, device, inside, debug)
        for number, job in enumerate(jobs):
            experiments(job.name, number, len(jobs))
            kept = None if again else job.finished(out)
            records.append(kept or session.run(job))
            typer.echo(_line(records[-1], repeated=kept is None))
    _report(records, strict=strict, quiet=quiet)
    place = "" if out == WORK else f" --out {out}"
    show = f"python -m validation show --preset {records[0].content.preset}{place}"
    typer.echo(f"records in {records[0].file.parent}; {show} has the verdicts")
    code = exit_code(records, strict=strict)
    if code:
        raise typer.Exit(code)


def _check(
    jobs: Sequence[Job], out: Path, store: Any, device: str | None, again: bool, max_hours: float | None
) -> None:
    """Refuse what cannot be done before anything is done."""
    from validation.reports.cost import check_sources
    from validation.reports.planning import planned, refuse_above

    left = [job for job in jobs if again or job.finished(out) is None]
    check_sources(student for job in left for student in job.students())
    if max_hours is not None:
        refuse_above(planned(jobs, out, store, device=device, again=again), max_hours)


def _tell_power(jobs: Sequence[Job], *, quiet: bool) -> None:
    from validation.reports.run import weak_decisions

    for job in jobs:
        weak = ", ".join(f"{decision} {power:.2f}" for decision, power in weak_decisions(job).items())
        warn([f"{job.name} is underpowered, as allowed: {weak}"] if weak else [], quiet=quiet)


class _Training:
    """Shows what happens inside an experiment; steps of a batch beside how many of its students are done."""

    def __init__(self, bar: ProgressBar) -> None:
        self._bar, self._done = bar, ""

    def __call__(self, what: str, done: int, count: int) -> None:
        self._done = f", {done} of {count} done before" if what == "students" else ""
        self._bar(what, done, count)

    def _live(self, config: BatchConfig) -> Callable[[StepRecord], None]:
        what = f"training {config.count} student{'s' if config.count > 1 else ''}{self._done}"
        return lambda record: self._bar(what, record.step + 1, config.shared.steps)

    def watch(self, execute: Executor) -> Executor:
        """Return an executor of this process whose batches show their steps."""

        def watched(work: Work, tasks: Sequence[Task]) -> Iterator[tuple[Task, Failure | None]]:
            yield from execute(replace(work, live=self._live), tasks)  # type: ignore[type-var]

        return watched


def _line(record: Record, *, repeated: bool) -> str:
    """Return what a part came to."""
    from validation.reports.audit import audited

    took = duration(record.made.seconds) if repeated else "kept"
    if record.failure:
        return f"{record.name}: failed ({took})"
    if not record.findings:
        count = len(audited(record).rows)
        return f"{record.name}: {f'{count} equations and claims' if count else 'no findings'} ({took})"
    outcomes = Counter(finding.outcome for finding in record.findings if finding.outcome)
    words = Counter(finding.verdict.instance for finding in record.findings if not finding.outcome)
    counts = [f"{count} {word}" for word, count in (*outcomes.most_common(), *words.most_common())]
    lost = f"; {len(record.lost)} of {len(record.students)} students lost" if record.lost else ""
    findings = f"{len(record.findings)} finding{'s' if len(record.findings) > 1 else ''}"
    return f"{record.name}: {findings}: {', '.join(counts)}{lost} ({took})"


def _report(records: Sequence[Record], *, strict: bool, quiet: bool) -> None:
    from validation.reports.run import accidents, contradictions, open_ends

    kinds = (accidents, contradictions, open_ends) if strict else (accidents, contradictions)
    warn([line for kind in kinds for record in records for line in kind(record)], quiet=quiet)
