"""Theorem 2, eqs 18–21: the generalization gap of low-rank models, by Rademacher complexity and covering number."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import sympy as sp

from theorykit.arguments import Floats
from theorykit.complexity import (
    dudley_constant,
    exact_rademacher_complexity,
    generalization_bound,
    log_covering_number,
    log_covering_number_lower_bound,
    low_rank_dudley_bound,
    printed_generalization_bound,
    printed_rademacher_bound,
    rank_free_rademacher_bound,
)
from theorykit.statements.enclosure import certainly
from theorykit.statements.evidence import (
    Form,
    Found,
    Truth,
    Value,
    cited,
    computation,
    drawn_once,
    measured_later,
    proof,
    search,
)
from theorykit.statements.readings import Reading
from theorykit.statements.statement import Equation, Kind, NumericForm, Statement, Symbol

_ROWS, _COLUMNS, _RANK, _N = sp.symbols("m n r N", positive=True)
_B, _R, _RADIUS = sp.symbols("B R epsilon", positive=True)
_DELTA, _RHO, _LARGEST, _COMPLEXITY = sp.symbols("delta rho c R_N", positive=True)
_SHAPE, _FEW = (3, 4), 4


def _unbounded() -> tuple[bool, str]:
    scale, value = sp.symbols("s v", positive=True)
    return bool(sp.limit(scale * value, scale, sp.oo) == sp.oo), (
        "the set over which eq 18 takes the supremum holds sW with every W: (1/n) Σ σ_i f_sW(x_i) grows like s, "
        "and the supremum is "
        "infinite wherever it is not 0: the ‖W‖_F ≤ B of the class, in the same sentence, has to be read into it"
    )


@drawn_once
def _exact(generator: np.random.Generator, count: int) -> tuple[Floats, Floats]:
    """Draw samples of N matrices; R̂ at every rank ``[count, q]`` by all 2^N signs, and the root mean square norm.

    Half of the samples are nearly equal matrices, which leave the rank-free bound the least room.
    """
    matrices = generator.standard_normal((count, _FEW, *_SHAPE)) * generator.exponential(size=(count, _FEW, 1, 1))
    spread = 10.0 ** generator.uniform(-3, 0, (count, 1, 1, 1))
    equal = generator.random((count, 1, 1, 1)) < 0.5
    matrices = np.where(equal, matrices[:, :1] + spread * matrices, matrices)
    # half of the signs: the others are their negatives and have the same singular values
    signs = np.array([[1.0, *rest] for rest in product((-1.0, 1.0), repeat=_FEW - 1)])
    sums = np.einsum("es,csij->ceij", signs, matrices)
    energies = np.linalg.svd(sums, compute_uv=False) ** 2
    exact = np.sqrt(np.cumsum(energies, axis=-1)).mean(axis=1) / _FEW
    return exact, np.sqrt((matrices**2).sum(axis=(2, 3)).mean(axis=1))


def _over(bound: Callable[[Floats], Floats], generator: np.random.Generator, count: int) -> Floats:
    """Return exact complexities over a bound at R ``[samples, 1]``, all ranks of as many samples as it takes."""
    exact, size = _exact(generator, -(-count // min(_SHAPE)))
    return np.asarray((exact / bound(size[:, None])).ravel()[:count], dtype=np.float64)


def _over_rank_free(generator: np.random.Generator, count: int) -> Floats:
    return _over(lambda size: rank_free_rademacher_bound(_FEW, frobenius_bound=1.0, input_norm=size), generator, count)


def _over_dudley(generator: np.random.Generator, count: int) -> Floats:
    ranks = np.arange(1, min(_SHAPE) + 1)
    return _over(
        lambda size: low_rank_dudley_bound(ranks, _FEW, shape=_SHAPE, frobenius_bound=1.0, input_norm=size),
        generator,
        count,
    )


def _constant() -> tuple[bool, str]:
    """Check 12 ∫_0^½ sqrt(log(9/u)) du by its primitive in t, u = 9 e^(−t²), against the constant in use."""
    t = sp.Symbol("t", positive=True)
    u = 9 * sp.exp(-(t**2))  # so that sqrt(log(9/u)) is t
    primitive = u * t + sp.Rational(9, 2) * sp.sqrt(sp.pi) * sp.erfc(t)
    right = sp.expand(sp.diff(primitive, t) - t * sp.diff(u, t)) == 0 and sp.limit(primitive, t, sp.oo) == 0
    value = 12 * primitive.subs(t, sp.sqrt(sp.log(18)))
    held = right and abs(sp.N(value, 30) - sp.Float(dudley_constant(), 17)) < sp.Float("1e-13")
    return bool(held), f"computed: 12 ∫_0^½ sqrt(log(9/u)) du = {sp.N(value, 8)}, with the net of eq 20 at u = ε/(B R)"


def _steps() -> tuple[bool, str]:
    """Check E (Σ σ_i x_i)² = Σ x_i² by all signs, and (Σ_(j≤r) s_j²)/r falling in r for s_j² falling in j."""
    x = sp.symbols("x1:4", real=True)
    signs = list(product((-1, 1), repeat=len(x)))
    mean = sum(sum(s * value for s, value in zip(row, x, strict=True)) ** 2 for row in signs) / sp.Integer(len(signs))
    least, *more = sp.symbols("q d1:4", nonnegative=True)
    squares = [least + sum(more[j:]) for j in range(len(more) + 1)]
    falls = [
        sp.expand((r + 1) * sum(squares[:r]) - r * sum(squares[: r + 1])).is_nonnegative for r in range(1, len(squares))
    ]
    return bool(sp.expand(mean - sum(value**2 for value in x)) == 0 and all(falls)), (
        "computed for three signs and four singular values: E‖Σ σ_i X_i‖_F² = Σ ‖X_i‖_F², which gives B R/√N by "
        "Jensen, and the mean of the r largest s_j² falls with r, which gives R̂(r)/√r falling"
    )


def _growth(generator: np.random.Generator, count: int) -> Floats:
    """Return R̂(r) / R̂(r + 1), and R̂(r + 1) √r / (R̂(r) √(r + 1)): both at most 1."""
    exact, _ = _exact(generator, -(-count // (2 * min(_SHAPE) - 2)))
    per_root = exact / np.sqrt(np.arange(1, min(_SHAPE) + 1))
    ratios = np.concatenate([exact[:, :-1] / exact[:, 1:], per_root[:, 1:] / per_root[:, :-1]], axis=1)
    return np.asarray(ratios.ravel()[:count], dtype=np.float64)


def _worth_of_21() -> Found:
    """Set the printed bound beside what Dudley's integral gives and beside B R/√N, constants 1, B = R = 1."""
    shape, samples, rank = (768, 768), 100_000, 64
    printed = float(printed_rademacher_bound(rank, samples, shape=shape))
    dudley = float(low_rank_dudley_bound(rank, samples, shape=shape, frobenius_bound=1.0, input_norm=1.0))
    free = float(rank_free_rademacher_bound(samples, frobenius_bound=1.0, input_norm=1.0))
    numbers = {"printed": printed, "dudley": dudley, "rank_free": free}
    sentence = (
        f"m = n = 768, N = 100,000, r = {rank}, B = R = 1: printed {printed:,.0f}, Dudley's integral {dudley:.3g} "
        f"({dudley_constant():.2f} B R sqrt(r(m + n + 1)/N): the root was lost in print), rank-free B R/√N {free:.3g}"
    )
    # log N ≥ 1 and r(m + n) ≥ 1: above B R/√N for every N ≥ 3, so true with constant B R, and never of use
    above = printed >= free
    return Found(Truth.PROVED if above else Truth.UNDECIDED, sentence, numbers, Value.DOMINATED if above else None)


