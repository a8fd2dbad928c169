"""Lemma 1 where the truth is known: chain rules, instances that meet a bound or refute it, ascents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

import theorykit as tk
from theorykit.arguments import Floats
from theorykit.verdicts import AdversarialSearch, Form, Instance, adversarial_search, inequality_verdict
from validation.claims.experiment import Context, PartResult
from validation.claims.finding import Finding, stated
from validation.claims.planted import ROUNDING, attained, equality
from validation.measure.ascent import Points, ascend, search_result
from validation.measure.factor_gradients import Comparison, compare, truncated

Loss = Callable[[Sequence[torch.Tensor]], torch.Tensor]
Arrays = Sequence[Floats]
_UNIT = "loss per unit of a factor"
_THIN = 1e-4
"""ε over ‖W_t‖₂ of the instance on which two layers feel each other: its bound is met up to half of that."""
_EXPECTED = {Form.PRINTED: ("VIOLATED",), Form.CORRECTED: ("HOLDS",)}
"""Of the inequalities: each printed one has a counterexample here."""


def run(ctx: Context[Any]) -> PartResult:
    """Judge every form on instances whose truth is known."""
    parts = (chain_rules, start_and_routes, extremal_instances, counterexample, ascents, nearest_matrices, smoothness)
    return PartResult(tuple(finding for part in parts for finding in part(ctx)))


def chain_rules(ctx: Context[Any]) -> list[Finding]:
    """Judge eqs 9 and 10 against autograd."""
    rng = ctx.generator("chain rules")
    teacher, left, right = (rng.standard_normal(shape) for shape in ((5, 4), (2, 5), (4, 2)))
    by_weight, by_left, by_right = _autograd(_smooth_loss, teacher, left, right)
    left_rule, right_rule = tk.factor_gradients(by_weight, teacher, left, right)
    square = [rng.standard_normal((4, 4)) for _ in range(3)]
    by_square, _, by_square_right = _autograd(_smooth_loss, *square)
    printed = "∇_(P_right) by eq 10 as printed and by autograd, r = m = n = 4, where its shapes conform"
    corrected = "∇_(P_right) by W_tᵀ P_leftᵀ ∇_(W_s) and by autograd"
    return [
        _same("eq-9", "∇_(P_left) by eq 9 and by autograd", by_left, left_rule, Form.PRINTED, "HOLDS"),
        _shapes(teacher, by_weight),
        _same("eq-10", printed, by_square_right, square[0].T @ by_square, Form.PRINTED, "VIOLATED"),
        _same("eq-10", corrected, by_right, right_rule, Form.CORRECTED, "HOLDS"),
    ]


def _same(equation: str, what: str, wanted: Floats, rule: Floats, form: Form, expected: str) -> Finding:
    """Judge whether two gradients are one: the norm of the first, and that plus the norm of their difference."""
    norm = np.linalg.norm(wanted)
    off = norm + np.linalg.norm(rule - wanted)
    return attained(equation, what, norm, off, form=form, expected=(expected,), unit=_UNIT, key="gradient")


def _shapes(teacher: Floats, gradient: Floats) -> Finding:
    """Judge whether W_tᵀ ∇_(W_s) of eq 10 exists."""
    what = f"the product W_tᵀ ∇_(W_s) of eq 10 as printed, shapes {teacher.T.shape} and {gradient.shape}"
    try:
        teacher.T @ gradient
        instance, reason = Instance.HOLDS, "The product exists."
    except ValueError:
        instance, reason = Instance.VIOLATED, "The shapes do not conform: there is no such product."
    expected = ("VIOLATED",)
    return stated(
        "eq-10", Form.PRINTED, what, instance, reason, n_seeds=1, method="shapes", expected=expected, key="shapes"
    )


def start_and_routes(ctx: Context[Any]) -> list[Finding]:
    """Judge that the deviation is 0 at the SVD start, and that the instrument measures what autograd does."""
    rng = ctx.generator("routes")
    teachers = [rng.standard_normal(shape) for shape in ((6, 4), (3, 5))]
    layers = [truncated(torch.from_numpy(teacher)[None, None], 2) for teacher in teachers]
    svd = [[layer.start[side][0, 0].numpy() for layer in layers] for side in (0, 1)]
    drawn = [rng.standard_normal(shape) for shape in ((2, 6), (2, 3), (4, 2), (5, 2))]
    moved = drawn[:2], drawn[2:]

    def gradients(weights: Arrays) -> Arrays:
        leaves = [torch.tensor(weight, requires_grad=True) for weight in weights]
        return [part.numpy() for part in torch.autograd.grad(_smooth_loss(leaves), leaves)]

    at_start, at_random = (tk.gradient_deviation(gradients, teachers, *factors).sum() for factors in (svd, moved))
    by_autograd = _deviation(_smooth_loss, teachers, *moved).sum()
    start = "deviation of two layers at P_left = U_rᵀ, P_right = V_r, as a share of that at random factors, and 0"
    routes = "deviation of two layers at random factors by the chain rule and by autograd"
    return [
        equality("eq-8", start, at_start / at_random, 0.0, key="svd-start"),
        equality("eq-8", routes, at_random, by_autograd, form=Form.INSTRUMENT, unit=_UNIT, key="routes"),
    ]


def extremal_instances(ctx: Context[Any]) -> list[Finding]:
    """Judge instances that meet the corrected bound, and the printed one where B = 1; P_right is P_leftᵀ."""
    rng = ctx.generator("extremal")
    return [*_one_layer(rng), _steep_layers(rng), _felt_layer(rng)]


def _met(what: str, deviation: Any, bound: Any, instance: str, *, equation: str = "eq-8", **options: Any) -> Finding:
    return attained(equation, what, deviation, bound, unit=_UNIT, key="attained", of={"instance": instance}, **options)


def _one_layer(rng: np.random.Generator) -> list[Finding]:
    size, projection, slope = rng.uniform(0.5, 2, 3)
    teacher, left = size * np.eye(2), projection * np.array([[0.0, 1.0]])

    def loss(weights: Sequence[torch.Tensor]) -> torch.Tensor:
        shifted: torch.Tensor = weights[0] + slope
        return shifted.square().sum() / 2

    both = _deviation(loss, [teacher], [left], [left.T]).sum()
    one = _deviation(loss, [teacher], [left / projection], [left.T / projection])[0, 0]
    constants: dict[str, Any] = {"weight_smoothness": 1.0, "gradient_norm": slope}
    corrected = tk.gradient_preservation_bound([size], [size], projection_norm=projection, **constants)
    printed = tk.printed_gradient_bound(size, size, projection_norm=1.0, **constants)
    what = "W_t = M·I, both factors along its second axis, loss ½(w + G)²: both factors' deviation and the bound"
    unit = "the same with factors of norm B = 1, where no power of B can be missed: one factor and eq 37 as printed"
    return [
        _met(what, both, corrected, "one layer"),
        _met(unit, one, printed, "one layer", equation="eq-37", form=Form.PRINTED),
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
    return _met(what, deviation.sum(), bound, "three layers")


def _felt_layer(rng: np.random.Generator) -> Finding:
    """The loss L w_1 w_2 with ε_1 = 0: layer 1 feels the truncation of layer 2, and the sum M_1 + M_2 counts."""
    smooth, size, projection = rng.uniform(0.5, 2, 3)
    error, lefts = _THIN * size, [projection * np.array([[1.0, 0.0]]), projection * np.array([[0.0, 1.0]])]
    deviation = _deviation(
        lambda weights: smooth * weights[0].sum() * weights[1].sum(),
        [np.diag([size, 0.0]), error * np.eye(2)],
        lefts,
        [left.T for left in lefts],
    )
    slope = smooth * projection**2 * size
    bound = tk.gradient_preservation_bound(
        [0.0, error], [size, error], projection_norm=projection, weight_smoothness=smooth, gradient_norm=slope
    )
    what = "loss L w_1 w_2, of which only layer 2 is truncated: the deviation of both layers and the bound with Σ‖W_t‖₂"
    return _met(what, deviation.sum(), bound, "a layer that feels another", slack=_THIN)


def counterexample(ctx: Context[Any]) -> list[Finding]:
    """Judge eq 37 on the Huber loss that refutes it as printed."""
    del ctx
    teacher, left, right = np.diag([1.0, 0.01]), np.array([[0.0, 4.0]]), np.array([[4.0], [4.0]]) / np.sqrt(2)
    slope = 0.04 * np.sqrt(2)

    def huber(weights: Sequence[torch.Tensor]) -> torch.Tensor:
        centre, reach = torch.full_like(weights[0], slope), slope * (1 + 1e-12)
        return torch.nn.functional.huber_loss(weights[0], centre, reduction="sum", delta=reach)

    deviation = _deviation(huber, [teacher], [left], [right])[0, 0]
    constants: dict[str, Any] = {"projection_norm": 4.0, "weight_smoothness": 1.0, "gradient_norm": slope}
    what = "W_t = diag(1, 0.01), factors of norm 4, a Huber loss: deviation of the left factor and eq 37"
    printed = tk.printed_gradient_bound(0.01, 1.0, **constants)
    corrected = tk.gradient_preservation_bound([0.01], [1.0], **constants) / 2  # of one factor
    return [
        _below("eq-37", f"{what} as printed", deviation, printed, Form.PRINTED, key="deviation"),
        _below("eq-37", f"{what} with B³", deviation, corrected, Form.CORRECTED, key="deviation"),
    ]


def ascents(ctx: Context[Any]) -> list[Finding]:
    """Judge both forms at the end of an ascent over the factors and the centre of quadratic and Huber losses."""
    two = _Instances(ctx.generator("layers"), layers=2, rank=1, size=2)
    one = _Instances(ctx.generator("one layer"), layers=1, rank=1, size=2)
    corrected = two.search(
        lambda deviation, b, g: deviation.sum(dim=(1, 2)) / (2 * b * (b**2 * two.norms.sum() + g) * two.errors.sum()),
        lambda deviation, b, g: (
            deviation.sum(axis=(-2, -1))
            / tk.gradient_preservation_bound(
                two.errors.numpy(), two.norms.numpy(), projection_norm=b, weight_smoothness=1.0, gradient_norm=g
            )
        ),
    )
    printed = one.search(
        lambda deviation, b, g: deviation[:, 0, 0] / ((b**2 * one.norms[0] + g * b) * one.errors[0]),
        lambda deviation, b, g: (
            deviation[..., 0, 0]
            / tk.printed_gradient_bound(
                float(one.errors[0]), float(one.norms[0]), projection_norm=b, weight_smoothness=1.0, gradient_norm=g
            )
        ),
    )
    kind = "quadratic and Huber losses with L_W = 1, ascent over factors and centre: largest deviation / bound"
    return [
        _searched("eq-8", f"{kind}, two layers together", corrected, Form.CORRECTED, key="ascent"),
        _searched("eq-37", f"{kind}, one factor of one layer", printed, Form.PRINTED, key="ascent"),
    ]


class _Instances:
    """Losses φ(Q(w − c)) in the weights w of all layers, ‖Q‖₂ = 1: 1-smooth, every second one with slopes cut off."""

    _count, _steps = 24, 80

    def __init__(self, rng: np.random.Generator, *, layers: int, rank: int, size: int) -> None:
        self.teachers = [rng.standard_normal((size, size)) for _ in range(layers)]
        self.layers = [truncated(torch.from_numpy(teacher)[None, None], rank) for teacher in self.teachers]
        self.errors = torch.cat([layer.errors for layer in self.layers])
        self.norms = torch.cat([layer.norms for layer in self.layers])
        numbers = layers * rank * rank
        mixing = rng.standard_normal((self._count, numbers, numbers))
        self.mixing = torch.from_numpy(mixing / np.linalg.norm(mixing, 2, axis=(1, 2))[:, None, None])
        self.slope = torch.from_numpy(np.where(np.arange(self._count) % 2, rng.uniform(0.05, 1, self._count), np.inf))
        drawn = [rng.standard_normal((self._count, 1, *shape)) for shape in ((rank, size), (size, rank)) * layers]
        self.start = [torch.from_numpy(part) for part in (*drawn, rng.standard_normal((self._count, numbers)))]

    def gradients(self, weights: Sequence[torch.Tensor], centre: torch.Tensor) -> list[torch.Tensor]:
        """Return Qᵀ φ'(Q(w − c)) of each layer."""
        stacked = torch.cat([weight.flatten(1) for weight in weights], dim=1) - centre
        mixed = (self.mixing @ stacked[..., None])[..., 0]
        slopes = mixed.clamp(-self.slope[:, None], self.slope[:, None])
        gradient = (self.mixing.mT @ slopes[..., None])[..., 0]
        pieces = torch.split(gradient, weights[0][0].numel(), dim=1)
        return [piece.reshape(weight.shape) for piece, weight in zip(pieces, weights, strict=True)]

    def compared(self, points: Points) -> Comparison:
        """Return both gradients at the points: left and right factors by turns, and the centre."""
        *factors, centre = points
        return compare(lambda weights: self.gradients(weights, centre), self.layers, factors[::2], factors[1::2])

    def search(
        self, climbed: Callable[..., torch.Tensor], judged: Callable[[Floats, Floats, Floats], Floats]
    ) -> AdversarialSearch:
        """Climb deviation / bound, written in torch, and return what the library's own functions say at the top.

        Args:
            climbed: From deviations ``[S, layers, 2]``, B ``[S]`` and G ``[S]``.
            judged: The same from arrays.
        """

        def ratio(points: Points) -> torch.Tensor:
            sides = self.compared(points)
            return climbed(sides.deviation, sides.projection_norms.amax(dim=1), sides.gradient_norms.amax(dim=1))

        top = ascend(ratio, self.start, steps=self._steps)
        *factors, centre = top.points
        lefts, rights = ([part[:, 0].numpy() for part in factors[side::2]] for side in (0, 1))

        def gradients(weights: Arrays) -> list[Floats]:
            return [part.numpy() for part in self.gradients([torch.from_numpy(weight) for weight in weights], centre)]

        cuts = [
            left @ layer.cut[0, 0].numpy() @ right
            for left, layer, right in zip(lefts, self.layers, rights, strict=True)
        ]
        deviation = tk.gradient_deviation(gradients, self.teachers, lefts, rights)
        b, g = (
            np.max([np.linalg.norm(matrix, 2, axis=(1, 2)) for matrix in matrices], axis=0)
            for matrices in ((*lefts, *rights), gradients(cuts))
        )
        return search_result(top, judged(deviation, b, g), rounding=ROUNDING)


