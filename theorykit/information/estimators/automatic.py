"""One answer from several estimators, chosen on the pair itself: held-out rows, tests of fit, and known surrogates."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from theorykit.arguments import Progress
from theorykit.errors import TheorykitError
from theorykit.information.estimate import Doubt, InformationEstimate, KeyedWarning
from theorykit.information.estimators.elliptical import heavier_tails, student_estimate
from theorykit.information.estimators.gaussian import gaussian_copula_estimate, gaussian_estimate
from theorykit.information.estimators.neighbours import MOST_DIMENSIONS, ksg_estimate
from theorykit.information.estimators.pairs import Pair, checked_pair
from theorykit.information.estimators.planted import PLANTED, PLANTED_RELATIONS, unseen_relations
from theorykit.information.estimators.ranks import seeded
from theorykit.information.estimators.relations import Relation, deterministic_relation
from theorykit.information.estimators.surrogates import calibrate_estimator
from theorykit.information.estimators.training import TrainingSettings, checked_settings
from theorykit.information.estimators.variational import WIDE, TrainedEstimate, critic_estimate

if TYPE_CHECKING:
    import pandas as pd

_EVIDENCE = 6.9
"""Nats by which held-out rows are likelier under a t law: log 1000."""
_SIGNIFICANT = 3.0
"""Standard errors."""
_NEGATIVE = 0.1
"""Nats below 0 from which an anchored critic is refuted: information is never negative."""
_SMALL_GAIN = 0.01
"""Nats, or of the value where that is more: what a critic may add to a Gaussian relation that is kept."""
_ALLOWED_ERROR = 0.1
"""Of the information of a surrogate: where the neighbours' error is larger, they are not trusted at this N and d."""


@dataclass(frozen=True)
class Choice:
    """The estimate that is believed, why, and what is to be said of it besides its own warnings.

    ``unseen`` names the relations that could not have been seen; None where none were planted.
    """

    estimate: InformationEstimate
    reason: str
    warnings: tuple[str, ...] = ()
    unseen: tuple[str, ...] | None = None


def choose(
    pair: Pair, candidates: dict[str, InformationEstimate], generator: np.random.Generator, settings: TrainingSettings
) -> Choice:
    """Return the choice between the estimates ``copula``, ``mine`` and, for few columns, ``ksg``.

    ``plain`` is a critic without an anchor, there where the anchored one was refuted.
    """
    copula, mine, ksg = candidates["copula"], candidates["mine"], candidates.get("ksg")
    plain = candidates.get("plain")
    against = _against_gaussian(copula, mine, plain, ksg)
    if not against:
        return _with_unseen(_gaussian_choice(copula, mine), pair, generator, settings)
    mine = mine if plain is None else plain
    if student := _student_choice(pair, against, candidates.get("student"), (mine, ksg)):
        return _with_unseen(student, pair, generator, settings, student=True)
    choice = _other_choice(pair, against, copula, mine, ksg, generator)
    value = choice.estimate.information
    return _with_unseen(choice, pair, generator, settings) if value is not None and value < PLANTED else choice


def _student_choice(
    pair: Pair,
    against: str,
    student: InformationEstimate | None,
    others: tuple[InformationEstimate | None, ...],
) -> Choice | None:
    """Return the choice of the t law where held-out rows are likelier under it, and nothing speaks against it."""
    if student is None or not _usable(student) or student.has(Doubt.NOT_GAUSSIAN) or student.has(Doubt.NOT_ELLIPTICAL):
        return None
    evidence = heavier_tails(pair)
    if evidence is None or evidence <= _EVIDENCE:
        return None
    if any(other is not None and _lies_above(other, student) for other in others):
        return None
    reason = (
        f"{against}; held-out rows are likelier under a joint t law, by {evidence:.3g} nats, and its tests of fit pass"
    )
    return Choice(student, reason)


def _other_choice(
    pair: Pair,
    against: str,
    copula: InformationEstimate,
    mine: InformationEstimate,
    ksg: InformationEstimate | None,
    generator: np.random.Generator,
) -> Choice:
    """Return the choice where something speaks against the Gaussian copula."""
    if ksg is not None and _usable(ksg) and _neighbours_hold(pair, ksg, mine, generator):
        return Choice(ksg, f"{against}; neighbours pass on a surrogate", _far_apart(ksg, mine))
    if _usable(mine) and not mine.has(Doubt.UNCERTIFIED):
        beside = "lie below the critic or fail on a surrogate" if _usable(ksg) else "cannot look at so many columns"
        return Choice(mine, f"{against}, and neighbours {beside}", _far_apart(copula, mine))
    usable = [estimate for estimate in (ksg, copula) if estimate is not None and _usable(estimate)]
    if usable:
        beside = "the critic lies above log N, where nothing is certified" if _usable(mine) else "the critic failed"
        doubt = "no estimator fits: take the number for an order of magnitude"
        return Choice(usable[0], f"{against}, and {beside}", (doubt,))
    return Choice(replace(copula, method="none"), "every estimator failed")


