"""Critics for pairs of any width: wide ones are brought to canonical pairs with rows that are not used again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from theorykit.errors import TheorykitError
from theorykit.information.estimators.blocks import balanced_blocks
from theorykit.information.estimators.canonical import canonical_reduction
from theorykit.information.estimators.objectives import Method
from theorykit.information.estimators.pairs import Pair
from theorykit.information.estimators.training import TrainingSettings
from theorykit.information.estimators.variational import TrainedEstimate, trained_estimates

WIDE = 128
"""d_x + d_y above which critics see canonical pairs in place of the columns."""
MOST_COMPONENTS = 32


def reduced(pair: Pair) -> Pair:
    """Return the pair itself up to ``WIDE`` columns, else k canonical pairs of half of its rows.

    The maps are fitted on the other half, whole groups together, so that I(U; V) ≤ I(X; Y) by data processing and the
    rows that are left are fresh. k is the number of correlations above the noise edge, within [1, 32]. A warning says
    what was done.

    Args:
        pair: Any pair of at least 16 rows.

    Returns:
        A pair with the dimensions of the whole in ``dimensions`` and fewer rows and columns in ``x`` and ``y``.

    Raises:
        InputError: too few rows for a fit.
    """
    if pair.width <= WIDE:
        return pair
    half = balanced_blocks(pair.n_samples, pair.groups, 2)
    fit, rest = pair.rows(half == 0), pair.rows(half == 1)
    found = canonical_reduction(fit.x, fit.y)
    kept = min(max(1, found.significant), MOST_COMPONENTS)
    x, y = (side[:, :kept] for side in found.transform(rest.x, rest.y))
    said = f"reduced to {kept} canonical pair{'s' * (kept > 1)}, fitted on the other half of the rows: a lower bound"
    return replace(rest, x=x, y=y, warnings=(*pair.warnings, said))


def critic_estimate(
    pair: Pair, method: Method, generator: np.random.Generator, settings: TrainingSettings
) -> TrainedEstimate:
    """Return the estimate of a trained critic in nats, a wide pair reduced first; a failure is a record.

    Args:
        pair: Any checked pair.
        method: ``mine``, ``nwj``, ``infonce`` or ``smile``.
        generator: For split and training.
        settings: With ``anchored`` the method's name begins so.

    Raises:
        InputError: an unknown method.
    """
    name = f"anchored {method}" if settings.anchored else method
    try:
        narrow = reduced(pair)
    except TheorykitError as error:
        return TrainedEstimate(
            name, None, None, None, None, False, pair.n_samples, pair.dimensions, pair.warnings, error.message
        )
    (found,) = trained_estimates(
        [(narrow.x, narrow.y)], method=method, generator=generator, groups=narrow.groups, settings=settings
    )
    warnings = tuple(dict.fromkeys((*narrow.warnings, *found.warnings)))
    return replace(found, method=name, n_samples=pair.n_samples, dimensions=pair.dimensions, warnings=warnings)
