"""Corollary 1, eq 17: the rank that balances approximation and estimation."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import sympy as sp
from scipy.special import zeta

from theorykit.rank_selection.laws import CORRECTED, PAPER_EQ17, THEOREM_2, derive_optimal_rank, optimal_rank
from theorykit.statements.evidence import Form, Found, Truth, computation, measured_later, proof
from theorykit.statements.readings import Reading
from theorykit.statements.statement import Equation, Kind, NumericForm, Statement, Symbol

_N, _C1, _C2, _A, _B, _C = sp.symbols("N C1 C2 a b c", positive=True)


def _algebra() -> tuple[bool, str]:
    _, root, curvature = derive_optimal_rank()
    names = {symbol.name: symbol for symbol in root.free_symbols}
    special = root.subs({names["a"]: 1, names["b"]: 1, names["c"]: 1})
    expected = sp.sqrt(names["C1"] * names["n"] / names["C2"])
    held = sp.simplify(special - expected) == 0 and bool(curvature.is_positive)
    return bool(held), "argmin C1/r + C2 r/n = sqrt(C1 n/C2), so that the printed argmin grows like n^½"


def _own_proof() -> Found:
    printed, implied = Fraction(PAPER_EQ17.exponent), Fraction(THEOREM_2.exponent)
    sentence = (
        f"the proof takes r/√n from Theorem 2, and argmin C1/r + C2 r/√n grows like n^{implied}; "
        f"eq 17 has r/n and n^{printed}: at n = 100,000 ranks {THEOREM_2.rank(1e5):.1f} and {PAPER_EQ17.rank(1e5):.1f} "
        "with constants 1"
    )
    truth = Truth.PROVED if printed == implied else Truth.REFUTED
    return Found(truth, sentence, {"exponent_printed": float(printed), "exponent_implied": float(implied)})


def _no_faster() -> tuple[bool, str]:
    printed, implied = Fraction(PAPER_EQ17.exponent), Fraction(THEOREM_2.exponent)
    return implied <= printed, f"n^{implied} ≤ n^{printed} for n ≥ 1: as an upper bound O(√n) stands, loosely"


def _corrected() -> tuple[bool, str]:
    held = (PAPER_EQ17.exponent, THEOREM_2.exponent, CORRECTED.exponent) == (
        Fraction(1, 2),
        Fraction(1, 4),
        Fraction(1, 3),
    )
    _, root, curvature = derive_optimal_rank()
    return held and bool(curvature.is_positive), (
        f"the minimiser is {sp.sstr(root)}: exponents ½ for (a, b, c) = (1, 1, 1), ¼ for (1, 1, ½), ⅓ for (1, ½, ½), "
        "the corrected Theorem 2"
    )


def _decay() -> Found:
    """ε² of s_i = i^−α falls like r^(1 − 2α): 1/r at α = 1 only. Exact tails: Σ_(i>r) i^−2α = ζ(2α, r + 1)."""
    ranks = np.array([200, 400])
    slopes = {}
    for alpha in (0.75, 1.0, 1.5):
        tails = zeta(2 * alpha, ranks + 1)
        slopes[alpha] = float(np.diff(np.log(tails))[0] / np.diff(np.log(ranks))[0])
    worst = max(abs(slope - (1 - 2 * alpha)) for alpha, slope in slopes.items())
    sentence = "squared error of s_i = i^−α falls like r^" + ", r^".join(
        f"{slope:.2f} (α = {alpha})" for alpha, slope in slopes.items()
    )
    # "typically" claims no spectrum in particular, so that no spectrum refutes it
    return Found(
        Truth.UNDECIDED,
        sentence + ": O(1/r) for α ≥ 1 and not below; the paper says typically, which only measured spectra decide",
        {"largest_miss": worst},
    )


STATEMENT = Statement(
    slug="optimal-rank",
    label="Corollary 1",
    title="Optimal rank",
    kind=Kind.RATE,
    equations=(
        Equation(
            key="eq-17",
            label="eq 17",
            printed="r* = argmin C1/r + C2 r/n = O(√n)",
            corrected="argmin C1 r^−a + C2 r^b N^−c = (a C1 N^c/(b C2))^(1/(a+b)), clipped to [1, min(m, n)]",
            checks=(
                proof(Form.PRINTED, "the algebra of the argmin", _algebra),
                proof(Form.CORRECTED, "closed form for all exponents", _corrected),
                measured_later(Form.CORRECTED, "exponent", "optimal rank over n of trained students, per objective"),
            ),
            kind=Kind.RATE,
            remark="right algebra for an objective that its own proof does not have",
        ),
        Equation(
            key="corollary-1-proof",
            label="Cor 1, proof",
            printed="the gap O(r/√n) of Theorem 2 yields r* = O(√n)",
            corrected="with Theorem 2 as printed n^¼, with its corrected form n^⅓",
            checks=(proof(Form.CORRECTED, "closed form for all exponents", _corrected),),
            kind=Kind.RATE,
            remark='the paper reads it as a scaling ("should scale with the square root"), which does not follow',
            readings=(
                Reading(
                    "scaling",
                    "r* grows like √n",
                    (computation(Form.PRINTED, "exponent that the proof implies", _own_proof),),
                ),
                Reading(
                    "upper", "r* grows no faster than √n", (proof(Form.PRINTED, "exponents compared", _no_faster),)
                ),
            ),
        ),
        Equation(
            key="corollary-1-decay",
            label="Cor 1, decay",
            printed="the approximation error typically decreases as O(1/r) by spectral decay",
            corrected="s_i ∝ i^−α gives ε² ∝ r^(1 − 2α); r* ∝ N^(1/(2α)) at the fast rate r(m + n − r)/N",
            checks=(computation(Form.PRINTED, "slopes of exact tails", _decay),),
            kind=Kind.RATE,
            remark="√N is right in one setting: squared error and α = 1",
        ),
    ),
    symbols=(
        Symbol("n_samples", _N, "N, training samples; the paper never says in which unit", low=0),
        Symbol("c1", _C1, "C1, scale of the approximation error, in the unit of the loss", default=1.0),
        Symbol("c2", _C2, "C2, scale of the estimation error, in the unit of the loss", default=1.0),
    ),
    printed=NumericForm(
        "(C1 N/C2)^½",
        sp.sqrt(_C1 * _N / _C2),
        optimal_rank,
        equation="eq-17",
    ),
    corrected=NumericForm(
        "(2 C1 √N/C2)^(2/3)",
        (2 * _C1 * sp.sqrt(_N) / _C2) ** sp.Rational(2, 3),
        lambda n_samples, c1, c2: optimal_rank(n_samples, c1, c2, complexity=0.5, samples=0.5),
    ),
    assumptions=(
        "approximation error C1 r^−a, estimation error C2 r^b N^−c with known constants",
        "labels as targets: with the teacher's distribution the estimation term nearly vanishes",
    ),
    references=("Bunea, She & Wegkamp (2011), Optimal selection of reduced rank estimators, Ann. Statist. 39(2)",),
)
