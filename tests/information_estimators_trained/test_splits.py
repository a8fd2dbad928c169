from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from theorykit.errors import InputError
from theorykit.information.estimators.training import partner_shifts, scaled, split_rows


@given(lengths=st.lists(st.integers(1, 4), min_size=100, max_size=130), seed=st.integers(0, 99))
def test_no_sequence_lies_in_two_splits_and_sizes_do_not_depend_on_the_order(lengths, seed):
    sequences = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(lengths)), lengths))
    parts = [split_rows(sequences, np.random.default_rng(number)) for number in (seed, seed + 1)]
    first = parts[0]
    sides = [set(sequences[rows]) for rows in (first.train, first.validation, first.test)]
    assert len(sides[0] | sides[1] | sides[2]) == sum(map(len, sides))
    rows = np.concatenate([first.train, first.validation, first.test])
    assert np.unique(rows).size == rows.size >= sequences.size - 2 * (max(lengths) - 1)
    assert [one.train.size for one in parts] == [parts[0].train.size] * 2
    assert [one.test.size for one in parts] == [parts[0].test.size] * 2


@given(lengths=st.lists(st.integers(1, 4), min_size=100, max_size=130), seed=st.integers(0, 99))
def test_shifted_partners_belong_to_another_sequence(lengths, seed):
    sequences = np.repeat(np.arange(len(lengths)), lengths)
    splits = split_rows(sequences, np.random.default_rng(seed))
    for rows in (splits.validation, splits.test):
        for shift in partner_shifts(rows.size, splits.longest, 32):
            assert (sequences[rows] != np.roll(sequences[rows], -shift)).all()


@given(n_rows=st.integers(2, 400), most=st.integers(1, 600))
def test_shifts_are_different_and_as_many_as_there_are(n_rows, most):
    shifts = partner_shifts(n_rows, 1, most)
    assert len(set(shifts)) == len(shifts) == min(most, n_rows - 1)
    assert min(shifts) >= 1
    assert max(shifts) <= n_rows - 1


def test_every_row_is_used_without_sequences(rng):
    splits = split_rows(np.arange(1000), rng)
    rows = np.concatenate([splits.train, splits.validation, splits.test])
    assert sorted(rows) == list(range(1000))
    assert (splits.train != np.sort(splits.train)).any()


def test_refusals(rng):
    with pytest.raises(InputError, match="49 rows are too few"):
        split_rows(np.arange(49), rng)
    with pytest.raises(InputError, match="longest sequence has 20 of 100 rows"):
        split_rows(np.repeat(np.arange(5), 20), rng)


def test_normal_scores_are_normal_and_monotone(rng):
    train, rows = rng.standard_cauchy((2000, 2)), rng.standard_cauchy((1000, 2))
    found = scaled(train, rows, "normal_scores")
    assert found.dtype == np.float32
    for column, values in zip(found.T, rows.T, strict=True):
        assert kstest(column, "norm").pvalue > 1e-3
        assert (np.diff(column[np.argsort(values)]) >= 0).all()


def test_scales_come_from_the_train_rows_alone(rng):
    train, rows = rng.standard_normal((200, 2)), rng.standard_normal((50, 2))
    for inputs in ("normal_scores", "standardised"):
        alone = scaled(train, rows[:10], inputs)
        np.testing.assert_array_equal(alone, scaled(train, rows, inputs)[:10])
        moved = scaled(3 * train + 7, 3 * rows + 7, inputs)
        np.testing.assert_allclose(moved, scaled(train, rows, inputs), atol=1e-5)
    standard = scaled(train, train, "standardised")
    np.testing.assert_allclose(standard.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(standard.std(axis=0), 1, atol=1e-6)


def test_ties_share_a_score_and_a_column_constant_in_training_is_zero(rng):
    train = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
    found = scaled(train, np.array([[0.0, 5.0], [0.0, 1.0], [9.0, 1.0]]), "normal_scores")
    assert found[0, 0] == found[1, 0] < found[2, 0]
    np.testing.assert_array_equal(found[:, 1], 0)
    assert scaled(train, train, "standardised")[:, 1].tolist() == [0, 0, 0, 0]
