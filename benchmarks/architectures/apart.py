"""Judging each family in a process of its own, so that a crash, or a family that never ends, is a row of the table."""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import peft  # noqa: F401 - imported once, before the processes part
import torch
import transformers

from .families import Family, all_families
from .judge import CRASH, NONE, Cell, Row, judge

SECONDS = 240
"""For one family; tiny models need some five."""


def judge_apart(families: list[Family], workers: int) -> list[Row]:
    """Judge each family in a process that is forked from this one, some at a time; in the order given."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:  # tables that transformers makes once are inherited
        judge(next(family for family in all_families() if family.name == "llama"), Path(scratch))
    context = multiprocessing.get_context("fork")
    rows: dict[str, Row] = {}
    waiting, running = list(families), {}
    with tempfile.TemporaryDirectory() as scratch:
        while waiting or running:
            while waiting and len(running) < workers:
                family = waiting.pop(0)
                receive, send = context.Pipe(duplex=False)
                process = context.Process(target=_judge, args=(family, scratch, send))
                process.start()
                send.close()
                running[family.name] = (family, process, receive, time.monotonic())
            for name, (family, process, receive, started) in list(running.items()):
                row = _answer(family, process, receive, started)
                if row is not None:
                    process.join()
                    rows[name] = row
                    del running[name]
                    _report(row, len(rows), len(families))
    return [rows[family.name] for family in families]


def _judge(family: Family, scratch: str, answers: Any) -> None:
    started = time.monotonic()
    row = judge(family, Path(scratch))
    row.seconds = round(time.monotonic() - started, 1)
    answers.send(row)


def _answer(family: Family, process: Any, receive: Any, started: float) -> Row | None:
    """Return the row of a process that is done or lost, None while it runs."""
    if receive.poll(0.02):
        try:
            row: Row = receive.recv()
        except EOFError:
            process.join()
            return _lost(family, f"the process ended with {process.exitcode}")
        return row
    if time.monotonic() - started > SECONDS:
        process.kill()
        return _lost(family, f"not done after {SECONDS} s")
    return None


def _lost(family: Family, reason: str) -> Row:
    return Row(family.name, family.group, cells={"calibration": Cell(CRASH, reason)})


def _report(row: Row, done: int, count: int) -> None:
    cells = "  ".join(f"{column} {cell.status}" for column, cell in row.cells.items() if cell.status != NONE)
    print(f"{done}/{count} {row.name}: {row.unbuilt or cells} ({row.seconds:.0f} s)", file=sys.stderr, flush=True)


def show(row: Row) -> None:
    """Print all that is known of one model."""
    print(f"{row.name} ({row.group}) {row.unbuilt}")
    for column, cell in row.cells.items():
        print(f"  {column}: {cell.status} {cell.note}")
        for line in cell.details:
            print(f"      {line}")
    if row.error is not None:
        print(f"  largest relative error of a moment: {row.error:.1e}")
