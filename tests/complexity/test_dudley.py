from __future__ import annotations

import numpy as np
import pytest

from theorykit.complexity import (
    dudley_constant,
    dudley_entropy_integral,
    exact_rademacher_complexity,
    log_covering_number,
    low_rank_dudley_bound,
    printed_rademacher_bound,
    rank_free_rademacher_bound,
)
from theorykit.errors import InputError, NonFiniteError


def low_rank_entropy(shape, rank, bound, input_norm, constant="provable"):
    """log N in L2(P_N) of the functions: radius ε/R for the matrices."""
    return lambda radius: log_covering_number(
        radius / input_norm, shape=shape, rank=rank, frobenius_bound=bound, constant=constant
    )


@pytest.mark.parametrize("constant", ["provable", "printed"])
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e6])
def test_quadrature_and_closed_form_agree(constant, scale):
    entropy = low_rank_entropy((12, 20), 4, 2.0, 3.0 * scale, constant)
    integral = dudley_entropy_integral(entropy, upper=3.0 * scale, n_samples=[100, 10_000])
    closed = low_rank_dudley_bound(
        4, [100, 10_000], shape=(12, 20), frobenius_bound=2.0, input_norm=3.0 * scale, constant=constant
    )
    np.testing.assert_allclose(integral, closed, rtol=1e-7)


def test_the_sharpened_bound_agrees_too():
    """A rank that is low enough for two factors at every radius: 90 log(κ(1 + √2 x)) < 2000 log(κ(1 + x))."""
    integral = dudley_entropy_integral(low_rank_entropy((40, 50), 1, 1.0, 1.0, "sharpened"), upper=0.5, n_samples=900)
    closed = low_rank_dudley_bound(1, 900, shape=(40, 50), frobenius_bound=1.0, input_norm=1.0, constant="sharpened")
    assert integral == pytest.approx(closed, rel=1e-7)


def test_the_constants():
    """11.7515, so that 11.76 is a valid rounding up; a sum over slices of the integrand is the second route."""
    for name, exponent in (("provable", 9.0), ("printed", 3.0)):
        edges = np.concatenate([[0.0], np.geomspace(1e-12, 0.5, 400_001)])
        middle = (edges[1:] + edges[:-1]) / 2
        total = (np.sqrt(np.log(exponent / middle)) * np.diff(edges)).sum()
        assert dudley_constant(name) == pytest.approx(12 * total, rel=1e-6)
    assert dudley_constant() == pytest.approx(11.7514557, abs=1e-7)
    assert dudley_constant("sharpened") == pytest.approx(9.1085638, abs=1e-6)


def test_the_bound_by_hand_with_every_argument():
    bound = low_rank_dudley_bound([1, 4], [[400], [1600]], shape=(5, 4), frobenius_bound=0.5, input_norm=6.0)
    expected = dudley_constant() * 3.0 * np.sqrt(np.array([[10, 40]]) / np.array([[400], [1600]]))
    np.testing.assert_allclose(bound, expected)


@pytest.mark.parametrize("n_samples", [1, 50, 1000, 10**6])
def test_the_best_alpha_is_the_best(n_samples):
    entropy = low_rank_entropy((6, 8), 2, 1.0, 1.0)
    best = dudley_entropy_integral(entropy, upper=0.5, n_samples=n_samples, lower=None)
    grid = [
        dudley_entropy_integral(entropy, upper=0.5, n_samples=n_samples, lower=alpha)
        for alpha in [0.0, *np.geomspace(1e-9, 0.5, 60)]
    ]
    assert best <= min(grid) * (1 + 1e-9)
    assert best >= min(grid) * 0.98


def test_alpha_is_charged_four_times():
    assert dudley_entropy_integral(lambda radius: 0.0, upper=1.0, n_samples=7, lower=0.25) == 1.0
    # log N = N/9 at α, where one more α costs as much as it saves
    assert dudley_entropy_integral(lambda radius: 1.0 / radius**2, upper=10.0, n_samples=36, lower=None) == (
        pytest.approx(4 * 0.5 + 2 * np.log(20))
    )


def test_an_integral_that_only_a_truncation_makes_finite():
    """log N = ε⁻² diverges at 0: the derivative test puts α = 3/√N."""
    counts = np.array([100, 10_000])
    found = dudley_entropy_integral(lambda radius: radius**-2.0, upper=1.0, n_samples=counts, lower=None)
    alpha = 3 / np.sqrt(counts)
    np.testing.assert_allclose(found, 4 * alpha + 12 / np.sqrt(counts) * np.log(1 / alpha))