def _implied_21() -> tuple[bool, str]:
    """Check r(m + n) log N/√N ≥ 1/√N for N ≥ 3, r, m, n ≥ 1, so that eq 21 follows from the rank-free bound."""
    shift = {symbol: 1 + sp.Symbol(f"d_{symbol.name}", nonnegative=True) for symbol in (_ROWS, _COLUMNS, _RANK)}
    product = sp.expand((_RANK * (_ROWS + _COLUMNS)).subs(shift) - 1)
    return bool(product.is_positive and sp.log(3) > 1), (
        "r(m + n) log N ≥ 1 for N ≥ 3: with a constant of at least B R eq 21 is weaker than R̂ ≤ B R/√N, which has "
        "no rank in it"
    )


def _supremum() -> tuple[bool, str]:
    """Check the supremum of ⟨W, S⟩ over rank ≤ r, ‖W‖_F ≤ B for S = diag(s) and W = diag(w), as von Neumann allows.

    Cauchy and Schwarz on the r entries that w may have, by Lagrange's identity; met at w = B s/‖s‖.
    """
    s, w = sp.symbols("s1:3", positive=True), sp.symbols("w1:3", real=True)
    squares = sum(value**2 for value in w) * sum(value**2 for value in s)
    inner = sum(first * second for first, second in zip(w, s, strict=True))
    lagrange = sp.expand(squares - inner**2 - (w[0] * s[1] - w[1] * s[0]) ** 2) == 0
    norm = sp.sqrt(sum(value**2 for value in s))
    met = sp.simplify(inner.subs({w[j]: _B * s[j] / norm for j in range(2)}) - _B * norm) == 0
    ours = exact_rademacher_complexity(np.array([[[3.0, 0.0], [0.0, 1.0]]]))
    return bool(lagrange and met and np.allclose(ours, [3.0, np.sqrt(10.0)])), (
        "computed: with von Neumann's trace inequality the supremum is that of the r largest singular values, "
        "B (Σ_(j≤r) s_j²)^½ by Cauchy and "
        "Schwarz, met along the singular vectors; for one sample diag(3, 1) it is 3 at r = 1 and √10 at r = 2"
    )


