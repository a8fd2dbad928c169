"""Whether an estimator behaves as mutual information does: zero for shuffled pairs, no gain by processing, additive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from theorykit.arguments import Floats, positive_number
from theorykit.errors import InputError
from theorykit.information.estimate import InformationEstimate
from theorykit.information.estimators.pairs import checked_pair
from theorykit.results import Result

if TYPE_CHECKING:
    import pandas as pd

Estimator = Callable[[Floats, Floats], InformationEstimate]


@dataclass(frozen=True)
class SelfConsistency(Result):
    """Four estimates of one estimator that mutual information ties together, in nats.

    Attributes:
        estimate: Of I(X; Y).
        shuffled: With the rows of Y permuted; I = 0.
        processed: Of I(X; (Y, h(Y))); equal to I(X; Y) for any function h.
        doubled: Of I((X, X′); (Y, Y′)), the primed an independent copy; equal to 2 I(X; Y). From N/2 rows.
        problems: Which equality fails by more than the tolerance, one sentence each.
    """

    estimate: InformationEstimate
    shuffled: InformationEstimate
    processed: InformationEstimate
    doubled: InformationEstimate
    problems: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return one row per estimate, with what it should be if ``estimate`` were right."""
        import pandas as pd

        base = self.estimate.information
        wanted = {"estimate": base, "shuffled": 0.0, "processed": base, "doubled": None if base is None else 2 * base}
        rows = [
            {"quantity": name, "information": getattr(self, name).information, "expected": expected}
            for name, expected in wanted.items()
        ]
        return pd.DataFrame(rows)


def _squashed(y: Floats, generator: np.random.Generator) -> Floats:
    """Return h(y) ``[N, d_y]``: the hyperbolic tangent of a random rotation of the standardised columns."""
    from scipy.stats import ortho_group

    standard = (y - y.mean(axis=0)) / y.std(axis=0)
    rotation = ortho_group.rvs(y.shape[1], random_state=generator) if y.shape[1] > 1 else np.eye(1)
    return np.asarray(np.tanh(standard @ rotation), dtype=np.float64)


def _misses(name: str, found: InformationEstimate, base: InformationEstimate, factor: int, slack: float) -> list[str]:
    """Return a sentence where ``found`` is not ``factor`` · ``base`` within ``slack`` nats or 3 standard errors."""
    if found.information is None or base.information is None:
        return [f"{name}: the estimator failed, {found.failure or base.failure}"]
    error = np.hypot(found.standard_error or 0.0, factor * (base.standard_error or 0.0))
    wanted = factor * base.information
    if abs(found.information - wanted) <= max(slack, 3 * error):
        return []
    return [f"{name}: {found.information:.3g} nats where {wanted:.3g} are consistent"]


def self_consistency(
    estimator: Estimator, x: Any, y: Any, generator: np.random.Generator, *, tolerance: float = 0.2
) -> SelfConsistency:
    """Test an estimator on one pair of samples whose information is unknown, in nats.

    Necessary, not sufficient: an estimator that always says 0 passes. Rows are taken to be independent.

    Args:
        estimator: Takes x and y, returns an :class:`~theorykit.information.estimate.InformationEstimate`; wrap one
            that needs more, as ``lambda x, y: mine_estimate(x, y, generator=rng)``.
        x: ``[N, d_x]``.
        y: ``[N, d_y]``.
        generator: Draws the permutations and h.
        tolerance: Allowed relative error; at least 0.05 nats and 3 standard errors are allowed in any case.

    Returns:
        The four estimates and what is wrong with them.

    Raises:
        InputError: a pair that :func:`.checked_pair` refuses, fewer than 4 rows, a tolerance not above 0.

    References:
        Song & Ermon (2020), Understanding the Limitations of Variational Mutual Information Estimators, ICLR,
        section 5.2 (arXiv 1910.06222).

    Example:
        >>> from theorykit.information.estimate import InformationEstimate
        >>> def constant(x, y):
        ...     return InformationEstimate("constant", 1.0, None, None, None, True, len(x), (1, 1))
        >>> states = np.random.default_rng(0).standard_normal((100, 1))
        >>> self_consistency(constant, states, states, np.random.default_rng(1)).problems
        ('independence: 1 nats where 0 are consistent', 'additivity: 1 nats where 2 are consistent')
    """
    relative = positive_number("tolerance", tolerance)
    pair = checked_pair(x, y)
    half = pair.n_samples // 2
    if half < 2:
        raise InputError(f"{pair.n_samples} rows are too few to be halved", "give at least 4")
    order = generator.permutation(pair.n_samples)
    first, second = order[:half], order[half : 2 * half]
    base = estimator(pair.x, pair.y)
    shuffled = estimator(pair.x, pair.y[generator.permutation(pair.n_samples)])
    processed = estimator(pair.x, np.hstack([pair.y, _squashed(pair.y, generator)]))
    doubled = estimator(*(np.hstack([side[first], side[second]]) for side in (pair.x, pair.y)))
    size = abs(base.information or 0.0)
    problems = [
        *_misses("independence", shuffled, base, 0, 0.05),
        *_misses("data processing", processed, base, 1, max(0.05, relative * size)),
        *_misses("additivity", doubled, base, 2, max(0.05, 2 * relative * size)),
    ]
    return SelfConsistency(base, shuffled, processed, doubled, tuple(problems))
