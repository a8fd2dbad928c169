"""Eq 20: the covering number of low-rank matrices, called known and not known with its constant."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import sympy as sp

from theorykit.arguments import Floats
from theorykit.complexity import log_covering_number, log_covering_number_lower_bound, printed_covering_is_proved
from theorykit.complexity.covering import Constant
from theorykit.statements.evidence import Found, Side, Truth, cited, computation, proof, search
from theorykit.statements.statement import Equation, Form, Kind, Statement, Symbol

_ROWS, _COLUMNS, _RANK, _BOUND, _RADIUS = sp.symbols("m n r B epsilon", positive=True)


def _where_proved() -> Found:
    radii = np.array([0.05, 0.17, 0.3, 0.9])
    shape, low, high = (768, 768), 8, 700
    small, large = (
        printed_covering_is_proved(radii, shape=shape, rank=rank, frobenius_bound=1.0) for rank in (low, high)
    )
    sentence = (
        "at 768 × 768, B = 1: eq 20 follows from a proved net at ε = "
        f"{', '.join(f'{value:g}' for value in radii[small])} for r = {low} and at "
        f"{int(large.sum())} of {radii.size} radii for r = {high}; between 0.17 B and B at small ranks it is "
        "neither proved nor refuted"
    )
    truth = Truth.PROVED if small.all() and large.all() else Truth.UNDECIDED
    return Found(truth, sentence)


def _entropy(factor: int) -> sp.Expr:
    return _RANK * (_ROWS + _COLUMNS + 1) * sp.log(factor * _BOUND / _RADIUS)


def _nets() -> tuple[bool, str]:
    """Check the sizes of the three nets: relative radius ε/(3B), at most (1 + 6B/ε)^(rm + rn + r), and 1 + 6x ≤ 9x."""
    x = sp.Symbol("x", positive=True)  # B/ε ≥ 1
    exponent = sp.expand(_RANK * _ROWS + _RANK * _COLUMNS + _RANK - _RANK * (_ROWS + _COLUMNS + 1))
    slack = sp.expand((9 * x) - (1 + 6 * x)).subs(x, 1 + sp.Symbol("y", nonnegative=True))
    errors = sum([sp.Rational(1, 3)] * 3)
    return bool(exponent == 0 and sp.expand(slack).is_positive and errors == 1), (
        "nets of both orthonormal factors and of the diagonal at ε/(3B): errors add to ε, (1 + 6B/ε)^(r(m + n + "
        "1)) ≤ (9B/ε)^…"
    )


def _lower_over_upper(generator: np.random.Generator, count: int) -> Floats:
    """Draw shapes, ranks and radii; a proved lower bound on log N over the corrected upper bound."""
    ratios = np.empty(count)
    for start in range(0, count, 500):
        m, n = (int(size) for size in generator.integers(1, 2_000, 2))
        size = min(500, count - start)
        rank = generator.integers(1, min(m, n) + 1, size)
        radius = 10.0 ** generator.uniform(-9, -1e-9, size)
        lower = log_covering_number_lower_bound(radius, shape=(m, n), rank=rank, frobenius_bound=1.0)
        ratios[start : start + size] = lower / log_covering_number(radius, shape=(m, n), rank=rank, frobenius_bound=1.0)
    return ratios


def _evaluate(constant: Constant) -> Callable[..., Floats]:
    def evaluate(rows: Floats, columns: Floats, rank: Floats, frobenius_bound: Floats, radius: Floats) -> Floats:
        shape = (int(rows), int(columns))
        return np.asarray(
            log_covering_number(radius, shape=shape, rank=rank, frobenius_bound=frobenius_bound, constant=constant)
        )

    return evaluate


_ARGUMENTS = ("rows", "columns", "rank", "frobenius_bound", "radius")

STATEMENT = Statement(
    slug="covering-number",
    label="Proof of Theorem 2",
    title="Covering number of low-rank matrices",
    kind=Kind.UPPER,
    equations=(
        Equation(
            key="eq-20",
            label="eq 20",
            printed="N(F_r, ε) ≤ (3B/ε)^(r(m + n + 1))",
            corrected="N(F_r, ε) ≤ (9B/ε)^(r(m + n + 1)) for ε ≤ B",
            checks=(
                computation(Side.PRINTED, "where the constant 3 follows from a proof", _where_proved),
                proof(Side.CORRECTED, "the net of Candès and Plan", _nets),
                cited(
                    Side.CORRECTED,
                    "a unit ball of k dimensions has an ε-net of (1 + 2/ε)^k points",
                    "Vershynin 2018, Cor. 4.2.13",
                ),
                search(Side.CORRECTED, "a proved lower bound never passes it", _lower_over_upper),
            ),
            kind=Kind.UPPER,
            remark="called known; the known constant is 9",
        ),
    ),
    symbols=(
        Symbol("rows", _ROWS, "m", low=1, integer=True, open=False),
        Symbol("columns", _COLUMNS, "n", low=1, integer=True, open=False),
        Symbol("rank", _RANK, "r, at most min(m, n)", low=1, integer=True, open=False),
        Symbol("frobenius_bound", _BOUND, "B, bound on ‖W‖_F", default=1.0),
        Symbol("radius", _RADIUS, "ε, radius of the cover in the Frobenius norm, below B"),
    ),
    printed=Form("r(m + n + 1) log(3B/ε), nats", _entropy(3), _evaluate("printed"), _ARGUMENTS, equation="eq-20"),
    corrected=Form("r(m + n + 1) log(9B/ε), nats", _entropy(9), _evaluate("provable"), _ARGUMENTS),
    assumptions=("ε ≤ B", "cover in the Frobenius norm"),
    references=("Candès & Plan (2011), IEEE Trans. Inf. Theory 57(4), Lemma 3.1",),
)
