"""Theorem 1 against semidefinite programs: the exact worst case over all smooth functions of a few steps."""

from __future__ import annotations

import pytest
from PEPit import PEP, Point
from PEPit.functions import SmoothFunction

from theorykit.convergence import printed_sgd_bound, sgd_convergence_bound

SOLVER_ERROR = 1e-3


def worst_average(n_steps: int, step: float, *, noise: float = 0.0, bias: float = 0.0) -> float:
    """Return the largest average E‖∇L‖² over T steps with L = 1, Δ = 1, two-point noise ±n with ‖n‖ ≤ noise.

    Every function value lies above L* by at least ‖∇L‖²/2, as that of a smooth function bounded below does.
    """
    problem = PEP()
    function = problem.declare_function(SmoothFunction, L=1.0)
    least = function(function.stationary_point())
    places = [problem.set_initial_point()]
    total = 0.0
    for step_index in range(n_steps + 1):
        following = []
        for place in places:
            gradient, value = function.oracle(place)
            problem.add_constraint(value - gradient**2 / 2 >= least)
            if step_index == 0:
                problem.set_initial_condition(value - least <= 1)
            if step_index == n_steps:
                continue
            total = gradient**2 / (n_steps * len(places)) + total
            direction = gradient + bounded(problem, bias) if bias else gradient
            error = bounded(problem, noise) if noise else None
            signed = [direction] if error is None else [direction + error, direction - error]
            following += [place - step * move for move in signed]
        places = following
    problem.set_performance_metric(total)
    return float(problem.solve(verbose=0))


def bounded(problem: PEP, norm: float) -> Point:
    """Return a free vector of at most this norm."""
    vector = Point()
    problem.add_constraint(vector**2 <= norm**2)
    return vector


def corrected(n_steps: int, step: float, noise: float = 0.0, bias: float = 0.0) -> float:
    return float(
        sgd_convergence_bound(
            n_steps,
            smoothness=1.0,
            initial_gap=1.0,
            gradient_variance=noise**2,
            step_size=step,
            gradient_bias=bias,
        )
    )


@pytest.mark.parametrize("n_steps", [1, 2, 5])
def test_the_noiseless_bound_is_the_worst_case_at_one_over_l(n_steps):
    assert worst_average(n_steps, 1.0) == pytest.approx(corrected(n_steps, 1.0), rel=SOLVER_ERROR)


@pytest.mark.parametrize("n_steps", [1, 2, 5])
def test_a_short_step_costs_at_most_a_factor_of_two(n_steps):
    """At η = 1/(2L) the bound is 2Δ/(ηT) = 4/T; the sharper form (2Δ/(ηT))/(2 − Lη) is not crossed either."""
    worst = worst_average(n_steps, 0.5)
    assert worst <= corrected(n_steps, 0.5) / 1.5 * (1 + SOLVER_ERROR)
    assert worst >= corrected(n_steps, 0.5) / 2 * (1 - SOLVER_ERROR)


@pytest.mark.parametrize("n_steps", [1, 2, 3])
def test_two_point_noise(n_steps):
    """At η = 1/L the worst case is 2LΔ/T + σ²(T − 1)/T: σ² in the bound is right, the printed σ²/T is not."""
    noise = 1.5
    worst = worst_average(n_steps, 1.0, noise=noise)
    assert worst == pytest.approx(2 / n_steps + noise**2 * (n_steps - 1) / n_steps, rel=SOLVER_ERROR)
    assert worst <= corrected(n_steps, 1.0, noise)
    printed = printed_sgd_bound(
        n_steps, smoothness=1.0, initial_gap=1.0, gradient_variance=noise**2, truncation_error=0.0, constant=1.0
    )
    assert (worst > printed * (1 + SOLVER_ERROR)) == (n_steps >= 3)


def test_two_point_noise_with_a_short_step():
    """T = 2, η = 1/(2L): within a factor of two, and below the sharper form."""
    worst = worst_average(2, 0.5, noise=1.0)
    assert corrected(2, 0.5, 1.0) / 2 <= worst <= corrected(2, 0.5, 1.0) / 1.5 * (1 + SOLVER_ERROR)


@pytest.mark.parametrize("n_steps", [1, 2, 5])
@pytest.mark.parametrize("bias", [0.5, 2.0])
def test_bias(n_steps, bias):
    """At η = 1/L the worst case is 2LΔ/T + β²(T − 1)/T: below the bound, and close to it for many steps."""
    worst = worst_average(n_steps, 1.0, bias=bias)
    assert worst == pytest.approx(2 / n_steps + bias**2 * (n_steps - 1) / n_steps, rel=SOLVER_ERROR)
    assert worst <= corrected(n_steps, 1.0, 0.0, bias)


def test_noise_and_bias_together():
    worst = worst_average(2, 1.0, noise=1.0, bias=1.0)
    assert worst == pytest.approx(1.0 + 2.0 / 2, rel=SOLVER_ERROR)
    assert worst <= corrected(2, 1.0, 1.0, 1.0)
