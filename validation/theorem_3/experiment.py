"""Theorem 3 and §5.7: what a clone loss says about mutual information, and whether cloning raises it."""

from __future__ import annotations

from validation.claims.experiment import PLANTED, STUDENTS, TEACHER, Experiment, Part
from validation.theorem_3 import planted, students
from validation.theorem_3.layers import PairSettings

_ON_STUDENTS = Part(
    run=students.run,
    students=students.students,
    power=students.power,
    seconds=students.seconds,
    settings=PairSettings,
    data=students.StudentsData,
)

EXPERIMENT = Experiment(
    slug="cloning-information",
    title="Activation cloning and mutual information",
    measures=(
        "Information of teacher and student states at a stated noise, clone losses and rate–distortion bounds, on "
        "pairs of students that differ in the clone loss alone."
    ),
    parts={
        PLANTED: Part(planted.run, seconds=lambda settings: 7.0, settings=planted.PlantedSettings),
        STUDENTS: _ON_STUDENTS,
        TEACHER: _ON_STUDENTS,
    },
    bounds=(
        "rate_distortion",
        "distortion_rate",
        "cloning_information_bound",
        "printed_cloning_bound",
        "gaussian_mutual_information",
        "shannon_lower_bound",
        "plug_in_bias",
        "linear_decoder_information_bound",
    ),
)
