"""How the gap of trained students falls with the sample: slopes by seed at each rank, rivals beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from theorykit.arguments import Floats
from theorykit.verdicts import Instance, Rows, SlopeEvidence, Verdict, exponent_verdict, plan_exponent, student_interval
from validation.claims.experiment import Context
from validation.claims.finding import Finding, Form
from validation.claims.grids import label_curve, needed

INVERSE_ROOT, INVERSE = -0.5, -1.0
_RIVALS = {"-1/2": INVERSE_ROOT, "-1": INVERSE}
LEFT_OUT = "The gap is shown to be above 0, and in every seed,"
_FINE = 4001
"""Steps of the grid on which gaps are said to lie: those of an error rate can repeat, and none is at its ends."""


@dataclass(frozen=True)
class Slopes:
    """One verdict for each curve over the sizes.

    Attributes:
        ranks: Of the curves.
        verdicts: One for each.
    """

    ranks: tuple[int, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def found(self) -> list[SlopeEvidence]:
        """Return the slopes of the curves that have one."""
        return [one.evidence for one in self.verdicts if isinstance(one.evidence, SlopeEvidence)]

    @property
    def interval(self) -> tuple[float, float] | None:
        """Return the range of all intervals."""
        ends = [one.wider_interval for one in self.found]
        return (min(low for low, _ in ends), max(high for _, high in ends)) if ends else None

    @property
    def mean(self) -> float | None:
        """Return the mean slope over the curves."""
        return float(np.mean([one.slope for one in self.found])) if self.found else None

    @property
    def lines(self) -> tuple[str, ...]:
        """Return what was found, one sentence for each curve."""
        return tuple(f"r = {rank}: {_told(one)}" for rank, one in zip(self.ranks, self.verdicts, strict=True))


def slope_finding(slopes: Slopes, loss: str, lost: tuple[str, ...]) -> Finding:
    """Say what the slopes mean for eq 19; ``lost`` is what to say of failed students."""
    what = f"gap of the {loss} over the number of blocks at each rank, beside 1/√n"
    upper = (
        "An upper bound claims no slope: a gap that falls faster than 1/√n, as 1/n, keeps it. The printed log n/√n has "
        "the slope −1/2 + 1/ln n."
    )
    first = slopes.verdicts[0]
    verdict = Verdict(
        what,
        # a slope that no statement claims is told in the reasons: it speaks neither for nor against one
        Instance.NOT_APPLICABLE,
        reasons=(*slopes.lines, upper, *lost),
        n_seeds=min(one.n_seeds for one in slopes.verdicts),
        alpha=first.alpha,
        method=first.method,
        evidence=Rows(tuple(slopes.found)),
    )
    return Finding(
        "eq-19",
        Form.PRINTED,
        what,
        verdict,
        measured=slopes.mean,
        interval=slopes.interval,
        bound=INVERSE_ROOT,
        unit="slope in ln n",
    )


def slope_data(slopes: Slopes) -> list[list[float] | None]:
    """Return slopes over n with their intervals at each r; None where there is none."""
    found = (verdict.evidence for verdict in slopes.verdicts)
    return [[one.slope, *one.wider_interval] if isinstance(one, SlopeEvidence) else None for one in found]


def gap_slopes(ctx: Context, gaps: Floats) -> Slopes:
    """Judge the slope in n of gaps ``[seeds, sizes, ranks]`` at each rank against −1/2; rivals are listed.

    At alpha over the number of curves, so that one of them errs with at most alpha.
    """
    curve = label_curve(ctx.settings, ctx.seed)
    plan = plan_exponent(
        INVERSE_ROOT,
        curve.sizes,
        n_seeds=len(curve.seeds),
        sd_log=float(needed(ctx.settings, "gap_sd_log")),
        margin=float(needed(ctx.settings, "gap_margin")),
        alpha=float(needed(ctx.settings, "alpha")) / len(curve.ranks),
        further_rivals=_RIVALS,
        allow_low_power=bool(ctx.settings.get("underpowered", False)),
    )
    verdicts = []
    for number in range(len(curve.ranks)):
        values, left_out = _with_logarithm(gaps[:, :, number], plan.alpha)
        found = exponent_verdict(
            plan, values, ctx.generator("slopes", "n", number), grid=_grid(values), statement="gap over n"
        )
        verdicts.append(replace(found, reasons=(*left_out, *found.reasons)))
    return Slopes(curve.ranks, tuple(verdicts))


def _with_logarithm(values: Floats, alpha: float) -> tuple[Floats, tuple[str, ...]]:
    """Return gaps that have a slope: points whose mean over the seeds is not shown to be above 0 are left out whole.

    So is a point at which one seed has a gap at or below 0: to keep its other seeds would select on the gap.
    """
    _, lower, _ = student_interval(values, 1 - 2 * alpha)
    without = (values <= 0).any(axis=0) | ~(lower > 0)
    if not without.any():
        return values, ()
    kept = values.shape[1] - int(without.sum())
    return np.where(without, np.nan, values), (f"{LEFT_OUT} at {kept} of {without.size} points.",)


def _grid(values: Floats) -> Floats:
    kept = values[np.isfinite(values)]
    return np.geomspace(kept.min() / 2, kept.max() * 2, _FINE) if kept.size else np.array([1.0, 2.0, 3.0])


def _told(verdict: Verdict) -> str:
    left_out = " ".join(reason for reason in verdict.reasons if reason.startswith(LEFT_OUT))
    found = verdict.evidence
    if not isinstance(found, SlopeEvidence):
        return f"no slope. {left_out}".strip()
    low, high = found.wider_interval
    inside = [rival.name for rival in found.rivals if rival.in_interval]
    known = f", with {', '.join(inside)} inside" if inside else ""
    return f"slope {found.slope:.3f} [{low:.3f}, {high:.3f}]{known}: {verdict.exponent}. {left_out}".strip()
