"""The paper as a program: every numbered equation and testable claim, as printed and as corrected, with its checks."""

from __future__ import annotations

import re
from typing import Any

from theorykit.arguments import did_you_mean, shown
from theorykit.errors import InputError
from theorykit.statements import (
    compression_ratio,
    corollary_1,
    distillation_objective,
    lemma_1,
    reported_results,
    theorem_1,
    theorem_2,
    theorem_3,
)
from theorykit.statements.statement import Equation, Kind, NumericForm, Statement, Symbol

STATEMENTS: tuple[Statement, ...] = (
    compression_ratio.STATEMENT,
    distillation_objective.STATEMENT,
    theorem_1.ASSUMPTION_1,
    theorem_1.ASSUMPTION_2,
    lemma_1.ASSUMPTION_3,
    lemma_1.STATEMENT,
    theorem_1.STATEMENT,
    theorem_1.PROOF,
    corollary_1.STATEMENT,
    theorem_2.DEFINITION_1,
    theorem_2.STATEMENT,
    theorem_2.COVERING_NUMBER,
    theorem_3.DEFINITION_2,
    theorem_3.STATEMENT,
    lemma_1.APPENDIX_A,
    reported_results.STATEMENT,
)
"""In the order of the paper."""

__all__ = ["STATEMENTS", "Equation", "Kind", "NumericForm", "Statement", "Symbol", "find_statement", "register"]

_OWN: dict[str, Statement] = {}
"""Statements that are not the paper's, by slug, in the order in which they were registered."""

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
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_NUMBERED = re.compile(r"([a-z]*)[.\s_-]*\(?([0-9]+)\)?")


def _normal(key: str) -> str:
    """Return a name as the statements write it: ``Thm. 1`` and ``theorem1`` are theorem-1, ``(11)`` is eq-11."""
    name = key.strip().lower()
    numbered = _NUMBERED.fullmatch(name)
    label = numbered and _LABELS.get(numbered[1] or "eq")
    return f"{label}-{int(numbered[2])}" if numbered and label else name.replace(" ", "-")


def register(statement: Statement) -> Statement:
    """Make a statement of one's own known by its names until the process ends, beside those of the paper.

    :func:`find_statement`, ``run_audit``, ``evaluate_bound`` and the findings of experiments then know it;
    :data:`STATEMENTS` and the audit of the whole paper stay as they are. A slug that was registered before gets the new
    statement.

    Args:
        statement: Its slug, label and the keys of its equations are its names. Slug and keys are small letters and
            digits with single hyphens; all differ; and no label is one of the paper's.

    Returns:
        The statement.

    Raises:
        InputError: no statement with equations, a name that is taken, or one that cannot be asked for.

    Example:
        >>> equation = Equation("own-sum", "own sum", "a + a = 2a", "", checks=())
        >>> own = register(Statement("doubling", "Own 1", "Twice the same", Kind.IDENTITY, (equation,)))
        >>> own.slug, find_statement("own-sum")[1].printed
        ('doubling', 'a + a = 2a')
    """
    _check_types(statement)
    keys = [equation.key for equation in statement.equations]
    for key in (statement.slug, *keys):
        if not _NAME.fullmatch(key):
            hint = "write small letters and digits, with single hyphens between"
            raise InputError(f"the name {shown(key)} cannot be asked for", hint)
    for key in keys:
        if [*statement.keys].count(key) > 1:
            raise InputError(f"the name {key!r} stands for two things in {statement.slug}", "give each its own")
    others = (*STATEMENTS, *(own for slug, own in _OWN.items() if slug != statement.slug))
    taken = {key: other for other in others for key in other.keys}
    for key in statement.keys:
        if key in taken:
            raise InputError(f"the name {key!r} is taken: {taken[key].label}, {taken[key].title}", "give another one")
        if key != _normal(key):
            raise InputError(f"the name {key!r} cannot be asked for", f"write {_normal(key)!r}")
    printed = {_normal(label): paper for paper in STATEMENTS for label in _labels(paper)}
    for label in _labels(statement):
        if paper := printed.get(_normal(label)):
            raise InputError(f"the label {label!r} is the paper's: {paper.label}, {paper.title}", "give another one")
    _OWN[statement.slug] = statement
    return statement


def _labels(statement: Statement) -> list[str]:
    return [statement.label, *(equation.label for equation in statement.equations)]


def _check_types(statement: Any) -> None:
    if not isinstance(statement, Statement):
        raise InputError(f"{shown(statement)} is no statement", "give a theorykit.statements.Statement")
    equations = statement.equations
    if not (isinstance(equations, tuple) and equations and all(isinstance(part, Equation) for part in equations)):
        raise InputError(f"equations = {shown(equations)} is no tuple of equations", "give at least one Equation")
    for part, names in ((statement, ("slug", "label", "title")), *((each, ("key", "label")) for each in equations)):
        for name in names:
            text = getattr(part, name)
            if not (isinstance(text, str) and text.isprintable() and text.strip()):
                raise InputError(f"{name} = {shown(text)} is no text", f"give the {name} as one line")


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
    known = (*STATEMENTS, *_OWN.values())
    for statement in known:
        for equation in statement.equations:
            if equation.key == name:
                return statement, equation
        if name in statement.keys:
            return statement, None
    slugs = ", ".join(statement.slug for statement in STATEMENTS)
    near = did_you_mean(name, [key for statement in known for key in statement.keys])
    raise InputError(f"there is no statement {key!r}", f"{near}give one of {slugs}, theorem-1 … or eq-1 … eq-37")
