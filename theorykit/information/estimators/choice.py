"""Which of several estimates of one pair to believe: tests of fit, held-out rows, and relations that are known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from theorykit.errors import TheorykitError
from theorykit.information.estimate import InformationEstimate
from theorykit.information.estimators.neighbours import ksg_estimate
from theorykit.information.estimators.pairs import Pair
from theorykit.information.estimators.power import PLANTED, planted_pair
from theorykit.information.estimators.ranks import TIES
from theorykit.information.estimators.reduction import WIDE, critic_estimate
from theorykit.information.estimators.surrogates import calibrate_estimator
from theorykit.information.estimators.training import TrainingSettings
from theorykit.information.estimators.variational import TrainedEstimate

_FIT_WORDS = ("jointly Gaussian", "relation is not that of Gaussian")
"""Of the warnings by which the tests of a Gaussian relation fail."""
_SIGNIFICANT = 3.0
"""Standard errors."""
_SMALL_GAIN = 0.01
"""Nats, or of the value where that is more: what a critic may add to a Gaussian relation that is kept."""
_ALLOWED_ERROR = 0.1
"""Of the information of a surrogate: where the neighbours' error is larger, they are not trusted at this N and d."""


@dataclass(frozen=True)
class Choice:
    """The estimate that is believed, why, and what is to be said of it besides its own warnings."""

    estimate: InformationEstimate
    reason: str
    warnings: tuple[str, ...] = ()


def choose(
    pair: Pair, found: dict[str, InformationEstimate], generator: np.random.Generator, settings: TrainingSettings
) -> Choice:
    """Return the choice between the estimates ``copula``, ``mine`` and, for few columns, ``ksg``."""
    copula, mine, ksg = found["copula"], found["mine"], found.get("ksg")
    against = _against_gaussian(copula, mine, ksg)
    if not against:
        return _gaussian_choice(pair, copula, mine, generator, settings)
    if ksg is not None and _usable(ksg) and _neighbours_hold(pair, ksg, mine, generator):
        return Choice(ksg, f"{against}; neighbours pass on a surrogate", _far_apart(ksg, mine))
    if _usable(mine):
        beside = "lie below the critic or fail on a surrogate" if _usable(ksg) else "cannot look at so many columns"
        return Choice(mine, f"{against}, and neighbours {beside}", _far_apart(copula, mine))
    usable = [one for one in (ksg, copula) if one is not None and _usable(one)]
    if usable:
        return Choice(usable[0], "the critic failed", ("no estimator fits: take the number for an order of magnitude",))
    return Choice(replace(copula, method="none"), "every estimator failed")


def _against_gaussian(copula: InformationEstimate, mine: InformationEstimate, ksg: InformationEstimate | None) -> str:
    """Return what speaks against the Gaussian copula's value, empty where nothing does."""
    if not _usable(copula):
        return "the Gaussian copula has no value"
    if any(warning.startswith(TIES) for warning in copula.warnings):
        return "values are tied, which a Gaussian copula is not made for"
    if any(words in warning for warning in copula.warnings for words in _FIT_WORDS):
        return "the normal scores fail the tests of a Gaussian relation"
    if _adds(mine, copula):
        return "a trained critic adds to the Gaussian relation on other rows"
    for other in (mine, ksg):
        if other is not None and _lies_above(other, copula):
            return f"{other.method} lies above the Gaussian copula"
    return ""


def _gain(mine: InformationEstimate) -> tuple[float, float] | None:
    return mine.gain if isinstance(mine, TrainedEstimate) else None


def _adds(mine: InformationEstimate, copula: InformationEstimate) -> bool:
    """Return whether a critic adds more to the Gaussian relation than chance and rounding do."""
    gain = _gain(mine)
    if gain is None:
        return False
    return gain[0] > max(_SIGNIFICANT * gain[1], _SMALL_GAIN, _SMALL_GAIN * (copula.information or 0.0))


def _lies_above(other: InformationEstimate, copula: InformationEstimate) -> bool:
    """Return whether the two intervals are apart: 2.8 standard errors for equal widths."""
    if not _usable(other) or other.interval is None or copula.interval is None:
        return False
    return other.interval[0] > copula.interval[1] + _SMALL_GAIN


def _gaussian_choice(
    pair: Pair,
    copula: InformationEstimate,
    mine: InformationEstimate,
    generator: np.random.Generator,
    settings: TrainingSettings,
) -> Choice:
    reason = "the normal scores pass the tests of a Gaussian relation"
    gain = _gain(mine)
    if gain is None:
        return Choice(copula, reason, ("no critic could be trained to check that the relation is Gaussian",))
    warnings: tuple[str, ...] = ()
    if mine.ceiling is not None and (copula.information or 0.0) > mine.ceiling:
        warnings = (
            f"above log N = {mine.ceiling:.3g} nats of held-out rows the value rests on the Gaussian model alone",
        )
    unseen = _unseen(pair, copula, generator, settings)
    reason = f"{reason}, and a trained critic adds {gain[0]:.3f} ± {gain[1]:.3f} nats to it"
    return Choice(copula, reason, (*warnings, unseen) if unseen else warnings)


def _unseen(pair: Pair, copula: InformationEstimate, generator: np.random.Generator, settings: TrainingSettings) -> str:
    """Say what dependence the critic would have missed; empty where it finds what is planted."""
    if pair.width > WIDE:
        return "dependence outside a few linear directions was not looked at: the value rests on the Gaussian model"
    tried = critic_estimate(planted_pair(pair, generator), "mine", generator, replace(settings, anchored=True))
    if _adds(tried, copula):
        return ""
    return (
        f"with this N and d a critic misses a planted relation of {PLANTED} nats that no correlation shows: the value "
        "rests on the Gaussian model"
    )


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


def _usable(estimate: InformationEstimate | None) -> bool:
    return estimate is not None and estimate.information is not None and bool(np.isfinite(estimate.information))
