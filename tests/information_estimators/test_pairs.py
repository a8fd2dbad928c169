from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from theorykit.devices import free_bytes
from theorykit.errors import InputError, NonFiniteError
from theorykit.information.estimators import pairs
from theorykit.information.estimators.canonical import cca_estimate
from theorykit.information.estimators.decoder import decoder_estimate
from theorykit.information.estimators.gaussian import gaussian_copula_estimate, gaussian_estimate
from theorykit.information.estimators.outcomes import Outcome, in_range, recorded
from theorykit.information.estimators.pairs import check_memory, checked_pair


def samples(rng: np.random.Generator, count: int = 60, width: int = 2) -> tuple[np.ndarray, np.ndarray]:
    x, y = rng.standard_normal((2, count, width))
    return x, y


def test_a_good_pair_has_no_warnings_and_is_not_changed(rng):
    x, y = samples(rng)
    pair = checked_pair(x, torch.from_numpy(y))
    assert pair.warnings == ()
    assert (pair.n_samples, pair.width, pair.dimensions, pair.groups) == (60, 4, (2, 2), None)
    np.testing.assert_array_equal(pair.x, x)
    np.testing.assert_array_equal(pair.y, y)


def test_a_vector_is_one_column(rng):
    x, y = rng.standard_normal((2, 60))
    assert checked_pair(x, y).x.shape == (60, 1)


@pytest.mark.parametrize(
    ("x", "y", "groups", "message"),
    [
        (np.zeros((5, 1)), np.zeros((4, 1)), None, "x has 5 rows and y has 4"),
        (np.zeros((1, 1)), np.zeros((1, 1)), None, "x has 1 rows"),
        (np.ones((5, 2)), np.arange(5.0), None, "x is constant in every column"),
        (np.arange(5.0), np.full((5, 1), 1e9), None, "y is constant in every column"),
        (np.arange(5.0), np.arange(5.0), [0, 1, 2], r"groups has shape \(3,\), not \(5,\)"),
        (np.arange(5.0), np.arange(5.0), [7, 7, 7, 7, 7], "groups holds 1 group"),
        ("text", np.arange(5.0), None, "x is not made of real numbers"),
        (np.zeros((2, 3, 4)), np.arange(6.0), None, r"x has shape \(2, 3, 4\), not \[N, d\]"),
        (np.arange(2.0), np.zeros((2, 2, 2, 2)), None, r"y has shape \(2, 2, 2, 2\), not \[N, d\]"),
        (np.arange(2.0), np.zeros((2, 0)), None, r"y has shape \(2, 0\), not \[N, d\]"),
        (np.ma.masked_less(np.arange(5.0), 2), np.arange(5.0), None, "x has 2 masked entries"),
        (np.arange(3.0), np.arange(3.0), np.ma.masked_equal([0, 1, 2], 1), "groups has 1 masked entries"),
        (np.arange(3.0), np.arange(3.0), [0, np.nan, 1], "groups has no label at row 1"),
        (np.arange(3.0), np.arange(3.0), np.array([0, np.nan, np.nan]), "groups has no label at row 1"),
        (np.arange(3.0), np.arange(3.0), ["a", "b", np.nan], "groups has no label at row 2"),
        (np.arange(3.0), np.arange(3.0), [7, None, 7], "groups has no label at row 1"),
        (np.arange(3.0), np.arange(3.0), [None, None, None], "groups has no label at row 0"),
        (np.arange(3.0), np.arange(3.0), np.array(["2020", "NaT", "2021"], "M8[D]"), "groups has no label at row 1"),
        (np.arange(3.0), np.arange(3.0), pd.Series([1, None, 2], dtype="Int64"), "groups has no label at row 1"),
        (np.arange(3.0), np.arange(3.0), [1, "a", "b"], "labels that cannot be compared"),
        (np.arange(3.0), np.arange(3.0), [["a", 1], ["b"], ["c"]], "labels that cannot be compared"),
        (np.arange(3.0), np.arange(3.0), np.zeros((3, 2)), r"groups has shape \(3, 2\)"),
    ],
)
def test_refused_pairs(x, y, groups, message):
    with pytest.raises(InputError, match=message):
        checked_pair(x, y, groups)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite(bad):
    with pytest.raises(NonFiniteError, match="y holds NaN"):
        checked_pair(np.arange(5.0), np.full(5, bad))


