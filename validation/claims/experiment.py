"""What an experiment is: parts that go from planted truth to a real teacher, each with its settings, cost and power."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic

import numpy as np

from theorykit.arguments import Progress
from theorykit.errors import InputError
from validation.claims.finding import Finding, refuse_repeated_questions
from validation.claims.settings import PartSettings, S, read_settings
from validation.training.config import StudentConfig

if TYPE_CHECKING:  # who reads records trains nothing, and loads no torch
    from validation.claims.trained import TrainedStudent

PLANTED, STUDENTS, TEACHER = "planted", "students", "teacher"
PARTS = (PLANTED, STUDENTS, TEACHER)
"""In the order in which they run: known truth, small students of a teacher from scratch, a real teacher."""

Train = Callable[[Sequence[StudentConfig]], "list[TrainedStudent]"]


@dataclass(frozen=True)
class Context(Generic[S]):
    """What a part of an experiment gets.

    Attributes:
        settings: Of the part, from the preset.
        seed: Of everything that is drawn; a part on students adds it to the seeds of its students.
        train: Trains students that have no record yet and returns all of them, failed ones included.
        device: A torch device; a GPU where there is one if None.
        progress: Shows how far it is.
    """

    settings: S
    seed: int
    train: Train
    device: str | None = None
    progress: Progress = lambda what, done, count: None

    def generator(self, *names: str | int) -> np.random.Generator:
        """Return a generator of its own for each purpose: another name, other draws; the same name, the same."""
        digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
        return np.random.default_rng([self.seed, int.from_bytes(digest[:8], "little")])


@dataclass(frozen=True)
class PartResult:
    """What a part of an experiment leaves.

    Attributes:
        findings: One for each form and configuration that was judged; no two answer the same question.
        data: Numbers that figures are drawn from: the part's ``data`` type, or plain values.
        students: What was trained for it.
    """

    findings: tuple[Finding, ...]
    data: Any = field(default_factory=dict)
    students: tuple[TrainedStudent, ...] = ()

    def __post_init__(self) -> None:
        """Refuse two findings of one question: what reads a record could not tell them apart."""
        refuse_repeated_questions(self.findings)


@dataclass(frozen=True)
class Part(Generic[S]):
    """One part of an experiment.

    Attributes:
        run: Makes the result.
        students: The students that it will train, from settings and seed: known before it runs.
        power: By name, the planned power of each of its decisions.
        seconds: What it takes beside training students, on two cores, from its settings.
        settings: Type of its settings.
        data: Type of the data that it leaves; a record is held against it before a figure is drawn from it.
    """

    run: Callable[[Context[S]], PartResult]
    students: Callable[[S, int], list[StudentConfig]] = lambda settings, seed: []
    power: Callable[[S], dict[str, float]] = lambda settings: {}
    seconds: Callable[[S], float] = lambda settings: 1.0
    settings: type[S] = PartSettings  # type: ignore[assignment]
    data: type[Any] = dict

    def read(self, table: Mapping[str, Any]) -> S:
        """Return the settings of the part from a table; see :func:`validation.claims.settings.read_settings`."""
        return read_settings(self.settings, table)


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
    parts: Mapping[str, Part[Any]]
    bounds: tuple[str, ...] = ()

    def part(self, name: str) -> Part[Any]:
        """Return a part.

        Raises:
            InputError: it has no such part.
        """
        if name not in self.parts:
            raise InputError(f"{self.slug} has no part {name!r}", f"choose from {', '.join(self.parts)}")
        return self.parts[name]
