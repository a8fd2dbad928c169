from __future__ import annotations

import numpy as np
import pytest
import torch

from theorykit.arguments import (
    checked_generator,
    finite_matrix,
    moment_matrix,
    non_increasing,
    one_of,
    positive_integer,
    positive_number,
    shape_2d,
)
from theorykit.errors import CheckpointError, InputError, NonFiniteError, TheorykitError, TheorykitWarning


@pytest.mark.parametrize("value", [1, 0.5, np.float32(2), np.int64(3), "1e3", 1e308, 5e-324])
def test_positive_number_returns_a_float(value):
    number = positive_number("n", value)
    assert type(number) is float
    assert number == float(value)


@pytest.mark.parametrize("value", [0, -1, -5e-324, float("nan"), float("inf"), -float("inf")])
def test_positive_number_refuses_what_is_not_finite_and_above_zero(value):
    with pytest.raises(InputError, match=r"n = .* has to be finite and above 0") as caught:
        positive_number("n", value)
    assert "above 0" in caught.value.hint


@pytest.mark.parametrize("value", [None, "many", [1, 2], np.array([1.0, 2.0]), 1j, 10**400])
def test_positive_number_refuses_what_is_not_a_number(value):
    with pytest.raises(InputError, match=r"n = .* is not a number"):
        positive_number("n", value)


def test_zero_only_where_it_is_allowed():
    assert positive_number("ridge", 0, allow_zero=True) == 0.0
    with pytest.raises(InputError, match=r"ridge = -1 has to be finite and at least 0"):
        positive_number("ridge", -1, allow_zero=True)


@pytest.mark.parametrize("value", [1, 4.0, np.int32(7), "8"])
def test_positive_integer_returns_an_int(value):
    number = positive_integer("rank", value)
    assert type(number) is int
    assert number == int(value)


@pytest.mark.parametrize("value", [1.5, True, np.float64(2.0000001)])
def test_positive_integer_refuses_fractions_and_truth_values(value):
    with pytest.raises(InputError, match="is not a whole number"):
        positive_integer("rank", value)


@pytest.mark.parametrize("value", [0, -3, 0.0])
def test_positive_integer_refuses_zero_and_below(value):
    with pytest.raises(InputError, match="above 0"):
        positive_integer("rank", value)


def test_positive_integer_knows_its_maximum():
    assert positive_integer("rank", 5, maximum=5) == 5
    with pytest.raises(InputError, match="rank = 6 is above its maximum 5"):
        positive_integer("rank", 6, maximum=5)


@pytest.mark.parametrize("shape", [(2, 3), [2, 3], torch.Size([2, 3]), (np.int64(2), np.int64(3))])
def test_shape_2d_takes_any_pair(shape):
    assert shape_2d(shape) == (2, 3)
    assert all(type(size) is int for size in shape_2d(shape))


@pytest.mark.parametrize("shape", [(), (3,), (1, 2, 3), (0, 3), (3, 0), (-1, 2), (2.5, 3), 5, None, ("a", "b")])
def test_shape_2d_refuses_the_rest(shape):
    with pytest.raises(InputError, match="is not that of a matrix"):
        shape_2d(shape)


@pytest.mark.parametrize(
    "value",
    [
        [[1, 2], [3, 4]],
        np.array([[1, 2], [3, 4]], dtype=np.int8),
        np.array([[1, 2], [3, 4]], dtype=">f4"),
        torch.tensor([[1, 2], [3, 4]], dtype=torch.bfloat16),
        torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True),
    ],
)
def test_finite_matrix_turns_everything_into_float64(value):
    matrix = finite_matrix("W", value)
    assert matrix.dtype == np.float64
    assert matrix.tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_finite_matrix_refuses_nan_and_infinity(bad):
    with pytest.raises(NonFiniteError, match="W holds NaN or infinity"):
        finite_matrix("W", [[1.0, bad]])


@pytest.mark.parametrize("value", ["text", [[1, 2], [3]], [[1j]], None, [["a"]]])
def test_finite_matrix_refuses_what_is_no_matrix_of_numbers(value):
    with pytest.raises(InputError, match=r"W is not made of real numbers|is not that of a matrix"):
        finite_matrix("W", value)


def test_moment_matrix_takes_singular_and_zero_matrices():
    moment = np.outer([1.0, 2.0], [1.0, 2.0])
    np.testing.assert_array_equal(moment_matrix("A", moment, 2), moment)
    np.testing.assert_array_equal(moment_matrix("A", np.zeros((2, 2)), 2), np.zeros((2, 2)))


