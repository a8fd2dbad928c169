"""Plans of exponent experiments, made before the data: the claim, its rivals, the margin, and the power they give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, stdtrit

from theorykit.arguments import (
    Floats,
    calculation,
    number_array,
    positive_array,
    positive_integer,
    positive_number,
    single_number,
    whole_number_array,
)
from theorykit.errors import InputError
from theorykit.results import Result
from theorykit.verdicts.samples import error_rate

RIVALS: tuple[tuple[str, float], ...] = (("1/4", 1 / 4), ("1/3", 1 / 3), ("1/2", 1 / 2))
"""Exponents that are always listed beside the claimed one."""
LEAST_POWER = 0.8
"""Planned power below which a plan is refused without ``allow_low_power=True``."""
_NODES = 200


@dataclass(frozen=True)
class ExponentPlan(Result):
    """An exponent experiment as fixed before its data.

    Attributes:
        claimed: The exponent of the statement.
        sizes: Sample sizes, increasing.
        n_seeds: Independent repetitions of the whole curve.
        sd_log: Expected standard deviation of ln r* at one size, no unit.
        margin: Largest difference from ``claimed`` that still counts as agreement.
        alpha: One-sided level of each decision.
        rivals: (name, exponent) of every rival.
        power: Chance of CONSISTENT where the claim is exactly true.
    """

    claimed: float
    sizes: tuple[float, ...]
    n_seeds: int
    sd_log: float
    margin: float
    alpha: float
    rivals: tuple[tuple[str, float], ...]
    power: float

    @property
    def rivals_within_margin(self) -> tuple[str, ...]:
        """Return the rivals that the margin cannot tell from the claim."""
        return tuple(name for name, value in self.rivals if 0 < abs(value - self.claimed) <= self.margin)


def checked_sizes(sizes: Any) -> Floats:
    """Return increasing, finite sizes above 0, at least three of them."""
    array = positive_array("sizes", sizes)
    if array.ndim != 1 or array.size < 3 or (np.diff(array) <= 0).any():
        raise InputError("sizes has to hold at least 3 increasing numbers", "a slope from two points has no check")
    return array


def slope_weights(sizes: Floats) -> Floats:
    """Return w with slope = Σ w_j ln r_j, least squares on ln n: (x_j − x̄)/Σ(x − x̄)², x = ln n."""
    centred = np.log(sizes) - np.log(sizes).mean()
    return np.asarray(centred / (centred @ centred), dtype=np.float64)


def slope_power(sizes: Any, n_seeds: Any, sd_log: Any, margin: Any, alpha: float = 0.05, shift: Any = 0.0) -> Any:
    """Compute the chance that the two one-sided tests call a slope equivalent to the claim; no unit.

    One slope b_s per seed by least squares of ln r* on ln n, and a t interval of level 1 − 2α with S − 1 degrees of
    freedom that has to lie within ± margin of the claim. With normal, independent ln r* of standard deviation σ,
    b̄ ~ N(b, τ²), τ² = σ² / (S Σ(x − x̄)²), and the power is E over the χ law of s of
    Φ((m − Δ − t s)/τ) − Φ((−m − Δ + t s)/τ), t s < m: an equality, by Gauss–Legendre quadrature.

    Args:
        sizes: ``[j]`` increasing sample sizes, at least 3.
        n_seeds: S of at least 2; broadcasts with ``sd_log``, ``margin`` and ``shift``.
        sd_log: σ above 0, of ln r* at one size.
        margin: m above 0; subtract the ``rounding_bias`` of a coarse grid.
        alpha: α in (0, 1/2).
        shift: Δ, true slope less the claimed one; at |Δ| = m the power is at most α.

    Returns:
        The power in [0, 1], the broadcast shape.

    Raises:
        InputError: an argument is outside its domain.

    References:
        Schuirmann (1987), J. Pharmacokinetics and Biopharmaceutics 15(6), for the two one-sided tests.

    Example:
        >>> import numpy as np
        >>> slope_power(np.geomspace(1e4, 5e6, 6), [3, 8], 0.35, 0.1).round(3).tolist()
        [0.322, 0.965]
    """
    from scipy.stats import chi

    weights = slope_weights(checked_sizes(sizes))
    given = {
        "n_seeds": whole_number_array("n_seeds", n_seeds, minimum=2),
        "sd_log": positive_array("sd_log", sd_log),
        "margin": positive_array("margin", margin),
        "shift": number_array("shift", shift),
    }
    with calculation(**given):
        seeds, spread, band, away = np.broadcast_arrays(*given.values())
    alpha = error_rate(alpha)
    seeds, spread, band, away = (array[..., None] for array in (seeds, spread, band, away))
    error = np.maximum(spread * np.sqrt((weights @ weights) / seeds), np.finfo(float).tiny)
    quantile = np.minimum(stdtrit(seeds - 1, 1 - alpha), np.finfo(float).max)  # infinite at the tiniest alpha
    # s/τ runs over [0, m/(t τ)], cut where its law has no mass left
    nodes, mass = np.polynomial.legendre.leggauss(_NODES)
    with np.errstate(over="ignore"):
        most = np.minimum(band / quantile / error, chi.isf(1e-15, seeds - 1) / np.sqrt(seeds - 1))
    ratio = (nodes + 1) / 2 * most
    density = chi.pdf(ratio * np.sqrt(seeds - 1), seeds - 1) * np.sqrt(seeds - 1)
    with np.errstate(over="ignore"):
        reach = quantile * ratio
        inside = ndtr((band - away) / error - reach) - ndtr((-band - away) / error + reach)
    return np.clip((mass / 2 * most * density * inside).sum(axis=-1), 0.0, 1.0)[()]


def plan_exponent(
    claimed: float,
    sizes: Any,
    *,
    n_seeds: int,
    sd_log: float,
    margin: float,
    alpha: float = 0.05,
    decay_exponent: float | None = None,
    further_rivals: Mapping[str, float] | None = None,
    allow_low_power: bool = False,
) -> ExponentPlan:
    """Fix an exponent experiment before its data and refuse one that cannot succeed; exponents have no unit.

    Args:
        claimed: The exponent of the statement, finite.
        sizes: ``[j]`` increasing sample sizes, at least 3.
        n_seeds: At least 2.
        sd_log: Expected standard deviation of ln r* at one size, above 0.
        margin: Largest difference that counts as agreement, above 0.
        alpha: One-sided level in (0, 1/2).
        decay_exponent: α̂ of a measured power law s_i ∝ i^−α; adds the rival 1/(2α̂).
        further_rivals: More rivals by name.
        allow_low_power: Accept a plan of power below 0.8.

    Returns:
        The plan, with its power by :func:`slope_power`.

    Raises:
        InputError: an argument is outside its domain, or the power is below 0.8 and not allowed.

    Example:
        >>> import numpy as np
        >>> plan = plan_exponent(0.5, np.geomspace(1e4, 5e6, 6), n_seeds=8, sd_log=0.35, margin=0.1)
        >>> round(plan.power, 3)
        0.965
    """
    rivals = dict(RIVALS)
    if decay_exponent is not None:
        rivals["1/(2 α̂)"] = 1 / (2 * positive_number("decay_exponent", decay_exponent))
    for name, value in (further_rivals or {}).items():
        rivals[name] = single_number(f"rival {name}", value)
    if positive_integer("n_seeds", n_seeds) < 2:
        raise InputError("n_seeds = 1 has no variance", "plan at least 2 seeds")
    sd_log, margin = positive_number("sd_log", sd_log), positive_number("margin", margin)
    power = float(slope_power(sizes, n_seeds, sd_log, margin, alpha))
    if power < LEAST_POWER and not allow_low_power:
        raise InputError(
            f"the planned power is {power:.2f}, below {LEAST_POWER:g}",
            "plan more seeds, a wider range of sizes or a larger margin, or pass allow_low_power=True",
        )
    return ExponentPlan(
        claimed=single_number("claimed", claimed),
        sizes=tuple(checked_sizes(sizes).tolist()),
        n_seeds=int(n_seeds),
        sd_log=sd_log,
        margin=margin,
        alpha=float(alpha),
        rivals=tuple(rivals.items()),
        power=power,
    )