def test_constant_columns_are_left_out_and_said(rng):
    x, y = samples(rng)
    pair = checked_pair(np.c_[x, np.full((60, 2), 1e6)], y)
    assert pair.warnings == ("x: 2 of 4 columns are constant and were left out",)
    np.testing.assert_array_equal(pair.x, x)
    assert pair.dimensions == (4, 2)
    assert checked_pair(np.c_[x, 1e6 + 1e-3 * x], y).x.shape == (60, 4)  # small, but it varies


def test_few_samples_are_said(rng):
    assert checked_pair(*samples(rng, 50)).warnings == ()
    assert checked_pair(*samples(rng, 49)).warnings == ("49 samples are fewer than 50: the interval is not reliable",)
    assert "too few samples for the dimension" in checked_pair(*samples(rng, 60, 30)).warnings[0]
    assert checked_pair(*samples(rng, 61, 30)).warnings == ()


def test_repeated_pairs_are_said(rng):
    x, y = samples(rng)
    assert checked_pair(np.r_[x, x[:3]], np.r_[y, y[:3]]).warnings == (
        "3 of 63 pairs repeat an earlier one: discrete values or dependent draws",
    )
    assert checked_pair(np.r_[x, x[:3]], np.r_[y, y[3:6]]).warnings == ()  # the same x with another y
    assert "1 of 61 pairs repeats" in checked_pair(np.r_[x, x[:1]], np.r_[y, y[:1]]).warnings[0]


def test_groups_are_numbered(rng):
    x, y = samples(rng, 6)
    assert checked_pair(x, y, ["b", "b", "a", "c", "c", "a"]).groups.tolist() == [1, 1, 0, 2, 2, 0]
    assert checked_pair(x, y, torch.tensor([5, 5, 5, 2, 2, 2])).rows([0, 3]).groups.tolist() == [1, 0]


def test_a_column_of_groups_is_taken_and_groups_of_one_row_are_none(rng):
    x, y = samples(rng, 6)
    assert checked_pair(x, y, np.array([[3], [3], [1], [1], [2], [2]])).groups.tolist() == [2, 2, 0, 0, 1, 1]
    assert checked_pair(x, y, list("fedcba")).groups is None


def test_a_batch_of_sequences_is_told_how_to_become_rows():
    with pytest.raises(InputError) as caught:
        checked_pair(np.zeros((2, 3, 4)), np.arange(6.0))
    assert caught.value.hint == "reshape to [6, 4] and give groups = numpy.repeat(numpy.arange(2), 3)"


def test_masks_without_an_entry_are_taken(rng):
    x, y = samples(rng)
    np.testing.assert_array_equal(checked_pair(np.ma.array(x), y).x, x)


