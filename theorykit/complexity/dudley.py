"""Dudley's entropy integral with its constants, and what it gives for low-rank matrices: eq 21 of arXiv 2603.22355.

The chaining that fixes the constants. Let D = sup ‖f‖ in L2(P_N), so that {0} is a cover of radius D, and take
covers of radius β_j = D/2^j with f_j the point next to f. The steps f_j − f_(j−1) have norm at most
β_j + β_(j−1) = 3β_j and at most N(β_j)² values, so that Massart's lemma bounds each by
3β_j sqrt(2 log N(β_j)²/N) = 6β_j sqrt(log N(β_j)/N), and the rest f − f_K costs β_K. With β_j = 2(β_j − β_(j+1))
the sum lies below 12 times the integral from β_(K+1) to β_1 = D/2. Stopping at the last β_K > 2α leaves β_K ≤ 4α.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.integrate import IntegrationWarning, quad
from scipy.special import erfc

from theorykit.arguments import calculation, positive_array, positive_number, shape_2d, whole_number_array
from theorykit.complexity.covering import CONSTANTS, LATTICE, Constant, checked_constant
from theorykit.errors import InputError, NonFiniteError

LogCovering = Callable[[float], Any]
"""ε ↦ an upper bound on log N(ε) in nats, non-increasing; one number in, one number out."""


def _root_entropy(log_covering: LogCovering, radius: float) -> float:
    nats = float(log_covering(radius))
    if not np.isfinite(nats):
        raise NonFiniteError(f"log_covering({radius:.6g}) is NaN or infinite", "give a finite entropy above radius 0")
    if nats < 0:
        raise InputError(f"log_covering({radius:.6g}) = {nats:.6g} is negative", "a covering number is at least 1")
    return float(np.sqrt(nats))


def _entropy_integral(log_covering: LogCovering, lower: float, upper: float) -> float:
    """Integrate sqrt(log N) from lower to upper, over ε/upper from 0, over its logarithm from any other end."""
    if lower >= upper:
        return 0.0

    def over_part(part: float) -> float:
        return _root_entropy(log_covering, part * upper)

    def over_logarithm(power: float) -> float:
        return over_part(float(np.exp(power))) * float(np.exp(power))

    function, start, end = (over_logarithm, np.log(lower / upper), 0.0) if lower > 0 else (over_part, 0.0, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", IntegrationWarning)
        try:
            value, _ = quad(function, start, end, epsabs=0.0, epsrel=1e-9, limit=400)
        except IntegrationWarning:
            raise InputError(
                f"the entropy integral from {lower:.6g} to {upper:.6g} does not converge",
                "lower = None stops it where that is best",
            ) from None
    return float(upper * value)


def _best_lower(log_covering: LogCovering, upper: float, n_samples: float) -> float:
    """Return the α in (0, upper] with log N(α) = N/9, where the derivative 4 − 12 sqrt(log N(α)/N) changes its sign."""
    from scipy.optimize import brentq

    target = np.sqrt(n_samples) / 3.0
    if _root_entropy(log_covering, upper) >= target:
        return upper
    smallest = 1e-15 * upper  # an α below it changes no digit
    if _root_entropy(log_covering, smallest) <= target:
        return 0.0
    logarithm = brentq(
        lambda power: _root_entropy(log_covering, float(np.exp(power))) - target, np.log(smallest), np.log(upper)
    )
    return float(np.exp(logarithm))


def dudley_entropy_integral(
    log_covering: LogCovering, *, upper: float, n_samples: Any, lower: float | None = 0.0
) -> Any:
    """Bound the empirical Rademacher complexity, in the unit of f, by 4α + 12/√N ∫_α^upper sqrt(log N(ε)) dε.

    An upper bound for every α in [0, upper], for every sample, and for every class with sup ‖f‖ ≤ 2 · upper in
    L2(P_N), the root of the mean of f(x_i)²: half the largest norm is where the integral may end, and it may end
    later. N(ε) is the internal or external covering number in that norm.

    Args:
        log_covering: ε ↦ an upper bound on log N(ε) in nats, non-increasing.
        upper: At least half of sup ‖f‖ in L2(P_N); above 0.
        n_samples: N, whole numbers; any shape.
        lower: α in [0, upper]; None takes the best one, where log N(α) = N/9.

    Returns:
        The bound, the shape of ``n_samples``.

    Raises:
        InputError: α above ``upper``, a negative entropy, an integral that diverges, an argument outside its domain.
        NonFiniteError: an entropy that is not finite at a radius above 0.

    References:
        Dudley (1967), The sizes of compact subsets of Hilbert space and continuity of Gaussian processes, J. Funct.
        Anal. 1. In this form, with the same constants: Bartlett, Foster & Telgarsky (2017), Spectrally-normalized
        margin bounds for neural networks, NeurIPS, Lemma A.5 (up to sup ‖f‖ instead of half of it).

    Example:
        A class of at most 2 functions, f and 0 with ‖f‖ = 2: log N = log 2 below radius 2.

        >>> bound = dudley_entropy_integral(lambda radius: np.log(2.0), upper=1.0, n_samples=100)
        >>> round(float(bound / np.sqrt(np.log(2.0))), 9)
        1.2
    """
    top = positive_number("upper", upper)
    counts = whole_number_array("n_samples", n_samples)
    if lower is None:
        lowers = np.reshape([_best_lower(log_covering, top, count) for count in counts.ravel()], counts.shape)
    else:
        start = positive_number("lower", lower, allow_zero=True)
        if start > top:
            raise InputError(f"lower = {start:.6g} is above upper = {top:.6g}", "give lower in [0, upper]")
        lowers = np.full(counts.shape, start)
    integrals = {start: _entropy_integral(log_covering, start, top) for start in set(lowers.ravel().tolist())}
    values = np.reshape([integrals[start] for start in lowers.ravel().tolist()], counts.shape)
    with calculation(upper=top):
        return (4.0 * lowers + 12.0 / np.sqrt(counts) * values)[()]


def dudley_constant(constant: Constant = "provable") -> float:
    """Compute 12 ∫_0^½ sqrt(h(u)) du, without a unit: the factor before B R sqrt(k/N) in Dudley's bound.

    An equality. h(u) is log(c/u) with c = 9 or 3, and log(κ(1 + √2/u)), κ = sqrt(πe/6), for the sharpened bound. For
    log(c/u) the integral is sqrt(log 2c)/2 + c (√π/2) erfc(sqrt(log 2c)), by u = c e^(−t²).

    Args:
        constant: Which covering bound.

    Returns:
        The factor.

    Example:
        >>> [round(float(dudley_constant(name)), 3) for name in ("provable", "sharpened", "printed")]
        [11.751, 9.109, 9.893]
    """
    return _covering_factor(checked_constant(constant))


@lru_cache(maxsize=8)
def _covering_factor(name: Constant) -> float:
    if name == "sharpened":
        return float(
            dudley_entropy_integral(
                lambda part: np.log(LATTICE) + np.log1p(np.sqrt(2.0) / part), upper=0.5, n_samples=1
            )
        )
    c = CONSTANTS[name]
    edge = np.sqrt(np.log(2.0 * c))
    return float(12.0 * (edge / 2.0 + c * np.sqrt(np.pi) / 2.0 * erfc(edge)))


def low_rank_dudley_bound(
    rank: Any,
    n_samples: Any,
    *,
    shape: tuple[int, int],
    frobenius_bound: Any,
    input_norm: Any,
    constant: Constant = "provable",
) -> Any:
    """Bound the empirical Rademacher complexity of {X ↦ ⟨W, X⟩ : rank W ≤ r, ‖W‖_F ≤ B} by 11.75 B R sqrt(k/N).

    An upper bound, for every sample: :func:`dudley_entropy_integral` with α = 0 in closed form. It is what
    Dudley's integral gives instead of eq 21: k = r(m + n + 1) stands under the root and there is no log N. The
    constant is 11.7515 for ``"provable"``, and the one of :func:`dudley_constant` in general; ``"sharpened"`` has
    k = r(m + n).

    R needs no more than (1/N) Σ ⟨W, X_i⟩² ≤ R² ‖W‖_F²: then a cover of radius ε/R of the matrices is one of
    radius ε of the functions in L2(P_N), and sup ‖f‖ ≤ B R. The smallest such R² is the largest eigenvalue of the
    second moment of vec(X_i); the mean of ‖X_i‖_F² and its maximum are larger and serve as well. With the same R the
    rank-free bound B R/√N, which needs the mean of ‖X_i‖_F², is always tighter; with the eigenvalue this one can win.

    Args:
        rank: r in [1, min(m, n)]; broadcasts against all the others.
        n_samples: N, whole numbers.
        shape: (m, n).
        frobenius_bound: B > 0.
        input_norm: R > 0, as above.
        constant: Which covering bound.

    Returns:
        The bound in the unit of f, the broadcast shape of the arguments.

    Raises:
        InputError: an argument outside its domain.

    Example:
        >>> bound = low_rank_dudley_bound(4, 900, shape=(10, 14), frobenius_bound=2.0, input_norm=3.0)
        >>> round(float(bound / (2.0 * 3.0 * 10.0 / 30.0)), 2)
        11.75
    """
    m, n = shape_2d(shape)
    factor = dudley_constant(checked_constant(constant))
    ranks = whole_number_array("rank", rank, maximum=min(m, n))
    dimension = ranks * (m + n) if constant == "sharpened" else ranks * (m + n + 1)
    bound, norm = positive_array("frobenius_bound", frobenius_bound), positive_array("input_norm", input_norm)
    counts = whole_number_array("n_samples", n_samples)
    with calculation(rank=ranks, n_samples=counts, frobenius_bound=bound, input_norm=norm):
        return (factor * bound * norm * np.sqrt(dimension / counts))[()]


def printed_rademacher_bound(rank: Any, n_samples: Any, *, shape: tuple[int, int], constant: Any = 1.0) -> Any:
    """Evaluate eq 21 as printed: constant · r(m + n) log N/√N, natural logarithm.

    For N ≥ 2 an upper bound once the constant is at least B R/(r(m + n) log N), by the rank-free bound: true, and
    never tighter than it for a larger constant. It grows like r where the truth grows at most like √r.

    Args:
        rank: r in [1, min(m, n)].
        n_samples: N, whole numbers.
        shape: (m, n).
        constant: The constant behind O(·), above 0; it carries the unit B R.

    Returns:
        The printed value, the broadcast shape of the arguments.

    Raises:
        InputError: an argument outside its domain.

    References:
        Eqs 19 and 21 of arXiv 2603.22355.

    Example:
        >>> printed_rademacher_bound([8, 64, 256], 100_000, shape=(768, 768)).round().tolist()
        [447.0, 3579.0, 14316.0]
    """
    m, n = shape_2d(shape)
    counts = whole_number_array("n_samples", n_samples)
    ranks = whole_number_array("rank", rank, maximum=min(m, n))
    factor = positive_array("constant", constant)
    with calculation(rank=ranks, n_samples=counts, constant=factor):
        return (factor * ranks * (m + n) * np.log(counts) / np.sqrt(counts))[()]
