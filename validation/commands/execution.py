"""Where students are trained, as the commands are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from theorykit.arguments import one_of
from theorykit.devices import torch_device
from theorykit.errors import InputError

if TYPE_CHECKING:
    from validation.training.sweep import Executor

LOCAL, RAY = "local", "ray"


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
    from validation.training.executors import here, processes, ray_cluster

    if executor == RAY:  # a cluster has devices that are not here
        return ray_cluster(address, workers)
    if device is not None:
        torch_device(device)
    return here if alone(executor, workers) else processes(workers or 0)