def _against_gaussian(
    copula: InformationEstimate, mine: InformationEstimate, *others: InformationEstimate | None
) -> str:
    """Return what speaks against the Gaussian copula's value, empty where nothing does."""
    if not _usable(copula):
        return "the Gaussian copula has no value"
    if copula.has(Doubt.TIED_VALUES):
        return "values are tied, which a Gaussian copula is not made for"
    if copula.has(Doubt.NOT_GAUSSIAN):
        return "the normal scores fail the tests of a Gaussian relation"
    if _adds(mine, copula):
        return "a trained critic adds to the Gaussian relation on other rows"
    for other in (mine, *others):
        if other is not None and _lies_above(other, copula):
            return f"{other.method} lies above the Gaussian copula"
    return ""


def _gain(mine: InformationEstimate) -> tuple[float, float] | None:
    return mine.gain if isinstance(mine, TrainedEstimate) else None


def _adds(mine: InformationEstimate, copula: InformationEstimate) -> bool:
    """Return whether a critic adds more to the Gaussian relation than chance and rounding do."""
    gain = _gain(mine)
    if gain is None or mine.has(Doubt.UNCERTIFIED):
        return False
    return gain[0] > max(_SIGNIFICANT * gain[1], _SMALL_GAIN, _SMALL_GAIN * (copula.information or 0.0))


def _lies_above(other: InformationEstimate, copula: InformationEstimate) -> bool:
    """Return whether the two intervals are apart: 2.8 standard errors for equal widths."""
    if not _usable(other) or other.interval is None or copula.interval is None:
        return False
    return other.interval[0] > copula.interval[1] + _SMALL_GAIN


def _gaussian_choice(copula: InformationEstimate, mine: InformationEstimate) -> Choice:
    reason = "the normal scores pass the tests of a Gaussian relation"
    gain = _gain(mine)
    if gain is None:
        return Choice(copula, reason, ("no critic could be trained to check that the relation is Gaussian",))
    warnings: tuple[str, ...] = ()
    if mine.ceiling is not None and (copula.information or 0.0) > mine.ceiling:
        warnings = (
            f"above log N = {mine.ceiling:.3g} nats of held-out rows no critic certifies a lower bound: "
            "the value rests on the Gaussian model alone",
        )
    if mine.has(Doubt.UNCERTIFIED):
        reason = f"{reason}, and a trained critic, above log N, certifies nothing against it"
    else:
        reason = f"{reason}, and a trained critic adds {gain[0]:.3f} ± {gain[1]:.3f} nats to it"
    return Choice(copula, reason, warnings)


def _with_unseen(
    choice: Choice, pair: Pair, generator: np.random.Generator, settings: TrainingSettings, *, student: bool = False
) -> Choice:
    """Return a choice that says which planted relations would not have changed it."""
    if pair.width > WIDE:
        sentence = "dependence outside a few linear directions was not looked at: it may be there beside this value"
        unlooked = tuple(relation.name for relation in PLANTED_RELATIONS if not relation.correlates)
        warnings = (*choice.warnings, KeyedWarning(sentence, Doubt.UNSEEN_RELATIONS))
        return replace(choice, warnings=warnings, unseen=unlooked)
    chosen = choice.estimate
    unseen = unseen_relations(
        pair,
        lambda planted: _adds(planted, chosen) or _lies_above(planted, chosen),
        lambda part: (student_estimate if student else gaussian_copula_estimate)(part.x, part.y, groups=part.groups),
        generator,
        settings,
    )
    if not unseen:
        return replace(choice, unseen=())
    sentence = (
        f"with this N and d planted relations of {PLANTED} nats are not seen: {', '.join(unseen)}; dependence of "
        "these kinds may be there beside this value"
    )
    warnings = (*choice.warnings, KeyedWarning(sentence, Doubt.UNSEEN_RELATIONS))
    return replace(choice, warnings=warnings, unseen=unseen)


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


