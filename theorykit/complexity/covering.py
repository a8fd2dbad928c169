"""Covering numbers of {W in R^(m×n) : rank W ≤ r, ‖W‖_F ≤ B} in the Frobenius norm: eq 20 of arXiv 2603.22355.

A set covers at radius ε if every W of the class lies within ε of one of its points; the covers built here are
internal (their points belong to the class), so that the bounds hold for external covers too. Two nets are used.

Three factors (Candès & Plan 2011). W = U Σ Vᵀ with orthonormal U ``[m, r]``, V ``[n, r]`` and ‖Σ‖_F ≤ B. Nets of
relative radius η = ε/(3B) of U and V in the largest column norm and of the diagonal in the Euclidean norm have at
most (1 + 2/η)^(rm), (1 + 2/η)^(rn) and (1 + 2/η)^r points, since balls of half the radius around separated points
are disjoint. The three errors add up to ε by the triangle inequality, and 1 + 6B/ε ≤ 9B/ε for ε ≤ 3B.

Two factors, on lattices. W = Σ_(j≤r) σ_j u_j v_jᵀ. Cover the unit ball of R^m by balls of radius η and take a centre
ū_j within η of every u_j. Let Q ``[m, r]`` be orthonormal with all ū_j in its span. Then (1 − QQᵀ) u_j = (1 − QQᵀ)(u_j
− ū_j), so that ‖(1 − QQᵀ) W‖_F² = Σ σ_j² ‖(1 − QQᵀ) u_j‖² ≤ (ηB)². QᵀW ``[r, n]`` lies in the ball of radius B; take
a centre Ā within ηB, moved into that ball, which brings it no farther. W − QĀ = (1 − QQᵀ) W + Q (QᵀW − Ā) in
orthogonal parts: the squared errors add, η = ε/(√2 B) is enough, and N(ε) ≤ N_m(η)^r N_rn(η), where N_d(η) balls of
radius η cover the unit ball of R^d.

A lattice whose balls of radius η cover R^d, with density θ, gives N_d(η) ≤ (1 + 1/η)^d θ: the mean number of lattice
points within η of the unit ball, over all shifts of the lattice, is the ratio of the volumes, and some shift has no
more (Rogers & Zong 1997, for every covering and every convex body). The lattice A_d*, the projection of Z^(d+1) on the
sums 0, has volume 1/√(d + 1) and covers at radius R_d = sqrt(d(d + 2)/(12(d + 1))). For x in R^(d+1) let the fractional
parts cut the circle of length 1 into arcs g_0 … g_d; lifting them from cut k on gives a lattice point at squared
distance Σ_(i<j) (y_i − y_j)²/(d + 1). With weights g_k the mean over the cuts is Σ a(1 − a)/(d + 1) over all pairs, a
the arc between the two: concave in g and the same for all rotations, so that it is largest at g_k = 1/(d + 1), where
it is R_d², and the least over the cuts is no more. So θ_d = vol(unit ball) R_d^d √(d + 1), and θ_d ≤ κ^d with κ =
sqrt(πe/6) = 1.193…: by Γ(x + 1) ≥ sqrt(2πx)(x/e)^x the ratio squared is at most (d + 1) e/(π d) < 1 for d ≥ 7, and
below 7 it is computed. In all: log N ≤ r(m + n) log(κ(1 + √2 B/ε)), and for large r the ball of R^(m×n) itself,
mn log(κ(1 + B/ε)).

Since κ(1 + √2) = 2.880… < 3, N ≤ (3B/ε)^(r(m + n)) for every ε ≤ B, every shape and every rank: eq 20 holds, even
without its + 1. (Rogers's 1957 density of any convex body, d log d + d log log d + 5d for d ≥ 3, in the place of θ_d
would prove it at all radii only for larger layers, such as all with both sides at least 22.)
"""

from __future__ import annotations

from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from theorykit.arguments import calculation, one_of, positive_array, shape_2d, whole_number_array

