"""Theorem 1 where its truth is known: noisy quadratics, biased gradients, factored least squares in minibatches.

SGD is run in bulk on losses that are small enough for it; what it gives is judged as students are, beside bounds that
are met exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.signal import lfilter

import theorykit as tk
from theorykit.arguments import Floats
from theorykit.statements.theorem_1 import quadratic_average
from theorykit.verdicts import AdversarialSearch, Form, Instance, expectation_verdict, inequality_verdict, plan_exponent
from validation.claims.experiment import Context, PartResult
from validation.claims.finding import Finding
from validation.claims.planted import attained, compared, equality, exact
from validation.theorem_1.slopes import RATES, rate_finding

ALPHA = 1e-4
"""Of each decision: many are made, and none may be wrong."""
SIZES = (100, 316, 1000, 3162, 10_000, 31_623, 100_000)
SHORT_SIZES = (100, 200, 400, 800, 1600, 3200)
"""T, log-spaced; the short ones where every step costs."""
SEEDS, MARGIN, SD_LOG = 16, 0.1, 0.1
CURVATURES = np.array([1.0, 0.5, 0.2, 0.05])
"""Of f = Σ h_i x_i²/2, whose L is 1: where curvatures lie below L the corrected bound is not met but far away."""
START = 0.5
"""Of each coordinate."""
BIASED_STEP = 0.5
TRUNCATED_STEP = 0.05
_MATRIX, _RANK = 6, 2
_UNIT = "squared norm of the gradient"
_EXPECTED = {Form.PRINTED: ("VIOLATED",), Form.CORRECTED: ("HOLDS",)}
"""Of bounds whose printed form is refuted here."""
_NOISY, _TUNED, _CLEAN, _BIASED = (
    "step 1/L with noise",
    "tuned step with noise",
    "step 1/L without noise",
    "biased gradient",
)
_OWN, _TRUNCATED = "own gradient", "gradient at the truncated teacher"
_RIGHT, _FALSE = ("CONSISTENT",), ("INCONSISTENT",)
_SLOPES = (
    (_NOISY, "T^-1", Form.PRINTED, ("VIOLATED", *_FALSE)),
    (_NOISY, "T^-1/2", Form.PRINTED, _FALSE),
    (_NOISY, "T^0", Form.CORRECTED, _RIGHT),
    (_TUNED, "T^-1", Form.PRINTED, _FALSE),
    (_TUNED, "T^-1/2", Form.CORRECTED, _RIGHT),
    (_CLEAN, "T^-1/2", Form.PRINTED, _FALSE),
    (_CLEAN, "T^-1", Form.CORRECTED, _RIGHT),
    (_BIASED, "T^-1/2", Form.PRINTED, _FALSE),
    (_BIASED, "T^0", Form.CORRECTED, _RIGHT),
    (_OWN, "T^-1", Form.CORRECTED, _RIGHT),
)
"""Instance, rate, whose form claims it, and what is true."""


def planted(context: Context[Any]) -> PartResult:
    """Return the findings on all planted truths and falsehoods."""
    squares, losses = constant_step(context.generator("noise"), SEEDS, max(SIZES))
    curves = {
        _NOISY: averages(squares, SIZES),
        _TUNED: tuned_steps(context.generator("tuned"), SEEDS, SIZES),
        _CLEAN: without_noise(context.generator("clean"), SEEDS, SIZES),
        _BIASED: biased(context.generator("bias"), SEEDS, SIZES),
    }
    short, *known = truncated_teacher(context.generator("truncation"), SEEDS, SHORT_SIZES)
    noise = on_noise(squares, losses)
    findings = (
        *noise,
        *on_extremal_instances(),
        *on_guarantee(),
        *on_steps(),
        *on_minibatches(context.generator("minibatches")),
        *on_variance(context.generator("variance")),
        *on_truncation(short[_TRUNCATED][:, -1], *known),
        # a slope alone refutes no upper bound: what eq 11 as printed says of the same averages does
        *_rates(context, curves | short, {_SLOPES[0][:2]: noise[0].verdict.instance}),
    )
    data = {
        name: {"n_steps": _sizes(name), "average": values.mean(axis=0)} for name, values in (curves | short).items()
    }
    return PartResult(findings, {"averages": data})


def _sizes(name: str) -> tuple[int, ...]:
    return SHORT_SIZES if name in (_OWN, _TRUNCATED) else SIZES


def _rates(
    context: Context[Any], curves: Mapping[str, Floats], explicit: Mapping[tuple[str, str], Instance]
) -> list[Finding]:
    plan: dict[str, Any] = {"n_seeds": SEEDS, "sd_log": SD_LOG, "margin": MARGIN, "alpha": ALPHA}
    return [
        rate_finding(
            plan_exponent(RATES[rate], _sizes(name), further_rivals=RATES, **plan),
            curves[name],
            context.generator("slope", name, rate),
            form=form,
            what=f"average of ‖∇f‖² is O({rate}), an upper bound, and follows it: {name}",
            of={"instance": name, "rate": rate},
            explicit=explicit.get((name, rate)),
            expected=expected,
        )
        for name, rate, form, expected in _SLOPES
    ]


def on_noise(squares: Floats, losses: Floats) -> list[Finding]:
    """Judge eqs 11 and 16 on a quadratic with noise at η = 1/L = 1, from its minimum's neighbourhood.

    Args:
        squares: ‖∇f(x_t)‖², t = 0 … T, ``[seeds, T + 1]``.
        losses: f(x_t).
    """
    sizes, measured = np.array(SIZES), averages(squares, SIZES).T
    # eq 16 summed over T steps, what fell off the loss on the left
    left = measured - 2 * (losses[:, :1] - losses[:, sizes]).T / sizes[:, None]
    known = {"smoothness": 1.0, "initial_gap": float(losses[0, 0]), "gradient_variance": 1.0}
    printed = tk.printed_sgd_bound(sizes, constant=0.0, **known)
    corrected = tk.sgd_convergence_bound(sizes, step_size=1.0, **known)
    average = "average of ‖∇f‖² at T = 10² … 10⁵ against"
    descent = "‖∇f‖² − 2L(f(x_t) − f(x_t+1)), averaged over T steps, against"
    findings = []
    for equation, form, key, what, values, bound in (
        ("eq-11", Form.PRINTED, "average", f"{average} 2LΔ/T + σ²/T", measured, printed),
        ("eq-11", Form.CORRECTED, "average", f"{average} 2LΔ/T + σ²", measured, corrected),
        ("eq-16", Form.PRINTED, "descent", f"{descent} σ²/T", left, 1 / sizes),
        ("eq-16", Form.CORRECTED, "descent", f"{descent} σ²", left, np.ones(sizes.size)),
    ):
        what = f"{what}: noisy quadratic of 4 curvatures, η = 1/L, σ² = 1"
        names = [f"T = {size}" for size in SIZES]
        verdict = expectation_verdict(values, bound, alpha=ALPHA, names=names, statement=what)
        mean, limit, of = float(values[-1].mean()), float(bound[-1]), {"instance": _NOISY}
        findings.append(
            Finding(equation, form, what, verdict, _EXPECTED[form], mean, None, limit, _UNIT, key=key, of=of)
        )
    return findings


def on_extremal_instances() -> list[Finding]:
    """Hold both bounds against instances that meet them, by the exact expectation of a quadratic."""
    steps, noise, bias = 100_000, 3.0, 0.7
    resting = {"initial_gap": bias**2 / 2, "gradient_variance": 0.0, "step_size": 0.5, "gradient_bias": bias}
    at_rest = {"initial_gap": 0.0, "gradient_variance": noise, "step_size": 1.0}
    falling = {"smoothness": 2.0, "initial_gap": 2.0 * 1.5**2 / 2, "gradient_variance": 0.0}

    def met(instance: str, what: str, measured: float, bound: Any, **options: Any) -> Finding:
        options |= {"unit": _UNIT, "key": "attained", "of": {"instance": instance}}
        return attained("eq-11", what, measured, bound, **options)

    return [
        met(
            "noise at the minimum",
            "from the minimum, η = 1/L, noise: the average (T − 1)/T σ² meets the floor σ²",
            _average(1.0, 1.0, 0.0, noise, 0.0, steps),
            tk.sgd_convergence_bound(steps, smoothness=1.0, **at_rest),
            slack=1.1 / steps,
        ),
        met(
            "no noise",
            "no noise, η = 1/L, T = 1000: the average meets 2LΔ/T",
            _average(2.0, 0.5, 1.5, 0.0, 0.0, 1000),
            tk.sgd_convergence_bound(1000, step_size=0.5, **falling),
        ),
        met(
            _BIASED,
            "gradient x + b at its rest point: the average b² meets the floor β², up to 2Δ/(ηT)",
            _average(1.0, 0.5, -bias, 0.0, bias, steps),
            tk.sgd_convergence_bound(steps, smoothness=1.0, **resting),
            slack=2.2 / steps,
        ),
        met(
            "no noise, one step",
            "no noise, η = 1/L, T = 1: 2LΔ/T as printed is ‖∇f‖² itself",
            _average(2.0, 0.5, 1.5, 0.0, 0.0, 1),
            tk.printed_sgd_bound(1, constant=1.0, **falling),
            form=Form.PRINTED,
        ),
    ]


def on_guarantee() -> list[Finding]:
    """Hold "convergence is guaranteed as long as ε is bounded" against ε = 0: without noise it is, with noise not."""
    steps, small = 100_000, 1e-3
    findings = []
    for instance, noise, expected in ((_CLEAN, 0.0, "HOLDS"), (_NOISY, 1.0, "VIOLATED")):
        average = _average(1.0, 1.0, 1.0, noise, 0.0, steps)
        findings.append(
            compared(
                "convergence-guaranteed",
                f"ε = 0, η = 1/L: the average squared norm after {steps:,} steps, {instance}",
                average,
                small,
                average <= small,
                reason=f"average {average:.3g}: {'falls' if average <= small else 'does not fall'} below {small:g}.",
                method="exact expectation of a quadratic",
                form=Form.PRINTED,
                unit=_UNIT,
                key="stationary",
                of={"instance": instance},
                expected=(expected,),
            )
        )
    return findings


def _average(*numbers: float) -> float:
    """Return the mean of ‖∇f‖² for curvature, step, start, noise, bias and T."""
    return float(quadratic_average(*(np.array(float(number)) for number in numbers)))


def on_steps() -> list[Finding]:
    """Hold the tuned step and the bound at it against numerical minimisers of 2Δ/(ηT) + Lησ² over η ≤ 1/L."""
    steps, smooth, gap, noise = 400, 2.0, 3.0, 5.0
    known = {"smoothness": smooth, "initial_gap": gap}
    least = minimize_scalar(
        lambda log: 2 * gap / (np.exp(log) * steps) + smooth * np.exp(log) * noise,
        bounds=(-20.0, np.log(1 / smooth)),
        method="bounded",
        options={"xatol": 1e-10},
    )
    small, large = (tk.tuned_step_size(steps, gradient_variance=value, **known) for value in (1e-4, noise))
    bound = tk.sgd_convergence_bound(steps, gradient_variance=noise, **known)
    inner = "tuned step: closed form and numerical minimiser, which is below 1/L"
    edge = "tuned step where noise is small: 1/L, where the bound still falls"
    at_step = "bound at the tuned step: closed form, and 2LΔ/T more than the numerical minimum"
    step: dict[str, Any] = {"unit": "step", "key": "tuned-step"}
    return [
        equality("eq-11", inner, large, np.exp(least.x), rounding=1e-6, of={"noise": "large"}, **step),
        equality("eq-11", edge, small, 1 / smooth, of={"noise": "small"}, **step),
        equality("eq-11", at_step, bound, least.fun + 2 * smooth * gap / steps, unit=_UNIT, key="tuned-bound"),
    ]


def on_minibatches(generator: np.random.Generator) -> list[Finding]:
    """Enumerate all minibatches of factored least squares: SGD on the factors is unbiased for its own loss."""
    samples, size, rank, outs, ins = 9, 3, 2, 4, 5
    inputs, outputs = generator.standard_normal((samples, ins)), generator.standard_normal((samples, outs))
    left, right = generator.standard_normal((outs, rank)), generator.standard_normal((rank, ins))
    residuals = inputs @ (left @ right).T - outputs
    # of ½‖L R x − y‖² for each sample: by hand, in both factors
    each = np.concatenate(
        [
            np.einsum("no,nr->nor", residuals, inputs @ right.T).reshape(samples, -1),
            np.einsum("nr,ni->nri", residuals @ left, inputs).reshape(samples, -1),
        ],
        axis=1,
    )
    batches = np.array([each[list(chosen)].mean(axis=0) for chosen in combinations(range(samples), size)])
    whole = _gradient_of_the_mean_loss(left, right, inputs, outputs)
    mean = batches.mean(axis=0)
    distance = float(np.linalg.norm(mean - whole) / np.linalg.norm(whole))
    spread = ((batches - whole) ** 2).sum(axis=1).mean()
    estimate = tk.gradient_variance(each).at_batch_size(size).variance * (samples - size) / samples
    unit, norms = "norm of the gradient", (np.linalg.norm(mean), np.linalg.norm(whole))
    gradient = "factored least squares: ‖mean of all 84 minibatch gradients‖ by hand and ‖∇L‖ by autograd"
    unbiased = "factored least squares: SGD on the factors is unbiased for its own loss, no ε enters"
    variance = "σ² of a minibatch drawn without replacement: estimator on single samples, and all minibatches"
    reason = f"over all {len(batches)} minibatches ‖E g − ∇L‖ = {distance:.2g} ‖∇L‖."
    share: dict[str, Any] = {"measured": distance, "bound": 0.0, "unit": "share of ‖∇L‖", "key": "unbiased"}
    share |= {"reason": reason, "method": "complete enumeration"}
    return [
        equality("eq-11", gradient, *norms, unit=unit, key="minibatch-gradient"),
        exact("eq-6", unbiased, distance < 1e-12, **share).judged(statement="E g = ∇L"),
        equality("eq-6", variance, estimate, spread, unit=_UNIT, key="minibatch-variance"),
    ]


def _gradient_of_the_mean_loss(left: Floats, right: Floats, inputs: Floats, outputs: Floats) -> Floats:
    factors = [torch.from_numpy(part.copy()).requires_grad_() for part in (left, right)]
    error = torch.from_numpy(inputs) @ (factors[0] @ factors[1]).T - torch.from_numpy(outputs)
    parts = torch.autograd.grad(error.square().sum() / (2 * len(inputs)), factors)
    return np.concatenate([part.numpy().ravel() for part in parts])


def on_variance(generator: np.random.Generator) -> list[Finding]:
    """Estimate a planted σ² from 2000 gradients: it has to lie in the interval, and half or twice of it must not."""
    scales = np.array([2.0, 1.0, 0.5, 0.1])
    truth = float((scales**2).sum())
    drawn = 3.0 + scales * generator.standard_normal((2000, scales.size))
    estimate = tk.gradient_variance(drawn, confidence=1 - ALPHA)
    low, high = estimate.interval
    finding = exact(
        "eq-6",
        "interval of σ² from 2000 gradients of planted variance",
        low <= truth <= high and high < 2 * low,
        form=Form.INSTRUMENT,
        reason=f"planted {truth:.4g}, interval [{low:.4g}, {high:.4g}].",
        alpha=ALPHA,
        method="jackknife interval",
        measured=estimate.variance,
        interval=(low, high),
        bound=truth,
        unit=_UNIT,
        key="variance-interval",
    )
    return [finding.judged(statement="σ² lies in its interval")]


def on_truncation(last: Floats, squared_bias: Floats, gaps: Floats) -> list[Finding]:
    """Judge eq 11 on a gradient taken at the truncated teacher: ε² c = β², once as ε²/√T and once as a floor.

    Args:
        last: Average of ‖∇L‖² at the last T, ``[seeds]``.
        squared_bias: β² of each seed.
        gaps: Δ of each seed.
    """
    steps, bias = SHORT_SIZES[-1], np.sqrt(squared_bias)
    known = {"smoothness": 1 / TRUNCATED_STEP, "initial_gap": gaps, "gradient_variance": 0.0}
    printed = tk.printed_sgd_bound(steps, truncation_error=bias, constant=1.0, **known)
    corrected = tk.sgd_convergence_bound(steps, step_size=TRUNCATED_STEP, gradient_bias=bias, **known)
    findings = []
    for form, formula, bound in (
        (Form.PRINTED, "2LΔ/T + β²/√T", printed),
        (Form.CORRECTED, "2LΔ/T + β²", corrected),
    ):
        what = f"{_TRUNCATED}, T = {steps}: average of ‖∇L‖² over {formula}, β² registered for c ε²"
        ratios = last / bound  # nothing is random in a run: each is one instance of a for-all inequality
        largest = float(ratios.max())
        search = AdversarialSearch(ratios.size, 0, largest, ratios, reproduced=True)
        verdict = inequality_verdict(search, rounding=1e-9, statement=what)
        named: dict[str, Any] = {"unit": "share of the bound", "key": "average", "of": {"instance": _TRUNCATED}}
        findings.append(Finding("eq-11", form, what, verdict, _EXPECTED[form], largest, bound=1.0, **named))
    return findings


# SGD on losses small enough to be run in bulk


def constant_step(generator: np.random.Generator, seeds: int, n_steps: int) -> tuple[Floats, Floats]:
    """Run SGD with η = 1/L = 1 and isotropic noise of variance 1 on the quadratic of ``CURVATURES``.

    Returns:
        ‖∇f(x_t)‖² and f(x_t), t = 0 … T, ``[seeds, T + 1]``.
    """
    squares, losses = np.zeros((2, seeds, n_steps + 1))
    for curvature in CURVATURES:
        noise = generator.standard_normal((seeds, n_steps)) / np.sqrt(CURVATURES.size)
        path = _path(np.full(seeds, START), 1 - curvature, -noise)
        squares += curvature**2 * path**2
        losses += curvature / 2 * path**2
    return squares, losses


def tuned_steps(generator: np.random.Generator, seeds: int, sizes: Sequence[int], coordinates: int = 4) -> Floats:
    """Run SGD on ‖x‖²/2 with Δ = σ² = 1, for each T with the step tuned to it; averages of ‖∇f‖² ``[seeds, sizes]``."""
    start = np.full(seeds, np.sqrt(2 / coordinates))
    squares = np.zeros((seeds, len(sizes)))
    for place, steps in enumerate(sizes):
        step = float(tk.tuned_step_size(steps, smoothness=1.0, initial_gap=1.0, gradient_variance=1.0))
        for _ in range(coordinates):
            noise = generator.standard_normal((seeds, steps - 1)) / np.sqrt(coordinates)
            squares[:, place] += (_path(start, 1 - step, -step * noise) ** 2).mean(axis=1)
    return squares


def without_noise(generator: np.random.Generator, seeds: int, sizes: Sequence[int]) -> Floats:
    """Run gradient descent with η = 1/L on L x²/2 from random starts; averages of ‖∇f‖² ``[seeds, sizes]``."""
    start = 1 + generator.random(seeds)
    path = _path(start, 0.0, np.zeros((seeds, max(sizes) - 1)))
    return averages(path**2, sizes)


def biased(generator: np.random.Generator, seeds: int, sizes: Sequence[int]) -> Floats:
    """Run x²/2 with the gradient x + b, b random; averages of f'² ``[seeds, sizes]``, which tend to b²."""
    bias, start = 1 + generator.random(seeds), generator.standard_normal(seeds)
    path = _path(start, 1 - BIASED_STEP, np.repeat(-BIASED_STEP * bias[:, None], max(sizes) - 1, axis=1))
    return averages(path**2, sizes)


