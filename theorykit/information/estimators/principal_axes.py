"""Principal axes of one side that vary by more than rounding: from its correlations, or from the products of rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from theorykit.arguments import Floats
from theorykit.errors import InputError
from theorykit.information.estimators.pairs import Indices

SINGULAR = 10.0
"""As in ``theorykit.information.gaussian``: a block of size p is singular below this many p · eps."""
_ROUNDING = 8.0
"""A column is constant whose standard deviation is at most this many eps times its mean."""


def varies(deviation: Floats, mean: Floats) -> NDArray[np.bool_]:
    """Return which columns are not constant up to rounding."""
    return np.asarray(deviation > _ROUNDING * np.finfo(float).eps * np.abs(mean))


def principal_whitening(block: Floats, most: int) -> Floats:
    """Return W ``[d, r]`` with Wᵀ R W = 1 for the correlation matrix R of one side, r ≤ ``most``."""
    values, axes = np.linalg.eigh(block)
    keep = _regular(values)[-most:]
    return np.asarray(axes[:, keep] / np.sqrt(values[keep]), dtype=np.float64)


def row_axes(centred: Floats, mean: Floats) -> Floats:
    """Return maps ``[d, r]`` to the r ≤ N/4 leading principal axes of standardised columns, with variance 1."""
    deviation = centred.std(axis=0, ddof=1)
    inverse = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varies(deviation, mean))
    rows = centred * inverse
    values, vectors = np.linalg.eigh(rows @ rows.T / (rows.shape[0] - 1))
    keep = _regular(values)[-(rows.shape[0] // 4) :]
    return np.asarray(inverse[:, None] * (rows.T @ vectors[:, keep]) / values[keep] / np.sqrt(rows.shape[0] - 1))


def _regular(values: Floats) -> Indices:
    """Return which of the ascending eigenvalues of a correlation matrix are more than rounding."""
    if values[-1] <= 0:
        raise InputError("a side is constant in every column", "a constant carries no information")
    return np.flatnonzero(values > SINGULAR * values.size * np.finfo(float).eps * values[-1])
