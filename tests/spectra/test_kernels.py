from __future__ import annotations

import numpy as np
import pytest
import torch

from theorykit.errors import InputError, NonFiniteError
from theorykit.spectra import kernels
from theorykit.spectra.kernels import spectrum
from theorykit.spectra.spectrum import truncation_errors

SHAPES = [(60, 20), (20, 60), (30, 30), (1, 1), (1, 9), (9, 1), (2, 500), (500, 2)]


def with_values(rng: np.random.Generator, shape: tuple[int, int], values: np.ndarray) -> np.ndarray:
    """A matrix with planted singular values and random singular vectors."""
    m, n = shape
    left, _ = np.linalg.qr(rng.standard_normal((m, values.size)))
    right, _ = np.linalg.qr(rng.standard_normal((n, values.size)))
    return (left * values) @ right.T


def reference(matrix: np.ndarray) -> np.ndarray:
    """ε(r) from LAPACK's SVD of the scaled matrix."""
    scale = 2.0 ** np.floor(np.log2(np.abs(matrix).max()))
    return scale * truncation_errors(np.linalg.svd(matrix / scale, compute_uv=False))


def assert_promise(found, errors: np.ndarray) -> None:
    """Wherever ε(r)/‖W‖_F > 1e-6, ε(r) agrees to 1e-6 relative; elsewhere it is small as well."""
    counts = errors > 1e-6 * errors[0]
    np.testing.assert_allclose(found.truncation_errors[counts], errors[counts], rtol=1e-6)
    assert (found.truncation_errors[~counts] <= 1.1e-6 * errors[0]).all()


@pytest.mark.parametrize("method", ["auto", "svd", "gram"])
@pytest.mark.parametrize("shape", SHAPES)
def test_gaussian_matrices_agree_with_lapack(rng, shape, method):
    matrix = rng.standard_normal(shape)
    found = spectrum(matrix, method=method)
    assert found.shape == shape
    assert found.singular_values.size == min(shape)
    np.testing.assert_allclose(found.singular_values, np.linalg.svd(matrix, compute_uv=False), rtol=1e-9)


@pytest.mark.parametrize("shape", [(60, 40), (40, 60), (50, 50)])
@pytest.mark.parametrize("floor", [1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 1e-10, 1e-14])
def test_decaying_spectra_keep_the_promise(rng, shape, floor):
    planted = np.geomspace(1.0, floor, min(shape))
    matrix = with_values(rng, shape, planted)
    found = spectrum(matrix)
    assert found.note == ""
    assert_promise(found, reference(matrix))
    assert_promise(found, truncation_errors(planted))


@pytest.mark.parametrize("gap", [1e-3, 1e-4, 3e-5, 1e-5, 1e-6, 3e-7, 1e-8])
@pytest.mark.parametrize("values", [1, 5, 29])
def test_a_cliff_in_the_spectrum_keeps_the_promise(rng, gap, values):
    planted = np.concatenate([np.ones(values), np.full(30 - values, gap)])
    matrix = with_values(rng, (200, 30), planted)
    assert_promise(spectrum(matrix), truncation_errors(planted))


@pytest.mark.parametrize("rank", [1, 3, 19])
@pytest.mark.parametrize("shape", [(60, 20), (20, 60)])
def test_exactly_deficient_matrices(rng, shape, rank):
    matrix = rng.integers(-3, 4, (shape[0], rank)) @ rng.integers(-3, 4, (rank, shape[1])).astype(float)
    found = spectrum(matrix)
    assert found.method == "svd"
    assert (found.singular_values > found.resolution).sum() == rank == np.linalg.matrix_rank(matrix)
    assert_promise(found, reference(matrix))


@pytest.mark.parametrize("method", ["auto", "svd", "gram"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 4), (4, 3)])
def test_the_zero_matrix(shape, method):
    found = spectrum(np.zeros(shape), method=method)
    assert found.singular_values.tolist() == [0.0] * min(shape)
    assert (found.resolution, found.note) == (0.0, "")


