"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no warnings, no hints.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Device = Annotated[
    str | None,
    typer.Option(metavar="DEVICE", help="cpu, cuda or cuda:0; the GPU where there is one by default."),
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Do not keep or use computed spectra ($THEORYKIT_CACHE).")]
AllowPickle = Annotated[bool, typer.Option("--allow-pickle", help="Read pickled weights, with weights_only=True.")]
SaveSpectra = Annotated[
    Path | None,
    typer.Option(metavar="FILE.npz", help="Keep the spectra; a later run takes them as its model."),
]
