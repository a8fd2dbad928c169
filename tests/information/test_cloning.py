from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from tests.information.covariances import isotropic
from theorykit.errors import InputError, NonFiniteError
from theorykit.information import (
    clone_loss,
    clone_loss_from_correlation,
    cloning_information_bound,
    correlation_from_clone_loss,
    gaussian_mutual_information,
    isotropic_gaussian_mutual_information,
    largest_printed_constant,
    printed_cloning_bound,
    rate_distortion,
)

model = {"dimension": st.integers(1, 4096), "variance": st.floats(1e-8, 1e8)}


def test_counterexample_4_eq_23_with_constant_0_is_false():
    loss = clone_loss_from_correlation(0.0, 64, 1e-6)
    assert isotropic_gaussian_mutual_information(0.0, 64) == 0.0
    assert gaussian_mutual_information(isotropic(0.0, 64, 1e-6), 64) == 0.0
    assert printed_cloning_bound(loss, 64) == pytest.approx(4.1548, abs=1e-4)
    assert printed_cloning_bound(loss, 64, largest_printed_constant(64, 1e-6)) <= 0.0


def test_the_three_forms_and_eqs_26_and_27_by_sympy():
    d, s, loss, rho = sp.symbols("d sigma L rho", positive=True)
    relative = loss / (d * s**2)
    # eq 26: E(t − s)² = 2σ² − 2ρσ² per coordinate
    solved = sp.solve(sp.Eq(loss, d * (2 * s**2 - 2 * rho * s**2)), rho)[0]
    assert sp.simplify(solved - (1 - relative / 2)) == 0
    product = sp.simplify(1 - solved**2)
    assert sp.simplify(product - relative * (1 - relative / 4)) == 0  # exp(−2 I / d)
    # logarithmic: the exact form less −(d/2) log(1 − u/4) ≥ 0
    assert sp.simplify(product / relative - (1 - relative / 4)) == 0
    # affine: the tangent of −(d/2) log u at u = 1, L = dσ²
    logarithmic = -d / 2 * sp.log(relative)
    point = d * s**2
    tangent = logarithmic.subs(loss, point) + sp.diff(logarithmic, loss).subs(loss, point) * (loss - point)
    assert sp.simplify(tangent - d / 2 * (1 - relative)) == 0
    # the tangent at L = 1 has (d/2) log d where eq 23 has log d
    at_one = logarithmic.subs(loss, 1) + sp.diff(logarithmic, loss).subs(loss, 1) * (loss - 1)
    at_one = sp.expand_log(at_one, force=True)
    assert sp.simplify(at_one - (d / 2 * sp.log(d) - d / 2 * loss + d / 2 * (1 + 2 * sp.log(s)))) == 0


def test_the_largest_constant_by_sympy():
    """Stationary points of −½ log[u (1 − u/4)] + ½ k u: one in (0, 4), a minimum since the function is convex."""
    u, k = sp.symbols("u k", positive=True)
    objective = -sp.log(u * (1 - u / 4)) / 2 + k * u / 2
    claimed = 4 / (2 * k + 1 + sp.sqrt(4 * k**2 + 1))
    assert sp.simplify(sp.diff(objective, u).subs(u, claimed)) == 0
    curvature = sp.simplify(sp.diff(objective, u, 2))
    assert sp.simplify(curvature - (1 / u**2 + 1 / (4 - u) ** 2) / 2) == 0


@given(correlation=st.floats(-1, 1), **model)
def test_there_and_back(correlation, dimension, variance):
    loss = clone_loss_from_correlation(correlation, dimension, variance)
    assert correlation_from_clone_loss(loss, dimension, variance) == pytest.approx(correlation, abs=1e-12)


@pytest.mark.parametrize("correlation", [-0.9, 0.0, 0.3, 0.999])
def test_the_loss_and_the_exact_form_from_the_covariance(correlation):
    covariance = isotropic(correlation, 5, 0.3)
    loss = clone_loss(covariance, 5)
    assert loss == pytest.approx(clone_loss_from_correlation(correlation, 5, 0.3))
    assert cloning_information_bound(loss, 5, 0.3, "exact") == pytest.approx(
        gaussian_mutual_information(covariance, 5), abs=1e-9
    )


@given(share=st.floats(1e-9, 4 - 1e-9), **model)
def test_the_forms_are_ordered(share, dimension, variance):
    loss = share * dimension * variance
    affine, logarithmic, exact = (
        cloning_information_bound(loss, dimension, variance, form) for form in ("affine", "logarithmic", "exact")
    )
    slack = 1e-9 * dimension
    assert affine <= logarithmic + slack
    assert logarithmic <= exact + slack
    assert exact >= -slack
    assert exact - logarithmic == pytest.approx(-dimension / 2 * np.log1p(-share / 4), rel=1e-4, abs=slack)
    assert affine <= dimension / 2
    assert (logarithmic > 0) == (loss < dimension * variance)


def test_a_variance_twice_too_large_would_be_caught():
    """The logarithmic form is tight as L → 0: with twice the variance it crosses the exact value."""
    loss = clone_loss_from_correlation(0.9, 10)
    exact = isotropic_gaussian_mutual_information(0.9, 10)
    assert cloning_information_bound(loss, 10) < exact < cloning_information_bound(loss, 10, 2.0)


def test_the_logarithmic_form_is_the_rate_distortion_function():
    loss = np.linspace(0.01, 1.0, 30) * 8 * 3.0
    np.testing.assert_allclose(
        cloning_information_bound(loss, 8, 3.0), rate_distortion(np.full(8, 3.0), loss), atol=1e-12
    )


