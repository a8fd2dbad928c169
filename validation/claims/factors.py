"""Bounds that are off by a factor: what the planted controls have to notice."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np


def multiplied(function: Callable[..., Any], factor: float) -> Callable[..., Any]:
    """Return the function with its result multiplied: a number, an array, or the numbers of a result's fields."""

    def wrong(*given: Any, **named: Any) -> Any:
        return _times(function(*given, **named), factor)

    return wrong


def _times(found: Any, factor: float) -> Any:
    if dataclasses.is_dataclass(found) and not isinstance(found, type):
        numbers = {
            field.name: _times(value, factor)
            for field in dataclasses.fields(found)
            if field.init and isinstance(value := getattr(found, field.name), float | np.ndarray | tuple)
        }
        return dataclasses.replace(found, **numbers)
    if isinstance(found, tuple | list):
        return type(found)(_times(part, factor) for part in found)
    numeric = isinstance(found, float | np.floating) or (isinstance(found, np.ndarray) and found.dtype.kind == "f")
    return factor * found if numeric else found
