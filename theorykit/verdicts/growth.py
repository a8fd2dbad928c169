"""Linear growth, "the gap grows linearly with the rank", judged without an intercept being known.

A log-log slope of 1 would mean proportional, and 0.05 + 0.004 r has 0.43 over r = 1 … 64. Here linear means
a + b r^p, b > 0, with p in 1 ± margin, and p is read from contrasts Σ c_j gap(r_j) with c orthogonal to 1 and to r^p.
c is what these two leave of r^p ln r, the derivative in p: above 0 at low ranks, below it, and above it again. So the
contrast is at most 0 for a gap concave in r^p and at least 0 for a convex one: a chord adds nothing to it, and a
concave gap less its chord through the two changes of sign has the other sign of c everywhere.

A contrast is linear in the gaps: noise of mean 0 leaves it without bias, however large, and gaps may be negative. A
fit of p for each seed, or logarithms of increments gap(r_j) − gap(r_1), are biased by noise, and the latter undefined
where an increment is not above 0. Beyond that only the normality of Student's test over the seeds is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from theorykit.arguments import Floats
from theorykit.results import Result
from theorykit.verdicts.axes import Exponent, Verdict
from theorykit.verdicts.exponents import INSTANCES
from theorykit.verdicts.intervals import ROUNDING, mean_limits

LINEAR = 1.0
POWERS = np.linspace(0.05, 3.0, 119)
"""Exponents p among which the interval is sought."""
LEAST_RANKS, LEAST_SEEDS = 3, 2
METHOD = "Student's tests over seeds of contrasts that a + b r^p leaves at 0, p = 1 ± margin"


@dataclass(frozen=True)
class GrowthEvidence(Result):
    """How gaps grow with the rank.

    Attributes:
        rise: Least-squares slope in r, mean over the seeds, unit of the gap per rank.
        power: p of a + b r^p, at which the contrast is nearest to 0; None where no growth is shown.
        interval: Its two-sided interval of level 1 − alpha within ``POWERS``; None likewise.
        ranks: That were used.
        n_seeds: That were used.
    """

    rise: float
    power: float | None
    interval: tuple[float, float] | None
    ranks: tuple[int, ...]
    n_seeds: int


def contrast(ranks: Floats, power: float) -> Floats:
    """Return c ``[ranks]`` of norm 1 with Σ c = Σ c r^p = 0 and Σ c r^q above 0 for q > p, below 0 for 0 < q < p.

    Example:
        >>> import numpy as np
        >>> ranks = np.array([1.0, 4.0, 16.0, 64.0])
        >>> [bool(contrast(ranks, p) @ ranks > 0) for p in (0.75, 1.25)]
        [True, False]
    """
    kept = np.stack([np.ones_like(ranks), ranks**power], axis=1)
    tangent = kept[:, 1] * np.log(ranks)
    rest = tangent - kept @ np.linalg.lstsq(kept, tangent, rcond=None)[0]
    return np.asarray(rest / np.linalg.norm(rest), dtype=np.float64)


@lru_cache(maxsize=8)
def _contrasts(ranks: tuple[float, ...]) -> Floats:
    """Return the contrast at each of ``POWERS``, ``[powers, ranks]``."""
    return np.array([contrast(np.array(ranks), power) for power in POWERS])


def linearity_verdict(gaps: Floats, ranks: tuple[int, ...], *, margin: float, alpha: float, statement: str) -> Verdict:
    """Judge whether gaps ``[seeds, ranks]`` grow like a + b r^p with b > 0 and p in 1 ± margin.

    CONSISTENT where growth is shown, more convex than r^(1 − margin) and less than r^(1 + margin); INCONSISTENT where
    growth is shown and one of these is refuted, or where the gap is shown to fall; each test one-sided at ``alpha``.
    INDISTINGUISHABLE otherwise, as where the gap does not depend on the rank. NaN marks a failed run: a rank at which
    all seeds failed is left out, and of the rest a seed with a failed run.
    """
    used = np.isfinite(gaps).any(axis=0)
    values = gaps[:, used]
    values = values[np.isfinite(values).all(axis=1)]
    places = np.array(ranks, dtype=np.float64)[used]
    if len(values) < LEAST_SEEDS or places.size < LEAST_RANKS:
        exponent, evidence = Exponent.INDISTINGUISHABLE, None
        needs = f"{LEAST_SEEDS} seeds at {LEAST_RANKS} ranks are needed"
        reason = f"{len(values)} seeds at {places.size} ranks are left; {needs}."
    else:
        exponent, reason, evidence = _decided(values, places, margin, alpha)
    return Verdict(
        statement,
        INSTANCES[exponent],
        exponent=exponent,
        reasons=(reason,),
        n_seeds=len(values),
        alpha=alpha,
        method=METHOD,
        evidence=evidence,
    )


def _decided(values: Floats, ranks: Floats, margin: float, alpha: float) -> tuple[Exponent, str, GrowthEvidence]:
    rounding = ROUNDING * float(np.abs(values).max())
    centred = ranks - ranks.mean()
    norm = np.linalg.norm(centred)
    rows = [centred / norm, *(contrast(ranks, LINEAR + shift) for shift in (-margin, margin))]
    limits = mean_limits(np.array(rows) @ values.T, alpha)
    grows, convex, not_concave = (limits.lower > rounding).tolist()
    falls, concave, not_convex = (limits.upper < -rounding).tolist()
    rise = float(limits.mean[0] / norm)
    power, interval = None, None
    if grows:
        scan = mean_limits(_contrasts(tuple(ranks.tolist())) @ values.T, alpha / 2)
        power = float(POWERS[np.argmin(np.abs(scan.mean))])
        kept = POWERS[(scan.lower <= rounding) & (scan.upper >= -rounding)]
        interval = (float(min(kept.min(initial=power), power)), float(max(kept.max(initial=power), power)))
    evidence = GrowthEvidence(rise, power, interval, tuple(ranks.astype(int).tolist()), len(values))
    low, high = LINEAR - margin, LINEAR + margin
    if falls:
        return Exponent.INCONSISTENT, "The gap is shown to fall with the rank.", evidence
    if not grows:
        return Exponent.INDISTINGUISHABLE, "No growth with the rank is shown.", evidence
    if concave:
        return Exponent.INCONSISTENT, f"The gap is shown to grow more slowly than any a + b r^{low:g}.", evidence
    if not_concave:
        return Exponent.INCONSISTENT, f"The gap is shown to grow faster than any a + b r^{high:g}.", evidence
    between = f"between a + b r^{low:g} and a + b r^{high:g}"
    if convex and not_convex:
        return Exponent.CONSISTENT, f"The gap is shown to grow {between}.", evidence
    return Exponent.INDISTINGUISHABLE, f"Growth is shown, but not that it lies {between}, nor beyond.", evidence
