"""How far a search on a grid can bend a slope: r* is known only to lie in the cell of the value that was found.

Two bounds for each size; the smaller one counts. Whatever the noise, the mean over seeds of ln r* is off by at most
half a cell. Noise that is wide beside the cells is better: its mean hardly sees them. How wide it is comes from the
likelihood of the cells, never from the variance of rounded values: rounding makes variance of its own, and a size
whose seeds sit on the edge of two cells would lend it to all others.
"""

from __future__ import annotations

import numpy as np
from scipy.special import chdtri, ndtr

from theorykit.arguments import Floats
from theorykit.verdicts.intervals import ROUNDING

SHARE = 0.1
"""Share of alpha that pays for the limits of the noise."""
_NOISE, _MEANS = 48, 97
"""Standard deviations and means among which a likelihood is sought."""
_LEAST_NOISE = 0.03
"""Of a cell: below it noise hides nothing."""
_SPEAKS_FOR_LESS = 1.64
"""Twice the fall of the log-likelihood beyond which a size has less noise than the others: χ² with one degree, 20 %."""
_PER_CELL, _FEW_CELLS, _SEVERAL, _SPREADS = 32, 16, 9, 3
"""Means and standard deviations among which the largest shift is sought; a finer net changes it by below 2 %.

Seeds over more cells than a few are noise far wider than a step: the shift hardly depends on the mean then.
"""


def rounding_shifts(logs: Floats, grid: Floats, level: float) -> Floats:
    """Bound |E[mean of rounded ln r] − E[mean of ln r]| at each size; ``[sizes]``, no unit.

    Half a cell bounds it for any noise. Below that it is an upper bound with probability at least about 1 − ``level``
    where ln r* is normal at each size with one standard deviation for all, seeds being independent. Sizes need not be:
    the limits are those of one size alone, χ² with S − 1 degrees of freedom, around what all sizes together give. That
    leaves room for a standard deviation that differs between sizes by a factor of two; a size whose own cells speak for
    less than the common one has its own. Each bound on its own is checked in ``benchmarks/verdict_calibration.py``.

    Args:
        logs: ``[seeds, sizes]`` ln r* as found, 2 seeds or more, none at an end of the grid.
        grid: Values of r that were tried, at least 3; what is found is the one nearest in ln r.
        level: In (0, 1).
    """
    points = np.log(np.unique(grid))
    ends = (points[1:] + points[:-1]) / 2
    place = np.clip(np.searchsorted(points, logs - ROUNDING), 1, points.size - 2)
    low, high = ends[place - 1], ends[place]
    shifts = np.maximum(points[place] - low, high - points[place]).mean(axis=0)
    noise = np.geomspace(_LEAST_NOISE * (high - low).min(), 3 * np.ptp(logs, axis=0).max() + (high - low).max(), _NOISE)
    of_size = np.array([_log_likelihoods(*cells, noise) for cells in zip(low.T, high.T, strict=True)])
    best = int(of_size.sum(axis=0).argmax())
    if best == 0:
        return np.asarray(shifts, dtype=np.float64)
    freedom = logs.shape[0] - 1
    least, most = noise[best] * np.sqrt(freedom / chdtri(freedom, np.array([level / 2, 1 - level / 2])))
    for size, likelihoods in enumerate(of_size):
        likely = 2 * (likelihoods.max() - likelihoods) <= _SPEAKS_FOR_LESS
        own = min(float(least), float(noise[likely].max()))
        hull = float(low[:, size].min()), float(high[:, size].max())
        shifts[size] = min(shifts[size], _largest_shift(points, ends, hull, (own, float(most))))
    return np.asarray(shifts, dtype=np.float64)


def _log_likelihoods(low: Floats, high: Floats, noise: Floats) -> Floats:
    """Compute ln P(cells) of normal numbers at each of ``noise``, at the likeliest mean; cells ``[seeds]``."""
    cells, counts = np.unique(np.stack([low, high]), axis=1, return_counts=True)
    mean = np.linspace(low.min(), high.max(), _MEANS)[:, None]
    below, above = ((end - mean) / noise[:, None, None] for end in cells)
    mass = np.maximum(ndtr(above) - ndtr(below), np.finfo(float).tiny)
    return np.asarray((np.log(mass) * counts).sum(axis=-1).max(axis=-1), dtype=np.float64)


def _largest_shift(points: Floats, ends: Floats, hull: tuple[float, float], spread: tuple[float, float]) -> float:
    """Compute the largest |E[rounded] − μ| of normal numbers, μ in the hull of their cells, σ in ``spread``.

    Given that neither end of the grid is hit, as those sizes are left out.
    """
    cells = int(((ends > hull[0]) & (ends < hull[1])).sum()) + 1
    mean = np.linspace(*hull, _PER_CELL * cells + 1 if cells <= _FEW_CELLS else _SEVERAL)[:, None, None]
    sd = np.geomspace(*spread, _SPREADS)[:, None]
    # cells further off than 9 σ hold nothing
    first = max(int(np.searchsorted(ends, hull[0] - 9 * spread[1])) - 1, 0)
    last = int(np.searchsorted(ends, hull[1] + 9 * spread[1])) + 1
    scaled = (ends[first:last] - mean) / sd
    mass = np.diff(ndtr(scaled), axis=-1)
    # E[(value − μ); cell] = (value − μ) P(cell) and E[(ln r − μ); cell] = −σ (φ(high) − φ(low))
    density = np.exp(-(scaled**2) / 2) / np.sqrt(2 * np.pi)
    shift = (points[first + 1 : first + 1 + mass.shape[-1]] - mean) * mass + sd * np.diff(density, axis=-1)
    inside = mass.sum(axis=-1)
    return float(np.max(np.abs(shift.sum(axis=-1)) / np.where(inside > 0, inside, 1.0), initial=0.0, where=inside > 0))
