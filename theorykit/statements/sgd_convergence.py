"""Theorem 1, eq 11: the average squared gradient norm of SGD.

No trivial bound stands beside it: 2LΔ bounds the squared norm at the start, and with noise the loss may rise above it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import sympy as sp

from theorykit.arguments import Floats
from theorykit.convergence import printed_sgd_bound, sgd_convergence_bound, tuned_step_size
from theorykit.errors import InputError
from theorykit.statements.evidence import Side, Witness, measured_later, proof, search, witness
from theorykit.statements.noisy_quadratic import HALF, second_moments
from theorykit.statements.statement import Equation, Form, Kind, Statement, Symbol

_T, _L, _GAP, _S2, _ETA, _BIAS, _EPS, _C = sp.symbols("T L Delta sigma2 eta beta epsilon c", nonnegative=True)
_PRINTED = 2 * _L * _GAP / _T + _S2 / _T + _C * _EPS**2 / sp.sqrt(_T)
_CORRECTED = 2 * _GAP / (_ETA * _T) + _L * _ETA * _S2 + _BIAS**2


def _noise() -> Witness:
    """Run f = x²/2, g = x + ξ from its minimum at η = 1/L = 1: h = L = 1, so that E f'² = E x²."""
    steps, variance = 10, sp.Integer(1)
    squares = second_moments(steps - 1, noise=variance)
    return Witness(
        f"f = x²/2, η = 1/L = 1, x_0 = 0, σ² = 1, T = {steps}: average (T − 1)σ²/T against σ²/T",
        computed=sum(squares) / sp.Integer(steps),
        printed=_PRINTED,
        values={_T: steps, _L: 1, _GAP: squares[0] / 2, _S2: variance, _EPS: 0, _C: 1, _ETA: 1, _BIAS: 0},
        corrected=_CORRECTED,
    )


def _noise_for_every_length() -> tuple[bool, str]:
    """Take the run of :func:`_noise` at any length: one step maps E x² = σ² to itself."""
    start, first, second = second_moments(2, noise=_S2)
    average = (_T - 1) * _S2 / _T
    printed = _PRINTED.subs({_L: 1, _GAP: 0, _EPS: 0})
    held = (start, first, second) == (0, _S2, _S2) and sp.simplify(average - printed - _S2 * (_T - 2) / _T) == 0
    return bool(held), "E x_0² = 0, E x_t² = σ² after it; (T − 1)σ²/T − σ²/T = (T − 2)σ²/T: violated for every T ≥ 3"


def _bias() -> tuple[bool, str]:
    """Take f = x²/2, g = x + b and η = ½ from x_0 = −b: x stays there, and the average is b² for every T."""
    bias, steps, constant = sp.symbols("b T c", positive=True)
    stays = second_moments(1, step=HALF, start=-bias, bias=bias) == [bias**2, bias**2]
    printed = _PRINTED.subs({_L: 1, _GAP: bias**2 / 2, _S2: 0, _EPS: bias, _T: steps, _C: constant})
    limit = sp.limit(printed, steps, sp.oo)
    return bool(stays and limit == 0), (
        "f = x²/2, g = x + b, η = ½, x_0 = −b: the iterate stays and the average is b² for every T, while "
        "2LΔ/T + c·b²/√T falls to 0 for every c: an error of the gradient is a floor, not O(ε²/√T)"
    )


def _tuned() -> tuple[bool, str]:
    free = 2 * _GAP / (_ETA * _T) + _L * _ETA * _S2
    step = sp.sqrt(2 * _GAP / (_L * _S2 * _T))
    positive = {symbol: sp.Symbol(symbol.name, positive=True) for symbol in (_T, _L, _GAP, _S2, _ETA)}
    free, step = free.subs(positive), step.subs(positive)
    slope = sp.simplify(sp.diff(free, positive[_ETA]).subs(positive[_ETA], step))
    value = sp.simplify(free.subs(positive[_ETA], step))
    expected = 2 * sp.sqrt(2 * positive[_L] * positive[_GAP] * positive[_S2] / positive[_T])
    # the step is 1/L where σ² ≤ a = 2LΔ/T: there a + σ² ≤ a + 2σ√a, since σ(2√a − σ) ≥ 0
    root, sigma = sp.symbols("root sigma", positive=True)
    capped = sp.expand((root**2 + 2 * sigma * root) - (root**2 + sigma**2) - sigma * (2 * root - sigma)) == 0
    return bool(slope == 0 and sp.simplify(value - expected) == 0 and capped), (
        "2Δ/(ηT) + Lησ² is least at η = sqrt(2Δ/(Lσ²T)), with the value 2σ sqrt(2LΔ/T); capped at 1/L the sum of "
        "both terms holds"
    )


