from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theorykit.complexity import (
    contracted_complexity,
    exact_rademacher_complexity,
    khintchine_rademacher_bound,
    khintchine_rademacher_lower_bound,
    rank_free_rademacher_bound,
    vector_rademacher_complexity,
)
from theorykit.errors import InputError, NonFiniteError


def class_complexity(values: np.ndarray) -> float:
    """R̂ of a finite class from its values ``[members, N]``, over all signs."""
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=values.shape[1])))
    return float((signs @ values.T).max(axis=1).mean() / values.shape[1])


def ranks_of(stack: np.ndarray) -> np.ndarray:
    return np.arange(1, min(stack.shape[1:]) + 1)


@settings(max_examples=60)
@given(
    st.integers(1, 7),
    st.integers(1, 4),
    st.integers(1, 4),
    st.floats(0, 3),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["full", "rank one", "repeated", "diagonal"]),
)
def test_no_sample_crosses_a_bound(n_samples, m, n, spread, seed, kind):
    generator = np.random.default_rng(seed)
    stack = generator.standard_normal((n_samples, m, n)) * np.exp(spread * generator.standard_normal((n_samples, 1, 1)))
    if kind == "rank one":
        stack = stack[:, :, :1] * stack[:, :1, :]
    elif kind == "repeated":
        stack[:] = stack[0]
    elif kind == "diagonal":
        stack *= np.eye(m, n)
    ranks = ranks_of(stack)
    frobenius, spectral = (
        exact_rademacher_complexity(stack, norm=norm, bound=2.0) for norm in ("frobenius", "spectral")
    )
    slack = 1 + 1e-9
    lower = khintchine_rademacher_lower_bound(ranks, stack, bound=2.0)
    assert (lower <= frobenius * slack).all()
    assert (frobenius <= khintchine_rademacher_bound(ranks, stack, bound=2.0) * slack).all()
    assert (spectral <= khintchine_rademacher_bound(ranks, stack, bound=2.0, norm="spectral") * slack).all()
    norm = np.sqrt((stack**2).sum(axis=(1, 2)).mean())
    free = rank_free_rademacher_bound(n_samples, frobenius_bound=2.0, input_norm=norm)
    assert frobenius[-1] <= free * slack
    # what rank can buy: at least √(r/2q) of the rank-free bound is always left
    assert (frobenius * slack >= np.sqrt(ranks / (2 * ranks.size)) * free).all()
    assert (lower * slack >= np.sqrt(ranks / (2 * ranks.size)) * free).all()


def test_orthogonal_samples_meet_the_rank_free_bound_and_equal_ones_the_lower_bound(rng):
    basis = np.linalg.qr(rng.standard_normal((6, 6)))[0].reshape(6, 2, 3) * np.arange(1, 7)[:, None, None]
    norm = np.sqrt((basis**2).sum(axis=(1, 2)).mean())
    assert exact_rademacher_complexity(basis)[-1] == pytest.approx(
        rank_free_rademacher_bound(6, frobenius_bound=1.0, input_norm=norm)
    )
    pair = np.stack([basis[0]] * 2)
    assert exact_rademacher_complexity(pair)[-1] == pytest.approx(khintchine_rademacher_lower_bound(2, pair))


def test_the_matrix_bound_by_hand_and_nearly_met():
    """X_i = e_i e_iᵀ, N = 50: v = 1, R̂(1) = 1/50, against sqrt(2 log 100)/50; one matrix alone is within 1/0.85."""
    stack = np.eye(50)[:, :, None] * np.eye(50)[:, None, :]
    found = khintchine_rademacher_bound([1, 2, 6, 50], stack)
    np.testing.assert_allclose(found[:2], np.sqrt(2 * np.array([1, 2]) * np.log(100)) / 50)
    np.testing.assert_allclose(found[2:], np.sqrt(50) / 50)
    walk = khintchine_rademacher_bound(1, np.ones((1, 1, 1)), bound=3.0)
    assert walk == 3.0


def test_factors_give_the_same_bounds(rng):
    left, right = rng.standard_normal((9, 4)), rng.standard_normal((9, 6))
    stack = left[:, :, None] * right[:, None, :]
    for function in (khintchine_rademacher_bound, khintchine_rademacher_lower_bound):
        np.testing.assert_allclose(
            function([1, 4], left=left, right=right, bound=[[1.0], [2.0]]),
            function([1, 4], stack, bound=[[1.0], [2.0]]),
        )


