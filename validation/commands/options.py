"""Options that several commands share, and what follows from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from theorykit.arguments import one_of
from theorykit.errors import InputError

if TYPE_CHECKING:
    from validation.training.sweep import Executor

WORK = Path(".work/validation")
STUDENTS = WORK / "students"
"""The store of the students of all experiments: those that several ask for are trained once."""
LOCAL, RAY = "local", "ray"

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
Records = Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where records are kept.")]
Place = Annotated[str, typer.Option("--executor", help="Where students are trained: local, or ray.")]
Address = Annotated[
    str | None, typer.Option(help="Of a Ray cluster that runs: HOST:PORT or auto; else one is started here.")
]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda, …; a GPU where there is one.")]
MaxHours = Annotated[
    float | None, typer.Option("--max-hours", metavar="H", help="Refuse a plan that is expected to take longer.")
]
Underpowered = Annotated[
    bool, typer.Option("--underpowered", help="Run parts whose planned power is below 0.8 all the same.")
]


def check_executor(executor: str, address: str | None) -> None:
    """Raise where there is no such executor, or an address that it has no use for."""
    if one_of("executor", executor, (LOCAL, RAY)) != RAY and address is not None:
        raise InputError(f"address = {address!r} is for a Ray cluster", "add --executor ray")


def alone(executor: str, workers: int | None) -> bool:
    """Return whether students are trained in this process, one batch after another."""
    return executor == LOCAL and workers in (None, 1)


def chosen_executor(executor: str, address: str | None, workers: int | None, device: str | None) -> Executor:
    """Return the executor.

    Raises:
        InputError: no such executor, no worker, or a device that is not there.
    """
    check_executor(executor, address)
    from theorykit.devices import torch_device
    from validation.training.sweep import here, processes, ray_cluster

    if executor == RAY:  # a cluster has devices that are not here
        return ray_cluster(address, workers)
    if device is not None:
        torch_device(device)
    return here if alone(executor, workers) else processes(workers or 0)
