"""Where the numbers of a figure come from: records that are in order, and a line of origin for each that was read."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

import theorykit as tk
from theorykit.arguments import one_of, positive_integer
from theorykit.errors import InputError
from theorykit.provenance import ROOT, short, shown
from validation.claims.record import Record, converted, read_record, record_file
from validation.presets import PRESETS

RESULTS = ROOT / "validation" / "results"
BENCHMARKS = ROOT / "benchmarks" / "results"
T = TypeVar("T")


@dataclass(frozen=True)
class BenchmarkRecord:
    """A record of ``benchmarks/``: what made it, and a result whose type the figure knows that is drawn from it."""

    name: str
    command: str
    commit: str
    result: Any


@dataclass(frozen=True)
class ComparisonRecord:
    """What made a comparison of students; its groups and students are in the type that the figure asks for."""

    command: str
    commit: str
    presets: tuple[str, ...]
    trained_at_commit: tuple[str, ...]


@dataclass
class Sources:
    """Reads records for one figure and remembers which.

    Attributes:
        results: Folder of the records of ``python -m validation``.
        preset: Of them.
        seed: Of them.
        benchmarks: Folder of the records of ``benchmarks/``.
        used: Origin of each file that was read: name, digest, commit, preset, command.
        notes: What a reader has to know of the records: students that were lost, a preset that says nothing.
        commits: That made the records, short.

    Raises:
        InputError: an unknown preset, or a seed below 0.
    """

    results: Path = RESULTS
    preset: str = "cpu"
    seed: int = 0
    benchmarks: Path = BENCHMARKS
    used: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    commits: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Check what names the folder of the records."""
        one_of("preset", self.preset, PRESETS)
        positive_integer("seed", self.seed, allow_zero=True)

    def origin(self) -> str:
        """Return in a few words what the figure is drawn from."""
        files = ", ".join(self.used)
        return f"From {files}" + (f" (commit {', '.join(self.commits)})." if self.commits else ".")

    def again(self, check: str, part: str) -> str:
        """Return the command that makes a record."""
        seed = f" --seed {self.seed}" if self.seed else ""
        return (
            f"python -m validation run {check} --part {part} --preset {self.preset}{seed} --out {shown(self.results)}"
        )

    def record(self, check: str, part: str) -> Record:
        """Return the record of one part of an experiment.

        Raises:
            InputError: no such record, edited, of another schema, preset, seed or part, or of a part that failed.
        """
        file, again = record_file(self.results, self.preset, self.seed, check, part), self.again(check, part)
        if not file.parent.is_dir():
            missing = f"{shown(file.parent)}, the folder of the records of preset {self.preset}, does not exist"
            raise InputError(missing, f"give --from the folder that holds {file.parent.name}/, or make them: {again}")
        if not file.is_file():
            raise InputError(f"there is no record {shown(file)}", again)
        try:
            record = read_record(file)
        except InputError as error:
            raise InputError(error.message.replace(str(file), shown(file)), f"{again} --again") from error
        content, made = record.content, record.made
        if (content.check, content.part, content.preset, content.seed) != (check, part, self.preset, self.seed):
            what = f"{record.name} of preset {content.preset}, seed {content.seed}"
            raise InputError(f"{shown(file)} holds {what}: it was put there by hand", f"remove it, then {again}")
        if record.failure:
            raise InputError(f"{check} {part} failed when it was recorded: {record.failure}", f"{again} --again")
        self._note(record)
        self._use(file, f"preset {self.preset}, seed {self.seed}, commit {made.commit}, {made.command}", made.commit)
        return record

    def data(self, check: str, part: str, kind: type[T]) -> T:
        """Return the numbers for figures of one part, in the type that the part leaves; see :meth:`record`.

        Raises:
            InputError: the record lacks what the type asks for.
        """
        record = self.record(check, part)
        try:
            return record.read_data(kind)
        except InputError as error:
            message = error.message.replace(str(record.file), shown(record.file))
            raise InputError(message, f"{self.again(check, part)} --again") from error

    def benchmark(self, name: str, kind: type[T]) -> T:
        """Return the result of a record of ``benchmarks/`` in a type.

        Raises:
            InputError: no such record, no record at all, or one that lacks what the type asks for.
        """
        file, again = self.benchmarks / f"{name}.json", f"python benchmarks/{name}.py"
        what = f"no record of benchmarks/{name}.py"
        record = _read(file, BenchmarkRecord, what, again)
        if record.name != name:
            raise InputError(f"{shown(file)} is {what}", f"remove it, then {again}")
        self._use(file, f"commit {record.commit}, {record.command}", record.commit)
        return converted(record.result, kind, f"{shown(file)} lacks what is drawn from it", record.command)

    def table(self, name: str, kind: type[T]) -> list[T]:
        """Return the rows of a CSV file that lies beside a record of ``benchmarks/``; an empty cell is None.

        Raises:
            InputError: no such file, or rows that lack what the type asks for.
        """
        file, again = self.benchmarks / f"{name}.csv", f"python benchmarks/{name}.py"
        if not file.is_file():
            raise InputError(f"there is no {shown(file)}", again)
        with file.open(encoding="utf-8", newline="") as lines:
            rows = [{column: cell or None for column, cell in row.items()} for row in csv.DictReader(lines)]
        self._use(file)
        try:
            return msgspec.convert(rows, list[kind], strict=False)  # type: ignore[valid-type]
        except msgspec.ValidationError as error:
            raise InputError(f"{shown(file)} lacks what is drawn from it: {error}", again) from error

    def comparison(self, name: str, kind: type[T]) -> T:
        """Return a comparison of students that lies beside the committed records (``validation compare --out``).

        Raises:
            InputError: no such file, no comparison, or one that lacks what the type asks for.
        """
        file, again = RESULTS / f"{name}.json", f"sweep and compare as validation/plans/{name}.toml says"
        what = "no comparison of students"
        made, comparison = _read(file, ComparisonRecord, what, again), _read(file, kind, what, again)
        trained = f"preset {', '.join(made.presets)} trained at commit {', '.join(made.trained_at_commit)}"
        self._use(file, f"students of {trained}, compared at commit {made.commit}, {made.command}", made.commit)
        return comparison

    def bundled(self) -> tk.ModelSpectra:
        """Return the spectra of SmolLM2-135M that ship with theorykit."""
        self._use(ROOT / "theorykit" / "data" / "smollm2-135m.npz", "python scripts/make_bundled_data.py")
        return tk.bundled_spectra()

    def _use(self, file: Path, made: str = "", commit: str | None = None) -> None:
        """Remember a file: its digest and what made it, under a name that says nothing of this machine."""
        name = shown(file) if file.absolute().is_relative_to(ROOT) else f"{file.parent.name}/{file.name}"
        digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        self.used[name] = f"sha256 {digest}" + (f", {made}" if made else "")
        if commit is not None and short(commit) not in self.commits:
            self.commits.append(short(commit))

    def _note(self, record: Record) -> None:
        notes = []
        if self.preset == "smoke":
            notes.append("Preset smoke: tests the program, says nothing about the paper.")
        if record.lost:
            notes.append(f"{record.name}: {len(record.lost)} of {len(record.students)} students failed.")
        self.notes += [note for note in notes if note not in self.notes]


def _read(file: Path, kind: type[T], what: str, again: str) -> T:
    """Return a file of JSON in a type; ``what`` it is otherwise, and how it is made ``again``."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"there is no record {shown(file)}", again) from error
    except ValueError as error:
        raise InputError(f"{shown(file)} is no JSON: {error}", f"remove it, then {again}") from error
    return converted(content, kind, f"{shown(file)} is {what}", f"remove it, then {again}")
