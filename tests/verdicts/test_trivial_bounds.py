from __future__ import annotations

import numpy as np
import pytest

from theorykit.errors import InputError, NonFiniteError
from theorykit.verdicts import TRIVIAL_BOUNDS, Value, bound_value, expectation_verdict, trivial_bound


def test_every_bound_of_the_paper_has_its_trivial_competitor():
    assert {name: (bound.kind, bound.formula) for name, bound in TRIVIAL_BOUNDS.items()} == {
        "next_token_error": ("upper", "1 − 1/V"),
        "bits_per_token": ("upper", "log2 V"),
        "mutual_information": ("lower", "0"),
        "squared_gradient_norm": ("upper", "2LΔ"),
        "gradient_deviation": ("upper", "‖g1‖ + ‖g2‖"),
    }
    assert all(bound.unit and bound.holds for bound in TRIVIAL_BOUNDS.values())


@pytest.mark.parametrize(
    ("quantity", "arguments", "value"),
    [
        ("next_token_error", {"vocabulary": [2, 4, 50257]}, [0.5, 0.75, 1 - 1 / 50257]),
        ("bits_per_token", {"vocabulary": 50257}, np.log2(50257)),
        ("mutual_information", {}, 0.0),
        ("squared_gradient_norm", {"smoothness": 2.0, "initial_gap": 3.0}, 12.0),
        ("gradient_deviation", {"first_norm": [1.0, 2.0], "second_norm": 3.0}, [4.0, 5.0]),
    ],
)
def test_values(quantity, arguments, value):
    np.testing.assert_allclose(trivial_bound(quantity, **arguments), value, rtol=1e-12)


def test_the_start_of_a_quadratic_meets_2_l_delta():
    smooth, start = 3.0, 0.7
    gap, gradient = smooth * start**2 / 2, smooth * start
    assert trivial_bound("squared_gradient_norm", smoothness=smooth, initial_gap=gap) == pytest.approx(gradient**2)


def test_the_uniform_prediction_meets_its_two_bounds(rng):
    guesses, tokens = rng.integers(0, 8, (2, 200_000))
    assert (guesses != tokens).mean() == pytest.approx(trivial_bound("next_token_error", vocabulary=8), abs=4e-3)
    assert trivial_bound("bits_per_token", vocabulary=8) == 3.0


@pytest.mark.parametrize(
    ("bound", "simpler", "value"),
    [
        (0.2, None, Value.INFORMATIVE),
        (0.2, 0.3, Value.INFORMATIVE),
        (0.2, 0.2, Value.INFORMATIVE),
        (0.2, 0.1, Value.DOMINATED),
        (1.0, None, Value.VACUOUS),
        (1.0, 0.1, Value.VACUOUS),
        (7.0, 9.0, Value.VACUOUS),
    ],
)
def test_what_a_bound_is_worth(bound, simpler, value):
    assert bound_value(bound, trivial=1.0, simpler=simpler) is value


def test_a_verdict_takes_it():
    trivial = trivial_bound("next_token_error", vocabulary=4)
    assert expectation_verdict([0.1, 0.2, 0.15], 447.0, trivial=trivial).value is Value.VACUOUS


@pytest.mark.parametrize(
    ("quantity", "arguments", "message"),
    [
        ("perplexity", {}, "quantity = 'perplexity' is unknown"),
        (None, {}, "quantity = None is unknown"),
        ("bits_per_token", {}, "bits_per_token takes vocabulary, not nothing"),
        ("mutual_information", {"rank": 1}, "mutual_information takes no arguments, not rank"),
        ("bits_per_token", {"vocabulary": 2.5}, r"vocabulary = 2\.5 is not a whole number"),
        ("next_token_error", {"vocabulary": 0}, "vocabulary = 0"),
        ("squared_gradient_norm", {"smoothness": [1.0, 2.0], "initial_gap": [1.0] * 3}, "do not broadcast"),
        ("gradient_deviation", {"first_norm": -1.0, "second_norm": 1.0}, "first_norm = -1 lies outside"),
    ],
)
def test_refusals(quantity, arguments, message):
    with pytest.raises(InputError, match=message):
        trivial_bound(quantity, **arguments)


def test_a_bound_without_a_number_is_refused():
    with pytest.raises(NonFiniteError, match="bound = nan"):
        bound_value(np.nan, trivial=1.0)
