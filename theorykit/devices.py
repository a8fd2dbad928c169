"""Which device torch computes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from theorykit.checks import shown
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
