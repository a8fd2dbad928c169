"""Theorem 1: closed forms, the two counterexamples in exact arithmetic, simulations, refusals."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from scipy.optimize import minimize_scalar

from theorykit.convergence import printed_sgd_bound, sgd_convergence_bound, tuned_step_size
from theorykit.errors import InputError, NonFiniteError

GIVEN = {"smoothness": 2.0, "initial_gap": 3.0, "gradient_variance": 0.5}


def test_the_noise_of_one_step_is_not_divided_by_the_number_of_steps():
    """Eqs 15 to 16: what the paper's own inequality gives at η = 1/L, solved by sympy, has σ² and not σ²/T."""
    square, variance, smooth, step, decrease = sp.symbols("a s L eta d", positive=True)
    eq_15 = sp.Eq(decrease, step * square - smooth * step**2 / 2 * (square + variance))
    solved = sp.solve(eq_15.subs(step, 1 / smooth), square)[0]
    assert sp.simplify(solved - (2 * smooth * decrease + variance)) == 0


def test_the_step_with_noise_and_bias():
    """The constants of one step: −η⟨∇, ∇ + b⟩ + (η/2)‖∇ + b‖² = (η/2)(b² − ∇²), for numbers and so for vectors."""
    gradient, bias, step = sp.symbols("g b eta", real=True)
    left = -step * gradient * (gradient + bias) + step / 2 * (gradient + bias) ** 2
    assert sp.expand(left - step / 2 * (bias**2 - gradient**2)) == 0


def test_hand_values():
    assert sgd_convergence_bound(12, step_size=0.5, **GIVEN) == pytest.approx(6 / 6 + 0.5)
    assert sgd_convergence_bound(12, step_size=0.25, gradient_bias=2.0, **GIVEN) == pytest.approx(6 / 3 + 0.25 + 4)
    assert sgd_convergence_bound(24, **GIVEN) == pytest.approx(0.5 + 2 * np.sqrt(0.25))
    assert sgd_convergence_bound(24, gradient_bias=3.0, **GIVEN) == pytest.approx(1.5 + 9)
    assert printed_sgd_bound(4, truncation_error=3.0, constant=0.1, **GIVEN) == pytest.approx(12 / 4 + 0.125 + 0.45)


def test_arrays_broadcast():
    steps = np.array([[1], [10], [1000]])
    steps_sizes = np.array([0.1, 0.5])
    bounds = sgd_convergence_bound(steps, step_size=steps_sizes, **GIVEN)
    assert bounds.shape == (3, 2)
    assert bounds[1, 0] == sgd_convergence_bound(10, step_size=0.1, **GIVEN)
    assert printed_sgd_bound(steps, constant=np.ones(4), **GIVEN).shape == (3, 4)
    assert tuned_step_size(steps, **GIVEN).shape == (3, 1)


@pytest.mark.parametrize("variance", [1e-6, 0.01, 0.5, 100.0])
@pytest.mark.parametrize("n_steps", [1, 7, 1000])
def test_the_tuned_step_minimises_the_bound(variance, n_steps):
    given = GIVEN | {"gradient_variance": variance}
    tuned = float(tuned_step_size(n_steps, **given))
    found = minimize_scalar(
        lambda step: float(sgd_convergence_bound(n_steps, step_size=step, **given)),
        bounds=(1e-9, 0.5),
        method="bounded",
        options={"xatol": 1e-12},
    )
    assert tuned <= 0.5
    assert sgd_convergence_bound(n_steps, step_size=tuned, **given) <= found.fun * (1 + 1e-9)


def test_the_tuned_form_lies_above_the_tuned_step_by_at_most_the_golden_ratio(rng):
    n_steps = rng.integers(1, 10**6, 4000)
    given = {
        name: 10 ** rng.uniform(-4, 4, n_steps.size) for name in ("smoothness", "initial_gap", "gradient_variance")
    }
    at_step = sgd_convergence_bound(n_steps, step_size=tuned_step_size(n_steps, **given), **given)
    ratio = sgd_convergence_bound(n_steps, **given) / at_step
    assert ratio.min() >= 1 - 1e-12
    assert 1.6 < ratio.max() <= (1 + np.sqrt(5)) / 2 + 1e-12


