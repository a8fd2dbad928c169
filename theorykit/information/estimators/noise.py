"""Information after white noise is added: finite where states are a deterministic function of one another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from theorykit.arguments import positive_number
from theorykit.information.estimate import InformationEstimate
from theorykit.information.estimators.gaussian import gaussian_estimate
from theorykit.information.estimators.pairs import Pair, checked_pair

Estimator = Callable[..., InformationEstimate]


def with_noise(pair: Pair, noise: float, generator: np.random.Generator) -> Pair:
    """Return (x, y + τZ), Z standard normal."""
    deviation = positive_number("noise", noise)
    return replace(pair, y=pair.y + deviation * generator.standard_normal(pair.y.shape))


def noisy_information(
    x: Any,
    y: Any,
    noise: float,
    *,
    generator: np.random.Generator,
    estimator: Estimator = gaussian_estimate,
    groups: Any = None,
    **options: Any,
) -> InformationEstimate:
    """Estimate I(X; Y + τZ), Z independent standard normal, in nats.

    Finite for τ > 0 whatever the relation: at most ½ Σ log(1 + λ_i/τ²), λ_i the eigenvalues of the covariance of Y, the
    capacity of the channel. Never above I(X; Y) (data processing), and never rising with τ. The value belongs to its τ:
    two estimates can be compared at the same τ in the same unit alone, and ``method`` says it.

    Args:
        x: ``[N, d_x]`` or ``[N]``.
        y: ``[N, d_y]`` or ``[N]``.
        noise: τ > 0, the standard deviation of the noise on every coordinate, in the unit of y.
        generator: Draws Z.
        estimator: From ``(x, y, groups=…, **options)`` to an estimate.
        groups: Label ``[N]`` of each row's sequence; None for independent rows.
        **options: Handed to the estimator.

    Returns:
        Its record, with "at noise τ" in the method's name.

    Raises:
        InputError: τ not above 0, or the pair is refused.
        NonFiniteError: NaN or infinity.

    References:
        Goldfeld et al. (2019), ICML: information flow in noisy networks; Cover & Thomas (2006), Theorem 9.4.1.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> rows = rng.standard_normal(4000)
        >>> found = noisy_information(rows, rows, 0.5, generator=rng)  # ½ log(1 + 1/0.25) = 0.805
        >>> found.method, found.interval[0] < 0.805 < found.interval[1]
        ('gaussian at noise 0.5', True)
    """
    deviation = positive_number("noise", noise)
    pair = checked_pair(x, y, groups)
    noisy = with_noise(pair, deviation, generator)
    found = estimator(noisy.x, noisy.y, groups=noisy.groups, **options)
    return replace(
        found,
        method=f"{found.method} at noise {deviation:g}",
        dimensions=pair.dimensions,
        warnings=tuple(dict.fromkeys(pair.warnings + found.warnings)),
    )
