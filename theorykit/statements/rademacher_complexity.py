"""Definition 1 (eq 18) and eq 21: the empirical Rademacher complexity of low-rank models."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import sympy as sp

from theorykit.arguments import Floats
from theorykit.complexity import (
    dudley_constant,
    exact_rademacher_complexity,
    low_rank_dudley_bound,
    printed_rademacher_bound,
    rank_free_rademacher_bound,
)
from theorykit.statements.evidence import Found, Side, Truth, Value, cited, computation, proof, search
from theorykit.statements.statement import Equation, Form, Kind, Statement, Symbol

_ROWS, _COLUMNS, _RANK, _N, _B, _R = sp.symbols("m n r N B R", positive=True)
_SHAPE, _SAMPLES = (3, 4), 4


def _unbounded() -> tuple[bool, str]:
    scale, value = sp.symbols("s v", positive=True)
    return bool(sp.limit(scale * value, scale, sp.oo) == sp.oo), (
        "the set over which eq 18 takes the supremum holds sW with every W: (1/n) Σ σ_i f_sW(x_i) grows like s, "
        "and the supremum is "
        "infinite wherever it is not 0: the ‖W‖_F ≤ B of the class, in the same sentence, has to be read into it"
    )


def _exact(generator: np.random.Generator, count: int) -> tuple[Floats, Floats]:
    """Draw samples of N matrices; R̂ at every rank ``[count, q]`` by all 2^N signs, and the root mean square norm.

    Half of the samples are nearly equal matrices, which leave the rank-free bound the least room.
    """
    matrices = generator.standard_normal((count, _SAMPLES, *_SHAPE)) * generator.exponential(
        size=(count, _SAMPLES, 1, 1)
    )
    spread = 10.0 ** generator.uniform(-3, 0, (count, 1, 1, 1))
    equal = generator.random((count, 1, 1, 1)) < 0.5
    matrices = np.where(equal, matrices[:, :1] + spread * matrices, matrices)
    # half of the signs: the others are their negatives and have the same singular values
    signs = np.array([[1.0, *rest] for rest in product((-1.0, 1.0), repeat=_SAMPLES - 1)])
    sums = np.einsum("es,csij->ceij", signs, matrices)
    energies = np.linalg.svd(sums, compute_uv=False) ** 2
    exact = np.sqrt(np.cumsum(energies, axis=-1)).mean(axis=1) / _SAMPLES
    return exact, np.sqrt((matrices**2).sum(axis=(2, 3)).mean(axis=1))


def _over(bound: Callable[[Floats], Floats], generator: np.random.Generator, count: int) -> Floats:
    """Return exact complexities over a bound at R ``[samples, 1]``, all ranks of as many samples as it takes."""
    exact, size = _exact(generator, -(-count // min(_SHAPE)))
    return np.asarray((exact / bound(size[:, None])).ravel()[:count], dtype=np.float64)


def _over_rank_free(generator: np.random.Generator, count: int) -> Floats:
    return _over(
        lambda size: rank_free_rademacher_bound(_SAMPLES, frobenius_bound=1.0, input_norm=size), generator, count
    )


def _over_dudley(generator: np.random.Generator, count: int) -> Floats:
    ranks = np.arange(1, min(_SHAPE) + 1)
    return _over(
        lambda size: low_rank_dudley_bound(ranks, _SAMPLES, shape=_SHAPE, frobenius_bound=1.0, input_norm=size),
        generator,
        count,
    )


def _constant() -> tuple[bool, str]:
    """Integrate 12 ∫_0^½ sqrt(log(9/u)) du in symbols, by u = 9 e^(−t²), against the constant in use."""
    u, t, start = sp.symbols("u t t0", positive=True)
    root = sp.simplify(sp.sqrt(sp.log(9 / u)).subs(u, 9 * sp.exp(-(t**2))))
    part = sp.integrate(root * -sp.diff(9 * sp.exp(-(t**2)), t), (t, start, sp.oo))
    value = 12 * part.subs(start, sp.sqrt(sp.log(18)))
    held = abs(sp.N(value, 30) - sp.Float(dudley_constant(), 17)) < sp.Float("1e-13")
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


def _worth() -> Found:
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


def _implied() -> tuple[bool, str]:
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


_SYMBOLS = (
    Symbol("rows", _ROWS, "m", low=1, integer=True, open=False),
    Symbol("columns", _COLUMNS, "n", low=1, integer=True, open=False),
    Symbol("rank", _RANK, "r, at most min(m, n)", low=1, integer=True, open=False),
    Symbol("n_samples", _N, "N, training samples", low=2, integer=True, open=False),
    Symbol("frobenius_bound", _B, "B, bound on ‖W‖_F", default=1.0),
    Symbol("input_norm", _R, "R, root mean square of ‖X_i‖_F", default=1.0),
)

STATEMENT = Statement(
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
                proof(Side.REMARK, "the supremum without a norm is infinite", _unbounded),
                proof(Side.CORRECTED, "supremum of a linear class", _supremum),
                cited(Side.CORRECTED, "⟨W, S⟩ ≤ Σ s_j(W) s_j(S)", "von Neumann 1937, trace inequality"),
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
                proof(Side.PRINTED, "follows from the rank-free bound", _implied),
                computation(Side.PRINTED, "what it is worth", _worth),
                proof(Side.CORRECTED, "rank-free bound and growth", _steps),
                proof(Side.CORRECTED, "the constant of Dudley's integral", _constant),
                cited(
                    Side.CORRECTED,
                    "chaining with the factor 12 from 0 to half the diameter",
                    "Dudley 1967; Bartlett, Foster & Telgarsky 2017, Lemma A.5",
                ),
                search(Side.CORRECTED, "exact values by enumerating signs, over B R/√N", _over_rank_free),
                search(Side.CORRECTED, "the same over Dudley's bound alone, far from met", _over_dudley),
                search(Side.CORRECTED, "R̂(r) rises, R̂(r)/√r falls", _growth),
            ),
            kind=Kind.UPPER,
            remark="true with a constant B R, and not what Dudley's integral gives: a square root was lost",
            condition="models linear, inputs bounded",
        ),
    ),
    symbols=_SYMBOLS,
    printed=Form(
        "B R r(m + n) log N/√N, the least constant with which it is true",
        _B * _R * _RANK * (_ROWS + _COLUMNS) * sp.log(_N) / sp.sqrt(_N),
        lambda rows, columns, rank, n_samples, frobenius_bound, input_norm: printed_rademacher_bound(
            rank, n_samples, shape=(int(rows), int(columns)), constant=frobenius_bound * input_norm
        ),
        tuple(symbol.name for symbol in _SYMBOLS),
        equation="eq-21",
    ),
    corrected=Form(
        "min(B R/√N, 11.7515 B R sqrt(r(m + n + 1)/N))",
        sp.Min(_B * _R / sp.sqrt(_N), dudley_constant() * _B * _R * sp.sqrt(_RANK * (_ROWS + _COLUMNS + 1) / _N)),
        lambda rows, columns, rank, n_samples, frobenius_bound, input_norm: np.minimum(
            low_rank_dudley_bound(
                rank,
                n_samples,
                shape=(int(rows), int(columns)),
                frobenius_bound=frobenius_bound,
                input_norm=input_norm,
            ),
            rank_free_rademacher_bound(n_samples, frobenius_bound=frobenius_bound, input_norm=input_norm),
        ),
        tuple(symbol.name for symbol in _SYMBOLS),
    ),
    simpler=Form(
        "B R/√N, without the rank",
        _B * _R / sp.sqrt(_N),
        lambda n_samples, frobenius_bound, input_norm: rank_free_rademacher_bound(
            n_samples, frobenius_bound=frobenius_bound, input_norm=input_norm
        ),
        ("n_samples", "frobenius_bound", "input_norm"),
    ),
    trivial=Form(
        "B R",
        _B * _R,
        lambda frobenius_bound, input_norm: frobenius_bound * input_norm,
        ("frobenius_bound", "input_norm"),
    ),
    assumptions=("linear models f_W(X) = ⟨W, X⟩", "independent samples", "‖W‖_F ≤ B"),
    references=(
        "Bartlett & Mendelson (2002), JMLR 3",
        "Dudley (1967), J. Funct. Anal. 1",
    ),
)
