"""Closed-form rank laws r* = (a C1 n^c / (b C2))^(1/(a+b)): what each reading of the paper implies for the exponent."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from theorykit.arguments import positive_number
from theorykit.errors import InputError


@dataclass(frozen=True)
class RankLaw:
    """The minimiser of C1 r^−a + C2 r^b n^−c over r > 0.

    Attributes:
        name: Short name.
        approximation: a, how fast the approximation error falls with the rank.
        complexity: b, how fast the estimation error grows with the rank.
        samples: c, how fast the estimation error falls with the sample size.
        source: Where the three exponents come from.
    """

    name: str
    approximation: Fraction | float
    complexity: Fraction | float
    samples: Fraction | float
    source: str

    @property
    def exponent(self) -> Fraction | float:
        """Return c / (a + b): r* grows like n to this power."""
        return self.samples / (self.approximation + self.complexity)

    def rank(self, n_samples: float, c1: float = 1.0, c2: float = 1.0) -> float:
        """Return the minimiser, not rounded and not clipped; see :func:`optimal_rank`."""
        return float(
            optimal_rank(
                n_samples,
                c1,
                c2,
                approximation=float(self.approximation),
                complexity=float(self.complexity),
                samples=float(self.samples),
            )
        )


PAPER_EQ17 = RankLaw("paper eq 17", Fraction(1), Fraction(1), Fraction(1), "Corollary 1 as printed: C1/r + C2 r/n")
THEOREM_2 = RankLaw(
    "paper Theorem 2", Fraction(1), Fraction(1), Fraction(1, 2), "the proof of Corollary 1: C1/r + C2 r/√n"
)
CORRECTED = RankLaw(
    "corrected",
    Fraction(1),
    Fraction(1, 2),
    Fraction(1, 2),
    "Dudley's integral without the lost root: C1/r + C2 √(r/n)",
)


def spectrum_law(decay_exponent: float) -> RankLaw:
    """Return the law of squared error for s_i ∝ i^−α: a = 2α − 1, b = c = 1, so that r* ∝ n^(1/(2α)).

    Holds for α > ½, where the tail sum is dominated by its beginning and ε² ∝ r^(1 − 2α), for the fast rate
    r(m + n − r)/n of reduced-rank regression (Bunea, She & Wegkamp 2011) and r much smaller than m + n. An
    exponent only: the constants (noise, width) shift the rank by a factor.

    Raises:
        InputError: α is not above ½.

    Example:
        >>> spectrum_law(1.0).exponent
        0.5
    """
    alpha = positive_number("decay_exponent", decay_exponent)
    if alpha <= 0.5:
        raise InputError(
            f"decay_exponent = {alpha:.3g} is not above 1/2", "a slower decay has no optimum below full rank"
        )
    return RankLaw("measured spectrum", 2 * alpha - 1, 1.0, 1.0, f"s_i ∝ i^−{alpha:.3g}, squared error")


def optimal_rank(
    n_samples: Any,
    c1: Any = 1.0,
    c2: Any = 1.0,
    *,
    approximation: float = 1.0,
    complexity: float = 1.0,
    samples: float = 1.0,
) -> Any:
    """Compute argmin over r > 0 of C1 r^−a + C2 r^b n^−c, as (a C1 n^c / (b C2))^(1/(a+b)).

    An equality, derived by sympy in :func:`derive_optimal_rank`. Neither rounded nor clipped to [1, min(m, n)].

    Args:
        n_samples: n > 0; broadcasts against the constants.
        c1: C1 > 0, in the unit of the loss.
        c2: C2 > 0, in the unit of the loss.
        approximation: a > 0.
        complexity: b > 0.
        samples: c > 0.

    Returns:
        r*, the broadcast shape of the arguments.

    Raises:
        InputError: an argument is not above 0.

    References:
        Corollary 1 (eq 17) of arXiv 2603.22355 is a = b = c = 1.

    Example:
        >>> round(float(optimal_rank(100_000 * 4, 1.0, 4.0)), 9)
        316.227766017
    """
    a, b, c = (
        positive_number(name, value)
        for name, value in (
            ("approximation", approximation),
            ("complexity", complexity),
            ("samples", samples),
        )
    )
    for name, values in (("n_samples", n_samples), ("c1", c1), ("c2", c2)):
        for value in np.ravel(values):
            positive_number(name, value)
    ratio = a * np.asarray(c1, float) * np.asarray(n_samples, float) ** c / (b * np.asarray(c2, float))
    return ratio ** (1 / (a + b))


def derive_optimal_rank() -> tuple[Any, Any, Any]:
    """Derive the closed form with sympy.

    Returns:
        The objective, its minimiser r*, and r² · (second derivative at r*) simplified: positive, so that r* is the
        minimum (the objective falls before it and rises after it).
    """
    import sympy as sp

    r, n, c1, c2, a, b, c = sp.symbols("r n C1 C2 a b c", positive=True)
    objective = c1 * r**-a + c2 * r**b * n**-c
    # stationarity times r^(a+1): −a C1 + b C2 r^(a+b) n^−c = 0, one positive root
    power = sp.symbols("u", positive=True)  # u = r^(a+b)
    stationary = sp.powsimp(sp.expand(sp.diff(objective, r) * r ** (a + 1)))
    root = sp.solve(stationary.subs(r ** (a + b), power), power)[0]
    minimiser = root ** (1 / (a + b))
    curvature = sp.simplify((sp.diff(objective, r, 2) * r ** (a + 2)).expand().subs(r, minimiser))
    return objective, minimiser, sp.simplify(curvature)