@pytest.mark.parametrize("method", ["auto", "svd", "gram"])
@pytest.mark.parametrize("exponent", [-300, -200, -165, -161, -155, -140, -20, 20, 140, 153, 155, 200, 300])
def test_very_small_and_very_large_entries(rng, exponent, method):
    """Squares underflow from 1e-162 and overflow from 1e154; singular values do not."""
    matrix = rng.standard_normal((12, 7))
    found = spectrum(matrix * 10.0**exponent, method=method)
    assert found.method == ("svd" if method == "svd" else "gram")
    expected = np.linalg.svd(matrix, compute_uv=False)
    np.testing.assert_allclose(found.singular_values / 10.0**exponent, expected, rtol=1e-10)
    assert 0 < found.resolution < found.singular_values[0] * 1e-6


def test_one_tiny_row_beside_large_ones(rng):
    matrix = rng.standard_normal((12, 7)) * np.r_[np.full(11, 1e200), 1e-200][:, None]
    assert_promise(spectrum(matrix), reference(matrix))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.int8])
def test_every_type_of_tensor_is_taken_as_it_is(rng, dtype):
    tensor = torch.from_numpy(4 * rng.standard_normal((20, 30))).to(dtype)
    found = spectrum(tensor)
    np.testing.assert_allclose(
        found.singular_values, np.linalg.svd(tensor.double().numpy(), compute_uv=False), rtol=1e-9
    )
    assert found.singular_values.dtype == np.float64


@pytest.mark.parametrize(
    "change",
    [
        lambda matrix: matrix[::-1],
        lambda matrix: matrix[:, ::-1],
        lambda matrix: np.asfortranarray(matrix),
        lambda matrix: matrix.astype(">f8"),
        lambda matrix: matrix.astype(np.longdouble),
        lambda matrix: matrix.tolist(),
        lambda matrix: torch.nn.Parameter(torch.from_numpy(matrix)),
        lambda matrix: torch.from_numpy(matrix.T.copy()).T,
    ],
    ids=["rows reversed", "columns reversed", "fortran", "big-endian", "long double", "lists", "parameter", "view"],
)
@pytest.mark.parametrize("method", ["auto", "svd"])
def test_every_layout_gives_the_same_values(rng, change, method):
    matrix = rng.standard_normal((9, 6))
    np.testing.assert_allclose(
        spectrum(change(matrix), method=method).singular_values, np.linalg.svd(matrix, compute_uv=False), rtol=1e-10
    )


def test_a_read_only_array_is_read_only_read(rng):
    matrix = rng.standard_normal((5, 4))
    before = matrix.copy()
    matrix.flags.writeable = False
    spectrum(matrix)
    np.testing.assert_array_equal(matrix, before)


class Slices:
    """What a slice of a file offers: a shape and slicing, nothing else; it counts what is read at once."""

    def __init__(self, matrix: np.ndarray) -> None:
        self._matrix = matrix
        self.shape = list(matrix.shape)
        self.largest = 0

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        block = self._matrix[key]
        self.largest = max(self.largest, block.size)
        return block


