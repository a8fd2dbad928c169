"""Theorem 2, eq 19: the generalization gap of low-rank models."""

from __future__ import annotations

import numpy as np
import sympy as sp

from theorykit.arguments import Floats
from theorykit.complexity import generalization_bound, printed_generalization_bound, rank_free_rademacher_bound
from theorykit.statements.evidence import Found, Side, Truth, Value, cited, computation, measured_later, proof, search
from theorykit.statements.statement import Equation, Form, Kind, Statement, Symbol

_ROWS, _COLUMNS, _RANK, _N = sp.symbols("m n r N", positive=True)
_DELTA, _RHO, _C, _COMPLEXITY, _B, _R = sp.symbols("delta rho c R_N B R", positive=True)
_RANKS, _WIDTH, _SAMPLES = (8, 64, 256), 768, 100_000


def _vacuous() -> Found:
    gaps = {
        rank: float(printed_generalization_bound(rank, _SAMPLES, shape=(_WIDTH, _WIDTH)).gap_bound) for rank in _RANKS
    }
    values = ", ".join(f"{gap:,.0f} at r = {rank}" for rank, gap in gaps.items())
    largest = 1.0
    sentence = (
        f"with constant 1, m = n = {_WIDTH}, N = {_SAMPLES:,} the printed bound on a gap that cannot pass {largest:g} "
        f"(losses in [0, 1]) is {values}"
    )
    vacuous = min(gaps.values()) >= largest
    return Found(
        Truth.UNDECIDED,
        sentence,
        {f"r={rank}": gap for rank, gap in gaps.items()},
        Value.VACUOUS if vacuous else None,
    )


def _implied() -> tuple[bool, str]:
    """Compare term by term with 2ρBR/√N + 3c sqrt(log(2/δ)/(2N)) for δ ≤ ½, N ≥ 3."""
    shift = {symbol: 1 + sp.Symbol(f"d_{symbol.name}", nonnegative=True) for symbol in (_ROWS, _COLUMNS, _RANK)}
    first = sp.expand((_RANK * (_ROWS + _COLUMNS)).subs(shift) - 1).is_positive
    # log(2/δ)/2 ≤ log(1/δ) for δ ≤ ½: with x = log(1/δ) ≥ log 2, (log 2 + x)/2 ≤ x
    x = sp.Symbol("x", nonnegative=True)
    second = sp.expand(sp.log(2) + x - (sp.log(2) + sp.log(2) + x) / 2).is_nonnegative
    return bool(first and second), (
        "with C1 ≥ 2ρBR and C2 ≥ 3c, N ≥ 3 and δ ≤ ½ eq 19 follows from the rank-free bound 2ρBR/√N + 3c "
        "sqrt(log(2/δ)/(2N)), which is tighter and "
        "has no rank in it; without a bounded loss, a Lipschitz constant and bounded inputs no constant serves"
    )


def _threshold_gaps(generator: np.random.Generator, count: int) -> Floats:
    """Measure gaps of one-dimensional linear models against the corrected bound at δ = 0.001.

    x = ±1, label y = ±1 at random, loss |1 − w x y|/2 clipped to [0, 1], |w| ≤ 1 (1 × 1 matrices, ρ = ½, R̂ ≤ 1/√N). The
    true risk is ½ for every w, the empirical one is linear in the share of agreements: the worst gap is exact.
    """
    delta = 0.001
    samples = np.floor(10.0 ** generator.uniform(0.5, 5, count))
    agreements = generator.binomial(samples.astype(int), 0.5) / samples
    # empirical risk at w: share·(1 − w)/2 + (1 − share)(1 + w)/2; the gap ½ − that is largest at w = sign(share − ½)
    gap = np.abs(agreements - 0.5)
    empirical = 0.5 - gap
    complexity = rank_free_rademacher_bound(samples, frobenius_bound=1.0, input_norm=1.0)
    bound = generalization_bound(empirical, complexity, samples, delta=delta, lipschitz=0.5)
    return np.asarray(gap / bound.gap_bound, dtype=np.float64)


_SOURCE = "Mohri, Rostamizadeh & Talwalkar (2018), Foundations of Machine Learning, Theorem 3.3"
_ARGUMENTS = ("rows", "columns", "rank", "n_samples", "delta")

