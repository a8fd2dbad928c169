from __future__ import annotations

import numpy as np
import pytest

from theorykit.errors import InputError
from theorykit.information import gaussian_mutual_information_from_samples
from theorykit.information.estimate import InformationEstimate
from theorykit.information.estimators.surrogates import self_consistency


def record(information: float | None, count: int = 100) -> InformationEstimate:
    return InformationEstimate("planted", information, None, None, None, True, count, (1, 1), failure="planted")


def gaussian(x: np.ndarray, y: np.ndarray) -> InformationEstimate:
    return record(gaussian_mutual_information_from_samples(x, y).corrected, len(x))


@pytest.fixture
def pair(rng) -> tuple[np.ndarray, np.ndarray]:
    x, noise = rng.standard_normal((2, 4000, 2))
    return x, 0.8 * x + 0.6 * noise


def test_an_estimator_that_is_right_passes(pair, rng):
    found = self_consistency(gaussian, *pair, rng)
    assert found.problems == ()
    assert found.estimate.information == pytest.approx(-2 * np.log(0.6), abs=0.1)
    assert abs(found.shuffled.information) < 0.02
    assert found.doubled.information == pytest.approx(2 * found.estimate.information, rel=0.05)
    assert found.to_frame().set_index("quantity").loc["doubled", "expected"] == 2 * found.estimate.information


def test_a_biased_estimator_is_not_independent(pair, rng):
    problems = self_consistency(lambda x, y: record(gaussian(x, y).information + 0.3), *pair, rng).problems
    assert [problem.split(":")[0] for problem in problems] == ["independence"]


def test_one_that_counts_columns_gains_by_processing(pair, rng):
    grows = self_consistency(lambda x, y: record(gaussian(x, y).information * y.shape[1] / 2), *pair, rng).problems
    assert {problem.split(":")[0] for problem in grows} == {"data processing", "additivity"}


def test_one_with_a_ceiling_is_not_additive(pair, rng):
    capped = self_consistency(lambda x, y: record(min(1.1, gaussian(x, y).information)), *pair, rng).problems
    assert [problem.split(":")[0] for problem in capped] == ["additivity"]


def test_a_failure_is_told(pair, rng):
    problems = self_consistency(lambda x, y: record(None), *pair, rng).problems
    assert len(problems) == 3
    assert "the estimator failed, planted" in problems[0]


def test_standard_errors_are_allowed_for(pair, rng):
    wide = InformationEstimate("planted", 0.4, None, 0.2, None, True, 100, (1, 1))
    assert self_consistency(lambda x, y: wide, *pair, rng).problems == ()


def test_refusals(pair, rng):
    with pytest.raises(InputError, match="tolerance = 0"):
        self_consistency(gaussian, *pair, rng, tolerance=0)
    with pytest.raises(InputError, match="3 rows are too few to be halved"):
        self_consistency(gaussian, pair[0][:3], pair[1][:3], rng)
