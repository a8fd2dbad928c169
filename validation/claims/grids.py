"""From the settings of a part to the students that it trains."""

from __future__ import annotations

import dataclasses
from typing import Any

from theorykit.errors import InputError
from validation.claims.experiment import Settings
from validation.training.config import StudentConfig

_SEEDS_APART = 1000
"""Seeds of students of two seeds of an experiment: below so many students of one configuration none is used twice."""


def seeds_of(settings: Settings, seed: int) -> list[int]:
    """Return the seeds of the students of a part: ``settings["seeds"]`` of them, others for another ``seed``."""
    count = int(needed(settings, "seeds"))
    return [_SEEDS_APART * seed + number for number in range(count)]


def student(settings: Settings, **fields: Any) -> StudentConfig:
    """Return one student: the settings that are fields of a run, and the fields given in their place.

    Raises:
        InputError: settings that no run has.
    """
    names = {one.name for one in dataclasses.fields(StudentConfig)}
    return StudentConfig.from_dict({name: value for name, value in settings.items() if name in names} | fields)


def needed(settings: Settings, name: str) -> Any:
    """Return one setting.

    Raises:
        InputError: it is not there.
    """
    if name not in settings:
        raise InputError(f"the preset has no {name!r} for this part", f"it has {', '.join(settings)}")
    return settings[name]
