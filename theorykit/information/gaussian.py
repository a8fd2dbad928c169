"""Mutual information of jointly Gaussian hidden states from their covariance: eqs 24, 25 and 27 of the paper."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import cholesky, solve_triangular, svdvals

from theorykit.arguments import (
    Floats,
    calculation,
    finite_matrix,
    moment_matrix,
    number_array,
    positive_integer,
    positive_number,
    unwrapped,
    whole_number_array,
)
from theorykit.errors import InputError

_SINGULAR = 10.0
"""A correlation matrix of size p is singular where its smallest eigenvalue is at most this many p · eps · its largest:
ten times the rule of ``numpy.linalg.matrix_rank``. Measured on exact linear relations of up to 200 coordinates, with
condition numbers up to 1e8: at most 0.5."""


def shrink(covariance: Floats, split: int, shrinkage: float) -> Floats:
    """Mix each side's own scaled identity into a covariance: (1 − w) Σ + w · blockdiag(μ_t I, μ_s I).

    μ is the mean variance of a side. Up to the factor 1 − w, which no information sees, this is the covariance of
    H_t + Z_t and H_s + Z_s with independent white noise: mutual information never rises with w (data processing)
    and is 0 at w = 1.
    """
    teacher, student = np.split(np.diagonal(covariance), [split])
    target = np.r_[np.full(teacher.size, teacher.mean()), np.full(student.size, student.mean())]
    return np.asarray((1 - shrinkage) * covariance + shrinkage * np.diag(target), dtype=np.float64)


def _is_singular(correlation: Floats) -> bool:
    eigenvalues = np.linalg.eigvalsh(correlation)
    return bool(eigenvalues[0] <= _SINGULAR * eigenvalues.size * np.finfo(float).eps * eigenvalues[-1])


def _correlation(covariance: Any, split: Any, shrinkage: Any = 0.0) -> tuple[Floats, int]:
    """Return the joint correlation matrix, both of whose diagonal blocks are regular, and the checked split."""
    matrix = finite_matrix("covariance", covariance)
    if matrix.shape[0] != matrix.shape[1]:
        raise InputError(f"covariance has shape {matrix.shape}, not that of a square", "one row per coordinate")
    split = positive_integer("split", split, maximum=matrix.shape[0] - 1)
    weight = positive_number("shrinkage", shrinkage, allow_zero=True)
    if weight > 1:
        raise InputError(f"shrinkage = {weight:g} is above 1", "give a weight in [0, 1]")
    matrix = shrink(matrix, split, weight)
    variances = np.diagonal(matrix)
    if (variances <= 0).any():
        raise InputError(
            f"covariance has the variance {variances.min():.3g}, not above 0", "leave constant coordinates out"
        )
    deviations = np.sqrt(variances)
    joint = moment_matrix("covariance", matrix / deviations / deviations[:, None], matrix.shape[0])
    for side, block in (("teacher", joint[:split, :split]), ("student", joint[split:, split:])):
        if _is_singular(block):
            raise InputError(
                f"the {side} block of covariance is singular",
                "project it to the directions that vary, or give a shrinkage above 0",
            )
    return joint, split


def gaussian_mutual_information(covariance: Any, split: int, *, shrinkage: float = 0.0) -> float:
    """Compute I(H_t; H_s) = ½ log(|Σ_t| |Σ_s| / |Σ_ts|) of jointly Gaussian vectors, in nats.

    An equality for jointly Gaussian vectors (eqs 24 and 25, right as printed). Where only one of the two is a Gaussian
    vector, a lower bound, since the conditional entropy of that one is at most the entropy of a Gaussian with the
    covariance of the best linear decoder's error; where neither is, no bound. Invariant under an invertible linear map
    of either side, so that it sees neither scale nor rotation. By ``slogdet`` of the correlation matrix.

    Infinite where the joint matrix is singular to working precision (smallest eigenvalue of the correlation matrix
    at most 10 p · eps times its largest) while both blocks are regular: then a combination of the student's
    coordinates is a combination of the teacher's, as in any noise-free linear relation.

    Args:
        covariance: Joint covariance ``[d_t + d_s, d_t + d_s]``, the teacher's coordinates first; symmetric, positive
            semi-definite, both diagonal blocks regular.
        split: d_t, in [1, d_t + d_s − 1].
        shrinkage: Weight w in [0, 1] of each side's own scaled identity: (1 − w) Σ + w · blockdiag(μ_t I, μ_s I), μ the
            mean variance of a side. The same as independent white noise on both sides: never raises the value, and
            ends the invariance under maps other than rotations and one scale factor per side.

    Returns:
        I ≥ 0 in nats, or ``inf``.

    Raises:
        InputError: not a covariance, a block is singular, ``split`` or ``shrinkage`` out of range.
        NonFiniteError: NaN or infinity in ``covariance``.

    References:
        Cover & Thomas (2006), Elements of Information Theory, Theorem 8.4.1 and section 8.5; eq 25 of arXiv 2603.22355.

    Example:
        >>> round(gaussian_mutual_information([[1.0, 0.6], [0.6, 1.0]], 1), 12)  # −½ log(1 − 0.36) = log 1.25
        0.223143551314
    """
    joint, split = _correlation(covariance, split, shrinkage)
    if _is_singular(joint):
        return float("inf")
    whole, teacher, student = (
        np.linalg.slogdet(part).logabsdet for part in (joint, joint[:split, :split], joint[split:, split:])
    )
    return max(0.0, float(teacher + student - whole) / 2)


def canonical_correlations(covariance: Any, split: int) -> Floats:
    """Compute the canonical correlations ρ_i of two random vectors, in [0, 1], non-increasing.

    The singular values of Σ_t^(−½) Σ_×  Σ_s^(−½), Σ_× the cross block, by Cholesky whitening (Hotelling 1936). For
    Gaussian vectors I = −½ Σ log(1 − ρ_i²) nats, an equality.

    Args:
        covariance: Joint covariance ``[d_t + d_s, d_t + d_s]`` as in :func:`gaussian_mutual_information`.
        split: d_t.

    Returns:
        ``[min(d_t, d_s)]``.

    Raises:
        InputError: not a covariance, a block is singular, or ``split`` out of range.
        NonFiniteError: NaN or infinity in ``covariance``.

    Example:
        >>> canonical_correlations([[4.0, 1.2], [1.2, 1.0]], 1).round(12).tolist()
        [0.6]
    """
    joint, split = _correlation(covariance, split)
    half = solve_triangular(cholesky(joint[:split, :split], lower=True), joint[:split, split:], lower=True)
    whitened = solve_triangular(cholesky(joint[split:, split:], lower=True), half.T, lower=True)
    return np.clip(np.asarray(svdvals(whitened), dtype=np.float64), 0.0, 1.0)


def isotropic_gaussian_mutual_information(correlation: Any, dimension: Any) -> Any:
    """Compute I = −(d/2) log(1 − ρ²) of d independent pairs with correlation ρ, in nats.

    An equality: the left side of eq 27 under the paper's isotropic Gaussian model. Does not depend on the variance.

    Args:
        correlation: ρ in [−1, 1]; ``inf`` comes back at ±1.
        dimension: d ≥ 1, whole; broadcasts.

    Returns:
        I in nats, the broadcast shape.

    Raises:
        InputError: ρ outside [−1, 1], or d no whole number of at least 1.

    References:
        Eq 27 of arXiv 2603.22355; Cover & Thomas (2006), Example 8.5.1.

    Example:
        >>> round(isotropic_gaussian_mutual_information(0.6, 10), 6)  # 10 log 1.25
        2.231436
    """
    rho = number_array("correlation", correlation, low=-1.0, high=1.0)
    size = whole_number_array("dimension", dimension)
    with calculation(correlation=rho, dimension=size):
        return unwrapped(-size / 2 * (np.log1p(-rho) + np.log1p(rho)) + 0.0)


def printed_isotropic_bound(correlation: Any, dimension: Any) -> Any:
    """Compute the right side −(d/2) log(1 − ρ) of eq 27 as printed, in nats.

    Printed as a lower bound on the information −(d/2) log(1 − ρ²). The two differ by (d/2) log(1 + ρ): it is an *upper*
    bound for every ρ in (0, 1), equal at ρ = 0 and a lower bound (below 0, so that it says nothing) for ρ < 0.

    Args:
        correlation: ρ in [−1, 1]; ``inf`` comes back at 1.
        dimension: d ≥ 1, whole; broadcasts.

    Returns:
        The printed right side in nats, the broadcast shape.

    Raises:
        InputError: ρ outside [−1, 1], or d no whole number of at least 1.

    References:
        Eq 27 of arXiv 2603.22355.

    Example:
        >>> printed_isotropic_bound(0.5, 2) > isotropic_gaussian_mutual_information(0.5, 2)  # log 2 > log(4/3)
        True
    """
    rho = number_array("correlation", correlation, low=-1.0, high=1.0)
    size = whole_number_array("dimension", dimension)
    with calculation(correlation=rho, dimension=size):
        return unwrapped(-size / 2 * np.log1p(-rho) + 0.0)