def test_limits_of_the_tuned_step():
    assert tuned_step_size(5, smoothness=4.0, initial_gap=1.0, gradient_variance=0.0) == 0.25
    assert tuned_step_size(5, smoothness=4.0, initial_gap=0.0, gradient_variance=0.0) == 0.25
    assert tuned_step_size(5, smoothness=4.0, initial_gap=0.0, gradient_variance=1.0) == 0.0
    assert sgd_convergence_bound(5, smoothness=4.0, initial_gap=0.0, gradient_variance=1.0) == 0.0


def test_rates():
    late, later = np.array([1e6, 4e6])
    noisy = [float(sgd_convergence_bound(steps, **GIVEN)) for steps in (late, later)]
    assert noisy[0] / noisy[1] == pytest.approx(2.0, rel=1e-2)
    quiet = [float(sgd_convergence_bound(steps, **GIVEN | {"gradient_variance": 0.0})) for steps in (late, later)]
    assert quiet[0] / quiet[1] == pytest.approx(4.0)


def average_on_the_parabola(n_steps: int, step: Fraction, variance: Fraction, bias: Fraction, start: Fraction):
    """Return (1/T) Σ E x_t² exactly, for x²/2 and g = x + bias + noise: two moments obey a linear recursion."""
    mean, second, total = start, start**2, Fraction(0)
    for _ in range(n_steps):
        total += second
        shrunk = 1 - step
        second = shrunk**2 * second - 2 * shrunk * step * bias * mean + step**2 * (bias**2 + variance)
        mean = shrunk * mean - step * bias
    return total / n_steps


@pytest.mark.parametrize("n_steps", [1, 2, 3, 10, 100])
def test_counterexample_1_noise(n_steps):
    """η = 1/L, x_0 = 0: the average is (T − 1)σ²/T, above the printed σ²/T from T = 3 on, below the corrected σ²."""
    variance = Fraction(7, 3)
    average = average_on_the_parabola(n_steps, Fraction(1), variance, Fraction(0), Fraction(0))
    assert average == Fraction(n_steps - 1, n_steps) * variance
    given = {"smoothness": 1.0, "initial_gap": 0.0, "gradient_variance": float(variance)}
    printed = printed_sgd_bound(n_steps, constant=1.0, **given)
    assert (float(average) > printed + 1e-12) == (n_steps >= 3)
    assert average <= variance
    assert sgd_convergence_bound(n_steps, step_size=1.0, **given) == pytest.approx(float(variance))


def test_counterexample_2_bias():
    """η = ½, g = x + b: the average tends to b²; ε²/√T with any constant tends to 0."""
    bias, start = Fraction(1, 3), Fraction(1)
    for n_steps in (1, 10, 1000):
        average = average_on_the_parabola(n_steps, Fraction(1, 2), Fraction(0), bias, start)
        bound = sgd_convergence_bound(
            n_steps,
            smoothness=1.0,
            initial_gap=0.5,
            gradient_variance=0.0,
            step_size=0.5,
            gradient_bias=float(bias),
        )
        assert float(average) <= bound
    assert float(average) == pytest.approx(float(bias**2), rel=1e-2)
    given = {"smoothness": 1.0, "initial_gap": 0.5, "gradient_variance": 0.0}
    assert printed_sgd_bound(10**8, truncation_error=1.0, constant=100.0, **given) < float(bias**2)


def test_no_moment_recursion_crosses_the_bound(rng):
    """Adversarial search in closed form: parabolas of every curvature up to L, any start, step, noise and bias."""
    largest = 0.0
    for _ in range(400):
        step, curvature = Fraction(int(rng.integers(1, 65)), 64), Fraction(int(rng.integers(1, 9)), 8)
        variance, bias = Fraction(int(rng.integers(0, 9)), 4), Fraction(int(rng.integers(-4, 5)), 2)
        start = Fraction(int(rng.integers(-8, 9)), 4)
        n_steps = int(rng.integers(1, 40))
        # for curvature c: gradient y = c x obeys y⁺ = y − (c η)(y + b + noise), the parabola with step c η
        average = average_on_the_parabola(n_steps, curvature * step, variance, bias, start)
        gap = start**2 / (2 * curvature)
        bound = sgd_convergence_bound(
            n_steps,
            smoothness=1.0,
            initial_gap=float(gap),
            gradient_variance=float(variance),
            step_size=float(step),
            gradient_bias=abs(float(bias)),
        )
        largest = max(largest, float(average) / bound if bound else 0.0)
    assert largest <= 1 + 1e-12, f"largest ratio {largest}"
    assert largest > 0.9, f"the search is weak: largest ratio {largest}"


