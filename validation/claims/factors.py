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


def _times(bound: Any, factor: float) -> Any:
    if dataclasses.is_dataclass(bound) and not isinstance(bound, type):
        numbers = {
            field.name: _times(value, factor)
            for field in dataclasses.fields(bound)
            if field.init and isinstance(value := getattr(bound, field.name), float | np.ndarray | tuple)
        }
        return dataclasses.replace(bound, **numbers)
    if isinstance(bound, tuple | list):
        return type(bound)(_times(part, factor) for part in bound)
    numeric = isinstance(bound, float | np.floating) or (isinstance(bound, np.ndarray) and bound.dtype.kind == "f")
    return factor * bound if numeric else bound
