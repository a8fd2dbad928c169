"""All figures and tables by name, and how one of them is made from records and written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from paper_figs.pictures import Picture
from paper_figs.sources import Sources
from paper_figs.tables import WRITERS, Table
from theorykit.errors import InputError
from theorykit.results import write_whole

PICTURES = ("pdf", "png", "svg")
NAMES = (
    "figure-1a",
    "figure-1b",
    "figure-2a",
    "figure-2b",
    "figure-3",
    "figure-4",
    "table-1",
    "table-2",
    "spectra",
    "truncation-loss",
    "rank-rules",
    "information-estimators",
    "rademacher-complexity",
)


class Maker(Protocol):
    """A file of this package that makes one figure or table."""

    ABOUT: str

    def build(self, sources: Sources) -> Picture | Table:
        """Return it from records."""


def maker(name: str) -> Maker:
    """Return the file of a figure: its name with underscores."""
    return cast(Maker, import_module(f"paper_figs.{name.replace('-', '_')}"))


def build(name: str, sources: Sources) -> Picture | Table:
    """Return a figure or table from records, with what has to be known of them in its note.

    Raises:
        InputError: a record is missing or not in order.
    """
    made = maker(name).build(sources)
    return replace(made, note=" ".join(text for text in (made.note, *sources.notes, sources.origin()) if text))


def write(name: str, made: Picture | Table, sources: Sources, out: Path, form: str) -> list[Path]:
    """Write a figure in one format, a table in all of its own; return the files.

    Args:
        name: In :data:`NAMES`.
        made: As :func:`build` returned it.
        sources: From which it was made: named in the files.
        out: Folder, made where it is not there.
        form: One of :data:`PICTURES`.

    Raises:
        InputError: the folder cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make {out}: {error.strerror}", "give another folder with --out") from error
    if isinstance(made, Table):
        origin = [f"{file}: {told}" for file, told in sources.used.items()]
        files = [out / f"{name}.{ending}" for ending in WRITERS]
        for file in files:
            write_whole(file, WRITERS[file.suffix[1:]](made, origin))
        return files
    import matplotlib.pyplot as plt

    from paper_figs.drawing import drawn, saved

    figure, file = drawn(made), out / f"{name}.{form}"
    try:
        saved(figure, file, metadata(made, sources))
    finally:
        plt.close(figure)
    return [file]


def metadata(made: Picture, sources: Sources) -> Mapping[str, str]:
    """Return title, caption, and the records with digest, preset, commit and command."""
    return {
        "Title": made.title,
        "Description": " ".join(text for text in (made.caption, made.note) if text),
        "Source": "; ".join(f"{file}: {told}" for file, told in sources.used.items()),
    }
