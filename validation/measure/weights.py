"""The weights of factored students beside the nearest that their rank allows (Eckart & Young)."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
import torch

from theorykit.arguments import Floats
from theorykit.spectra import truncation_errors
from validation.measure.samples import DEFAULT, MeasurementSettings
from validation.students.batch import stored_shapes
from validation.training.problem import Problem
from validation.training.teachers import Teacher

_errors: WeakKeyDictionary[Teacher, dict[str, Floats]] = WeakKeyDictionary()
"""ε_l(r) of each layer that was asked for: a teacher does not change."""


def weight_error(problem: Problem, settings: MeasurementSettings = DEFAULT) -> list[dict[str, dict[str, float]] | None]:
    """Compute ‖W_t − W_s‖_F of each factored layer beside the least that its rank allows.

    Frobenius norm, in the unit of the weights, of the student's merged matrix. ``least`` is ε_l(r) = sqrt(Σ_{i>r} s_i²)
    (Eckart & Young 1936; eq 7), so that the error is never below it but for rounding. It costs one SVD per layer the
    first time.

    Args:
        problem: Left as it is.
        settings: Not used.

    Returns:
        For each student, layer to ``rank``, ``error`` and ``least``; None for students without factors or of another
        shape than the teacher's.
    """
    del settings
    students, teacher = problem.students, problem.teacher
    if teacher is None or students.architecture != teacher.architecture:
        return [None] * students.count

    def row(number: int) -> dict[str, dict[str, float]] | None:
        ranks = students.ranks[number]
        with torch.no_grad():
            merged = students.merged(number)
            theirs = stored_shapes(
                teacher.architecture, {f"{name}.weight": teacher.weights[f"{name}.weight"][0] for name in ranks}
            )
        return {
            name: {
                "rank": rank,
                "error": float((theirs[f"{name}.weight"].double() - merged[f"{name}.weight"].double()).norm()),
                "least": float(_truncation_errors(teacher, name)[rank]),
            }
            for name, rank in ranks.items()
        } or None

    return problem.of_the_living(row)


def _truncation_errors(teacher: Teacher, name: str) -> Floats:
    """Return ε_l(r) for r = 0 … q."""
    known = _errors.setdefault(teacher, {})
    if name not in known:
        matrix = teacher.weights[f"{name}.weight"][0].double().numpy(force=True)
        known[name] = truncation_errors(np.linalg.svd(matrix, compute_uv=False))
    return known[name]