@dataclass(frozen=True, repr=False)
class CombinedEstimate(InformationEstimate):
    """The answer of one estimator, and those of the others beside it.

    Attributes:
        chosen: Whose answer it is.
        reason: Why, in one sentence.
        unseen_relations: Names of the planted relations (:data:`.PLANTED_RELATIONS`) that could not have been seen at
            this N and d; None where none were planted.
        candidates: All estimates that were made, failed ones included.
    """

    chosen: str = ""
    reason: str = ""
    unseen_relations: tuple[str, ...] | None = None
    candidates: tuple[InformationEstimate, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """Return one row per candidate, the chosen one marked."""
        import pandas as pd

        rows = [candidate.to_dict() | {"chosen": candidate.method == self.chosen} for candidate in self.candidates]
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
    """Estimate I(X; Y) by the estimator that this pair calls for, in nats: what ``auto`` does.

    1. Where a continuous linear combination of x is one of y the answer is infinity, with a warning: give ``noise`` to
       :func:`theorykit.mutual_information`. Another function of one or two columns is warned of.
    2. The Gaussian copula's value is kept where nothing speaks against it: no ties, the tests of fit pass (kurtosis and
       residuals of the normal scores), a critic that starts from that Gaussian relation adds nothing on held-out rows
       (three standard errors, or 0.01 of a nat or of the value), and the intervals of that critic and of nearest
       neighbours do not lie above its own. What a critic says above log N of its test rows has no part in this.
    3. Else a joint t law, where its tests of fit pass (lengths of the rows; kurtosis and residuals once every row has
       the length that it would have in a Gaussian sample), where half of the rows are a thousand times likelier under
       it than under a Gaussian, both fitted on the other half, and where neither critic nor neighbours lie above.
    4. Else nearest neighbours, up to six columns, where they do not lie below the critic's lower bound and are not more
       than 10 % off on a Gaussian surrogate of the same N, d and information.
    5. Else the critic's lower bound (MINE, anchored at the Gaussian relation; without an anchor where that comes out
       below 0), with a warning that it is one.

    No test sees all dependence: with the value of a Gaussian or a t law, and with any below 0.3 nats, relations of 0.3
    nats (linear, step, even, product, parity, periodic: slow, fast, in two directions) are planted in the same pair,
    and those that would not have changed the answer are named in ``unseen_relations`` and in a warning.

    The truth has no part in any step. In 4 and 5 a warning says where two answers are further apart than their errors.

    Arguments and errors are those of :func:`theorykit.mutual_information`; the critic is anchored in any case, and
    ``noisy`` says that noise was added to y, so that no relation is deterministic. The interval is that of the chosen
    estimator.

    References:
        Czyż et al. (2023), NeurIPS (arXiv 2306.11078), for what each estimator can do.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, noise = rng.standard_normal((2, 2000, 2))
        >>> settings = TrainingSettings(max_steps=300)
        >>> estimate = automatic_estimate(np.exp(x), 0.6 * x + 0.8 * noise, settings=settings)  # 2 log 1.25 = 0.446
        >>> estimate.chosen, estimate.interval[0] < 0.446 < estimate.interval[1]
        ('gaussian copula', True)
    """
    start = time.perf_counter()
    pair, generator = checked_pair(x, y, groups), seeded(generator)
    relation = Relation() if noisy else deterministic_relation(pair.x, pair.y, groups=pair.groups)
    candidates: dict[str, InformationEstimate] = {}
    if relation.infinite:
        infinite = InformationEstimate(
            "deterministic relation", np.inf, None, None, None, True, pair.n_samples, pair.dimensions
        )
        choice = Choice(infinite, relation.sentence)
    else:
        settings = checked_settings(settings)
        candidates = _candidates(pair, generator, settings, progress or (lambda *_: None))
        choice = choose(pair, candidates, generator, settings)
    estimate = choice.estimate
    failures = [f"{candidate.method}: {candidate.failure}" for candidate in candidates.values()]
    doubts = (relation.sentence,) if relation.sentence else ()
    return CombinedEstimate(
        method=f"auto: {estimate.method}",
        information=estimate.information,
        interval=estimate.interval,
        standard_error=estimate.standard_error,
        ceiling=estimate.ceiling,
        converged=estimate.converged,
        n_samples=pair.n_samples,
        dimensions=pair.dimensions,
        warnings=tuple(dict.fromkeys((*pair.warnings, *doubts, *estimate.warnings, *choice.warnings))),
        failure="; ".join(failures) if estimate.information is None else "",
        seconds=time.perf_counter() - start,
        chosen=estimate.method,
        reason=choice.reason,
        unseen_relations=choice.unseen,
        candidates=tuple(candidates.values()),
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
    candidates = {}
    for number, (name, make) in enumerate(made.items()):
        progress("estimators", number, len(made))
        candidates[name] = make()
    copula = candidates["copula"]
    if copula.has(Doubt.NOT_GAUSSIAN) and not copula.has(Doubt.TIED_VALUES):
        candidates["student"] = student_estimate(pair.x, pair.y, groups=pair.groups)
    if _refuted(candidates["mine"]):
        candidates["plain"] = critic_estimate(pair, "mine", generator, replace(settings, anchored=False))
    progress("estimators", len(made), len(made))
    return candidates


def _refuted(mine: InformationEstimate) -> bool:
    """Return whether an anchored critic certifies less than nothing: its anchor fits other rows worse than none."""
    return mine.interval is not None and mine.interval[1] < 0 and (mine.information or 0.0) < -_NEGATIVE