_LAYER = (
    Symbol("rows", _ROWS, "m", low=1, integer=True, open=False),
    Symbol("columns", _COLUMNS, "n", low=1, integer=True, open=False),
    Symbol("rank", _RANK, "r, at most min(m, n)", low=1, integer=True, open=False),
)
_CLASS = Symbol("frobenius_bound", _B, "B, bound on ‖W‖_F", default=1.0)


def _of_layer(bound: Callable[..., Any], **fixed: Any) -> Callable[..., Any]:
    """Return a bound that takes m and n in the place of a shape."""
    return lambda rows, columns, **given: bound(shape=(int(rows), int(columns)), **given, **fixed)


DEFINITION_1 = Statement(
    slug="rademacher-complexity",
    label="Definition 1",
    title="Rademacher complexity of low-rank models",
    kind=Kind.UPPER,
    equations=(
        Equation(
            key="eq-18",
            label="eq 18",
            printed="R̂ = E sup_(rank W ≤ r) (1/n) Σ σ_i f_W(x_i)",
            corrected="the supremum over rank W ≤ r and ‖W‖_F ≤ B: (B/N) E‖Σ σ_i X_i‖_(2,r) for linear models",
            checks=(
                proof(Form.REMARK, "the supremum without a norm is infinite", _unbounded),
                proof(Form.CORRECTED, "supremum of a linear class", _supremum),
                cited(Form.CORRECTED, "⟨W, S⟩ ≤ Σ s_j(W) s_j(S)", "von Neumann 1937, trace inequality"),
            ),
            kind=Kind.DEFINITION,
            remark="the supremum names the rank only; the class F_r of the same definition has the ‖W‖_F ≤ B it needs",
        ),
        Equation(
            key="eq-21",
            label="eq 21",
            printed="R̂ ≤ O(r(m + n) log n/√n) via Dudley's integral",
            corrected="R̂ ≤ min(B R/√N, 11.7515 B R sqrt(r(m + n + 1)/N)); exact: R̂(r) grows at most like √r",
            checks=(
                proof(Form.PRINTED, "follows from the rank-free bound", _implied_21),
                computation(Form.PRINTED, "what it is worth", _worth_of_21),
                proof(Form.CORRECTED, "rank-free bound and growth", _steps),
                proof(Form.CORRECTED, "the constant of Dudley's integral", _constant),
                cited(
                    Form.CORRECTED,
                    "chaining with the factor 12 from 0 to half the diameter",
                    "Dudley 1967; Bartlett, Foster & Telgarsky 2017, Lemma A.5",
                ),
                search(Form.CORRECTED, "exact values by enumerating signs, over B R/√N", _over_rank_free),
                search(Form.CORRECTED, "the same over Dudley's bound alone, far from met", _over_dudley),
                search(Form.CORRECTED, "R̂(r) rises, R̂(r)/√r falls", _growth),
            ),
            kind=Kind.UPPER,
            remark="true with a constant B R, and not what Dudley's integral gives: a square root was lost",
            condition="models linear, inputs bounded",
        ),
    ),
    symbols=(
        *_LAYER,
        Symbol("n_samples", _N, "N, training samples", low=2, integer=True, open=False),
        _CLASS,
        Symbol("input_norm", _R, "R, root mean square of ‖X_i‖_F", default=1.0),
    ),
    printed=NumericForm(
        "B R r(m + n) log N/√N, the least constant with which it is true",
        _B * _R * _RANK * (_ROWS + _COLUMNS) * sp.log(_N) / sp.sqrt(_N),
        lambda rows, columns, rank, n_samples, frobenius_bound, input_norm: printed_rademacher_bound(
            rank, n_samples, shape=(int(rows), int(columns)), constant=frobenius_bound * input_norm
        ),
        equation="eq-21",
    ),
    corrected=NumericForm(
        "min(B R/√N, 11.7515 B R sqrt(r(m + n + 1)/N))",
        sp.Min(_B * _R / sp.sqrt(_N), dudley_constant() * _B * _R * sp.sqrt(_RANK * (_ROWS + _COLUMNS + 1) / _N)),
        _of_layer(
            lambda shape, rank, n_samples, **norms: np.minimum(
                low_rank_dudley_bound(rank, n_samples, shape=shape, **norms),
                rank_free_rademacher_bound(n_samples, **norms),
            )
        ),
    ),
    simpler=NumericForm(
        "B R/√N, without the rank",
        _B * _R / sp.sqrt(_N),
        rank_free_rademacher_bound,
    ),
    trivial=NumericForm(
        "B R",
        _B * _R,
        lambda frobenius_bound, input_norm: frobenius_bound * input_norm,
    ),
    assumptions=("linear models f_W(X) = ⟨W, X⟩", "independent samples", "‖W‖_F ≤ B"),
    references=(
        "Bartlett & Mendelson (2002), JMLR 3",
        "Dudley (1967), J. Funct. Anal. 1",
    ),
)


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