def test_little_data_leaves_the_trivial_bound():
    """At N = 1 no cover pays: α = D/2 and the bound 4α = 2D."""
    assert dudley_entropy_integral(lambda radius: 9.0 / radius, upper=0.5, n_samples=1, lower=None) == 2.0


def test_the_bound_holds_for_exact_complexities(rng):
    """Also with R² the largest eigenvalue of the second moment of vec X, the least that may stand there."""
    for shape in ((2, 3), (4, 4), (1, 5)):
        for spread in (1.0, 30.0):
            stack = rng.standard_normal((9, *shape)) * spread ** rng.standard_normal((9, 1, 1))
            norm = np.linalg.norm(stack.reshape(9, -1), 2) / 3
            exact = exact_rademacher_complexity(stack, bound=2.0)
            ranks = np.arange(1, min(shape) + 1)
            for constant in ("provable", "sharpened"):
                bound = low_rank_dudley_bound(
                    ranks, 9, shape=shape, frobenius_bound=2.0, input_norm=norm, constant=constant
                )
                assert (exact <= bound).all()


def test_with_the_same_input_norm_the_rank_free_bound_is_tighter_and_with_the_eigenvalue_it_need_not_be():
    arguments = {"shape": (768, 768), "frobenius_bound": 1.0}
    low_rank = low_rank_dudley_bound(np.arange(1, 769), 10**5, input_norm=1.0, **arguments)
    assert (low_rank > rank_free_rademacher_bound(10**5, frobenius_bound=1.0, input_norm=1.0)).all()
    # isotropic inputs: the mean of ‖X‖² is mn times the eigenvalue
    isotropic = rank_free_rademacher_bound(10**5, frobenius_bound=1.0, input_norm=768.0)
    assert (low_rank < isotropic).tolist() == [rank <= 2 for rank in range(1, 769)]


def test_the_printed_form():
    values = printed_rademacher_bound([8, 64, 256], 100_000, shape=(768, 768))
    np.testing.assert_allclose(values, [447.38, 3579.0, 14316.2], rtol=1e-4)
    assert printed_rademacher_bound(3, 1000, shape=(4, 5), constant=2.0) == pytest.approx(
        2 * 27 * np.log(1000) / np.sqrt(1000)
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"upper": 0.0}, InputError, "upper = 0.0 has to be"),
        ({"lower": -0.1}, InputError, "lower = -0.1"),
        ({"lower": 0.6}, InputError, r"lower = 0.6 is above upper = 0.5"),
        ({"n_samples": 0}, InputError, "n_samples = 0"),
        ({"n_samples": 2.5}, InputError, "n_samples = 2.5 is not a whole number"),
        ({"log_covering": lambda radius: -1.0}, InputError, "= -1 is negative"),
        ({"log_covering": lambda radius: radius**-2.0}, InputError, "from 0 to 0.5 does not converge"),
        ({"log_covering": lambda radius: np.nan}, NonFiniteError, "is NaN or infinite"),
    ],
)
def test_the_integral_refuses(change, error, message):
    arguments = {"log_covering": lambda radius: 1.0, "upper": 0.5, "n_samples": 10} | change
    with pytest.raises(error, match=message):
        dudley_entropy_integral(arguments.pop("log_covering"), **arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rank": 0}, "rank = 0"),
        ({"rank": 9}, r"rank = 9 lies outside \[1, 3\]"),
        ({"n_samples": -5}, "n_samples = -5"),
        ({"input_norm": 0.0}, "input_norm = 0"),
        ({"frobenius_bound": -2.0}, "frobenius_bound = -2"),
        ({"constant": "mine"}, "constant = 'mine' is unknown"),
        ({"shape": (0, 3)}, "is not that of a matrix"),
    ],
)
def test_the_closed_form_refuses(change, message):
    arguments = {"rank": 1, "n_samples": 10, "shape": (3, 5), "frobenius_bound": 1.0, "input_norm": 1.0} | change
    with pytest.raises(InputError, match=message):
        low_rank_dudley_bound(arguments.pop("rank"), arguments.pop("n_samples"), **arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"rank": 6}, "rank = 6 lies outside"), ({"n_samples": 0}, "n_samples = 0"), ({"constant": 0.0}, "constant = 0")],
)
def test_the_printed_form_refuses(change, message):
    arguments = {"rank": 1, "n_samples": 10, "shape": (3, 5)} | change
    with pytest.raises(InputError, match=message):
        printed_rademacher_bound(arguments.pop("rank"), arguments.pop("n_samples"), **arguments)
