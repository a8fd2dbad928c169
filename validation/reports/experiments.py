"""The experiments: one folder for each statement that students can be held against, found by its name."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from theorykit.errors import InputError
from theorykit.statements import STATEMENTS, Statement, find_statement
from validation.claims.experiment import Experiment

_HARNESS = Path(__file__).parents[1]


def _room(statement: Statement) -> str | None:
    """Return the folder of the experiment on a statement: its label, as ``theorem_1``, or its slug with underscores."""
    names = (statement.label.lower().replace(" ", "_"), statement.slug.replace("-", "_"))
    return next((name for name in names if (_HARNESS / name / "experiment.py").exists()), None)


ROOMS = {statement.slug: room for statement in STATEMENTS if (room := _room(statement))}
"""Folder of each experiment by the slug of its statement, in the order of the paper."""
SLUGS = tuple(ROOMS)


def find_experiment(key: str) -> Experiment:
    """Return the experiment on a statement.

    Args:
        key: Slug, label or equation, as ``theorem-1``, ``eq-11`` or ``sgd-convergence``.

    Raises:
        InputError: no such statement, or none that is measured on students.
    """
    slug = key if key in ROOMS else find_statement(key)[0].slug
    if slug not in ROOMS:
        raise InputError(f"{key!r} is decided by theorykit audit, not by students", f"choose from {', '.join(SLUGS)}")
    experiment: Experiment = import_module(f"validation.{ROOMS[slug]}.experiment").EXPERIMENT
    return experiment
