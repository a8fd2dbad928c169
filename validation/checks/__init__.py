"""The experiments: one file for each statement that students can be held against, under the statement's slug."""

from __future__ import annotations

from importlib import import_module

from theorykit.errors import InputError
from validation.checks.check import Check

SLUGS = (
    "gradient-preservation",
    "sgd-convergence",
    "optimal-rank",
    "generalization-gap",
    "cloning-information",
    "reported-results",
)
"""In the order of the paper."""


def find_check(key: str) -> Check:
    """Return the experiment on a statement.

    Args:
        key: Slug, label or equation, as ``theorem-1``, ``eq-11`` or ``sgd-convergence``.

    Raises:
        InputError: no such statement, or none that is measured on students.
    """
    from theorykit.statements import find_statement

    slug = key if key in SLUGS else find_statement(key)[0].slug
    if slug not in SLUGS:
        raise InputError(f"{key!r} is decided by theorykit audit, not by students", f"choose from {', '.join(SLUGS)}")
    check: Check = import_module(f"validation.checks.{slug.replace('-', '_')}").CHECK
    return check
