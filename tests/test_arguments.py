"""Checks of arguments, of scalars and of arrays: what comes back, and what is refused with which words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from theorykit.arguments import (
    calculation,
    checked_generator,
    data_matrix,
    finite_matrix,
    matrix_stack,
    moment_matrix,
    non_increasing,
    number_array,
    one_of,
    positive_array,
    positive_integer,
    positive_number,
    probability_array,
    shape_2d,
    single_number,
    single_probability,
    unwrapped,
    whole_number_array,
)
from theorykit.errors import CheckpointError, InputError, NonFiniteError, TheorykitError


@pytest.mark.parametrize("value", [1, 0.5, np.float32(2), np.int64(3), "1e3", 1e308, 5e-324])
def test_positive_number_returns_a_float(value):
    number = positive_number("n", value)
    assert type(number) is float
    assert number == float(value)


def test_zero_only_where_it_is_allowed():
    assert positive_number("ridge", 0, allow_zero=True) == 0.0
    with pytest.raises(InputError, match=r"ridge = -1 has to be finite and at least 0"):
        positive_number("ridge", -1, allow_zero=True)


@pytest.mark.parametrize("value", [1, 4.0, np.int32(7), "8"])
def test_positive_integer_returns_an_int(value):
    number = positive_integer("rank", value)
    assert type(number) is int
    assert number == int(value)


def test_positive_integer_knows_its_maximum():
    assert positive_integer("rank", 5, maximum=5) == 5
    with pytest.raises(InputError, match="rank = 6 is above its maximum 5"):
        positive_integer("rank", 6, maximum=5)


@pytest.mark.parametrize("shape", [(2, 3), [2, 3], torch.Size([2, 3]), (np.int64(2), np.int64(3))])
def test_shape_2d_takes_any_pair(shape):
    assert shape_2d(shape) == (2, 3)
    assert all(type(size) is int for size in shape_2d(shape))


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


def test_moment_matrix_takes_singular_and_zero_matrices():
    moment = np.outer([1.0, 2.0], [1.0, 2.0])
    np.testing.assert_array_equal(moment_matrix("A", moment, 2), moment)
    np.testing.assert_array_equal(moment_matrix("A", np.zeros((2, 2)), 2), np.zeros((2, 2)))


def test_moment_matrix_removes_rounding_of_the_symmetry():
    moment = np.array([[1.0, 0.5 + 1e-12], [0.5, 1.0]])
    symmetric = moment_matrix("A", moment, 2)
    assert (symmetric == symmetric.T).all()


@pytest.mark.parametrize("value", [[3.0], [2, 2, 0], torch.tensor([4.0, 1.0]), (5e-324, 0.0)])
def test_non_increasing_returns_a_vector(value):
    vector = non_increasing("s", value)
    assert vector.dtype == np.float64
    assert vector.tolist() == [float(item) for item in value]


def square(name, value):
    return moment_matrix(name, value, 2)


NOT_ABOVE_ZERO = r"x = .* has to be finite and above 0"
NO_MATRIX = r"x is not made of real numbers|is not that of a matrix"
NO_NUMBER = r"x = .* is not a number"
REFUSED = {
    (positive_number, NOT_ABOVE_ZERO): [0, -1, -5e-324, np.nan, np.inf, -np.inf],
    (positive_number, NO_NUMBER): [None, "many", [1, 2], np.ones(2), 1j, 10**400, True, np.True_, torch.ones(2)],
    (positive_integer, "is not a whole number"): [1.5, True, np.float64(2.0000001)],
    (positive_integer, "above 0"): [0, -3, 0.0],
    (finite_matrix, "x holds NaN or infinity"): [[[1.0, np.nan]], [[1.0, np.inf]], [[1.0, -np.inf]]],
    (finite_matrix, NO_MATRIX): ["text", [[1, 2], [3]], [[1j]], None, [["a"]]],
    (square, r"x has shape \(3, 3\), not \(2, 2\)"): [np.eye(3)],
    (square, r"x has shape \(2, 3\), not \(2, 2\)"): [np.ones((2, 3))],
    (square, "x is not symmetric"): [[[1.0, 0.0], [1e-6, 1.0]], [[1e308, 1e308], [-1e308, 1e308]]],
    (square, "x has the negative eigenvalue -1"): [[[1.0, 2.0], [2.0, 1.0]]],
    (square, "negative eigenvalue"): [[[-1e-300, 0.0], [0.0, 0.0]]],
    (square, "x holds NaN or infinity"): [[[1.0, np.nan], [np.nan, 1.0]]],
    (square, "is not that of a matrix"): [[1.0, 2.0]],
    (non_increasing, "x has shape .* not that of a non-empty vector"): [[], 3.0, [[1.0]]],
    (non_increasing, "non-negative and non-increasing"): [[1.0, 2.0], [1.0, -1e-300]],
    (non_increasing, "x holds NaN or infinity"): [[np.inf, 1.0], [1.0, np.nan]],
    (non_increasing, "x is not made of real numbers"): ["abc", [2 + 1j, 1]],
}


@pytest.mark.parametrize(("check", "message"), REFUSED, ids=lambda part: getattr(part, "__name__", part))
def test_what_single_values_and_matrices_must_not_be(check, message):
    for value in REFUSED[check, message]:
        with pytest.raises(InputError, match=message) as caught:
            check("x", value)
        assert "holds NaN" not in message or type(caught.value) is NonFiniteError
        assert message != NOT_ABOVE_ZERO or "above 0" in caught.value.hint


@pytest.mark.parametrize("shape", [(), (3,), (1, 2, 3), (0, 3), (3, 0), (-1, 2), (2.5, 3), 5, None, ("a", "b")])
def test_shape_2d_refuses_the_rest(shape):
    with pytest.raises(InputError, match="is not that of a matrix"):
        shape_2d(shape)


def test_errors_carry_a_hint_and_are_what_python_expects():
    error = InputError("rank = 0 is too small", "give at least 1")
    assert (str(error), error.message, error.hint) == ("rank = 0 is too small",) * 2 + ("give at least 1",)
    assert TheorykitError("x").hint == ""
    assert issubclass(InputError, ValueError)
    assert issubclass(CheckpointError, InputError)
    assert issubclass(NonFiniteError, InputError)


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


def test_messages_stay_on_one_short_line():
    with pytest.raises(InputError) as caught:
        positive_number("n", np.ones((50, 50)))
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 100


CHECKS = [number_array, positive_array, probability_array, whole_number_array, matrix_stack]


@pytest.mark.parametrize(
    "value",
    [
        [[1, 2], [3, 4]],
        ((1.0, 2.0), (3.0, 4.0)),
        np.array([[1, 2], [3, 4]], dtype=">i2"),
        np.array([[1, 2], [3, 4]], dtype=object),
        torch.tensor([[1, 2], [3, 4]]),
        torch.tensor([[1, 2], [3, 4]], dtype=torch.bfloat16),
        torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True),
        torch.tensor([[1 + 1j, 1 + 2j], [1 + 3j, 1 + 4j]]).imag,
        torch.tensor([[1 - 1j, 1 - 2j], [1 - 3j, 1 - 4j]]).conj().imag,  # negated lazily
    ],
)
@pytest.mark.parametrize("check", [number_array, positive_array, whole_number_array, matrix_stack])
def test_everything_real_becomes_float64_of_its_shape(check, value):
    array = check("x", value)
    assert array.dtype == np.float64
    assert array.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_numbers_stay_without_dimensions():
    assert number_array("x", 3).shape == positive_array("x", np.float32(3)).shape == ()
    assert probability_array("x", torch.tensor(0.5)).shape == whole_number_array("x", 10**30).shape == ()


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("many", "'many'"),
        ("1", "'1'"),
        (["1", "2"], r"\['1', '2'\]"),
        (True, "True"),
        (np.array([[True]]), r"array\(\[\[ ?True\]\]\)"),
        (torch.tensor([[True]]), r"tensor\(\[\[True\]\]\)"),
        (1j, "1j"),
        (np.array([[1 + 0j]]), "array"),
        (torch.tensor([[1 + 0j]]), "tensor"),
        (torch.tensor([[1 + 0j]]).conj(), "tensor"),
        (torch.ones(2, 2).to_sparse(), "tensor"),
        ([[1.0], [1.0, 2.0]], r"\[\[1.0\], \[1.0, 2.0\]\]"),
        (np.array(["2020-01-01"], dtype="M8[D]"), "array"),
        ({1: 2}, "{1: 2}"),
        ([10**400], r"\[1000"),
    ],
)
def test_what_is_not_made_of_real_numbers(check, value, shown):
    with pytest.raises(InputError, match=f"^x is not made of real numbers: {shown}") as caught:
        check("x", value)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 100
    assert caught.value.hint


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("value", [[], np.ones((2, 0)), torch.ones(0)])
def test_nothing_is_refused(check, value):
    with pytest.raises(InputError, match=r"^x is empty$"):
        check("x", value)


@pytest.mark.parametrize(
    ("check", "domain"),
    [
        (number_array, r"\(-inf, inf\)"),
        (positive_array, r"\(0, inf\)"),
        (probability_array, r"\(0, 1\)"),
        (whole_number_array, r"\[1, inf\)"),
        (matrix_stack, r"\(-inf, inf\)"),
    ],
)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_come_before_all_else_and_with_the_domain(check, domain, bad):
    with pytest.raises(NonFiniteError, match=f"^x = {bad} lies outside {domain}$") as caught:
        check("x", [[-1.0, bad]])
    assert caught.value.hint.startswith("give a finite x in ")


@pytest.mark.parametrize(
    ("ends", "inside", "outside", "message"),
    [
        ({"low": -1, "high": 1}, [-1, 1], 1.0000000001, r"x = 1.0000000001 lies outside \[-1, 1\]"),
        ({"low": -1, "high": 1, "open_low": True}, [-0.9, 1], [0, -1], r"x = -1 lies outside \(-1, 1\]"),
        ({"low": -1, "high": 1, "open_high": True}, [-1, 0.9], [[0], [1]], r"x = 1 lies outside \[-1, 1\)"),
        ({"high": 1234567}, [-1e300, 1234567], 1234568, r"x = 1234568.0 lies outside \(-inf, 1234567.0\]"),
        ({"low": 2.5}, [2.5, 1e308], [3, 2, 1], r"x = 2 lies outside \[2.5, inf\)"),
    ],
)
def test_ends_are_open_or_closed(ends, inside, outside, message):
    assert number_array("x", inside, **ends).tolist() == inside
    with pytest.raises(InputError, match=f"^{message}$") as caught:
        number_array("x", outside, **ends)
    assert type(caught.value) is InputError


@pytest.mark.parametrize(
    ("check", "options", "value", "message"),
    [
        (positive_array, {}, [1.0, 0.0], r"x = 0 lies outside \(0, inf\)"),
        (positive_array, {"allow_zero": True}, -1e-300, r"x = -1e-300 lies outside \[0, inf\)"),
        (probability_array, {}, [0.5, 0.0], r"x = 0 lies outside \(0, 1\)"),
        (probability_array, {}, 1.0, r"x = 1 lies outside \(0, 1\)"),
        (whole_number_array, {}, [1, 0], r"x = 0 lies outside \[1, inf\)"),
        (whole_number_array, {"maximum": 8}, [1, 9], r"x = 9 lies outside \[1, 8\]"),
        (whole_number_array, {}, [2, 2.5], "x = 2.5 is not a whole number"),
        (whole_number_array, {}, 2.0000000001, "x = 2.0000000001 is not a whole number"),
        (matrix_stack, {}, [1.0, 2.0], r"x has shape \(2,\), not that of matrices"),
    ],
)
def test_refusals(check, options, value, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        check("x", value, **options)


def test_the_ends_that_belong_to_the_domain():
    assert positive_array("x", [0.0, 5e-324], allow_zero=True).tolist() == [0.0, 5e-324]
    assert whole_number_array("x", [[1, 8]], maximum=8).tolist() == [[1.0, 8.0]]
    assert matrix_stack("x", np.ones((4, 1, 2))).shape == (4, 1, 2)


@given(st.floats(allow_nan=False, allow_infinity=False, max_value=0))
def test_the_message_says_the_number_exactly(number):
    with pytest.raises(InputError) as caught:
        positive_array("x", number)
    assert float(caught.value.message.split()[2]) == number


def test_unwrapped():
    assert type(unwrapped(np.array(2.0))) is float
    assert type(unwrapped(np.float64(2.0))) is float
    array = np.ones(1)
    assert unwrapped(array) is array


def test_nan_and_infinity_where_they_are_allowed():
    value = [1.0, np.nan, -np.inf]
    np.testing.assert_array_equal(number_array("x", value, high=2, allow_infinite=True, allow_nan=True), value)
    with pytest.raises(NonFiniteError, match="x = -inf lies outside"):
        number_array("x", value, allow_nan=True)
    with pytest.raises(NonFiniteError, match="x = nan lies outside"):
        number_array("x", value, allow_infinite=True)
    with pytest.raises(InputError, match="x = 3 lies outside") as caught:
        number_array("x", [*value, 3.0], high=2, allow_infinite=True, allow_nan=True)
    assert type(caught.value) is InputError


def test_single_numbers():
    assert type(single_number("x", np.array(2))) is float
    assert single_probability("level", 0.5) == 0.5
    with pytest.raises(InputError, match=r"^x has shape \(1,\), not that of one number$"):
        single_number("x", [2.0])
    with pytest.raises(InputError, match=r"^level = 1 lies outside \(0, 1\)$"):
        single_probability("level", 1.0)


def test_whole_numbers_from_another_least_one():
    assert whole_number_array("k", [0, 3], minimum=0).tolist() == [0.0, 3.0]
    with pytest.raises(InputError, match=r"^k = 1 lies outside \[2, inf\)$"):
        whole_number_array("k", 1, minimum=2)


def test_data_matrices_have_finite_fourth_powers():
    assert data_matrix("X", [[1e75, -1e75]]).shape == (1, 2)
    with pytest.raises(InputError, match=r"X holds numbers beyond 1e\+75"):
        data_matrix("X", [[1e76]])


class TestCalculation:
    def test_shapes_that_broadcast_pass(self):
        with calculation(a=np.ones((2, 1)), b=np.ones(3), c=1.0, d=None):
            pass

    def test_shapes_that_do_not_are_named_and_numbers_are_not(self):
        message = r"^a of shape \(2,\), b of shape \(3,\) and d of shape \(4,\) do not broadcast$"
        with (
            pytest.raises(InputError, match=message),
            calculation(a=np.ones(2), b=np.ones(3), c=np.ones(()), d=np.ones(4)),
        ):
            raise AssertionError("nothing is computed")

    def test_overflow_is_infinity_without_a_warning(self):
        huge = np.array([1e308, 1.0])
        with calculation(a=huge):
            assert (huge * 10).tolist() == [np.inf, 10.0]
            assert np.log(np.zeros(1))[0] == -np.inf

    @pytest.mark.parametrize("compute", [lambda x: x * 10 * 0, lambda x: x * 10 - x * 10])
    def test_where_no_number_is_left_it_raises(self, compute):
        with pytest.raises(InputError, match=r"^a, b: the numbers leave the range of float64$"), calculation(a=1, b=2):
            compute(np.array([1e308]))

    def test_other_errors_pass(self):
        with pytest.raises(ZeroDivisionError), calculation(a=1.0):
            1 / 0  # noqa: B018
