"""Records of experiments: one JSON file for each part, with a checksum, and with what made it kept apart.

::

    OUT/<preset>/<slug>.<part>.json          seed 0
    OUT/<preset>-seed-<k>/<slug>.<part>.json

``content`` is the same whenever the same configuration runs on one machine's CPU; ``made`` is not. A record is read
back as what was written: findings are findings again. Records of schema 1, whose findings have no keys, are read too:
``keys_of_schema_1.json`` has the keys of those that come with the repository, in their order.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from theorykit.errors import InputError
from theorykit.results import Result, make_folder, plain, to_json, write_whole
from theorykit.verdicts import Form
from validation.claims.experiment import PartResult
from validation.claims.finding import Finding, Outcome, refuse_repeated_questions
from validation.training.failures import FailureKind, by_accident

SCHEMA_VERSION = 2
_READABLE = (1, 2)
_IDENTITY_SCHEMA = 1
"""In the identity of a configuration, which a new field of a finding does not change."""
_AGAIN = "remove it and run the experiment again"
_KEYS_OF_SCHEMA_1 = Path(__file__).with_name("keys_of_schema_1.json")
T = TypeVar("T")


@dataclass(frozen=True)
class StoredEvidence(Result):
    """The evidence behind a verdict as a record has it: plain values, for ``--json`` alone."""

    values: Any

    def to_dict(self) -> Any:
        """Return the plain values."""
        return self.values


@dataclass(frozen=True)
class StudentEnd:
    """How the training of one student ended.

    Attributes:
        identity: Of its configuration.
        failure: Why it did not end, or nothing.
        failure_kind: What that says of it; None where it ended, and in records from before kinds were stored.
    """

    identity: str
    failure: str
    failure_kind: FailureKind | None = None

    @property
    def by_accident(self) -> bool:
        """Return whether it may end well when trained again."""
        return by_accident(vars(self))


@dataclass(frozen=True)
class Made:
    """What made a record.

    Attributes:
        command: As it can be typed again in a clone.
        commit: Of the clone, and whether files differed from it.
        time: In UTC.
        seconds: That it took.
        device: Of torch.
        machine: Processor and cores.
        environment: Versions.
    """

    command: str
    commit: str
    time: str = ""
    seconds: float = 0.0
    device: str = ""
    machine: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Content:
    """What a part of an experiment left.

    Attributes:
        check: Slug of the experiment.
        part: Its part.
        preset: Of the settings.
        seed: Of everything that was drawn.
        identity: Of the configuration (:func:`settings_identity`).
        settings: As the preset has them.
        failure: Why there are no findings, or nothing.
        findings: In the order in which they were made.
        data: Numbers for figures, as plain values; :meth:`Record.read_data` has them in their type.
        students: What was trained.
        trace: Of a part that failed, where.
    """

    check: str
    part: str
    preset: str
    seed: int
    identity: str
    settings: Mapping[str, Any]
    failure: str
    findings: tuple[Finding, ...]
    data: Any
    students: tuple[StudentEnd, ...]
    trace: str = ""


@dataclass(frozen=True)
class Record:
    """One part of one experiment, as kept.

    Attributes:
        content: What it left.
        made: What made it.
        file: Where it lies.
    """

    content: Content
    made: Made
    file: Path

    @property
    def slug(self) -> str:
        """Return the slug of its experiment."""
        return self.content.check

    @property
    def part(self) -> str:
        """Return its part."""
        return self.content.part

    @property
    def name(self) -> str:
        """Return what it is called in messages."""
        return f"{self.slug} {self.part}"

    @property
    def failure(self) -> str:
        """Return why it has no findings, or nothing."""
        return self.content.failure

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Return its findings."""
        return self.content.findings

    @property
    def students(self) -> tuple[StudentEnd, ...]:
        """Return how its students ended."""
        return self.content.students

    @property
    def lost(self) -> tuple[StudentEnd, ...]:
        """Return the students that failed."""
        return tuple(student for student in self.students if student.failure)

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """Return the planted findings that did not come out as they had to."""
        return tuple(finding for finding in self.findings if finding.outcome is Outcome.WRONG)

    def select(
        self, equation: str, form: Form, key: str | None = None, **configuration: str | int | float
    ) -> list[Finding]:
        """Return the findings on one form of an equation, of one question, of configurations that have these values."""
        return [
            finding
            for finding in self.findings
            if (finding.equation, finding.form) == (equation, form)
            and key in (None, finding.key)
            and all(finding.of.get(name) == value for name, value in configuration.items())
        ]

    def finding(self, equation: str, form: Form, key: str, **configuration: str | int | float) -> Finding:
        """Return the one finding that :meth:`select` selects.

        Raises:
            InputError: there is none, or there are several.
        """
        findings = self.select(equation, form, key, **configuration)
        if len(findings) != 1:
            of = ", ".join(f"{name} {value}" for name, value in configuration.items())
            what = f"{self.file} has {len(findings)} findings {key!r} on {equation} {form}"
            raise InputError(f"{what} of {of}" if of else what, "run the experiment again")
        return findings[0]

    def read_data(self, kind: type[T]) -> T:
        """Return the numbers for figures in the type of their part.

        Raises:
            InputError: they lack what the type asks for.
        """
        return converted(self.content.data, kind, f"the data of {self.file} lack what is drawn from them")