def test_moment_matrix_removes_rounding_of_the_symmetry():
    moment = np.array([[1.0, 0.5 + 1e-12], [0.5, 1.0]])
    symmetric = moment_matrix("A", moment, 2)
    assert (symmetric == symmetric.T).all()


@pytest.mark.parametrize(
    ("moment", "message"),
    [
        (np.eye(3), r"A has shape \(3, 3\), not \(2, 2\)"),
        (np.ones((2, 3)), r"A has shape \(2, 3\), not \(2, 2\)"),
        ([[1.0, 0.0], [1e-6, 1.0]], "A is not symmetric"),
        ([[1.0, 2.0], [2.0, 1.0]], "A has the negative eigenvalue -1"),
        ([[-1e-300, 0.0], [0.0, 0.0]], "negative eigenvalue"),
        ([[1.0, np.nan], [np.nan, 1.0]], "A holds NaN or infinity"),
        ([1.0, 2.0], "is not that of a matrix"),
    ],
)
def test_moment_matrix_refuses(moment, message):
    with pytest.raises(InputError, match=message):
        moment_matrix("A", moment, 2)


@pytest.mark.parametrize("value", [[3.0], [2, 2, 0], torch.tensor([4.0, 1.0]), (5e-324, 0.0)])
def test_non_increasing_returns_a_vector(value):
    vector = non_increasing("s", value)
    assert vector.dtype == np.float64
    assert vector.tolist() == [float(item) for item in value]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "s has shape .* not that of a non-empty vector"),
        (3.0, "s has shape"),
        ([[1.0]], "s has shape"),
        ([1.0, 2.0], "non-negative and non-increasing"),
        ([1.0, -1e-300], "non-negative and non-increasing"),
        ([np.inf, 1.0], "s holds NaN or infinity"),
        ([1.0, np.nan], "s holds NaN or infinity"),
        ("abc", "s is not made of real numbers"),
        ([2 + 1j, 1], "s is not made of real numbers"),
    ],
)
def test_non_increasing_refuses(value, message):
    with pytest.raises(InputError, match=message):
        non_increasing("s", value)


def test_errors_carry_a_hint_and_are_what_python_expects():
    error = InputError("rank = 0 is too small", "give at least 1")
    assert (str(error), error.message, error.hint) == ("rank = 0 is too small",) * 2 + ("give at least 1",)
    assert TheorykitError("x").hint == ""
    assert issubclass(InputError, ValueError)
    assert issubclass(CheckpointError, InputError)
    assert issubclass(NonFiniteError, InputError)
    assert issubclass(TheorykitWarning, UserWarning)


@pytest.mark.parametrize("value", [True, np.True_, torch.ones(2)])
def test_positive_number_refuses_truth_values_and_tensors_of_many(value):
    with pytest.raises(InputError, match=r"n = .* is not a number"):
        positive_number("n", value)


def test_positive_integer_takes_zero_where_it_is_allowed():
    assert positive_integer("refine", 0, allow_zero=True) == 0
    with pytest.raises(InputError, match=r"refine = 0\.5 is not a whole number") as caught:
        positive_integer("refine", 0.5, allow_zero=True)
    assert caught.value.hint == "give refine as 0, 1, 2, 3, …"


@pytest.mark.parametrize("value", [None, 7, np.random.RandomState(0), np.random.default_rng])
def test_only_a_numpy_generator_is_one(rng, value):
    assert checked_generator(rng) is rng
    with pytest.raises(InputError, match=r"^generator = .* is not a numpy\.random\.Generator$"):
        checked_generator(value)


@pytest.mark.parametrize("value", ["nuclear", None, 3, ["spectral"], {"a": 1}, np.ones(3)])
def test_one_of_some_options(value):
    assert one_of("norm", "spectral", ("frobenius", "spectral")) == "spectral"
    with pytest.raises(InputError, match=r"^norm = .* is unknown$") as caught:
        one_of("norm", value, ("frobenius", "spectral"))
    assert caught.value.hint == "choose one of frobenius, spectral"


def test_moment_matrices_near_the_end_of_float64():
    moment = np.array([[1.5e308, 1e308], [1e308, 1.5e308]])
    np.testing.assert_array_equal(moment_matrix("A", moment, 2), moment)
    with pytest.raises(InputError, match="A is not symmetric"):
        moment_matrix("A", [[1e308, 1e308], [-1e308, 1e308]], 2)


def test_messages_stay_on_one_short_line():
    with pytest.raises(InputError) as caught:
        positive_number("n", np.ones((50, 50)))
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 100
