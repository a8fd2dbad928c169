"""Singular values of one matrix, on CPU or GPU, block by block in float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np

from theorykit.arguments import Floats, did_you_mean, finite_matrix, shape_2d
from theorykit.errors import InputError, NonFiniteError
from theorykit.spectra.spectrum import Spectrum

if TYPE_CHECKING:
    import torch

Method = Literal["auto", "gram", "svd"]
BLOCK_BYTES = 48 * 2**20
"""Size of one float64 block: large enough for fast products, small beside a Gram matrix of width 4096."""
_BLOCK_LENGTH = 2**11
"""Longest sum within one block: in a longer one the rounding errors of equal products (ternary weights) add up
in step instead of like a random walk."""
_SQUARES = (1e-280, 1e280)
"""Range of the largest squared norm in which squaring loses nothing; outside it the matrix is scaled first."""

SVD_LIMIT = 2048
"""Largest min(m, n) for which ``auto`` takes an SVD by itself."""

_GRAM_ERROR = 8.0
"""Small eigenvalues of a float64 Gram matrix are trusted to this many eps · λ_1, or sqrt(max(m, n)) where that is more
(measured against an SVD: at most 6 at 200 × 200, 13 at 1000 × 1000 and 27 at 1500 × 1500, where half of the singular
values are 1 and half lie at the limit; the relative error of the large ones never matters)."""
_RELATIVE_TARGET = 1e-6


def blocks(matrix: Any, *, of_rows: bool, device: str | torch.device | None = None) -> Iterator[torch.Tensor]:
    """Yield float64 blocks of rows (or of columns) of anything that has ``shape`` and slices like a matrix."""
    import torch

    shape = shape_2d(tuple(matrix.shape))
    length, other = shape if of_rows else shape[::-1]
    step = max(1, min(_BLOCK_LENGTH, BLOCK_BYTES // (8 * other)))
    for start in range(0, length, step):
        part = slice(start, min(start + step, length))
        block = matrix[part, :] if of_rows else matrix[:, part]
        if not isinstance(block, torch.Tensor):
            block = np.asarray(block)
            if block.dtype.kind in "fiub":  # a copy, since torch takes no read-only, reversed or foreign-endian array
                block = torch.from_numpy(np.array(block, dtype=np.float64, order="C"))
        if not isinstance(block, torch.Tensor) or block.is_complex():
            raise InputError(f"weights of type {block.dtype} are not real numbers", "give a matrix of floats")
        yield block.detach().to(device=device, dtype=torch.float64)


def _gram(matrix: Any, device: str | torch.device | None, scale: float = 1.0) -> torch.Tensor:
    """Return the lower triangle of WᵀW or WWᵀ, whichever is smaller, over scale², ``[q, q]`` float64."""
    import torch

    m, n = matrix.shape
    tall = n <= m
    gram: torch.Tensor | None = None
    for block in blocks(matrix, of_rows=tall, device=device):
        block = block if scale == 1 else block / scale
        if gram is None:
            gram = torch.zeros(min(m, n), min(m, n), dtype=torch.float64, device=block.device)
        if block.device.type == "cpu" and min(m, n) > SVD_LIMIT:
            _add_product(gram, block, tall=tall)
        elif on_one_thread(block):
            gram += torch.from_numpy(_symmetric_product(block.contiguous().numpy(), tall=tall))
        else:
            gram += block.T @ block if tall else block @ block.T
    assert gram is not None
    return gram


def on_one_thread(matrix: torch.Tensor) -> bool:
    """Return whether a matrix lies on the CPU and torch has one thread, as in the workers of a pool over layers.

    There NumPy and SciPy take the place of torch, whose LAPACK is slower on some processors; with several threads
    theirs would slow down torch's.
    """
    import torch

    return matrix.device.type == "cpu" and torch.get_num_threads() == 1


def eigenvectors(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the eigenvalues of a symmetric matrix, rising, and its vectors; only the lower triangle is read."""
    import torch

    if on_one_thread(matrix):
        values, vectors = np.linalg.eigh(matrix.numpy())
        return torch.from_numpy(values), torch.from_numpy(vectors)
    values, vectors = torch.linalg.eigh(matrix)
    return values, vectors


def _eigenvalues(gram: torch.Tensor) -> Floats:
    """Return the eigenvalues of a symmetric matrix, rising; only the lower triangle is read."""
    import torch

    if on_one_thread(gram):
        return np.linalg.eigvalsh(gram.numpy())
    values: Floats = torch.linalg.eigvalsh(gram).cpu().numpy()
    return values


