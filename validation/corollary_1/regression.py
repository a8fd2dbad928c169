"""Reduced-rank regression with a planted spectrum: the setting in which the law of the optimal rank is known exactly.

Y = X M + E with N rows, p inputs, q outputs, X'X = N I, E of independent N(0, σ²) entries, and M with singular values
i^−α. Least squares gives M + τ G, τ = σ/√N and G of standard normal entries, exactly. Its truncation to rank r has the
population risk ‖M̂_r − M‖_F². For p far above q the noise adds the same energy p τ² to each direction, so that the risk
is Σ_{i>r} i^−2α + r p τ²: least at the largest r with r^2α ≤ N/(p σ²), which is :func:`theorykit.spectrum_law` with its
constants.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from theorykit.arguments import Floats

N_INPUTS, N_OUTPUTS = 65_536, 96
"""p and q: the exact risk differs from its limit p/q → ∞ by about q/p, and ranks up to q/3 are far from full rank."""


@dataclass(frozen=True, eq=False)
class Risks:
    """Two readings of every rank of one fitted regression, up to terms that no rank changes.

    Attributes:
        population: ``[sizes, q]`` ‖M̂_r − M‖_F² for r = 1 … q.
        held_out: ``[sizes, q]`` the same read from as many held-out rows as were fitted.
    """

    population: Floats
    held_out: Floats


def planted_risks(alpha: float, n_rows: Floats, noise: float, generator: np.random.Generator) -> Risks:
    """Draw one regression at each sample size and compute the risk of each rank.

    The left factor of G is turned so that M occupies its first q rows; of the other p − q rows the singular values and
    right vectors need G'G alone, whose triangular factor has a known law (Bartlett 1933). The risk is exact.

    Args:
        alpha: Of the singular values i^−α.
        n_rows: ``[sizes]`` N, at least p.
        noise: σ; 0 for noiseless targets.
        generator: For the noise.
    """
    q, count = N_OUTPUTS, len(n_rows)
    planted = np.arange(1.0, q + 1) ** -alpha
    tau = noise / np.sqrt(n_rows)[:, None, None]
    first = np.diag(planted) + tau * generator.standard_normal((count, q, q))
    rest = np.triu(generator.standard_normal((count, q, q)), 1)
    rest[:, np.arange(q), np.arange(q)] = np.sqrt(generator.chisquare(N_INPUTS - q - np.arange(q), (count, q)))
    rest = tau * rest
    energies, right = np.linalg.eigh(first.mT @ first + rest.mT @ rest)
    energies, right = energies[:, ::-1], right[:, :, ::-1]
    # <M̂_r, M> = Σ_{i≤r} (M̂ v_i)'(M v_i)
    inner = ((first @ right) * (planted[:, None] * right)).sum(axis=1)
    # held-out rows give M + τ G̃ with G̃ independent of the fit: its product with u_i v_i' is normal
    shaken = tau[:, 0] * np.sqrt(energies) * generator.standard_normal((count, q))
    start = float((planted**2).sum())
    return Risks(
        start + np.cumsum(energies - 2 * inner, axis=1), start + np.cumsum(energies - 2 * (inner + shaken), axis=1)
    )


def rows_for(alpha: float, ranks: Floats) -> Floats:
    """Return N at which the best rank of unit noise is each of ``ranks``: p r^2α."""
    return np.asarray(N_INPUTS * ranks ** (2 * alpha), dtype=np.float64)
