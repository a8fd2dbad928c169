"""Lemma 1 where the truth is known: ascents on losses of known smoothness, on truncation errors and on curvature."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

import theorykit as tk
from theorykit.arguments import Floats
from theorykit.verdicts import AdversarialSearch, adversarial_search, inequality_verdict
from validation.claims.experiment import Context
from validation.claims.finding import Finding, Form
from validation.claims.planted import ROUNDING, attained
from validation.measure.ascent import Points, ascend, search_result
from validation.measure.factor_gradients import Comparison, compare, truncated


def ascents(ctx: Context) -> list[Finding]:
    """Judge both forms at the end of an ascent over the factors and the centre of quadratic and Huber losses."""
    many = _Instances(ctx.generator("layers"), layers=2, rank=1, size=2)
    one = _Instances(ctx.generator("one layer"), layers=1, rank=1, size=2)
    corrected = many.search(
        lambda found, b, g: found.sum(dim=(1, 2)) / (2 * b * (b**2 * many.norms.sum() + g) * many.errors.sum()),
        lambda found, b, g: (
            found.sum(axis=(-2, -1))
            / tk.gradient_preservation_bound(
                many.errors.numpy(), many.norms.numpy(), projection_norm=b, weight_smoothness=1.0, gradient_norm=g
            )
        ),
    )
    printed = one.search(
        lambda found, b, g: found[:, 0, 0] / ((b**2 * one.norms[0] + g * b) * one.errors[0]),
        lambda found, b, g: (
            found[..., 0, 0]
            / tk.printed_gradient_bound(
                float(one.errors[0]), float(one.norms[0]), projection_norm=b, weight_smoothness=1.0, gradient_norm=g
            )
        ),
    )
    kind = "quadratic and Huber losses with L_W = 1, ascent over factors and centre: largest deviation / bound"
    return [
        searched("eq-8", f"{kind}, two layers together", corrected, Form.CORRECTED, "HOLDS"),
        searched("eq-37", f"{kind}, one factor of one layer", printed, Form.PRINTED, "VIOLATED"),
    ]


class _Instances:
    """Losses φ(Q(w − c)) in the weights w of all layers, ‖Q‖₂ = 1: 1-smooth, every second one with slopes cut off."""

    _count, _steps = 24, 80

    def __init__(self, rng: np.random.Generator, *, layers: int, rank: int, size: int) -> None:
        self.teachers = [rng.standard_normal((size, size)) for _ in range(layers)]
        self.parts = [truncated(torch.from_numpy(teacher)[None, None], rank) for teacher in self.teachers]
        self.errors = torch.cat([part.errors for part in self.parts])
        self.norms = torch.cat([part.norms for part in self.parts])
        self.shape, numbers = (rank, rank), layers * rank * rank
        mixing = rng.standard_normal((self._count, numbers, numbers))
        self.mixing = torch.from_numpy(mixing / np.linalg.norm(mixing, 2, axis=(1, 2))[:, None, None])
        self.slope = torch.from_numpy(np.where(np.arange(self._count) % 2, rng.uniform(0.05, 1, self._count), np.inf))
        drawn = [rng.standard_normal((self._count, 1, *shape)) for shape in ((rank, size), (size, rank)) * layers]
        self.start = [torch.from_numpy(part) for part in (*drawn, rng.standard_normal((self._count, numbers)))]

    def gradients(self, weights: Sequence[torch.Tensor], centre: torch.Tensor) -> list[torch.Tensor]:
        """Return Qᵀ φ'(Q(w − c)) of each layer."""
        stacked = torch.cat([weight.flatten(1) for weight in weights], dim=1) - centre
        seen = (self.mixing @ stacked[..., None])[..., 0]
        slopes = seen.clamp(-self.slope[:, None], self.slope[:, None])
        gradient = (self.mixing.mT @ slopes[..., None])[..., 0]
        pieces = torch.split(gradient, self.shape[0] * self.shape[1], dim=1)
        return [piece.reshape(weight.shape) for piece, weight in zip(pieces, weights, strict=True)]

    def compared(self, points: Points) -> Comparison:
        """Return both gradients at the points: left and right factors by turns, and the centre."""
        *factors, centre = points
        return compare(lambda weights: self.gradients(weights, centre), self.parts, factors[::2], factors[1::2])

    def search(
        self, climbed: Callable[..., torch.Tensor], judged: Callable[[Floats, Floats, Floats], Floats]
    ) -> AdversarialSearch:
        """Climb deviation / bound, written in torch, and return what the library's own functions say at the top.

        Args:
            climbed: From deviations ``[S, layers, 2]``, B ``[S]`` and G ``[S]``.
            judged: The same from arrays.
        """

        def ratio(points: Points) -> torch.Tensor:
            found = self.compared(points)
            return climbed(found.deviation, found.projection_norms.amax(dim=1), found.gradient_norms.amax(dim=1))

        top = ascend(ratio, self.start, steps=self._steps)
        *factors, centre = top.points
        lefts, rights = ([part[:, 0].numpy() for part in factors[side::2]] for side in (0, 1))

        def gradients(weights: Sequence[Floats]) -> list[Floats]:
            return [part.numpy() for part in self.gradients([torch.from_numpy(one) for one in weights], centre)]

        cuts = [
            left @ part.cut[0, 0].numpy() @ right for left, part, right in zip(lefts, self.parts, rights, strict=True)
        ]
        deviation = tk.gradient_deviation(gradients, self.teachers, lefts, rights)
        b, g = (
            np.max([np.linalg.norm(one, 2, axis=(1, 2)) for one in parts], axis=0)
            for parts in ((*lefts, *rights), gradients(cuts))
        )
        return search_result(top, judged(deviation, b, g), rounding=ROUNDING)


