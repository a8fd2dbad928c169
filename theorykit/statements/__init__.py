"""The paper as a program: every numbered equation and testable claim, as printed and as corrected, with its checks."""

from __future__ import annotations

import re

from theorykit.checks import shown
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
from theorykit.statements.statement import Equation, Form, Kind, Statement, Symbol, did_you_mean

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


_LABELS = {
    "eq": "eq",
    "equation": "eq",
    "th": "theorem",
    "thm": "theorem",
    "theorem": "theorem",
    "lem": "lemma",
    "lemma": "lemma",
    "cor": "corollary",
    "corollary": "corollary",
    "def": "definition",
    "definition": "definition",
    "assumption": "assumption",
}
_NUMBERED = re.compile(r"([a-z]*)[.\s_-]*\(?([0-9]+)\)?")


def _normal(key: str) -> str:
    """Return a name as the statements write it: ``Thm. 1`` and ``theorem1`` are theorem-1, ``(11)`` is eq-11."""
    name = key.strip().lower()
    numbered = _NUMBERED.fullmatch(name)
    label = numbered and _LABELS.get(numbered[1] or "eq")
    return f"{label}-{int(numbered[2])}" if numbered and label else name.replace(" ", "-")


def find_statement(key: str | int) -> tuple[Statement, Equation | None]:
    """Return the statement behind a slug, a label or an equation, and the equation where one was named.

    Args:
        key: ``sgd-convergence``, ``theorem-1``, ``thm1``, ``eq-11``, ``eq 11`` or ``11``.

    Raises:
        InputError: nothing has that name, or it is no name.

    Example:
        >>> find_statement("theorem-1")[0].slug, find_statement("11")[1].label
        ('sgd-convergence', 'eq 11')
    """
    if not isinstance(key, str | int) or isinstance(key, bool):
        raise InputError(f"{shown(key)} is not the name of a statement", "give theorem-1, eq-11 or 'sgd-convergence'")
    name = _normal(str(key))
    for statement in STATEMENTS:
        for equation in statement.equations:
            if equation.key == name:
                return statement, equation
        if name in statement.keys:
            return statement, None
    slugs = ", ".join(statement.slug for statement in STATEMENTS)
    near = did_you_mean(name, [known for statement in STATEMENTS for known in statement.keys])
    raise InputError(f"there is no statement {key!r}", f"{near}give one of {slugs}, theorem-1 … or eq-1 … eq-37")
