"""Does the gap of trained students grow linearly with the rank (§5.5)? Eq 19 has a term without r."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from theorykit.arguments import Floats
from theorykit.errors import InputError
from theorykit.verdicts import Instance, Verdict
from theorykit.verdicts.growth import LINEAR, POWERS, GrowthEvidence, contrast, linearity_verdict
from theorykit.verdicts.planning import LEAST_POWER
from validation.claims.experiment import Context, Settings
from validation.claims.finding import Finding, Form
from validation.claims.grids import Curve, label_curve, needed

ROOT = 0.5
EXPONENT_UNIT = "exponent p of a + b r^p"


def linearity_power(settings: Settings) -> float:
    """Return the chance of CONSISTENT, at least, where gap = b r/√n with ``gap_sd_log`` of it as independent noise.

    By noncentral t for each of the three tests; that one of them fails has at most the sum of their chances.
    """
    from scipy.stats import nct, t

    curve = label_curve(settings, 0)
    spread, margin, alpha = (float(needed(settings, name)) for name in ("gap_sd_log", "gap_margin", "alpha"))
    ranks, falls = np.array(curve.ranks, dtype=np.float64), np.array(curve.sizes, dtype=np.float64) ** -0.5
    seeds, freedom = len(curve.seeds), len(curve.seeds) - 1
    spread *= float(np.linalg.norm(falls) / falls.sum())  # of the mean over n
    chance = 1.0
    for row in (ranks - ranks.mean(), contrast(ranks, LINEAR - margin), -contrast(ranks, LINEAR + margin)):
        away = math.sqrt(seeds) * float(row @ ranks) / (spread * float(np.linalg.norm(row * ranks)))
        chance -= float(nct.cdf(t.ppf(1 - alpha, freedom), freedom, away))
    return max(chance, 0.0)


@dataclass(frozen=True)
class Growth:
    """How gaps grow with the rank.

    Attributes:
        overall: Of the mean over all n, which is affine in r if the gap is at each: it decides.
        sizes: n of each curve.
        curves: One verdict for each n, to be read beside it.
    """

    overall: Verdict
    sizes: tuple[int, ...]
    curves: tuple[Verdict, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """Return what was found, one sentence for the mean and one for each curve."""
        told = zip(self.sizes, self.curves, strict=True)
        return (f"Mean over n: {_told(self.overall)}", *(f"n = {size}: {_told(one)}" for size, one in told))

    @property
    def data(self) -> dict[str, object]:
        """Return p with its interval, of the mean over n and at each n; None where no growth is shown."""
        return {"in_r_of_the_mean": _numbers(self.overall), "in_r": [_numbers(one) for one in self.curves]}


def gap_growth(ctx: Context, gaps: Floats) -> Growth:
    """Judge the growth of gaps ``[seeds, sizes, ranks]`` with the rank.

    Raises:
        InputError: the planned power is below 0.8 and ``underpowered`` is not set.
    """
    power = linearity_power(ctx.settings)
    if power < LEAST_POWER and not ctx.settings.get("underpowered", False):
        raise InputError(
            f"the planned power of a gap linear in the rank is {power:.2f}, below {LEAST_POWER:g}",
            "plan more seeds, more ranks or a larger gap_margin, or set underpowered = true",
        )
    curve = label_curve(ctx.settings, ctx.seed)
    trained = np.isfinite(gaps).any(axis=(0, 2))
    mean = gaps[:, trained].mean(axis=1) if trained.any() else gaps[:, 0]
    return Growth(
        _judged(ctx, mean, curve, "mean gap over n"),
        curve.sizes,
        tuple(_judged(ctx, gaps[:, number], curve, f"gap at n = {size}") for number, size in enumerate(curve.sizes)),
    )


def _judged(ctx: Context, gaps: Floats, curve: Curve, statement: str) -> Verdict:
    margin, alpha = (float(needed(ctx.settings, name)) for name in ("gap_margin", "alpha"))
    return linearity_verdict(gaps, curve.ranks, margin=margin, alpha=alpha, statement=statement)


def growth_findings(growth: Growth, loss: str, lost: tuple[str, ...]) -> list[Finding]:
    """Say what the growth means for §5.5; ``lost`` is what to say of failed students."""
    what = f"gap of the {loss} over the rank, mean over n: does it grow like a + b r (m + n)?"
    remark = f"gap of the {loss} over the rank, mean over n, beside √r"
    others = "These students learn from labels alone; §5.5 is about students of Low-Rank Clone."
    unnormed = (
        "Complexity grows at most like √r under one bound on ‖W‖_F, which training does not keep, and an upper bound "
        "on the gap claims no slope of it."
    )
    found = growth.overall
    claim = replace(found, statement=what, reasons=(*found.reasons, *growth.lines, others, *lost))
    beside = replace(
        found,
        statement=remark,
        instance=Instance.NOT_APPLICABLE,
        # a slope that no statement claims is told in the reasons: it speaks neither for nor against one
        exponent=None,
        reasons=(*growth.lines, unnormed, others, *lost),
    )
    return [linearity_finding(Form.PRINTED, claim), linearity_finding(Form.CORRECTED, beside, against=ROOT)]


def linearity_finding(
    form: Form, verdict: Verdict, *, against: float = LINEAR, expected: tuple[str, ...] = ()
) -> Finding:
    """Return a finding with the p of a verdict; an interval that ends where the search did is open there."""
    found = verdict.evidence if isinstance(verdict.evidence, GrowthEvidence) else None
    return Finding(
        "gap-linear-in-rank",
        form,
        verdict.statement,
        verdict,
        expected,
        measured=found.power if found else None,
        interval=_opened(found.interval) if found and found.interval else None,
        bound=against,
        unit=EXPONENT_UNIT,
    )


def _opened(interval: tuple[float, float]) -> tuple[float, float]:
    low, high = interval
    return -np.inf if low == POWERS[0] else low, np.inf if high == POWERS[-1] else high


def _numbers(verdict: Verdict) -> list[float] | None:
    found = verdict.evidence
    if not isinstance(found, GrowthEvidence) or found.power is None or found.interval is None:
        return None
    return [found.power, *found.interval]


def _told(verdict: Verdict) -> str:
    numbers = _numbers(verdict)
    if numbers is None:
        return f"{verdict.exponent}, no exponent: no growth is shown."
    low, high = numbers[1:]
    ends = ", an end of what was looked at" if low == POWERS[0] or high == POWERS[-1] else ""
    return f"p = {numbers[0]:.2f} [{low:.2f}, {high:.2f}] in a + b r^p{ends}: {verdict.exponent}."
