"""Lemma 1 where the truth is known: the chain rule, instances that meet a bound, and the one that refutes eq 37."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

import theorykit as tk
from theorykit.arguments import Floats
from theorykit.verdicts import Instance, Verdict
from validation.claims.experiment import Context, PartResult
from validation.claims.finding import Finding, Form
from validation.claims.planted import attained, equality
from validation.lemma_1.searches import below, searches
from validation.measure.factor_gradients import truncated

Loss = Callable[[Sequence[torch.Tensor]], torch.Tensor]
Arrays = Sequence[Floats]
_UNIT = "loss per unit of a factor"
_THIN = 1e-4
"""ε over ‖W_t‖₂ of the instance on which two layers feel each other: its bound is met up to half of that."""


def run(ctx: Context) -> PartResult:
    """Judge every form on instances whose truth is known."""
    parts = (chain_rules, start_and_routes, extremal_instances, counterexample, *searches)
    return PartResult(tuple(finding for part in parts for finding in part(ctx)))


def chain_rules(ctx: Context) -> list[Finding]:
    """Judge eqs 9 and 10 against autograd."""
    rng = ctx.generator("chain rules")
    teacher, left, right = (rng.standard_normal(shape) for shape in ((5, 4), (2, 5), (4, 2)))
    by_weight, (by_left, by_right) = _autograd(_smooth_loss, teacher, left, right)
    found = tk.factor_gradients(by_weight, teacher, left, right)
    square = [rng.standard_normal((4, 4)) for _ in range(3)]
    by_square, (_, by_square_right) = _autograd(_smooth_loss, *square)
    return [
        _same("eq-9", "∇_(P_left) by eq 9 and by autograd", by_left, found[0], Form.PRINTED),
        _shapes(teacher, by_weight),
        _same(
            "eq-10",
            "∇_(P_right) by eq 10 as printed and by autograd, r = m = n = 4, where its shapes conform",
            by_square_right,
            square[0].T @ by_square,
            Form.PRINTED,
            expected=("VIOLATED",),
        ),
        _same("eq-10", "∇_(P_right) by W_tᵀ P_leftᵀ ∇_(W_s) and by autograd", by_right, found[1], Form.CORRECTED),
    ]


def start_and_routes(ctx: Context) -> list[Finding]:
    """Judge that the deviation is 0 at the SVD start, and that the instrument measures what autograd does."""
    rng = ctx.generator("routes")
    teachers = [rng.standard_normal(shape) for shape in ((6, 4), (3, 5))]
    parts = [truncated(torch.from_numpy(teacher)[None, None], 2) for teacher in teachers]
    svd = [[part.start[side][0, 0].numpy() for part in parts] for side in (0, 1)]
    drawn = [rng.standard_normal(shape) for shape in ((2, 6), (2, 3), (4, 2), (5, 2))]
    moved = drawn[:2], drawn[2:]
    there, here = (tk.gradient_deviation(_gradients_of(_smooth_loss), teachers, *one).sum() for one in (svd, moved))
    return [
        equality(
            "eq-8",
            "deviation of two layers at P_left = U_rᵀ, P_right = V_r, as a share of that at random factors, and 0",
            there / here,
            0.0,
        ),
        equality(
            "eq-8",
            "deviation of two layers at random factors by the chain rule and by autograd",
            here,
            _deviation(_smooth_loss, teachers, *moved).sum(),
            form=Form.INSTRUMENT,
            unit=_UNIT,
        ),
    ]


def extremal_instances(ctx: Context) -> list[Finding]:
    """Judge instances that meet the corrected bound, and the printed one where B = 1."""
    rng = ctx.generator("extremal")
    size, projection, slope = rng.uniform(0.5, 2, 3)
    teacher, left = size * np.eye(2), projection * np.array([[0.0, 1.0]])
    both = _deviation(_tilted(slope), [teacher], [left], [left.T])
    unit = _deviation(_tilted(slope), [teacher], [left / projection], [left.T / projection])
    given: dict[str, Any] = {"weight_smoothness": 1.0, "gradient_norm": slope}
    return [
        attained(
            "eq-8",
            "W_t = M·I, both factors along its second axis, loss ½(w + G)²: both factors' deviation and the bound",
            both.sum(),
            tk.gradient_preservation_bound([size], [size], projection_norm=projection, **given),
            unit=_UNIT,
        ),
        attained(
            "eq-37",
            "the same with factors of norm B = 1, where no power of B can be missed: one factor and eq 37 as printed",
            unit[0, 0],
            tk.printed_gradient_bound(size, size, projection_norm=1.0, **given),
            form=Form.PRINTED,
            unit=_UNIT,
        ),
        _steep_layers(rng),
        _felt_layer(rng),
    ]


def _steep_layers(rng: np.random.Generator) -> Finding:
    """Three layers with a linear loss: each deviates by 2 G B ε_l."""
    sizes, projection, slope = rng.uniform(0.5, 2, 3), *rng.uniform(0.5, 2, 2)
    lefts = [projection * np.array([[0.0, 1.0]])] * 3
    deviation = _deviation(
        lambda weights: slope * torch.stack([weight.sum() for weight in weights]).sum(),
        [size * np.eye(2) for size in sizes],
        lefts,
        [left.T for left in lefts],
    )
    bound = tk.gradient_preservation_bound(
        sizes, sizes, projection_norm=projection, weight_smoothness=0.0, gradient_norm=slope
    )
    what = "three layers truncated together, a linear loss of slope G: deviation and bound 2 B G Σε"
    return attained("eq-8", what, deviation.sum(), bound, unit=_UNIT)


def _felt_layer(rng: np.random.Generator) -> Finding:
    """The loss L w_1 w_2 with ε_1 = 0: layer 1 feels the truncation of layer 2, and the sum M_1 + M_2 counts."""
    smooth, size, projection = rng.uniform(0.5, 2, 3)
    error, first, second = _THIN * size, np.array([[1.0, 0.0]]) * projection, np.array([[0.0, 1.0]]) * projection
    deviation = _deviation(
        lambda weights: smooth * weights[0].sum() * weights[1].sum(),
        [np.diag([size, 0.0]), error * np.eye(2)],
        [first, second],
        [first.T, second.T],
    )
    bound = tk.gradient_preservation_bound(
        [0.0, error],
        [size, error],
        projection_norm=projection,
        weight_smoothness=smooth,
        gradient_norm=smooth * projection**2 * size,
    )
    what = "loss L w_1 w_2, of which only layer 2 is truncated: the deviation of both layers and the bound with Σ‖W_t‖₂"
    return attained("eq-8", what, deviation.sum(), bound, slack=_THIN, unit=_UNIT)


def counterexample(ctx: Context) -> list[Finding]:
    """Judge eq 37 on the Huber loss that refutes it as printed."""
    del ctx
    teacher, left, right = np.diag([1.0, 0.01]), np.array([[0.0, 4.0]]), np.array([[4.0], [4.0]]) / np.sqrt(2)
    slope = 0.04 * np.sqrt(2)
    deviation = _deviation(_huber(slope), [teacher], [left], [right])[0, 0]
    given: dict[str, Any] = {"projection_norm": 4.0, "weight_smoothness": 1.0, "gradient_norm": slope}
    what = "W_t = diag(1, 0.01), factors of norm 4, a Huber loss: deviation of the left factor and"
    printed = tk.printed_gradient_bound(0.01, 1.0, **given)
    corrected = tk.gradient_preservation_bound([0.01], [1.0], **given) / 2
    return [
        below("eq-37", f"{what} eq 37 as printed", deviation, printed, Form.PRINTED, ("VIOLATED",)),
        below("eq-37", f"{what} eq 37 with B³", deviation, corrected, Form.CORRECTED, ("HOLDS",)),
    ]


# losses of student weights, in torch


def _smooth_loss(weights: Sequence[torch.Tensor]) -> torch.Tensor:
    joined = torch.cat([weight.flatten() for weight in weights])
    return torch.logsumexp(1.7 * joined, 0) + joined.sum() ** 2 / 10 + (joined.sin() * joined).sum()


def _tilted(slope: float) -> Loss:
    return lambda weights: (weights[0] + slope).square().sum() / 2


def _huber(slope: float) -> Loss:
    """Return the Huber loss of w − slope, quadratic up to ± slope."""
    return lambda weights: torch.nn.functional.huber_loss(
        weights[0], torch.full_like(weights[0], slope), reduction="sum", delta=slope * (1 + 1e-12)
    )


def _gradients_of(loss: Loss) -> Callable[[Arrays], list[Floats]]:
    def gradients(weights: Arrays) -> list[Floats]:
        parts = [torch.tensor(one, requires_grad=True) for one in weights]
        return [part.numpy() for part in torch.autograd.grad(loss(parts), parts)]

    return gradients


def _autograd(loss: Loss, teacher: Floats, left: Floats, right: Floats) -> tuple[Floats, tuple[Floats, Floats]]:
    """Return the gradients by W_s and by both factors of one layer."""
    factors = [torch.tensor(one, requires_grad=True) for one in (left, right)]
    weight = factors[0] @ torch.from_numpy(teacher) @ factors[1]
    by_weight, by_left, by_right = (part.numpy() for part in torch.autograd.grad(loss([weight]), [weight, *factors]))
    return by_weight, (by_left, by_right)


def _deviation(loss: Loss, teachers: Arrays, lefts: Arrays, rights: Arrays) -> Floats:
    """Return ‖∇_P L(W_s) − ∇_P L(W̃_s)‖_F ``[layers, 2]`` by autograd through the factors: no chain rule is written."""
    factors = [[torch.tensor(one, requires_grad=True) for one in side] for side in (lefts, rights)]
    parts = [
        truncated(torch.from_numpy(one)[None, None], left.shape[0]) for one, left in zip(teachers, lefts, strict=True)
    ]
    gradients = []
    for name in ("full", "cut"):
        weights = [
            left @ getattr(part, name)[0, 0] @ right
            for left, part, right in zip(factors[0], parts, factors[1], strict=True)
        ]
        gradients.append(torch.autograd.grad(loss(weights), [*factors[0], *factors[1]]))
    norms = [float((a - b).norm()) for a, b in zip(*gradients, strict=True)]
    return np.array(norms).reshape(2, -1).T


def _same(
    equation: str, what: str, wanted: Floats, found: Floats, form: Form, expected: tuple[str, ...] = ("HOLDS",)
) -> Finding:
    """Judge whether two gradients are one: the norm of the first, and that plus the norm of their difference."""
    norm = np.linalg.norm(wanted)
    off = norm + np.linalg.norm(found - wanted)
    return attained(equation, what, norm, off, form=form, expected=expected, unit=_UNIT)


def _shapes(teacher: Floats, gradient: Floats) -> Finding:
    """Judge whether W_tᵀ ∇_(W_s) of eq 10 exists."""
    what = f"the product W_tᵀ ∇_(W_s) of eq 10 as printed, shapes {teacher.T.shape} and {gradient.shape}"
    try:
        teacher.T @ gradient
        found, reason = Instance.HOLDS, "The product exists."
    except ValueError:
        found, reason = Instance.VIOLATED, "The shapes do not conform: there is no such product."
    verdict = Verdict(what, found, reasons=(reason,), n_seeds=1, method="shapes")
    return Finding("eq-10", Form.PRINTED, what, verdict, expected=("VIOLATED",))
