"""Theorem 1 (eqs 6, 11, 16, §5.4): how small SGD makes the gradient, and whether low rank gets there faster."""

from __future__ import annotations

from validation.claims.experiment import PLANTED, STUDENTS, TEACHER, Experiment, Part
from validation.theorem_1 import slopes, students
from validation.theorem_1.arms import StudentsSettings
from validation.theorem_1.planted import planted

_ON_STUDENTS = Part(
    run=students.run,
    students=students.students,
    power=slopes.power,
    settings=StudentsSettings,
    data=students.StudentsData,
)

EXPERIMENT = Experiment(
    slug="sgd-convergence",
    title="Theorem 1: convergence of SGD",
    measures="The squared gradient norm of the whole train subset, averaged over T steps of SGD, beside Δ, σ² and L "
    "measured on the same runs; and how fast AdamW students of several ranks and methods get on.",
    parts={PLANTED: Part(planted, seconds=lambda settings: 4.0), STUDENTS: _ON_STUDENTS, TEACHER: _ON_STUDENTS},
    bounds=("sgd_convergence_bound", "printed_sgd_bound", "tuned_step_size", "gradient_variance"),
)
