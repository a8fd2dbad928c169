from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from theorykit.errors import InputError, NonFiniteError
from theorykit.spectra import WhitenedSpectrum, whitened_singular_values, whitened_truncation
from theorykit.spectra.whitening import small_side_basis, square_root

SHAPES = [(9, 6), (6, 9), (7, 7), (1, 5), (5, 1), (1, 1)]


def moment(rng: np.random.Generator, size: int, tokens: int) -> np.ndarray:
    """E[x xᵀ] of ``tokens`` vectors: singular where there are fewer tokens than features."""
    features = rng.standard_normal((tokens, size)) * np.geomspace(1.0, 0.1, size)
    return features.T @ features / tokens


def dense_root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric square root through all eigenvalues; for singular matrices, where sqrtm warns."""
    eigenvalues, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(np.maximum(eigenvalues, 0)) @ vectors.T


def distance(difference: np.ndarray, a: np.ndarray, g: np.ndarray) -> float:
    """‖G^½ D A^½‖_F as sqrt(tr(G D A Dᵀ)): the quadratic form itself, no root taken."""
    return float(np.sqrt(max(np.trace(g @ difference @ a @ difference.T), 0.0)))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sides", ["input", "output", "both", "none"])
def test_values_against_the_dense_product_with_matrix_roots(rng, shape, sides):
    m, n = shape
    weight = rng.standard_normal(shape)
    a = moment(rng, n, 50) if sides in ("input", "both") else None
    g = moment(rng, m, 50) if sides in ("output", "both") else None
    dense = weight if g is None else sqrtm(g).real @ weight
    dense = dense if a is None else dense @ sqrtm(a).real
    expected = np.linalg.svd(dense, compute_uv=False)
    np.testing.assert_allclose(whitened_singular_values(weight, a, g), expected, rtol=1e-6, atol=1e-8 * expected[0])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("input_tokens", "output_tokens"), [(2, 50), (50, 2), (2, 3), (1, 1)])
def test_singular_moments_need_no_ridge(rng, shape, input_tokens, output_tokens):
    m, n = shape
    weight, a, g = rng.standard_normal(shape), moment(rng, n, input_tokens), moment(rng, m, output_tokens)
    expected = np.linalg.svd(dense_root(g) @ weight @ dense_root(a), compute_uv=False)
    found = whitened_singular_values(weight, a, g)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=3e-8 * expected[0])
    assert found.size == min(shape)
    assert (np.diff(found) <= 0).all()


def test_zero_moments_see_nothing(rng):
    weight = rng.standard_normal((3, 2))
    assert whitened_singular_values(weight, np.zeros((2, 2))).tolist() == [0.0, 0.0]
    left, right = whitened_truncation(weight, 1, np.zeros((2, 2)))
    assert np.isfinite(left).all()
    assert np.isfinite(right).all()


def test_the_sum_of_squares_is_the_quadratic_form(rng):
    weight, a, g = rng.standard_normal((6, 4)), moment(rng, 4, 30), moment(rng, 6, 30)
    total = (whitened_singular_values(weight, a, g) ** 2).sum()
    assert total == pytest.approx(np.trace(g @ weight @ a @ weight.T))
    samples = rng.multivariate_normal(np.zeros(4), a, 200_000)
    assert total == pytest.approx(np.einsum("ti,ij,tj->t", samples, weight.T @ g @ weight, samples).mean(), rel=0.02)


@pytest.mark.parametrize("shape", [(9, 6), (6, 9), (7, 7)])
@pytest.mark.parametrize(
    ("input_tokens", "output_tokens"), [(60, 60), (4, 60), (60, 4), (4, 4), (None, 60), (60, None)]
)
def test_truncation_reaches_the_tail_and_nothing_comes_nearer(rng, shape, input_tokens, output_tokens):
    """An equality on its own instance, and a lower bound against random and locally perturbed rivals of the rank."""
    m, n = shape
    weight = rng.standard_normal(shape)
    a = None if input_tokens is None else moment(rng, n, input_tokens)
    g = None if output_tokens is None else moment(rng, m, output_tokens)
    dense_a, dense_g = (np.eye(n) if a is None else a), (np.eye(m) if g is None else g)
    values = np.linalg.svd(dense_root(dense_g) @ weight @ dense_root(dense_a), compute_uv=False)
    for rank in (1, 2, 4, min(shape)):
        left, right = whitened_truncation(weight, rank, a, g)
        assert (left.shape, right.shape) == ((m, rank), (rank, n))
        error = distance(weight - left @ right, dense_a, dense_g)
        tail = float(np.sqrt((values[rank:] ** 2).sum()))
        assert error == pytest.approx(tail, rel=1e-6, abs=3e-7 * values[0])
        for size in (1.0, 0.1, 1e-2, 1e-4):
            for _ in range(20):
                rival = (left + size * rng.standard_normal(left.shape)) @ (
                    right + size * rng.standard_normal(right.shape)
                )
                assert distance(weight - rival, dense_a, dense_g) >= error * (1 - 1e-9) - 3e-7 * values[0]


def test_truncation_without_moments_is_the_plain_one(rng):
    weight = rng.standard_normal((8, 5))
    u, s, v = np.linalg.svd(weight, full_matrices=False)
    left, right = whitened_truncation(weight, 2)
    np.testing.assert_allclose(left @ right, (u[:, :2] * s[:2]) @ v[:2], atol=1e-12)


def test_the_plain_truncation_is_worse_in_the_metric(rng):
    weight, a = rng.standard_normal((8, 5)), np.diag([100.0, 1.0, 1.0, 1.0, 0.01])
    plain, whitened = (np.matmul(*whitened_truncation(weight, 2, moment_)) for moment_ in (None, a))
    assert distance(weight - whitened, a, np.eye(8)) < 0.9 * distance(weight - plain, a, np.eye(8))


def test_full_rank_gives_the_weight_back(rng):
    weight, a, g = rng.standard_normal((5, 4)), moment(rng, 4, 30), moment(rng, 5, 30)
    np.testing.assert_allclose(np.matmul(*whitened_truncation(weight, 4, a, g)), weight, atol=1e-9)


def test_arguments_are_neither_changed_nor_kept(rng):
    weight, a = rng.standard_normal((4, 3)), moment(rng, 3, 20)
    before = weight.copy(), a.copy()
    for array in (weight, a):
        array.flags.writeable = False
    left, right = whitened_truncation(weight[::-1], 3, a)
    whitened_singular_values(weight, a)
    left[:], right[:] = 0.0, 0.0
    np.testing.assert_array_equal(weight, before[0])
    np.testing.assert_array_equal(a, before[1])


@pytest.mark.parametrize("function", [whitened_singular_values, lambda w, a, g: whitened_truncation(w, 1, a, g)])
@pytest.mark.parametrize(
    ("weight", "a", "g", "error", "message"),
    [
        (np.ones((2, 3)), np.eye(2), None, InputError, r"input_moment has shape \(2, 2\), not \(3, 3\)"),
        (np.ones((2, 3)), None, np.eye(3), InputError, r"output_moment has shape \(3, 3\), not \(2, 2\)"),
        (np.ones((2, 2)), [[1.0, 0.5], [0.0, 1.0]], None, InputError, "input_moment is not symmetric"),
        (np.ones((2, 2)), None, -np.eye(2), InputError, "output_moment has the negative eigenvalue -1"),
        (np.ones((2, 2)), [[1.0, np.nan], [np.nan, 1.0]], None, NonFiniteError, "input_moment holds NaN"),
        ([[np.inf, 1.0]], None, None, NonFiniteError, "weight holds NaN or infinity"),
        (np.ones(3), None, None, InputError, "is not that of a matrix"),
        (1e308 * np.ones((2, 2)), None, None, InputError, r"^weight has an entry of size 1e\+308, above 1e\+70$"),
        (np.eye(2), 1e308 * np.ones((2, 2)), None, InputError, r"^input_moment has an entry of size 1e\+308, above"),
        (np.eye(2), None, 0.5e308 * np.eye(2), InputError, r"^output_moment has an entry of size 5e\+307, above"),
    ],
)
def test_bad_arguments(function, weight, a, g, error, message):
    with pytest.raises(error, match=message):
        function(weight, a, g)


@pytest.mark.parametrize("ridge", [0.0, 0.03])
@pytest.mark.parametrize("moment", [np.full((3, 3), 1e308), 1.7e308 * np.eye(3), np.full((3, 3), np.nan)])
def test_a_moment_that_overflows_is_said_in_one_line(moment, ridge):
    with pytest.raises(InputError, match="a moment has an entry of size"):
        square_root(torch.from_numpy(moment), ridge)
    with pytest.raises(InputError, match="a moment has an entry of size"):
        small_side_basis(None, torch.from_numpy(moment))


def test_the_largest_numbers_that_are_allowed():
    values = whitened_singular_values(1e70 * np.eye(2), 1e70 * np.eye(2), 1e70 * np.eye(2))
    np.testing.assert_allclose(values, 1e140, rtol=1e-12)


@pytest.mark.parametrize("rank", [0, -1, 4, 1.5])
def test_the_rank_is_checked(rank):
    with pytest.raises(InputError, match="rank = "):
        whitened_truncation(np.ones((3, 5)), rank)


def test_predicted_losses_are_half_the_tail():
    found = WhitenedSpectrum(np.array([2.0, 1.0]), (2, 3))
    assert found.metric == "fisher"
    assert found.predicted_losses.tolist() == [2.5, 0.5, 0.0]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("ridge", [0.0, 0.03])
def test_a_root_whitens_and_is_undone_with_any_number_of_threads(threads, ridge):
    rng = np.random.default_rng(5)
    own, pulled = (torch.from_numpy(moment(rng, 7, 40)) for _ in range(2))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        root = square_root(own, ridge)
        basis = small_side_basis(root, pulled)
        whitened = torch.tril(root.whitened(pulled))
    finally:
        torch.set_num_threads(before)
    shifted = own + ridge * own.diagonal().mean() * torch.eye(7, dtype=torch.float64)
    torch.testing.assert_close(root.factor @ root.factor.T, shifted)
    torch.testing.assert_close(whitened, torch.tril(root.factor.T @ pulled @ root.factor))
    torch.testing.assert_close(root.times_inverse(root.factor), torch.eye(7, dtype=torch.float64))
    expand, contract = basis.projector(3)
    torch.testing.assert_close(contract @ expand, torch.eye(3, dtype=torch.float64))
    generalised = torch.linalg.eigvals(shifted @ pulled).real.sort(descending=True).values
    torch.testing.assert_close(basis.eigenvalues, generalised)
