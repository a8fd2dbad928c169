"""What sweeps leave behind: one record for each student, found by the identity of its configuration.

::

    OUT/batches.json               which students are trained together; settled before the first of them starts
    OUT/runs/<batch>/              a run folder, and sessions.jsonl: at which step each session began and ended
    OUT/runs/<batch>.lock          held by the process that trains the batch; the kernel frees it when that one is gone
    OUT/records/<student>.json     written when the student is done or has failed
"""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from theorykit.errors import InputError
from theorykit.results import to_json, write_whole
from validation.training.config import PER_STUDENT, BatchConfig, StudentConfig

_ONE_SHAPE = ("narrow", "square")
"""Students whose rank is their width, which one batch has in common."""


class Store:
    """The folder of one or many sweeps.

    Args:
        path: Made by the first writing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def run_folder(self, batch: str) -> Path:
        """Return the run folder of a batch by its identity."""
        return self.path / "runs" / batch

    def _record_file(self, student: str) -> Path:
        return self.path / "records" / f"{student}.json"

    def write(self, record: dict[str, Any]) -> None:
        """Keep the record of a student, in place of one that is there."""
        self._make("records")
        write_whole(self._record_file(record["identity"]), to_json(record))

    def record(self, student: str) -> dict[str, Any] | None:
        """Return the record of a student, or None.

        Raises:
            InputError: a file that is no record.
        """
        file = self._record_file(student)
        return _read(file) if file.exists() else None

    def records(self, **fields: Any) -> list[dict[str, Any]]:
        """Return all records whose configuration has these values, as ``method="kd", rank=64``."""
        records = [_read(file) for file in sorted((self.path / "records").glob("*.json"))]
        return [record for record in records if all(_value(record, name) == value for name, value in fields.items())]

    def to_frame(self, **fields: Any) -> pd.DataFrame:
        """Return records as a table: a row for each student, with its configuration and what was measured."""
        rows = []
        for record in self.records(**fields):
            config = {name: _value(record, name) for name in record["config"]}
            rows.append(
                {"identity": record["identity"]} | config | {"failure": record["failure"]} | (record["result"] or {})
            )
        return pd.DataFrame(rows)

    def metrics(self, student: str) -> list[dict[str, Any]]:
        """Return what was measured at each step of a student that has a record.

        Raises:
            InputError: there is no such record, or its run took no step.
        """
        record = self.record(student)
        file = self.run_folder(record["batch"]) / "metrics.jsonl" if record else None
        if record is None or file is None or not file.exists():
            raise InputError(f"no metrics of student {student} in {self.path}", "sweep it first")
        steps = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        return [_picked(step, record["place"]) for step in steps]

    def batches(self) -> dict[str, BatchConfig]:
        """Return the batches that students have been put into, by identity, in the order in which they run."""
        file = self.path / "batches.json"
        if not file.exists():
            return {}
        configs = [BatchConfig.from_dict(values) for values in _read(file)["batches"]]
        return {config.identity: config for config in configs}

    def _keep_batches(self, batches: Iterable[BatchConfig]) -> None:
        write_whole(self.path / "batches.json", to_json({"batches": [config.to_dict() for config in batches]}))

    def unfinished(self, students: Sequence[StudentConfig]) -> list[StudentConfig]:
        """Return the students that have no record."""
        return [student for student in students if not self._record_file(student.identity).exists()]

    def assign(self, students: Sequence[StudentConfig], size: int, *, keep: bool = True) -> list[BatchConfig]:
        """Return the batches that the unfinished students belong to; students of no batch get new ones.

        Args:
            students: Configurations of one student each.
            size: Students in a new batch, at most.
            keep: Write new batches down, so that the students stay together whatever is asked for later.
        """
        with self._locked() if keep else contextlib.nullcontext():
            known = self.batches()
            place = {student.identity: batch for batch, config in known.items() for student in config.students}
            left = self.unfinished(students)
            new = group([student for student in left if student.identity not in place], size)
            if new and keep:
                self._keep_batches([*known.values(), *new])
        wanted = {place[student.identity] for student in left if student.identity in place}
        return [config for batch, config in known.items() if batch in wanted] + new

    def split(self, config: BatchConfig) -> None:
        """Put two halves in the place of a batch."""
        students = config.students
        middle = len(students) // 2
        with self._locked():
            halves = [BatchConfig(part) for part in (students[:middle], students[middle:])]
            kept = [halves if batch == config.identity else [other] for batch, other in self.batches().items()]
            self._keep_batches(itertools.chain.from_iterable(kept))
            shutil.rmtree(self.run_folder(config.identity), ignore_errors=True)

    def forget_failures(self, students: Sequence[StudentConfig]) -> None:
        """Make failed students unfinished again; a run that had not ended goes on from its last checkpoint."""
        records = [self.record(student.identity) for student in students]
        failed = {record["identity"] for record in records if record is not None and record["failure"]}
        for batch, config in self.batches().items():
            members = {student.identity for student in config.students}
            with self.claim(batch) if members & failed else contextlib.nullcontext(False) as mine:
                if mine:
                    self._forget(batch, members, failed)

    def _forget(self, batch: str, members: set[str], failed: set[str]) -> None:
        """Take a batch apart: records first: a kill in between leaves a batch that is run or retried again."""
        for student in members & failed:
            self._record_file(student).unlink(missing_ok=True)
        if members <= failed and (self.run_folder(batch) / "result.json").exists():
            shutil.rmtree(self.run_folder(batch))
        with self._locked():
            self._keep_batches(kept for name, kept in self.batches().items() if name != batch)

    def claim(self, batch: str, *, wait: bool = False) -> AbstractContextManager[bool]:
        """Hold a batch, so that no other process trains it; give False where another one does and ``wait`` is off."""
        self._make("runs")
        return _held(self.path / "runs" / f"{batch}.lock", -1 if wait else 0)

    def _locked(self) -> AbstractContextManager[bool]:
        """Hold the list of batches."""
        self._make("")
        return _held(self.path / "batches.lock", -1)

    def _make(self, name: str) -> None:
        try:
            (self.path / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the folder {self.path / name}: {error.strerror}", "give another") from error


@contextlib.contextmanager
def _held(file: Path, timeout: float) -> Iterator[bool]:
    """Hold a lock, and give whether that could be had in time."""
    lock = FileLock(file)
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        yield False
        return
    except OSError as error:
        raise InputError(f"cannot lock {file}: {error.strerror}", "give a folder that can be written") from error
    try:
        yield True
    finally:
        lock.release()


def group(students: Sequence[StudentConfig], size: int) -> list[BatchConfig]:
    """Return batches of students that one program can train: they differ only in what one batch may differ in.

    All batches of a kind but the last one are full: leaving out whole batches does not change the others.
    """
    kinds: dict[str, list[StudentConfig]] = {}
    for student in students:
        free = {name for name in PER_STUDENT if name != "rank" or student.student not in _ONE_SHAPE}
        fixed = {name: value for name, value in student.to_dict().items() if name not in free}
        kinds.setdefault(json.dumps(fixed, sort_keys=True), []).append(student)
    return [
        BatchConfig(tuple(kind[start : start + size])) for kind in kinds.values() for start in range(0, len(kind), size)
    ]


def _value(record: dict[str, Any], name: str) -> Any:
    """Return a field of a configuration, alone where a batch would hold one for each student."""
    value = record["config"].get(name)
    return value[0] if name in PER_STUDENT and isinstance(value, list) else value


def _picked(step: Any, place: int) -> Any:
    """Return one student's values of a step: lists hold one for each student."""
    if isinstance(step, dict):
        return {name: _picked(value, place) for name, value in step.items()}
    return (step[place] if step else None) if isinstance(step, list) else step


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}", "let it be read") from error
    except ValueError:
        pass
    raise InputError(f"{file} is no JSON object", "remove it; what it held is made again")
