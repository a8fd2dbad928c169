"""What "best", "indispensable", "around" and "U-shaped" mean once seeds are the unit: verdicts on paired losses.

All losses are held-out losses in nats per token, ``[groups, seeds]``; differences are a group's losses less those of a
reference on the same seeds; NaN marks a student that failed. ``names`` are those of the groups, ``alpha`` is the level
of one-sided decisions, ``statement`` says what is judged. What counts as a difference is fixed here, before anything is
trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from theorykit.arguments import Floats
from theorykit.verdicts import Form, Instance, ReferenceTask, Verdict, equivalence, expectation_verdict
from theorykit.verdicts.intervals import LEAST_SEEDS, mean_interval
from validation.claims.finding import Configuration, Finding

SMALLEST_EFFECT = 0.01
"""Nats per token, 1 % of perplexity: a third of what the least of the paper's components is said to be worth."""
ROBUST = 0.05
"""Nats per token, 5 % of perplexity: a model that loses no more is robust. The paper gives no number."""
PARAMETERS_WITHIN = 0.01
"""Largest relative difference of deployed parameters of students that are compared: PC-LoRA adds biases to some."""
OTHER_SEEDS = "other seeds, by the same held-out blocks"
"""What a choice was made on that is judged then."""
NATS, SHARE = "nats per token", "share of perplexity"


def worse_by(
    differences: Any, names: Sequence[str], *, least: float = 0.0, alpha: float = 0.05, statement: str = ""
) -> Verdict:
    """Judge "every one of these is worse by more than ``least``" from paired differences.

    HOLDS where each one-sided lower limit lies above ``least`` (an intersection–union test, no correction); VIOLATED
    where one mean is shown to lie below it (one-sided t tests, Holm); otherwise INCONCLUSIVE, as with few seeds. Paired
    losses of arms that differ in their mean alone have symmetric differences: Student's t is for these.
    """
    sample = np.atleast_2d(np.asarray(differences, dtype=np.float64))
    # a group that is the reference bit by bit is no small sample of a difference; against 0 it stays a tie
    same = least > 0 and sample.shape[1] > 1 and bool((sample == 0).all(axis=1).any())
    return _of_enough(
        expectation_verdict(
            sample,
            least,
            kind="lower",
            law="symmetric",
            names=names,
            alpha=alpha,
            deterministic=same,
            statement=statement,
        )
    )


def _of_enough(verdict: Verdict) -> Verdict:
    if verdict.n_seeds >= LEAST_SEEDS:
        return verdict
    reason = f"{verdict.n_seeds} seeds decide nothing: at least {LEAST_SEEDS} are needed."
    return replace(verdict, instance=Instance.INCONCLUSIVE, reasons=(reason,))


def no_worse_than(
    differences: Any, most: float, names: Sequence[str], *, alpha: float = 0.05, statement: str = ""
) -> Verdict:
    """Judge "none of these is worse by more than ``most``", as :func:`worse_by` judges the contrary."""
    return _of_enough(
        expectation_verdict(differences, most, law="symmetric", names=names, alpha=alpha, statement=statement)
    )


def near(values: Any, claimed: float, margin: float, *, alpha: float = 0.05, statement: str = "") -> Verdict:
    """Judge "the mean is the claimed number up to a margin": two one-sided tests over seeds that may be skewed.

    HOLDS where the interval of level 1 − 2 alpha lies within the margin, VIOLATED where it lies wholly outside it; each
    errs with at most alpha, see :func:`theorykit.verdicts.equivalence`. A failed seed leaves it INCONCLUSIVE.
    """
    off = equivalence(ReferenceTask(statement, values, claimed, margin), "known truth", alpha)
    low, high = (claimed + end for end in off.interval)
    verdict = Verdict(
        statement,
        off.instance,
        reasons=(f"[{low:.4g}, {high:.4g}] beside {claimed:g} ± {margin:g}.",),
        n_seeds=int(np.size(values)),
        alpha=alpha,
        method="two one-sided tests over seeds",
        evidence=off,
    )
    return _of_enough(verdict)