Constant = Literal["provable", "sharpened", "printed"]
"""Which bound on a covering number: 9 by three factors, two factors on lattices, or the paper's 3."""
CONSTANTS: dict[str, float] = {"provable": 9.0, "printed": 3.0}
LATTICE = float(np.sqrt(np.pi * np.e / 6.0))
"""κ: the covering density of the lattice A_d* is at most κ^d, for every d."""


def covering_density(dimension: Any) -> Any:
    """Compute the density with which balls around the lattice A_d* cover R^d at least, no unit; an equality.

    θ_d = vol(unit ball) R_d^d √(d + 1) with R_d² = d(d + 2)/(12(d + 1)): how often a point is covered on average; at
    most ``LATTICE``^d.

    Args:
        dimension: d, whole numbers of at least 1.

    Returns:
        The density, the shape of ``dimension``; infinity above 1e308.

    References:
        Bleicher (1962), Lattice coverings of n-space by spheres, Canad. J. Math. 14; Conway & Sloane (1999), Sphere
        packings, lattices and groups, ch. 4, §6.6.

    Example:
        >>> covering_density([1, 2]).round(4).tolist()
        [1.0, 1.2092]
    """
    d = whole_number_array("dimension", dimension)
    radius_squared = d * (d + 2) / (12 * (d + 1))
    logs = d / 2 * np.log(np.pi * radius_squared) - gammaln(d / 2 + 1) + np.log1p(d) / 2
    with np.errstate(over="ignore"):
        return np.exp(logs)[()]


def checked_constant(constant: str) -> Constant:
    """Return the name of a covering bound, or raise where there is none of that name."""
    return cast(Constant, one_of("constant", constant, get_args(Constant)))


def log_covering_number(
    radius: Any, *, shape: tuple[int, int], rank: Any, frobenius_bound: Any, constant: Constant = "provable"
) -> Any:
    """Bound log N(ε), in nats, of the m × n matrices with rank ≤ r and ‖W‖_F ≤ B in the Frobenius norm.

    Upper bounds for ε < B (the proofs open this file); for ε ≥ B the zero matrix alone covers and log N = 0.

    - ``"provable"``: r(m + n + 1) log(9B/ε).
    - ``"sharpened"``: min of r(m + n) log(κ(1 + √2 B/ε)) and mn log(κ(1 + B/ε)), κ = sqrt(πe/6); never
      above the others.
    - ``"printed"``: r(m + n + 1) log(3B/ε), eq 20; it follows from ``"sharpened"`` for every shape, rank and ε ≤ B.

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
        Rogers & Zong (1997), Covering convex bodies by translates of convex bodies, Mathematika 44.

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
            factors = ranks * (m + n) * (np.log(LATTICE) + np.log1p(np.sqrt(2.0) * ratio))
            logs = np.minimum(factors, m * n * (np.log(LATTICE) + np.log1p(ratio)))
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
    """Say where eq 20 with its printed constant 3 holds: for every shape and rank, at all ε ≤ 3B.

    Up to B it follows from the bound called ``"sharpened"``, which is compared here at each point; up to 3B from the
    zero matrix, which covers alone. Beyond 3B eq 20 asks for less than one point. The arguments are those of
    :func:`log_covering_number`.

    Returns:
        Booleans, the broadcast shape of the arguments.

    Example:
        >>> printed_covering_is_proved([0.17, 0.5, 4.0], shape=(768, 768), rank=8, frobenius_bound=1.0).tolist()
        [True, True, False]
    """
    printed, sharpened = (
        np.asarray(
            log_covering_number(radius, shape=shape, rank=rank, frobenius_bound=frobenius_bound, constant=constant)
        )
        for constant in ("printed", "sharpened")
    )
    with_a_point = positive_array("radius", radius) / CONSTANTS["printed"] <= positive_array(
        "frobenius_bound", frobenius_bound
    )
    return np.asarray((sharpened <= printed) & with_a_point, dtype=np.bool_)
