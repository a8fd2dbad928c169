"""Closed bounds on the Rademacher complexity of linear classes of low rank, from both sides, and contraction."""

from __future__ import annotations

from typing import Any

import numpy as np

from theorykit.arguments import calculation, positive_array, whole_number_array
from theorykit.complexity.samples import Norm, checked_norm, checked_samples


def rank_free_rademacher_bound(n_samples: Any, *, frobenius_bound: Any, input_norm: Any) -> Any:
    """Bound the empirical Rademacher complexity of {X ↦ ⟨W, X⟩ : ‖W‖_F ≤ B} by B R/√N, in the unit of ⟨W, X⟩.

    An upper bound for every sample and every rank, since E ‖S‖_F ≤ (E ‖S‖_F²)^½ = (Σ ‖X_i‖_F²)^½ for S = Σ σ_i X_i;
    met with equality at full rank by X_i that are orthogonal to one another. At full rank it is never more than √2
    times too large, so that a bound that grows with the rank beyond it is dominated.

    Args:
        n_samples: N, whole numbers; broadcasts.
        frobenius_bound: B > 0.
        input_norm: R ≥ the root mean square of ‖X_i‖_F over the sample (their largest norm serves as well).

    Returns:
        The bound, the broadcast shape of the arguments.

    Raises:
        InputError: an argument outside its domain.

    References:
        Bartlett & Mendelson (2002), JMLR 3, Lemma 22; Mohri, Rostamizadeh & Talwalkar (2018), Foundations of Machine
        Learning, Theorem 5.10.

    Example:
        >>> float(rank_free_rademacher_bound(100, frobenius_bound=2.0, input_norm=3.0))
        0.6
    """
    bound = positive_array("frobenius_bound", frobenius_bound)
    norm = positive_array("input_norm", input_norm, allow_zero=True)
    counts = whole_number_array("n_samples", n_samples)
    with calculation(n_samples=counts, frobenius_bound=bound, input_norm=norm):
        return (bound * norm / np.sqrt(counts))[()]


def khintchine_rademacher_bound(
    rank: Any, matrices: Any = None, *, left: Any = None, right: Any = None, bound: Any = 1.0, norm: Norm = "frobenius"
) -> Any:
    """Bound the empirical Rademacher complexity over rank W ≤ r, ‖W‖_F ≤ B by (B/N) min(sqrt(2 r v log(m + n)), F).

    An upper bound, for every sample, with v = max(‖Σ X_i X_iᵀ‖₂, ‖Σ X_iᵀ X_i‖₂) and F² = Σ ‖X_i‖_F²: the first by
    ‖S‖_(2,r) ≤ √r ‖S‖₂ and Tropp's bound on E ‖S‖₂ for S = Σ σ_i X_i, the second is the rank-free bound. The first
    wins at small ranks where the energy of the samples is spread over many directions. Over ‖W‖₂ ≤ B both take
    another √r, since the r largest singular values of S sum to at most √r ‖S‖_(2,r).

    Args:
        rank: r in [1, min(m, n)]; any shape.
        matrices: X_i stacked, ``[N, m, n]``.
        left: y_i of X_i = y_i x_iᵀ, ``[N, m]``, instead of ``matrices``.
        right: x_i, ``[N, n]``.
        bound: B > 0; broadcasts against the rank.
        norm: Which norm of W is bounded by B.

    Returns:
        The bound in the unit of ⟨W, X⟩, the broadcast shape of ``rank`` and ``bound``.

    Raises:
        InputError: an argument outside its domain.

    References:
        Tropp (2015), An introduction to matrix concentration inequalities, Found. Trends Mach. Learn. 8,
        Theorem 4.1.1.

    Example:
        >>> float(khintchine_rademacher_bound(1, [[[2.0]]]))  # 2 sqrt(2 log 2) = 2.35 is above the rank-free 2
        2.0
    """
    samples = checked_samples(matrices, left, right)
    ranks = whole_number_array("rank", rank, maximum=min(samples.shape))
    radius = positive_array("bound", bound)
    kind = checked_norm(norm)
    variance = max(float(np.linalg.eigvalsh(moment)[-1]) for moment in samples.second_moments())
    with calculation(rank=ranks, bound=radius):
        by_rank = np.sqrt(2.0 * ranks * max(variance, 0.0) * np.log(sum(samples.shape)))
        values = radius / samples.n_samples * np.minimum(by_rank, np.sqrt(samples.squared_norms().sum()))
        return (values * np.sqrt(ranks) if kind == "spectral" else values)[()]


