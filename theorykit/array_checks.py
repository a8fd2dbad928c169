"""Checks of array arguments: each returns float64 of any shape, or raises with the name, the value and the rule."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from theorykit.checks import Floats, _floats
from theorykit.errors import InputError, NonFiniteError


def number_array(
    name: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    open_low: bool = False,
    open_high: bool = False,
) -> Floats:
    """Return ``value`` as a non-empty array of finite numbers between ``low`` and ``high``.

    Args:
        name: Of the argument, for the message.
        value: A number, nested lists, an array or a tensor, of any shape; no truth values, no text.
        low: Smallest allowed number.
        high: Largest allowed number.
        open_low: Refuse ``low`` itself.
        open_high: Refuse ``high`` itself.

    Raises:
        InputError: not real numbers, empty, or a number outside the domain; the message names the first one.
        NonFiniteError: NaN or infinity.

    Example:
        >>> number_array("correlation", [0.5, -1], low=-1, high=1).tolist()
        [0.5, -1.0]
        >>> number_array("correlation", [0.5, 2], low=-1, high=1)
        Traceback (most recent call last):
        theorykit.errors.InputError: correlation = 2 lies outside [-1, 1]
    """
    array = _floats(name, value, strict=True)
    if array.size == 0:
        raise InputError(f"{name} is empty", "give at least one number")
    finite = np.isfinite(array)
    above = array > low if open_low else array >= low
    below = array < high if open_high else array <= high
    inside = finite & above & below
    if not inside.all():
        error, first = (InputError, array[~inside][0]) if finite.all() else (NonFiniteError, array[~finite][0])
        left = "(" if open_low or low == -math.inf else "["
        right = ")" if open_high or high == math.inf else "]"
        domain = f"{left}{_shown(low)}, {_shown(high)}{right}"
        raise error(f"{name} = {_shown(first)} lies outside {domain}", f"give a finite {name} in {domain}")
    return array


def positive_array(name: str, value: Any, *, allow_zero: bool = False) -> Floats:
    """Return ``value`` as an array of finite numbers above zero (or at least zero with ``allow_zero``)."""
    return number_array(name, value, low=0, open_low=not allow_zero)


def probability_array(name: str, value: Any) -> Floats:
    """Return ``value`` as an array of numbers strictly between 0 and 1."""
    return number_array(name, value, low=0, high=1, open_low=True, open_high=True)


def whole_number_array(name: str, value: Any, *, maximum: int | None = None) -> Floats:
    """Return ``value`` as an array of whole numbers of at least 1, and at most ``maximum`` where that is given."""
    array = number_array(name, value, low=1, high=math.inf if maximum is None else maximum)
    wrong = array[array != np.floor(array)]
    if wrong.size:
        raise InputError(f"{name} = {_shown(wrong[0])} is not a whole number", f"give {name} as 1, 2, 3, …")
    return array


def matrix_stack(name: str, value: Any) -> Floats:
    """Return ``value`` as a stack ``[..., rows, columns]`` of non-empty matrices of finite numbers."""
    array = number_array(name, value)
    if array.ndim < 2:
        raise InputError(f"{name} has shape {array.shape}, not that of matrices", "give [..., rows, columns] numbers")
    return array


def unwrapped(result: Floats) -> Any:
    """Return an array as it is and a 0-d array as a float."""
    return result if np.ndim(result) else float(result)


def _shown(number: float) -> str:
    """Return the number in six digits where they say it exactly, else in as many as it takes."""
    short = f"{number:g}"
    return short if float(short) == number else repr(float(number))