@pytest.mark.parametrize("method", ["auto", "gram", "svd"])
@pytest.mark.parametrize("shape", [(37, 5), (5, 37), (11, 11)])
@pytest.mark.parametrize("block_bytes", [1, 8 * 11 * 3, 10_000])
def test_blocks_change_nothing_and_a_file_is_never_read_whole(rng, monkeypatch, shape, method, block_bytes):
    monkeypatch.setattr(kernels, "BLOCK_BYTES", block_bytes)
    matrix = rng.standard_normal(shape)
    source = Slices(matrix)
    found = spectrum(source, method=method)
    np.testing.assert_allclose(found.singular_values, np.linalg.svd(matrix, compute_uv=False), rtol=1e-9)
    assert 0 < source.largest <= max(block_bytes // 8, min(shape))


def test_an_ill_conditioned_matrix_in_blocks(rng, monkeypatch):
    monkeypatch.setattr(kernels, "BLOCK_BYTES", 8 * 20 * 7)
    planted = np.geomspace(1.0, 1e-14, 20)
    assert_promise(spectrum(with_values(rng, (90, 20), planted)), truncation_errors(planted))


def test_equal_products_do_not_add_up_their_rounding():
    """In ternary weights every product rounds the same way, so that one long sum drifts: by 1e5 eps over 2^20 rows."""
    rows, value = 2**20, 0.3
    signs = np.where(np.arange(rows) % 3 == 0, -1.0, 1.0)
    matrix = value * np.stack([signs, signs, signs], axis=1)
    matrix[5, 1] *= -1
    matrix[7, 2] *= -1
    exact = np.round(matrix / value).astype(int)
    lower = np.tril(kernels._gram(matrix, None).numpy() / value**2 - exact.T @ exact)
    drift = np.abs(lower).max()
    assert drift <= kernels._eigenvalue_error(3.0 * rows, matrix.shape)


def test_gram_says_what_it_cannot_resolve(rng):
    planted = np.concatenate([np.ones(5), np.full(3, 1e-12)])
    matrix = with_values(rng, (40, 8), planted)
    found = spectrum(matrix, method="gram")
    assert found.method == "gram"
    assert found.note.startswith("3 singular values lie below the resolution")
    assert 1e-12 < found.resolution < 1e-6
    assert (found.singular_values[5:] < found.resolution).all()
    exact = spectrum(matrix)
    assert (exact.method, exact.note) == ("svd", "")
    np.testing.assert_allclose(exact.singular_values[5:], 1e-12, rtol=1e-2)


@pytest.mark.parametrize("method", ["auto", "gram", "svd"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (-1, -1)])
def test_nan_and_infinity_name_the_matrix(rng, monkeypatch, method, bad, place):
    monkeypatch.setattr(kernels, "BLOCK_BYTES", 8 * 12)
    matrix = rng.standard_normal((9, 4))
    matrix[place] = bad
    with pytest.raises(NonFiniteError, match=r"h\.0\.mlp\.c_fc holds NaN or infinite weights"):
        spectrum(matrix, method=method, name="h.0.mlp.c_fc")


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones(3), r"layer: shape \(3,\) is not that of a matrix"),
        (np.ones((0, 3)), r"layer: shape \(0, 3\) is not that of a matrix"),
        (np.ones((2, 2, 2)), "layer: shape"),
        (3.0, r"shape \(\) is not that of a matrix"),
        ("weights", "layer is not made of real numbers"),
        ([[1.0, 2.0], [3.0]], "layer is not made of real numbers"),
        (np.ones((2, 2)) * 1j, "weights of type complex128 are not real numbers"),
        (torch.ones((2, 2), dtype=torch.complex64), "weights of type torch.complex64 are not real numbers"),
        (np.array([["a", "b"]]), "are not real numbers"),
    ],
)
def test_what_is_no_matrix_is_refused(matrix, message):
    with pytest.raises(InputError, match=message):
        spectrum(matrix, name="layer")


def test_an_unknown_method_is_refused():
    with pytest.raises(InputError, match="method = 'qr' is not known"):
        spectrum(np.eye(2), method="qr")  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.parametrize("floor", [1e-2, 1e-14])
def test_the_accelerator_gives_the_same_promise(rng, floor):
    planted = np.geomspace(1.0, floor, 64)
    matrix = with_values(rng, (256, 64), planted)
    for source in (matrix, torch.from_numpy(matrix).cuda()):
        assert_promise(spectrum(source, device="cuda"), truncation_errors(planted))


@pytest.mark.parametrize(("shape", "large"), [((200, 200), 100), ((600, 400), 200), ((1000, 1000), 500)])
def test_the_promise_holds_where_the_gram_route_is_just_trusted(rng, shape, large):
    """Half of the values 1, half so small that one rounding more would send the matrix to the SVD."""
    limit = np.sqrt(kernels._eigenvalue_error(1.0, shape) / (2 * kernels._RELATIVE_TARGET))
    planted = np.concatenate([np.ones(large), np.full(min(shape) - large, 1.1 * limit)])
    matrix = with_values(rng, shape, planted)
    found = spectrum(matrix)
    assert found.method == "gram"
    assert_promise(found, reference(matrix))


def test_a_wide_matrix_stays_with_gram_and_says_up_to_which_rank(rng, monkeypatch):
    monkeypatch.setattr(kernels, "SVD_LIMIT", 20)
    planted = np.geomspace(1.0, 1e-9, 40)
    found = spectrum(with_values(rng, (60, 40), planted))
    assert found.method == "gram"
    exact = int(found.note.split("up to rank ")[1].split(" of 40")[0])
    assert 0 < exact < 40
    truth = truncation_errors(planted)[: exact + 1]
    np.testing.assert_allclose(found.truncation_errors[: exact + 1], truth, rtol=1e-6)
    assert spectrum(with_values(rng, (60, 40), planted), method="svd").note == ""
