"""Checks of a pair of samples: what is refused, what is put right and said, near copies, and what memory is free."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from theorykit.arguments import Floats, _floats, finite_matrix
from theorykit.devices import free_bytes
from theorykit.errors import InputError

Indices = NDArray[np.intp]

FEW_SAMPLES = 50
"""Below this N no interval of an estimator was tested; a warning says so."""
_ROUNDING = 8.0
"""A column is constant where it spans at most this many eps times its largest magnitude."""


@dataclass(frozen=True, eq=False)
class Pair:
    """N paired samples without constant columns.

    Attributes:
        x: ``[N, d_x]``.
        y: ``[N, d_y]``.
        groups: Number of the group (sequence) of each row ``[N]``, counted from 0; None for independent rows.
        dimensions: Columns as they were given, constant ones included.
        warnings: What was found, one sentence each.
    """

    x: Floats
    y: Floats
    groups: Indices | None
    dimensions: tuple[int, int]
    warnings: tuple[str, ...] = ()

    @property
    def n_samples(self) -> int:
        """Return N."""
        return int(self.x.shape[0])

    @property
    def width(self) -> int:
        """Return the number of columns of both sides together."""
        return int(self.x.shape[1] + self.y.shape[1])

    def rows(self, chosen: Any) -> Pair:
        """Return the pair at some rows."""
        groups = None if self.groups is None else self.groups[chosen]
        return replace(self, x=self.x[chosen], y=self.y[chosen], groups=groups)


def checked_pair(x: Any, y: Any, groups: Any = None) -> Pair:
    """Return two samples as a :class:`Pair`, or raise where no estimator can use them.

    Constant columns are left out (they carry no information) and said. Repeated rows, rows that are nearly copies of
    others, N < 50 and d_x + d_y ≥ N are said. Groups of one row each are no groups.

    Args:
        x: ``[N, d_x]``, or ``[N]`` for one column.
        y: ``[N, d_y]`` or ``[N]``, the same rows.
        groups: Label ``[N]`` of each row's group, rows of different groups being independent; None where all are.

    Returns:
        The pair, with its warnings.

    Raises:
        InputError: not real numbers, masked entries, unequal numbers of rows, unequal pandas indices, one row, a side
            without any column that varies, or ``groups`` that do not fit, lack a label or hold one group alone.
        NonFiniteError: NaN or infinity.

    Example:
        >>> pair = checked_pair([[1.0, 7.0], [2.0, 7.0], [4.0, 7.0]], [0.0, 1.0, 5.0])
        >>> pair.x.ravel().tolist()
        [1.0, 2.0, 4.0]
        >>> pair.warnings[0]
        'x: 1 of 2 columns is constant and was left out'
    """
    first, second = _matrix("x", x), _matrix("y", y)
    count = first.shape[0]
    if count != second.shape[0] or count < 2:
        raise InputError(
            f"x has {count} rows and y has {second.shape[0]}", "give the same samples to both, one per row, at least 2"
        )
    _check_indices(x=x, y=y, groups=groups)
    dimensions = (first.shape[1], second.shape[1])
    warnings: list[str] = []
    first, second = (_varying(name, side, warnings) for name, side in (("x", first), ("y", second)))
    pair = Pair(first, second, _group_numbers(groups, count), dimensions)
    copies = _repeats(pair) or near_copies(pair.x, pair.y, pair.groups)
    return replace(pair, warnings=(*warnings, *_size_warnings(pair), *copies))


def _matrix(name: str, value: Any) -> Floats:
    _check_mask(name, value)
    array = _floats(name, value)
    if array.ndim == 3:
        batch, length, width = array.shape
        raise InputError(
            f"{name} has shape {array.shape}, not [N, d]",
            f"reshape to [{batch * length}, {width}] and give groups = numpy.repeat(numpy.arange({batch}), {length})",
        )
    if array.ndim not in (1, 2) or array.size == 0:
        raise InputError(f"{name} has shape {array.shape}, not [N, d]", "give one row per sample, at least 2")
    return finite_matrix(name, array[:, None] if array.ndim == 1 else array)


def _check_mask(name: str, value: Any) -> None:
    """Raise where a masked array hides entries: NumPy would hand on what lies under the mask."""
    if np.ma.is_masked(value):
        masked = int(np.ma.getmaskarray(value).sum())
        raise InputError(f"{name} has {masked} masked entries", "leave their rows out of x, y and groups")


def _check_indices(**arguments: Any) -> None:
    """Raise where two pandas objects name their rows differently: rows are paired by place, not by name."""
    named = [(name, value.index) for name, value in arguments.items() if hasattr(value, "iloc")]
    for name, index in named[1:]:
        if not index.equals(named[0][1]):
            raise InputError(
                f"{named[0][0]} and {name} have different pandas indices",
                "bring the rows to one order, or give .to_numpy() where they are",
            )


def _varying(name: str, side: Floats, warnings: list[str]) -> Floats:
    """Return the columns that are not constant up to rounding."""
    low, high = side.min(axis=0), side.max(axis=0)
    varies = high - low > _ROUNDING * np.finfo(float).eps * np.maximum(np.abs(low), np.abs(high))
    constant = int((~varies).sum())
    if constant == 0:
        return side
    if constant == side.shape[1]:
        raise InputError(f"{name} is constant in every column", "a constant carries no information")
    verb = "is" if constant == 1 else "are"
    warnings.append(f"{name}: {constant} of {side.shape[1]} columns {verb} constant and {_was(constant)} left out")
    return side[:, varies]


def _was(count: int) -> str:
    return "was" if count == 1 else "were"


def _group_numbers(groups: Any, count: int) -> Indices | None:
    if groups is None:
        return None
    _check_mask("groups", groups)
    labels = _labels(groups)
    if labels.shape == (count, 1):
        labels = labels[:, 0]
    if labels.shape != (count,):
        raise InputError(f"groups has shape {labels.shape}, not ({count},)", "one label per row")
    try:
        missing = _is_missing(labels)
        if missing.any():
            raise InputError(f"groups has no label at row {int(np.argmax(missing))}", "label every row")
        names, numbers = np.unique(labels, return_inverse=True)
    except TypeError:
        raise InputError("groups holds labels that cannot be compared", "give whole numbers or names alone") from None
    if names.size < 2:
        raise InputError("groups holds 1 group", "rows of at least 2 independent groups are needed")
    return None if names.size == count else np.asarray(numbers, dtype=np.intp)


def _labels(groups: Any) -> NDArray[Any]:
    """Return labels as an array; those of a list as objects, as NumPy makes the name "nan" of a NaN among names."""
    if hasattr(groups, "detach"):
        return np.asarray(groups.numpy(force=True))
    return np.asarray(groups, dtype=None if hasattr(groups, "dtype") else object)


def _is_missing(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which labels ``[N]`` are None, NaN, NaT or pandas' NA; raises TypeError where one is a list."""
    if labels.dtype.kind in "fcmM":
        return np.asarray(np.isnan(labels))
    if labels.dtype.kind != "O":
        return np.zeros(labels.shape, dtype=bool)
    values = labels.tolist()
    set(values)
    return np.array([value is None or type(value).__name__ == "NAType" or value != value for value in values])


