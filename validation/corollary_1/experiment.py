"""Corollary 1 (eq 17): how the best rank grows with the number of samples, and whether there is one."""

from __future__ import annotations

from validation.claims.experiment import PLANTED, STUDENTS, TEACHER, Experiment, Part
from validation.claims.grids import GridSettings
from validation.corollary_1 import students
from validation.corollary_1.planted import planned_power, planted

_ON_STUDENTS = Part(
    run=students.run,
    students=students.students,
    power=students.power,
    seconds=lambda settings: 20.0,
    settings=GridSettings,
    data=students.StudentsData,
)

EXPERIMENT = Experiment(
    slug="optimal-rank",
    title="Optimal rank (Corollary 1)",
    measures=(
        "held-out loss over rank and number of train blocks: whether it turns, where it is least, and how that grows, "
        "for labels, soft targets and both"
    ),
    parts={
        PLANTED: Part(run=planted, power=lambda settings: planned_power(), seconds=lambda settings: 4.0),
        STUDENTS: _ON_STUDENTS,
        TEACHER: _ON_STUDENTS,
    },
    bounds=("optimal_rank", "estimation_loss", "tail_energies", "truncation_errors"),
)