def _telescoped() -> tuple[bool, str]:
    gradient, bias = sp.symbols("g b", real=True)
    # one step, with Lη ≤ 1 in its second term: −η g(g + b) + (η/2)(g + b)² = −(η/2)g² + (η/2)b²
    step = sp.expand(-_ETA * gradient * (gradient + bias) + _ETA / 2 * (gradient + bias) ** 2)
    one = sp.expand(step - (-_ETA / 2 * gradient**2 + _ETA / 2 * bias**2)) == 0
    # E L_(t+1) ≤ E L_t − (η/2) E‖∇‖² + (η/2)β² + (Lη²/2)σ², summed over T steps, times 2/(ηT)
    summed = sp.expand((_GAP + _T * (_ETA / 2 * _BIAS**2 + _L * _ETA**2 / 2 * _S2)) * 2 / (_ETA * _T))
    total = sp.simplify(summed - (2 * _GAP / (_ETA * _T) + _L * _ETA * _S2 + _BIAS**2)) == 0
    return bool(one and total), ("the descent of one step, summed and divided by ηT/2, is 2Δ/(ηT) + Lησ² + β²")


def quadratic_average(
    curvature: Floats, step: Floats, start: Floats, noise: Floats, bias: Floats, steps: Floats
) -> Floats:
    """Compute (1/T) Σ E f'(x_t)² of SGD on f = h x²/2 with gradient h x + b + ξ, an equality.

    With c = 1 − ηh and the fixed point x* = −b/h: E x_t = x* + c^t (x_0 − x*), Var x_t = η²σ² (1 − c^2t)/(1 − c²).
    """
    contraction = 1 - step * curvature
    fixed = -bias / curvature
    shift = start - fixed
    square = contraction**2
    # Σ_{t<T} c^t and Σ c^2t, by their closed forms where c ≠ 1
    first = _geometric(contraction, steps)
    second = _geometric(square, steps)
    means = fixed**2 * steps + 2 * fixed * shift * first + shift**2 * second
    spread = step**2 * noise * (steps - second) / np.maximum(1 - square, 1e-300)
    return np.asarray(curvature**2 * (means + spread) / steps, dtype=np.float64)


def _geometric(ratio: Floats, steps: Floats) -> Floats:
    near = np.abs(1 - ratio) < 1e-12
    safe = np.where(near, 0.0, ratio)
    return np.where(near, steps, (1 - safe**steps) / (1 - safe))


def _quadratics(generator: np.random.Generator, count: int) -> Floats:
    """Draw quadratics, steps, noise and bias over many magnitudes; exact average / corrected bound."""
    smoothness = 10.0 ** generator.uniform(-2, 2, count)
    curvature = smoothness * np.where(generator.random(count) < 0.5, 1.0, 10.0 ** generator.uniform(-4, 0, count))
    step = np.where(generator.random(count) < 0.5, 1.0, generator.uniform(0.01, 1, count)) / smoothness
    start = generator.standard_normal(count) * 10.0 ** generator.uniform(-2, 2, count)
    noise = np.where(generator.random(count) < 0.3, 0.0, 10.0 ** generator.uniform(-3, 3, count))
    bias = np.where(generator.random(count) < 0.5, 0.0, 10.0 ** generator.uniform(-2, 2, count))
    steps = np.floor(10.0 ** generator.uniform(0, 4, count))
    measured = quadratic_average(curvature, step, start, noise, bias, steps)
    bound = sgd_convergence_bound(
        steps,
        smoothness=smoothness,
        initial_gap=curvature * start**2 / 2,
        gradient_variance=noise,
        step_size=step,
        gradient_bias=bias,
    )
    return np.asarray(measured / bound, dtype=np.float64)


def _step_reason(values: Mapping[str, Floats]) -> str:
    length = float(values["step_size"] * values["smoothness"])
    return "" if length <= 1 + 1e-12 else f"step_size is {length:.3g}/smoothness, above the 1/L that the bound assumes"


