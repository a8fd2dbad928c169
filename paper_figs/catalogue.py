"""All figures and tables by name, and how one of them is made from records and written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import matplotlib.pyplot as plt

from paper_figs.drawing import drawn, rendered
from paper_figs.pictures import Picture
from paper_figs.sources import Sources
from theorykit.results import make_folder, write_whole
from theorykit.tables import WRITERS, Table

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


def files_of(name: str, made: Picture | Table, sources: Sources, form: str) -> dict[str, str | bytes]:
    """Return the content of a figure in one format, of a table in all of its own, by name of the file.

    Args:
        name: In :data:`NAMES`.
        made: As :func:`build` returned it.
        sources: From which it was made: named in the files.
        form: One of :data:`PICTURES`.
    """
    if isinstance(made, Table):
        origin = [f"{file}: {source}" for file, source in sources.used.items()]
        return {f"{name}.{ending}": written(made, origin) for ending, written in WRITERS.items()}
    figure = drawn(made)
    try:
        return {f"{name}.{form}": rendered(figure, form, metadata(made, sources))}
    finally:
        plt.close(figure)


def write(files: Mapping[str, str | bytes], out: Path) -> list[Path]:
    """Write files into a folder, made where it is not there; return them.

    Raises:
        InputError: the folder cannot be made, or a file not written.
    """
    make_folder(out)
    for name, content in files.items():
        write_whole(out / name, content)
    return [out / name for name in files]


def metadata(made: Picture, sources: Sources) -> Mapping[str, str]:
    """Return title, caption, and the records with digest, preset, commit and command."""
    return {
        "Title": made.title,
        "Description": " ".join(text for text in (made.caption, made.note) if text),
        "Source": "; ".join(f"{file}: {source}" for file, source in sources.used.items()),
    }
