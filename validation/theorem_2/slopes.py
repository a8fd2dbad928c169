"""How the gap of trained students grows with the rank (§5.5) and falls with the sample (eq 19), rivals beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import nct, t

from theorykit.arguments import Floats
from theorykit.errors import InputError
from theorykit.verdicts import (
    Form,
    Instance,
    Rows,
    SlopeEvidence,
    Verdict,
    exponent_verdict,
    plan_exponent,
    student_interval,
)
from theorykit.verdicts.growth import LINEAR, POWERS, GrowthEvidence, contrast, linearity_verdict
from theorykit.verdicts.planning import LEAST_POWER
from validation.claims.experiment import Context
from validation.claims.finding import Configuration, Finding
from validation.claims.grids import GridSettings, label_curve

ROOT = 0.5
INVERSE_ROOT, INVERSE = -0.5, -1.0
_RIVALS = {"-1/2": INVERSE_ROOT, "-1": INVERSE}
_FINE = 4001
"""Steps of the grid on which gaps are said to lie: those of an error rate can repeat, and none is at its ends."""


@dataclass(frozen=True, kw_only=True)
class GapSettings(GridSettings):
    """Settings of the parts on students.

    Attributes:
        gap_sd_log: Expected standard deviation of ln gap over the seeds, for the plans.
        gap_margin: Largest difference from a claimed exponent that counts as agreement.
    """

    gap_sd_log: float
    gap_margin: float


Numbers = tuple[float, float, float]
"""An exponent, and the ends of its interval."""


def linearity_power(settings: GapSettings) -> float:
    """Return the chance of CONSISTENT, at least, where gap = b r/√n with ``gap_sd_log`` of it as independent noise.

    By noncentral t for each of the three tests; that one of them fails has at most the sum of their chances.
    """
    curve, margin = label_curve(settings, 0), settings.gap_margin
    ranks, falls = np.array(curve.ranks, dtype=np.float64), np.array(curve.sizes, dtype=np.float64) ** -0.5
    seeds, freedom = len(curve.seeds), len(curve.seeds) - 1
    spread = settings.gap_sd_log * float(np.linalg.norm(falls) / falls.sum())  # of the mean over n
    chance = 1.0
    for row in (ranks - ranks.mean(), contrast(ranks, LINEAR - margin), -contrast(ranks, LINEAR + margin)):
        away = math.sqrt(seeds) * float(row @ ranks) / (spread * float(np.linalg.norm(row * ranks)))
        chance -= float(nct.cdf(t.ppf(1 - settings.alpha, freedom), freedom, away))
    return max(chance, 0.0)


@dataclass(frozen=True)
class Growth:
    """How gaps grow with the rank.

    Attributes:
        overall: Of the mean over all n, which is affine in r if the gap is at each: it decides.
        by_size: One verdict for each n, to be read beside it.
    """

    overall: Verdict
    by_size: dict[int, Verdict]

    @property
    def lines(self) -> tuple[str, ...]:
        """Return what was found, one sentence for the mean and one for each n."""
        by_size = (f"n = {size}: {_power_sentence(verdict)}" for size, verdict in self.by_size.items())
        return f"Mean over n: {_power_sentence(self.overall)}", *by_size

    @property
    def data(self) -> dict[str, Any]:
        """Return p with its interval, of the mean over n and at each n; None where no growth is shown."""
        at_each = [growth_numbers(verdict) for verdict in self.by_size.values()]
        return {"in_r_of_the_mean": growth_numbers(self.overall), "in_r": at_each}


def gap_growth(ctx: Context[GapSettings], gaps: Floats) -> Growth:
    """Judge the growth of gaps ``[seeds, sizes, ranks]`` with the rank.

    Raises:
        InputError: the planned power is below 0.8 and ``underpowered`` is not set.
    """
    settings, curve = ctx.settings, label_curve(ctx.settings, ctx.seed)
    power = linearity_power(settings)
    if power < LEAST_POWER and not settings.underpowered:
        raise InputError(
            f"the planned power of a gap linear in the rank is {power:.2f}, below {LEAST_POWER:g}",
            "plan more seeds, more ranks or a larger gap_margin, or set underpowered = true",
        )

    def judged(gaps: Floats, statement: str) -> Verdict:
        return linearity_verdict(
            gaps, curve.ranks, margin=settings.gap_margin, alpha=settings.alpha, statement=statement
        )

    trained = np.isfinite(gaps).any(axis=(0, 2))
    mean = gaps[:, trained].mean(axis=1) if trained.any() else gaps[:, 0]
    by_size = {size: judged(gaps[:, number], f"gap at n = {size}") for number, size in enumerate(curve.sizes)}
    return Growth(judged(mean, "mean gap over n"), by_size)


def growth_findings(growth: Growth, loss: str) -> list[Finding]:
    """Say what the growth means for §5.5."""
    others = "These students learn from labels alone; §5.5 is about students of Low-Rank Clone."
    unnormed = (
        "Complexity grows at most like √r under one bound on ‖W‖_F, which training does not keep, and an upper bound "
        "on the gap claims no slope of it."
    )
    claim = replace(
        growth.overall,
        statement=f"gap of the {loss} over the rank, mean over n: does it grow like a + b r (m + n)?",
        reasons=(*growth.overall.reasons, *growth.lines, others),
    )
    beside = replace(
        growth.overall,
        statement=f"gap of the {loss} over the rank, mean over n, beside √r",
        instance=Instance.NOT_APPLICABLE,
        # a slope that no statement claims is told in the reasons: it speaks neither for nor against one
        exponent=None,
        reasons=(*growth.lines, unnormed, others),
    )
    of = {"loss": loss}
    return [growth_finding(Form.PRINTED, claim, of=of), growth_finding(Form.CORRECTED, beside, against=ROOT, of=of)]


def growth_finding(
    form: Form, verdict: Verdict, expected: tuple[str, ...] = (), *, of: Configuration, against: float = LINEAR
) -> Finding:
    """Return a finding with the p of a verdict; an interval that ends where the search did is open there."""
    numbers, interval = growth_numbers(verdict), None
    if numbers is not None:
        _, low, high = numbers
        interval = (-np.inf if low == POWERS[0] else low, np.inf if high == POWERS[-1] else high)
    return Finding(
        "gap-linear-in-rank",
        form,
        verdict.statement,
        verdict,
        expected,
        measured=numbers[0] if numbers else None,
        interval=interval,
        bound=against,
        unit="exponent p of a + b r^p",
        key="growth",
        of=of,
    )


def growth_numbers(verdict: Verdict) -> Numbers | None:
    """Return p of a + b r^p with its interval; None where no growth is shown."""
    evidence = verdict.evidence
    if not isinstance(evidence, GrowthEvidence) or evidence.power is None or evidence.interval is None:
        return None
    return (evidence.power, *evidence.interval)


def _power_sentence(verdict: Verdict) -> str:
    numbers = growth_numbers(verdict)
    if numbers is None:
        return f"{verdict.exponent}, no exponent: no growth is shown."
    power, low, high = numbers
    ends = ", an end of what was looked at" if low == POWERS[0] or high == POWERS[-1] else ""
    return f"p = {power:.2f} [{low:.2f}, {high:.2f}] in a + b r^p{ends}: {verdict.exponent}."


@dataclass(frozen=True)
class Slope:
    """How the gap falls with n at one rank.

    Attributes:
        rank: Of the students.
        verdict: On −1/2.
        n_points: Sample sizes.
        n_left_out: Of them, whose gap has no logarithm or is not shown to be above 0.
    """

    rank: int
    verdict: Verdict
    n_points: int
    n_left_out: int

    @property
    def numbers(self) -> Numbers | None:
        """Return the slope with its interval; None where there is none."""
        evidence = self.verdict.evidence
        return (evidence.slope, *evidence.wider_interval) if isinstance(evidence, SlopeEvidence) else None

    @property
    def line(self) -> str:
        """Return what was found, in a sentence or two."""
        evidence, left_out = self.verdict.evidence, ""
        if self.n_left_out:
            used = self.n_points - self.n_left_out
            left_out = f" The gap is shown to be above 0, and in every seed, at {used} of {self.n_points} points."
        if not isinstance(evidence, SlopeEvidence):
            return f"r = {self.rank}: no slope.{left_out}"
        low, high = evidence.wider_interval
        inside = [rival.name for rival in evidence.rivals if rival.in_interval]
        rivals = f", with {', '.join(inside)} inside" if inside else ""
        slope = f"slope {evidence.slope:.3f} [{low:.3f}, {high:.3f}]{rivals}"
        return f"r = {self.rank}: {slope}: {self.verdict.exponent}.{left_out}"


def gap_slopes(ctx: Context[GapSettings], gaps: Floats) -> list[Slope]:
    """Judge the slope in n of gaps ``[seeds, sizes, ranks]`` at each rank against −1/2; rivals are listed.

    At alpha over the number of ranks, so that one of them errs with at most alpha.
    """
    settings, curve = ctx.settings, label_curve(ctx.settings, ctx.seed)
    plan = plan_exponent(
        INVERSE_ROOT,
        curve.sizes,
        n_seeds=len(curve.seeds),
        sd_log=settings.gap_sd_log,
        margin=settings.gap_margin,
        alpha=settings.alpha / len(curve.ranks),
        further_rivals=_RIVALS,
        allow_low_power=settings.underpowered,
    )
    slopes = []
    for number, rank in enumerate(curve.ranks):
        left_out = _left_out(gaps[:, :, number], plan.alpha)
        values = np.where(left_out, np.nan, gaps[:, :, number])
        verdict = exponent_verdict(
            plan, values, ctx.generator("slopes", "n", number), grid=_grid(values), statement="gap over n"
        )
        slopes.append(Slope(rank, verdict, left_out.size, int(left_out.sum())))
    return slopes


def _left_out(gaps: Floats, alpha: float) -> NDArray[np.bool_]:
    """Return which points of gaps ``[seeds, sizes]`` have no logarithm: the mean is not shown to be above 0.

    So is a point at which one seed has a gap at or below 0: to keep its other seeds would select on the gap.
    """
    _, lower, _ = student_interval(gaps, 1 - 2 * alpha)
    return np.asarray((gaps <= 0).any(axis=0) | ~(lower > 0))


def _grid(values: Floats) -> Floats:
    kept = values[np.isfinite(values)]
    return np.geomspace(kept.min() / 2, kept.max() * 2, _FINE) if kept.size else np.array([1.0, 2.0, 3.0])


def slopes_finding(slopes: list[Slope], loss: str) -> Finding:
    """Say what the slopes mean for eq 19."""
    what = f"gap of the {loss} over the number of blocks at each rank, beside 1/√n"
    upper = (
        "An upper bound claims no slope: a gap that falls faster than 1/√n, as 1/n, keeps it. The printed log n/√n has "
        "the slope −1/2 + 1/ln n."
    )
    verdicts = [slope.verdict for slope in slopes]
    numbers = [slope.numbers for slope in slopes if slope.numbers is not None]
    verdict = Verdict(
        what,
        # a slope that no statement claims is told in the reasons: it speaks neither for nor against one
        Instance.NOT_APPLICABLE,
        reasons=(*(slope.line for slope in slopes), upper),
        n_seeds=min(verdict.n_seeds for verdict in verdicts),
        alpha=verdicts[0].alpha,
        method=verdicts[0].method,
        evidence=Rows(tuple(x.evidence for x in verdicts if isinstance(x.evidence, SlopeEvidence))),
    )
    return Finding(
        "eq-19",
        Form.PRINTED,
        what,
        verdict,
        measured=float(np.mean([slope for slope, _, _ in numbers])) if numbers else None,
        interval=(min(low for _, low, _ in numbers), max(high for _, _, high in numbers)) if numbers else None,
        bound=INVERSE_ROOT,
        unit="slope in ln n",
        key="slope-in-n",
        of={"loss": loss},
    )
