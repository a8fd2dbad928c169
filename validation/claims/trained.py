"""Trained students as experiments read them: configuration, losses, what was measured at each step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from theorykit.arguments import Floats
from validation.measure import LayerStates, load_states
from validation.measure.log import read_measurements
from validation.plans import Plan
from validation.training.config import StudentConfig
from validation.training.failures import Failure, FailureKind, by_accident, failure_in
from validation.training.store import Store
from validation.training.sweep import Executor, run_sweep


@dataclass(frozen=True, eq=False)
class LossCurve:
    """One term of a student's measured loss; empty where it failed or nothing was measured.

    Attributes:
        steps: Updates before each measurement, increasing.
        values: Nats per token, or what the term's unit is.
    """

    steps: Floats
    values: Floats

    @property
    def start(self) -> float:
        """Return the first value, NaN where there is none."""
        return float(self.values[0]) if self.values.size else math.nan

    @property
    def end(self) -> float:
        """Return the last value, NaN where there is none."""
        return float(self.values[-1]) if self.values.size else math.nan

    @property
    def least(self) -> float:
        """Return the smallest value, NaN where there is none."""
        return float(self.values.min()) if self.values.size else math.nan


@dataclass(frozen=True)
class TrainedStudent:
    """One student that has a record.

    Attributes:
        config: Of the student alone.
        failure: Why it did not end, or nothing.
        failure_kind: What that says of it; None where it ended.
        result: Held-out losses before and after, parameter counts; empty where it failed.
        measurements: ``step`` and, by the name of the measurement, this student's value.
        place: Its number in its batch.
        folder: Of the batch.
    """

    config: StudentConfig
    failure: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    measurements: tuple[dict[str, Any], ...] = ()
    place: int = 0
    folder: Path = Path()
    failure_kind: FailureKind | None = None

    @property
    def identity(self) -> str:
        """Return the name of its record."""
        return self.config.identity

    @property
    def seed(self) -> int:
        """Return its seed."""
        return self.config.seed

    @property
    def rank(self) -> int:
        """Return its rank."""
        return self.config.rank

    @property
    def held_out(self) -> float:
        """Return the held-out loss at the end, nats per token; NaN where it failed."""
        value = self.result.get("held_out")
        return float("nan") if value is None else float(value)

    def series(self, name: str) -> list[tuple[int, Any]]:
        """Return the steps at which something was measured, and what was."""
        return [(row["step"], row[name]) for row in self.measurements if row.get(name) is not None]

    def last(self, name: str) -> Any:
        """Return what was measured last, or None."""
        series = self.series(name)
        return series[-1][1] if series else None

    def loss_curve(self, part: str, term: str) -> LossCurve:
        """Return one term of the loss over the steps.

        Args:
            part: ``train``, ``held_out`` or ``gap``.
            term: As ``total`` or ``language_model``: of :func:`validation.measure.loss_terms`.
        """
        rows = [] if self.failure else self.series("loss_terms")
        return LossCurve(
            np.array([step for step, _ in rows], dtype=np.float64),
            np.array([terms[part][term] for _, terms in rows], dtype=np.float64),
        )

    def states(self, step: int) -> dict[int, LayerStates]:
        """Return its hidden states and the teacher's at a step, by layer.

        Raises:
            InputError: none were kept.
        """
        return load_states(self.folder / "states" / str(step), self.place)


def train_students(
    students: Sequence[StudentConfig],
    store: Store,
    execute: Executor,
    *,
    preset: str,
    batch_students: int,
    device: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[TrainedStudent]:
    """Train the students that have no record and return all, in the order asked for; failed ones say why.

    Those that ended by accident, as with their process, are trained again; those that diverged would do so again.

    Args:
        students: The same one may be asked for by several experiments and is trained once.
        store: Where they are kept.
        execute: Where they are trained.
        preset: Told in their records.
        batch_students: Most students in one program.
        device: A torch device; a GPU where there is one if None.
        progress: Called with the numbers of students that are done and of all.

    Raises:
        InputError: a store that cannot be written.
    """
    distinct = {student.identity: student for student in students}
    plan = Plan(tuple(distinct.values()), dict.fromkeys(distinct, preset), batch_students)
    records = ((student, store.record(student.identity)) for student in plan.students)
    store.forget_failures([student for student, record in records if record is not None and by_accident(record)])
    run_sweep(plan, store, execute, device=device, progress=progress)
    measured: dict[str, list[dict[str, Any]]] = {}
    trained = {name: _student(store, config, measured) for name, config in distinct.items()}
    return [trained[student.identity] for student in students]


def _student(store: Store, config: StudentConfig, measured: dict[str, list[dict[str, Any]]]) -> TrainedStudent:
    record = store.record(config.identity)
    if record is None:
        return TrainedStudent(config, failure="it left no record", failure_kind=FailureKind.ACCIDENT)
    folder, place = store.run_folder(record["batch"]), int(record["place"])
    if record["batch"] not in measured:
        measured[record["batch"]] = read_measurements(folder)
    rows = tuple(
        {name: value if name == "step" else value[place] for name, value in row.items()}
        for row in measured[record["batch"]]
    )
    failure = failure_in(record)
    if config.measurements and not rows and failure is None:
        gone = f"its measurements are gone from the store: remove records/{config.identity}.json there"
        failure = Failure(FailureKind.ACCIDENT, gone)
    reason, kind = ("", None) if failure is None else (failure.reason, failure.kind)
    return TrainedStudent(config, reason, record["result"] or {}, rows, place, folder, kind)