def khintchine_rademacher_lower_bound(
    rank: Any, matrices: Any = None, *, left: Any = None, right: Any = None, bound: Any = 1.0
) -> Any:
    """Bound the empirical Rademacher complexity over rank ≤ r, ‖W‖_F ≤ B from below, by (B/(N√2)) sqrt(Σ_{j≤r} λ_j).

    A lower bound, for every sample, with λ_j the eigenvalues of Σ X_i X_iᵀ or of Σ X_iᵀ X_i, whichever gives more.
    The sum of the r largest eigenvalues is convex, so that E ‖S‖_(2,r)² is at least that of E S Sᵀ (Jensen); a first
    moment of a Rademacher sum in any norm is at least 1/√2 of the root of the second. Met with equality by two equal
    samples. At full rank it is 1/√2 of the rank-free upper bound, and at rank r at least sqrt(r/min(m, n)) of that.
    It holds over ‖W‖₂ ≤ B too, a larger class. Arguments, unit and shape are as of :func:`khintchine_rademacher_bound`.

    Raises:
        InputError: an argument outside its domain.

    References:
        Latała & Oleszkiewicz (1994), On the best constant in the Khinchin–Kahane inequality, Studia Math. 109.

    Example:
        >>> round(float(khintchine_rademacher_lower_bound(1, [[[1.0]], [[1.0]]])), 12)
        0.5
    """
    samples = checked_samples(matrices, left, right)
    ranks = whole_number_array("rank", rank, maximum=min(samples.shape))
    radius = positive_array("bound", bound)
    index = ranks.astype(np.int64) - 1
    largest = [
        np.cumsum(np.maximum(np.linalg.eigvalsh(moment)[::-1], 0.0))[index] for moment in samples.second_moments()
    ]
    with calculation(rank=ranks, bound=radius):
        return (radius / samples.n_samples * np.sqrt(np.maximum(*largest) / 2.0))[()]


def contracted_complexity(complexity: Any, lipschitz: Any, *, vector_valued: bool = False) -> Any:
    """Bound the Rademacher complexity of the losses ℓ_i ∘ f by ρ R̂_N, or √2 ρ R̂_N for vectors, in the unit of ℓ.

    Upper bounds for losses that are ρ-Lipschitz in the prediction, each sample with its own. With
    ``vector_valued`` the prediction is a vector, ρ belongs to its Euclidean norm, and R̂_N has one sign for each
    sample and output, as in :func:`vector_rademacher_complexity`. Cross entropy of logits has ρ = √2.

    Args:
        complexity: R̂_N ≥ 0; broadcasts.
        lipschitz: ρ ≥ 0.
        vector_valued: Whether predictions are vectors.

    Returns:
        The bound, the broadcast shape of the arguments.

    Raises:
        InputError: an argument is negative.

    References:
        Ledoux & Talagrand (1991), Probability in Banach Spaces, Theorem 4.12, in the form without an absolute value of
        Meir & Zhang (2003), JMLR 4, Theorem 7, which saves its factor 2; Maurer (2016), arXiv 1605.00251, Corollary 4.

    Example:
        >>> float(contracted_complexity(0.1, 2.0))
        0.2
    """
    base = positive_array("complexity", complexity, allow_zero=True)
    constant = positive_array("lipschitz", lipschitz, allow_zero=True)
    with calculation(complexity=base, lipschitz=constant):
        return (base * constant * (np.sqrt(2.0) if vector_valued else 1.0))[()]
