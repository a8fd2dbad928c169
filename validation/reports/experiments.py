"""The experiments: one folder for each statement that students can be held against."""

from __future__ import annotations

from importlib import import_module

from theorykit.errors import InputError
from theorykit.statements import find_statement
from validation.claims.experiment import Experiment

ROOMS = {
    "gradient-preservation": "lemma_1",
    "sgd-convergence": "theorem_1",
    "optimal-rank": "corollary_1",
    "generalization-gap": "theorem_2",
    "cloning-information": "theorem_3",
    "reported-results": "reported_results",
}
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
    found: Experiment = import_module(f"validation.{ROOMS[slug]}.experiment").EXPERIMENT
    return found