def test_pandas_indices_have_to_agree(rng):
    x, y = (pd.DataFrame(side) for side in samples(rng))
    labels = pd.Series(np.arange(60) // 2)
    assert checked_pair(x, y, labels).n_samples == 60
    assert checked_pair(x, y[::-1].to_numpy(), labels).n_samples == 60  # one index alone says nothing
    with pytest.raises(InputError, match="x and y have different pandas indices"):
        checked_pair(x, y[::-1])
    with pytest.raises(InputError, match="x and groups have different pandas indices"):
        checked_pair(x, y, labels[::-1])


def test_memory():
    assert free_bytes() is None or free_bytes() > 0
    check_memory(1)


def test_too_little_memory_is_a_failure_that_is_told(rng, monkeypatch):
    monkeypatch.setattr(pairs, "free_bytes", lambda: 1000)
    with pytest.raises(InputError, match="2e-06 GB of memory are needed and 1e-06 GB are free"):
        check_memory(2000)
    found = gaussian_estimate(*samples(rng))
    assert found.information is None
    assert "GB of memory are needed" in found.failure


def test_unknown_memory_is_not_held_against_anybody(monkeypatch):
    monkeypatch.setattr(pairs, "free_bytes", lambda: None)
    check_memory(10**18)
    monkeypatch.undo()

    def missing(*_, **__):
        raise OSError

    monkeypatch.setattr(Path, "read_text", missing)
    assert pairs.free_bytes() is None


def test_memory_under_a_limit(monkeypatch):
    texts = {"/proc/meminfo": "MemTotal: 9 kB\nMemAvailable: 5 kB\n", "/sys/fs/cgroup/memory.max": "3000"}
    monkeypatch.setattr(Path, "read_text", lambda self, **_: texts.get(str(self), "1000"))
    assert free_bytes() == 2000
    texts["/sys/fs/cgroup/memory.max"] = "max"
    assert free_bytes() == 5120


def raising(error: Exception):
    def estimate(pair):
        raise error

    return estimate


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (InputError("too few", "give more"), "too few; give more"),
        (InputError("too few"), "too few"),
        (np.linalg.LinAlgError("not positive definite"), "not positive definite"),
        (MemoryError(), "MemoryError"),
        (ValueError("array must not contain infs"), "x and y led to numbers .* array must not contain infs"),
        (FloatingPointError("overflow"), "x and y led to numbers .* overflow"),
    ],
)
def test_a_failed_estimator_is_a_record_with_its_reason(rng, error, failure):
    found = recorded("some", *samples(rng, 40), None, raising(error))
    assert (found.information, found.interval, found.converged) == (None, None, False)
    assert re.fullmatch(failure, found.failure)
    assert "fewer than 50" in found.warnings[0]


@pytest.mark.parametrize("estimator", [gaussian_estimate, gaussian_copula_estimate, cca_estimate, decoder_estimate])
@pytest.mark.filterwarnings("error")
def test_extreme_units_and_outliers(rng, estimator):
    x, y = samples(rng, 200, 2)
    plain = pytest.approx(estimator(x, y).information, abs=1e-9)
    for power in (-700, -520, 520, 700):
        assert estimator(np.ldexp(x, power), y).information == plain
        assert estimator(x, np.ldexp(y, power)).information == plain
    for value in (1e300, -1e300):
        x[7, 1] = value
        found = estimator(x, y)
        assert (found.failure, np.isfinite(found.information)) == ("", True)


def test_columns_are_brought_in_range():
    side = np.array([[1.0, 1e-200, 3e200], [3.0, 2e-200, 0.0]])
    found = in_range("x", side)
    assert found[:, 0].tolist() == [1.0, 3.0]
    np.testing.assert_allclose(found[0] / found.max(axis=0), [1 / 3, 0.5, 1.0])
    assert in_range("x", found) is found
    with pytest.raises(InputError, match="a column of y is constant"):
        in_range("y", np.ones((3, 1)))


def test_a_nan_is_a_failure(rng):
    assert recorded("some", *samples(rng), None, lambda pair: Outcome(np.nan)).failure == "the estimate came out as NaN"


def test_a_mistake_in_the_program_is_not_swallowed(rng):
    with pytest.raises(ZeroDivisionError):
        recorded("some", *samples(rng), None, raising(ZeroDivisionError()))


def test_the_record(rng):
    found = recorded("some", *samples(rng), None, lambda pair: Outcome(1.0, 0.5, 4, ceiling=3.0, warnings=("careful",)))
    assert found.interval == pytest.approx((1 - 2.7764 * 0.5, 1 + 2.7764 * 0.5), abs=1e-4)  # t with 4 degrees
    assert (found.ceiling, found.warnings, found.method, found.failure) == (3.0, ("careful",), "some", "")
    assert found.seconds > 0
    assert recorded("some", *samples(rng), None, lambda pair: Outcome(np.inf, 0.5)).interval is None
