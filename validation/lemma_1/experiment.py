"""The experiment on Lemma 1: how far truncating the teacher moves the gradients of the factors."""

from __future__ import annotations

from validation.claims.experiment import PLANTED, STUDENTS, TEACHER, Experiment, Part
from validation.lemma_1 import planted
from validation.lemma_1 import students as trained

_STUDENTS = Part(trained.run, students=trained.students, power=trained.power, seconds=trained.seconds)

EXPERIMENT = Experiment(
    slug="gradient-preservation",
    title="Lemma 1: gradient preservation under truncation",
    measures=(
        "The gradients of the factors P_left and P_right of square students with the teacher's matrices and with their "
        "truncations, held against eqs 8 and 37 as printed and corrected; eqs 7, 9, 10 and 5 on planted instances."
    ),
    parts={
        PLANTED: Part(planted.run, seconds=lambda settings: 3.0),
        STUDENTS: _STUDENTS,
        TEACHER: _STUDENTS,
    },
    bounds=(
        "gradient_preservation_bound",
        "printed_gradient_bound",
        "gradient_deviation",
        "truncation_errors",
        "factored_smoothness_bound",
    ),
)