def _implied_without_log() -> tuple[bool, str]:
    """Check r(m + n)/√N ≥ 1/√N for r, m, n ≥ 1, so that the rate follows from the rank-free bound without any log N."""
    shift = {symbol: 1 + sp.Symbol(f"d_{symbol.name}", nonnegative=True) for symbol in (_ROWS, _COLUMNS, _RANK)}
    product = sp.expand((_RANK * (_ROWS + _COLUMNS)).subs(shift) - 1)
    return bool(product.is_positive), (
        "r(m + n) ≥ 1: with constants of at least 2ρBR and 3c it follows from the rank-free bound 2ρBR/√N + 3c "
        "sqrt(log(2/δ)/(2N)), with no log N, as an upper bound that the rank has no part in"
    )


def _at_most_root() -> tuple[bool, str]:
    """Check R̂(r)/√r falls: for falling s_j² the mean of the r largest does, so that R̂(2r) ≤ √2 R̂(r)."""
    least, *more = sp.symbols("q d1:4", nonnegative=True)
    squares = [least + sum(more[j:]) for j in range(len(more) + 1)]
    doubled = [sp.expand(2 * sum(squares[:r]) - sum(squares[: 2 * r])).is_nonnegative for r in (1, 2)]
    return all(doubled), (
        "computed for four singular values: doubling the rank at most doubles Σ_(j≤r) s_j², R̂(2r) ≤ √2 R̂(r): the "
        "complexity under ‖W‖_F ≤ B does not grow linearly with r(m + n)"
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
                proof(Form.PRINTED, "follows from the rank-free bound", _implied),
                cited(Form.PRINTED, "the rank-free bound itself", _SOURCE),
                computation(Form.PRINTED, "what it is worth at GPT-2's size", _vacuous),
                cited(Form.CORRECTED, "the gap of a class by its Rademacher complexity", _SOURCE),
                search(Form.CORRECTED, "exact worst gaps of a two-point problem, δ = 0.001", _threshold_gaps),
                measured_later(Form.CORRECTED, "students", "generalization gap over rank and seeds"),
            ),
            kind=Kind.UPPER,
            remark="true with large enough constants, vacuous, and dominated by a bound without the rank",
            condition="loss bounded and Lipschitz, models linear, inputs bounded",
        ),
        Equation(
            key="gap-rate-without-log",
            label="abstract, §1",
            printed="the generalization gap scales as O(r(m + n)/√n), linearly, without Theorem 2's log n",
            corrected="a bound needs neither log n nor the rank; the complexity grows at most like √r",
            checks=(proof(Form.CORRECTED, "growth with the rank", _at_most_root),),
            kind=Kind.CLAIM,
            readings=(
                Reading(
                    "upper",
                    "an upper bound up to the term with δ, for bounded Lipschitz losses of linear models",
                    (
                        proof(Form.PRINTED, "follows from the rank-free bound", _implied_without_log),
                        cited(Form.PRINTED, "the rank-free bound itself", _SOURCE),
                    ),
                ),
                Reading(
                    "growth",
                    "the complexity that bounds the gap grows linearly with r(m + n)",
                    (proof(Form.PRINTED, "growth with the rank", _at_most_root, refutes=True),),
                ),
            ),
        ),
        Equation(
            key="gap-linear-in-rank",
            label="§5.5",
            printed="the gap increases linearly with r(m + n), confirming the bound",
            corrected="an upper bound shows no scaling; under ‖W‖_F ≤ B complexity grows at most like √r",
            checks=(measured_later(Form.PRINTED, "slope", "gap over rank with an interval"),),
            kind=Kind.CLAIM,
            remark="see eq 21 for the growth of the exact complexity",
        ),
    ),
    symbols=(
        *_LAYER,
        Symbol("n_samples", _N, "N, independent samples", low=2, integer=True, open=False),
        Symbol("delta", _DELTA, "δ, probability that the bound fails", high=1.0, default=0.05),
        Symbol("complexity", _COMPLEXITY, "R̂_N, or an upper bound on it such as B R/√N", open=False),
        Symbol("lipschitz", _RHO, "ρ, Lipschitz constant of the loss", open=False, default=1.0),
        Symbol("loss_range", _LARGEST, "c, largest loss", default=1.0),
    ),
    printed=NumericForm(
        "r(m + n) log N/√N + sqrt(log(1/δ)/N), constants 1",
        _RANK * (_ROWS + _COLUMNS) * sp.log(_N) / sp.sqrt(_N) + sp.sqrt(sp.log(1 / _DELTA) / _N),
        lambda rows, columns, rank, n_samples, delta: (
            printed_generalization_bound(rank, n_samples, shape=(int(rows), int(columns)), delta=delta).gap_bound
        ),
        equation="eq-19",
    ),
    corrected=NumericForm(
        "2ρ R̂_N + 3c sqrt(log(2/δ)/(2N))",
        2 * _RHO * _COMPLEXITY + 3 * _LARGEST * sp.sqrt(sp.log(2 / _DELTA) / (2 * _N)),
        lambda n_samples, delta, complexity, lipschitz, loss_range: (
            generalization_bound(
                0.0, complexity, n_samples, delta=delta, lipschitz=lipschitz, loss_range=float(loss_range)
            ).gap_bound
        ),
    ),
    trivial=NumericForm("c, the largest loss", _LARGEST, lambda loss_range: loss_range),
    assumptions=(
        "independent samples of one distribution (documents, not the tokens of one)",
        "losses in [0, c], ρ-Lipschitz in the prediction; cross-entropy has to be clipped",
        "one linear layer",
    ),
    references=(_SOURCE,),
)


