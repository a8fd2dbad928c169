"""From a Rademacher complexity to a bound on the risk, and what that bound is worth: eq 19 of arXiv 2603.22355."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from theorykit.arguments import (
    Floats,
    calculation,
    positive_array,
    positive_number,
    probability_array,
    whole_number_array,
)
from theorykit.complexity.dudley import printed_rademacher_bound
from theorykit.errors import InputError
from theorykit.results import Result
from theorykit.verdicts.competitors import bound_value

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class GeneralizationBound(Result):
    """An upper bound on the risk of every member of a class, in its parts; arrays of one shape, or numbers.

    Attributes:
        empirical_risk: Mean loss on the sample.
        complexity_term: 2 ρ R̂_N, or the printed term.
        confidence_term: What the probability costs.
        gap_bound: Sum of both: bounds risk − empirical risk, for the whole class at once.
        risk_bound: Empirical risk plus that.
        trivial_risk: What the risk cannot exceed, or does not for a guess.
        delta: The bound fails with at most this probability over the sample.
        value: ``"informative"``, ``"dominated"`` or ``"vacuous"``, for the risk: in small letters what
            :func:`theorykit.verdicts.bound_value` says.
    """

    empirical_risk: Any
    complexity_term: Any
    confidence_term: Any
    gap_bound: Any
    risk_bound: Any
    trivial_risk: Any
    delta: Any
    value: Any

    def to_frame(self) -> pd.DataFrame:
        """Return one row per entry, in the order of the flattened arrays."""
        import pandas as pd

        fields = {name: np.ravel(getattr(self, name)) for name in self.__dataclass_fields__}
        return pd.DataFrame(fields)


def _assemble(
    empirical_risk: Floats, complexity: Floats, confidence: Floats, trivial: Floats, delta: Floats, rival: Floats | None
) -> GeneralizationBound:
    """Add up the parts; ``rival`` is the complexity term of a simpler bound with the same confidence term."""
    with calculation(empirical_risk=empirical_risk, complexity=complexity, confidence=confidence, trivial_risk=trivial):
        risk = empirical_risk + complexity + confidence
        simpler = None if rival is None else empirical_risk + rival + confidence
    value = np.char.lower(bound_value(risk, trivial=trivial, simpler=simpler))
    arrays = np.broadcast_arrays(empirical_risk, complexity, confidence, trivial, delta, risk, value)
    mean_loss, complexity, confidence, trivial, delta, risk, value = (array[()] for array in arrays)
    gap = complexity + confidence
    words = value if np.ndim(value) else str(value)
    return GeneralizationBound(mean_loss, complexity, confidence, gap, risk, trivial, delta, words)


def _rank_free(complexity: Any) -> Floats | None:
    return None if complexity is None else positive_array("rank_free_complexity", complexity, allow_zero=True)


def generalization_bound(
    empirical_risk: Any,
    complexity: Any,
    n_samples: Any,
    *,
    delta: Any = 0.05,
    lipschitz: Any = 1.0,
    loss_range: float = 1.0,
    trivial_risk: Any = None,
    rank_free_complexity: Any = None,
) -> GeneralizationBound:
    """Bound the risk by R̂ + 2ρ R̂_N + 3c sqrt(log(2/δ)/(2N)), in the unit of the loss; natural logarithm.

    Holds for all members of the class at once, with probability at least 1 − δ over N independent samples of one
    distribution, for losses in [0, c] that are ρ-Lipschitz in the prediction. Half of δ goes to the uniform deviation
    (McDiarmid's inequality and symmetrization: R_N and c sqrt(log(2/δ)/(2N))), half to replacing R_N, an
    expectation over samples, by R̂_N of the sample at hand, twice. Independent samples are documents, not the tokens
    of one; cross entropy is unbounded, so that it has to be clipped first.

    Args:
        empirical_risk: Mean loss on the sample, in [0, c]; broadcasts against all the others.
        complexity: R̂_N of the predictions, or an upper bound on it. Of a Monte Carlo estimate give the upper end, and
            add its error probability to δ. √2 R̂_N for vectors, see ``contracted_complexity``.
        n_samples: N, whole numbers.
        delta: δ in (0, 1).
        lipschitz: ρ ≥ 0.
        loss_range: c > 0.
        trivial_risk: Against which the bound is called vacuous; c if None. An error rate
            takes ``trivial_bound("next_token_error", …)``.
        rank_free_complexity: B R/√N; if given, a bound that it beats is called dominated.

    Returns:
        The bound with its parts and its value.

    Raises:
        InputError: an argument outside its domain.
        NonFiniteError: NaN or infinity.

    References:
        Bartlett & Mendelson (2002), JMLR 3, Theorem 8; with these constants Mohri, Rostamizadeh & Talwalkar (2018),
        Foundations of Machine Learning, Theorem 3.3 and, for ρ, Lemma 5.7.

    Example:
        >>> found = generalization_bound(0.1, 0.05, 20_000, delta=0.05)
        >>> round(float(found.gap_bound), 5), found.value  # 2 · 0.05 + 3 sqrt(log 40 / 40000)
        (0.12881, 'informative')
    """
    ceiling = positive_number("loss_range", loss_range)
    risk = positive_array("empirical_risk", empirical_risk, allow_zero=True)
    if risk.max() > ceiling:
        raise InputError(
            f"empirical_risk = {risk.max():.6g} is above loss_range = {ceiling:.6g}", "losses lie in [0, c]"
        )
    counts, failure = whole_number_array("n_samples", n_samples), probability_array("delta", delta)
    slope = positive_array("lipschitz", lipschitz, allow_zero=True)
    class_complexity = positive_array("complexity", complexity, allow_zero=True)
    trivial = positive_array("trivial_risk", ceiling if trivial_risk is None else trivial_risk)
    rank_free = _rank_free(rank_free_complexity)
    given = {"empirical_risk": risk, "complexity": class_complexity, "n_samples": counts, "delta": failure}
    if rank_free is not None:
        given["rank_free_complexity"] = rank_free
    with calculation(**given, lipschitz=slope, trivial_risk=trivial):
        complexity_term = 2.0 * slope * class_complexity
        confidence_term = 3.0 * ceiling * np.sqrt(np.log(2.0 / failure) / 2.0 / counts)
        rival = None if rank_free is None else 2.0 * slope * rank_free
    return _assemble(risk, complexity_term, confidence_term, trivial, failure, rival)


def printed_generalization_bound(
    rank: Any,
    n_samples: Any,
    *,
    shape: tuple[int, int],
    empirical_risk: Any = 0.0,
    delta: Any = 0.05,
    constant: Any = 1.0,
    confidence_constant: Any = 1.0,
    loss_range: float = 1.0,
    trivial_risk: Any = None,
    rank_free_complexity: Any = None,
) -> GeneralizationBound:
    """Evaluate eq 19 as printed: R̂ + C1 r(m + n) log N/√N + C2 sqrt(log(1/δ)/N), natural logarithm.

    The paper gives neither constant, and no bound on the loss, its slope or the inputs, without which it
    holds for no constant. With C1 ≥ 2ρBR and C2 ≥ 3c and N ≥ 2 it follows for δ ≤ ½ from
    :func:`generalization_bound` and the rank-free complexity, which is smaller: true, dominated and mostly vacuous.

    Args:
        rank: r in [1, min(m, n)]; broadcasts against all the others.
        n_samples: N.
        shape: (m, n).
        empirical_risk: Mean loss on the sample, at least 0.
        constant: C1 > 0, in the unit of the loss.
        confidence_constant: C2 > 0, in the unit of the loss.
        delta: As for :func:`generalization_bound`.
        loss_range: Likewise.
        trivial_risk: Likewise.
        rank_free_complexity: ρ B R/√N; if given, twice this competes with the printed term.

    Returns:
        The bound with its parts and its value.

    Raises:
        InputError: an argument outside its domain.
        NonFiniteError: NaN or infinity.

    References:
        Theorem 2 (eq 19) of arXiv 2603.22355.

    Example:
        >>> found = printed_generalization_bound(8, 100_000, shape=(768, 768))
        >>> round(float(found.gap_bound)), found.value
        (447, 'vacuous')
    """
    ceiling = positive_number("loss_range", loss_range)
    counts, failure = whole_number_array("n_samples", n_samples), probability_array("delta", delta)
    risk = positive_array("empirical_risk", empirical_risk, allow_zero=True)
    factor = positive_array("confidence_constant", confidence_constant)
    trivial = positive_array("trivial_risk", ceiling if trivial_risk is None else trivial_risk)
    complexity_term = np.asarray(printed_rademacher_bound(rank, counts, shape=shape, constant=constant))
    given = {"empirical_risk": risk, "rank and n_samples": complexity_term, "n_samples": counts, "delta": failure}
    rank_free = _rank_free(rank_free_complexity)
    if rank_free is not None:
        given["rank_free_complexity"] = rank_free
    with calculation(**given, confidence_constant=factor, trivial_risk=trivial):
        confidence_term = factor * np.sqrt(np.log(1.0 / failure) / counts)
        rival = None if rank_free is None else 2.0 * rank_free
    return _assemble(risk, complexity_term, confidence_term, trivial, failure, rival)
