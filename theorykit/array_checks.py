"""Checks of array arguments: each returns float64 of any shape, or raises with the name, the value and the rule."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from theorykit.checks import Floats, _floats, finite_matrix
from theorykit.errors import InputError, NonFiniteError

LARGEST = 1e150
"""Numbers beyond it have squares beyond float64, and so no variance."""
LARGEST_ENTRY = 1e75
"""Entries of data matrices beyond it have squared norms without a variance."""


def number_array(
    name: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    open_low: bool = False,
    open_high: bool = False,
    allow_infinite: bool = False,
    allow_nan: bool = False,
) -> Floats:
    """Return ``value`` as a non-empty array of numbers between ``low`` and ``high``, finite unless allowed.

    Args:
        name: Of the argument, for the message.
        value: A number, nested lists, an array or a tensor, of any shape; no truth values, no text.
        low: Smallest allowed number.
        high: Largest allowed number.
        open_low: Refuse ``low`` itself.
        open_high: Refuse ``high`` itself.
        allow_infinite: Take ±infinity, whatever the ends.
        allow_nan: Take NaN.

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
    taken = (np.isinf(array) & allow_infinite) | (np.isnan(array) & allow_nan)
    inside = (finite & above & below) | taken
    finite |= taken
    if not inside.all():
        error, first = (InputError, array[~inside][0]) if finite.all() else (NonFiniteError, array[~finite][0])
        left = "(" if open_low or low == -math.inf else "["
        right = ")" if open_high or high == math.inf else "]"
        domain = f"{left}{_shown(low)}, {_shown(high)}{right}"
        raise error(f"{name} = {_shown(first)} lies outside {domain}", f"give a finite {name} in {domain}")
    return array


def single_number(name: str, value: Any, **domain: Any) -> float:
    """Return ``value`` as one number in the domain of :func:`number_array`."""
    array = number_array(name, value, **domain)
    if array.ndim:
        raise InputError(f"{name} has shape {array.shape}, not that of one number", f"give one {name}")
    return float(array)


def single_probability(name: str, value: Any) -> float:
    """Return ``value`` as one number strictly between 0 and 1."""
    return single_number(name, value, low=0, high=1, open_low=True, open_high=True)


def positive_array(name: str, value: Any, *, allow_zero: bool = False) -> Floats:
    """Return ``value`` as an array of finite numbers above zero (or at least zero with ``allow_zero``)."""
    return number_array(name, value, low=0, open_low=not allow_zero)


def probability_array(name: str, value: Any) -> Floats:
    """Return ``value`` as an array of numbers strictly between 0 and 1."""
    return number_array(name, value, low=0, high=1, open_low=True, open_high=True)


def whole_number_array(name: str, value: Any, *, minimum: int = 1, maximum: int | None = None) -> Floats:
    """Return ``value`` as an array of whole numbers of at least ``minimum``, and at most ``maximum`` where given."""
    array = number_array(name, value, low=minimum, high=math.inf if maximum is None else maximum)
    wrong = array[array != np.floor(array)]
    if wrong.size:
        hint = f"give {name} as {minimum}, {minimum + 1}, {minimum + 2}, …"
        raise InputError(f"{name} = {_shown(wrong[0])} is not a whole number", hint)
    return array


@contextmanager
def calculation(**arguments: Any) -> Iterator[None]:
    """Check that checked arguments broadcast, and compute inside without a warning of NumPy.

    Inside, what exceeds 1.8e308 becomes infinity. Where no number is left then (∞ − ∞, 0 · ∞), an error is raised.

    Args:
        **arguments: Arrays of any shape, under their public names; None for data that need not broadcast.

    Raises:
        InputError: the shapes do not broadcast, or the numbers leave float64.

    Example:
        >>> with calculation(rank=np.ones(2), n_samples=np.ones(3)):
        ...     pass
        Traceback (most recent call last):
        theorykit.errors.InputError: rank of shape (2,) and n_samples of shape (3,) do not broadcast
    """
    try:
        np.broadcast_shapes(*(np.shape(array) for array in arguments.values()))
    except ValueError:
        parts = [f"{name} of shape {np.shape(array)}" for name, array in arguments.items() if np.ndim(array)]
        raise InputError(
            f"{', '.join(parts[:-1])} and {parts[-1]} do not broadcast", "give single numbers or arrays of one shape"
        ) from None
    try:
        with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="raise"):
            yield
    except FloatingPointError:
        raise InputError(
            f"{', '.join(arguments)}: the numbers leave the range of float64", "give them in other units"
        ) from None


def matrix_stack(name: str, value: Any) -> Floats:
    """Return ``value`` as a stack ``[..., rows, columns]`` of non-empty matrices of finite numbers."""
    array = number_array(name, value)
    if array.ndim < 2:
        raise InputError(f"{name} has shape {array.shape}, not that of matrices", "give [..., rows, columns] numbers")
    return array


def data_matrix(name: str, value: Any) -> Floats:
    """Return ``value`` as a non-empty matrix of numbers up to ``LARGEST_ENTRY``."""
    matrix = finite_matrix(name, value)
    if np.abs(matrix).max() > LARGEST_ENTRY:
        raise InputError(
            f"{name} holds numbers beyond {LARGEST_ENTRY:g}: their fourth powers leave float64", "use a larger unit"
        )
    return matrix


def unwrapped(result: Floats) -> Any:
    """Return an array as it is and a 0-d array as a float."""
    return result if np.ndim(result) else float(result)


def _shown(number: float) -> str:
    """Return the number in six digits where they say it exactly, else in as many as it takes."""
    short = f"{number:g}"
    return short if float(short) == number else repr(float(number))
