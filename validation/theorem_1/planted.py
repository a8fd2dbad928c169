"""Theorem 1 where its truth is known: noisy quadratics, biased gradients, factored least squares in minibatches."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from scipy.optimize import minimize_scalar

import theorykit as tk
from theorykit.arguments import Floats
from theorykit.statements.theorem_1 import quadratic_average
from theorykit.verdicts import AdversarialSearch, Instance, Verdict, expectation_verdict, inequality_verdict
from validation.claims.experiment import Context, PartResult
from validation.claims.finding import Finding, Form
from validation.claims.planted import attained, equality
from validation.theorem_1 import quadratics
from validation.theorem_1.rates import RATES, rate_finding, rate_plan

ALPHA = 1e-4
"""Of each decision: many are made, and none may be wrong."""
SIZES = (100, 316, 1000, 3162, 10_000, 31_623, 100_000)
SHORT_SIZES = (100, 200, 400, 800, 1600, 3200)
"""T, log-spaced."""
_SHORT = ("own gradient", "gradient at the truncated teacher")
SEEDS, MARGIN, SD_LOG = 16, 0.1, 0.1
_UNIT = "squared norm of the gradient"
_HELD, _BROKEN = ("HOLDS",), ("VIOLATED",)
_RIGHT, _FALSE = ("CONSISTENT",), ("INCONSISTENT",)

_SLOPES = (
    ("step 1/L with noise", "T^-1", Form.PRINTED, (*_BROKEN, *_FALSE)),
    ("step 1/L with noise", "T^-1/2", Form.PRINTED, _FALSE),
    ("step 1/L with noise", "T^0", Form.CORRECTED, _RIGHT),
    ("tuned step with noise", "T^-1", Form.PRINTED, _FALSE),
    ("tuned step with noise", "T^-1/2", Form.CORRECTED, _RIGHT),
    ("step 1/L without noise", "T^-1/2", Form.PRINTED, _FALSE),
    ("step 1/L without noise", "T^-1", Form.CORRECTED, _RIGHT),
    ("biased gradient", "T^-1/2", Form.PRINTED, _FALSE),
    ("biased gradient", "T^0", Form.CORRECTED, _RIGHT),
    ("own gradient", "T^-1", Form.CORRECTED, _RIGHT),
)
"""Instance, rate, whose form claims it, and what is true."""


def planted(context: Context) -> PartResult:
    """Return the findings on all planted truths and falsehoods."""
    squares, losses = quadratics.constant_step(context.generator("noise"), SEEDS, max(SIZES))
    curves = {
        "step 1/L with noise": quadratics.averages(squares, SIZES),
        "tuned step with noise": quadratics.tuned_steps(context.generator("tuned"), SEEDS, SIZES),
        "step 1/L without noise": quadratics.without_noise(context.generator("clean"), SEEDS, SIZES),
        "biased gradient": quadratics.biased(context.generator("bias"), SEEDS, SIZES),
    }
    short, *known = quadratics.truncated_teacher(context.generator("truncation"), SEEDS, SHORT_SIZES)
    noise = on_noise(squares, losses)
    # a slope alone refutes no upper bound: what eq 11 as printed says of the same averages does
    explicit = {_SLOPES[0][:2]: noise[0].verdict.instance}
    findings = (
        *noise,
        *on_extremal_instances(),
        *on_steps(),
        *on_minibatches(context.generator("minibatches")),
        *on_variance(context.generator("variance")),
        *on_truncation(short["gradient at the truncated teacher"][:, -1], *known),
        *_rates(curves | short, context, explicit),
    )
    data = {
        name: {"n_steps": _sizes(name), "average": values.mean(axis=0)} for name, values in (curves | short).items()
    }
    return PartResult(findings, {"averages": data})


def on_noise(squares: Floats, losses: Floats) -> list[Finding]:
    """Judge eqs 11 and 16 on a quadratic with noise at η = 1/L = 1, from its minimum's neighbourhood.

    Args:
        squares: ‖∇f(x_t)‖², t = 0 … T, ``[seeds, T + 1]``.
        losses: f(x_t).
    """
    sizes = np.array(SIZES)
    measured = quadratics.averages(squares, SIZES).T
    known = {"smoothness": 1.0, "initial_gap": float(losses[0, 0]), "gradient_variance": 1.0}
    printed = tk.printed_sgd_bound(sizes, constant=0.0, **known)
    corrected = tk.sgd_convergence_bound(sizes, step_size=1.0, **known)
    instance = "noisy quadratic of 4 curvatures, η = 1/L, σ² = 1"
    found = [
        _judged("eq-11", form, f"average of ‖∇f‖² at T = 10² … 10⁵ against {formula}: {instance}", measured, bound)
        for form, formula, bound in (
            (Form.PRINTED, "2LΔ/T + σ²/T", printed),
            (Form.CORRECTED, "2LΔ/T + σ²", corrected),
        )
    ]
    # eq 16 summed over T steps, what fell off the loss on the left
    left = measured - 2 * (losses[:, :1] - losses[:, sizes]).T / sizes[:, None]
    return found + [
        _judged(
            "eq-16",
            form,
            f"‖∇f‖² − 2L(f(x_t) − f(x_t+1)), averaged over T steps, against {name}: {instance}",
            left,
            right,
        )
        for form, name, right in (
            (Form.PRINTED, "σ²/T", 1 / sizes),
            (Form.CORRECTED, "σ²", np.ones(sizes.size)),
        )
    ]


def _judged(equation: str, form: Form, what: str, measured: Floats, bound: Floats) -> Finding:
    verdict = expectation_verdict(measured, bound, alpha=ALPHA, names=[f"T = {size}" for size in SIZES], statement=what)
    return Finding(
        equation,
        form,
        what,
        verdict,
        _BROKEN if form is Form.PRINTED else _HELD,
        measured=float(measured[-1].mean()),
        bound=float(bound[-1]),
        unit=_UNIT,
    )


def on_extremal_instances() -> list[Finding]:
    """Hold both bounds against instances that meet them, by the exact expectation of a quadratic."""
    steps, noise, bias = 100_000, 3.0, 0.7
    floor = _average(1.0, 1.0, 0.0, noise, 0.0, steps)
    descent = _average(2.0, 0.5, 1.5, 0.0, 0.0, 1000)
    resting = _average(1.0, 0.5, -bias, 0.0, bias, steps)
    gap = 2.0 * 1.5**2 / 2
    still = {"initial_gap": 0.0, "gradient_variance": noise}
    return [
        attained(
            "eq-11",
            "from the minimum, η = 1/L, noise: the average (T − 1)/T σ² meets the floor σ²",
            floor,
            tk.sgd_convergence_bound(steps, smoothness=1.0, step_size=1.0, **still),
            slack=1.1 / steps,
            unit=_UNIT,
        ),
        attained(
            "eq-11",
            "no noise, η = 1/L, T = 1000: the average meets 2LΔ/T",
            descent,
            tk.sgd_convergence_bound(1000, smoothness=2.0, initial_gap=gap, gradient_variance=0.0, step_size=0.5),
            unit=_UNIT,
        ),
        attained(
            "eq-11",
            "gradient x + b at its rest point: the average b² meets the floor β², up to 2Δ/(ηT)",
            resting,
            tk.sgd_convergence_bound(
                steps,
                smoothness=1.0,
                initial_gap=bias**2 / 2,
                gradient_variance=0.0,
                step_size=0.5,
                gradient_bias=bias,
            ),
            slack=2.2 / steps,
            unit=_UNIT,
        ),
        attained(
            "eq-11",
            "no noise, η = 1/L, T = 1: 2LΔ/T as printed is ‖∇f‖² itself",
            _average(2.0, 0.5, 1.5, 0.0, 0.0, 1),
            tk.printed_sgd_bound(1, smoothness=2.0, initial_gap=gap, gradient_variance=0.0, constant=1.0),
            form=Form.PRINTED,
            unit=_UNIT,
        ),
    ]


def _average(curvature: float, step: float, start: float, noise: float, bias: float, steps: int) -> float:
    return float(quadratic_average(*(np.array(float(one)) for one in (curvature, step, start, noise, bias, steps))))


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
    return [
        equality(
            "eq-11",
            "tuned step: closed form and numerical minimiser, which is below 1/L",
            tk.tuned_step_size(steps, gradient_variance=noise, **known),
            np.exp(least.x),
            rounding=1e-6,
            unit="step",
        ),
        equality(
            "eq-11",
            "tuned step where noise is small: 1/L, where the bound still falls",
            tk.tuned_step_size(steps, gradient_variance=1e-4, **known),
            1 / smooth,
            unit="step",
        ),
        equality(
            "eq-11",
            "bound at the tuned step: closed form, and 2LΔ/T more than the numerical minimum",
            tk.sgd_convergence_bound(steps, gradient_variance=noise, **known),
            least.fun + 2 * smooth * gap / steps,
            unit=_UNIT,
        ),
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
    distance = float(np.linalg.norm(batches.mean(axis=0) - whole) / np.linalg.norm(whole))
    spread = float(((batches - whole) ** 2).sum(axis=1).mean())
    estimate = tk.gradient_variance(each).at_batch_size(size).variance * (samples - size) / samples
    return [
        equality(
            "eq-11",
            "factored least squares: ‖mean of all 84 minibatch gradients‖ by hand and ‖∇L‖ by autograd",
            np.linalg.norm(batches.mean(axis=0)),
            np.linalg.norm(whole),
            unit="norm of the gradient",
        ),
        Finding(
            "eq-6",
            Form.CORRECTED,
            "factored least squares: SGD on the factors is unbiased for its own loss, no ε enters",
            Verdict(
                "E g = ∇L",
                Instance.HOLDS if distance < 1e-12 else Instance.VIOLATED,
                reasons=(f"over all {len(batches)} minibatches ‖E g − ∇L‖ = {distance:.2g} ‖∇L‖.",),
                n_seeds=1,
                method="complete enumeration",
            ),
            _HELD,
            measured=distance,
            bound=0.0,
            unit="share of ‖∇L‖",
        ),
        equality(
            "eq-6",
            "σ² of a minibatch drawn without replacement: estimator on single samples, and all minibatches",
            estimate,
            spread,
            unit=_UNIT,
        ),
    ]


def _gradient_of_the_mean_loss(left: Floats, right: Floats, inputs: Floats, outputs: Floats) -> Floats:
    import torch

    factors = [torch.from_numpy(part.copy()).requires_grad_() for part in (left, right)]
    error = torch.from_numpy(inputs) @ (factors[0] @ factors[1]).T - torch.from_numpy(outputs)
    parts = torch.autograd.grad(error.square().sum() / (2 * len(inputs)), factors)
    return np.concatenate([part.numpy().ravel() for part in parts])


def on_variance(generator: np.random.Generator) -> list[Finding]:
    """Estimate a planted σ² from 2000 gradients: it has to lie in the interval, and half or twice of it must not."""
    scales = np.array([2.0, 1.0, 0.5, 0.1])
    truth = float((scales**2).sum())
    drawn = 3.0 + scales * generator.standard_normal((2000, scales.size))
    found = tk.gradient_variance(drawn, confidence=1 - ALPHA)
    low, high = found.interval
    return [
        Finding(
            "eq-6",
            Form.INSTRUMENT,
            "interval of σ² from 2000 gradients of planted variance",
            Verdict(
                "σ² lies in its interval",
                Instance.HOLDS if low <= truth <= high and high < 2 * low else Instance.VIOLATED,
                reasons=(f"planted {truth:.4g}, interval [{low:.4g}, {high:.4g}].",),
                n_seeds=1,
                alpha=ALPHA,
                method="jackknife interval",
            ),
            _HELD,
            measured=found.variance,
            interval=found.interval,
            bound=truth,
            unit=_UNIT,
        )
    ]


def on_truncation(last: Floats, squared_bias: Floats, gaps: Floats) -> list[Finding]:
    """Judge eq 11 on a gradient taken at the truncated teacher: ε² c = β², once as ε²/√T and once as a floor.

    Args:
        last: Average of ‖∇L‖² at the last T, ``[seeds]``.
        squared_bias: β² of each seed.
        gaps: Δ of each seed.
    """
    steps, step = SHORT_SIZES[-1], quadratics.TRUNCATED_STEP
    known = {"smoothness": 1 / step, "initial_gap": gaps, "gradient_variance": 0.0}
    bias = np.sqrt(squared_bias)
    bounds = {
        Form.PRINTED: tk.printed_sgd_bound(steps, truncation_error=bias, constant=1.0, **known),
        Form.CORRECTED: tk.sgd_convergence_bound(steps, step_size=step, gradient_bias=bias, **known),
    }
    found = []
    for form, formula in ((Form.PRINTED, "2LΔ/T + β²/√T"), (Form.CORRECTED, "2LΔ/T + β²")):
        what = (
            f"gradient at the truncated teacher, T = {steps}: average of ‖∇L‖² over {formula}, β² registered for c ε²"
        )
        ratios = last / bounds[form]  # nothing is random in a run: each is one instance of a for-all inequality
        search = AdversarialSearch(ratios.size, 0, float(ratios.max()), ratios, reproduced=True)
        verdict = inequality_verdict(search, rounding=1e-9, statement=what)
        expected = _BROKEN if form is Form.PRINTED else _HELD
        found.append(
            Finding("eq-11", form, what, verdict, expected, float(ratios.max()), bound=1.0, unit="share of the bound")
        )
    return found


def _sizes(name: str) -> tuple[int, ...]:
    return SHORT_SIZES if name in _SHORT else SIZES


def _rates(curves: dict[str, Floats], context: Context, explicit: dict[tuple[str, str], Instance]) -> list[Finding]:
    return [
        rate_finding(
            rate_plan(RATES[rate], _sizes(name), seeds=SEEDS, sd_log=SD_LOG, margin=MARGIN, alpha=ALPHA),
            curves[name],
            context.generator("slope", name, rate),
            form=form,
            what=f"average of ‖∇f‖² is O({rate}), an upper bound, and follows it: {name}",
            explicit=explicit.get((name, rate)),
            expected=expected,
        )
        for name, rate, form, expected in _SLOPES
    ]