def test_touching_points():
    assert cloning_information_bound(6.0, 6, 1.0, "logarithmic") == 0.0
    assert cloning_information_bound(6.0, 6, 1.0, "affine") == 0.0
    assert cloning_information_bound(6.0, 6, 1.0, "exact") == pytest.approx(3 * np.log(4 / 3))
    assert cloning_information_bound(0.0, 6, 1.0, "affine") == 3.0
    for form in ("logarithmic", "exact"):
        assert cloning_information_bound(0.0, 6, 1.0, form) == float("inf")
    assert cloning_information_bound(24.0, 6, 1.0, "exact") == float("inf")
    assert cloning_information_bound(240.0, 6) < 0


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("dimension", [1, 3, 64])
@pytest.mark.parametrize("variance", [1e-6, 1e-2, 1.0, 30.0])
def test_eq_23_holds_with_the_largest_constant_and_not_with_more(dimension, variance, reduction):
    rho = np.concatenate([np.linspace(-0.999999, 0.999999, 4001), 1 - np.geomspace(1e-9, 0.1, 2000)])
    loss = clone_loss_from_correlation(rho, dimension, variance) / (dimension if reduction == "mean" else 1)
    constant = largest_printed_constant(dimension, variance, reduction)
    slack = isotropic_gaussian_mutual_information(rho, dimension) - printed_cloning_bound(loss, dimension, constant)
    assert slack.min() >= -1e-9
    assert slack.min() < 1e-3 * dimension
    found = minimize_scalar(
        lambda u: (
            isotropic_gaussian_mutual_information(1 - u / 2, dimension)
            - printed_cloning_bound(u * variance * (dimension if reduction == "sum" else 1), dimension)
        ),
        bounds=(0, 4),
        options={"xatol": 1e-10},
    )
    assert constant == pytest.approx(found.fun, rel=1e-6, abs=1e-9)


def test_no_constant_without_the_variance_says_anything():
    """The largest const grows with σ² from −log d: with −log d, eq 23 reads I ≥ −(d/2) L."""
    constants = largest_printed_constant(64, np.geomspace(1e-12, 1e6, 100))
    assert (np.diff(constants) > 0).all()
    assert constants[0] == pytest.approx(-np.log(64), abs=1e-6)
    assert (constants > -np.log(64)).all()
    assert largest_printed_constant([1, 10, 1000], 1e-12) == pytest.approx(-np.log([1, 10, 1000]), abs=1e-6)


def test_with_mean_reduction_and_unit_variance_the_printed_slope_is_near_right():
    constant = largest_printed_constant(64, 1.0, "mean")
    assert constant > 32 - np.log(64)
    assert printed_cloning_bound(0.2, 64, constant) > 0.8 * 32


def test_shapes_and_floats():
    loss = np.array([[0.1], [0.2]])
    for form in ("logarithmic", "affine", "exact"):
        assert cloning_information_bound(loss, [1, 2, 3], 1.0, form).shape == (2, 3)
        assert isinstance(cloning_information_bound(0.1, 2, 1.0, form), float)
    assert printed_cloning_bound(loss, [1, 2, 3], 0.5).shape == (2, 3)
    assert largest_printed_constant([1, 2], loss).shape == (2, 2)
    assert clone_loss_from_correlation([0.0, 0.5], 2).tolist() == [4.0, 2.0]


BAD_DOMAIN = [
    (lambda: clone_loss_from_correlation(1.1, 2), "correlation = 1.1"),
    (lambda: clone_loss_from_correlation(0.5, 0), "dimension = 0"),
    (lambda: clone_loss_from_correlation(0.5, 2, 0.0), r"variance = 0 lies outside \(0, inf\)"),
    (lambda: correlation_from_clone_loss(-1.0, 2), "clone_loss = -1"),
    (lambda: correlation_from_clone_loss(8.1, 2), "above its maximum 4"),
    (lambda: cloning_information_bound(-1e-9, 2), "clone_loss = -1e-09"),
    (lambda: cloning_information_bound(1.0, 2.5), "dimension = 2.5 is not a whole number"),
    (lambda: cloning_information_bound(1.0, 2, -1.0), "variance = -1"),
    (lambda: cloning_information_bound([1.0, 9.0], 2, 1.0, "exact"), "clone_loss is 4.5 · d · variance"),
    (lambda: cloning_information_bound(1.0, 2, 1.0, "linear"), "form = 'linear' is unknown"),
    (lambda: printed_cloning_bound(-1.0, 2), "clone_loss = -1"),
    (lambda: printed_cloning_bound(1.0, -2), "dimension = -2"),
    (lambda: largest_printed_constant(2, 0.0), "variance = 0"),
    (lambda: largest_printed_constant(2, 1.0, "max"), "reduction = 'max' is unknown"),
    (lambda: clone_loss(np.eye(3), 1), "split = 1 is not half of the 3 coordinates"),
    (lambda: clone_loss(np.eye(4), 1), "split = 1 is not half"),
    (lambda: clone_loss([[1.0, 2.0], [2.0, 1.0]], 1), "negative eigenvalue"),
    (lambda: clone_loss([[1.0, 2.0]], 1), "shape"),
]


@pytest.mark.parametrize(("call", "message"), BAD_DOMAIN)
def test_out_of_domain(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: clone_loss([[np.nan]], 1), "covariance holds NaN"),
        (lambda: clone_loss_from_correlation(np.nan, 2), "correlation = nan"),
        (lambda: correlation_from_clone_loss(np.nan, 2), "clone_loss = nan"),
        (lambda: cloning_information_bound([0.1, np.nan], 2), "clone_loss = nan"),
        (lambda: printed_cloning_bound(0.1, 2, np.nan), "constant = nan"),
        (lambda: largest_printed_constant(2, np.inf), "variance = inf"),
    ],
)
def test_nan(call, message):
    with pytest.raises(NonFiniteError, match=message):
        call()