def nearest_matrices(ctx: Context) -> list[Finding]:
    """Judge eq 7: the truncated SVD has the error ε(r), and no matrix of that rank is nearer."""
    rng = ctx.generator("nearest")
    teacher, rank, count = rng.standard_normal((6, 5)), 2, 16
    u, s, vt = np.linalg.svd(teacher, full_matrices=False)
    least = float(tk.truncation_errors(s)[rank])
    weight = torch.from_numpy(teacher)
    start = [torch.from_numpy(rng.standard_normal((count, *shape))) for shape in ((6, rank), (rank, 5))]

    def error(points: Points) -> torch.Tensor:
        distance: torch.Tensor = torch.linalg.vector_norm(weight - points[0] @ points[1], dim=(1, 2))
        return distance

    top = ascend(lambda points: least / error(points), start, steps=120)
    found = search_result(top, least / error(top.points).numpy(), rounding=ROUNDING)
    what = "ε / ‖W_t − A B‖_F, ascent over A and B of rank r: largest ratio"
    return [
        attained(
            "eq-7",
            "‖W_t − W_t^r‖_F of the truncated SVD and ε = sqrt(Σ_(i>r) s_i²)",
            np.linalg.norm(teacher - (u[:, :rank] * s[:rank]) @ vt[:rank]),
            least,
            unit="unit of a weight",
        ),
        searched("eq-7", what, found, Form.CORRECTED, "HOLDS"),
    ]


def smoothness(ctx: Context) -> list[Finding]:
    """Judge eq 5 on ½(pq − 1)² and, corrected, on random quadratic losses."""
    rng = ctx.generator("smoothness")
    place = rng.uniform(1, 4)
    point = torch.full((2,), place, dtype=torch.float64)
    curvature = _hessian(lambda x: (x[0] * x[1] - 1) ** 2 / 2, point)
    secants = [_secant(np.sqrt(constant)) / constant for constant in (10.0, 1e3, 1e6)]
    unit = "loss per squared unit of the factors"
    return [
        below(
            "eq-5",
            "½(pq − 1)² between p = q = √L and p = q = 1, L = 10, 10³, 10⁶: least ‖∇L − ∇L'‖ / (L‖θ − θ'‖), and 1",
            min(secants),
            1.0,
            Form.PRINTED,
            ("VIOLATED",),
        ),
        attained(
            "eq-5",
            "½(pq − 1)² at p = q = t: Hessian norm and 2 L_W M² B² + G M",
            torch.linalg.matrix_norm(curvature, 2),
            tk.factored_smoothness_bound(1.0, place**2 - 1, 1.0, place),
            unit=unit,
        ),
        searched(
            "eq-5",
            "½‖P_left W_t P_right − C‖², search over all four: largest Hessian norm / (2 L_W M² B² + G M)",
            adversarial_search(_curvature, _drawn, 60, rng, refine=1, max_evaluations=120),
            Form.CORRECTED,
            "HOLDS",
        ),
    ]


def _secant(size: float) -> float:
    """Return ‖∇f(θ) − ∇f(θ')‖ / ‖θ − θ'‖ of ½(pq − 1)² between p = q = size and p = q = 1, by autograd."""
    ends = torch.tensor([[size, size], [1.0, 1.0]], dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(((ends.prod(dim=1) - 1) ** 2 / 2).sum(), ends)
    return float((slopes[0] - slopes[1]).norm() / (ends[0] - ends[1]).detach().norm())


def _hessian(loss: Callable[[torch.Tensor], torch.Tensor], point: torch.Tensor) -> torch.Tensor:
    """Return the second derivatives of a loss by all entries of a point."""
    leaf = point.detach().requires_grad_()
    (slopes,) = torch.autograd.grad(loss(leaf), leaf, create_graph=True)
    rows = [torch.autograd.grad(slope, leaf, retain_graph=True)[0].flatten() for slope in slopes.flatten()]
    return torch.stack(rows)


def _drawn(source: np.random.Generator) -> Floats:
    return source.standard_normal((4, 2, 2))


def _curvature(parts: Floats) -> float:
    """Return Hessian norm / bound of the quadratic loss; P_left, P_right, W_t and C ``[4, 2, 2]``."""
    left, right, teacher, centre = torch.from_numpy(parts)

    def loss(factors: torch.Tensor) -> torch.Tensor:
        distance: torch.Tensor = factors[0] @ teacher @ factors[1] - centre
        return distance.square().sum() / 2

    hessian = _hessian(loss, torch.stack([left, right]))
    norms = [float(torch.linalg.matrix_norm(one, 2)) for one in (left @ teacher @ right - centre, teacher, left, right)]
    bound = tk.factored_smoothness_bound(1.0, norms[0], norms[1], max(norms[2:]))
    return float(torch.linalg.matrix_norm(hessian, 2) / bound)


def below(equation: str, what: str, measured: Any, bound: Any, form: Form, expected: tuple[str, ...]) -> Finding:
    """Judge measured ≤ bound on one instance, up to rounding."""
    one, other = float(measured), float(bound)
    search = AdversarialSearch(1, 0, one / other, np.array([one, other]), reproduced=True)
    verdict = inequality_verdict(search, rounding=ROUNDING, statement=what)
    return Finding(equation, form, what, verdict, expected, measured=one, bound=other)


def searched(equation: str, what: str, found: AdversarialSearch, form: Form, expected: str) -> Finding:
    """Judge left ≤ right from the largest ratio that a search has found."""
    verdict = inequality_verdict(found, rounding=ROUNDING, least_trials=100, statement=what)
    return Finding(equation, form, what, verdict, (expected,), measured=found.largest_ratio, bound=1.0, unit="bound")


searches = (ascents, nearest_matrices, smoothness)