_ARC, _WAYS = sp.symbols("a d", positive=True)
_COVERING_RADIUS_SQUARED = _WAYS * (_WAYS + 2) / (12 * (_WAYS + 1))
_SMALL = 7


def _lattice_radius() -> tuple[bool, str]:
    """Check the mean of one pair over the cuts of the circle, its concavity, and its sum over pairs at equal arcs."""
    p = sp.symbols("p", positive=True, integer=True)
    pair = _ARC * (1 - _ARC) ** 2 + (1 - _ARC) * _ARC**2  # a cut inside the arc a turns the difference a into 1 − a
    concave = sp.expand(pair - _ARC * (1 - _ARC)) == 0 and sp.diff(sp.expand(pair), _ARC, 2).is_negative
    # d + 1 points with equal arcs: (d + 1)/2 pairs for each number p of arcs between, from 1 to d
    arcs = _WAYS + 1
    mean = sp.summation(pair.subs(_ARC, p / arcs), (p, 1, _WAYS)) * arcs / 2 / arcs
    return bool(concave and sp.simplify(mean - _COVERING_RADIUS_SQUARED) == 0), (
        "computed: the cuts of the circle of fractional parts reach a point of the lattice A_d* within sqrt(d(d + 2)/"
        "(12(d + 1))) of every point"
    )