def _size_warnings(pair: Pair) -> list[str]:
    warnings = []
    if pair.n_samples < FEW_SAMPLES:
        warnings.append(f"{pair.n_samples} samples are fewer than {FEW_SAMPLES}: the interval is not reliable")
    if pair.width >= pair.n_samples:
        warnings.append(f"too few samples for the dimension: d_x + d_y = {pair.width} with N = {pair.n_samples}")
    return warnings


def _repeats(pair: Pair) -> list[str]:
    """Return a warning where pairs occur more than once; only rows tied in their first column are compared."""
    values, inverse, counts = np.unique(pair.x[:, 0], return_inverse=True, return_counts=True)
    if values.size == pair.n_samples:
        return []
    tied = counts[inverse] > 1
    rows = np.hstack([pair.x[tied], pair.y[tied]])
    repeated = rows.shape[0] - np.unique(rows, axis=0).shape[0]
    if repeated == 0:
        return []
    verb = "repeats" if repeated == 1 else "repeat"
    return [f"{repeated} of {pair.n_samples} pairs {verb} an earlier one: discrete values or dependent draws"]


def check_memory(needed: int) -> None:
    """Raise where more bytes are needed than are free.

    Raises:
        InputError: ``needed`` is above the free memory.
    """
    free = free_bytes()
    if free is not None and needed > free:
        raise InputError(
            f"{needed / 1e9:.3g} GB of memory are needed and {free / 1e9:.3g} GB are free",
            "give fewer rows or columns",
        )