def _symmetric_product(block: Floats, *, tall: bool) -> Floats:
    """Return blockᵀ block (or block blockᵀ): NumPy sees one matrix in both factors and does half the work.

    For one thread per worker: NumPy lets go of Python's lock, and its own threads would slow down torch's.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # the caller sees what is not finite, and scales
        return np.asarray(block.T @ block if tall else block @ block.T)


def _add_product(gram: torch.Tensor, block: torch.Tensor, *, tall: bool) -> None:
    """Add blockᵀ block (or block blockᵀ) to the lower triangle in place: half the work of a full product, no copy.

    For wide matrices: it keeps Python's lock, and SciPy's threads go on spinning for a while and slow down the
    eigenvalues of small ones.
    """
    from scipy.linalg.blas import dsyrk

    # BLAS reads columns first, so that it sees the transpose of both and fills the upper triangle of gramᵀ
    dsyrk(1.0, block.contiguous().numpy().T, beta=1.0, c=gram.numpy().T, trans=not tall, lower=False, overwrite_c=True)


def _same_singular_values(matrix: Any, device: str | torch.device | None) -> torch.Tensor:
    """Return a small float64 matrix with the singular values of W: W itself, or R of a QR factorisation if slender.

    R ``[q, q]`` is built up block by block, so that a long matrix is never held whole in float64.
    """
    import torch

    m, n = matrix.shape
    tall = n <= m
    pieces = (block if tall else block.T for block in blocks(matrix, of_rows=tall, device=device))
    if max(m, n) <= 2 * min(m, n):
        return torch.cat(list(pieces))
    factor = next(pieces)
    for piece in pieces:
        factor = torch.linalg.qr(torch.cat([factor, piece]), mode="r").R
    return factor


def _largest_entry(matrix: Any, name: str) -> float:
    """Return max |w|, or raise where an entry is NaN or infinite."""
    import torch

    m, n = matrix.shape
    largest = 0.0
    for block in blocks(matrix, of_rows=n <= m):
        if not bool(torch.isfinite(block).all()):
            raise NonFiniteError(
                f"{name} holds NaN or infinite weights", "the checkpoint is damaged or its training diverged"
            )
        largest = max(largest, float(block.abs().max()))
    return largest


def _power_of_two(largest: float) -> float:
    """Return the power of two next to the largest entry: dividing by it rounds nothing."""
    return float(np.ldexp(1.0, int(np.frexp(largest)[1]) - 1))


def _eigenvalue_error(largest: float, shape: tuple[int, int]) -> float:
    return float(max(_GRAM_ERROR, np.sqrt(max(shape))) * np.finfo(float).eps * largest)


def _exact_up_to(eigenvalues: Floats, shape: tuple[int, int]) -> int:
    """Return the rank up to which every ε(r) keeps a relative accuracy of 1e-6 by the Gram route; q if all do.

    The error of ε(r)² is at most (q − r) times that of one eigenvalue; the relative error of ε is half of it.
    """
    ascending = np.maximum(eigenvalues, 0.0)
    left_out = np.arange(1, ascending.size + 1)
    error = _eigenvalue_error(ascending[-1], shape) * left_out
    failing = left_out[error > 2 * _RELATIVE_TARGET * np.cumsum(ascending)]
    return int(ascending.size - failing.max() - 1) if failing.size else int(ascending.size)


def checked_method(method: str) -> Method:
    """Return the name of a method, or raise where there is none of that name."""
    if method in get_args(Method):
        return cast(Method, method)
    raise InputError(
        f"method = {method!r} is not known", f"{did_you_mean(method, get_args(Method))}give auto, gram or svd"
    )


def spectrum(
    matrix: Any,
    *,
    method: Method = "auto",
    device: str | torch.device | None = None,
    name: str = "the matrix",
) -> Spectrum:
    """Compute all singular values of a matrix in float64.

    ``auto`` takes the eigenvalues of the Gram matrix of the smaller side (about ten times cheaper than an SVD) and
    goes over to an SVD where squaring has lost small singular values: wherever ε(r)/‖W‖_F > 1e-6 the
    truncation error then agrees with a LAPACK SVD to 1e-6 relative. Above min(m, n) = 2048 an SVD takes minutes: there
    ``auto`` stays with the Gram route, and the note says up to which rank that accuracy holds.

    Args:
        matrix: ``[m, n]``, a torch tensor, an array, or anything with ``shape`` that slices like one (a slice of a
            safetensors file is read block by block, never whole).
        method: ``"auto"``, ``"gram"`` (never an SVD; the result notes what it cannot resolve) or ``"svd"``.
        device: Where to compute; None for where the matrix lies.
        name: How an error message calls the matrix.

    Returns:
        The spectrum, on the CPU.

    Raises:
        NonFiniteError: NaN or infinite weights.
        InputError: not a matrix, or an unknown method.
    """
    import torch

    checked_method(method)
    if not hasattr(matrix, "shape"):
        matrix = finite_matrix(name, matrix)
    try:
        m, n = shape_2d(tuple(matrix.shape))
    except InputError as error:
        raise InputError(f"{name}: {error.message}", error.hint) from None
    if method != "svd":
        gram, scale = _gram(matrix, device), 1.0
        largest_square = float(gram.diagonal().max())
        if not _SQUARES[0] < largest_square < _SQUARES[1]:  # true of NaN too
            largest = _largest_entry(matrix, name)
            if largest == 0:
                return Spectrum(np.zeros(min(m, n)), (m, n), "gram")
            scale = _power_of_two(largest)
            gram = _gram(matrix, device, scale)
        eigenvalues = _eigenvalues(gram)
        del gram
        exact = _exact_up_to(eigenvalues, (m, n))
        if method == "gram" or exact == min(m, n) or min(m, n) > SVD_LIMIT:
            return _from_eigenvalues(eigenvalues, (m, n), scale, exact)
    else:
        _largest_entry(matrix, name)  # the Gram route has seen every entry by its diagonal
    values = torch.linalg.svdvals(_same_singular_values(matrix, device)).cpu().numpy()
    return Spectrum(np.sort(values)[::-1].copy(), (m, n), "svd", float(max(m, n) * np.finfo(float).eps * values.max()))


def _from_eigenvalues(eigenvalues: Floats, shape: tuple[int, int], scale: float, exact: int) -> Spectrum:
    values = scale * np.sqrt(np.maximum(eigenvalues[::-1], 0.0))
    resolution = scale * float(np.sqrt(_eigenvalue_error(eigenvalues[-1], shape)))
    notes = []
    lost = int((values < resolution).sum())
    if exact < values.size:
        if lost:
            notes.append(f"{lost} singular values lie below the resolution {resolution:.2e} of the Gram route")
        notes.append(f"ε(r) is exact to 1e-6 up to rank {max(exact, 0)} of {values.size}, the SVD route gives the rest")
    return Spectrum(np.sort(values)[::-1].copy(), shape, "gram", resolution, "; ".join(notes))
