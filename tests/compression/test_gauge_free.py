import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theorykit.compression.gauge_free import LARGEST_ENTRY, gauge_free_factors
from theorykit.errors import InputError, NonFiniteError


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.data())
def test_the_form_is_exact_bounded_and_holds_the_degrees_of_freedom(m, n, data):
    rank = data.draw(st.integers(1, min(m, n)))
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    left, right = rng.standard_normal((m, rank)), rng.standard_normal((rank, n))
    factors = gauge_free_factors(left, right)
    assert factors.rank == rank
    assert factors.numbers == rank * (m + n - rank)
    assert factors.combination.size == 0 or np.abs(factors.combination).max() <= LARGEST_ENTRY
    assert sorted(factors.position) == list(range(m))
    np.testing.assert_allclose(factors.matrix(), left @ right, rtol=0, atol=1e-11 * np.abs(left @ right).max())


def test_swaps_bound_what_qr_alone_leaves_large():
    """Kahan's matrix: QR with column pivoting leaves entries of C that grow like 2^r."""
    size, cosine = 30, 0.4
    sine = np.sqrt(1 - cosine**2)
    kahan = np.diag(sine ** np.arange(size)) @ (np.eye(size) - cosine * np.triu(np.ones((size, size)), 1))
    kahan *= 1 - 1e-12 * np.arange(size)  # the pivoting takes the columns in their order
    left = kahan.T[:, : size - 1]
    from scipy.linalg import qr, solve_triangular

    triangle, _ = qr(left.T, mode="r", pivoting=True)
    rank = size - 1
    assert np.abs(solve_triangular(triangle[:rank, :rank], triangle[:rank, rank:])).max() > LARGEST_ENTRY
    factors = gauge_free_factors(left, np.eye(rank))
    assert np.abs(factors.combination).max() <= LARGEST_ENTRY
    np.testing.assert_allclose(factors.matrix(), left, atol=1e-12)


def test_full_rank_stores_what_the_dense_matrix_does():
    matrix = np.random.default_rng(0).standard_normal((5, 5))
    assert gauge_free_factors(matrix, np.eye(5)).numbers == 25


def test_a_rank_that_the_factors_do_not_have_is_lowered():
    left = np.outer(np.arange(1.0, 6.0), [1.0, 2.0])
    factors = gauge_free_factors(left, np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert factors.rank == 1
    np.testing.assert_allclose(factors.matrix(), left, atol=1e-12)


@pytest.mark.parametrize(
    ("left", "right", "error", "message"),
    [
        (np.ones((2, 3)), np.ones((3, 4)), InputError, r"factors of shapes \(2, 3\) and \(3, 4\) do not fit"),
        (np.ones((3, 2)), np.ones((3, 2)), InputError, "do not fit"),
        (np.zeros((3, 2)), np.ones((2, 2)), InputError, "the left factor is zero"),
        (np.full((3, 2), np.nan), np.ones((2, 2)), NonFiniteError, "left holds NaN"),
    ],
)
def test_bad_factors(left, right, error, message):
    with pytest.raises(error, match=message):
        gauge_free_factors(left, right)
