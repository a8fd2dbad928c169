"""Theorem 2 and §5.5 (eqs 18 to 21): the generalization gap of low-rank models."""

from __future__ import annotations

from validation.claims.experiment import PLANTED, STUDENTS, TEACHER, Experiment, Part
from validation.theorem_2 import planted, students
from validation.theorem_2.slopes import GapSettings

_ON_STUDENTS = Part(
    run=students.run,
    students=students.students,
    power=students.power,
    seconds=lambda settings: 5.0,
    settings=GapSettings,
    data=students.StudentsData,
)

EXPERIMENT = Experiment(
    slug="generalization-gap",
    title="Generalization gap over rank and sample size",
    measures=(
        "Held-out less train loss and error of students over rank, train blocks and seeds, beside eq 19, its trivial "
        "and rank-free competitors, and the slopes that §5.5 reads from it."
    ),
    parts={
        PLANTED: Part(run=planted.run, seconds=lambda settings: 5.0),
        STUDENTS: _ON_STUDENTS,
        TEACHER: _ON_STUDENTS,
    },
    bounds=(
        "contracted_complexity",
        "dudley_entropy_integral",
        "empirical_rademacher_complexity",
        "generalization_bound",
        "log_covering_number",
        "low_rank_dudley_bound",
        "printed_generalization_bound",
        "printed_rademacher_bound",
        "rank_free_rademacher_bound",
        "vector_rademacher_complexity",
    ),
)
