"""Which device torch computes on, and how much memory is free."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from theorykit.arguments import shown
from theorykit.errors import InputError

if TYPE_CHECKING:
    import torch


def torch_device(device: Any) -> torch.device:
    """Return the named device; the first GPU where there is one, else the processor, for None.

    Args:
        device: ``cpu``, ``cuda``, ``cuda:0`` or a ``torch.device``.

    Raises:
        InputError: the device is not there.
    """
    import torch

    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(1, device=place).item()  # the device "meta" gives tensors without numbers
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError(f"device {shown(device)} is not there", "give cpu, cuda or cuda:0") from error
    return place


def free_bytes() -> int | None:
    """Return the memory that is free in bytes (what the system calls available), or None where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kibibytes = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None
    free = kibibytes * 1024
    try:
        limit, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):  # no limit is written as "max"
        return free
    return min(free, max(0, limit - used))
