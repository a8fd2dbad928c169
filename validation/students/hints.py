"""The regressor of FitNets: from a student's guided layer to the teacher's hint layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch

from validation.students.batch import REGRESSOR, StudentBatch
from validation.students.narrow import random_basis

AnyStudents = TypeVar("AnyStudents", bound=StudentBatch)


def with_regressor(students: AnyStudents, width: int, generators: Sequence[np.random.Generator]) -> AnyStudents:
    """Return the students with a trained linear map ``[S, d_s, d_t]`` that is no part of what is deployed.

    It starts at the identity where the widths are equal, else at random orthonormal rows.

    Args:
        students: A batch.
        width: d_t, of the teacher.
        generators: One for each student.

    References:
        Romero et al. (2015), FitNets: Hints for Thin Deep Nets (arXiv 1412.6550), section 2.2.
    """
    own = students.architecture.width
    start = (
        torch.eye(width).repeat(students.count, 1, 1)
        if own == width
        else torch.stack([random_basis(width, own, generator).T for generator in generators])
    )
    like = next(iter(students.weights.values()))
    return replace(students, weights=students.weights | {REGRESSOR: start.contiguous().to(like.device)})
