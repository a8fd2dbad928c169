"""Students by name: same width or narrower, factored or dense, from the teacher or from scratch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np
import torch

from theorykit.errors import InputError
from validation.students.batch import REGRESSOR, StudentBatch
from validation.students.factored import Ranks, Start, Statistics, factored_students
from validation.students.narrow import narrow_students, random_basis, residual_basis
from validation.students.square import square_students
from validation.training.data import Blocks

AnyStudents = TypeVar("AnyStudents", bound=StudentBatch)
KINDS = ("factored", "narrow", "square", "dense")


def make_student(teacher: Any, kind: str = "factored", rank: Ranks = 64, **options: Any) -> StudentBatch:
    """Make one student: a batch of one.

    Args:
        teacher: A Hugging Face GPT-2 or Llama-type causal language model.
        kind: ``factored``, ``narrow``, ``square`` or ``dense``.
        rank: Of all layers or of each by name; the width of a narrow or square student.
        **options: As of :func:`make_students`.
    """
    return make_students(teacher, kind, [rank], **options)


def make_students(
    teacher: Any,
    kind: str,
    ranks: Sequence[Ranks],
    *,
    start: str = "svd",
    statistics: Statistics | None = None,
    blocks: Blocks | None = None,
    generators: Sequence[np.random.Generator] = (),
) -> StudentBatch:
    """Make one student for each entry of ``ranks``.

    ``factored`` (reading R2 of eq 1): the teacher's shape, each linear layer two factors. ``narrow`` (R3, the Low-Rank
    Clone): the residual stream has r columns. ``square`` (R1, eq 1 as printed): every layer is r × r. ``dense``: the
    teacher's shape and no factors.

    Args:
        teacher: A Hugging Face GPT-2 or Llama-type causal language model.
        kind: As above.
        ranks: For each student; the widths of narrow and square students have to be equal.
        start: ``svd``, ``whitened`` (factored alone) or ``random``. For narrow and square students ``svd`` is the
            leading directions of the residual stream.
        statistics: For ``whitened``.
        blocks: Tokens ``[n, T]`` that give narrow and square students their directions.
        generators: For ``random``, one for each student.

    Raises:
        InputError: an unknown kind or start, or what the students themselves refuse.
    """
    if kind == "factored":
        return factored_students(teacher, ranks, start=cast(Start, start), statistics=statistics, generators=generators)
    if kind == "dense":
        if start == "whitened":
            raise InputError("start = 'whitened' is for factored students", "choose svd or random")
        return factored_students(teacher, [{} for _ in ranks], start=cast(Start, start), generators=generators)
    if kind not in KINDS:
        raise InputError(f"student = {kind!r} is unknown", f"choose from {', '.join(KINDS)}")
    width = _one_width(kind, ranks)
    if start not in ("svd", "random"):
        raise InputError(f"start = {start!r} is not for {kind} students", "choose svd or random")
    if start == "svd" and blocks is None:
        raise InputError(f"a {kind} student that starts at svd needs blocks of tokens", "give some, or start = random")
    basis = residual_basis(teacher, blocks, width) if start == "svd" and blocks is not None else None
    make = narrow_students if kind == "narrow" else square_students
    return make(teacher, width, len(ranks), basis=basis, generators=generators)


def _one_width(kind: str, ranks: Sequence[Ranks]) -> int:
    if any(isinstance(rank, Mapping) for rank in ranks):
        raise InputError(f"{kind} students have one width and not a rank for each layer", "give one rank")
    if not ranks or len({cast(int, rank) for rank in ranks}) != 1:
        raise InputError(
            f"{kind} students of widths {tuple(ranks)} are no batch", "give one width, or one run for each"
        )
    return cast(int, ranks[0])


def with_regressor(students: AnyStudents, width: int, generators: Sequence[np.random.Generator]) -> AnyStudents:
    """Return the students with the regressor of FitNets ``[S, d_s, d_t]``, trained and no part of what is deployed.

    It maps a student's guided layer to the teacher's hint layer, and starts at the identity where the widths are equal,
    else at random orthonormal rows.

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
