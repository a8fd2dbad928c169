from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theorykit.errors import InputError, NonFiniteError
from theorykit.results import to_json
from theorykit.spectra import Spectrum, tail_energies, truncation_errors

SHAPES = [(7, 4), (4, 7), (5, 5), (1, 6), (6, 1), (1, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_errors_are_those_of_the_explicit_truncation(rng, shape):
    matrix = rng.standard_normal(shape)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    errors = truncation_errors(values)
    explicit = [
        np.linalg.norm(matrix - (left[:, :rank] * values[:rank]) @ right[:rank]) for rank in range(values.size + 1)
    ]
    np.testing.assert_allclose(errors, explicit, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(tail_energies(values), np.square(explicit), rtol=1e-12, atol=1e-13)


def test_no_matrix_of_the_rank_comes_nearer(rng):
    """Eckart–Young as a lower bound, under random and under locally perturbed competitors."""
    matrix = rng.standard_normal((8, 6))
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    for rank in range(1, 6):
        error = truncation_errors(values)[rank]
        best_left, best_right = left[:, :rank] * values[:rank], right[:rank]
        for size in (1.0, 0.1, 1e-3):
            for _ in range(50):
                change_left, change_right = rng.standard_normal((8, rank)), rng.standard_normal((rank, 6))
                rival = (best_left + size * change_left) @ (best_right + size * change_right)
                assert np.linalg.norm(matrix - rival) >= error * (1 - 1e-12)


@given(st.lists(st.floats(0, 1e100), min_size=1, max_size=30))
def test_tails_fall_from_the_norm_to_zero(numbers):
    values = np.sort(numbers)[::-1]
    errors, energies = truncation_errors(values), tail_energies(values)
    assert errors.shape == energies.shape == (values.size + 1,)
    assert errors[-1] == energies[-1] == 0
    assert (np.diff(errors) <= 0).all()
    assert (np.diff(energies) <= 0).all()
    # one singular value alone: ε(q − 1) is the last one
    assert errors[-2] == pytest.approx(values[-1], rel=1e-12)
    if values[0] > 0:
        assert values[0] * (1 - 1e-12) <= errors[0] <= values[0] * np.sqrt(values.size) * (1 + 1e-12)


@pytest.mark.parametrize("scale", [1e-320, 1e-300, 1e-200, 1e200, 1e307])
def test_errors_neither_overflow_nor_vanish(scale):
    np.testing.assert_allclose(truncation_errors(np.array([4.0, 3.0]) * scale), [5 * scale, 3 * scale, 0], rtol=1e-3)


def test_squares_that_overflow_are_refused():
    with pytest.raises(InputError, match=r"^singular_values up to 1e\+200 are too large to square$"):
        tail_energies([1e200, 1.0])


def test_small_tails_keep_their_digits():
    values = np.array([1e8, 1.0, 1e-8, 1e-16])
    np.testing.assert_allclose(truncation_errors(values)[1:4], [1.0, 1e-8, 1e-16], rtol=1e-15)


@pytest.mark.parametrize("function", [tail_energies, truncation_errors])
@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([1.0, 2.0], InputError, "non-increasing"),
        ([-1.0], InputError, "non-negative"),
        ([], InputError, "non-empty vector"),
        ([np.nan], NonFiniteError, "NaN or infinity"),
        ([np.inf, 1.0], NonFiniteError, "NaN or infinity"),
    ],
)
def test_tails_refuse(function, values, error, message):
    with pytest.raises(error, match=message):
        function(values)


def test_spectrum_knows_its_norm_and_rank():
    found = Spectrum(np.array([2.0, 2.0, 1.0]), (3, 5))
    assert (found.max_rank, found.frobenius_norm, found.method) == (3, 3.0, "given")
    np.testing.assert_array_equal(found.tail_energies, [9.0, 5.0, 1.0, 0.0])
    np.testing.assert_allclose(found.truncation_errors, np.sqrt([9.0, 5.0, 1.0, 0.0]))
    assert repr(found) == "Spectrum(3 × 5, s_1 = 2, s_q = 1, method = 'given')"


@pytest.mark.parametrize(
    ("values", "shape", "message"),
    [
        ([1.0], (2, 2), r"1 singular values for shape 2 × 2"),
        ([1.0, 0.5, 0.1], (2, 5), r"3 singular values for shape 2 × 5"),
        ([1.0], (1,), "is not that of a matrix"),
        ([0.1, 1.0], (2, 2), "non-increasing"),
        ([np.nan, 1.0], (2, 2), "NaN or infinity"),
    ],
)
def test_spectrum_refuses(values, shape, message):
    with pytest.raises(InputError, match=message):
        Spectrum(values, shape)


def test_spectrum_is_frozen_and_leaves_the_callers_array_alone():
    mine = np.array([2.0, 1.0])
    found = Spectrum(mine, (2, 2))
    with pytest.raises(ValueError, match="read-only"):
        found.singular_values[0] = 3.0
    mine[0] = 5.0
    assert found.singular_values.tolist() == [2.0, 1.0]


def test_spectra_compare_and_hash_by_identity():
    one, other = (Spectrum(np.array([2.0, 1.0]), (2, 2)) for _ in range(2))
    assert one == one
    assert one != other
    assert len({one, other}) == 2


def test_table_and_json():
    found = Spectrum(np.array([4.0, 3.0]), (2, 2))
    frame = found.to_frame()
    assert frame.index.tolist() == [1, 2]
    assert frame["truncation_error"].tolist() == [3.0, 0.0]
    assert frame["relative_error"].tolist() == [0.6, 0.0]
    assert json.loads(to_json(found))["singular_values"] == [4.0, 3.0]
    assert "<table" in found._repr_html_()


def test_the_zero_matrix_has_a_table_without_nan():
    frame = Spectrum(np.zeros(2), (2, 3)).to_frame()
    assert (frame.to_numpy() == 0).all()


def test_plot_draws_the_values_on_logarithmic_axes():
    import matplotlib.pyplot as plt

    axes = plt.subplots()[1]
    found = Spectrum(np.array([4.0, 3.0]), (2, 2))
    assert found.plot(axes, color="black") is axes
    assert axes.lines[0].get_ydata().tolist() == [4.0, 3.0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert found.plot() is not axes