def _lattice_density() -> tuple[bool, str]:
    """Enclose θ_d² < κ^(2d), κ² = πe/6, for d < 7; from 7 on Stirling's bound leaves (d + 1) e/(π d) < 1."""
    kappa = sp.pi * sp.E / 6
    small = []
    for d in range(1, _SMALL):
        volume = sp.pi ** sp.Rational(d, 2) / sp.gamma(sp.Rational(d, 2) + 1)
        density = volume**2 * _COVERING_RADIUS_SQUARED.subs(_WAYS, d) ** d * (d + 1)
        small.append(certainly(kappa**d, density))
    # ((d + 2)/(d + 1))^d < e, and (d + 1)/d falls
    rest = certainly(sp.pi, sp.E * sp.Rational(_SMALL + 1, _SMALL))
    return all(small) and rest, (
        "in interval arithmetic: the lattice A_d* covers with density at most κ^d, κ = sqrt(πe/6) = "
        f"{float(sp.sqrt(kappa)):.4f}, for d < {_SMALL} by its value and from {_SMALL} on by Stirling's bound"
    )


def _follows() -> tuple[bool, str]:
    """Compare κ(1 + √2 x) with 3x for x = B/ε ≥ 1: the first is at most κ(1 + √2) x."""
    kappa, beyond = sp.sqrt(sp.pi * sp.E / 6), sp.Symbol("y", nonnegative=True)
    linear = sp.expand((1 + sp.sqrt(2)) * (1 + beyond) - (1 + sp.sqrt(2) * (1 + beyond)))
    constant = kappa * (1 + sp.sqrt(2))
    return bool(linear.is_nonnegative and certainly(3, constant)), (
        f"two factors on lattices, squared errors add: N ≤ (κ(1 + √2 B/ε))^(r(m + n)) ≤ ({float(constant):.4f} B/ε)^(r("
        "m + n)) for every shape, rank and ε ≤ B, below eq 20 even without its + 1; up to 3B one point covers, beyond "
        "it eq 20 asks for less than one"
    )


