"""Argument checks, of scalars and of arrays: each returns the value in its type or raises with name, value and rule."""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theorykit.errors import InputError, NonFiniteError

Floats = NDArray[np.float64]
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many of its steps are done, and how many there are."""

LARGEST = 1e150
"""Numbers beyond it have squares beyond float64, and so no variance."""
LARGEST_ENTRY = 1e75
"""Entries of data matrices beyond it have squared norms without a variance."""


def shown(value: Any) -> str:
    """Return ``value`` for a message: short, and on one line."""
    return " ".join(reprlib.repr(value).split())


def positive_number(name: str, value: Any, *, allow_zero: bool = False) -> float:
    """Return ``value`` as a finite float above zero (or at least zero with ``allow_zero``); no truth values."""
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # torch raises the last
        raise InputError(f"{name} = {shown(value)} is not a number", f"give {name} as a number") from None
    rule = "at least 0" if allow_zero else "above 0"
    if not math.isfinite(number) or number < 0 or (number == 0 and not allow_zero):
        raise InputError(f"{name} = {value!r} has to be finite and {rule}", f"give a {name} {rule}")
    return number


def positive_integer(name: str, value: Any, *, allow_zero: bool = False, maximum: int | None = None) -> int:
    """Return ``value`` as an integer of at least 1 (or 0), and at most ``maximum`` where that is given."""
    truth = isinstance(value, bool | np.bool_)
    number = 0.5 if truth else positive_number(name, value, allow_zero=allow_zero)
    if number != int(number):
        hint = f"give {name} as {'0, ' if allow_zero else ''}1, 2, 3, …"
        raise InputError(f"{name} = {value!r} is not a whole number", hint)
    if maximum is not None and number > maximum:
        raise InputError(f"{name} = {value!r} is above its maximum {maximum}", f"give at most {maximum}")
    return int(number)


def did_you_mean(name: Any, known: Iterable[str]) -> str:
    """Return the start of a hint that names the nearest known name, or nothing where none is near."""
    near = get_close_matches(name, list(known), n=1) if isinstance(name, str) else []
    return f"did you mean {near[0]}? " if near else ""


def one_of(name: str, value: Any, options: Iterable[str]) -> Any:
    """Return ``value`` where it is one of the options, or raise with the nearest one."""
    known = tuple(options)
    if not isinstance(value, str) or value not in known:
        raise InputError(
            f"{name} = {shown(value)} is unknown", f"{did_you_mean(value, known)}choose one of {', '.join(known)}"
        )
    return value


def checked_generator(value: Any) -> np.random.Generator:
    """Return ``value`` or raise where it is no NumPy generator."""
    if not isinstance(value, np.random.Generator):
        raise InputError(
            f"generator = {shown(value)} is not a numpy.random.Generator", "give numpy.random.default_rng(seed)"
        )
    return value


def shape_2d(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return ``(m, n)`` or raise where the shape is not that of a non-empty matrix."""
    try:
        m, n = (operator.index(size) for size in shape)
    except (TypeError, ValueError):
        m = n = 0
    if min(m, n) < 1:
        raise InputError(f"shape {shown(shape)} is not that of a matrix", "give two dimensions, each at least 1")
    return m, n


def _numpy(tensor: Any) -> Any:
    """Return a torch tensor as a NumPy array: NumPy knows neither bfloat16 nor gradients nor other devices."""
    values = tensor.detach()
    return (values.double() if values.is_floating_point() else values).numpy(force=True)


def _floats(name: str, value: Any, *, strict: bool = False) -> Floats:
    """Return ``value`` (an array, a tensor of any type, nested lists) as a float64 array; no truth values if strict."""
    try:
        array = np.asarray(_numpy(value) if hasattr(value, "detach") else value)
        if array.dtype.kind not in ("iufO" if strict else "iufObSU"):
            raise TypeError
        with np.errstate(over="ignore"):  # a long double beyond float64
            return np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise InputError(
            f"{name} is not made of real numbers: {shown(value)}", "give numbers in rows of equal length"
        ) from None


def finite_matrix(name: str, value: Any) -> Floats:
    """Return ``value`` as a float64 matrix without NaN or infinity."""
    matrix = _floats(name, value)
    shape_2d(matrix.shape)
    if not np.isfinite(matrix).all():
        raise NonFiniteError(f"{name} holds NaN or infinity", "check how it was made or loaded")
    return matrix


def moment_matrix(name: str, value: Any, size: int) -> Floats:
    """Return ``value`` as a symmetric positive semi-definite ``[size, size]`` matrix; singular is allowed."""
    matrix = finite_matrix(name, value)
    if matrix.shape != (size, size):
        raise InputError(f"{name} has shape {matrix.shape}, not ({size}, {size})", "one row and column per feature")
    scale = float(np.abs(matrix).max()) or 1.0
    unit = matrix / scale  # so that no number near the ends of float64 overflows
    if not np.allclose(unit, unit.T, rtol=0.0, atol=1e-8):
        raise InputError(f"{name} is not symmetric", "a second moment E[x xᵀ] is")
    lowest = float(np.linalg.eigvalsh(unit / 2 + unit.T / 2)[0])
    if lowest < -1e-8 * size:
        raise InputError(
            f"{name} has the negative eigenvalue {lowest * scale:.3g}", "a second moment E[x xᵀ] has none below 0"
        )
    return np.asarray(matrix / 2 + matrix.T / 2, dtype=np.float64)


def non_increasing(name: str, value: Any) -> Floats:
    """Return ``value`` as a non-empty, finite, non-negative and non-increasing float64 vector."""
    vector = _floats(name, value)
    if vector.ndim != 1 or vector.size == 0:
        raise InputError(f"{name} has shape {vector.shape}, not that of a non-empty vector", "give [k] numbers")
    if not np.isfinite(vector).all():
        raise NonFiniteError(f"{name} holds NaN or infinity", "check the weights they came from")
    if (vector < 0).any() or (np.diff(vector) > 0).any():
        raise InputError(f"{name} has to be non-negative and non-increasing", "sort it: np.sort(values)[::-1]")
    return vector


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