def settings_identity(check: str, part: str, settings: Mapping[str, Any], seed: int) -> str:
    """Return the hash that names one configuration of one part."""
    asked = {"check": check, "part": part, "settings": plain(dict(settings)), "seed": seed, "schema": _IDENTITY_SCHEMA}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def folder_of(out: Path, preset: str, seed: int) -> Path:
    """Return the folder of the records of one preset and seed."""
    return out / (preset if seed == 0 else f"{preset}-seed-{seed}")


def record_file(out: Path, preset: str, seed: int, check: str, part: str) -> Path:
    """Return the file of a record."""
    return folder_of(out, preset, seed) / f"{check}.{part}.json"


def content_of(
    check: str,
    part: str,
    preset: str,
    seed: int,
    settings: Mapping[str, Any],
    result: PartResult | None,
    failure: str = "",
    trace: str = "",
) -> Content:
    """Return what a record holds of a part that ran, or that failed and left no result."""
    result = result or PartResult(())
    students = tuple(StudentEnd(student.identity, student.failure, student.failure_kind) for student in result.students)
    identity = settings_identity(check, part, settings, seed)
    return Content(
        check,
        part,
        preset,
        seed,
        identity,
        dict(settings),
        failure,
        result.findings,
        result.data,
        students,
        trace,
    )


def write_record(file: Path, content: Content, made: Made) -> Record:
    """Write a record whole, in place of one that is there, and return it as it is read.

    Raises:
        InputError: the folder cannot be written, or the content not be read back; nothing is written then.
        TypeError: data that JSON cannot hold; nothing is written either.
    """
    body = json.loads(to_json({"schema_version": SCHEMA_VERSION, "content": content, "made": made}))
    record = _record(body, file)
    make_folder(file.parent)
    write_whole(file, to_json(body | {"checksum": checksum_of(body)}) + "\n")
    return record


def read_record(file: Path) -> Record:
    """Read a record and hold it against its checksum.

    Raises:
        InputError: no such file, no record, of another schema, changed after it was written, or without a field.
    """
    try:
        body = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}", "run the experiment first") from error
    except ValueError as error:
        raise InputError(f"{file} is no record of an experiment: {error}", _AGAIN) from error
    if not isinstance(body, dict) or not {"schema_version", "content", "made", "checksum"} <= set(body):
        raise InputError(f"{file} is no record of an experiment", _AGAIN)
    version = body["schema_version"]
    if type(version) is not int or version not in _READABLE:
        raise InputError(
            f"{file} has schema version {version!r}, this is {SCHEMA_VERSION}",
            "run it again with this version, or read it with the one that wrote it",
        )
    checksum = body.pop("checksum")
    if checksum != checksum_of(body):
        raise InputError(f"{file} was changed after it was written: its checksum does not fit", _AGAIN)
    return _record(body, file)