_ROWS = 300
"""Rows that are looked at: 10 % is 9 standard errors above the 2 % of rows on a curve."""
_COLUMNS = 6
"""Columns of the projection that is searched: copies stay close in any, and trees are fast."""
_MOST_SEEN = 64
"""Columns of a side that go into the projection."""
_SHARE = 0.1
_CHANCE = 0.01
"""Of a gap after the first neighbour of a row on a curve; less for all other gaps and dimensions."""
_GAP = 0.1
_MOST_COPIES = 64


def near_copies(x: Floats, y: Floats, groups: NDArray[np.intp] | None = None) -> tuple[str, ...]:
    """Return a warning where many rows stand in clumps, as copies with a little noise do.

    With r_k the distance to the k-th neighbour of (x, y), columns scaled to [0, 1]: of independent rows whose law has a
    density on m dimensions r_k/r_(k + 1) lies below t with probability t^(km), whatever the density. A row counts where
    some ratio lies below 0.1 (0.01 for k = 1): 2.1 % of independent rows on a curve, 0.02 % on a surface. More than
    10 % are said. Tight clusters are said too: independent draws of a mixture cannot be told from copies. Rows that
    follow one another slowly have no gap and are not found.

    Args:
        x: ``[N, d_x]``, no constant column.
        y: ``[N, d_y]``.
        groups: Where given, nothing is said: rows of one group may be alike.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, y = np.repeat(rng.standard_normal((2, 50, 1)), 4, axis=1)
        >>> near_copies(x, y)
        ()
        >>> len(near_copies(*(side + 1e-4 * rng.standard_normal(side.shape) for side in (x, y))))
        1
    """
    count = x.shape[0]
    most = min(_MOST_COPIES, count // 4)
    if groups is not None or most < 2:
        return ()
    rows = _projected(x, y)
    chosen = rows[np.unique(np.linspace(0, count - 1, _ROWS).astype(np.intp))]
    distances = np.asarray(cKDTree(rows).query(chosen, k=most + 2)[0])[:, 1:]  # the row itself is at 0
    limits = np.minimum(_GAP, _CHANCE ** (1 / np.arange(1, most + 1)))
    gaps = (distances[:, :-1] > 0) & (distances[:, :-1] < limits * distances[:, 1:])
    share = float(gaps.any(axis=1).mean())
    if share <= _SHARE:
        return ()
    return (
        f"{share:.0%} of the rows stand in tight clumps: if they are near copies or dependent draws, give groups; "
        "else the information is overstated",
    )


def _projected(x: Floats, y: Floats) -> Floats:
    """Return the rows of (x, y), columns scaled to [0, 1], in a few random directions; the same for the same width.

    Of a wide side every so many columns are enough: copies are alike in any.
    """
    x, y = (side[:, :: -(-side.shape[1] // _MOST_SEEN)].copy() for side in (x, y))  # strides cost more than the copy
    width = x.shape[1] + y.shape[1]
    directions = np.eye(width) if width <= _COLUMNS else np.random.default_rng(0).standard_normal((width, _COLUMNS))
    parts = zip((x, y), np.split(directions, [x.shape[1]]), strict=True)
    return np.asarray(sum((side - side.min(axis=0)) / np.ptp(side, axis=0) @ part for side, part in parts))