def _tuned_step(values: Mapping[str, Floats]) -> Floats:
    """min(1/L, sqrt(2Δ/(Lσ²T))), the tuned step."""
    step = tuned_step_size(**{name: values[name] for name in ("n_steps", *(symbol.name for symbol in _COMMON))})
    if not np.all(step > 0):
        # Δ = 0 < σ²: the start is a minimum, and the best step is none
        raise InputError("initial_gap = 0: the tuned step is 0", "give step_size")
    return np.asarray(step)


_STEPS = Symbol("n_steps", _T, "T, steps of SGD", low=1, integer=True, open=False)
_COMMON = (
    Symbol("smoothness", _L, "L, Lipschitz constant of the gradient"),
    Symbol("initial_gap", _GAP, "Δ = L(θ_0) − L*, in the unit of the loss", open=False),
    Symbol("gradient_variance", _S2, "σ², supremum over the run of E‖g − E g‖²", open=False),
)

STATEMENT = Statement(
    slug="sgd-convergence",
    label="Theorem 1",
    title="Convergence of SGD",
    kind=Kind.UPPER,
    equations=(
        Equation(
            key="eq-11",
            label="eq 11",
            printed="(1/T) Σ E‖∇L‖² ≤ 2LΔ/T + σ²/T + O(ε²/√T), η = 1/L",
            corrected="η ≤ 1/L: 2Δ/(ηT) + Lησ² + β²; tuned η: 2LΔ/T + 2σ(2LΔ/T)^½ + β²; β = 0 for SGD on the factors",
            checks=(
                witness("noise does not average out at a constant step", _noise),
                proof(Side.PRINTED, "for every T ≥ 3", _noise_for_every_length, refutes=True),
                proof(Side.PRINTED, "a biased gradient leaves a floor", _bias, refutes=True),
                proof(Side.CORRECTED, "telescoped descent", _telescoped),
                proof(Side.CORRECTED, "tuned step", _tuned),
                search(Side.CORRECTED, "quadratics with noise and bias, in closed form", _quadratics),
                measured_later(Side.CORRECTED, "students", "squared gradient norms of SGD students over seeds"),
            ),
            kind=Kind.UPPER,
            remark="wrong in its last two terms; the ε term has no place where SGD follows its own loss",
        ),
    ),
    symbols=(
        _STEPS,
        *_COMMON,
        Symbol("step_size", _ETA, "η, step of SGD, at most 1/L", default=_tuned_step),
        Symbol("gradient_bias", _BIAS, "β, supremum of ‖E g − ∇L‖; 0 for SGD on the factors", open=False, default=0.0),
        Symbol("truncation_error", _EPS, "ε, sum of the layers' truncation errors", open=False, default=0.0),
        Symbol("constant", _C, "constant of the printed O(ε²/√T)", open=False, default=1.0),
    ),
    printed=Form(
        "2LΔ/T + σ²/T + c·ε²/√T",
        _PRINTED,
        lambda n_steps, smoothness, initial_gap, gradient_variance, truncation_error, constant: printed_sgd_bound(
            n_steps,
            smoothness=smoothness,
            initial_gap=initial_gap,
            gradient_variance=gradient_variance,
            truncation_error=truncation_error,
            constant=constant,
        ),
        ("n_steps", "smoothness", "initial_gap", "gradient_variance", "truncation_error", "constant"),
        equation="eq-11",
    ),
    corrected=Form(
        "2Δ/(ηT) + Lησ² + β², at the tuned η at most 2LΔ/T + 2σ(2LΔ/T)^½ + β²",
        _CORRECTED,
        lambda n_steps, smoothness, initial_gap, gradient_variance, step_size, gradient_bias: sgd_convergence_bound(
            n_steps,
            smoothness=smoothness,
            initial_gap=initial_gap,
            gradient_variance=gradient_variance,
            step_size=step_size,
            gradient_bias=gradient_bias,
        ),
        ("n_steps", "smoothness", "initial_gap", "gradient_variance", "step_size", "gradient_bias"),
        applies=_step_reason,
    ),
    assumptions=(
        "L-smooth loss, bounded below by L*",
        "gradients with bias at most β and variance at most σ² along the whole run",
        "plain SGD with a constant step η ≤ 1/L: neither AdamW nor a schedule",
    ),
    references=(
        "Ghadimi & Lan (2013), SIAM J. Optim. 23(4), Theorem 2.1",
        "Ajalloeian & Stich (2020), On the convergence of SGD with biased gradients, arXiv 2008.00051",
    ),
)
