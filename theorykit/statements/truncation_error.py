"""Assumption 3, eq 7: the error of the best rank-r approximation, a definition and a lower bound on every student."""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from theorykit.arguments import Floats
from theorykit.spectra.spectrum import truncation_errors
from theorykit.statements.evidence import Side, cited, proof, search
from theorykit.statements.statement import Equation, Kind, Statement

_SIZE, _RANK = (6, 5), 2


def _tail() -> tuple[bool, str]:
    # the Frobenius norm does not change under rotations, so that W = diag(s) stands for every matrix
    values = sp.symbols("s1:5", positive=True)
    rest = sp.diag(*values) - sp.diag(*values[:_RANK], 0, 0)
    same = sp.expand(sum(entry**2 for entry in rest) - sum(value**2 for value in values[_RANK:])) == 0
    numbers = [4.0, 3.0, 2.0, 0.5]
    ours = float(truncation_errors(numbers)[_RANK])
    return bool(same and abs(ours - np.sqrt(4.25)) < 1e-14), (
        "W − W_r keeps the singular values behind r: ‖W − W_r‖_F² = Σ_(i>r) s_i², which is what ε is; it is met "
        "with equality"
    )


def _students(generator: np.random.Generator, count: int) -> Floats:
    """Draw matrices and rank-r students, many of them near the best one; ε / (the student's error)."""
    rows, columns = _SIZE
    matrices = generator.standard_normal((count, rows, columns)) * generator.exponential(size=(count, 1, columns)) ** 2
    u, s, vt = np.linalg.svd(matrices, full_matrices=False)
    noise = 10.0 ** generator.uniform(-6, 1, (count, 1, 1))
    left = u[:, :, :_RANK] * s[:, None, :_RANK] + noise * generator.standard_normal((count, rows, _RANK))
    right = vt[:, :_RANK] + noise * generator.standard_normal((count, _RANK, columns))
    error = np.linalg.norm(matrices - left @ right, axis=(1, 2))
    ratio: Any = np.sqrt((s[:, _RANK:] ** 2).sum(axis=1)) / error
    return np.asarray(ratio, dtype=np.float64)


STATEMENT = Statement(
    slug="truncation-error",
    label="Assumption 3",
    title="Truncation error ε of a layer",
    kind=Kind.DEFINITION,
    equations=(
        Equation(
            key="eq-7",
            label="eq 7",
            printed="‖W_t − W_t^r‖_F ≤ ε",
            corrected="ε(r) = (Σ_(i>r) s_i²)^½ ≤ ‖W_t − M‖_F for every M of rank at most r",
            checks=(
                proof(Side.REMARK, "ε is the root of the tail energy", _tail),
                cited(Side.CORRECTED, "no matrix of rank r comes nearer", "Eckart & Young 1936; Mirsky 1960"),
                search(Side.CORRECTED, "no student of rank r comes nearer than ε", _students),
            ),
            kind=Kind.DEFINITION,
            remark="met with equality by definition; it bounds a student's weight error from below, not from above",
        ),
    ),
    assumptions=("W_t^r is the truncated singular value decomposition",),
    references=("Eckart & Young (1936), Psychometrika 1(3)", "Mirsky (1960), Quart. J. Math. 11"),
)
