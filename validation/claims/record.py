"""Records of experiments: one JSON file for each part, with a checksum, and with what made it kept apart.

::

    OUT/<preset>/<slug>.<part>.json          seed 0
    OUT/<preset>-seed-<k>/<slug>.<part>.json

``content`` is the same whenever the same configuration runs on one machine's CPU; ``made`` is not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from theorykit.errors import InputError
from theorykit.results import make_folder, plain, to_json, write_whole
from validation.claims.experiment import PartResult, Settings
from validation.claims.finding import Outcome

SCHEMA_VERSION = 1
_FIELDS = {"check", "part", "preset", "seed", "identity", "settings", "failure", "findings", "data", "students"}
"""Of ``content``."""


@dataclass(frozen=True)
class Record:
    """One part of one experiment, as kept.

    Attributes:
        content: ``check``, ``part``, ``preset``, ``seed``, ``identity``, ``settings``, ``failure``, ``findings``,
            ``data`` and ``students``: ``identity`` and ``failure`` of each, and
            ``failure_kind`` of those that failed.
        made: Command, commit, machine, environment, time and seconds.
        file: Where it lies.
    """

    content: dict[str, Any]
    made: dict[str, Any]
    file: Path

    @property
    def check(self) -> str:
        """Return the slug of its experiment."""
        return str(self.content["check"])

    @property
    def part(self) -> str:
        """Return its part."""
        return str(self.content["part"])

    @property
    def failure(self) -> str:
        """Return why it has no findings, or nothing."""
        return str(self.content["failure"])

    @property
    def findings(self) -> list[dict[str, Any]]:
        """Return its findings as plain values."""
        return list(self.content["findings"])

    @property
    def lost(self) -> list[dict[str, Any]]:
        """Return the students that failed."""
        return [one for one in self.content["students"] if one["failure"]]

    @property
    def wrong(self) -> list[dict[str, Any]]:
        """Return the planted findings that did not come out as they had to."""
        return [one for one in self.findings if one["outcome"] == Outcome.WRONG]


def settings_identity(check: str, part: str, settings: Settings, seed: int) -> str:
    """Return the hash that names one configuration of one part."""
    asked = {"check": check, "part": part, "settings": plain(dict(settings)), "seed": seed, "schema": SCHEMA_VERSION}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def folder_of(out: Path, preset: str, seed: int) -> Path:
    """Return the folder of the records of one preset and seed."""
    return out / (preset if seed == 0 else f"{preset}-seed-{seed}")


def record_file(out: Path, preset: str, seed: int, check: str, part: str) -> Path:
    """Return the file of a record."""
    return folder_of(out, preset, seed) / f"{check}.{part}.json"


def content_of(
    check: str, part: str, preset: str, seed: int, settings: Settings, evidence: PartResult | None, failure: str = ""
) -> dict[str, Any]:
    """Return what a record holds of a part that ran, or that failed and left no evidence."""
    found = evidence or PartResult(())
    return dict(
        json.loads(
            to_json(
                {
                    "check": check,
                    "part": part,
                    "preset": preset,
                    "seed": seed,
                    "identity": settings_identity(check, part, settings, seed),
                    "settings": dict(settings),
                    "failure": failure,
                    "findings": [
                        one.to_dict() | {"words": one.words, "outcome": one.outcome} for one in found.findings
                    ],
                    "data": dict(found.data),
                    "students": [
                        {"identity": student.identity, "failure": student.failure}
                        | ({"failure_kind": student.failure_kind} if student.failure_kind else {})
                        for student in found.students
                    ],
                }
            )
        )
    )


def write_record(file: Path, content: dict[str, Any], made: dict[str, Any]) -> Record:
    """Write a record whole, in place of one that is there.

    Raises:
        InputError: the folder cannot be written.
    """
    make_folder(file.parent)
    made = dict(json.loads(to_json(made)))
    body = {"schema_version": SCHEMA_VERSION, "content": content, "made": made}
    write_whole(file, to_json(body | {"checksum": _checksum(body)}) + "\n")
    return Record(content, made, file)


def read_record(file: Path) -> Record:
    """Read a record and hold it against its checksum.

    Raises:
        InputError: no such file, no record, of another schema, or changed after it was written.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}", "run the experiment first") from error
    except ValueError as error:
        raise InputError(f"{file} is no record of an experiment: {error}", _AGAIN) from error
    if not isinstance(found, dict) or not {"schema_version", "content", "made", "checksum"} <= set(found):
        raise InputError(f"{file} is no record of an experiment", _AGAIN)
    if found["schema_version"] != SCHEMA_VERSION:
        raise InputError(
            f"{file} has schema version {found['schema_version']!r}, this is {SCHEMA_VERSION}",
            "run it again with this version, or read it with the one that wrote it",
        )
    checksum = found.pop("checksum")
    if checksum != _checksum(found):
        raise InputError(f"{file} was changed after it was written: its checksum does not fit", _AGAIN)
    if not set(found["content"]) >= _FIELDS:
        raise InputError(f"{file} is no record of an experiment", _AGAIN)
    return Record(found["content"], found["made"], file)


_AGAIN = "remove it and run the experiment again"


def read_records(folder: Path) -> Iterator[Record]:
    """Yield the records of one preset and seed, by name.

    Raises:
        InputError: the first that is not in order, or that was copied from another preset, seed or part.
    """
    for file in sorted(folder.glob("*.*.json")):
        record = read_record(file)
        preset, seed = str(record.content["preset"]), int(record.content["seed"])
        if record_file(folder.parent, preset, seed, record.check, record.part) != file:
            told = f"{record.check} {record.part} of preset {preset}, seed {seed}"
            raise InputError(f"{file} holds {told}: it was put there by hand", "remove it")
        yield record


def _checksum(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
