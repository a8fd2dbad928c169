from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theorykit.errors import InputError, NonFiniteError
from theorykit.information.estimators.blocks import balanced_blocks, block_jackknife, mean_standard_error


@given(st.lists(st.integers(1, 9), min_size=2, max_size=30), st.integers(2, 8))
def test_blocks_hold_whole_groups_and_are_nearly_equal(sizes, count):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    block = balanced_blocks(groups.size, groups, count)
    assert all(np.unique(block[groups == group]).size == 1 for group in range(len(sizes)))
    filled = np.bincount(block)
    assert filled.size == min(count, len(sizes))
    assert filled.max() - filled.min() <= max(sizes)


def test_blocks_of_independent_rows():
    assert np.bincount(balanced_blocks(11, None, 4)).tolist() == [3, 3, 3, 2]
    assert balanced_blocks(3, None, 20).tolist() == [0, 1, 2]


def test_of_single_rows_it_is_the_textbook_jackknife(rng):
    """The plug-in variance: its jackknife is the unbiased variance, exactly."""
    x = rng.exponential(size=(30, 1))
    found = block_jackknife(lambda x, y: x.var(), x, -x, blocks=30)
    assert found.information == pytest.approx(x.var(ddof=1), rel=1e-12)
    assert found.bias == pytest.approx(-x.var() / 29, rel=1e-9)
    assert found.plain == x.var()
    assert len(found.to_frame()) == 1


def test_the_error_of_a_mean_of_unequal_groups_is_right(rng):
    """Budget: 400 repetitions; rows of a group are equal, so that the naive error is too small by √(mean size)."""
    sizes = rng.integers(1, 12, size=60)
    groups = np.repeat(np.arange(60), sizes)
    errors, naive, clustered, means, covered = [], [], [], [], 0
    for _ in range(400):
        rows = rng.standard_normal(60)[groups]
        found = block_jackknife(lambda x, y: x.mean(), rows, rng.standard_normal(groups.size), groups=groups)
        errors.append(found.standard_error)
        naive.append(mean_standard_error(rows, None)[0])
        clustered.append(mean_standard_error(rows, groups)[0])
        means.append(found.information)
        covered += found.interval[0] < 0 < found.interval[1]
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.12)
    assert np.mean(clustered) == pytest.approx(np.std(means), rel=0.12)
    assert np.mean(naive) < 0.55 * np.std(means)
    assert 0.91 * 400 <= covered <= 0.99 * 400


def test_the_error_of_a_mean_of_independent_terms():
    terms = np.arange(8.0)
    assert mean_standard_error(terms, None) == (pytest.approx(np.sqrt(6 / 8)), None)
    assert mean_standard_error(terms, np.arange(8)) == (pytest.approx(np.sqrt(6 / 8)), 7.0)


def test_refused(rng):
    x, y = rng.standard_normal((2, 40, 1))
    with pytest.raises(InputError, match="blocks = 1 is below 2"):
        block_jackknife(lambda x, y: 0.0, x, y, blocks=1)
    with pytest.raises(InputError, match="not a whole number"):
        block_jackknife(lambda x, y: 0.0, x, y, blocks=2.5)
    with pytest.raises(NonFiniteError, match="not finite with a block"):
        block_jackknife(lambda x, y: np.inf, x, y)
    with pytest.raises(NonFiniteError, match="x holds NaN"):
        block_jackknife(lambda x, y: 0.0, x * np.nan, y)
    with pytest.raises(InputError, match="y has 39"):
        block_jackknife(lambda x, y: 0.0, x, y[1:])
