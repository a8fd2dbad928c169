from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from theorykit.arguments import (
    calculation,
    data_matrix,
    matrix_stack,
    number_array,
    positive_array,
    probability_array,
    single_number,
    single_probability,
    unwrapped,
    whole_number_array,
)
from theorykit.errors import InputError, NonFiniteError

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