def nearest_matrices(ctx: Context[Any]) -> list[Finding]:
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
    search = search_result(top, least / error(top.points).numpy(), rounding=ROUNDING)
    left_out = np.linalg.norm(teacher - (u[:, :rank] * s[:rank]) @ vt[:rank])
    svd = "‖W_t − W_t^r‖_F of the truncated SVD and ε = sqrt(Σ_(i>r) s_i²)"
    ascent = "ε / ‖W_t − A B‖_F, ascent over A and B of rank r: largest ratio"
    return [
        attained("eq-7", svd, left_out, least, unit="unit of a weight", key="truncation-error"),
        _searched("eq-7", ascent, search, Form.CORRECTED, key="nearest"),
    ]


def smoothness(ctx: Context[Any]) -> list[Finding]:
    """Judge eq 5 on ½(pq − 1)² and, corrected, on random quadratic losses."""
    rng = ctx.generator("smoothness")
    place = rng.uniform(1, 4)
    curvature = _hessian_norm(lambda x: (x[0] * x[1] - 1) ** 2 / 2, torch.full((2,), place, dtype=torch.float64))
    bound = tk.factored_smoothness_bound(1.0, place**2 - 1, 1.0, place)
    least = min(_secant(np.sqrt(constant)) / constant for constant in (10.0, 1e3, 1e6))
    search = adversarial_search(
        _curvature, lambda source: source.standard_normal((4, 2, 2)), 60, rng, refine=1, max_evaluations=120
    )
    secant = "½(pq − 1)² between p = q = √L and p = q = 1, L = 10, 10³, 10⁶: least ‖∇L − ∇L'‖ / (L‖θ − θ'‖), and 1"
    met = "½(pq − 1)² at p = q = t: Hessian norm and 2 L_W M² B² + G M"
    quadratic = "½‖P_left W_t P_right − C‖², search over all four: largest Hessian norm / (2 L_W M² B² + G M)"
    return [
        _below("eq-5", secant, least, 1.0, Form.PRINTED, key="secant"),
        attained("eq-5", met, curvature, bound, unit="loss per squared unit of the factors", key="attained"),
        _searched("eq-5", quadratic, search, Form.CORRECTED, key="search"),
    ]


