from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from scipy.optimize import minimize_scalar

from theorykit.errors import InputError
from theorykit.rank_selection import (
    CORRECTED,
    PAPER_EQ17,
    THEOREM_2,
    RankLaw,
    derive_optimal_rank,
    optimal_rank,
    spectrum_law,
)

LAWS = [PAPER_EQ17, THEOREM_2, CORRECTED, spectrum_law(0.75), spectrum_law(2.0)]


def random_point(rng: np.random.Generator) -> dict[str, float]:
    return {
        "n": 10 ** rng.uniform(0, 8),
        "C1": 10 ** rng.uniform(-3, 3),
        "C2": 10 ** rng.uniform(-3, 3),
        "a": rng.uniform(0.2, 3),
        "b": rng.uniform(0.2, 3),
        "c": rng.uniform(0.2, 2),
    }


def closed_form(point: dict[str, float]) -> float:
    powers = {"approximation": point["a"], "complexity": point["b"], "samples": point["c"]}
    return float(optimal_rank(point["n"], point["C1"], point["C2"], **powers))


@pytest.fixture(scope="module")
def derivation():
    return derive_optimal_rank()


def test_the_closed_form_is_the_derived_one(rng, derivation):
    _, minimiser, _ = derivation
    names = list(random_point(rng))
    symbols = {str(symbol): symbol for symbol in minimiser.free_symbols}
    function = sp.lambdify([symbols[name] for name in names], minimiser)
    for _ in range(200):
        point = random_point(rng)
        assert closed_form(point) == pytest.approx(float(function(*point.values())), rel=1e-10)


def test_the_derived_point_is_stationary_and_a_minimum(rng, derivation):
    objective, minimiser, curvature = derivation
    symbols = {str(symbol): symbol for symbol in objective.free_symbols}
    gradient = sp.diff(objective, symbols["r"])
    for _ in range(20):
        point = {symbols[name]: value for name, value in random_point(rng).items()}
        rank = float(minimiser.subs(point))
        scale = float((objective / symbols["r"]).subs(point | {symbols["r"]: rank}))
        assert abs(float(gradient.subs(point | {symbols["r"]: rank}))) < 1e-9 * scale
        assert float(curvature.subs(point)) > 0


def test_a_numeric_minimiser_agrees(rng):
    for _ in range(100):
        point = random_point(rng)

        def objective(log_rank: float, point: dict[str, float] = point) -> float:
            falls = point["C1"] * np.exp(-point["a"] * log_rank)
            return falls + point["C2"] * np.exp(point["b"] * log_rank) * point["n"] ** -point["c"]

        expected = np.log(closed_form(point))
        found = minimize_scalar(objective, bracket=(expected - 3, expected + 2), tol=1e-12)
        assert found.x == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("law", "exponent"),
    [(PAPER_EQ17, Fraction(1, 2)), (THEOREM_2, Fraction(1, 4)), (CORRECTED, Fraction(1, 3))],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_exponents_are_exact(law, exponent):
    assert law.exponent == exponent
    assert isinstance(law.exponent, Fraction)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.source)
def test_the_rank_grows_like_n_to_the_exponent(law):
    ratio = law.rank(1e6, 3.0, 0.7) / law.rank(1e3, 3.0, 0.7)
    assert np.log(ratio) / np.log(1e3) == pytest.approx(float(law.exponent), rel=1e-12)


def test_hand_values():
    assert PAPER_EQ17.rank(100_000) == pytest.approx(316.22776601683796)
    assert THEOREM_2.rank(100_000) == pytest.approx(17.782794100389228)
    assert CORRECTED.rank(1000) == pytest.approx(4 ** (1 / 3) * 10)  # (a/b)^(2/3) n^(1/3)
    assert PAPER_EQ17.rank(100, 4.0, 1.0) == pytest.approx(20.0)
    assert float(optimal_rank(100)) == pytest.approx(10.0)  # eq 17 is the default


@pytest.mark.parametrize("alpha", [0.500001, 0.75, 1.0, 1.5, 2.0, 5])
def test_the_law_of_a_measured_spectrum(alpha):
    law = spectrum_law(alpha)
    assert law.exponent == pytest.approx(1 / (2 * alpha))
    assert f"{alpha:.3g}" in law.source
    assert law.rank(1e4, c1=1 / (2 * alpha - 1)) == pytest.approx(1e4 ** (1 / (2 * alpha)))


@pytest.mark.parametrize("alpha", [0.75, 1.0, 1.5])
def test_the_law_of_a_spectrum_is_that_of_its_tail_sum(alpha):
    """Two routes: the closed law, and the minimum of Σ_{i>r} i^(−2α) + r/n over whole ranks."""
    squares = np.arange(1.0, 2_000_001) ** (-2 * alpha)
    tails = np.concatenate([np.cumsum(squares[::-1])[::-1], [0.0]])
    ranks = np.arange(tails.size)
    for n in (1e3, 1e5):
        best = int(np.argmin(tails + ranks / n))
        assert best == pytest.approx(spectrum_law(alpha).rank(n, c1=1 / (2 * alpha - 1)), abs=1.0)


@pytest.mark.parametrize("alpha", [0.5, 0.3, 1e-9])
def test_a_spectrum_without_a_finite_tail_has_no_law(alpha):
    with pytest.raises(InputError, match="is not above 1/2"):
        spectrum_law(alpha)


@pytest.mark.parametrize("alpha", [0.0, -1.0, np.nan, "steep"])
def test_a_decay_that_is_no_number(alpha):
    with pytest.raises(InputError, match="decay_exponent"):
        spectrum_law(alpha)


def test_optimal_rank_broadcasts():
    ranks = optimal_rank(np.array([[100.0], [400.0]]), np.array([1.0, 4.0, 9.0]))
    np.testing.assert_allclose(ranks, [[10.0, 20.0, 30.0], [20.0, 40.0, 60.0]])


@pytest.mark.parametrize("name", ["n_samples", "c1", "c2", "approximation", "complexity", "samples"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_optimal_rank_refuses(name, value):
    with pytest.raises(InputError, match=f"{name} = .* has to be finite and above 0"):
        optimal_rank(**{"n_samples": 10.0, name: value})


def test_one_bad_entry_of_an_array_is_enough():
    with pytest.raises(InputError, match="c1 = "):
        optimal_rank(10.0, np.array([1.0, -1.0]))


def test_a_law_of_ones_own():
    law = RankLaw("mine", Fraction(2), Fraction(1), Fraction(1), "a test")
    assert law.exponent == Fraction(1, 3)
    assert law.rank(1000.0) == pytest.approx(2000 ** (1 / 3))
