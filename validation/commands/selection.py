"""Options that the commands on experiments share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

WORK = Path(".work/validation")
STUDENTS = WORK / "students"
"""The store of the students of all experiments: those that several ask for are trained once."""

Slugs = Annotated[
    list[str] | None,
    typer.Argument(metavar="STATEMENT", help="As sgd-convergence, theorem-1 or eq-11; all without it."),
]
Preset = Annotated[
    str,
    typer.Option(
        "--preset",
        help="smoke: a minute, tests the program alone; cpu: an hour or two on two cores; gpu: one accelerator; paper: "
        "the paper's settings.",
    ),
]
Parts = Annotated[
    list[str] | None,
    typer.Option("--part", help="planted, students or teacher. [default: all that the preset has] May be repeated."),
]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda, …; a GPU where there is one.")]
MaxHours = Annotated[
    float | None, typer.Option("--max-hours", metavar="H", help="Refuse a plan that is expected to take longer.")
]
Underpowered = Annotated[
    bool, typer.Option("--underpowered", help="Run parts whose planned power is below 0.8 all the same.")
]


def duration(seconds: float) -> str:
    """Return a time as a person says it."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
