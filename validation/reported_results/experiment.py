"""§5.2, §5.3 and §5.8: Tables 1 and 2 and figures 3 and 4, with seeds, intervals and equal deployed parameters."""

from __future__ import annotations

from validation.claims.experiment import PLANTED, STUDENTS, TEACHER, Experiment, Part
from validation.reported_results import design, planted, students

_TRAINED = Part(
    run=students.run,
    students=design.students,
    power=design.power,
    seconds=lambda settings: 2.0,
    settings=design.DesignSettings,
    data=students.StudentsData,
)

EXPERIMENT = Experiment(
    slug="reported-results",
    title="Methods, components and settings side by side",
    measures=(
        "Held-out losses of Table 1's methods, Table 2's ablations and figures 3 and 4 on the same seeds: paired "
        "differences, deployed and trained parameters."
    ),
    parts={PLANTED: Part(planted.run, seconds=lambda settings: 2.0), STUDENTS: _TRAINED, TEACHER: _TRAINED},
)
