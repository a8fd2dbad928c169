"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from theorykit.errors import InputError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no warnings, no hints.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Device = Annotated[
    str | None,
    typer.Option(metavar="DEVICE", help="cpu, cuda or cuda:0; the GPU where there is one by default."),
]
Seed = Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")]
Unit = Annotated[str, typer.Option(help="What n counts: sequences, tokens or documents.")]
SequenceLength = Annotated[float, typer.Option(help="Tokens per sequence or document.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Do not keep or use computed spectra ($THEORYKIT_CACHE).")]
AllowPickle = Annotated[bool, typer.Option("--allow-pickle", help="Read pickled weights, with weights_only=True.")]
SaveSpectra = Annotated[
    Path | None,
    typer.Option(metavar="FILE.npz", help="Keep the spectra; a later run takes them as its model."),
]


def check_outputs(**files: Path | None) -> None:
    """Raise before any work is done where a result could not be written afterwards.

    Args:
        files: Option name (``save_spectra``) to the file that it writes, or None.

    Raises:
        InputError: the folder is missing or cannot be written, the file is no file, or two options name the same one.
    """
    taken: dict[Path, str] = {}
    for name, path in files.items():
        if path is None:
            continue
        option = f"--{name.replace('_', '-')}"
        folder = path.absolute().parent
        if not folder.is_dir():
            raise InputError(f"the folder of {path} does not exist", "make it first")
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "not a regular file"
            raise InputError(f"cannot write {option} {path}: it is {kind}", "give the name of a file")
        if not os.access(folder, os.W_OK):
            raise InputError(f"cannot write {option} {path}: no permission in its folder", "give another folder")
        if name == "save_spectra" and path.suffix != ".npz":
            raise InputError(f"{option} {path} does not end in .npz", "a later run knows spectra by that ending")
        other = taken.setdefault(path.resolve(), option)
        if other != option:
            raise InputError(f"{other} and {option} both write {path}", "give two names")
