"""Does the average squared gradient norm fall with T as T^−1, T^−½, or not at all? One slope per seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from theorykit.arguments import Floats
from theorykit.verdicts import ExponentPlan, Instance, SlopeEvidence, exponent_verdict, plan_exponent
from validation.claims.finding import Finding, Form, slope_finding

RATES = {"T^-1": -1.0, "T^-1/2": -0.5, "T^0": 0.0}
"""Of the squared norm; the last is a floor."""
CLAIMED_BY = {"T^-1": "§4.1", "T^-1/2": "abstract, §7"}


def rate_plan(
    claimed: float,
    sizes: Sequence[float],
    *,
    seeds: int,
    sd_log: float,
    margin: float,
    alpha: float = 0.05,
    underpowered: bool = False,
) -> ExponentPlan:
    """Fix the measurement of one slope before its data, against all rates of ``RATES``.

    Args:
        claimed: Exponent of T.
        sizes: T, increasing.
        seeds: Slopes.
        sd_log: Standard deviation of the logarithm of one average.
        margin: Largest difference that counts as agreement.
        alpha: Level.
        underpowered: Accept less power than 0.8.

    Raises:
        InputError: too little power.
    """
    return plan_exponent(
        claimed,
        sizes,
        n_seeds=seeds,
        sd_log=sd_log,
        margin=margin,
        alpha=alpha,
        further_rivals=RATES,
        allow_low_power=underpowered,
    )


def rate_finding(
    plan: ExponentPlan,
    averages: Floats,
    generator: np.random.Generator,
    *,
    form: Form,
    what: str,
    explicit: Instance | None = None,
    equation: str = "rate-claims",
    expected: tuple[str, ...] = (),
) -> Finding:
    """Judge averages ``[seeds, sizes]`` in T against O(T^claimed), which is an upper bound.

    The instance is about the upper bound: HOLDS where the slope is at most the claimed one, within the margin. A slower
    fall refutes no upper bound: its constants do. The exponent is about more, whether the averages follow T^claimed.

    Args:
        plan: Of the slope.
        averages: One row for each seed.
        generator: For the bootstrap.
        form: Whose claim it is.
        what: One line.
        explicit: What the bound says of the same averages with constants of its own; None where it has an open one.
        equation: Key.
        expected: Of planted controls.
    """
    verdict = exponent_verdict(plan, averages, generator, grid=None, statement=what)
    evidence = cast("SlopeEvidence | None", verdict.evidence)
    if evidence is not None:
        instance, reason = _upper_bound(plan, evidence.equivalence_interval, explicit)
        verdict = replace(verdict, instance=instance, reasons=(reason, *verdict.reasons))
    return slope_finding(equation, form, what, verdict, plan.claimed, "exponent of T", expected)


def _upper_bound(plan: ExponentPlan, interval: tuple[float, float], explicit: Instance | None) -> tuple[Instance, str]:
    """Return what an interval of the slope says of O(T^claimed), and why."""
    order, (low, high) = f"O(T^{plan.claimed:g})", interval
    if high < plan.claimed - plan.margin:
        return Instance.HOLDS, f"It falls faster than claimed, which keeps the upper bound {order}."
    if high < plan.claimed + plan.margin:
        return (
            Instance.HOLDS,
            f"It falls at least as fast as claimed over these T, which keeps the upper bound {order}.",
        )
    if low <= plan.claimed + plan.margin:
        return Instance.INCONCLUSIVE, "Whether it falls slower than claimed is open."
    if explicit is None:
        return Instance.UNFALSIFIABLE, f"It falls slower than claimed; {order} has an open constant: no T refutes it."
    if explicit is Instance.VIOLATED:
        return explicit, "It falls slower than claimed, and the bound with its own constants is violated at these T."
    return (
        Instance.INCONCLUSIVE,
        "It falls slower than claimed, but the bound with its own constants is not violated at these T: a slope alone "
        "refutes no upper bound.",
    )
