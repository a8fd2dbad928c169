"""The paper as a program: every numbered equation and testable claim, as printed and as corrected, with its checks."""

from __future__ import annotations

import re

from theorykit.errors import InputError
from theorykit.statements import (
    cloning_information,
    compression_ratio,
    covering_number,
    descent_lemma,
    distillation_objective,
    generalization_gap,
    gradient_deviation,
    gradient_preservation,
    gradient_variance,
    mutual_information,
    optimal_rank,
    rademacher_complexity,
    reported_results,
    sgd_convergence,
    smoothness,
    truncation_error,
)
from theorykit.statements.statement import Equation, Form, Kind, Statement, Symbol

STATEMENTS: tuple[Statement, ...] = tuple(
    module.STATEMENT
    for module in (
        compression_ratio,
        distillation_objective,
        smoothness,
        gradient_variance,
        truncation_error,
        gradient_preservation,
        sgd_convergence,
        descent_lemma,
        optimal_rank,
        rademacher_complexity,
        generalization_gap,
        covering_number,
        mutual_information,
        cloning_information,
        gradient_deviation,
        reported_results,
    )
)
"""In the order of the paper."""

__all__ = ["STATEMENTS", "Equation", "Form", "Kind", "Statement", "Symbol", "find_statement"]


def find_statement(key: str) -> tuple[Statement, Equation | None]:
    """Return the statement behind a slug, a label or an equation, and the equation where one was named.

    Args:
        key: ``sgd-convergence``, ``theorem-1``, ``eq-11``, ``eq 11`` or ``11``.

    Raises:
        InputError: nothing has that name.

    Example:
        >>> find_statement("theorem-1")[0].slug, find_statement("11")[1].label
        ('sgd-convergence', 'eq 11')
    """
    name = str(key)
    name = re.sub(r"^(eq\.?|equation)?[\s-]*(?=\d+$)", "eq-", name.strip().lower()).replace(" ", "-")
    for statement in STATEMENTS:
        for equation in statement.equations:
            if equation.key == name:
                return statement, equation
        if name in statement.keys:
            return statement, None
    slugs = ", ".join(statement.slug for statement in STATEMENTS)
    raise InputError(f"there is no statement {key!r}", f"give one of {slugs}, theorem-1 … or eq-1 … eq-37")