def _secant(size: float) -> float:
    """Return ‖∇f(θ) − ∇f(θ')‖ / ‖θ − θ'‖ of ½(pq − 1)² between p = q = size and p = q = 1, by autograd."""
    ends = torch.tensor([[size, size], [1.0, 1.0]], dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(((ends.prod(dim=1) - 1) ** 2 / 2).sum(), ends)
    return float((slopes[0] - slopes[1]).norm() / (ends[0] - ends[1]).detach().norm())


def _curvature(matrices: Floats) -> float:
    """Return Hessian norm / bound of the quadratic loss; P_left, P_right, W_t and C ``[4, 2, 2]``."""
    left, right, teacher, centre = torch.from_numpy(matrices)

    def loss(factors: torch.Tensor) -> torch.Tensor:
        distance: torch.Tensor = factors[0] @ teacher @ factors[1] - centre
        return distance.square().sum() / 2

    slope, *norms = (_spectral_norm(matrix) for matrix in (left @ teacher @ right - centre, teacher, left, right))
    bound = tk.factored_smoothness_bound(1.0, slope, norms[0], max(norms[1:]))
    return _hessian_norm(loss, torch.stack([left, right])) / float(bound)


def _hessian_norm(loss: Callable[[torch.Tensor], torch.Tensor], point: torch.Tensor) -> float:
    """Return the spectral norm of the second derivatives of a loss by all entries of a point."""
    hessian: Any = torch.autograd.functional.hessian(loss, point)  # type: ignore[no-untyped-call]
    return _spectral_norm(hessian.reshape(point.numel(), -1))


def _spectral_norm(matrix: torch.Tensor) -> float:
    return float(torch.linalg.matrix_norm(matrix, 2))


def _below(equation: str, what: str, measured: Any, bound: Any, form: Form, *, key: str) -> Finding:
    """Judge measured ≤ bound on one instance, up to rounding."""
    left, right = float(measured), float(bound)
    search = AdversarialSearch(1, 0, left / right, np.array([left, right]), reproduced=True)
    verdict = inequality_verdict(search, rounding=ROUNDING, statement=what)
    return Finding(equation, form, what, verdict, _EXPECTED[form], measured=left, bound=right, key=key)


def _searched(equation: str, what: str, search: AdversarialSearch, form: Form, *, key: str) -> Finding:
    """Judge left ≤ right from the largest ratio that a search has found."""
    verdict = inequality_verdict(search, rounding=ROUNDING, least_trials=100, statement=what)
    largest = search.largest_ratio
    return Finding(equation, form, what, verdict, _EXPECTED[form], largest, bound=1.0, unit="bound", key=key)


# losses of student weights, in torch, and what autograd says of them


def _smooth_loss(weights: Sequence[torch.Tensor]) -> torch.Tensor:
    joined = torch.cat([weight.flatten() for weight in weights])
    return torch.logsumexp(1.7 * joined, 0) + joined.sum() ** 2 / 10 + (joined.sin() * joined).sum()


def _autograd(loss: Loss, teacher: Floats, left: Floats, right: Floats) -> Arrays:
    """Return the gradients by W_s and by both factors of one layer."""
    factors = [torch.tensor(factor, requires_grad=True) for factor in (left, right)]
    weight = factors[0] @ torch.from_numpy(teacher) @ factors[1]
    return [part.numpy() for part in torch.autograd.grad(loss([weight]), [weight, *factors])]


def _deviation(loss: Loss, teachers: Arrays, lefts: Arrays, rights: Arrays) -> Floats:
    """Return ‖∇_P L(W_s) − ∇_P L(W̃_s)‖_F ``[layers, 2]`` by autograd through the factors: no chain rule is written."""
    factors = [[torch.tensor(factor, requires_grad=True) for factor in side] for side in (lefts, rights)]
    layers = [
        truncated(torch.from_numpy(teacher)[None, None], left.shape[0])
        for teacher, left in zip(teachers, lefts, strict=True)
    ]
    gradients = []
    for teachers_used in ([layer.full for layer in layers], [layer.cut for layer in layers]):
        weights = [
            left @ teacher[0, 0] @ right
            for left, teacher, right in zip(factors[0], teachers_used, factors[1], strict=True)
        ]
        gradients.append(torch.autograd.grad(loss(weights), [*factors[0], *factors[1]]))
    norms = [float((full - cut).norm()) for full, cut in zip(*gradients, strict=True)]
    return np.array(norms).reshape(2, -1).T