def test_the_rank_free_bound_broadcasts():
    bound = rank_free_rademacher_bound([4, 9], frobenius_bound=[[1.0], [2.0]], input_norm=3.0)
    np.testing.assert_allclose(bound, [[1.5, 1.0], [3.0, 2.0]])


def test_scalar_contraction_is_met_by_a_linear_loss_and_holds_for_others(rng):
    for _ in range(60):
        values = rng.standard_normal((5, 6)) * rng.choice([0.1, 1.0, 5.0])
        base = class_complexity(values)
        assert class_complexity(-2.5 * values) == pytest.approx(contracted_complexity(class_complexity(-values), 2.5))
        targets = rng.standard_normal(6)
        for loss in (np.abs(values - targets), np.tanh(values), np.clip(values * rng.choice([-1, 1], 6), 0, 1)):
            assert class_complexity(loss) <= contracted_complexity(base, 1.0) + 1e-12


def test_vector_contraction_holds(rng):
    """Cross entropy of logits is √2-Lipschitz; so is its bound, with one sign for each sample and output."""
    n_samples, outputs = 4, 3
    for _ in range(40):
        logits = rng.standard_normal((4, n_samples, outputs)) * rng.choice([0.1, 1.0, 5.0])
        base = outputs * class_complexity(logits.reshape(4, -1))
        labels = rng.integers(0, outputs, n_samples)
        loss = np.log(np.exp(logits).sum(axis=2)) - logits[:, np.arange(n_samples), labels]
        assert class_complexity(loss) <= contracted_complexity(base, np.sqrt(2), vector_valued=True) + 1e-12


def test_vector_contraction_charges_root_two_and_a_single_output_needs_one_of_it():
    assert contracted_complexity(0.3, 2.0, vector_valued=True) == pytest.approx(0.3 * 2 * np.sqrt(2))
    values = np.array([[1.0, -1.0, 2.0], [0.0, 1.0, -3.0]])
    alone = class_complexity(values)
    assert alone <= contracted_complexity(alone, 1.0, vector_valued=True)
    assert alone > contracted_complexity(alone, 1.0, vector_valued=True) / 2


def test_a_layer_with_one_output_is_the_scalar_class(rng):
    inputs = rng.standard_normal((6, 3))
    exact = exact_rademacher_complexity(inputs[:, None, :])
    found = vector_rademacher_complexity(inputs, 1, n_draws=4000, confidence=0.999, generator=rng)
    assert found.lower[0] <= exact[0] <= found.upper[0]


@pytest.mark.parametrize("function", [khintchine_rademacher_bound, khintchine_rademacher_lower_bound])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"rank": 0}, InputError, "rank = 0"),
        ({"rank": 3}, InputError, r"rank = 3 lies outside \[1, 2\]"),
        ({"bound": -1.0}, InputError, "bound = -1"),
        ({"matrices": [[1.0]]}, InputError, "not \\[N, m, n\\]"),
        ({"matrices": None}, InputError, "give either matrices"),
        ({"matrices": [[[np.nan]]]}, NonFiniteError, "matrices = nan"),
    ],
)
def test_the_matrix_bounds_refuse(function, change, error, message):
    arguments = {"rank": 1, "matrices": np.ones((3, 2, 4))} | change
    with pytest.raises(error, match=message):
        function(arguments.pop("rank"), **arguments)


def test_the_others_refuse():
    with pytest.raises(InputError, match="norm = 'nuclear' is unknown"):
        khintchine_rademacher_bound(1, [[[1.0]]], norm="nuclear")
    with pytest.raises(InputError, match="n_samples = 0"):
        rank_free_rademacher_bound(0, frobenius_bound=1.0, input_norm=1.0)
    with pytest.raises(InputError, match="input_norm = -1"):
        rank_free_rademacher_bound(1, frobenius_bound=1.0, input_norm=-1.0)
    with pytest.raises(InputError, match="complexity = -1"):
        contracted_complexity(-1.0, 1.0)
    with pytest.raises(InputError, match="lipschitz = -1"):
        contracted_complexity(1.0, -1.0)
