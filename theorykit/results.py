"""What every result object can do: a dictionary for JSON, a table for pandas, HTML for a notebook."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import tempfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from theorykit.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def plain(value: Any) -> Any:
    """Turn dataclasses, arrays and NumPy numbers into what ``json`` can write; NaN and infinity become None."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def to_json(value: Any) -> str:
    """Return strict JSON (no NaN) with two spaces of indentation."""
    return json.dumps(plain(value), indent=2, allow_nan=False, ensure_ascii=False)


def make_folder(path: Path) -> None:
    """Make a folder that a command was given with ``--out``, where it is not there.

    Raises:
        InputError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make {path}: {error.strerror}", "give another folder with --out") from error


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> Path:
    """Write a file whole or not at all: into a temporary neighbour first, then renamed over the target.

    Raises:
        InputError: the folder does not exist or cannot be written.
    """
    target = Path(os.path.realpath(path))  # through a link, not over it
    data = content.encode() if isinstance(content, str) else content
    temporary = None
    try:
        if target.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as handle:
            temporary = handle.name
            handle.write(data)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, target)
    except OSError as error:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        raise InputError(
            f"cannot write {path}: {error.strerror or error}", "give a file in a folder that can be written"
        ) from error
    return target


class Result:
    """Base of the frozen result objects: dictionary, table and notebook view."""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain Python values, ready for JSON."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return {field.name: plain(getattr(self, field.name)) for field in fields}

    def to_frame(self) -> pd.DataFrame:
        """Return the result as a pandas table: one row of :meth:`to_dict`, where a class says nothing else."""
        import pandas as pd

        return pd.DataFrame([self.to_dict()])

    def _drawn(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Return what a function of :mod:`theorykit.plots` draws of this result.

        By name: pictures stand above the results that they draw, and only who draws loads matplotlib.
        """
        return getattr(import_module("theorykit.plots"), name)(self, *arguments, **options)

    def _repr_html_(self) -> str:
        return str(self.to_frame().to_html(max_rows=40, float_format=lambda number: f"{number:.4g}"))