def relative_gains(ours: Any, theirs: Any) -> Floats:
    """Return (their perplexity − ours)/theirs of each seed: 1 − exp(ours − theirs)."""
    return np.asarray(-np.expm1(np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)))


def best_among(
    losses: Any,
    inside: Sequence[int],
    chosen: int,
    names: Sequence[str],
    *,
    alpha: float = 0.05,
    statement: str = "",
) -> Verdict:
    """Judge "the best group is one of these": with all inner groups of a row, that the loss over the row is a U.

    HOLDS where the one of those ``inside`` that other seeds chose is shown to be better than each of the others;
    VIOLATED where one of the others is shown to be better than each of these (alpha over the number of others).
    """
    sample, inner = np.asarray(losses, dtype=np.float64), list(inside)
    outside = [place for place in range(len(names)) if place not in inner]
    others, these = ([names[place] for place in places] for places in (outside, inner))
    verdict = worse_by(sample[outside] - sample[chosen], others, alpha=alpha, statement=statement)
    against = f"Held against {names[chosen]}, the best of {', '.join(these)} on {OTHER_SEEDS}: {', '.join(others)}."
    reasons = [against, *verdict.reasons]
    instance = Instance.HOLDS if verdict.instance is Instance.HOLDS else Instance.INCONCLUSIVE
    for place in outside:
        rest = worse_by(sample[inner] - sample[place], these, alpha=alpha / len(outside))
        if rest.instance is Instance.HOLDS:
            instance = Instance.VIOLATED
            reasons.append(f"{names[place]} is better than each of {', '.join(these)}.")
    return replace(verdict, instance=instance, reasons=tuple(reasons))


def equal_size(counts: Mapping[str, int | None], statement: str = "") -> Verdict:
    """Judge "all students deploy as many parameters", up to ``PARAMETERS_WITHIN`` of the first."""
    known = {name: count for name, count in counts.items() if count is not None}
    first = next(iter(known.values()), 0)
    off = {name: count for name, count in known.items() if abs(count - first) > PARAMETERS_WITHIN * first}
    numbers = ", ".join(f"{name} {count:,}" for name, count in known.items())
    instance = Instance.INCONCLUSIVE if len(known) < len(counts) else Instance.HOLDS
    return Verdict(
        statement,
        Instance.VIOLATED if off else instance,
        reasons=(f"Deployed parameters: {numbers}; within {PARAMETERS_WITHIN:.0%}: {'no' if off else 'yes'}.",),
        n_seeds=1,
        method="counting",
    )


def at_equal_size(verdict: Verdict, size: Verdict) -> Verdict:
    """Return the verdict, or NOT_APPLICABLE where what it compares is not shown to be of one size."""
    if size.instance is Instance.HOLDS:
        return verdict
    return replace(verdict, instance=Instance.NOT_APPLICABLE, reasons=(*size.reasons, *verdict.reasons))


def mean_finding(
    equation: str,
    verdict: Verdict,
    values: Any,
    *,
    bound: float,
    key: str,
    of: Configuration | None = None,
    unit: str = NATS,
    form: Form = Form.PRINTED,
    largest: bool = False,
    expected: tuple[str, ...] = (),
) -> Finding:
    """Return the finding of a verdict on means over seeds, with the interval of level 1 − 2 alpha of one mean.

    Of values ``[seeds]`` those that failed are left out. Of ``[groups, seeds]`` the mean is shown that decides: the
    least, or the ``largest``, of the groups in which nobody failed. All else is as in :class:`.Finding`.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim == 2:
        whole = sample[np.isfinite(sample).all(axis=1)]
        means = whole.mean(axis=1)
        sample = whole[(means.argmax if largest else means.argmin)()] if len(whole) else np.array([])
    sample = sample[np.isfinite(sample)]
    mean, interval = mean_interval(sample, verdict.alpha or 0.05) if sample.size else (None, (0.0, 0.0))
    return Finding(
        equation,
        form,
        verdict.statement,
        verdict,
        expected,
        mean,
        None if mean is None or not np.isfinite(interval).all() else interval,
        bound,
        unit,
        key=key,
        of=of or {},
    )