STATEMENT = Statement(
    slug="generalization-gap",
    label="Theorem 2",
    title="Generalization gap of low-rank models",
    kind=Kind.UPPER,
    equations=(
        Equation(
            key="eq-19",
            label="eq 19",
            printed="R ≤ R̂ + O(r(m + n) log n/√n) + O(sqrt(log(1/δ)/n))",
            corrected="R ≤ R̂ + 2ρ R̂_N + 3c sqrt(log(2/δ)/(2N)), losses in [0, c], ρ-Lipschitz, R̂_N of eq 21",
            checks=(
                proof(Side.PRINTED, "follows from the rank-free bound", _implied),
                cited(Side.PRINTED, "the rank-free bound itself", _SOURCE),
                computation(Side.PRINTED, "what it is worth at GPT-2's size", _vacuous),
                cited(Side.CORRECTED, "the gap of a class by its Rademacher complexity", _SOURCE),
                search(Side.CORRECTED, "exact worst gaps of a two-point problem, δ = 0.001", _threshold_gaps),
                measured_later(Side.CORRECTED, "students", "generalization gap over rank and seeds"),
            ),
            kind=Kind.UPPER,
            remark="true with large enough constants, vacuous, and dominated by a bound without the rank",
            condition="loss bounded and Lipschitz, models linear, inputs bounded",
        ),
        Equation(
            key="gap-linear-in-rank",
            label="§5.5",
            printed="the gap increases linearly with r(m + n), confirming the bound",
            corrected="an upper bound shows no scaling; under ‖W‖_F ≤ B complexity grows at most like √r",
            checks=(measured_later(Side.PRINTED, "slope", "gap over rank with an interval"),),
            kind=Kind.CLAIM,
            remark="see eq 21 for the growth of the exact complexity",
        ),
    ),
    symbols=(
        Symbol("rows", _ROWS, "m", low=1, integer=True, open=False),
        Symbol("columns", _COLUMNS, "n", low=1, integer=True, open=False),
        Symbol("rank", _RANK, "r, at most min(m, n)", low=1, integer=True, open=False),
        Symbol("n_samples", _N, "N, independent samples", low=2, integer=True, open=False),
        Symbol("delta", _DELTA, "δ, probability that the bound fails", high=1.0, default=0.05),
        Symbol("complexity", _COMPLEXITY, "R̂_N, or an upper bound on it such as B R/√N", open=False),
        Symbol("lipschitz", _RHO, "ρ, Lipschitz constant of the loss", open=False, default=1.0),
        Symbol("loss_range", _C, "c, largest loss", default=1.0),
    ),
    printed=Form(
        "r(m + n) log N/√N + sqrt(log(1/δ)/N), constants 1",
        _RANK * (_ROWS + _COLUMNS) * sp.log(_N) / sp.sqrt(_N) + sp.sqrt(sp.log(1 / _DELTA) / _N),
        lambda rows, columns, rank, n_samples, delta: (
            printed_generalization_bound(rank, n_samples, shape=(int(rows), int(columns)), delta=delta).gap_bound
        ),
        _ARGUMENTS,
        equation="eq-19",
    ),
    corrected=Form(
        "2ρ R̂_N + 3c sqrt(log(2/δ)/(2N))",
        2 * _RHO * _COMPLEXITY + 3 * _C * sp.sqrt(sp.log(2 / _DELTA) / (2 * _N)),
        lambda n_samples, delta, complexity, lipschitz, loss_range: (
            generalization_bound(
                0.0, complexity, n_samples, delta=delta, lipschitz=lipschitz, loss_range=float(loss_range)
            ).gap_bound
        ),
        ("n_samples", "delta", "complexity", "lipschitz", "loss_range"),
    ),
    trivial=Form("c, the largest loss", _C, lambda loss_range: loss_range, ("loss_range",)),
    assumptions=(
        "independent samples of one distribution (documents, not the tokens of one)",
        "losses in [0, c], ρ-Lipschitz in the prediction; cross-entropy has to be clipped",
        "one linear layer",
    ),
    references=(_SOURCE,),
)