def truncated_teacher(
    generator: np.random.Generator, seeds: int, sizes: Sequence[int]
) -> tuple[dict[str, Floats], Floats, Floats]:
    """Train P_left, P_right on ½‖P_left W_t P_right − A‖², once by its own gradient, once by that at W_t^r.

    The second is what a gradient with an error of the order of the truncation ε (eq 7) means: it is followed although
    the loss is that of W_t. Starts are random: at the SVD of W_t both are the same (errata, eq 8).

    Returns:
        Averages of ‖∇L‖² ``[seeds, sizes]`` by name; on the path of the second the largest squared bias ‖∇L̃ − ∇L‖²
        ``[seeds]``; Δ of each seed, the loss at its start, as the least loss is 0.
    """
    left_vectors, right_vectors = (
        np.linalg.qr(generator.standard_normal((seeds, _MATRIX, _MATRIX)))[0] for _ in range(2)
    )
    values = 1 / np.arange(1.0, _MATRIX + 1)
    teacher = (left_vectors * values) @ right_vectors.mT
    truncated = (left_vectors[..., :_RANK] * values[:_RANK]) @ right_vectors[..., :_RANK].mT
    target = np.eye(_RANK) + 0.3 * generator.standard_normal((seeds, _RANK, _RANK))
    start = [generator.standard_normal((seeds, *shape)) for shape in ((_RANK, _MATRIX), (_MATRIX, _RANK))]
    gaps = ((0.25 * start[0] @ teacher @ start[1] - target) ** 2).sum(axis=(1, 2)) / 2
    curves, worst = {}, np.zeros(seeds)
    for name, followed in ((_OWN, teacher), (_TRUNCATED, truncated)):
        left, right = (0.5 * part for part in start)
        squares = np.empty((seeds, max(sizes)))
        for step in range(max(sizes)):
            own = _factor_gradients(left, right, teacher, target)
            used = own if followed is teacher else _factor_gradients(left, right, followed, target)
            squares[:, step] = _squared(own)
            worst = np.maximum(worst, _squared([a - b for a, b in zip(own, used, strict=True)]))
            left, right = left - TRUNCATED_STEP * used[0], right - TRUNCATED_STEP * used[1]
        curves[name] = averages(squares, sizes)
    return curves, worst, gaps


def averages(squares: Floats, sizes: Sequence[int]) -> Floats:
    """Return (1/T) Σ_{t<T} of ``[seeds, steps]`` at each T, ``[seeds, sizes]``."""
    return np.asarray(squares.cumsum(axis=1)[:, np.array(sizes) - 1] / np.array(sizes), dtype=np.float64)


def _path(start: Floats, contraction: float, moves: Floats) -> Floats:
    """Return x_0 … of x_{t+1} = contraction · x_t + move_t, ``[seeds, steps + 1]``."""
    return np.asarray(lfilter([1.0], [1.0, -contraction], np.column_stack([start, moves]), axis=1), dtype=np.float64)


def _factor_gradients(left: Floats, right: Floats, teacher: Floats, target: Floats) -> list[Floats]:
    error = left @ teacher @ right - target
    return [error @ (teacher @ right).mT, (left @ teacher).mT @ error]


def _squared(parts: Sequence[Floats]) -> Floats:
    return np.asarray(np.sum([(part**2).sum(axis=(1, 2)) for part in parts], axis=0), dtype=np.float64)
