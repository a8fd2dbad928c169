"""Mechanisms, "the treatment raises the quantity": paired seeds, controls that must not move, estimators on trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from theorykit.arguments import LARGEST, Floats, checked_generator, positive_number, single_number
from theorykit.errors import InputError, NonFiniteError
from theorykit.results import Result
from theorykit.verdicts.axes import Instance, Rows, Verdict
from theorykit.verdicts.intervals import mean_interval, mean_limits
from theorykit.verdicts.samples import SKEWED, error_rate, holm, seed_vector, shaped_array, skewness_z

_FLIPS = 2**14
"""Sign flips: all of them up to 14 pairs, a random draw beyond."""


@dataclass(frozen=True)
class ReferenceTask:
    """A task whose outcome is known: a negative control that must not move, or an estimate of a known truth.

    Attributes:
        name: For example rotation, rescaling, shuffled pairs, or the name of a known-truth task.
        estimates: ``[seeds]`` measured values.
        expected: What they have to be: one number, or one per seed (the value before a transformation).
        margin: Largest difference of the mean that still counts as none, above 0; fixed beforehand.
    """

    name: str
    estimates: Any
    expected: Any
    margin: float

    def differences(self) -> Floats:
        """Return estimates less expected, ``[seeds]``; NaN stays and fails the task."""
        estimates = seed_vector(f"{self.name}: estimates", self.estimates)
        expected = shaped_array(f"{self.name}: expected", self.expected, estimates.shape)
        return np.asarray(estimates - expected, dtype=np.float64)


@dataclass(frozen=True)
class Equivalence(Result):
    """Whether a mean difference is shown to be none.

    Attributes:
        name: Of the task.
        role: ``"negative control"`` or ``"known truth"``.
        difference: Mean of estimates less expected; NaN with failed runs.
        interval: Its t interval of level 1 − 2 alpha.
        margin: What counts as none.
        passed: Whether the interval lies within ± margin (two one-sided tests).
    """

    name: str
    role: str
    difference: float
    interval: tuple[float, float]
    margin: float
    passed: bool

    @property
    def instance(self) -> Instance:
        """Return HOLDS where it passed, VIOLATED where the interval lies wholly outside the margin."""
        if self.passed:
            return Instance.HOLDS
        low, high = self.interval
        return Instance.VIOLATED if low > self.margin or high < -self.margin else Instance.INCONCLUSIVE


@dataclass(frozen=True)
class PairedEffect(Result):
    """A paired difference and the p-values of three tests that it exceeds a threshold.

    Attributes:
        name: What was compared.
        n_pairs: Seeds.
        effect: Mean difference.
        interval: Its t interval of level 1 − 2 alpha.
        threshold: What it has to exceed.
        p_t: Paired t test, one-sided.
        p_wilcoxon: Signed-rank test, one-sided.
        p_sign_flip: Sign-flip permutation test of the mean, one-sided; exact up to 14 pairs.
    """

    name: str
    n_pairs: int
    effect: float
    interval: tuple[float, float]
    threshold: float
    p_t: float
    p_wilcoxon: float
    p_sign_flip: float

    @property
    def p_value(self) -> float:
        """Return the largest of the three, which decides: no test is picked after the fact."""
        return max(self.p_t, self.p_wilcoxon, self.p_sign_flip)


def equivalence(task: ReferenceTask, role: str, alpha: float) -> Equivalence:
    """Test that a task's mean difference lies within its margin: two one-sided t tests over seeds.

    P(passed | the difference is at the margin) ≤ alpha for normal seeds. A failed run fails the task.

    Args:
        task: What was measured and what it has to be.
        role: ``"negative control"`` or ``"known truth"``.
        alpha: One-sided level in (0, 1/2).

    Raises:
        InputError: the margin is not above 0, or a shape does not fit.

    Example:
        >>> equivalence(ReferenceTask("shuffled", [0.1, -0.1, 0.0], 0.0, margin=0.2), "negative control", 0.05).passed
        True
    """
    alpha = error_rate(alpha)
    margin = positive_number(f"{task.name}: margin", task.margin)
    differences = task.differences()
    if not np.isfinite(differences).all():
        return Equivalence(task.name, role, float("nan"), (-np.inf, np.inf), margin, False)
    difference, interval = mean_interval(differences, alpha)
    passed = -margin < interval[0] and interval[1] < margin
    return Equivalence(task.name, role, difference, interval, margin, passed)


def paired_effect(
    differences: Any, threshold: float, alpha: float, generator: np.random.Generator, *, name: str = "effect"
) -> PairedEffect:
    """Test that paired differences exceed a threshold, by t, signed ranks and sign flips; unit of the differences.

    The t test asks for normal differences, the other two for symmetric ones, whose centre they test exactly: so they
    are where the treatment does nothing and its arms could be exchanged. All are one-sided. With S pairs no sign flip
    test gives less than 2^−S: fewer than 5 pairs cannot succeed at 0.05.

    Args:
        differences: ``[seeds]``, at least 2.
        threshold: What the mean has to exceed.
        alpha: Level of the interval.
        generator: For the random flips beyond 14 pairs.
        name: What was compared.

    Raises:
        InputError: fewer than 2 pairs. NonFiniteError: NaN or infinity.

    Example:
        >>> import numpy as np
        >>> paired_effect([1.0, 2.0, 3.0, 4.0, 5.0], 0.0, 0.05, np.random.default_rng(0)).p_sign_flip  # 1/2^5
        0.03125
    """
    from scipy.stats import permutation_test, wilcoxon

    values = seed_vector("differences", differences)
    if not np.isfinite(values).all():
        raise NonFiniteError("differences holds NaN or infinity", "leave failed pairs to mechanism_verdict")
    if values.size < 2:
        raise InputError("one pair has no variance", "give at least 2 pairs")
    limits = mean_limits(values[None, :], error_rate(alpha))
    threshold = single_number("threshold", threshold, low=-LARGEST, high=LARGEST)
    excess = values - threshold
    if np.ptp(excess) == 0 and excess[0] == 0:
        p_wilcoxon = p_flip = 1.0
    else:
        p_wilcoxon = float(wilcoxon(excess, alternative="greater").pvalue)
        p_flip = float(
            permutation_test(
                (excess,),
                lambda sample, axis: sample.mean(axis=axis),
                permutation_type="samples",
                alternative="greater",
                n_resamples=_FLIPS,
                vectorized=True,
                rng=checked_generator(generator),
            ).pvalue
        )
    return PairedEffect(
        name=name,
        n_pairs=values.size,
        effect=float(limits.mean[0]),
        interval=(float(limits.lower[0]), float(limits.upper[0])),
        threshold=threshold,
        p_t=float(limits.p_above(np.array([threshold]))[0]),
        p_wilcoxon=p_wilcoxon,
        p_sign_flip=p_flip,
    )


def _above_ceiling(arms: Mapping[str, Floats], ceilings: Mapping[str, float], alpha: float) -> list[str]:
    """Return a sentence for each arm whose mean lies above what is possible, after Holm over arms and ceilings."""
    pairs, p_values = [], []
    for name, value in ceilings.items():
        ceiling = single_number(f"ceiling {name}", value)
        for arm, values in arms.items():
            finite = values[np.isfinite(values)]
            if finite.size > 1:
                pairs.append((arm, name, ceiling))
                p_values.append(float(mean_limits(finite[None, :], alpha).p_above(np.array([ceiling]))[0]))
    return [
        f"The {arm} arm lies above the ceiling {name} = {ceiling:.4g}: the estimator is rejected."
        for (arm, name, ceiling), p_holm in zip(pairs, holm(np.array(p_values)), strict=True)
        if p_holm <= alpha
    ]


def mechanism_verdict(
    treated: Any,
    control: Any,
    generator: np.random.Generator,
    *,
    negative_controls: Sequence[ReferenceTask] = (),
    known_truths: Sequence[ReferenceTask] = (),
    ceilings: Mapping[str, float] | None = None,
    smallest_effect: float = 0.0,
    bias: float = 0.0,
    alpha: float = 0.05,
    statement: str = "",
) -> Verdict:
    """Judge "the treatment raises the quantity by more than ``smallest_effect``" from paired seeds.

    NOT_APPLICABLE where the estimator itself fails: a known truth is missed, or a ceiling passed (one-sided t tests,
    Holm over arms and ceilings). HOLDS where t, signed ranks and sign flips all show an effect above
    ``smallest_effect + bias`` and every negative control is shown not to move; VIOLATED where all three show one below
    ``smallest_effect − bias`` and the controls stay; INCONCLUSIVE otherwise, without a negative control always. Each
    is wrong with probability at most alpha for normal differences.

    Args:
        treated: ``[seeds]`` with the treatment; NaN marks a failed run.
        control: ``[seeds]`` without it, same seeds in the same order.
        generator: For random sign flips beyond 14 pairs.
        negative_controls: Transformations that must not move the quantity (rotation, rescaling), or tasks without any
            (shuffled pairs, expected 0).
        known_truths: Tasks of known value, of the same size and dimension as the measurement.
        ceilings: Values that the quantity cannot exceed, by name (entropy, log N).
        smallest_effect: Smallest effect of interest, at least 0.
        bias: Bound on the estimator's bias of the difference, at least 0.
        alpha: Level in (0, 1/2).
        statement: What is judged.

    Raises:
        InputError: the arms differ in length, have fewer than 2 pairs, or an argument is outside its domain.

    Example:
        >>> import numpy as np
        >>> still = ReferenceTask("rotation", [0.01, -0.01, 0.0, 0.02, -0.01], 0.0, margin=0.1)
        >>> mechanism_verdict(
        ...     [2.9, 3.1, 3.0, 3.2, 2.8], [1.0] * 5, np.random.default_rng(0), negative_controls=[still]
        ... ).instance
        <Instance.HOLDS: 'HOLDS'>
    """
    alpha = error_rate(alpha)
    least = positive_number("smallest_effect", smallest_effect, allow_zero=True)
    bias = positive_number("bias", bias, allow_zero=True)
    arms = {"treated": seed_vector("treated", treated), "control": seed_vector("control", control)}
    if arms["treated"].size != arms["control"].size:
        raise InputError(f"{arms['treated'].size} treated and {arms['control'].size} control runs", "pair them by seed")
    with np.errstate(invalid="ignore"):  # two failed runs: ∞ − ∞
        differences = arms["treated"] - arms["control"]
    truths = [equivalence(task, "known truth", alpha) for task in known_truths]
    controls = [equivalence(task, "negative control", alpha) for task in negative_controls]
    rejected = [f"Known truth {task.name} is not met: the estimator is rejected." for task in truths if not task.passed]
    rejected += _above_ceiling(arms, ceilings or {}, alpha)
    moved = [f"Negative control {task.name} is not shown to stay." for task in controls if not task.passed]
    moved += [] if controls else ["No negative control was run."]
    instance, effects, reasons = _effect(differences, least, bias, alpha, generator)
    if rejected or moved:
        instance = Instance.NOT_APPLICABLE if rejected else Instance.INCONCLUSIVE
    untested = [] if truths else ["No task of known truth was run: the estimator itself is untested."]
    return Verdict(
        statement=statement,
        instance=instance,
        reasons=(*rejected, *moved, *reasons, *untested),
        n_seeds=differences.size,
        alpha=alpha,
        method="paired t, signed-rank and sign-flip tests, the largest p decides; equivalence tests of controls",
        evidence=Rows((*truths, *controls, *effects)),
    )


def _effect(
    differences: Floats, least: float, bias: float, alpha: float, generator: np.random.Generator
) -> tuple[Instance, tuple[PairedEffect, ...], list[str]]:
    """Return what the paired differences alone say, the two tests behind it, and the reasons."""
    failed = int((~np.isfinite(differences)).sum())
    if failed:
        reason = f"{failed} of {differences.size} pairs failed: the rest may be a selection."
        return Instance.INCONCLUSIVE, (), [reason]
    above = paired_effect(differences, least + bias, alpha, generator, name="effect")
    below = paired_effect(-differences, bias - least, alpha, generator, name="reversed effect")
    reasons = [f"Effect {above.effect:.4g} over {above.n_pairs} pairs, p = {above.p_value:.3g}."]
    if 0.5**differences.size > alpha:
        reasons.append(f"{differences.size} pairs are too few: sign flips give at best {0.5**differences.size:g}.")
    instance = Instance.INCONCLUSIVE
    if above.p_value <= alpha:
        instance = Instance.HOLDS
    elif below.p_value <= alpha:
        instance = Instance.VIOLATED
    if abs(skewness_z(differences[None, :])) > SKEWED:
        reasons.append("The differences are skewed: the three tests ask for symmetric ones.")
    return instance, (above, below), reasons
