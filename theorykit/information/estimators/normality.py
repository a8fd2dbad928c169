"""Whether samples look jointly Gaussian: Mardia's kurtosis, and what canonical pairs leave unexplained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from theorykit.arguments import Floats

_STEP = 2048
"""Rows whose distances are computed at once."""
_FLOPS = 1e9
"""Fewer rows are looked at where distances of all would cost more multiplications."""
SUSPICIOUS = 5.0
"""Standard errors."""


@dataclass(frozen=True)
class Kurtosis:
    """Mean fourth power of the Mahalanobis distance, and what Gaussian samples would give.

    Attributes:
        value: b = mean of (zᵀ S⁻¹ z)².
        expected: p(p + 2)(n − 1)/(n + 1), exact for Gaussian samples.
        standard_error: Of b for Gaussian samples.
    """

    value: float
    expected: float
    standard_error: float

    def deviation(self, expected: float | None = None, scatter: float = 0.0) -> float:
        """Return how many standard errors b lies off ``expected``, by default that of Gaussian samples.

        Args:
            expected: Of b.
            scatter: Its standard deviation in replicates, taken where it is above that of Gaussian samples.
        """
        expected = self.expected if expected is None else expected
        return (self.value - expected) / max(self.standard_error, scatter)


def mardia_kurtosis(sides: Sequence[Floats], correlation: Floats) -> Kurtosis | None:
    """Compute Mardia's multivariate kurtosis b (no unit), or None where the covariance is singular.

    Mean and variance under normality are exact in N where all rows are looked at.

    Args:
        sides: Columns of the samples in parts ``[N, p_i]``, N > Σ p_i + 2.
        correlation: Their joint sample correlation matrix ``[p, p]``.

    References:
        Mardia (1974), Sankhyā B 36.
    """
    from scipy.linalg import LinAlgError, cholesky, solve_triangular

    count, size = sides[0].shape[0], correlation.shape[0]
    if count <= size + 2:
        return None
    try:
        factor = cholesky(correlation, lower=True)
    except LinAlgError:
        return None
    step = max(1, int(np.ceil(count * size**2 / _FLOPS)))
    looked_at = np.hstack([(side[::step] - side.mean(axis=0)) / side.std(axis=0) for side in sides])
    total = 0.0
    for start in range(0, looked_at.shape[0], _STEP):
        rows = looked_at[start : start + _STEP]
        total += float(((solve_triangular(factor, rows.T, lower=True) ** 2).sum(axis=0) ** 2).sum())
    base = size * (size + 2)
    if step > 1:  # as if S were known, by the moments of χ²_p: too large, if anything
        variance = 8 * base * (size + 3) / looked_at.shape[0]
    else:
        variance = 8 * base * (count - 3) * (count - size - 1) * (count - size + 1)
        variance /= (count + 1) ** 2 * (count + 3) * (count + 5)
    return Kurtosis(total / looked_at.shape[0], base * (count - 1) / (count + 1), float(np.sqrt(variance)))


def linear_misfit(left: Floats, right: Floats, correlations: Floats) -> float:
    """Compute how far the residuals of canonical pairs are from independent of what predicts them, in standard errors.

    For jointly Gaussian sides r = v − ρ u is independent of u, so that the means of r h₂(u), r h₃(u) and
    (r² − mean r²) h₂(u) are 0, h₂ = u² − 1 and h₃ = u³ − 3u; estimated means, variances and ρ change them to second
    order alone. The largest of all over their standard errors, every u against every r, in both directions.

    Args:
        left: u ``[N, k]``, mean 0 and variance 1.
        right: v ``[N, k]``.
        correlations: ρ ``[k]``.
    """
    largest = 0.0
    for source, target in ((left, right), (right, left)):
        second, third = source**2 - 1, source**3 - 3 * source
        residual = target - source * correlations
        spread = residual**2 - (residual**2).mean(axis=0)
        for first, other in ((second, residual), (third, residual), (second, spread)):
            mean = first.T @ other / first.shape[0]
            error = np.sqrt((first**2).T @ other**2) / first.shape[0]
            largest = max(largest, float((np.abs(mean) / np.maximum(error, np.finfo(float).tiny)).max()))
    return largest


def normality_warning(deviation: float, what: str) -> tuple[str, ...]:
    """Return a warning where the kurtosis is more than five standard errors off."""
    if not abs(deviation) > SUSPICIOUS:  # NaN where a replicate was singular
        return ()
    tails = "heavier" if deviation > 0 else "lighter"
    return (f"{what} not jointly Gaussian: their tails are {tails} ({deviation:+.0f} standard errors of the kurtosis)",)


def misfit_warning(misfit: float) -> tuple[str, ...]:
    """Return a warning where residuals depend on what predicts them by more than five standard errors."""
    if misfit <= SUSPICIOUS:
        return ()
    return (f"the relation is not that of Gaussian vectors: residuals depend on their predictor ({misfit:.0f} errors)",)
