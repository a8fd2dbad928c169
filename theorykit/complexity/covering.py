"""Covering numbers of {W in R^(m×n) : rank W ≤ r, ‖W‖_F ≤ B} in the Frobenius norm: eq 20 of arXiv 2603.22355.

A set covers at radius ε if every W of the class lies within ε of one of its points; the covers built here are
internal (their points belong to the class), so that the bounds hold for external covers too. Two nets are used.

Three factors (Candès & Plan 2011). W = U Σ Vᵀ with orthonormal U ``[m, r]``, V ``[n, r]`` and ‖Σ‖_F ≤ B. Nets of
relative radius η = ε/(3B) of U and V in the largest column norm and of the diagonal in the Euclidean norm have at
most (1 + 2/η)^(rm), (1 + 2/η)^(rn) and (1 + 2/η)^r points, since balls of half the radius around separated points
are disjoint. The three errors add up to ε by the triangle inequality, and 1 + 6B/ε ≤ 9B/ε for ε ≤ 3B.

Two factors. W = U A with A = Uᵀ W ``[r, n]``, ‖A‖_F ≤ B. Take a net Ū of the orthonormal U in the spectral norm and
a net Ā of the ball of A, both of relative radius η. Then W − Ū Ā = (1 − Ū Ūᵀ) W + Ū (Ūᵀ W − Ā), the parts are
orthogonal, and (1 − Ū Ūᵀ) U = (1 − Ū Ūᵀ)(U − Ū) bounds the first by η B: the squared errors add, η = ε/(√2 B) is
enough, and log N ≤ r(m + n) log(1 + 2√2 B/ε). For large r the ball of R^(m×n) itself, mn log(1 + 2B/ε), is smaller.
"""

from __future__ import annotations

from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from theorykit.arguments import calculation, one_of, positive_array, shape_2d, whole_number_array

Constant = Literal["provable", "sharpened", "printed"]
"""Which bound on a covering number: 9 by three factors, 1 + 2√2 by two factors, or the paper's 3."""
CONSTANTS: dict[str, float] = {"provable": 9.0, "printed": 3.0}
TWO_FACTOR = 2.0 * np.sqrt(2.0)


def checked_constant(constant: str) -> Constant:
    """Return the name of a covering bound, or raise where there is none of that name."""
    return cast(Constant, one_of("constant", constant, get_args(Constant)))


def log_covering_number(
    radius: Any, *, shape: tuple[int, int], rank: Any, frobenius_bound: Any, constant: Constant = "provable"
) -> Any:
    """Bound log N(ε), in nats, of the m × n matrices with rank ≤ r and ‖W‖_F ≤ B in the Frobenius norm.

    Upper bounds for ε < B (the proofs open this file); for ε ≥ B the zero matrix alone covers and log N = 0.

    - ``"provable"``: r(m + n + 1) log(9B/ε).
    - ``"sharpened"``: min of r(m + n) log(1 + 2√2 B/ε) and mn log(1 + 2B/ε), never above ``"provable"``.
    - ``"printed"``: r(m + n + 1) log(3B/ε), eq 20. Proved where :func:`printed_covering_is_proved` says so: for
      ε ≤ (3 − 2√2) B ≈ 0.17 B, and for all ε where r(m + n + 1) ≥ mn. Between that and B neither a proof nor a
      counterexample is given here.

    Args:
        radius: ε > 0; broadcasts against the rank and B.
        shape: (m, n).
        rank: r, whole numbers in [1, min(m, n)].
        frobenius_bound: B > 0.
        constant: Which bound.

    Returns:
        Nats, the broadcast shape of the arguments.

    Raises:
        InputError: an argument outside its domain, or an unknown constant.
        NonFiniteError: NaN or infinity.

    References:
        Candès & Plan (2011), Tight oracle inequalities for low-rank matrix recovery from a minimal number of noisy
        random measurements, IEEE Trans. Inf. Theory 57, Lemma 3.1 (there for ‖W‖_F = 1).

    Example:
        >>> float(log_covering_number(0.9, shape=(2, 3), rank=1, frobenius_bound=1.0) / np.log(10.0))
        6.0
        >>> float(log_covering_number(1.0, shape=(2, 3), rank=1, frobenius_bound=1.0))
        0.0
    """
    name = checked_constant(constant)
    m, n = shape_2d(shape)
    ranks = whole_number_array("rank", rank, maximum=min(m, n))
    bound, distance = positive_array("frobenius_bound", frobenius_bound), positive_array("radius", radius)
    with calculation(rank=ranks, frobenius_bound=bound, radius=distance):
        ratio = bound / distance
        if name == "sharpened":
            logs = np.minimum(ranks * (m + n) * np.log1p(TWO_FACTOR * ratio), m * n * np.log1p(2.0 * ratio))
        else:
            logs = ranks * (m + n + 1) * np.log(CONSTANTS[name] * np.maximum(ratio, 1.0))
        return np.where(ratio > 1.0, logs, 0.0)[()]


