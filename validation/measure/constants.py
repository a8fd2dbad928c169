"""What the bounds of Lemma 1 and of the smoothness need of a student's weights, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from theorykit.convergence import measured_constants
from validation.measure.samples import DEFAULT, MeasurementSettings, mean_gradient, train_sample
from validation.students.architecture import Weights
from validation.students.batch import StudentBatch
from validation.students.factored import FactoredStudents
from validation.students.forward import Output
from validation.students.square import LEFT, RIGHT, SquareStudents
from validation.training.problem import Problem


def layer_constants(problem: Problem, settings: MeasurementSettings = DEFAULT) -> list[dict[str, Any] | None]:
    """Measure ε_l, ‖W_t‖₂, the factors' norms and ‖∇_{W_s}L‖₂ of each layer, in the units of the weights.

    Equalities (:func:`theorykit.convergence.measured_constants`), the gradient that of eq 2's mean over the train
    sample; B, M and G are the maxima over the layers. Square students (R1) are what Lemma 1 is about: W_s =
    P_left W_t P_right. In factored students (R2) W_s = P_left P_right has no W_t between its factors: the norms are
    those of the factors that are trained, and ε_l is at the student's rank. It costs a gradient over the train sample
    by the products of the factors, and four SVDs per layer and student.

    Args:
        problem: Left as it is.
        settings: ``blocks``.

    Returns:
        For each student ``layers`` (``c_attn[0]`` to ``[2]`` are the three parts of a square student's) and the fields
        of :class:`theorykit.convergence.LayerConstants`; None for students that are neither.
    """
    students = problem.students
    made = _square(students) if isinstance(students, SquareStudents) else _factored(problem)
    if made is None:
        return [None] * students.count
    dense, layers = made
    objective = replace(problem.objective, clone_signals=problem.objective.clone_signals or students.default_signals)
    products = {name: dense.weights[name].requires_grad_() for name in dict.fromkeys(layer.name for layer in layers[0])}
    gradients = mean_gradient(problem, train_sample(problem, settings.blocks), products, dense, objective)

    def row(number: int) -> dict[str, Any]:
        own = layers[number]
        constants = measured_constants(
            [layer.teacher for layer in own],
            [layer.left for layer in own],
            [layer.right for layer in own],
            [gradients[layer.name][number].chunk(layer.parts, dim=1)[layer.part] for layer in own],
            ranks=[layer.rank for layer in own],
        )
        return {"layers": [layer.title for layer in own]} | constants.to_dict()

    return problem.of_the_living(row)


@dataclass(frozen=True, eq=False)
class _Layer:
    """One layer W_s of one student, part of the product ``name`` ``[S, in, parts · out]``."""

    name: str
    teacher: torch.Tensor
    left: torch.Tensor
    right: torch.Tensor
    rank: int
    part: int = 0
    parts: int = 1

    @property
    def title(self) -> str:
        layer = self.name.removesuffix(".weight")
        return layer if self.parts == 1 else f"{layer}[{self.part}]"


@dataclass(frozen=True, eq=False)
class _MultipliedOut(StudentBatch):
    """Students that run on products of factors; everything else is as ``original`` has it."""

    original: StudentBatch

    def compared(
        self, own: Output, teacher: Output, names: Sequence[str]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        return self.original.compared(own, teacher, names)


def on_products(students: StudentBatch, weights: Weights) -> StudentBatch:
    """Return students that run on dense weights ``[S, …]``, products of their factors, in place of the factors."""
    detached = {name: part.detach() for name, part in weights.items()}
    return _MultipliedOut(students.architecture, detached, students.ranks, students)


def _square(students: SquareStudents) -> tuple[StudentBatch, list[list[_Layer]]]:
    with torch.no_grad():
        dense = on_products(students, students.effective())
    layers = [
        [
            _Layer(name, matrix, students.weights[name + LEFT][number, part], right[part], right.shape[-1], part, parts)
            for name in (f"{layer}.weight" for layer in students.architecture.linear)
            for right in (students.weights[name + RIGHT][number],)
            for parts in (len(right),)
            for part, matrix in enumerate(students.teacher[name][0])
        ]
        for number in range(students.count)
    ]
    return dense, layers


def _factored(problem: Problem) -> tuple[StudentBatch, list[list[_Layer]]] | None:
    students, teacher = problem.students, problem.teacher
    if teacher is None or not isinstance(students, FactoredStudents) or not any(students.ranks):
        return None
    weights = dict(students.weights)
    for name in students.ranks[0]:
        right, left, mask = (weights.pop(f"{name}.{part}", None) for part in ("right", "left", "mask"))
        assert right is not None
        assert left is not None
        weights[f"{name}.weight"] = torch.bmm(right if mask is None else right * mask, left)
    layers = []
    for number, ranks in enumerate(students.ranks):
        own = students.deployed(number)
        layers.append(
            [
                _Layer(
                    f"{name}.weight",
                    teacher.weights[f"{name}.weight"][0],
                    own[f"{name}.left"],
                    own[f"{name}.right"],
                    rank,
                )
                for name, rank in ranks.items()
            ]
        )
    return on_products(students, weights), layers
