"""Plans of sweeps: a file that names many students, as a grid, as a list, or as both."""

from __future__ import annotations

import itertools
import json
import math
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from theorykit.arguments import positive_integer
from theorykit.errors import InputError
from validation.presets import preset
from validation.training.config import BatchConfig, StudentConfig
from validation.training.methods import method_of

_MOST_STUDENTS = 100_000
_BATCH_STUDENTS = 8


@dataclass(frozen=True)
class Plan:
    """The students of a sweep.

    Attributes:
        students: One configuration for each, without repetitions, in the order of the file.
        presets: Identity of a student to the preset that its sizes come from.
        batch_students: Students that are trained as one batch, at most.
    """

    students: tuple[StudentConfig, ...]
    presets: dict[str, str]
    batch_students: int = _BATCH_STUDENTS


def read_plan(file: Path) -> Plan:
    """Read a plan, TOML or JSON.

    ``[base]`` holds fields of :class:`validation.training.config.StudentConfig` and ``preset``, ``[grid]`` lists of
    values of which every combination is taken, ``[[runs]]`` fields of single runs. With both, each run is taken with
    each combination; without either, the plan is the base alone. ``"none"`` stands for a value that is left out, which
    TOML cannot write.

    Raises:
        InputError: a file that cannot be read, is no plan, or asks for what no run has.
    """
    try:
        return _plan(_parsed(file))
    except InputError as error:
        raise InputError(f"{file}: {error.message}", error.hint) from error


def _parsed(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        parsed = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", "give a TOML or JSON file") from error
    except ValueError as error:
        raise InputError(f"is no {file.suffix.removeprefix('.') or 'TOML'}: {error}", "mend the file") from error
    parts = {"base": dict, "grid": dict, "runs": list, "batch_students": int}
    if not isinstance(parsed, dict) or not parsed:
        raise InputError("holds no plan", f"give {', '.join(parts)}")
    for name, value in parsed.items():
        if name not in parts:
            raise InputError(f"{name!r} is no part of a plan", f"choose from {', '.join(parts)}")
        if not isinstance(value, parts[name]):
            raise InputError(f"{name} = {value!r} is not a {parts[name].__name__}", "see validation/plans/smoke.toml")
    return parsed


def _plan(parsed: dict[str, Any]) -> Plan:
    students: dict[str, StudentConfig] = {}
    presets: dict[str, str] = {}
    for values in _combinations(parsed.get("base", {}), parsed.get("grid", {}), parsed.get("runs", [])):
        size = values.pop("preset", "smoke")
        config = BatchConfig.from_dict(preset(size) | values)
        method_of(config.shared.method)
        for student in config.students:
            students.setdefault(student.identity, student)
            presets.setdefault(student.identity, size)
    size = positive_integer("batch_students", parsed.get("batch_students", _BATCH_STUDENTS))
    return Plan(tuple(students.values()), presets, size)


def _combinations(base: dict[str, Any], grid: dict[str, Any], runs: list[Any]) -> Iterator[dict[str, Any]]:
    """Yield the fields of each run."""
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            raise InputError(f"{name} = {values!r} in [grid] is no list of values", "give [grid] lists")
    for run in runs:
        if not isinstance(run, dict):
            raise InputError(f"{run!r} in runs is no table of fields", "begin each run with [[runs]]")
        twice = [name for name in run if name in grid]
        if twice:
            raise InputError(f"{twice[0]} is both in [grid] and in [[runs]]", "give it in one of them")
    count = math.prod(len(values) for values in grid.values()) * max(1, len(runs))
    if count > _MOST_STUDENTS:
        raise InputError(f"asks for {count:,} students, above {_MOST_STUDENTS:,}", "split the plan")
    for run in runs or [{}]:
        for point in itertools.product(*grid.values()):
            yield _without_none(base | run | dict(zip(grid, point, strict=True)))


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_none(part) for name, part in value.items()}
    return None if value == "none" else value