def covering_number(
    radius: Any, *, shape: tuple[int, int], rank: Any, frobenius_bound: Any, constant: Constant = "provable"
) -> Any:
    """Bound the covering number N(ε) itself, a count: exp of :func:`log_covering_number`, infinity above 1e308.

    Example:
        >>> round(float(covering_number(0.9, shape=(1, 1), rank=1, frobenius_bound=1.0)))
        1000
    """
    logs = log_covering_number(radius, shape=shape, rank=rank, frobenius_bound=frobenius_bound, constant=constant)
    with np.errstate(over="ignore"):
        return np.exp(logs)


def log_covering_number_lower_bound(radius: Any, *, shape: tuple[int, int], rank: Any, frobenius_bound: Any) -> Any:
    """Bound log N(ε), in nats, from below: r max(m, n) log(B/ε), and 0 for ε ≥ B.

    The class contains a Euclidean ball of radius B in dimension r max(m, n): W = U A with U fixed. Comparing
    volumes, after projecting the points of the cover on that subspace, gives (B/ε)^dimension, so that the rank in
    the exponent of eq 20 is right up to a factor of (m + n + 1)/max(m, n).

    The arguments are those of :func:`log_covering_number`.

    Returns:
        Nats, the broadcast shape of the arguments; holds for internal and external covers.

    Raises:
        InputError: an argument outside its domain.

    Example:
        >>> round(float(log_covering_number_lower_bound(0.1, shape=(2, 3), rank=1, frobenius_bound=1.0)), 4)
        6.9078
    """
    m, n = shape_2d(shape)
    ranks = whole_number_array("rank", rank, maximum=min(m, n))
    bound, distance = positive_array("frobenius_bound", frobenius_bound), positive_array("radius", radius)
    with calculation(rank=ranks, frobenius_bound=bound, radius=distance):
        return (ranks * max(m, n) * np.log(np.maximum(bound / distance, 1.0)))[()]


def printed_covering_is_proved(
    radius: Any, *, shape: tuple[int, int], rank: Any, frobenius_bound: Any
) -> NDArray[np.bool_]:
    """Say where eq 20 with its printed constant 3 follows from a bound that is proved here.

    True wherever the sharpened bound lies at or below the printed one; False means open, not refuted. The arguments are
    those of :func:`log_covering_number`.

    Returns:
        Booleans, the broadcast shape of the arguments.

    Example:
        >>> printed_covering_is_proved([0.17, 0.5], shape=(768, 768), rank=8, frobenius_bound=1.0).tolist()
        [True, False]
    """
    printed, sharpened = (
        np.asarray(
            log_covering_number(radius, shape=shape, rank=rank, frobenius_bound=frobenius_bound, constant=constant)
        )
        for constant in ("printed", "sharpened")
    )
    # the ambient bound and eq 20 meet exactly at ε = B with mn = r(m + n + 1): allow for rounding
    return np.asarray(sharpened <= printed * (1 + 1e-12), dtype=np.bool_)
