"""The rates of the abstract, §4.1 and §7 on students: slopes in T of the averages that plain SGD and AdamW gave."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from theorykit.arguments import Floats
from theorykit.verdicts import ExponentPlan, Instance
from validation.claims.experiment import Context, Settings
from validation.claims.finding import Finding, Form
from validation.claims.grids import needed
from validation.theorem_1.arms import PROBE, TUNED, Curves, sgd_students, tuned_groups
from validation.theorem_1.rates import CLAIMED_BY, RATES, rate_finding, rate_plan

NOT_SGD = "Theorem 1 is about SGD with a constant step: neither AdamW nor a schedule."
_PLAIN = "Plain SGD, which Theorem 1 is about; what §5.4 says LRC follows is a run of AdamW with a schedule."
_OF_THE_NORM = "The rate is read of ‖∇L‖², as in eq 11: of the norm, which §5.4 writes, T^-1/2 is T^-1 of ‖∇L‖²."
_TOO_LONG = "The step is too long for the curvature along the run: Theorem 1 claims no rate here. The slope is shown."
_OWN_CONSTANTS = "T^-1"
"""The rate of the terms of eq 11 that have their constants printed; T^-1/2 is that of O(ε²/√T), whose is open."""
_PARTS_OF_RUN = (1 / 8, 1 / 4, 1 / 2, 1.0)


def arms_of(settings: Settings) -> tuple[str, ...]:
    """Return the arms of plain SGD whose slopes are judged."""
    return tuple(name for name in sgd_students(settings, 0) if not name.startswith(PROBE))


def power(settings: Settings) -> dict[str, float]:
    """Return the planned power of each slope."""
    return {
        f"{arm}, {rate}": _plan(settings, rate, _sizes(settings, arm)).power
        for arm in arms_of(settings)
        for rate in CLAIMED_BY
    }


def slope_findings(
    context: Context, curves: Mapping[str, Curves], refuted: Collection[str], explicit: Mapping[str, Instance]
) -> list[Finding]:
    """Judge both rates that the paper claims, as upper bounds, on each arm of plain SGD.

    Args:
        context: Of the part.
        curves: By arm.
        refuted: Arms whose step is too long for the curvature: there the slope is shown and nothing is judged.
        explicit: What eq 11 as printed, with its own constants, says of the averages of an arm at every T.
    """
    found = []
    for arm in arms_of(context.settings):
        sizes, values = _sizes(context.settings, arm), _averages(context.settings, arm, curves[arm])
        for rate, where in CLAIMED_BY.items():
            one = rate_finding(
                _plan(context.settings, rate, sizes),
                values,
                context.generator("slope", arm, rate),
                form=Form.PRINTED,
                what=f"{arm}: average of ‖∇L‖² of SGD students is O({rate}), an upper bound claimed by {where}",
                explicit=explicit.get(arm) if rate == _OWN_CONSTANTS else None,
            )
            one = _only_shown(one, _TOO_LONG) if arm in refuted else one
            found.append(one.because(_OF_THE_NORM, _PLAIN))
    return found


def adamw_finding(context: Context, curves: Curves) -> Finding:
    """Show the slope of the paper's own optimiser, of which §5.4 says that it follows T^-1/2 closely."""
    steps, rate = int(needed(context.settings, "adamw_steps")), "T^-1/2"
    sizes = [part * steps for part in _PARTS_OF_RUN]
    plan = _plan({**context.settings, "underpowered": True}, rate, sizes)  # nothing is decided
    what = f"AdamW with warm-up and cosine: average of ‖∇L‖² over the first T of {steps} steps follows {rate} (§5.4)"
    generator = context.generator("slope", "AdamW", rate)
    found = rate_finding(
        plan, _rows([[one] * len(sizes) for one in curves], sizes), generator, form=Form.PRINTED, what=what
    )
    return _only_shown(found, f"{NOT_SGD} The slope is shown.").because(_OF_THE_NORM)


def _only_shown(found: Finding, reason: str) -> Finding:
    """Return a finding whose slope stays and decides nothing."""
    verdict = dataclasses.replace(
        found.verdict, instance=Instance.NOT_APPLICABLE, exponent=None, alpha=None, reasons=(reason,)
    )
    return dataclasses.replace(found, verdict=verdict)


def _averages(settings: Settings, arm: str, curves: Curves) -> Floats:
    """Return the averages ``[seeds, sizes]``; from one run of each seed, but for the tuned step, which is T's own."""
    sizes = _sizes(settings, arm)
    if arm == TUNED:
        return _rows(list(zip(*tuned_groups(settings, curves).values(), strict=True)), sizes)
    return _rows([[one] * len(sizes) for one in curves], sizes)


def _rows(runs: Sequence[Curves], sizes: Sequence[float]) -> Floats:
    return np.array(
        [
            [float("nan") if one is None else one.average(0, size) for one, size in zip(row, sizes, strict=True)]
            for row in runs
        ]
    )


def _sizes(settings: Settings, arm: str) -> list[float]:
    return [float(size) for size in needed(settings, "tuned_steps" if arm == TUNED else "rate_steps")]


def _plan(settings: Settings, rate: str, sizes: Sequence[float]) -> ExponentPlan:
    return rate_plan(
        RATES[rate],
        sizes,
        seeds=int(needed(settings, "seeds")),
        sd_log=float(needed(settings, "sd_log")),
        margin=float(needed(settings, "margin")),
        alpha=float(needed(settings, "alpha")),
        underpowered=bool(settings.get("underpowered", False)),
    )
