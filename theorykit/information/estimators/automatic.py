"""One answer from several estimators, chosen on the pair itself: held-out rows, tests of fit, and known surrogates."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from theorykit.errors import TheorykitError
from theorykit.information.estimate import InformationEstimate
from theorykit.information.estimators.gaussian import gaussian_copula_estimate, gaussian_estimate
from theorykit.information.estimators.neighbours import MOST_DIMENSIONS, ksg_estimate
from theorykit.information.estimators.pairs import Pair, checked_pair
from theorykit.information.estimators.ranks import seeded
from theorykit.information.estimators.reduction import critic_estimate
from theorykit.information.estimators.relations import deterministic_relation
from theorykit.information.estimators.surrogates import Progress, calibrate_estimator
from theorykit.information.estimators.training import TrainingSettings
from theorykit.information.estimators.variational import TrainedEstimate

if TYPE_CHECKING:
    import pandas as pd

_FIT_WORDS = ("jointly Gaussian", "relation is not that of Gaussian")
"""How the tests of a Gaussian relation begin their warnings."""
_SIGNIFICANT = 3.0
"""Standard errors."""
_SMALL_GAIN = 0.01
"""Nats, or of the value where that is more: what a critic may add to a Gaussian relation that is kept."""
_ALLOWED_ERROR = 0.1
"""Of the information of a surrogate: where the neighbours' error is larger, they are not trusted at this N and d."""


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


@dataclass(frozen=True)
class _Choice:
    estimate: InformationEstimate
    reason: str
    warnings: tuple[str, ...] = ()


