"""Sizes of runs by name: how many steps of how many tokens, from the TOML files beside this one."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from theorykit.errors import InputError

_FOLDER = Path(__file__).parent
PRESETS = tuple(sorted(file.stem for file in _FOLDER.glob("*.toml")))


def preset(name: str) -> dict[str, Any]:
    """Return the fields of a run that a preset sets.

    Raises:
        InputError: an unknown preset.
    """
    if name not in PRESETS:
        raise InputError(f"preset = {name!r} is unknown", f"choose from {', '.join(PRESETS)}")
    return tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
