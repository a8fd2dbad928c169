"""How far truncating the teacher moves the gradients of a square student's factors: the left side of Lemma 1."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from theorykit.convergence import gradient_preservation_bound
from validation.measure.ascent import Points, ascend
from validation.measure.constants import on_products
from validation.measure.factor_gradients import (
    Comparison,
    Matrices,
    TeacherLayer,
    WeightGradients,
    compare,
    joint_distance,
    students,
    truncated,
)
from validation.measure.samples import DEFAULT, MeasurementSettings, mean_gradient, train_sample
from validation.students.architecture import Weights
from validation.students.batch import StudentBatch
from validation.students.square import LEFT, RIGHT, SquareStudents
from validation.training.losses import LossWeights
from validation.training.problem import Problem

_PIECES = 4
"""Of the segment from W̃_s to W_s, each of which has a secant."""
_ASCENT_STEPS = 20
_NO_FACTORS = {"failure": "no W_t stands between the factors of these students: Lemma 1 is about square ones"}


def gradient_deviation(problem: Problem, settings: MeasurementSettings = DEFAULT) -> list[dict[str, Any] | None]:
    """Measure ‖∇_P L(W_s) − ∇_P L(W̃_s)‖_F of each layer and factor, all layers truncated to the students' rank.

    An equality up to float32: L is the mean of eq 2 over the train sample as a function of the layers' matrices, and
    W̃_s = P_left W_t^r P_right. Beside it stands what its bounds need: ε_l, ‖W_t‖₂, the spectral norms of the factors,
    ‖∇_{W_s}L‖₂ at W̃_s, and the largest secant ‖Δ∇‖ / ‖ΔW‖ along the segment, which is at most L_W. It costs seven
    gradients over the sample and an SVD per layer, at the start of a training nine gradients.

    Args:
        problem: Left as it is.
        settings: ``blocks``.

    Returns:
        For each student ``layers``, ``deviation`` and ``trivial`` (the sum of both norms) ``[layers, 2]``, left and
        right; ``truncation_errors``, ``teacher_norms``, ``projection_norms`` and ``gradient_norms`` ``[layers]``;
        ``smoothness``, the secant; at step 0 ``svd_start``: deviation and trivial summed, were P_left = U_rᵀ and
        P_right = V_r in every layer. ``failure`` for students that are not square.
    """
    if not isinstance(problem.students, SquareStudents):
        return problem.of_the_living(lambda number: dict(_NO_FACTORS))
    setting = _Setting(problem, problem.students)
    lefts, rights = setting.factors
    compared = compare(setting.gradients(settings), setting.layers, lefts, rights)
    steepest = _steepest(setting.gradients(settings), setting.layers, lefts, rights)
    start = None
    if problem.step == 0:
        svd = [
            [layer.start[side].expand(len(part), -1, -1, -1) for layer, part in zip(setting.layers, lefts, strict=True)]
            for side in (0, 1)
        ]
        start = compare(setting.gradients(settings), setting.layers, *svd)

    def row(number: int) -> dict[str, Any]:
        own = {"layers": setting.titles} | setting.constants | _numbers(compared, number)
        own["smoothness"] = float(torch.maximum(steepest, compared.secant)[number])
        if start is not None:
            own["svd_start"] = {name: float(getattr(start, name)[number].sum()) for name in ("deviation", "trivial")}
        return own

    return problem.of_the_living(row)


def deviation_ascent(problem: Problem, settings: MeasurementSettings = DEFAULT) -> list[dict[str, Any] | None]:
    """Search around the trained student's factors for the largest deviation over its bound (Lemma 1, corrected).

    Gradient ascent over all factors at once, from where training ended: at the last step alone. L_W is the secant
    from W̃_s to W_s, the least that the proof of the lemma allows. It costs as many second derivatives as steps, of
    small students: fused attention is off.

    Args:
        problem: Left as it is.
        settings: ``hessian_blocks``: blocks whose mean loss is looked at.

    Returns:
        For each student ``start`` and ``largest`` ratio, ``n_trials`` and ``n_blocks``; None before the last step,
        ``failure`` for students that are not square.
    """
    if not isinstance(problem.students, SquareStudents):
        return problem.of_the_living(lambda number: dict(_NO_FACTORS))
    if problem.step < problem.plan.steps:
        return [None] * problem.students.count
    setting = _Setting(problem, problem.students)
    sample = train_sample(problem, settings.hessian_blocks)
    size = min(map(len, sample))
    tokens = torch.from_numpy(np.array(problem.blocks[np.stack([blocks[:size] for blocks in sample])]))
    weight_gradients = setting.curved_gradients(tokens.to(problem.device, torch.int64))
    errors, norms = (
        torch.cat([getattr(layer, name) for layer in setting.layers]).sum() for name in ("errors", "norms")
    )

    def ratio(points: Points) -> torch.Tensor:
        compared = compare(weight_gradients, setting.layers, points[::2], points[1::2])
        largest, slope = compared.projection_norms.amax(dim=1), compared.gradient_norms.amax(dim=1)
        return compared.deviation.sum(dim=(1, 2)) / (
            2 * largest * (compared.secant * largest**2 * norms + slope) * errors
        )

    with sdpa_kernel(SDPBackend.MATH):
        start = [part for pair in zip(*setting.factors, strict=True) for part in pair]
        top = ascend(ratio, start, steps=_ASCENT_STEPS)
        compared = compare(weight_gradients, setting.layers, top.points[::2], top.points[1::2])

    def row(number: int) -> dict[str, Any]:
        own = _numbers(compared, number)
        bound = gradient_preservation_bound(
            setting.constants["truncation_errors"],
            setting.constants["teacher_norms"],
            projection_norm=max(own["projection_norms"]),
            weight_smoothness=float(compared.secant[number].detach()),
            gradient_norm=max(own["gradient_norms"]),
        )
        return {
            "start": float(top.start[number]),
            "largest": float(np.sum(own["deviation"]) / bound),
            "n_trials": top.n_trials // problem.students.count,
            "n_blocks": size,
        }

    return problem.of_the_living(row)


class _Setting:
    """What Lemma 1 is about in a batch of square students: layers, factors, and the loss as a function of W_s."""

    def __init__(self, problem: Problem, own: SquareStudents) -> None:
        self._problem, self._own = problem, own
        self.names = [f"{layer}.weight" for layer in own.architecture.linear]
        width = own.architecture.width
        self.layers = [truncated(own.teacher[name], width) for name in self.names]
        self.factors = tuple(
            [own.weights[name + side].detach().double() for name in self.names] for side in (LEFT, RIGHT)
        )
        self._dense = on_products(own, own.effective())
        signals = problem.objective.clone_signals or own.default_signals
        self._objective: LossWeights = replace(problem.objective, clone_signals=signals)

    @property
    def titles(self) -> list[str]:
        """Return the names of the layers; GPT-2's c_attn is three."""
        parts = {name: len(layer.norms) for name, layer in zip(self.names, self.layers, strict=True)}
        return [
            name.removesuffix(".weight") + (f"[{part}]" if count > 1 else "")
            for name, count in parts.items()
            for part in range(count)
        ]

    @property
    def constants(self) -> dict[str, list[float]]:
        """Return ε_l and ‖W_t‖₂."""
        return {
            name: torch.cat([getattr(layer, part) for layer in self.layers]).tolist()
            for name, part in (("truncation_errors", "errors"), ("teacher_norms", "norms"))
        }

    def gradients(self, settings: MeasurementSettings) -> WeightGradients:
        """Return what takes W_s to the gradients of the mean loss over the train sample."""
        sample = train_sample(self._problem, settings.blocks)

        def gradients_at(weights: Matrices) -> Matrices:
            stored = {name: part.detach().requires_grad_() for name, part in self._stored(weights).items()}
            gradients = mean_gradient(self._problem, sample, stored, self._with(stored), self._objective)
            return self._read(gradients)

        return gradients_at

    def curved_gradients(self, tokens: torch.Tensor) -> WeightGradients:
        """Return the same on some tokens ``[S, b, T]``, differentiable."""

        def gradients_at(weights: Matrices) -> Matrices:
            stored = {name: part.requires_grad_() for name, part in self._stored(weights).items()}
            loss = self._problem.loss(tokens, self._objective, self._with(stored))[0].total.sum()
            gradients = torch.autograd.grad(loss, list(stored.values()), create_graph=True)
            return self._read(dict(zip(stored, gradients, strict=True)))

        return gradients_at

    def _with(self, stored: Weights) -> StudentBatch:
        return replace(self._dense, weights=self._dense.weights | stored)

    def _stored(self, weights: Matrices) -> Weights:
        """Return W_s ``[S, parts, out, in]`` as the forward pass has it, ``[S, in, parts · out]`` in float32."""
        like = self._dense.weights
        return {
            name: part.permute(0, 3, 1, 2).flatten(2).to(like[name].dtype)
            for name, part in zip(self.names, weights, strict=True)
        }

    def _read(self, gradients: Weights) -> Matrices:
        """Return gradients in the shapes of W_s, in float64."""
        return [
            torch.stack(gradients[name].double().chunk(len(layer.norms), dim=2), dim=1).mT
            for name, layer in zip(self.names, self.layers, strict=True)
        ]


def _steepest(
    weight_gradients: WeightGradients, layers: list[TeacherLayer], lefts: Matrices, rights: Matrices
) -> torch.Tensor:
    """Return the largest secant of the pieces of the segment from W̃_s to W_s ``[S]``."""
    full, cut = (students(layers, lefts, rights, truncate=truncate) for truncate in (False, True))
    secants = []
    before = weight_gradients(cut)
    for piece in range(1, _PIECES + 1):
        share = piece / _PIECES
        after = weight_gradients([b + share * (a - b) for a, b in zip(full, cut, strict=True)])
        secants.append(joint_distance(after, before) * _PIECES / joint_distance(full, cut))
        before = after
    return torch.stack(secants).amax(dim=0)


def _numbers(compared: Comparison, number: int) -> dict[str, Any]:
    names = ("deviation", "trivial", "projection_norms", "gradient_norms")
    return {name: getattr(compared, name)[number].tolist() for name in names}
