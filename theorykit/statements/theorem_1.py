"""Theorem 1, eqs 5, 6 and 11–16: the average squared gradient norm of SGD, with its assumptions and its proof.

No trivial bound stands beside it: 2LΔ bounds the squared norm at the start, and with noise the loss may rise above it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp

from theorykit.arguments import Floats
from theorykit.convergence import factored_smoothness_bound, printed_sgd_bound, sgd_convergence_bound, tuned_step_size
from theorykit.errors import InputError
from theorykit.statements.evidence import Form, Witness, identity, measured_later, proof, search, witness
from theorykit.statements.readings import Reading
from theorykit.statements.statement import Equation, Kind, NumericForm, Statement, Symbol

_LW, _G, _M, _BALL = sp.symbols("L_W G M B", nonnegative=True)
_P, _Q, _AT = sp.symbols("p q t", real=True)
_CANDIDATE, _DISTANCE = sp.symbols("L distance", nonnegative=True)
_FACTORED = (_P * _Q - 1) ** 2 / 2
_CORRECTED_5 = 2 * _LW * _M**2 * _BALL**2 + _G * _M


def _hessian() -> tuple[bool, str]:
    at_point = sp.hessian(_FACTORED, (_P, _Q)).subs({_P: _AT, _Q: _AT})
    eigenvalues = {sp.expand(value) for value in at_point.eigenvals()}
    held = (
        eigenvalues == {sp.expand(3 * _AT**2 - 1), sp.expand(1 - _AT**2)}
        and sp.limit(3 * _AT**2 - 1, _AT, sp.oo) == sp.oo
    )
    return bool(held), (
        "½(pq − 1)², a factored scalar with a loss that is 1-smooth in pq, has the Hessian eigenvalues 3t² − 1 and "
        "1 − t² at p = q = t, the first the larger in size from t = 1/√2 on: no L serves for all θ"
    )


def _steep() -> Witness:
    """Differentiate ½(pq − 1)² at p = q = √L and at its minimum p = q = 1; W_t = 1, the loss 1-smooth in pq."""
    constant = sp.Integer(10) ** 6
    size = sp.sqrt(constant)
    gradient = sp.Matrix([sp.diff(_FACTORED, symbol) for symbol in (_P, _Q)])
    difference = gradient.subs({_P: size, _Q: size}) - gradient.subs({_P: 1, _Q: 1})
    return Witness(
        "½(pq − 1)² between p = q = 1000 and p = q = 1: ‖∇L(θ) − ∇L(θ')‖ against the candidate L = 10⁶ times ‖θ − θ'‖",
        computed=difference.norm(),
        printed=_CANDIDATE * _DISTANCE,
        values={
            _CANDIDATE: constant,
            _DISTANCE: sp.Matrix([size - 1, size - 1]).norm(),
            **{_LW: 1, _M: 1, _BALL: size, _G: constant + 1},  # |pq − 1| ≤ B² + 1 in the ball
        },
        corrected=_CORRECTED_5 * _DISTANCE,
    )


def _curvatures(generator: np.random.Generator, count: int) -> Floats:
    """Draw scalar factored losses φ(p w q) with |φ''| ≤ L_W and |φ'| ≤ G at the point; ‖Hessian‖₂ / bound.

    In (p, q) the Hessian is φ'' w² (q, p)(q, p)ᵀ + φ' w (0 1; 1 0); the largest is met at p = q, equal signs.
    """
    weight, slope, curvature = generator.exponential(size=(3, count)) ** 2
    size = generator.exponential(size=count) ** 2
    near = generator.random(count) < 0.5
    p = np.where(near, size, size * generator.uniform(-1, 1, count))
    q = np.where(near, size, size * generator.uniform(-1, 1, count))
    second = np.where(near, curvature, curvature * generator.uniform(-1, 1, count))
    first = np.where(near, slope, slope * generator.uniform(-1, 1, count))
    corner = second * weight**2 * p * q + first * weight
    hessian = np.stack(
        [np.stack([second * weight**2 * q**2, corner], -1), np.stack([corner, second * weight**2 * p**2], -1)], -2
    )
    norm = np.abs(np.linalg.eigvalsh(hessian)).max(axis=-1)
    bound = factored_smoothness_bound(
        curvature, slope, teacher_norm=weight, projection_norm=np.maximum(np.abs(p), np.abs(q))
    )
    return np.asarray(norm / bound, dtype=np.float64)


ASSUMPTION_1 = Statement(
    slug="smoothness",
    label="Assumption 1",
    title="Smoothness in the factors",
    kind=Kind.PREMISE,
    equations=(
        Equation(
            key="eq-5",
            label="eq 5",
            printed="‖∇L(θ) − ∇L(θ')‖ ≤ L‖θ − θ'‖ for all θ, θ'",
            corrected="where ‖P‖₂ ≤ B: L_P ≤ 2 L_W M² B² + G M, M = ‖W_t‖₂",
            checks=(
                proof(Form.REMARK, "a factored loss without any L for all θ", _hessian),
                witness("curvature above a candidate", _steep, side=Form.REMARK),
                search(Form.CORRECTED, "local smoothness of factored losses", _curvatures),
            ),
            kind=Kind.PREMISE,
            remark="a premise; no factored loss with curvature meets it for all θ, on a ball one does",
        ),
    ),
    symbols=(
        Symbol("weight_smoothness", _LW, "L_W, smoothness of the loss in the student's weights"),
        Symbol("gradient_norm", _G, "G, largest ‖∇_W L‖ in the ball"),
        Symbol("teacher_norm", _M, "M = ‖W_t‖₂"),
        Symbol("projection_norm", _BALL, "B, largest spectral norm of a factor"),
    ),
    corrected=NumericForm(
        "2 L_W M² B² + G M",
        _CORRECTED_5,
        factored_smoothness_bound,
    ),
    assumptions=("loss L_W-smooth in W_s", "both factors of spectral norm at most B along the run"),
)


def _least_squares() -> tuple[bool, str]:
    """Take one-dimensional least squares (a x − b)²/2 with a² = 1 ± d at random: g = a²x − ab."""
    x, d = sp.symbols("x d", positive=True)
    gradients = [(1 + d) * x, (1 - d) * x]  # b = 0
    mean = sp.expand(sum(gradients) / 2)
    variance = sp.expand(sum((gradient - mean) ** 2 for gradient in gradients) / 2)
    held = mean == x and sp.simplify(variance - d**2 * x**2) == 0
    return bool(held), (
        "least squares with a² = 1 ± d: the gradient is unbiased and its variance d²x² grows without bound with "
        "the iterate, so that σ² is a "
        "supremum over the trajectory and has to be measured along it"
    )


ASSUMPTION_2 = Statement(
    slug="gradient-variance",
    label="Assumption 2",
    title="Variance of the stochastic gradient",
    kind=Kind.PREMISE,
    equations=(
        Equation(
            key="eq-6",
            label="eq 6",
            printed="E g = ∇L, E‖g − ∇L‖² ≤ σ²",
            corrected="σ² is the supremum over the trajectory",
            checks=(proof(Form.REMARK, "variance of a plain least-squares gradient", _least_squares),),
            kind=Kind.PREMISE,
            remark="a premise, and a standard one; global only where the variance does not grow with θ",
        ),
    ),
    references=("Bottou, Curtis & Nocedal (2018), Assumption 4.3, which lets the variance grow",),
)


_HALF = sp.Rational(1, 2)


def second_moments(
    n_steps: int, *, curvature: Any = 1, step: Any = 1, start: Any = 0, noise: Any = 0, bias: Any = 0
) -> list[sp.Expr]:
    """Compute E x_t², t = 0 … T, of SGD on f = h x²/2 with gradient h x + b + ξ, by its recursion; an equality.

    Mean and variance follow E x⁺ = (1 − ηh) E x − ηb and Var x⁺ = (1 − ηh)² Var x + η²σ². Then E f = (h/2) E x² and
    E f'² = h² E x².

    Args:
        n_steps: T.
        curvature: h, a sympy number or symbol, as all that follow.
        step: η.
        start: x_0.
        noise: σ², the variance of ξ.
        bias: b.

    Returns:
        T + 1 exact expressions.

    Example:
        >>> second_moments(2, noise=1)
        [0, 1, 1]
    """
    contraction = 1 - step * sp.sympify(curvature)
    mean, variance = sp.sympify(start), sp.Integer(0)
    moments = [sp.expand(mean**2 + variance)]
    for _ in range(n_steps):
        mean = sp.expand(contraction * mean - step * bias)
        variance = sp.expand(contraction**2 * variance + step**2 * noise)
        moments.append(sp.expand(mean**2 + variance))
    return moments


_T, _L, _GAP, _S2, _ETA, _BIAS, _EPS, _C = sp.symbols("T L Delta sigma2 eta beta epsilon c", positive=True)
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
    printed = _PRINTED.subs({_L: 1, _GAP: 0})
    at_zero = sp.simplify(average - printed.subs(_EPS, 0) - _S2 * (_T - 2) / _T) == 0
    far = sp.limit(average, _T, sp.oo) == _S2 and sp.limit(printed, _T, sp.oo) == 0
    return bool((start, first, second) == (0, _S2, _S2) and at_zero and far), (
        "E x_0² = 0, E x_t² = σ² after it; at ε = 0 (T − 1)σ²/T − σ²/T = (T − 2)σ²/T: violated for every T ≥ 3; at "
        "ε > 0 the average tends to σ² and the right side to 0, whatever constant its O holds"
    )


def _bias() -> tuple[bool, str]:
    """Take f = x²/2, g = x + b and η = ½ from x_0 = −b: x stays there, and the average is b² for every T."""
    bias, steps, constant = sp.symbols("b T c", positive=True)
    stays = second_moments(1, step=_HALF, start=-bias, bias=bias) == [bias**2, bias**2]
    printed = _PRINTED.subs({_L: 1, _GAP: bias**2 / 2, _S2: 0, _EPS: bias, _T: steps, _C: constant})
    limit = sp.limit(printed, steps, sp.oo)
    return bool(stays and limit == 0), (
        "f = x²/2, g = x + b, η = ½, x_0 = −b: the iterate stays and the average is b² for every T, while "
        "2LΔ/T + c·b²/√T falls to 0 for every c: an error of the gradient is a floor, not O(ε²/√T)"
    )


def _never_below_the_noise() -> tuple[bool, str]:
    """Take the run of :func:`_noise` at ε = 0 and every length: its average (T − 1)σ²/T tends to σ²."""
    start, first, second = second_moments(2, noise=_S2)
    limit = sp.limit((_T - 1) * _S2 / _T, _T, sp.oo)
    return bool((start, first, second) == (0, _S2, _S2) and limit == _S2), (
        "f = x²/2, η = 1/L = 1, ε = 0: the average squared gradient norm tends to σ² and not to 0: a bounded ε, even "
        "ε = 0, guarantees no convergence at a fixed step"
    )


def _tuned() -> tuple[bool, str]:
    free = 2 * _GAP / (_ETA * _T) + _L * _ETA * _S2
    step = sp.sqrt(2 * _GAP / (_L * _S2 * _T))
    slope = sp.simplify(sp.diff(free, _ETA).subs(_ETA, step))
    value = sp.simplify(free.subs(_ETA, step))
    expected = 2 * sp.sqrt(2 * _L * _GAP * _S2 / _T)
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
    descent = sp.expand(step - (-_ETA / 2 * gradient**2 + _ETA / 2 * bias**2)) == 0
    # E L_(t+1) ≤ E L_t − (η/2) E‖∇‖² + (η/2)β² + (Lη²/2)σ², summed over T steps, times 2/(ηT)
    summed = sp.expand((_GAP + _T * (_ETA / 2 * _BIAS**2 + _L * _ETA**2 / 2 * _S2)) * 2 / (_ETA * _T))
    total = sp.simplify(summed - (2 * _GAP / (_ETA * _T) + _L * _ETA * _S2 + _BIAS**2)) == 0
    return bool(descent and total), ("the descent of one step, summed and divided by ηT/2, is 2Δ/(ηT) + Lησ² + β²")


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
                proof(Form.PRINTED, "for every T ≥ 3", _noise_for_every_length, refutes=True),
                proof(Form.PRINTED, "a biased gradient leaves a floor", _bias, refutes=True),
                proof(Form.CORRECTED, "telescoped descent", _telescoped),
                proof(Form.CORRECTED, "tuned step", _tuned),
                search(Form.CORRECTED, "quadratics with noise and bias, in closed form", _quadratics),
                measured_later(Form.CORRECTED, "students", "squared gradient norms of SGD students over seeds"),
            ),
            kind=Kind.UPPER,
            remark="wrong in its last two terms; the ε term has no place where SGD follows its own loss",
        ),
        Equation(
            key="convergence-guaranteed",
            label="after Theorem 1",
            printed="convergence is guaranteed as long as the approximation error ε is bounded",
            corrected="to a stationary point without noise or with a tuned step, whatever ε; else to a floor Lησ² + β²",
            checks=(proof(Form.CORRECTED, "telescoped descent", _telescoped),),
            kind=Kind.CLAIM,
            remark="ε has no part in it: SGD on the factors follows its own loss",
            readings=(
                Reading(
                    "stationary",
                    "at η = 1/L the average squared gradient norm tends to 0",
                    (proof(Form.PRINTED, "a noisy quadratic", _never_below_the_noise, refutes=True),),
                ),
                Reading(
                    "neighbourhood",
                    "at η = 1/L the average squared gradient norm comes down to a floor that does not grow with T",
                    (proof(Form.PRINTED, "telescoped descent", _telescoped),),
                ),
            ),
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
    printed=NumericForm(
        "2LΔ/T + σ²/T + c·ε²/√T",
        _PRINTED,
        printed_sgd_bound,
        equation="eq-11",
    ),
    corrected=NumericForm(
        "2Δ/(ηT) + Lησ² + β², at the tuned η at most 2LΔ/T + 2σ(2LΔ/T)^½ + β²",
        _CORRECTED,
        sgd_convergence_bound,
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


_G2, _F0, _F1 = sp.symbols("g2 f_t f_next", real=True)  # E‖∇L‖², E L(θ_t), E L(θ_(t+1))
_NABLA, _NOISE, _GRADIENT = sp.symbols("nabla xi g", real=True)
_WAY, _LENGTH = sp.symbols("t s", nonnegative=True)  # θ + t(θ' − θ), s = ‖θ' − θ‖
_CORRECTED_16 = 2 * _L * (_F0 - _F1) + _S2  # eq 16 without its 1/T
_PRINTED_16 = 2 * _L * (_F0 - _F1) + _S2 / _T


def _expectation() -> tuple[bool, str]:
    """Take E over noise ξ with E ξ = 0, E ξ² = σ²: E‖g‖² = ‖∇‖² + σ²."""
    second = sp.expand((_NABLA + _NOISE) ** 2)
    mean = second.subs(_NOISE**2, _S2).subs(_NOISE, 0)
    cross = sp.expand(_NABLA * _NOISE).subs(_NOISE, 0)
    return bool(sp.simplify(mean - _NABLA**2 - _S2) == 0 and cross == 0), (
        "E‖g‖² = ‖∇L‖² + σ² and E⟨∇L, ∇L − g⟩ = 0 for unbiased noise of variance σ² (at most, where σ² is a bound)"
    )


def _rearranged() -> tuple[bool, str]:
    inequality = _F1 - (_F0 - _ETA * _G2 + _L * _ETA**2 / 2 * (_G2 + _S2))  # eq 15: ≤ 0
    at_step = sp.expand(inequality.subs(_ETA, 1 / _L) * 2 * _L)
    held = sp.simplify(at_step - (_G2 - _CORRECTED_16)) == 0
    return bool(held), "eq 15 at η = 1/L is E‖∇L‖² ≤ 2L(E L_t − E L_(t+1)) + σ², with σ² and not σ²/T"


def _noise_floor() -> Witness:
    steps = 10
    before, after = second_moments(steps, noise=1)[-2:]
    return Witness(
        f"f = x²/2, η = 1/L = 1, x_0 = 0, σ² = 1, T = {steps}, last step: E‖∇f‖² against σ²/T",
        computed=before,
        printed=_PRINTED_16,
        values={_L: 1, _F0: before / 2, _F1: after / 2, _S2: 1, _T: steps},
    )


PROOF = Statement(
    slug="descent-lemma",
    label="Proof of Theorem 1",
    title="Descent lemma and one SGD step",
    kind=Kind.UPPER,
    equations=(
        Equation(
            key="eq-12",
            label="eq 12",
            printed="L(θ') ≤ L(θ) + ⟨∇L(θ), θ' − θ⟩ + (L/2)‖θ' − θ‖²",
            checks=(
                # L(θ') − L(θ) − ⟨∇L(θ), θ' − θ⟩ = ∫₀¹ ⟨∇L(θ + t(θ' − θ)) − ∇L(θ), θ' − θ⟩ dt ≤ ∫₀¹ L t s² dt
                identity(
                    Form.PRINTED,
                    "∫₀¹ L t s² dt = L s²/2",
                    lambda: sp.integrate(_L * _WAY * _LENGTH**2, (_WAY, 0, 1)),
                    lambda: _L * _LENGTH**2 / 2,
                ),
            ),
            kind=Kind.UPPER,
        ),
        Equation(
            key="eq-13",
            label="eq 13",
            printed="L(θ_(t+1)) ≤ L(θ_t) − η⟨∇L, g_t⟩ + (Lη²/2)‖g_t‖²",
            checks=(
                identity(
                    Form.PRINTED,
                    "the step −ηg put into eq 12",
                    lambda: (_NABLA * _GRADIENT * -_ETA) + _L / 2 * (-_ETA * _GRADIENT) ** 2,
                    lambda: -_ETA * _NABLA * _GRADIENT + _L * _ETA**2 / 2 * _GRADIENT**2,
                ),
            ),
            kind=Kind.UPPER,
        ),
        Equation(
            key="eq-14",
            label="eq 14",
            printed="= L(θ_t) − η‖∇L‖² + η⟨∇L, ∇L − g_t⟩ + (Lη²/2)‖g_t‖²",
            checks=(
                identity(
                    Form.PRINTED,
                    "−η⟨∇, g⟩ = −η‖∇‖² + η⟨∇, ∇ − g⟩",
                    lambda: -_ETA * _NABLA * _GRADIENT,
                    lambda: sp.expand(-_ETA * _NABLA**2 + _ETA * _NABLA * (_NABLA - _GRADIENT)),
                ),
            ),
        ),
        Equation(
            key="eq-15",
            label="eq 15",
            printed="E L_(t+1) ≤ E L_t − η E‖∇L‖² + (Lη²/2)(E‖∇L‖² + σ²)",
            checks=(proof(Form.PRINTED, "expectation over the noise", _expectation),),
            kind=Kind.UPPER,
        ),
        Equation(
            key="eq-16",
            label="eq 16",
            printed="E‖∇L‖² ≤ 2L(E L_t − E L_(t+1)) + σ²/T",
            corrected="E‖∇L‖² ≤ 2L(E L_t − E L_(t+1)) + σ²",
            checks=(
                witness("noisy quadratic at its floor", _noise_floor),
                proof(Form.CORRECTED, "eq 15 rearranged at η = 1/L", _rearranged),
            ),
            kind=Kind.UPPER,
            remark="the noise of every step stays: the derivation gives σ², nothing divides it by T",
        ),
    ),
    assumptions=("L-smooth loss", "unbiased gradients with variance at most σ²", "η = 1/L for eq 16"),
    references=("Bottou, Curtis & Nocedal (2018), Optimization methods for large-scale machine learning, Lemma 4.2",),
)
