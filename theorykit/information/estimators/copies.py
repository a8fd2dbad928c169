"""Rows that are nearly copies of one another: what passes for strong dependence where copies are not told."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from theorykit.arguments import Floats

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
    from scipy.spatial import cKDTree

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
