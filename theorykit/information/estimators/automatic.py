"""One answer from several estimators, chosen on the pair itself: held-out rows, tests of fit, and known surrogates."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from theorykit.arguments import Progress
from theorykit.information.estimate import InformationEstimate
from theorykit.information.estimators.choice import choose
from theorykit.information.estimators.gaussian import gaussian_copula_estimate, gaussian_estimate
from theorykit.information.estimators.neighbours import MOST_DIMENSIONS, ksg_estimate
from theorykit.information.estimators.pairs import Pair, checked_pair
from theorykit.information.estimators.ranks import seeded
from theorykit.information.estimators.reduction import critic_estimate
from theorykit.information.estimators.relations import Relation, deterministic_relation
from theorykit.information.estimators.training import TrainingSettings, checked_settings

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class CombinedEstimate(InformationEstimate):
    """The answer of one estimator, and those of the others beside it.

    Attributes:
        chosen: Whose answer it is.
        reason: Why, in one sentence.
        candidates: All estimates that were made, failed ones included.
    """

    chosen: str = ""
    reason: str = ""
    candidates: tuple[InformationEstimate, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """Return one row per candidate, the chosen one marked."""
        import pandas as pd

        rows = [one.to_dict() | {"chosen": one.method == self.chosen} for one in self.candidates]
        return pd.DataFrame(rows).drop(columns="gain", errors="ignore")


def automatic_estimate(
    x: Any,
    y: Any,
    *,
    groups: Any = None,
    generator: np.random.Generator | None = None,
    settings: TrainingSettings | None = None,
    progress: Progress | None = None,
    noisy: bool = False,
) -> CombinedEstimate:
    """Estimate I(X; Y) by the estimator that this pair calls for, in nats.

    1. Where a continuous linear combination of x is one of y the answer is infinity, with a warning: give ``noise`` to
       :func:`theorykit.mutual_information`. Another function of one or two columns is warned of.
    2. The Gaussian copula's value is kept where nothing speaks against it: no ties, the tests of fit pass (kurtosis and
       residuals of the normal scores), a critic that starts from that Gaussian relation adds nothing on held-out rows
       (three standard errors, or 0.01 of a nat or of the value), and the intervals of that critic and of nearest
       neighbours do not lie above its own. No test sees all dependence: the critic is then tried on the same pair with
       a planted relation of 0.3 nats that no correlation shows, and a warning says where it misses that.
    3. Else nearest neighbours, up to six columns, where they do not lie below the critic's lower bound and are not more
       than 10 % off on a Gaussian surrogate of the same N, d and information.
    4. Else the critic's lower bound (MINE, anchored at the Gaussian relation), with a warning that it is one.

    The truth has no part in any step. In 3 and 4 a warning says where two answers are further apart than their errors.

    Args:
        x: ``[N, d_x]`` or ``[N]``.
        y: ``[N, d_y]`` or ``[N]``, the same rows.
        groups: Label ``[N]`` of each row's sequence; None for independent rows.
        generator: For splits, starting weights and ties; None for a fixed seed.
        settings: Of the critic; anchored in any case.
        progress: Called with (what, done, count).
        noisy: Whether noise was added to y, so that no relation is deterministic.

    Returns:
        The estimate with its candidates. Its interval is that of the chosen estimator.

    Raises:
        InputError: the pair is refused.
        NonFiniteError: NaN or infinity.

    References:
        Czyż et al. (2023), NeurIPS (arXiv 2306.11078), for what each estimator can do.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, noise = rng.standard_normal((2, 2000, 2))
        >>> found = automatic_estimate(np.exp(x), 0.6 * x + 0.8 * noise)  # 2 log 1.25 = 0.446
        >>> found.chosen, found.interval[0] < 0.446 < found.interval[1]
        ('gaussian copula', True)
    """
    start = time.perf_counter()
    pair, generator = checked_pair(x, y, groups), seeded(generator)
    relation = Relation() if noisy else deterministic_relation(pair.x, pair.y, groups=pair.groups)
    if relation.infinite:
        return _infinite(pair, relation.sentence, time.perf_counter() - start)
    chosen = checked_settings(settings)
    candidates = _candidates(pair, generator, chosen, progress or (lambda *_: None))
    choice = choose(pair, candidates, generator, chosen)
    found = choice.estimate
    others = [] if found.information is not None else [f"{one.method}: {one.failure}" for one in candidates.values()]
    doubts = (relation.sentence,) if relation.sentence else ()
    return CombinedEstimate(
        method=f"auto: {found.method}",
        information=found.information,
        interval=found.interval,
        standard_error=found.standard_error,
        ceiling=found.ceiling,
        converged=found.converged,
        n_samples=pair.n_samples,
        dimensions=pair.dimensions,
        warnings=tuple(dict.fromkeys((*pair.warnings, *doubts, *found.warnings, *choice.warnings))),
        failure="; ".join(others),
        seconds=time.perf_counter() - start,
        chosen=found.method,
        reason=choice.reason,
        candidates=tuple(candidates.values()),
    )


def _infinite(pair: Pair, relation: str, seconds: float) -> CombinedEstimate:
    return CombinedEstimate(
        method="auto: deterministic relation",
        information=np.inf,
        interval=None,
        standard_error=None,
        ceiling=None,
        converged=True,
        n_samples=pair.n_samples,
        dimensions=pair.dimensions,
        warnings=(*pair.warnings, relation),
        seconds=seconds,
        chosen="deterministic relation",
        reason=relation,
    )


def _candidates(
    pair: Pair, generator: np.random.Generator, settings: TrainingSettings, progress: Progress
) -> dict[str, InformationEstimate]:
    """Return the estimates by short name; a failed one is a record like the others."""
    made: dict[str, Callable[[], InformationEstimate]] = {
        "gaussian": lambda: gaussian_estimate(pair.x, pair.y, groups=pair.groups),
        "copula": lambda: gaussian_copula_estimate(pair.x, pair.y, groups=pair.groups, generator=generator),
        "mine": lambda: critic_estimate(pair, "mine", generator, replace(settings, anchored=True)),
    }
    if pair.width <= MOST_DIMENSIONS:
        made["ksg"] = lambda: ksg_estimate(pair.x, pair.y, groups=pair.groups, generator=generator)
    found = {}
    for number, (name, make) in enumerate(made.items()):
        progress("estimators", number, len(made))
        found[name] = make()
    progress("estimators", len(made), len(made))
    return found
