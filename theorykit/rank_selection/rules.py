"""Rules that give every layer a rank: the paper's, what its theorems really imply, and the field's habits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from theorykit.arguments import Floats, did_you_mean
from theorykit.errors import InputError
from theorykit.models.model_spectra import LayerSpectra
from theorykit.rank_selection.laws import CORRECTED, PAPER_EQ17, THEOREM_2, spectrum_law
from theorykit.spectra.random_matrix import optimal_hard_threshold
from theorykit.spectra.rank_measures import effective_rank, energy_rank, stable_rank

COMMON_PRICE = "common-price"
"""Key of the tool's own rule: no rule per layer but one budget, given out at a common price over all layers."""


@dataclass(frozen=True)
class Rule:
    """A rank per layer from its spectrum and n.

    Attributes:
        key: Name on the command line.
        title: Name in the table.
        source: Where the rule comes from.
        rank: From (layer, n in the user's unit) to a rank, not rounded and not clipped.
        needs_samples: Whether it looks at n.
    """

    key: str
    title: str
    source: str
    rank: Callable[[LayerSpectra, float], float]
    needs_samples: bool = False


def _spectrum_rank(part: LayerSpectra, n: float) -> float:
    fit = part.decay
    if fit is None or fit.exponent <= 0.5:
        # α ≤ ½: the tail sum has no finite limit, the law no optimum below full rank
        return float("inf")
    # the tail sum of i^−2α is r^(1 − 2α) / (2α − 1): with this constant the law is n^(1/2α), continuous at α = ½
    return spectrum_law(fit.exponent).rank(n, c1=1 / (2 * fit.exponent - 1)) if fit.exponent < 50 else 1.0


def _energy(share: float) -> Callable[[LayerSpectra, float], float]:
    return lambda part, _: float(energy_rank(_values(part), share))


def _hard_threshold(part: LayerSpectra, _: float) -> float:
    values = part.spectrum.singular_values
    return float((values > optimal_hard_threshold(part.spectrum.shape, singular_values=values)).sum())


def _values(part: LayerSpectra) -> Floats:
    """Return the singular values, or a single one for the zero matrix, which rank 1 holds exactly."""
    values = part.spectrum.singular_values
    return values if values[0] > 0 else np.ones(1)


RULES: tuple[Rule, ...] = (
    Rule("paper-eq17", "paper eq 17: √n", PAPER_EQ17.source, lambda _, n: PAPER_EQ17.rank(n), needs_samples=True),
    Rule(
        "paper-section6",
        "paper §6: √n/10",
        "paper §6, 'found to work well'",
        lambda _, n: PAPER_EQ17.rank(n) / 10,
        needs_samples=True,
    ),
    Rule("theorem2", "Theorem 2 implies: n^¼", THEOREM_2.source, lambda _, n: THEOREM_2.rank(n), needs_samples=True),
    Rule(
        "corrected", "corrected Theorem 2: (4n)^⅓", CORRECTED.source, lambda _, n: CORRECTED.rank(n), needs_samples=True
    ),
    Rule(
        "spectrum",
        "spectral decay: n^(1/2α)",
        "squared error, s_i ∝ i^−α, constant 1",
        _spectrum_rank,
        needs_samples=True,
    ),
    Rule("energy90", "energy 90 %", "least r with 90 % of ‖W‖_F²", _energy(0.90)),
    Rule("energy95", "energy 95 %", "least r with 95 % of ‖W‖_F²", _energy(0.95)),
    Rule("energy99", "energy 99 %", "least r with 99 % of ‖W‖_F²", _energy(0.99)),
    Rule("stable-rank", "stable rank", "‖W‖_F²/‖W‖₂²", lambda part, _: stable_rank(_values(part))),
    Rule(
        "effective-rank",
        "effective rank",
        "exp entropy of s/Σs (Roy & Vetterli 2007)",
        lambda part, _: effective_rank(_values(part)),
    ),
    Rule("gavish-donoho", "Gavish–Donoho", "optimal hard threshold, unknown noise (2014)", _hard_threshold),
)
RULE_KEYS = (COMMON_PRICE, *(rule.key for rule in RULES))


def checked_rule(key: str) -> str:
    """Return the key of a rule, or raise where there is none of that name."""
    if key not in RULE_KEYS:
        hint = f"{did_you_mean(key, RULE_KEYS)}give one of {', '.join(RULE_KEYS)}"
        raise InputError(f"rule {key!r} is not known", hint)
    return key


def rules_for(key: str, *, sampled: bool) -> tuple[Rule, ...]:
    """Return the rules that can be applied, with or without n.

    Args:
        key: The rule that is to give the ranks.
        sampled: Whether n is given.

    Raises:
        InputError: that rule is unknown, or looks at an n that is not given.
    """
    checked_rule(key)
    usable = tuple(rule for rule in RULES if sampled or not rule.needs_samples)
    if key not in (COMMON_PRICE, *(rule.key for rule in usable)):
        raise InputError(f"the rule {key!r} looks at n, and no n is given", "give --n 100000")
    return usable


def clipped_rank(rank: float, max_rank: int) -> int:
    """Round to the nearest whole rank and clip to [1, max_rank].

    Example:
        >>> clipped_rank(0.2, 8), clipped_rank(3.6, 8), clipped_rank(float("inf"), 8)
        (1, 4, 8)
    """
    return int(np.clip(np.floor(min(rank, 1e18) + 0.5), 1, max_rank))
