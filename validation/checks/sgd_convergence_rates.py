"""Does the average squared gradient norm fall with T as T^−1, T^−½, or not at all? One slope per seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from theorykit.checks import Floats
from theorykit.verdicts import ExponentPlan, Instance, SlopeEvidence, exponent_verdict, plan_exponent
from validation.checks.finding import Finding, Form

RATES = {"T^-1": -1.0, "T^-1/2": -0.5, "T^0": 0.0}
"""§4.1, the abstract with §5.4, and a floor."""


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
    equation: str = "rate-claims",
    expected: tuple[str, ...] = (),
) -> Finding:
    """Judge the slope of averages ``[seeds, sizes]`` in T; what falls faster than claimed keeps an upper bound."""
    verdict = exponent_verdict(plan, averages, generator, grid=None, statement=what)
    evidence = cast("SlopeEvidence | None", verdict.evidence)
    if evidence is not None and evidence.equivalence_interval[1] < plan.claimed - plan.margin:
        reason = f"It falls faster than claimed, which keeps the upper bound O(T^{plan.claimed:g})."
        verdict = replace(verdict, instance=Instance.HOLDS, reasons=(*verdict.reasons, reason))
    return Finding(
        equation,
        form,
        what,
        verdict,
        expected,
        measured=None if evidence is None else evidence.slope,
        interval=None if evidence is None else evidence.equivalence_interval,
        bound=plan.claimed,
        unit="exponent of T",
    )
