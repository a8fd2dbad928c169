"""How small SGD makes the squared gradient norm on average: Theorem 1 as printed (eq 11) and corrected.

One step of length η ≤ 1/L with g = ∇L + b + noise, ‖b‖ ≤ β and noise of mean 0 and variance at most σ², obeys

    E L(θ⁺) ≤ L(θ) − η⟨∇L, ∇L + b⟩ + (Lη²/2)(‖∇L + b‖² + σ²) ≤ L(θ) − (η/2)‖∇L‖² + (η/2)β² + (Lη²/2)σ²,

the second step by Lη ≤ 1. Summed over T steps and divided by ηT/2 it is the bound below: the noise term is not
divided by T, which eqs 11 and 16 do.

The truncation error ε has no place in it. SGD on the factors (P_left, P_right) follows the gradient of the factored
loss itself and is unbiased for it: ε enters its least value L*, not its convergence. Only a method that takes the
gradient at W_t and follows it elsewhere has a bias, and a bias leaves a floor β² that no number of steps removes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from theorykit.arguments import Floats, calculation, positive_array, whole_number_array
from theorykit.errors import InputError

_STEP_ROUNDING = 1e-12
"""A step of 1/L computed in floating point may exceed 1/L by this much, relative."""


def _checked(n_steps: Any, smoothness: Any, initial_gap: Any, gradient_variance: Any) -> dict[str, Floats]:
    """Return T, L, Δ and σ² by name, in that order, as arrays in their domains."""
    return {
        "n_steps": whole_number_array("n_steps", n_steps),
        "smoothness": positive_array("smoothness", smoothness),
        "initial_gap": positive_array("initial_gap", initial_gap, allow_zero=True),
        "gradient_variance": positive_array("gradient_variance", gradient_variance, allow_zero=True),
    }


def _checked_step(step_size: Any, smoothness: Floats) -> Floats:
    step = positive_array("step_size", step_size)
    with calculation(step_size=step, smoothness=smoothness):
        steps, limits = np.broadcast_arrays(step, smoothness)
        too_long = steps * limits > 1 + _STEP_ROUNDING
    if too_long.any():
        raise InputError(
            f"step_size = {steps[too_long][0]} is above 1/smoothness = {1 / limits[too_long][0]}",
            "the bound is derived for step_size ≤ 1/smoothness: give a shorter step",
        )
    return step


def tuned_step_size(n_steps: Any, *, smoothness: Any, initial_gap: Any, gradient_variance: Any) -> Any:
    """Compute the step min(1/L, sqrt(2Δ/(L σ² T))) that minimises 2Δ/(ηT) + Lησ² over η ≤ 1/L.

    An equality. In squared units of the parameters per unit of the loss.

    Args:
        n_steps: T, whole, at least 1; all arguments broadcast.
        smoothness: L > 0, Lipschitz constant of the gradient.
        initial_gap: Δ = L(θ0) − L* ≥ 0.
        gradient_variance: σ² ≥ 0; at 0 the step is 1/L.

    Returns:
        η, the broadcast shape; 0 where Δ = 0 < σ², since the start is already a minimum.

    Raises:
        InputError: an argument outside its domain.

    References:
        Ghadimi & Lan (2013), Stochastic first- and zeroth-order methods for nonconvex stochastic programming,
        SIAM J. Optim. 23(4), Corollary 2.2.

    Example:
        >>> float(tuned_step_size(200, smoothness=1.0, initial_gap=1.0, gradient_variance=1.0))
        0.1
    """
    given = _checked(n_steps, smoothness, initial_gap, gradient_variance)
    steps, smooth, gap, variance = given.values()
    noisy = np.where(variance > 0, variance, 1.0)
    with calculation(**given):
        balanced = np.sqrt(2 * gap / smooth / noisy / steps)
        return np.where(variance > 0, np.minimum(1 / smooth, balanced), 1 / smooth)[()]


def sgd_convergence_bound(
    n_steps: Any,
    *,
    smoothness: Any,
    initial_gap: Any,
    gradient_variance: Any,
    step_size: Any = None,
    gradient_bias: Any = 0.0,
) -> Any:
    """Bound the average (1/T) Σ_{t<T} E‖∇L(θ_t)‖² (squared norm) of T steps of SGD: Theorem 1, corrected.

    An upper bound in expectation, for θ_{t+1} = θ_t − η g_t, where L is bounded below by L* and L-smooth on a convex
    set that holds the whole run, and E[g | θ] differs from ∇L(θ) by at most β:

        constant step η ≤ 1/L:        2Δ/(ηT) + Lησ² + β²
        tuned step (step_size None):  2LΔ/T + 2σ sqrt(2LΔ/T) + β²

    At η = 1/L no constant can go: without noise and bias 2LΔ/T is met for every T, and L‖θ‖²/2 with isotropic noise has
    the floor σ² for T → ∞. What is not sharp:

    - The last step moves nothing that is averaged. Where L is smooth everywhere, ‖∇L‖² ≤ 2L(L − L*) in its place gives
      2Δ/(ηT) + (Lησ² + β²)(T − 1)/T, which semidefinite programs find exact at η = 1/L.
    - Without bias the same argument gives (2Δ/(ηT) + Lησ²)/(2 − Lη), for every η < 2/L.
    - The tuned form is the textbook's. The constant form at :func:`tuned_step_size` is below it by a factor of at most
      (1 + √5)/2: with a = 2LΔ/T it is a + σ² where σ² ≤ a, else 2σ√a.

    There is no term in the truncation error ε: SGD on the factors is unbiased for its own loss. Neither adaptive
    methods (Adam) nor changing steps nor momentum are covered.

    Args:
        n_steps: T, whole, at least 1; all arguments broadcast.
        smoothness: L > 0.
        initial_gap: Δ = L(θ0) − L* ≥ 0, in the unit of the loss.
        gradient_variance: σ² ≥ 0: a supremum of E‖g − E g‖² over the whole trajectory.
        step_size: η in (0, 1/L]; None for the tuned step.
        gradient_bias: β ≥ 0: a supremum of ‖E[g | θ] − ∇L(θ)‖ over the trajectory.

    Returns:
        Squared norm of the gradient (loss² per parameter²), the broadcast shape.

    Raises:
        InputError: an argument outside its domain, a step above 1/L among them.

    References:
        Ghadimi & Lan (2013), SIAM J. Optim. 23(4), Theorem 2.1; Bottou, Curtis & Nocedal (2018), SIAM Review 60(2),
        Theorem 4.8; with bias Ajalloeian & Stich (2020), arXiv 2008.00051, with their m = M = 0 and ζ = β.

    Example:
        >>> float(sgd_convergence_bound(10, smoothness=2.0, initial_gap=1.0, gradient_variance=0.5, step_size=0.5))
        0.9
        >>> float(sgd_convergence_bound(8, smoothness=1.0, initial_gap=1.0, gradient_variance=1.0))
        1.25
    """
    given = _checked(n_steps, smoothness, initial_gap, gradient_variance)
    steps, smooth, gap, variance = given.values()
    bias = positive_array("gradient_bias", gradient_bias, allow_zero=True)
    if step_size is None:
        with calculation(**given, gradient_bias=bias):
            descent = 2 * smooth * gap / steps
            return descent + 2 * np.sqrt(variance) * np.sqrt(descent) + bias**2
    step = _checked_step(step_size, smooth)
    with calculation(**given, step_size=step, gradient_bias=bias):
        return 2 * gap / step / steps + smooth * step * variance + bias**2


def printed_sgd_bound(
    n_steps: Any,
    *,
    smoothness: Any,
    initial_gap: Any,
    gradient_variance: Any,
    truncation_error: Any = 0.0,
    constant: Any,
) -> Any:
    """Evaluate 2LΔ/T + σ²/T + c ε²/√T, eq 11 as printed for the step 1/L, with an explicit c for its O(·).

    Printed as an upper bound; it is none. With L = x²/2, g = x + ξ, η = 1 and x_0 = 0 the average is (T − 1)σ²/T, above
    σ²/T for every T ≥ 3; with a bias b in place of the noise it tends to b², while ε²/√T tends to 0. As an O(·) the
    last term says nothing about one run until c is fixed beforehand. T, L, Δ and σ² are those of
    :func:`sgd_convergence_bound`; ε = Σ_l ε_l ≥ 0 has the Frobenius norms of what rank r leaves out, and c ≥ 0 is
    registered by the caller.

    Returns:
        Squared norm of the gradient, the broadcast shape.

    Raises:
        InputError: an argument outside its domain.

    References:
        arXiv 2603.22355, eq 11 (Theorem 1).

    Example:
        >>> given = {"smoothness": 1.0, "initial_gap": 1.0, "gradient_variance": 2.0}
        >>> float(printed_sgd_bound(4, truncation_error=1.0, constant=3.0, **given))
        2.5
    """
    given = _checked(n_steps, smoothness, initial_gap, gradient_variance)
    steps, smooth, gap, variance = given.values()
    error = positive_array("truncation_error", truncation_error, allow_zero=True)
    factor = positive_array("constant", constant, allow_zero=True)
    with calculation(**given, truncation_error=error, constant=factor):
        return (2 * smooth * gap + variance) / steps + factor * error**2 / np.sqrt(steps)
