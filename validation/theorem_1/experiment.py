"""Theorem 1 (eqs 6, 11, 16, §5.4): how small SGD makes the gradient, and whether low rank gets there faster."""

from __future__ import annotations

from validation.claims.experiment import PLANTED, STUDENTS, TEACHER, Experiment, Part, Settings
from validation.theorem_1 import students as trained
from validation.theorem_1.planted import planted
from validation.theorem_1.slopes import power


def _seconds(settings: Settings) -> float:
    del settings
    return 4.0


_ON_STUDENTS = Part(run=trained.run, students=trained.students, power=power, seconds=lambda settings: 1.0)

EXPERIMENT = Experiment(
    slug="sgd-convergence",
    title="Theorem 1: convergence of SGD",
    measures="The squared gradient norm of the whole train subset, averaged over T steps of SGD, beside Δ, σ² and L "
    "measured on the same runs; and how fast AdamW students of several ranks and methods get on.",
    parts={PLANTED: Part(run=planted, seconds=_seconds), STUDENTS: _ON_STUDENTS, TEACHER: _ON_STUDENTS},
    bounds=("sgd_convergence_bound", "printed_sgd_bound", "tuned_step_size", "gradient_variance"),
)
