"""Sizes of runs and experiments by name: how many steps of how many tokens, from the TOML files beside this one."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from theorykit.arguments import did_you_mean
from theorykit.errors import InputError

_FOLDER = Path(__file__).parent
PRESETS = tuple(sorted(file.stem for file in _FOLDER.glob("*.toml")))
_CHECKS, _SAME = "checks", "same_as"


def preset(name: str) -> dict[str, Any]:
    """Return the fields of a run that a preset sets.

    Raises:
        InputError: an unknown preset.
    """
    return {field: value for field, value in _read(name).items() if field != _CHECKS}


def check_settings(name: str, slug: str) -> dict[str, dict[str, Any]]:
    """Return the settings of an experiment in a preset, by part; parts that are not there do not run.

    ``[checks]`` holds what all experiments share, ``[checks.SLUG]`` what all parts of one do, ``[checks.SLUG.PART]``
    the rest; the nearest wins. ``same_as = "OTHER-SLUG"`` in a part begins with the settings of that experiment's part,
    so that both train the same students.

    Raises:
        InputError: an unknown preset.
    """
    shared = _read(name).get(_CHECKS, {})
    own = shared.get(slug, {})
    base = _values(shared) | _values(own)
    return {part: base | _followed(name, part, values) for part, values in own.items() if isinstance(values, dict)}


def _followed(name: str, part: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a part behind those of the part that it begins with."""
    rest = {field: value for field, value in values.items() if field != _SAME}
    return check_settings(name, values[_SAME])[part] | rest if _SAME in values else rest


def _values(table: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in table.items() if not isinstance(value, dict)}


def _read(name: str) -> dict[str, Any]:
    if name not in PRESETS:
        raise InputError(
            f"preset = {name!r} is unknown", f"{did_you_mean(name, PRESETS)}choose from {', '.join(PRESETS)}"
        )
    return tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
