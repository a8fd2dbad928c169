"""The Rademacher complexity of linear classes of low rank, exact up to Monte Carlo: Definition 1 of arXiv 2603.22355.

For f_W(X) = ⟨W, X⟩ the supremum has a closed form. By von Neumann's trace inequality ⟨W, S⟩ ≤ Σ s_j(W) s_j(S), met by
W along the singular vectors of S = Σ σ_i X_i, so that over rank W ≤ r

- the Frobenius ball ‖W‖_F ≤ B gives B sqrt(Σ_{j≤r} s_j(S)²), a norm of S written ‖S‖_(2,r);
- the spectral ball ‖W‖₂ ≤ B gives B Σ_{j≤r} s_j(S), Ky Fan's r-norm.

One draw of the signs serves every rank. What X_i is depends on the model: y_i x_iᵀ for the bilinear score
y_iᵀ W x_i (a layer's output weighed by a fixed direction, or a gradient at a fixed point), x_iᵀ for one output, and
for the layer x ↦ W x with all its outputs one sign for each sample and output, as Maurer's contraction asks
(:func:`vector_rademacher_complexity`). Definition 1 drops ‖W‖_F ≤ B under its supremum, which is then infinite, and
has one sign for a vector f_W(x_i); these are the readings under which it has a meaning.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from theorykit.arguments import (
    Floats,
    calculation,
    checked_generator,
    data_matrix,
    positive_integer,
    positive_number,
    single_probability,
)
from theorykit.complexity.samples import Norm, checked_norm, checked_samples, compressed
from theorykit.errors import InputError
from theorykit.results import Result
from theorykit.verdicts.intervals import student_interval

if TYPE_CHECKING:
    import pandas as pd

MAX_ENUMERATED = 12
"""Most samples over whose 2^N signs :func:`exact_rademacher_complexity` averages."""


@dataclass(frozen=True, eq=False)
class RademacherComplexity(Result):
    """Monte Carlo estimates for every rank r = 1 … min(m, n), from one set of sign draws.

    Attributes:
        values: Means over the draws, ``[q]``, in the unit of ⟨W, X⟩; entry r − 1 belongs to rank r.
        lower: Lower ends of the intervals, ``[q]``, not below 0.
        upper: Upper ends, ``[q]``. Each interval has the stated confidence for its rank, not for all of them at once.
        confidence: Nominal level of Student's interval over the draws; the sample itself is held fixed.
        n_draws: Independent sign vectors.
        n_samples: N.
        shape: (m, n) of W.
        norm: Which norm of W is bounded.
        bound: B, the bound on it.
    """

    values: Floats
    lower: Floats
    upper: Floats
    confidence: float
    n_draws: int
    n_samples: int
    shape: tuple[int, int]
    norm: Norm
    bound: float

    def at(self, rank: int) -> tuple[float, float, float]:
        """Return the estimate and both ends of its interval at one rank.

        Raises:
            InputError: the rank is not in [1, min(m, n)].
        """
        index = positive_integer("rank", rank, maximum=self.values.size) - 1
        return float(self.values[index]), float(self.lower[index]), float(self.upper[index])

    def to_frame(self) -> pd.DataFrame:
        """Return one row per rank."""
        import pandas as pd

        columns = {"rank": np.arange(1, self.values.size + 1), "complexity": self.values}
        return pd.DataFrame(columns | {"lower": self.lower, "upper": self.upper})


def _signs(generator: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return np.asarray(2.0 * generator.integers(0, 2, shape, dtype=np.int8) - 1.0, dtype=np.float64)


def _suprema(matrix: Floats, norm: Norm, size: int) -> Floats:
    """Return for r = 1 … size the largest ⟨W, S⟩ over rank W ≤ r and a ball of radius 1."""
    padding = np.zeros(size - min(matrix.shape))
    if norm == "spectral":  # a sum of singular values feels the small ones, which a Gram matrix would lose
        return np.cumsum(np.concatenate([np.linalg.svd(matrix, compute_uv=False), padding]))
    gram = matrix.T @ matrix if matrix.shape[1] <= matrix.shape[0] else matrix @ matrix.T
    energies = np.maximum(np.linalg.eigvalsh(gram)[::-1], 0.0)
    return np.asarray(np.sqrt(np.cumsum(np.concatenate([energies, padding]))))


def _estimate(
    sums: Iterable[Floats], norm: Norm, *, shape: tuple[int, int], n_samples: int, bound: float, confidence: float
) -> RademacherComplexity:
    """Average the suprema over the signed sums, with Student's interval for each rank."""
    with calculation(samples=None, bound=bound):
        draws = np.array([_suprema(matrix, norm, min(shape)) for matrix in sums])
        count = draws.shape[0]
        values, lower, upper = (part * (bound / n_samples) for part in student_interval(draws, confidence))
        lower = np.maximum(lower, 0.0)
    return RademacherComplexity(values, lower, upper, confidence, count, n_samples, shape, norm, bound)


def _checked_draws(n_draws: int) -> int:
    count = positive_integer("n_draws", n_draws)
    if count < 2:
        raise InputError("n_draws = 1 has no interval", "give at least 2 draws")
    return count


