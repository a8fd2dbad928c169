"""The log density ratio of a Gaussian relation, as a fixed part of a critic: what is left to learn is the rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from theorykit.arguments import Floats
from theorykit.information.estimators.canonical import canonical_reduction
from theorykit.information.estimators.splits import Splits

_LARGEST = 0.9999
"""Correlations are cut here: the ratio of rows beyond would not fit into a float32."""


def gaussian_anchor(x: Floats, y: Floats, splits: Splits) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Compute a(x), b(y) ``[N, k + 2]`` with a(x_i) · b(y_j) = log p(x_i, y_j)/(p(x_i) p(y_j)) of a Gaussian, in nats.

    For k canonical pairs (u, v) with correlations ρ the ratio is Σ [ρ u v − ½ ρ² (u² + v²)]/(1 − ρ²) − ½ log(1 − ρ²):
    an equality for Gaussian vectors, elsewhere a place to start from. The maps to (u, v) are fitted on the train rows
    and keep the pairs above the noise edge, possibly none; means, variances and ρ come from the validation rows,
    since those of the train rows are too large. Test rows have no part in it.

    Args:
        x: ``[N, d_x]``, all rows.
        y: ``[N, d_y]``.
        splits: Which rows are which.

    Returns:
        a ``[N, k + 2]`` and b ``[N, k + 2]``.

    References:
        Gelfand & Yaglom (1959), for the ratio in canonical coordinates.

    Example:
        >>> from theorykit.information.estimators.splits import split_rows
        >>> rng = np.random.default_rng(0)
        >>> x, noise = rng.standard_normal((2, 4000, 1))
        >>> y = 0.6 * x + 0.8 * noise
        >>> left, right = gaussian_anchor(x, y, split_rows(np.arange(4000), rng))
        >>> bool(abs((left * right).sum(axis=1).mean() - 0.2231) < 0.03)  # its mean is I = ½ log(1/0.64)
        True
    """
    reduction = canonical_reduction(x[splits.train], y[splits.train])
    kept = reduction.significant
    u, v = (side[:, :kept] for side in reduction.transform(x, y))
    (u, v), held_out = _standardised((u, v), splits.validation), splits.validation
    rho = np.clip((u[held_out] * v[held_out]).mean(axis=0), 0.0, _LARGEST)
    left_over = 1 - rho**2
    ones = np.ones((x.shape[0], 1))
    own = [-0.5 * (side**2 @ (rho**2 / left_over))[:, None] for side in (u, v)]
    constant = -0.5 * float(np.log(left_over).sum())
    first = np.hstack([u * (rho / left_over), own[0], ones])
    second = np.hstack([v, ones, own[1] + constant])
    return first.astype(np.float32), second.astype(np.float32)


def _standardised(sides: tuple[Floats, Floats], rows: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Return both sides with mean 0 and variance 1 on these rows."""
    first, second = ((side - side[rows].mean(axis=0)) / side[rows].std(axis=0) for side in sides)
    return first, second
