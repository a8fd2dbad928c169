"""What a clone loss says about mutual information: eqs 23 and 26 of the paper, as printed and as they are right."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from theorykit.arguments import (
    calculation,
    finite_matrix,
    moment_matrix,
    number_array,
    one_of,
    positive_array,
    positive_integer,
    unwrapped,
    whole_number_array,
)
from theorykit.errors import InputError
from theorykit.information.gaussian import isotropic_gaussian_mutual_information

Form = Literal["logarithmic", "affine", "exact"]
Reduction = Literal["sum", "mean"]


def clone_loss(covariance: Any, split: int) -> float:
    """Compute L = E‖H_t − H_s‖² = tr Σ_t + tr Σ_s − 2 tr Σ_× of two centred vectors of equal width.

    An equality for any law with this joint covariance and equal means. Unlike information it sees rotation and scale.

    Args:
        covariance: Joint covariance ``[2d, 2d]``, the teacher's coordinates first.
        split: d, half the size of ``covariance``.

    Returns:
        L, summed over coordinates, in squared units of the states.

    Raises:
        InputError: not a covariance, or the two sides differ in width.
        NonFiniteError: NaN or infinity.

    References:
        Before eq 26 of arXiv 2603.22355.

    Example:
        >>> clone_loss([[1.0, 0.75], [0.75, 1.0]], 1)
        0.5
    """
    matrix = finite_matrix("covariance", covariance)
    matrix = moment_matrix("covariance", matrix, matrix.shape[0])
    if 2 * positive_integer("split", split) != matrix.shape[0]:
        raise InputError(
            f"split = {split!r} is not half of the {matrix.shape[0]} coordinates",
            "a clone loss compares vectors of equal width",
        )
    return max(0.0, float(np.trace(matrix) - 2 * np.trace(matrix[:split, split:])))


def clone_loss_from_correlation(correlation: Any, dimension: Any, variance: Any = 1.0) -> Any:
    """Compute L = 2dσ²(1 − ρ), the clone loss of the isotropic model (eq 26), summed over coordinates.

    An equality for d pairs with variance σ² and correlation ρ.

    Args:
        correlation: ρ in [−1, 1].
        dimension: d ≥ 1, whole.
        variance: σ² > 0 of one coordinate; all three broadcast.

    Returns:
        L in [0, 4dσ²], the broadcast shape.

    Raises:
        InputError: an argument out of its domain.

    References:
        Eq 26 of arXiv 2603.22355, right as printed.

    Example:
        >>> clone_loss_from_correlation(0.5, 4, 2.0)
        8.0
    """
    rho = number_array("correlation", correlation, low=-1.0, high=1.0)
    total = _total_variance(dimension, variance)
    with calculation(correlation=rho, dimension=total):
        return unwrapped(2 * total * (1 - rho))


def correlation_from_clone_loss(clone_loss: Any, dimension: Any, variance: Any = 1.0) -> Any:
    """Compute ρ = 1 − L/(2dσ²), the inverse of :func:`clone_loss_from_correlation`.

    An equality under the isotropic model.

    Args:
        clone_loss: L in [0, 4dσ²], summed over coordinates.
        dimension: d ≥ 1, whole.
        variance: σ² > 0; all three broadcast.

    Returns:
        ρ in [−1, 1], the broadcast shape.

    Raises:
        InputError: an argument out of its domain.

    Example:
        >>> correlation_from_clone_loss(8.0, 4, 2.0)
        0.5
    """
    return unwrapped(1 - _relative_loss(clone_loss, dimension, variance, isotropic_pair=True) / 2)


def _total_variance(dimension: Any, variance: Any) -> Any:
    size, scale = whole_number_array("dimension", dimension), positive_array("variance", variance)
    with calculation(dimension=size, variance=scale):
        return size * scale


def _relative_loss(loss: Any, dimension: Any, variance: Any, *, isotropic_pair: bool) -> Any:
    """Return u = L/(dσ²); 0, 2 and 4 at ρ = 1, 0 and −1, and no more than 4 for an isotropic pair."""
    error, total = positive_array("clone_loss", loss, allow_zero=True), _total_variance(dimension, variance)
    with calculation(clone_loss=error, dimension=total):
        relative = np.asarray(error / total)
    if isotropic_pair:
        beyond = relative > 4 * (1 + 4 * np.finfo(float).eps)
        if beyond.any():
            raise InputError(
                f"clone_loss is {relative[beyond][0]:.3g} · d · variance, above its maximum 4 · d · variance",
                "the two sides do not have this variance: use the logarithmic form, which asks it of the teacher alone",
            )
        relative = np.minimum(relative, 4.0)
    return relative


def cloning_information_bound(clone_loss: Any, dimension: Any, variance: Any = 1.0, form: Form = "logarithmic") -> Any:
    """Compute what a clone loss implies for I(H_t; H_s) with an isotropic Gaussian teacher, in nats.

    With u = L/(dσ²):

    - ``"logarithmic"``: I ≥ −(d/2) log u = (d/2) log(dσ²/L). A lower bound for a Gaussian H_t with covariance σ² I and
      *any* coupling: it is the rate-distortion function at D = L. Positive, and so of use, only for L < dσ² (under the
      isotropic model ρ > ½). For other covariances use :func:`rate_distortion` with the eigenvalues.
    - ``"affine"``: I ≥ (d/2)(1 − u), its tangent at u = 1 and the nearest true statement to eq 23. Below the
      logarithmic form everywhere, equal only at u = 1 where both are 0; never above d/2.
    - ``"exact"``: I = −(d/2) log[u (1 − u/4)], an equality under the isotropic model of eqs 24–27 (both sides variance
      σ², correlation ρ = 1 − u/2), for u in [0, 4]. Above the logarithmic form by −(d/2) log(1 − u/4): nothing as
      u → 0, everything at ρ = 0, where I = 0 and the logarithmic form is −(d/2) log 2.

    None is cut off at 0, below which information says nothing.

    Args:
        clone_loss: L = E‖H_t − H_s‖² ≥ 0, *summed* over coordinates (a mean over them is L/d).
        dimension: d ≥ 1, whole.
        variance: σ² > 0 of one coordinate of the teacher; all three broadcast.
        form: Which of the three.

    Returns:
        The bound or the value in nats, the broadcast shape; ``inf`` at L = 0 (not affine) and, exact, at L = 4dσ².

    Raises:
        InputError: an argument out of its domain, L > 4dσ² with the exact form, or an unknown form.

    References:
        Theorem 3 (eqs 23–27) of arXiv 2603.22355, corrected; Cover & Thomas (2006), Theorem 10.3.2.

    Example:
        >>> round(cloning_information_bound(1.0, 4), 6)  # 2 log 4
        2.772589
        >>> cloning_information_bound(1.0, 4, form="affine")
        1.5
        >>> round(cloning_information_bound(8.0, 4, form="exact"), 12)  # ρ = 0
        0.0
    """
    one_of("form", form, get_args(Form))
    size = whole_number_array("dimension", dimension)
    relative = _relative_loss(clone_loss, dimension, variance, isotropic_pair=form == "exact")
    with calculation(clone_loss=relative, dimension=size):
        if form == "affine":
            return unwrapped(size / 2 * (1 - relative))
        if form == "exact":
            return unwrapped(-size / 2 * (np.log(relative) + np.log1p(-relative / 4)) + 0.0)
        return unwrapped(-size / 2 * np.log(relative) + 0.0)


def printed_cloning_bound(clone_loss: Any, dimension: Any, constant: Any = 0.0) -> Any:
    """Compute log d − (d/2) L + const, the right side of eq 23 as printed, in nats.

    Printed as a lower bound on I(H_t; H_s) with an unnamed constant. False for const = 0: d = 64, σ² = 1e-6, ρ = 0 has
    I = 0 and a right side of 4.15. True under the isotropic model exactly for const up to
    :func:`largest_printed_constant`.

    Args:
        clone_loss: L ≥ 0, in the reduction that is meant.
        dimension: d ≥ 1, whole.
        constant: const in nats; all three broadcast.

    Returns:
        The printed right side in nats, the broadcast shape.

    Raises:
        InputError: an argument out of its domain.

    References:
        Eq 23 of arXiv 2603.22355.

    Example:
        >>> round(printed_cloning_bound(1.28e-4, 64), 4)
        4.1548
    """
    size = whole_number_array("dimension", dimension)
    loss = positive_array("clone_loss", clone_loss, allow_zero=True)
    added = number_array("constant", constant)
    with calculation(clone_loss=loss, dimension=size, constant=added):
        return unwrapped(np.log(size) - size / 2 * loss + added)


def largest_printed_constant(dimension: Any, variance: Any = 1.0, reduction: Reduction = "sum") -> Any:
    """Compute the largest const with which eq 23 holds at every ρ of the isotropic model, in nats.

    An equality: the minimum over u in (0, 4) of −(d/2) log[u (1 − u/4)] + (d/2) k u − log d, where k u is the loss:
    k = dσ² for L summed over coordinates, k = σ² for their mean. It lies at u = 4/(2k + 1 + √(4k² + 1)) and grows with
    σ² from −log d, so that the largest const that serves every σ² is −log d: then eq 23 reads I ≥ −(d/2) L and says
    nothing. In one case the printed slope is of use: mean reduction and σ² = 1, with a const near d/2 − log d.

    Args:
        dimension: d ≥ 1, whole.
        variance: σ² > 0; broadcasts.
        reduction: Whether the clone loss is the ``"sum"`` over coordinates (eq 26) or their ``"mean"``.

    Returns:
        const in nats, the broadcast shape.

    Raises:
        InputError: an argument out of its domain or an unknown reduction.

    References:
        Eq 23 of arXiv 2603.22355.

    Example:
        >>> round(largest_printed_constant(64, 1e-9), 4)  # −log 64
        -4.1589
    """
    one_of("reduction", reduction, get_args(Reduction))
    size = whole_number_array("dimension", dimension)
    total = _total_variance(dimension, variance)
    with calculation(dimension=size, variance=total):
        slope = total if reduction == "sum" else total / size  # k
        relative = 4 / (2 * slope + 1 + np.hypot(2 * slope, 1.0))  # u
        information = isotropic_gaussian_mutual_information(1 - relative / 2, size)
        return unwrapped(information + size / 2 * slope * relative - np.log(size))
