from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import digamma
from scipy.stats import beta

from theorykit.errors import InputError, NonFiniteError
from theorykit.information import discrete_information_ceiling, high_confidence_ceiling, plug_in_bias


def discrete_information(joint: np.ndarray) -> float:
    product = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
    positive = joint > 0
    return float((joint[positive] * np.log(joint[positive] / product[positive])).sum())


@pytest.mark.parametrize("items", [1, 2, 7, 50])
def test_items_cannot_be_informed_about_more_than_their_number(rng, items):
    ceiling = discrete_information_ceiling(items)
    assert discrete_information(np.eye(items) / items) == pytest.approx(ceiling)  # met by a uniform copy
    for _ in range(100):
        joint = rng.exponential(size=(items, int(rng.integers(1, 60)))) ** rng.integers(1, 30)
        assert discrete_information(joint / joint.sum()) <= ceiling + 1e-12


@given(st.integers(1, 5000), st.floats(1e-6, 0.999))
def test_repeats_among_m_items_are_as_rare_as_the_proof_says(count, failure):
    """P(some item is drawn twice) = 1 − Π (1 − i/M) ≤ η at M = exp(ceiling), and not much less room is wasted."""
    items = round(np.exp(high_confidence_ceiling(count, failure)))
    distinct = np.prod(1 - np.arange(count) / items) if items >= count else 0.0
    assert 1 - distinct <= failure * (1 + 1e-9)


def test_half_the_items_would_repeat_too_often():
    items = round(np.exp(high_confidence_ceiling(1000, 0.01)))
    assert 1 - np.prod(1 - np.arange(1000) / (items / 2)) > 0.015


def test_an_honest_bound_stays_below_even_with_infinite_information(rng):
    """B = −log of the Clopper–Pearson limit of the chance of a repeat, from disjoint pairs: P(B ≤ H) ≥ 0.95 always."""
    count, delta = 1000, 0.05

    def bound(sample: np.ndarray) -> float:
        pairs = sample[: 2 * (sample.size // 2)].reshape(-1, 2)
        repeats = int((pairs[:, 0] == pairs[:, 1]).sum())
        return -np.log(beta.ppf(1 - delta, repeats + 1, len(pairs) - repeats))

    ceiling = high_confidence_ceiling(count, 0.01)
    assert all(bound(rng.random(count)) <= ceiling for _ in range(20))  # a density: infinite entropy
    honest = sum(bound(rng.integers(0, 4, count)) <= np.log(4) for _ in range(400))
    assert honest >= 0.93 * 400


def test_it_is_twice_log_n_and_a_constant():
    counts = np.array([10, 1000, 10**6, 10**9])
    ceiling = high_confidence_ceiling(counts, 0.01)
    np.testing.assert_allclose(ceiling, np.log(counts) + np.log(counts - 1) - np.log(0.02), rtol=1e-9)
    assert high_confidence_ceiling(1) == 0.0
    assert high_confidence_ceiling([10, 20], [[0.1], [0.2], [0.3]]).shape == (3, 2)
    assert isinstance(high_confidence_ceiling(10), float)
    # no more than the 2 log N + 5 of McAllester & Stratos for the usual η
    assert (ceiling <= 2 * np.log(counts) + 5).all()


@pytest.mark.parametrize(("count", "teacher", "student"), [(4, 1, 2), (50, 3, 3), (50, 20, 4), (5000, 60, 40)])
def test_the_bias_from_the_three_determinants(count, teacher, student):
    """E log|W_p(n)| = log|Σ| + Σ_{i<p} ψ((n − i)/2) + p log 2, three times."""

    def log_determinant(size: int) -> float:
        return digamma((count - 1 - np.arange(size)) / 2).sum()

    expected = (log_determinant(teacher) + log_determinant(student) - log_determinant(teacher + student)) / 2
    assert plug_in_bias(count, teacher, student) == pytest.approx(expected, rel=1e-8)
    assert plug_in_bias(count, student, teacher) == plug_in_bias(count, teacher, student)


def test_the_leading_order_is_its_limit_from_below():
    for teacher, student in ((1, 1), (3, 7), (30, 30)):
        counts = np.array([10**3, 10**4, 10**5, 10**6])
        ratio = plug_in_bias(counts, teacher, student) / plug_in_bias(counts, teacher, student, leading_order=True)
        assert (ratio > 1).all()
        assert (np.diff(ratio) < 0).all()
        assert ratio[-1] == pytest.approx(1.0, abs=1e-4)
    assert plug_in_bias(100, 8, 8, leading_order=True) == 8**2 / 200


def test_shapes():
    assert plug_in_bias([[50], [60]], [1, 2, 3], 2).shape == (2, 3)
    assert isinstance(plug_in_bias(50, 2, 2), float)
    assert discrete_information_ceiling([[1, 2]]).tolist() == [[0.0, np.log(2)]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: discrete_information_ceiling(0), r"n_items = 0 lies outside \[1, inf\)"),
        (lambda: discrete_information_ceiling(1.5), "n_items = 1.5 is not a whole number"),
        (lambda: discrete_information_ceiling(True), "n_items is not made of real numbers: True"),
        (lambda: high_confidence_ceiling(-5), "n_samples = -5"),
        (lambda: high_confidence_ceiling(2.5), "n_samples = 2.5"),
        (lambda: high_confidence_ceiling(10, 0.0), r"failure = 0 lies outside \(0, 1\)"),
        (lambda: high_confidence_ceiling(10, [0.5, 1.0]), r"failure = 1 lies outside \(0, 1\)"),
        (lambda: plug_in_bias(10, 5, 5), "n_samples = 10 is too small"),
        (lambda: plug_in_bias([100, 7], 5, 5), "n_samples = 7 is too small"),
        (lambda: plug_in_bias(10.5, 1, 1), "n_samples = 10.5"),
        (lambda: plug_in_bias(10, 0, 1), "teacher_dimension = 0"),
        (lambda: plug_in_bias(10, 1, -1), "student_dimension = -1"),
    ],
)
def test_out_of_domain(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: discrete_information_ceiling(np.nan), "n_items = nan"),
        (lambda: high_confidence_ceiling(10, np.nan), "failure = nan"),
        (lambda: plug_in_bias(np.inf, 1, 1), "n_samples = inf"),
    ],
)
def test_nan(call, message):
    with pytest.raises(NonFiniteError, match=message):
        call()
