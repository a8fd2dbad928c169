"""Trained students as experiments read them: configuration, losses, what was measured at each step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from validation.measure import LayerStates, load_states
from validation.measure.log import read_measurements
from validation.plans import Plan
from validation.training.config import StudentConfig
from validation.training.store import Store
from validation.training.sweep import Executor, run_sweep

_DIVERGED = ("not finite", "no step size")
"""In the reasons of students that training itself gave up: those are data, all others are accidents."""


@dataclass(frozen=True)
class TrainedStudent:
    """One student that has a record.

    Attributes:
        config: Of the student alone.
        failure: Why it did not end, or nothing.
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
        found = self.series(name)
        return found[-1][1] if found else None

    def states(self, step: int) -> dict[int, LayerStates]:
        """Return its hidden states and the teacher's at a step, by layer.

        Raises:
            InputError: none were kept.
        """
        return load_states(self.folder / "states" / str(step), self.place)


def is_accident(failure: str) -> bool:
    """Return whether a student ended for another reason than divergence: it may end well when trained again."""
    return bool(failure) and not any(word in failure for word in _DIVERGED)


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
    distinct = {one.identity: one for one in students}
    plan = Plan(tuple(distinct.values()), dict.fromkeys(distinct, preset), batch_students)
    store.forget_failures([one for one in plan.students if is_accident(_failure(store.record(one.identity)))])
    run_sweep(plan, store, execute, device=device, progress=progress)
    measured: dict[str, list[dict[str, Any]]] = {}
    found = {name: _student(store, config, measured) for name, config in distinct.items()}
    return [found[one.identity] for one in students]


def _student(store: Store, config: StudentConfig, measured: dict[str, list[dict[str, Any]]]) -> TrainedStudent:
    record = store.record(config.identity)
    if record is None:
        return TrainedStudent(config, failure="it left no record")
    folder, place = store.run_folder(record["batch"]), int(record["place"])
    if record["batch"] not in measured:
        measured[record["batch"]] = read_measurements(folder)
    rows = tuple(
        {name: value if name == "step" else value[place] for name, value in row.items()}
        for row in measured[record["batch"]]
    )
    failure = _failure(record)
    if config.measurements and not rows and not failure:
        failure = f"its measurements are gone from the store: remove records/{config.identity}.json there"
    return TrainedStudent(config, failure, record["result"] or {}, rows, place, folder)


def _failure(record: dict[str, Any] | None) -> str:
    return "" if record is None else str(record["failure"] or "")