def automatic_estimate(
    x: Any,
    y: Any,
    *,
    groups: Any = None,
    generator: np.random.Generator | None = None,
    settings: TrainingSettings | None = None,
    progress: Progress | None = None,
) -> CombinedEstimate:
    """Estimate I(X; Y) by the estimator that this pair calls for, in nats.

    1. A pair whose one side is a function of the other gets infinity and a warning: give ``noise`` to
       :func:`theorykit.mutual_information`.
    2. The Gaussian copula's value is kept where its tests of fit pass (kurtosis and residuals of the normal scores) and
       a critic that starts from that Gaussian relation adds nothing on held-out rows: three standard errors, or 0.01 of
       a nat or of the value. It is unbiased and has the smallest error there.
    3. Else nearest neighbours, up to six columns, where they do not lie below the critic's lower bound and are not more
       than 10 % off on a Gaussian surrogate of the same N, d and information.
    4. Else the critic's lower bound (MINE, anchored at the Gaussian relation), with a warning that it is one.

    The truth has no part in any step. Where two answers are further apart than their errors, a warning says so.

    Args:
        x: ``[N, d_x]`` or ``[N]``.
        y: ``[N, d_y]`` or ``[N]``, the same rows.
        groups: Label ``[N]`` of each row's sequence; None for independent rows.
        generator: For splits, starting weights and ties; None for a fixed seed.
        settings: Of the critic; anchored in any case.
        progress: Called with (what, done, count).

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
    relation = deterministic_relation(pair.x, pair.y)
    if relation:
        return _infinite(pair, relation, time.perf_counter() - start)
    candidates = _candidates(pair, generator, settings or TrainingSettings(), progress or (lambda *_: None))
    choice = _chosen(pair, candidates, generator)
    found = choice.estimate
    others = [] if found.information is not None else [f"{one.method}: {one.failure}" for one in candidates.values()]
    return CombinedEstimate(
        method=f"auto: {found.method}",
        information=found.information,
        interval=found.interval,
        standard_error=found.standard_error,
        ceiling=found.ceiling,
        converged=found.converged,
        n_samples=pair.n_samples,
        dimensions=pair.dimensions,
        warnings=tuple(dict.fromkeys((*pair.warnings, *found.warnings, *choice.warnings))),
        failure="; ".join(others),
        seconds=time.perf_counter() - start,
        chosen=found.method,
        reason=choice.reason,
        candidates=tuple(candidates.values()),
    )


def _infinite(pair: Pair, relation: str, seconds: float) -> CombinedEstimate:
    hint = "I is infinite, or as large as unseen noise makes it: ask for I(X; Y + τZ) with noise=τ"
    return CombinedEstimate(
        method="auto: deterministic relation",
        information=np.inf,
        interval=None,
        standard_error=None,
        ceiling=None,
        converged=True,
        n_samples=pair.n_samples,
        dimensions=pair.dimensions,
        warnings=(*pair.warnings, f"{relation}; {hint}"),
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


def _usable(estimate: InformationEstimate | None) -> bool:
    return estimate is not None and estimate.information is not None and bool(np.isfinite(estimate.information))


def _chosen(pair: Pair, found: dict[str, InformationEstimate], generator: np.random.Generator) -> _Choice:
    copula, mine, ksg = found["copula"], found["mine"], found.get("ksg")
    if _usable(copula) and not _misfits(copula) and not _critic_objects(mine, copula):
        return _gaussian_choice(copula, mine)
    if ksg is not None and _usable(ksg) and _neighbours_hold(pair, ksg, mine, generator):
        return _Choice(ksg, "the relation is not Gaussian; neighbours pass on a surrogate", _far_apart(ksg, mine))
    if _usable(mine):
        against = "lie below the critic" if _usable(ksg) else "cannot look at so many columns"
        return _Choice(mine, f"the relation is not Gaussian, and neighbours {against}", _far_apart(copula, mine))
    usable = [one for one in (ksg, copula) if one is not None and _usable(one)]
    if usable:
        return _Choice(
            usable[0], "the critic failed", ("no estimator fits: take the number for an order of magnitude",)
        )
    return _Choice(replace(copula, method="none"), "every estimator failed")


def _misfits(copula: InformationEstimate) -> bool:
    return any(words in warning for warning in copula.warnings for words in _FIT_WORDS)


def _critic_objects(mine: InformationEstimate, copula: InformationEstimate) -> bool:
    """Return whether a critic adds more to the Gaussian relation than chance and rounding do."""
    gain = mine.gain if isinstance(mine, TrainedEstimate) else None
    if gain is None or copula.information is None:
        return False
    return gain[0] > max(_SIGNIFICANT * gain[1], _SMALL_GAIN, _SMALL_GAIN * copula.information)


def _gaussian_choice(copula: InformationEstimate, mine: InformationEstimate) -> _Choice:
    gain = mine.gain if isinstance(mine, TrainedEstimate) else None
    if gain is None:
        return _Choice(
            copula,
            "the normal scores pass the tests of a Gaussian relation",
            ("no critic could be trained to check that the relation is Gaussian",),
        )
    warnings: tuple[str, ...] = ()
    ceiling = mine.ceiling
    if ceiling is not None and copula.information is not None and copula.information > ceiling:
        warnings = (f"above log N = {ceiling:.3g} nats of held-out rows the value rests on the Gaussian model alone",)
    reason = "the normal scores pass the tests of a Gaussian relation, and a trained critic adds "
    return _Choice(copula, f"{reason}{gain[0]:.3f} ± {gain[1]:.3f} nats to it", warnings)


def _neighbours_hold(
    pair: Pair, ksg: InformationEstimate, mine: InformationEstimate, generator: np.random.Generator
) -> bool:
    """Return whether neighbours are good enough at this N, d and information, and not below the lower bound."""
    if ksg.information is None or ksg.standard_error is None:
        return False
    if mine.information is not None and ksg.information < mine.information - (mine.standard_error or 0.0):
        return False  # neighbours are biased towards 0
    if ksg.information <= _SIGNIFICANT * ksg.standard_error:
        return True  # as good as nothing: the bias vanishes there
    try:
        known = calibrate_estimator(
            lambda first, second: ksg_estimate(first, second, generator=generator),
            pair.x,
            pair.y,
            information=ksg.information,
            generator=generator,
            levels=(1.0,),
            draws=1,
        )
    except TheorykitError:
        return False
    allowed = max(_ALLOWED_ERROR * known.truths[0], 2 * ksg.standard_error)
    return known.errors[0] is not None and abs(known.errors[0]) <= allowed


def _far_apart(other: InformationEstimate, mine: InformationEstimate) -> tuple[str, ...]:
    """Return a warning where two answers are more than three of their standard errors apart."""
    if other.information is None or mine.information is None:
        return (f"{other.method} has no trained critic beside it",) if mine.information is None else ()
    error = float(np.hypot(other.standard_error or 0.0, mine.standard_error or 0.0))
    if abs(other.information - mine.information) <= _SIGNIFICANT * error:
        return ()
    return (f"methods disagree: {other.method} {other.information:.3g} nats, a trained critic {mine.information:.3g}",)
