"""The experiment on Lemma 1: how far truncating the teacher moves the gradients of the factors."""

from __future__ import annotations

from validation.claims.experiment import PLANTED, STUDENTS, TEACHER, Experiment, Part
from validation.lemma_1 import planted, students

_ON_STUDENTS = Part(
    run=students.run,
    students=students.students,
    power=students.power,
    seconds=lambda settings: 0.5,  # judging is nothing beside training and measuring
    settings=students.StudentsSettings,
)

EXPERIMENT = Experiment(
    slug="gradient-preservation",
    title="Lemma 1: gradient preservation under truncation",
    measures=(
        "The gradients of the factors P_left and P_right of square students with the teacher's matrices and with their "
        "truncations, held against eqs 8 and 37 as printed and corrected; eqs 7, 9, 10 and 5 on planted instances."
    ),
    parts={
        PLANTED: Part(planted.run, seconds=lambda settings: 3.0),
        STUDENTS: _ON_STUDENTS,
        TEACHER: _ON_STUDENTS,
    },
    bounds=(
        "gradient_preservation_bound",
        "printed_gradient_bound",
        "gradient_deviation",
        "truncation_errors",
        "factored_smoothness_bound",
    ),
)
