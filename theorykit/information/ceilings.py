"""Ceilings of measured information: log N, what no distribution-free bound can pass, and the bias of the plug-in."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import digamma

from theorykit.arguments import Floats, calculation, probability_array, unwrapped, whole_number_array
from theorykit.errors import InputError


def discrete_information_ceiling(n_items: Any) -> Any:
    """Compute log N, the most that N equally or unequally likely items can be informed about, in nats.

    An upper bound: I(X; Y) ≤ H(X) ≤ log N where X takes at most N values. Met by Y = X uniform. The empirical
    distribution of N sample pairs is such a case, and so is an estimate that picks one of N candidates (InfoNCE).

    Args:
        n_items: N ≥ 1, whole numbers of any shape.

    Returns:
        log N in nats (natural logarithm), the shape of ``n_items``.

    Raises:
        InputError: an N below 1 or no whole number.

    References:
        Cover & Thomas (2006), Elements of Information Theory, Theorem 2.6.4; Poole et al. (2019), ICML, for InfoNCE.

    Example:
        >>> round(discrete_information_ceiling(1024), 4)
        6.9315
    """
    return unwrapped(np.log(whole_number_array("n_items", n_items)))


def high_confidence_ceiling(n_samples: Any, failure: Any = 0.01) -> Any:
    """Compute log ⌈N(N − 1)/(2η)⌉, which distribution-free lower bounds on information do not pass, in nats.

    An upper bound on B(S): let B be any statistic of N iid samples S with P(B ≤ I) ≥ 1 − δ for *every* law of the
    pair (or P(B ≤ H) ≥ 1 − δ for every law, for an entropy). Then for every law, even one of infinite information,
    B(S) ≤ log M with probability at least 1 − δ − η, M = ⌈N(N − 1)/(2η)⌉.

    Proof: draw M points from the law and let Q be uniform on them, so that I_Q ≤ H_Q ≤ log M and B ≤ log M with
    probability 1 − δ under Q. N draws from Q hit the same point twice with probability at most N(N − 1)/(2M) ≤ η;
    where they do not, they are N iid draws from the law itself.

    Args:
        n_samples: N ≥ 1, whole numbers.
        failure: η in (0, 1); broadcasts against ``n_samples``.

    Returns:
        The ceiling in nats, 2 log N − log(2η) up to rounding, the broadcast shape.

    Raises:
        InputError: an N below 1 or no whole number, or η outside (0, 1).

    References:
        McAllester & Stratos (2020), Formal Limitations on the Measurement of Mutual Information, AISTATS, Theorem 1.1
        (arXiv 1811.04251): the same limit 2 log N + O(1), by another construction.

    Example:
        >>> round(high_confidence_ceiling(100_000, 0.01), 2)  # 2 · 11.51 + 3.91
        26.94
    """
    count = whole_number_array("n_samples", n_samples)
    slack = probability_array("failure", failure)
    with calculation(n_samples=count, failure=slack):
        return unwrapped(np.log(np.maximum(1.0, np.ceil(count * (count - 1) / (2 * slack)))))


def _difference_of_digammas(degrees: float, larger: float, smaller: float) -> float:
    """Return ½ Σ_{i < smaller} [ψ((n − i)/2) − ψ((n − larger − i)/2)]."""
    half = (degrees - np.arange(smaller)) / 2
    return float(0.5 * (digamma(half) - digamma(half - larger / 2)).sum())


def plug_in_bias(n_samples: Any, teacher_dimension: Any, student_dimension: Any, *, leading_order: bool = False) -> Any:
    """Compute by how much the Gaussian plug-in overstates mutual information on average, in nats.

    An equality for Gaussian samples, whatever their covariance: with n = N − 1 degrees of freedom
    E Î − I = ½ Σ_{i < d_t} [ψ((n − i)/2) − ψ((n − d_s − i)/2)], ψ the digamma function, from E log|W| of a Wishart
    matrix. To leading order d_t d_s / (2N); the exact bias is larger.

    Args:
        n_samples: N, whole numbers; the exact form needs N ≥ d_t + d_s + 1.
        teacher_dimension: d_t ≥ 1.
        student_dimension: d_s ≥ 1; all three broadcast.
        leading_order: Return d_t d_s / (2N) instead.

    Returns:
        E Î − I > 0 in nats, the broadcast shape.

    Raises:
        InputError: an argument is no whole number or below 1, or N is too small for the exact form.

    References:
        Anderson (2003), An Introduction to Multivariate Statistical Analysis, section 7.5, for the law of |W|.

    Example:
        >>> plug_in_bias(100_000, 768, 768, leading_order=True)
        2.94912
        >>> round(plug_in_bias(100_000, 768, 768), 4)
        2.972
    """
    count = whole_number_array("n_samples", n_samples)
    teacher = whole_number_array("teacher_dimension", teacher_dimension)
    student = whole_number_array("student_dimension", student_dimension)
    with calculation(n_samples=count, teacher_dimension=teacher, student_dimension=student):
        if leading_order:
            return unwrapped(teacher * student / (2 * count))
        missing = teacher + student + 1 - count
    if (missing > 0).any():
        raise InputError(
            f"n_samples = {np.broadcast_to(count, missing.shape)[missing > 0][0]:g} is too small for a covariance of "
            "full rank",
            "give at least teacher_dimension + student_dimension + 1 samples",
        )
    exact = np.vectorize(_difference_of_digammas, otypes=[np.float64])
    bias: Floats = exact(count - 1, np.maximum(teacher, student), np.minimum(teacher, student))
    return unwrapped(bias)
