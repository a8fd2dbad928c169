"""The checker checked: how often a decision falls on synthetic experiments whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from theorykit.arguments import checked_generator, positive_integer
from theorykit.results import Result
from theorykit.verdicts.axes import Instance, Rows, Verdict
from theorykit.verdicts.probability import violation_interval

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class DecisionRates(Result):
    """Shares of decisions over synthetic experiments.

    Attributes:
        n_experiments: How many.
        violated: Share of VIOLATED: the false rate where the statement is true, the power where it is false.
        violated_interval: Its exact limits, each one-sided of level 99.9 %.
        holds: Share of HOLDS.
        holds_interval: Its exact limits.
    """

    n_experiments: int
    violated: float
    violated_interval: tuple[float, float]
    holds: float
    holds_interval: tuple[float, float]

    def to_frame(self) -> pd.DataFrame:
        """Return one row."""
        return Rows((self,)).to_frame()


def decision_rates(
    experiment: Callable[[np.random.Generator], Verdict], n_experiments: int, generator: np.random.Generator
) -> DecisionRates:
    """Run one synthetic experiment many times and count its verdicts; shares have no unit.

    Args:
        experiment: Draws data whose truth is known and judges them.
        n_experiments: How many, at least 1.
        generator: Handed to every experiment.

    Returns:
        The shares with exact limits: a rate is above alpha beyond doubt where its lower limit is.

    Raises:
        InputError: no experiment, or no generator.

    Example:
        >>> import numpy as np
        >>> from theorykit.verdicts.expectation import expectation_verdict
        >>> decision_rates(
        ...     lambda draw: expectation_verdict(draw.normal(5.0, 1.0, 10), 0.0), 20, np.random.default_rng(0)
        ... ).violated
        1.0
    """
    count = positive_integer("n_experiments", n_experiments)
    generator = checked_generator(generator)
    instances = [experiment(generator).instance for _ in range(count)]
    tallies = [sum(found is kind for found in instances) for kind in (Instance.VIOLATED, Instance.HOLDS)]
    limits = [tuple(float(end) for end in violation_interval(tally, count, 0.001)) for tally in tallies]
    return DecisionRates(
        n_experiments=count,
        violated=tallies[0] / count,
        violated_interval=(limits[0][0], limits[0][1]),
        holds=tallies[1] / count,
        holds_interval=(limits[1][0], limits[1][1]),
    )
