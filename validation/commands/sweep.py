"""``python -m validation sweep``: all students of a plan, on this machine or on a cluster."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from theorykit.arguments import positive_integer
from theorykit.cli.options import Debug
from theorykit.cli.output import warn
from validation.commands.execution import alone, check_executor, chosen_executor
from validation.commands.train import live_line
from validation.plans import Plan, read_plan
from validation.training.config import PER_STUDENT

if TYPE_CHECKING:
    from validation.training.store import Store


def sweep(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="TOML or JSON with [base], [grid], [[runs]].")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where runs and records are kept.")],
    workers: Annotated[
        int | None, typer.Option(help="Batches at once; 1 on this machine, one on each GPU or node of a cluster.")
    ] = None,
    executor: Annotated[str, typer.Option(help="local, or ray.")] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster that runs: HOST:PORT or auto; else one is started here.")
    ] = None,
    batch_students: Annotated[int | None, typer.Option(help="Students in a batch, in place of the plan's.")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Run again what has failed.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …; a GPU where there is one.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the batches and train nothing.")] = False,
    debug: Debug = False,
) -> None:
    """Train every student of a plan that has no record yet; the same command goes on where it was stopped."""
    asked = read_plan(plan)
    if batch_students is not None:
        asked = replace(asked, batch_students=positive_integer("batch_students", batch_students))
    check_executor(executor, address)
    from validation.training.store import Store

    store = Store(out)
    if dry_run:
        _list(asked, store)
        return
    from validation.training.sweep import run_sweep

    execute = chosen_executor(executor, address, workers, device)
    live = live_line if alone(executor, workers) else None
    records = run_sweep(asked, store, execute, device=device, retry=retry, live=live, progress=_show)
    _report(records, store)


def _show(done: int, count: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{done} of {count} students\n")


def _report(records: list[dict[str, Any]], store: Store) -> None:
    failed = [record for record in records if record["failure"]]
    warn(tuple(f"student {record['identity']} failed: {record['failure']}" for record in failed), quiet=False)
    count = f"{len(records)} students: {len(records) - len(failed)} done, {len(failed)} failed"
    typer.echo(f"{count}; records in {store.path / 'records'}")
    if failed:
        raise typer.Exit(1)


def _list(plan: Plan, store: Store) -> None:
    """Write what is done and what would be trained, a line for each student."""
    batches = store.assign(plan.students, plan.batch_students, keep=False)
    place = {student.identity: batch.identity for batch in batches for student in batch.students}
    fields = [config.to_dict() for config in plan.students]
    varied = [name for name in fields[0] if any(values[name] != fields[0][name] for values in fields)]
    for student, values in zip(plan.students, fields, strict=True):
        record = store.record(student.identity)
        state = f"batch {place[student.identity]}" if record is None else "failed" if record["failure"] else "done"
        shown = " ".join(f"{name}={_plain(name, values[name])}" for name in varied)
        typer.echo(f"{student.identity}  {state}  {shown}".rstrip())
    left = len(store.unfinished(plan.students))
    typer.echo(f"{len(plan.students)} students: {left} to train in {len(batches)} batches")


def _plain(name: str, value: Any) -> Any:
    return value[0] if name in PER_STUDENT else value