def _entropy(factor: int) -> sp.Expr:
    return _RANK * (_ROWS + _COLUMNS + 1) * sp.log(factor * _B / _RADIUS)


def _two_factors() -> sp.Expr:
    kappa, ratio = sp.sqrt(sp.pi * sp.E / 6), _B / _RADIUS
    ambient = _ROWS * _COLUMNS * sp.log(kappa * (1 + ratio))
    return sp.Min(_RANK * (_ROWS + _COLUMNS) * sp.log(kappa * (1 + sp.sqrt(2) * ratio)), ambient)


def _lower_over_upper(generator: np.random.Generator, count: int) -> Floats:
    """Draw shapes, ranks and radii; a proved lower bound on log N over the corrected upper bound."""
    ratios = np.empty(count)
    for start in range(0, count, 500):
        m, n = (int(size) for size in generator.integers(1, 2_000, 2))
        size = min(500, count - start)
        rank = generator.integers(1, min(m, n) + 1, size)
        radius = 10.0 ** generator.uniform(-9, -1e-9, size)
        lower = log_covering_number_lower_bound(radius, shape=(m, n), rank=rank, frobenius_bound=1.0)
        upper = log_covering_number(radius, shape=(m, n), rank=rank, frobenius_bound=1.0, constant="sharpened")
        ratios[start : start + size] = lower / upper
    return ratios


COVERING_NUMBER = Statement(
    slug="covering-number",
    label="Proof of Theorem 2",
    title="Covering number of low-rank matrices",
    kind=Kind.UPPER,
    equations=(
        Equation(
            key="eq-20",
            label="eq 20",
            printed="N(F_r, ε) ≤ (3B/ε)^(r(m + n + 1))",
            corrected="N(F_r, ε) ≤ (κ(1 + √2 B/ε))^(r(m + n)) ≤ (2.881 B/ε)^(r(m + n)), κ = sqrt(πe/6), ε ≤ B",
            checks=(
                proof(Form.PRINTED, "two factors on lattices", _follows),
                proof(Form.PRINTED, "covering radius of the lattice A_d*", _lattice_radius),
                proof(Form.PRINTED, "density of the lattice A_d*", _lattice_density),
                cited(
                    Form.PRINTED,
                    "some shift of a lattice has no more points in a body than the ratio of the volumes",
                    "Rogers & Zong 1997, Mathematika 44",
                ),
                proof(Form.CORRECTED, "two factors on lattices", _follows),
                search(Form.CORRECTED, "a proved lower bound never passes it", _lower_over_upper),
            ),
            kind=Kind.UPPER,
            remark="the known net has constant 9 (Candès & Plan 2011); 3 holds, and the + 1 is not needed",
            condition="ε ≤ 3B",
        ),
    ),
    symbols=(
        *_LAYER,
        _CLASS,
        Symbol("radius", _RADIUS, "ε, radius of the cover in the Frobenius norm, below B"),
    ),
    printed=NumericForm(
        "r(m + n + 1) log(3B/ε), nats",
        _entropy(3),
        _of_layer(log_covering_number, constant="printed"),
        equation="eq-20",
    ),
    corrected=NumericForm(
        "min(r(m + n) log(κ(1 + √2 B/ε)), mn log(κ(1 + B/ε))), κ = sqrt(πe/6), nats",
        _two_factors(),
        _of_layer(log_covering_number, constant="sharpened"),
    ),
    assumptions=("ε ≤ B", "cover in the Frobenius norm"),
    references=(
        "derived in theorykit.complexity.covering",
        "Rogers & Zong (1997), Mathematika 44",
        "Conway & Sloane (1999), Sphere packings, lattices and groups, ch. 4, §6.6",
        "Candès & Plan (2011), IEEE Trans. Inf. Theory 57(4), Lemma 3.1",
    ),
)
