"""What the seeds of an experiment say together."""

from __future__ import annotations

import numpy as np

from paper_figs.pictures import floats
from theorykit.arguments import Floats
from validation.theorem_2.slopes import mean_intervals


def over_seeds(values: Floats, level: float = 0.95) -> tuple[Floats, Floats, Floats]:
    """Return means and ends of their t intervals over the first axis; NaN where fewer than 2 seeds are left."""
    mean, low, high = (floats(part) for part in mean_intervals(values, level))
    return mean, low, high


def geometric_over_seeds(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Return geometric means of numbers above 0, and ends of the 95 % intervals of the means of their logarithms."""
    mean, low, high = (np.exp(part) for part in over_seeds(np.log(values)))
    return mean, low, high
