"""Argument checks: each returns the value in its proper type or raises with the name, the value and the rule."""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theorykit.errors import InputError, NonFiniteError

Floats = NDArray[np.float64]


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


def one_of(name: str, value: Any, options: Iterable[str]) -> Any:
    """Return ``value`` where it is one of the options, or raise."""
    known = tuple(options)
    if not isinstance(value, str) or value not in known:
        raise InputError(f"{name} = {shown(value)} is unknown", f"choose one of {', '.join(known)}")
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
    plain = tensor.detach()
    return (plain.double() if plain.is_floating_point() else plain).numpy(force=True)


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
