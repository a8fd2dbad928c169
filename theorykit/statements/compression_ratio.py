"""§3.2 and eq 1: the student's weights P_left W_t P_right, and what the factors save."""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from theorykit.arguments import Floats
from theorykit.errors import InputError
from theorykit.statements.evidence import Check, Form, Found, Truth, computation, identity, proof
from theorykit.statements.readings import Reading
from theorykit.statements.statement import Equation, Kind, NumericForm, Statement, Symbol

_ROWS, _COLUMNS, _RANK = sp.symbols("m n r", positive=True)
WIDTH = 768


def compression_ratio(rows: Any, columns: Any, rank: Any) -> Floats:
    """Compute r(m + n)/(mn), the share of numbers that two factors of rank r keep (reading R2); an equality.

    Above 1 from the break-even rank mn/(m + n) on, where the factors are larger than the matrix.

    Args:
        rows: m, outputs.
        columns: n, inputs.
        rank: r in [1, min(m, n)]; all three broadcast.

    Returns:
        The ratio, dimensionless, in the broadcast shape.

    Raises:
        InputError: a rank outside [1, min(m, n)].

    References:
        §3.2 of arXiv 2603.22355.

    Example:
        >>> float(compression_ratio(768, 768, 384))
        1.0
    """
    m, n, r = (np.asarray(value, dtype=np.float64) for value in (rows, columns, rank))
    outside = (r < 1) | (r > np.minimum(m, n))
    if outside.any():
        wrong = np.broadcast_to(r, outside.shape)[outside][0]
        raise InputError(f"rank = {wrong:g} lies outside [1, min(m, n)]", "give a rank of the matrix")
    return np.asarray(r * (m + n) / (m * n), dtype=np.float64)


def literal_compression_ratio(rows: Any, columns: Any, rank: Any) -> Floats:
    """Compute r²/(mn), the share that remains of eq 1 read literally: the student's matrix is r × r (reading R1)."""
    ratio = np.asarray(rank, dtype=np.float64) * compression_ratio(rows, columns, rank) / np.add(rows, columns)
    return np.asarray(ratio, dtype=np.float64)


def break_even_rank(rows: Any, columns: Any) -> Floats:
    """Compute mn/(m + n): below this rank two factors hold fewer numbers than the matrix.

    Example:
        >>> [float(break_even_rank(768, width)) for width in (768, 2304, 3072)]
        [384.0, 576.0, 614.4]
    """
    m, n = (np.asarray(value, dtype=np.float64) for value in (rows, columns))
    return m * n / (m + n)


def _reached() -> tuple[bool, str]:
    """Reach an arbitrary r × r matrix: P_l = I_r U⁻¹, P_r = (Σ Vᵀ)⁺ M for the rational W_t = U Σ Vᵀ below."""
    teacher = sp.Matrix([[2, 1, 0], [0, 1, 1], [0, 0, 0]])  # rank 2
    target = sp.Matrix(2, 2, sp.symbols("t0:4"))
    left = sp.Matrix([[1, 0, 0], [0, 1, 0]])
    core = left * teacher  # 2 × 3, full row rank
    right = core.T * (core * core.T).inv() * target
    rest = (left * teacher * right - target).applyfunc(sp.simplify)
    held = rest.is_zero_matrix
    return bool(held), "P_left W_t P_right has r × r entries and reaches every r × r matrix once rank W_t ≥ r"


def _merged() -> Found:
    rank = 64
    literal, factored = (
        float(function(WIDTH, WIDTH, rank)) for function in (literal_compression_ratio, compression_ratio)
    )
    sentence = (
        f"at m = n = {WIDTH}, r = {rank} the product, an r × r matrix, keeps {literal:.4f} of the numbers and not "
        f"{factored:.4f}"
    )
    truth = Truth.REFUTED if literal != factored else Truth.PROVED
    return Found(truth, sentence, {"literal": literal, "factored": factored})


def _degrees_of_freedom() -> tuple[bool, str]:
    """Solve r(m + n − r) = mn, and count r(m + n) less the r² of (A G)(G⁻¹ B) = A B, G any regular r × r matrix."""
    free = _RANK * (_ROWS + _COLUMNS) - _RANK**2
    held = sp.expand(free - _RANK * (_ROWS + _COLUMNS - _RANK)) == 0
    held &= sp.expand(_ROWS * _COLUMNS - free - (_ROWS - _RANK) * (_COLUMNS - _RANK)) == 0
    return bool(held), (
        "r² of the r(m + n) numbers are free: A B = (A G)(G⁻¹ B); the r(m + n − r) that are left fall short of mn by "
        "(m − r)(n − r), so that they save at every rank below min(m, n)"
    )


