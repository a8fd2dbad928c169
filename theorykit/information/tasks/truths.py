"""Mutual information in closed form of three laws: by canonical correlations, Student's t, additive uniform noise."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import digamma, gammaln

from theorykit.arguments import Floats, number_array, positive_array, unwrapped, whole_number_array


def canonical_information(correlations: Any) -> Any:
    """Compute I = −½ Σ log(1 − ρ_i²) of Gaussian vectors with the canonical correlations ρ_i, in nats.

    An equality for jointly Gaussian vectors.

    Args:
        correlations: ρ ``[..., k]`` in (−1, 1); canonical correlations left out count as 0.

    Returns:
        I ≥ 0 in nats, the shape of ``correlations`` without its last axis.

    Raises:
        InputError: a ρ outside (−1, 1), or no number at all.
        NonFiniteError: NaN or infinity.

    References:
        Gel'fand & Yaglom (1959), American Mathematical Society Translations 12; Anderson (2003), section 12.2.

    Example:
        >>> round(canonical_information([0.6, 0.8]), 6)  # log(5/4) + log(5/3)
        0.733969
    """
    rho = np.atleast_1d(number_array("correlations", correlations, low=-1, high=1, open_low=True, open_high=True))
    return unwrapped(-(np.log1p(-rho) + np.log1p(rho)).sum(axis=-1) / 2 + 0.0)


def student_information(
    degrees_of_freedom: Any, first_dimension: Any, second_dimension: Any, gaussian_information: Any = 0.0
) -> Any:
    """Compute I(X; Y) of a joint multivariate Student-t vector, in nats.

    An equality: with φ(s) = s ψ(s) − log Γ(s), ψ the digamma function,

        I = I_Gauss + φ((ν + m)/2) + φ((ν + n)/2) − φ((ν + m + n)/2) − φ(ν/2),

    I_Gauss the information of Gaussian vectors whose covariance is the dispersion matrix. From the entropy
    ½ log|Σ| + (k/2) log(νπ) − log Γ((ν + k)/2) + log Γ(ν/2) + ((ν + k)/2) [ψ((ν + k)/2) − ψ(ν/2)] of k coordinates;
    ν cancels everywhere but in φ. The second part is above 0 and does not depend on the dispersion: uncorrelated
    coordinates share their random scale. It falls like m n/(2 ν²). Rounding error about 1e-16 · s log s at
    s = (ν + m + n)/2.

    Args:
        degrees_of_freedom: ν > 0; broadcasts, as do the others.
        first_dimension: m ≥ 1, whole.
        second_dimension: n ≥ 1, whole.
        gaussian_information: I_Gauss ≥ 0 in nats; 0 for uncorrelated sides.

    Returns:
        I in nats, the broadcast shape.

    Raises:
        InputError: an argument outside its domain.
        NonFiniteError: NaN or infinity.

    References:
        Arellano-Valle, Contreras-Reyes & Genton (2013), Scandinavian Journal of Statistics 40, eq 7 (the entropy);
        Czyż et al. (2023), NeurIPS, arXiv 2306.11078.

    Example:
        >>> round(student_information(1, 1, 1), 12)  # bivariate Cauchy: log(8π) − 3
        0.224171427529
    """
    nu = positive_array("degrees_of_freedom", degrees_of_freedom)
    m = whole_number_array("first_dimension", first_dimension)
    n = whole_number_array("second_dimension", second_dimension)
    gaussian = positive_array("gaussian_information", gaussian_information, allow_zero=True)

    def phi(s: Floats) -> Floats:
        return np.asarray(s * digamma(s) - gammaln(s), dtype=np.float64)

    shared = phi((nu + m) / 2) + phi((nu + n) / 2) - phi((nu + m + n) / 2) - phi(nu / 2)
    return unwrapped(gaussian + shared)


def additive_uniform_information(noise: Any) -> Any:
    """Compute I(X; X + N) for X uniform on (0, 1) and N uniform on (−ε, ε), independent, in nats.

    An equality. The density of X + N is a trapezium: M = max(1, 2ε) wide at half its height 1/M, with sides
    m = min(1, 2ε) wide, so that its entropy is log M + m/(2M), and I = log(M/(2ε)) + m/(2M): ε − log(2ε) up to ε = ½
    and 1/(4ε) from there.

    Args:
        noise: ε > 0, of any shape.

    Returns:
        I in nats, the shape of ``noise``.

    Raises:
        InputError: ε not above 0.
        NonFiniteError: NaN or infinity.

    References:
        Czyż et al. (2023), NeurIPS, arXiv 2306.11078.

    Example:
        >>> additive_uniform_information([0.5, 1.0]).tolist()
        [0.5, 0.25]
    """
    width = 2 * positive_array("noise", noise)
    wide, narrow = np.maximum(width, 1), np.minimum(width, 1)
    return unwrapped(np.log(wide / width) + narrow / wide / 2)