@pytest.mark.parametrize(("step", "floor"), [(1.0, 1.0), (0.5, 1 / 3), (0.125, 0.125 / 1.875)])
def test_the_floor_of_a_noisy_quadratic(rng, step, floor):
    """Monte Carlo, 2000 runs of 400 steps, normal noise of variance 1 in 4 dimensions: floor Lησ²/(2 − Lη)."""
    runs, n_steps, size = 2000, 400, 4
    place = np.zeros((runs, size))
    squares = np.zeros(runs)
    for _ in range(n_steps):
        squares += (place**2).sum(axis=1)
        place -= step * (place + rng.standard_normal((runs, size)) / np.sqrt(size))
    averages = squares / n_steps
    error = averages.std(ddof=1) / np.sqrt(runs)
    start_up = 1 / (step * (2 - step) * n_steps)  # the steps that the floor takes to build up
    assert abs(averages.mean() - floor) < 5 * error + floor * start_up
    bound = sgd_convergence_bound(n_steps, smoothness=1.0, initial_gap=0.0, gradient_variance=1.0, step_size=step)
    assert averages.mean() - 5 * error <= bound
    if step == 1.0:
        assert averages.mean() - 5 * error > 0.9 * bound
        assert averages.mean() - 5 * error > printed_sgd_bound(
            n_steps, smoothness=1.0, initial_gap=0.0, gradient_variance=1.0, constant=1.0
        )


@pytest.mark.parametrize("function", [sgd_convergence_bound, tuned_step_size, printed_sgd_bound])
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("n_steps", 0, r"n_steps = 0 lies outside \[1, inf\)"),
        ("n_steps", -3, "n_steps = -3 lies outside"),
        ("n_steps", 2.5, "n_steps = 2.5 is not a whole number"),
        ("n_steps", [10, 1.5], "n_steps = 1.5 is not a whole number"),
        ("n_steps", True, "n_steps is not made of real numbers"),
        ("n_steps", np.inf, "n_steps = inf lies outside"),
        ("smoothness", 0.0, r"smoothness = 0 lies outside \(0, inf\)"),
        ("smoothness", [1.0, np.nan], "smoothness = nan lies outside"),
        ("smoothness", "steep", "smoothness is not made of real numbers"),
        ("initial_gap", -1e-9, r"initial_gap = -1e-09 lies outside \[0, inf\)"),
        ("gradient_variance", -1.0, r"gradient_variance = -1 lies outside \[0, inf\)"),
        ("gradient_variance", 1j, "gradient_variance is not made of real numbers"),
        ("gradient_variance", [[1.0], [1.0, 2.0]], "gradient_variance is not made of real numbers"),
    ],
)
def test_refusals_of_all_three(function, name, value, message):
    arguments = {"n_steps": 10, **GIVEN, name: value}
    if function is printed_sgd_bound:
        arguments["constant"] = 1.0
    with pytest.raises(InputError, match=message):
        function(**arguments)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("step_size", 0.51, r"step_size = 0\.51 is above 1/smoothness = 0\.5"),
        ("step_size", [0.1, 0.6], r"step_size = 0\.6 is above 1/smoothness"),
        ("step_size", 0.0, r"step_size = 0 lies outside \(0, inf\)"),
        ("step_size", -0.1, "step_size = -0.1 lies outside"),
        ("gradient_bias", -1.0, r"gradient_bias = -1 lies outside \[0, inf\)"),
    ],
)
def test_refusals_of_the_corrected_bound(name, value, message):
    with pytest.raises(InputError, match=message):
        sgd_convergence_bound(10, **GIVEN, **{name: value})


def test_a_step_of_one_over_l_survives_rounding():
    for smoothness in (3.0, 7.0, 49.0, 1e-300, 123.456):
        assert np.isfinite(
            sgd_convergence_bound(
                9, smoothness=smoothness, initial_gap=1.0, gradient_variance=1.0, step_size=1 / smoothness
            )
        )


@pytest.mark.parametrize("name", ["constant", "truncation_error"])
def test_refusals_of_the_printed_bound(name):
    arguments = {"constant": 1.0, "truncation_error": 1.0, name: -1.0}
    with pytest.raises(InputError, match=rf"{name} = -1 lies outside \[0, inf\)"):
        printed_sgd_bound(10, **GIVEN, **arguments)
    with pytest.raises(NonFiniteError, match=f"{name} = nan"):
        printed_sgd_bound(10, **GIVEN, **(arguments | {name: np.nan}))
