"""Assumption 2, eq 6: unbiased gradients of bounded variance."""

from __future__ import annotations

import sympy as sp

from theorykit.statements.evidence import Side, proof
from theorykit.statements.statement import Equation, Kind, Statement


def _least_squares() -> tuple[bool, str]:
    """Take one-dimensional least squares (a x − b)²/2 with a² = 1 ± d at random: g = a²x − ab."""
    x, d = sp.symbols("x d", positive=True)
    gradients = [(1 + d) * x, (1 - d) * x]  # b = 0
    mean = sp.expand(sum(gradients) / 2)
    variance = sp.expand(sum((gradient - mean) ** 2 for gradient in gradients) / 2)
    held = mean == x and sp.simplify(variance - d**2 * x**2) == 0
    return bool(held), (
        "least squares with a² = 1 ± d: the gradient is unbiased and its variance d²x² grows without bound with "
        "the iterate, so that σ² is a "
        "supremum over the trajectory and has to be measured along it"
    )


STATEMENT = Statement(
    slug="gradient-variance",
    label="Assumption 2",
    title="Variance of the stochastic gradient",
    kind=Kind.DEFINITION,
    equations=(
        Equation(
            key="eq-6",
            label="eq 6",
            printed="E g = ∇L, E‖g − ∇L‖² ≤ σ²",
            corrected="σ² is the supremum over the trajectory",
            checks=(proof(Side.REMARK, "variance of a plain least-squares gradient", _least_squares),),
            kind=Kind.DEFINITION,
            remark="a standard assumption; global only where the variance does not grow with θ",
        ),
    ),
    references=("Bottou, Curtis & Nocedal (2018), Assumption 4.3, which lets the variance grow",),
)