def _break_even() -> tuple[bool, str]:
    root = sp.solve(sp.Eq(_RANK * (_ROWS + _COLUMNS) / (_ROWS * _COLUMNS), 1), _RANK)
    held = len(root) == 1 and sp.simplify(root[0] - _ROWS * _COLUMNS / (_ROWS + _COLUMNS)) == 0
    values = [float(break_even_rank(WIDTH, width)) for width in (WIDTH, 3 * WIDTH, 4 * WIDTH)]
    return bool(held), (
        f"the ratio is 1 at r = mn/(m + n): {values[0]:.1f} for GPT-2's {WIDTH}², {values[1]:.1f} for its fused "
        f"qkv, {values[2]:.1f} for its MLP"
    )


def _factors_count(side: Form) -> Check:
    left = sp.MatrixSymbol("A", _ROWS, _RANK)
    right = sp.MatrixSymbol("B", _RANK, _COLUMNS)
    return identity(
        side,
        "two factors hold r(m + n) numbers",
        lambda: sp.Integer(1) * left.shape[0] * left.shape[1] + right.shape[0] * right.shape[1],
        lambda: _RANK * (_ROWS + _COLUMNS),
    )


STATEMENT = Statement(
    slug="compression-ratio",
    label="§3.2",
    title="Student weights and compression ratio",
    kind=Kind.IDENTITY,
    equations=(
        Equation(
            key="eq-1",
            label="eq 1",
            printed="W_s = P_left W_t P_right",
            corrected="R1: r × r matrix; R2: rank-r factors of an m × n matrix; R3: one-sided projections, narrow net",
            checks=(proof(Form.PRINTED, "an r × r matrix, and every one of them", _reached),),
            remark="right algebra, ambiguous student: an r × r matrix cannot replace an m × n layer",
        ),
        Equation(
            key="compression",
            label="§3.2",
            printed="compression ratio r(m + n)/(mn) of the student of eq 1",
            corrected="multiplied out r²/(mn); as two factors r(m + n)/(mn), a saving below r = mn/(m + n); at least "
            "r(m + n − r)/(mn)",
            checks=(
                _factors_count(Form.CORRECTED),
                proof(Form.CORRECTED, "break-even rank", _break_even),
                proof(Form.CORRECTED, "the least that a matrix of rank r takes", _degrees_of_freedom),
            ),
            remark="right for a student that keeps two factors (θ of Theorem 1's proof, §5.1), not for the product",
            readings=(
                Reading(
                    "merged",
                    "the student stores W_s, the r × r matrix of eq 1",
                    (computation(Form.PRINTED, "the numbers of an r × r matrix", _merged),),
                ),
                Reading("factors", "the student stores two factors of rank r", (_factors_count(Form.PRINTED),)),
            ),
        ),
    ),
    symbols=(
        Symbol("rows", _ROWS, "m, outputs of the layer", low=1, integer=True, open=False),
        Symbol("columns", _COLUMNS, "n, inputs of the layer", low=1, integer=True, open=False),
        Symbol("rank", _RANK, "r, at most min(m, n)", low=1, integer=True, open=False),
    ),
    printed=NumericForm(
        "r(m + n)/(mn), as said of the student of eq 1",
        _RANK * (_ROWS + _COLUMNS) / (_ROWS * _COLUMNS),
        compression_ratio,
        equation="compression",
    ),
    corrected=NumericForm(
        "r²/(mn), eq 1 merged into its r × r matrix (R1); kept as two factors of an m × n matrix (R2) it costs the "
        "printed r(m + n)/(mn)",
        _RANK**2 / (_ROWS * _COLUMNS),
        literal_compression_ratio,
    ),
    trivial=NumericForm("1, the dense matrix", sp.Integer(1), lambda: 1.0),
    assumptions=("1 ≤ r ≤ min(m, n)",),
    references=("Low-Rank Clone, arXiv 2505.12781, for the one-sided reading R3",),
)