def _record(body: dict[str, Any], file: Path) -> Record:
    """Return a record from plain values, or raise where they are none."""
    what, content, made = f"{file} is no record of an experiment", body["content"], body["made"]
    findings = content.get("findings") if isinstance(content, dict) else None
    if not isinstance(findings, list) or not all(isinstance(part, dict) for part in (made, *findings)):
        raise InputError(what, _AGAIN)
    if body["schema_version"] == 1:
        findings = _with_keys(findings, content, made)
    content = content | {"findings": [_with_ends(finding) for finding in findings]}
    record = Record(converted(content, Content, what), converted(made, Made, what), file)
    if body["schema_version"] > 1:
        refuse_repeated_questions(record.findings)
    return record


def read_records(folder: Path) -> Iterator[Record]:
    """Yield the records of one preset and seed, by name.

    Raises:
        InputError: the first that is not in order, or that was copied from another preset, seed or part.
    """
    for file in sorted(folder.glob("*.*.json")):
        record = read_record(file)
        preset, seed = record.content.preset, record.content.seed
        if record_file(folder.parent, preset, seed, record.slug, record.part) != file:
            what = f"{record.name} of preset {preset}, seed {seed}"
            raise InputError(f"{file} holds {what}: it was put there by hand", "remove it")
        yield record


def _with_keys(findings: list[Any], content: Mapping[str, Any], made: Mapping[str, Any]) -> list[Any]:
    """Return findings of schema 1 with the keys that they have by their places; without a key where none are known."""
    known = _keys_of_schema_1().get(f"{content.get('identity')} {str(made.get('commit'))[:10]}", [])
    if len(known) != len(findings):
        known = [["", {}]] * len(findings)
    return [finding | {"key": key, "of": of} for finding, (key, of) in zip(findings, known, strict=True)]


@functools.cache
def _keys_of_schema_1() -> dict[str, list[Any]]:
    """Return ``[key, configuration]`` of each finding, by identity and commit of the record."""
    return dict(json.loads(_KEYS_OF_SCHEMA_1.read_text(encoding="utf-8")))


def _with_ends(finding: Any) -> Any:
    """Return a finding whose intervals have infinite ends again, which JSON has as null."""
    if not isinstance(finding, dict) or not isinstance(finding.get("verdict"), dict):
        return finding
    verdict = finding["verdict"]
    tightness = _opened(verdict.get("tightness_interval"))
    return finding | {
        "interval": _opened(finding.get("interval")),
        "verdict": verdict | {"tightness_interval": tightness},
    }


def _opened(interval: Any) -> Any:
    if not isinstance(interval, list) or len(interval) != 2:
        return interval
    low, high = interval
    return [-math.inf if low is None else low, math.inf if high is None else high]


def converted(value: Any, kind: type[T], what: str, hint: str = _AGAIN) -> T:
    """Return plain values of JSON in a type; null is NaN where the type has an array.

    Raises:
        InputError: they lack what the type asks for; the message begins with ``what``.
    """
    try:
        return msgspec.convert(value, kind, dec_hook=_decoded)
    except msgspec.ValidationError as error:
        raise InputError(f"{what}: {error}", hint) from error


def _decoded(kind: Any, value: Any) -> Any:
    """Return what the records keep as plain values: evidence as it is, arrays with NaN where JSON has null."""
    if kind is Result:
        return StoredEvidence(value)
    return np.array(value, dtype=object).astype(np.float64)


def checksum_of(body: dict[str, Any]) -> str:
    """Return the checksum of a record that has all but that."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
