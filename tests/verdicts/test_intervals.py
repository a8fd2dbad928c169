"""Student's intervals of means over seeds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from theorykit.verdicts import geometric_interval, student_interval


def test_what_failed_is_left_out():
    mean, lower, upper = student_interval(np.array([[1.0, 2.0], [3.0, np.nan], [np.nan, np.inf]]))
    assert mean[0] == 2.0
    assert np.isnan(mean[1])
    assert lower[0] == pytest.approx(2 - 12.706 * 1.0, rel=1e-3)  # t of 1 degree of freedom, sd √2 over √2
    assert upper[0] == pytest.approx(2 + 12.706 * 1.0, rel=1e-3)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_it_is_the_interval_of_the_t_distribution(rng, level):
    values = rng.standard_normal((7, 3))
    expected = stats.t.interval(level, 6, values.mean(axis=0), stats.sem(values))
    np.testing.assert_allclose(student_interval(values, level)[1:], expected, rtol=1e-12)
    np.testing.assert_allclose(student_interval(values.T, level, axis=-1)[1:], expected, rtol=1e-12)
    np.testing.assert_allclose(geometric_interval(np.exp(values), level)[1:], np.exp(expected), rtol=1e-12)
