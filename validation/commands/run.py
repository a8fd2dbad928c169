"""``python -m validation run``: the experiments, and what they say of the paper's statements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from theorykit.cli.options import Debug, Quiet
from theorykit.cli.output import Progress, warn
from validation.commands.bars import bars
from validation.commands.execution import LOCAL, alone, chosen_executor
from validation.commands.selection import (
    STUDENTS,
    WORK,
    Device,
    MaxHours,
    Parts,
    Preset,
    Seed,
    Slugs,
    Underpowered,
    duration,
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
    executor: Annotated[str, typer.Option(help="Where students are trained: local, or ray.")] = LOCAL,
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster that runs: HOST:PORT or auto; else one is started here.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Batches of students at once. [default: 1]")] = None,
    device: Device = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where records are kept.")] = WORK,
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
    with bars(quiet=quiet) as (experiments, bar):
        inside = _Training(bar)
        watched = inside.watch(execute) if alone(executor, workers) else execute
        session = Session(out, store, watched, device, inside, debug)
        for number, job in enumerate(jobs):
            experiments(job.name, number, len(jobs))
            kept = None if again else job.finished(out)
            records.append(kept or session.run(job))
            typer.echo(_line(records[-1], repeated=kept is None))
    _report(records, strict=strict, quiet=quiet)
    place = "" if out == WORK else f" --out {out}"
    show = f"python -m validation show --preset {records[0].content['preset']}{place}"
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

    found = [(job.name, weak) for job in jobs if (weak := weak_decisions(job))]
    warn(
        tuple(
            f"{name} is underpowered, as allowed: {', '.join(f'{what} {power:.2f}' for what, power in weak.items())}"
            for name, weak in found
        ),
        quiet=quiet,
    )


class _Training:
    """Shows what happens inside an experiment; steps of a batch beside how many of its students are done."""

    def __init__(self, bar: Progress) -> None:
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
    name = f"{record.check} {record.part}"
    took = duration(float(record.made["seconds"])) if repeated else "kept"
    if record.failure:
        return f"{name}: failed ({took})"
    if not record.findings:
        rows = record.content["data"].get("rows", ())
        return f"{name}: {f'{len(rows)} equations and claims' if rows else 'no findings'} ({took})"
    outcomes = Counter(one["outcome"] for one in record.findings if one["outcome"])
    words = Counter(one["verdict"]["instance"] for one in record.findings if not one["outcome"])
    told = [f"{count} {word}" for word, count in (*outcomes.most_common(), *words.most_common())]
    lost = f"; {len(record.lost)} of {len(record.content['students'])} students lost" if record.lost else ""
    count = f"{len(record.findings)} finding{'s' if len(record.findings) > 1 else ''}"
    return f"{name}: {count}: {', '.join(told)}{lost} ({took})"


def _report(records: Sequence[Record], *, strict: bool, quiet: bool) -> None:
    from validation.reports.run import accidents, contradictions, open_ends

    told = [line for kind in (accidents, contradictions) for record in records for line in kind(record)]
    if strict:
        told += [line for record in records for line in open_ends(record)]
    warn(tuple(told), quiet=quiet)
