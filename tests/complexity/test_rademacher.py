from __future__ import annotations

import itertools
from math import comb

import numpy as np
import pytest
import torch
from scipy.stats import binom

from theorykit.complexity import (
    empirical_rademacher_complexity,
    exact_rademacher_complexity,
    rademacher_complexity,
    rank_free_rademacher_bound,
    vector_rademacher_complexity,
)
from theorykit.errors import InputError, NonFiniteError

NORMS = ("frobenius", "spectral")
SHAPES = [(1, 1), (3, 2), (2, 5), (4, 4)]


def brute_force(stack: np.ndarray, norm: str) -> np.ndarray:
    """All 2^N signs, an SVD each."""
    totals = []
    for signs in itertools.product((-1.0, 1.0), repeat=stack.shape[0]):
        values = np.linalg.svd(np.tensordot(signs, stack, 1), compute_uv=False)
        totals.append(np.sqrt(np.cumsum(values**2)) if norm == "frobenius" else np.cumsum(values))
    return np.mean(totals, axis=0) / stack.shape[0]


def factors(rng: np.random.Generator, n_samples: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    return rng.standard_normal((n_samples, shape[0])), rng.standard_normal((n_samples, shape[1]))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n_samples", [1, 2, 7])
def test_enumeration_agrees_with_brute_force(rng, n_samples, shape, norm):
    stack = rng.standard_normal((n_samples, *shape))
    found = exact_rademacher_complexity(stack, bound=3.0, norm=norm)
    np.testing.assert_allclose(found, 3.0 * brute_force(stack, norm), rtol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [*SHAPES, (9, 6), (6, 9), (9, 9)])
@pytest.mark.parametrize("n_samples", [1, 3, 8])
def test_factors_and_stacked_matrices_agree_draw_by_draw(rng, n_samples, shape, norm):
    """Also with fewer samples than rows or columns, where the factors are shortened."""
    left, right = factors(rng, n_samples, shape)
    stack = left[:, :, None] * right[:, None, :]
    exact = exact_rademacher_complexity(left=left, right=right, norm=norm)
    np.testing.assert_allclose(exact, exact_rademacher_complexity(stack, norm=norm), rtol=1e-10)
    one, other = (
        empirical_rademacher_complexity(**form, norm=norm, n_draws=20, generator=np.random.default_rng(5))
        for form in ({"matrices": stack}, {"left": left, "right": right})
    )
    for name in ("values", "lower", "upper"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9, atol=1e-14)
    assert one.shape == other.shape == shape
    assert one.n_samples == other.n_samples == n_samples


@pytest.mark.parametrize("norm", NORMS)
def test_the_supremum_is_met_and_never_exceeded(rng, norm):
    """⟨W, S⟩ for random W of the class, and for the one along the singular vectors of S."""
    stack = rng.standard_normal((1, 4, 6))
    best = exact_rademacher_complexity(stack, norm=norm)
    left, values, right = np.linalg.svd(stack[0], full_matrices=False)
    for rank in range(1, 5):
        weights = values[:rank] / np.linalg.norm(values[:rank]) if norm == "frobenius" else np.ones(rank)
        assert ((left[:, :rank] * weights) @ right[:rank] * stack[0]).sum() == pytest.approx(best[rank - 1])
        for size in (0.01, 0.1, 1.0, 10.0):
            near = (left[:, :rank] + size * rng.standard_normal((4, rank))) * weights
            matrix = near @ (right[:rank] + size * rng.standard_normal((rank, 6)))
            matrix /= np.linalg.norm(matrix, "fro" if norm == "frobenius" else 2)
            assert (matrix * stack[0]).sum() <= best[rank - 1] * (1 + 1e-12)


@pytest.mark.parametrize("norm", NORMS)
def test_the_interval_covers_as_often_as_it_says(rng, norm):
    """Budget: 400 intervals of 30 draws; the binomial limits of a 95 % interval, and 6 less for skewness."""
    left, right = factors(rng, 7, (3, 4))
    exact = exact_rademacher_complexity(left=left, right=right, norm=norm)
    covered = np.zeros(3)
    for _ in range(400):
        found = empirical_rademacher_complexity(left=left, right=right, norm=norm, n_draws=30, generator=rng)
        covered += (found.lower <= exact) & (exact <= found.upper)
    low, high = binom.ppf([0.0005, 0.9995], 400, 0.95)
    assert (covered >= low - 6).all()
    assert (covered <= high).all()


def test_a_wider_confidence_is_wider(rng):
    stack = rng.standard_normal((5, 3, 3))
    narrow, wide = (
        empirical_rademacher_complexity(stack, confidence=level, generator=np.random.default_rng(1))
        for level in (0.5, 0.99)
    )
    np.testing.assert_array_equal(narrow.values, wide.values)
    assert (wide.lower < narrow.lower).all()
    assert (wide.upper > narrow.upper).all()
    # quantiles 0.6757 and 2.6008 of Student's law with 199 degrees of freedom
    np.testing.assert_allclose((wide.upper - wide.values) / (narrow.upper - narrow.values), 2.6008 / 0.6757, rtol=1e-3)


def test_the_interval_of_two_draws_by_hand():
    """One of N = 2 equal samples: each draw is 1 or 0; Student's law with one degree of freedom has 12.706."""
    for seed in range(30):
        generator = np.random.default_rng(seed)
        found = empirical_rademacher_complexity([[[1.0]], [[1.0]]], n_draws=2, generator=generator)
        if found.values[0] == 0.5:  # the draws differ: their standard error is ½
            assert found.upper[0] == pytest.approx(0.5 + 12.7062 / 2, rel=1e-5)
            assert found.lower[0] == 0.0
            return
    raise AssertionError("no seed gave two different draws")


@pytest.mark.parametrize("n_samples", [12, 400])
def test_growth_with_the_rank(rng, n_samples):
    """R̂ grows, R̂/√r falls (Frobenius), R̂/r falls (spectral); the balls are nested up to √r."""
    left, right = factors(rng, n_samples, (10, 16))
    frobenius, spectral = (
        empirical_rademacher_complexity(
            left=left, right=right, norm=norm, n_draws=9, generator=np.random.default_rng(2)
        ).values
        for norm in NORMS
    )
    ranks = np.arange(1, 11)
    assert (np.diff(frobenius) > 0).all()
    assert (np.diff(spectral) > 0).all()
    assert (np.diff(frobenius / np.sqrt(ranks)) < 0).all()
    assert (np.diff(spectral / ranks) < 0).all()
    assert (frobenius <= spectral * (1 + 1e-12)).all()
    assert (spectral <= np.sqrt(ranks) * frobenius * (1 + 1e-12)).all()


def test_equal_singular_values_grow_like_the_root_of_the_rank():
    """X_i = e_i e_iᵀ: every signed sum is orthogonal, so that nothing is random."""
    size = 6
    stack = np.eye(size)[:, :, None] * np.eye(size)[:, None, :]
    ranks = np.arange(1, size + 1)
    found = empirical_rademacher_complexity(stack, bound=2.0, n_draws=5, generator=np.random.default_rng(0))
    np.testing.assert_allclose(found.values, 2.0 * np.sqrt(ranks) / size)
    np.testing.assert_allclose(found.upper, found.lower)
    spectral = exact_rademacher_complexity(stack, bound=2.0, norm="spectral")
    np.testing.assert_allclose(spectral, 2.0 * ranks / size)
    # orthogonal samples meet the rank-free bound
    assert found.values[-1] == pytest.approx(rank_free_rademacher_bound(size, frobenius_bound=2.0, input_norm=1.0))


@pytest.mark.parametrize("n_samples", [1, 4, 5, 12])
def test_equal_samples_are_a_random_walk(n_samples):
    """E|Σ σ_i| = N C(N−1, ⌊(N−1)/2⌋)/2^(N−1)."""
    walk = n_samples * comb(n_samples - 1, (n_samples - 1) // 2) / 2 ** (n_samples - 1)
    found = exact_rademacher_complexity(left=[[0.0, 2.0]] * n_samples, right=[[3.0, 0.0, 4.0]] * n_samples)
    np.testing.assert_allclose(found, 10.0 * walk / n_samples, rtol=1e-12)


def test_one_sign_for_each_output(rng):
    """The vector form is m times the scalar one of the N m samples e_k x_iᵀ."""
    inputs = rng.standard_normal((4, 3))
    stack = np.einsum("kl,in->ikln", np.eye(2), inputs).reshape(8, 2, 3)
    for norm in NORMS:
        exact = 2 * exact_rademacher_complexity(stack, bound=1.5, norm=norm)
        found = vector_rademacher_complexity(
            inputs, 2, bound=1.5, norm=norm, n_draws=3000, confidence=0.999, generator=rng
        )
        assert found.shape == (2, 3)
        assert ((found.lower <= exact) & (exact <= found.upper)).all()
        assert (found.upper - found.lower < 0.1 * found.values).all()


def test_one_seed_one_result(rng):
    stack = rng.standard_normal((6, 3, 4))
    one, other, third = (
        rademacher_complexity(stack, generator=np.random.default_rng(seed), n_draws=10).values for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, other)
    assert (one != third).any()


def test_tensors_and_lists_are_taken(rng):
    left, right = factors(rng, 5, (3, 2))
    expected = exact_rademacher_complexity(left=left, right=right)
    np.testing.assert_array_equal(
        exact_rademacher_complexity(left=torch.from_numpy(left).requires_grad_(), right=right.tolist()), expected
    )


def test_the_result_is_a_table_and_can_be_asked(rng):
    found = empirical_rademacher_complexity(rng.standard_normal((6, 3, 4)), n_draws=10, generator=rng)
    frame = found.to_frame()
    assert frame["rank"].tolist() == [1, 2, 3]
    assert list(frame.columns) == ["rank", "complexity", "lower", "upper"]
    assert found.at(2) == (found.values[1], found.lower[1], found.upper[1])
    assert (found.n_draws, found.confidence, found.norm) == (10, 0.95, "frobenius")
    assert found.to_dict()["values"] == found.values.tolist()
    with pytest.raises(InputError, match="rank = 4"):
        found.at(4)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"matrices": None}, InputError, "give either matrices, or both left and right"),
        ({"left": [[1.0]]}, InputError, "give either matrices, or both left and right"),
        ({"matrices": None, "left": [[1.0]]}, InputError, "give either matrices, or both"),
        ({"matrices": [[1.0]]}, InputError, r"matrices has shape \(1, 1\), not \[N, m, n\]"),
        ({"matrices": np.zeros((0, 2, 2))}, InputError, "matrices is empty"),
        ({"matrices": [[[np.nan]]]}, NonFiniteError, "matrices = nan"),
        ({"matrices": None, "left": [[1.0]] * 2, "right": [[1.0]] * 3}, InputError, "left has 2 rows and right has 3"),
        ({"matrices": None, "left": [[np.inf]], "right": [[1.0]]}, NonFiniteError, "left holds NaN or infinity"),
        ({"bound": 0.0}, InputError, "bound = 0.0"),
        ({"norm": "nuclear"}, InputError, "norm = 'nuclear' is unknown"),
        ({"n_draws": 1}, InputError, "n_draws = 1 has no interval"),
        ({"n_draws": -2}, InputError, "n_draws = -2"),
        ({"confidence": 1.0}, InputError, r"confidence = 1 lies outside \(0, 1\)"),
        ({"generator": 7}, InputError, r"generator = 7 is not a numpy\.random\.Generator"),
    ],
)
def test_the_estimate_refuses(change, error, message):
    arguments = {"matrices": np.ones((3, 2, 2)), "generator": np.random.default_rng(0)} | change
    with pytest.raises(error, match=message):
        empirical_rademacher_complexity(**arguments)


def test_too_many_signs_are_refused():
    with pytest.raises(InputError, match="13 samples have too many signs"):
        exact_rademacher_complexity(np.ones((13, 1, 1)))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"n_outputs": 0}, "n_outputs = 0"), ({"inputs": [1.0]}, "is not that of a matrix"), ({"n_draws": 1}, "n_draws")],
)
def test_the_vector_form_refuses(change, message):
    arguments = {"inputs": np.ones((3, 2)), "n_outputs": 2, "generator": np.random.default_rng(0)} | change
    with pytest.raises(InputError, match=message):
        vector_rademacher_complexity(arguments.pop("inputs"), arguments.pop("n_outputs"), **arguments)
