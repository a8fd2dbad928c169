"""Where the numbers of a figure come from: records that are in order, and a line of origin for each that was read."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from theorykit.arguments import one_of, positive_integer
from theorykit.errors import InputError
from theorykit.provenance import ROOT, short, shown
from validation.claims.record import Record, read_record, record_file
from validation.presets import PRESETS

RESULTS = ROOT / "validation" / "results"
BENCHMARKS = ROOT / "benchmarks" / "results"
_BENCHMARK_FIELDS = {"name", "command", "commit", "result"}
_COMPARISON_FIELDS = {"title", "groups", "students", "command", "commit"}


T = TypeVar("T")


class Data(dict[str, Any]):
    """The numbers of a record: what it lacks is told as bad input, with the command that makes it."""

    origin: str = ""
    hint: str = ""

    def __missing__(self, key: str) -> Any:
        raise InputError(f"{self.origin} has no {key!r}", self.hint)


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
        commands: That make the records again.

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
    commands: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Check what names the folder of the records."""
        one_of("preset", self.preset, PRESETS)
        positive_integer("seed", self.seed, allow_zero=True)

    def origin(self) -> str:
        """Return in a few words what the figure is drawn from."""
        files = ", ".join(self.used)
        return f"From {files}" + (f" (commit {', '.join(self.commits)})." if self.commits else ".")

    def record(self, check: str, part: str) -> Record:
        """Return the record of one part of an experiment.

        Raises:
            InputError: no such record, edited, of another schema, preset, seed or part, or of a part that failed.
        """
        file = record_file(self.results, self.preset, self.seed, check, part)
        again = f"python -m validation run {check} --part {part} --preset {self.preset}"
        again += (f" --seed {self.seed}" if self.seed else "") + f" --out {shown(self.results)}"
        if not file.parent.is_dir():
            missing = f"{shown(file.parent)}, the folder of the records of preset {self.preset}, does not exist"
            raise InputError(missing, f"give --from the folder that holds {file.parent.name}/, or make them: {again}")
        if not file.is_file():
            raise InputError(f"there is no record {shown(file)}", again)
        self._command(f"{again} --again")
        try:
            found = read_record(file)
        except InputError as error:
            raise InputError(error.message.replace(str(file), shown(file)), f"{again} --again") from error
        content = found.content
        if (content.check, content.part, content.preset, content.seed) != (check, part, self.preset, self.seed):
            what = f"{found.name} of preset {content.preset}, seed {content.seed}"
            raise InputError(f"{shown(file)} holds {what}: it was put there by hand", f"remove it, then {again}")
        if found.failure:
            raise InputError(f"{check} {part} failed when it was recorded: {found.failure}", f"{again} --again")
        self._note(found)
        made = found.made
        self._commit(made.commit)
        self.used[_unplaced(file)] = (
            f"sha256 {_digest(file)}, preset {self.preset}, seed {self.seed}, commit {made.commit}, {made.command}"
        )
        return found

    def data(self, check: str, part: str, kind: type[T]) -> T:
        """Return the numbers for figures of one part, in the type that the part leaves; see :meth:`record`.

        Raises:
            InputError: the record lacks what the type asks for.
        """
        record = self.record(check, part)
        try:
            return record.read_data(kind)
        except InputError as error:
            raise InputError(error.message.replace(str(record.file), shown(record.file)), self.commands[-1]) from error

    def benchmark(self, name: str) -> Data:
        """Return the result of a record of ``benchmarks/``.

        Raises:
            InputError: no such record, or no record at all.
        """
        file = self.benchmarks / f"{name}.json"
        again = f"python benchmarks/{name}.py"
        found = self._json(file, again)
        if not isinstance(found, dict) or not set(found) >= _BENCHMARK_FIELDS or found["name"] != name:
            raise InputError(f"{shown(file)} is no record of benchmarks/{name}.py", f"remove it, then {again}")
        self._commit(str(found["commit"]))
        self.used[_unplaced(file)] = f"sha256 {_digest(file)}, commit {found['commit']}, {found['command']}"
        return _asked(found["result"], shown(file), found["command"])

    def table(self, name: str) -> list[dict[str, str]]:
        """Return the rows of a CSV file that lies beside a record of ``benchmarks/``; the record is read too."""
        self.benchmark(name)
        file = self.benchmarks / f"{name}.csv"
        if not file.is_file():
            raise InputError(f"there is no {shown(file)}", f"python benchmarks/{name}.py")
        with file.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        self.used[_unplaced(file)] = f"sha256 {_digest(file)}"
        return rows

    def comparison(self, name: str) -> Data:
        """Return a comparison of students that lies beside the committed records (``validation compare --out``).

        Raises:
            InputError: no such file, or no comparison.
        """
        file = RESULTS / f"{name}.json"
        again = f"sweep and compare as validation/plans/{name}.toml says"
        found = self._json(file, again)
        if not isinstance(found, dict) or not set(found) >= _COMPARISON_FIELDS:
            raise InputError(f"{shown(file)} is no comparison of students", again)
        self._commit(str(found["commit"]))
        asked = _asked(found, shown(file), again)
        self.used[_unplaced(file)] = (
            f"sha256 {_digest(file)}, students of preset {', '.join(asked['presets'])} trained at commit "
            f"{', '.join(asked['trained_at_commit'])}, compared at commit {found['commit']}, {found['command']}"
        )
        return asked

    def bundled(self) -> Any:
        """Return the spectra of SmolLM2-135M that ship with theorykit."""
        import theorykit as tk

        file = ROOT / "theorykit" / "data" / "smollm2-135m.npz"
        self._command("python scripts/make_bundled_data.py")
        self.used[_unplaced(file)] = f"sha256 {_digest(file)}, {self.commands[-1]}"
        return tk.bundled_spectra()

    def _json(self, file: Path, again: str) -> Any:
        self._command(again)
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"there is no record {shown(file)}", again) from error
        except ValueError as error:
            raise InputError(f"{shown(file)} is no JSON: {error}", f"remove it, then {again}") from error

    def _commit(self, name: str) -> None:
        if short(name) not in self.commits:
            self.commits.append(short(name))

    def _command(self, again: str) -> None:
        self.commands = [*(one for one in self.commands if one != again), again]

    def _note(self, found: Record) -> None:
        notes = []
        if self.preset == "smoke":
            notes.append("Preset smoke: tests the program, says nothing about the paper.")
        if found.lost:
            notes.append(f"{found.name}: {len(found.lost)} of {len(found.students)} students failed.")
        self.notes += [note for note in notes if note not in self.notes]


def _unplaced(file: Path) -> str:
    """Return a path that says nothing of this machine."""
    return shown(file) if file.absolute().is_relative_to(ROOT) else f"{file.parent.name}/{file.name}"


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def _asked(value: dict[str, Any], origin: str, hint: str) -> Data:
    found = Data({key: _told(one, origin, hint) for key, one in value.items()})
    found.origin, found.hint = origin, hint
    return found


def _told(value: Any, origin: str, hint: str) -> Any:
    """Return plain values with every dictionary able to say what it lacks."""
    if isinstance(value, list):
        return [_told(one, origin, hint) for one in value]
    return _asked(value, origin, hint) if isinstance(value, dict) else value
