"""What an experiment is: parts that go from planted truth to a real teacher, each with its cost and its power."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from theorykit.errors import InputError
from validation.claims.finding import Finding

if TYPE_CHECKING:
    from validation.claims.trained import TrainedStudent
    from validation.training.config import StudentConfig

PLANTED, STUDENTS, TEACHER = "planted", "students", "teacher"
PARTS = (PLANTED, STUDENTS, TEACHER)
"""In the order in which they run: known truth, small students of a teacher from scratch, a real teacher."""

Settings = Mapping[str, Any]
Train = Callable[[Sequence["StudentConfig"]], list["TrainedStudent"]]


class Progress(Protocol):
    """Shows how far a part is."""

    def __call__(self, what: str, done: int, count: int) -> None:
        """Show that ``done`` of ``count`` steps of ``what`` are done."""


def _silent(what: str, done: int, count: int) -> None:
    del what, done, count


@dataclass(frozen=True)
class Context:
    """What a part of an experiment gets.

    Attributes:
        settings: Of the part, from the preset.
        seed: Of everything that is drawn; a part on students adds it to the seeds of its students.
        train: Trains students that have no record yet and returns all of them, failed ones included.
        device: A torch device; a GPU where there is one if None.
        progress: Shows how far it is.
    """

    settings: Settings
    seed: int
    train: Train
    device: str | None = None
    progress: Progress = _silent

    def generator(self, *names: str | int) -> np.random.Generator:
        """Return a generator of its own for each purpose: another name, other draws; the same name, the same."""
        digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
        return np.random.default_rng([self.seed, int.from_bytes(digest[:8], "little")])


@dataclass(frozen=True)
class PartResult:
    """What a part of an experiment leaves.

    Attributes:
        findings: One for each form and configuration that was judged.
        data: Numbers that figures are drawn from, as plain values or arrays.
        students: What was trained for it.
    """

    findings: tuple[Finding, ...]
    data: Mapping[str, Any] = field(default_factory=dict)
    students: tuple[TrainedStudent, ...] = ()


def _no_students(settings: Settings, seed: int) -> list[StudentConfig]:
    del settings, seed
    return []


def _no_power(settings: Settings) -> dict[str, float]:
    del settings
    return {}


@dataclass(frozen=True)
class Part:
    """One part of an experiment.

    Attributes:
        run: Makes the evidence.
        students: The students that it will train, from settings and seed: known before it runs.
        power: By name, the planned power of each of its decisions.
        seconds: What it takes beside training students, on two cores, from its settings.
    """

    run: Callable[[Context], PartResult]
    students: Callable[[Settings, int], list[StudentConfig]] = _no_students
    power: Callable[[Settings], dict[str, float]] = _no_power
    seconds: Callable[[Settings], float] = lambda settings: 1.0


@dataclass(frozen=True)
class Experiment:
    """One experiment: the parts that hold one statement against measurements.

    Attributes:
        slug: Of the statement in :data:`theorykit.statements.STATEMENTS`.
        title: What it is about, in one line.
        measures: What is measured, in one sentence.
        parts: By name.
        bounds: Names in ``theorykit`` of the bounds that its planted part notices: with any of them off by a factor of
            two, up or down, at least one of its planted findings comes out otherwise.
    """

    slug: str
    title: str
    measures: str
    parts: Mapping[str, Part]
    bounds: tuple[str, ...] = ()

    def part(self, name: str) -> Part:
        """Return a part.

        Raises:
            InputError: it has no such part.
        """
        if name not in self.parts:
            raise InputError(f"{self.slug} has no part {name!r}", f"choose from {', '.join(self.parts)}")
        return self.parts[name]