def empirical_rademacher_complexity(
    matrices: Any = None,
    *,
    left: Any = None,
    right: Any = None,
    bound: float = 1.0,
    norm: Norm = "frobenius",
    n_draws: int = 200,
    confidence: float = 0.95,
    generator: np.random.Generator,
) -> RademacherComplexity:
    """Estimate the empirical Rademacher complexity of {X ↦ ⟨W, X⟩} at all ranks, in the unit of ⟨W, X⟩.

    R̂_N = E sup (1/N) Σ σ_i ⟨W, X_i⟩ = (B/N) E ‖Σ σ_i X_i‖_(2,r) over rank W ≤ r and ‖W‖_F ≤ B, an equality; with
    ``norm="spectral"`` (B/N) E Σ_{j≤r} s_j(Σ σ_i X_i) over ‖W‖₂ ≤ B. The expectation over signs is a mean over draws;
    the interval is Student's and holds for a fixed sample. R̂_N grows with r, and R̂_N/√r (Frobenius) or R̂_N/r
    (spectral) falls.

    Args:
        matrices: X_i stacked, ``[N, m, n]``.
        left: y_i of X_i = y_i x_iᵀ, ``[N, m]``, instead of ``matrices``; far less work.
        right: x_i, ``[N, n]``.
        bound: B > 0.
        norm: Which norm of W is bounded by B.
        n_draws: Sign vectors, at least 2.
        confidence: Level of the intervals, in (0, 1).
        generator: Source of the signs.

    Returns:
        Estimates and intervals for r = 1 … min(m, n).

    Raises:
        InputError: an argument outside its domain, or neither or both forms of the samples.
        NonFiniteError: NaN or infinity among the samples.

    References:
        Bartlett & Mendelson (2002), Rademacher and Gaussian complexities, JMLR 3, Definition 2 (with a factor 2 and
        an absolute value that are left out here); Fan (1951), Maximum properties and inequalities for the eigenvalues
        of completely continuous operators, PNAS 37.

    Example:
        One sample: nothing is random, and ‖X‖_(2,r) is 4 and then 5.

        >>> found = empirical_rademacher_complexity([[[4.0, 0.0], [0.0, 3.0]]], generator=np.random.default_rng(0))
        >>> found.values.round(12).tolist()
        [4.0, 5.0]
    """
    samples = checked_samples(matrices, left, right)
    count = _checked_draws(n_draws)
    signs = _signs(checked_generator(generator), (count, samples.n_samples))
    return _estimate(
        samples.signed_sums(signs),
        checked_norm(norm),
        shape=samples.shape,
        n_samples=samples.n_samples,
        bound=positive_number("bound", bound),
        confidence=single_probability("confidence", confidence),
    )


rademacher_complexity = empirical_rademacher_complexity


def vector_rademacher_complexity(
    inputs: Any,
    n_outputs: int,
    *,
    bound: float = 1.0,
    norm: Norm = "frobenius",
    n_draws: int = 200,
    confidence: float = 0.95,
    generator: np.random.Generator,
) -> RademacherComplexity:
    """Estimate E sup (1/N) Σ_i Σ_k σ_ik (W x_i)_k for the layer x ↦ W x at all ranks, in the unit of W x.

    An equality with (B/N) E ‖Ξᵀ X‖_(2,r), Ξ ``[N, m]`` of independent signs and X ``[N, n]`` the inputs: the quantity
    that :func:`contracted_complexity` with ``vector_valued=True`` turns into a bound for a loss of the outputs.

    Inputs are x_i ``[N, n]``, outputs m; all else, and what is returned, is as of
    :func:`empirical_rademacher_complexity`.

    Raises:
        InputError: an argument outside its domain.
        NonFiniteError: NaN or infinity among the inputs.

    References:
        Maurer (2016), A vector-contraction inequality for Rademacher complexities, ALT, arXiv 1605.00251.

    Example:
        >>> found = vector_rademacher_complexity([[3.0, 4.0]], 4, generator=np.random.default_rng(0))
        >>> found.values.round(12).tolist()
        [10.0, 10.0]
    """
    matrix = data_matrix("inputs", inputs)
    m, (n_samples, n) = positive_integer("n_outputs", n_outputs), matrix.shape
    count, source, right = _checked_draws(n_draws), checked_generator(generator), compressed(matrix)
    signs = (_signs(source, (n_samples, m)) for _ in range(count))
    return _estimate(
        (sign.T @ right for sign in signs),
        checked_norm(norm),
        shape=(m, n),
        n_samples=n_samples,
        bound=positive_number("bound", bound),
        confidence=single_probability("confidence", confidence),
    )


def exact_rademacher_complexity(
    matrices: Any = None, *, left: Any = None, right: Any = None, bound: float = 1.0, norm: Norm = "frobenius"
) -> Floats:
    """Compute the empirical Rademacher complexity by averaging over all 2^N signs, in the unit of ⟨W, X⟩.

    An equality without Monte Carlo; σ and −σ give the same value, so that half of the signs are visited. The arguments
    are those of :func:`empirical_rademacher_complexity`, with N ≤ 12.

    Returns:
        ``[min(m, n)]``, entry r − 1 for rank r.

    Raises:
        InputError: more than 12 samples, or an argument outside its domain.

    Example:
        E|σ_1 + σ_2| = 1, over N = 2:

        >>> exact_rademacher_complexity([[[1.0]], [[1.0]]]).tolist()
        [0.5]
    """
    samples = checked_samples(matrices, left, right)
    n_samples = samples.n_samples
    if n_samples > MAX_ENUMERATED:
        raise InputError(
            f"{n_samples} samples have too many signs to enumerate",
            f"give at most {MAX_ENUMERATED}, or use empirical_rademacher_complexity",
        )
    scale = positive_number("bound", bound) / n_samples
    patterns = (np.arange(2 ** (n_samples - 1))[:, None] >> np.arange(n_samples)) & 1
    kind, size = checked_norm(norm), min(samples.shape)
    signs = np.asarray(1.0 - 2.0 * patterns, dtype=np.float64)
    with calculation(samples=None, bound=bound):
        suprema = [_suprema(matrix, kind, size) for matrix in samples.signed_sums(signs)]
        return np.asarray(scale * np.mean(suprema, axis=0))
