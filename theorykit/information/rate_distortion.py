"""Rate-distortion function of a Gaussian source by reverse water-filling, its inverse, and Shannon's lower bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from theorykit.arguments import Floats, calculation, number_array, positive_array, unwrapped, whole_number_array
from theorykit.errors import InputError


def _ascending(variances: Any) -> Floats:
    """Return the variances as a sorted vector of numbers of at least 0."""
    numbers = positive_array("variances", variances, allow_zero=True)
    if numbers.ndim != 1:
        raise InputError(f"variances has shape {numbers.shape}, not that of a vector", "give the eigenvalues [d]")
    return np.sort(numbers)


@dataclass(frozen=True)
class _SortedSource:
    """A Gaussian source with its variances over their largest, ascending, and the sums that every level needs.

    With the water level θ between the k-th and the (k+1)-th variance, D = Σ_{i≤k} λ_i + (d − k) θ and
    R = ½ Σ_{i>k} log(λ_i/θ): piecewise linear and piecewise logarithmic in θ, so that both are solved piece by piece.
    """

    variances: Floats
    scale: float
    below: Floats  # Σ_{i≤k} λ_i [d], k = 0 … d − 1
    log_above: Floats  # Σ_{i>k} log λ_i over positive ones [d]

    @classmethod
    def of(cls, variances: Any) -> _SortedSource:
        ascending = _ascending(variances)
        scale = float(ascending[-1]) or 1.0
        scaled = ascending / scale
        logs = np.log(np.where(scaled > 0, scaled, 1.0))
        below = np.concatenate([[0.0], np.cumsum(scaled)[:-1]])
        return cls(scaled, scale, below, np.cumsum(logs[::-1])[::-1])

    def relative(self, distortion: Any) -> Floats:
        """Return D over the largest variance."""
        with np.errstate(over="ignore"):
            return np.asarray(positive_array("distortion", distortion, allow_zero=True) / self.scale)

    @property
    def total(self) -> float:
        return float(self.below[-1] + self.variances[-1])

    def level(self, distortion: Floats) -> tuple[Floats, Floats]:
        """Return the level θ and the number k of variances below it, for 0 ≤ D ≤ Σ λ (scaled)."""
        size = self.variances.size
        # D at which the water reaches λ_{k+1}: the pieces' right ends, non-decreasing
        ends = self.below + np.arange(size, 0, -1) * self.variances
        index = np.minimum(np.searchsorted(ends, distortion, side="right"), size - 1)
        return (distortion - self.below[index]) / (size - index), index

    def rate(self, distortion: Floats) -> Floats:
        """Return R for D > 0 (scaled)."""
        level, index = self.level(np.minimum(distortion, self.total))
        above = self.variances.size - index
        return np.asarray(np.maximum(0.0, (self.log_above[index] - above * np.log(level)) / 2), dtype=np.float64)


def water_level(variances: Any, distortion: Any) -> Any:
    """Compute the level θ of reverse water-filling: Σ_i min(θ, λ_i) = D, in the unit of the variances.

    An equality, solved in closed form after one sort. Component i is left with the error min(θ, λ_i). Where D is at
    least the total variance, θ is the largest variance.

    Args:
        variances: λ ``[d]``, eigenvalues of the covariance, at least 0, in any order, not all 0.
        distortion: D ≥ 0, total E‖H − Ĥ‖², any shape.

    Returns:
        θ, the shape of ``distortion``.

    Raises:
        InputError: a negative number, or all variances are 0.
        NonFiniteError: NaN or infinity.

    References:
        Cover & Thomas (2006), Elements of Information Theory, Theorem 10.3.3.

    Example:
        >>> water_level([4.0, 1.0], 2.5)  # 1.5 + 1
        1.5
    """
    source = _SortedSource.of(variances)
    wanted = source.relative(distortion)
    if source.total == 0:
        raise InputError("variances are all 0", "a constant has no water level")
    return unwrapped(source.level(np.minimum(wanted, source.total))[0] * source.scale)


def rate_distortion(variances: Any, distortion: Any) -> Any:
    """Compute the rate-distortion function R(D) = Σ_i ½ log⁺(λ_i/θ) of a Gaussian source, in nats.

    An equality: the least I(H; Ĥ) over all couplings with total squared error E‖H − Ĥ‖² ≤ D, θ the water level with
    Σ min(θ, λ_i) = D. So for a Gaussian H_t and any H_s, I(H_t; H_s) ≥ R(E‖H_t − H_s‖²): Theorem 3 in its right
    version, and by data processing I ≥ R(E‖H_t − g(H_s)‖²) for any decoder g. For another source with the same
    covariance it is an *upper* bound on the rate-distortion function; use :func:`shannon_lower_bound` there.
    O(d log d) once, then O(log d) per distortion.

    Args:
        variances: λ ``[d]``, eigenvalues of the covariance, at least 0, in any order.
        distortion: D ≥ 0, total, not per coordinate; any shape.

    Returns:
        R in nats (natural logarithm), the shape of ``distortion``; 0 from D = Σ λ on and ``inf`` at D = 0 (below
        1e-300 of the largest variance counts as 0), but 0 for a constant.

    Raises:
        InputError: a negative number, no vector of variances.
        NonFiniteError: NaN or infinity.

    References:
        Kolmogorov (1956); Cover & Thomas (2006), Elements of Information Theory, Theorem 10.3.3.

    Example:
        >>> round(rate_distortion([4.0, 1.0], 1.0), 12)  # θ = ½: ½ log 8 + ½ log 2 = 2 log 2
        1.38629436112
        >>> rate_distortion([4.0, 1.0], [5.0, 6.0]).tolist()
        [0.0, 0.0]
    """
    source = _SortedSource.of(variances)
    wanted = source.relative(distortion)
    if source.total == 0:
        return unwrapped(np.zeros(wanted.shape))
    positive = wanted > 1e-300
    rates = np.where(positive, source.rate(np.where(positive, wanted, 1.0)), np.inf)
    return unwrapped(rates)


def distortion_rate(variances: Any, rate: Any) -> Any:
    """Compute the distortion-rate function D(R), the inverse of :func:`rate_distortion`, in the unit of the variances.

    An equality: the least total squared error with which a Gaussian source can be known from R nats.

    Args:
        variances: λ ``[d]``, at least 0, in any order.
        rate: R ≥ 0 in nats, any shape.

    Returns:
        D in [0, Σ λ], the shape of ``rate``.

    Raises:
        InputError: a negative number, no vector of variances.
        NonFiniteError: NaN or infinity.

    References:
        Cover & Thomas (2006), Elements of Information Theory, Theorem 10.3.3.

    Example:
        >>> round(distortion_rate([4.0, 1.0], 2 * 0.6931471805599453), 12)
        1.0
    """
    source = _SortedSource.of(variances)
    wanted = positive_array("rate", rate, allow_zero=True)
    if source.total == 0:
        return unwrapped(np.zeros(wanted.shape))
    zeros = int((source.variances == 0).sum())
    above = np.arange(source.variances.size, 0, -1)[zeros:]
    log_above, below = source.log_above[zeros:], source.below[zeros:]
    # R at which the falling water reaches λ_{k+1}, from the smallest variance (highest rate) to the largest
    ends = np.maximum(0.0, log_above - above * np.log(source.variances[zeros:])) / 2
    index = np.clip(above.size - np.searchsorted(ends[::-1], wanted, side="left"), 0, above.size - 1)
    with calculation(rate=wanted):
        level = np.exp((log_above[index] - 2 * wanted) / above[index])
        return unwrapped(source.scale * (below[index] + above[index] * level))


def shannon_lower_bound(differential_entropy: Any, dimension: Any, distortion: Any) -> Any:
    """Compute Shannon's lower bound h(H) − (d/2) log(2πe D/d) on the rate-distortion function, in nats.

    A lower bound for every source with a density: R(D) ≥ h(H) − (d/2) log(2πe D/d), so that I(H_t; H_s) is at least
    that at D = E‖H_t − g(H_s)‖². Met by a Gaussian source while D ≤ d · (smallest variance). Below 0 it says nothing.

    Args:
        differential_entropy: h(H) in nats.
        dimension: d ≥ 1, whole.
        distortion: D > 0, total E‖H − Ĥ‖²; all three broadcast.

    Returns:
        The bound in nats, possibly negative, the broadcast shape.

    Raises:
        InputError: D not above 0, or d no whole number of at least 1.
        NonFiniteError: NaN or infinity.

    References:
        Shannon (1959); Berger (1971), Rate Distortion Theory, section 4.3; Cover & Thomas (2006), problem 10.8.

    Example:
        >>> round(shannon_lower_bound(gaussian_differential_entropy([1.0, 1.0]), 2, 0.5), 12)  # log 4
        1.38629436112
    """
    entropy = number_array("differential_entropy", differential_entropy)
    size = whole_number_array("dimension", dimension)
    error = positive_array("distortion", distortion)
    with calculation(differential_entropy=entropy, dimension=size, distortion=error):
        return unwrapped(entropy - size / 2 * (np.log(2 * np.pi * np.e) + np.log(error) - np.log(size)))


def gaussian_differential_entropy(variances: Any) -> float:
    """Compute h = ½ Σ log(2πe λ_i) of a Gaussian vector from the eigenvalues of its covariance, in nats.

    An equality; the most that any vector with this covariance has.

    Args:
        variances: λ ``[d]``, above 0.

    Raises:
        InputError: a variance is not above 0.
        NonFiniteError: NaN or infinity.

    References:
        Cover & Thomas (2006), Elements of Information Theory, Theorem 8.4.1.

    Example:
        >>> round(gaussian_differential_entropy([1.0]), 6)
        1.418939
    """
    values = _ascending(variances)
    if values[0] == 0:
        raise InputError("variances hold a 0: the vector has no density", "give its eigenvalues above 0 alone")
    return float((np.log(2 * np.pi * np.e) + np.log(values)).sum() / 2)
