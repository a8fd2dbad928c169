from __future__ import annotations

import numpy as np
import pytest

from theorykit.information import TrainingSettings, mutual_information
from theorykit.information.estimate import Doubt
from theorykit.information.estimators.entropies import discrete_entropy


def test_the_entropy_of_a_discrete_side():
    rng = np.random.default_rng(0)
    drawn = rng.choice(3, size=20_000, p=[0.5, 0.3, 0.2])
    truth = -(0.5 * np.log(0.5) + 0.3 * np.log(0.3) + 0.2 * np.log(0.2))
    found = discrete_entropy(drawn[:, None].astype(float))
    assert found.value == pytest.approx(truth, abs=0.01)
    assert found.low < truth < found.high
    pairs = rng.integers(0, 2, (4000, 2)).astype(float)
    assert discrete_entropy(pairs).high <= np.log(4)


def test_a_continuous_side_has_none_nor_has_a_mixed_one():
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal((500, 1))
    mixed = np.where(rng.random((500, 1)) < 0.5, 0.0, numbers)
    assert discrete_entropy(numbers) is None
    assert discrete_entropy(mixed) is None
    few = np.where(rng.random((500, 1)) < 0.97, 0.0, numbers)  # 3 % of the rows are continuous
    assert discrete_entropy(few) is None


@pytest.mark.parametrize(
    ("method", "classes"), [("gaussian", 2), ("gaussian", 5), ("decoder", 2), ("network_decoder", 2), ("auto", 2)]
)
def test_no_information_is_above_the_entropy_of_a_discrete_side(method, classes):
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, 600)
    score = 12.0 * labels + rng.standard_normal(600)
    quick = TrainingSettings(hidden=(16, 16), batch_size=128, max_steps=200, validate_every=50)
    for x, y in ((score, labels), (labels, score)):
        found = mutual_information(x, y, method, settings=quick)
        assert found.information <= np.log(classes) + 1e-12
        assert found.interval is None or found.interval[1] <= np.log(classes) + 1e-12
        assert found.ceiling <= np.log(classes) + 1e-12


def test_what_was_cut_is_said():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 1000)
    found = mutual_information(12.0 * labels + rng.standard_normal(1000), labels, "gaussian")
    assert found.has(Doubt.ABOVE_ENTROPY)
    assert found.information == pytest.approx(np.log(2), abs=5e-3)
    below = mutual_information(labels + rng.standard_normal(1000), labels, "gaussian")
    assert not below.has(Doubt.ABOVE_ENTROPY)


@pytest.mark.parametrize(("classes", "count"), [(2, 100), (10, 300), (50, 300), (200, 600), (200, 2000)])
def test_the_limit_is_seldom_below_the_entropy(classes, count):
    """Equal shares, where the entropy is log K: 2.5 % are promised, 100 draws."""
    found = [
        discrete_entropy(np.random.default_rng([2, seed]).integers(0, classes, (count, 1)).astype(float))
        for seed in range(100)
    ]
    assert sum(entropy is not None and entropy.high < np.log(classes) - 1e-12 for entropy in found) <= 5


def test_rare_values_leave_no_limit():
    labels = np.random.default_rng(0).integers(0, 400, (600, 1)).astype(float)
    assert discrete_entropy(labels) is None


def test_an_interval_that_was_cut_still_has_the_truth():
    """Two classes far apart: I = log 2, of which the Gaussian value 1.8 knows nothing."""
    for seed in range(40):
        rng = np.random.default_rng([1, seed])
        labels = rng.integers(0, 2, 1000)
        found = mutual_information(12.0 * labels + rng.standard_normal(1000), labels, "gaussian")
        assert found.interval[0] < found.interval[1]
        assert found.interval[0] <= np.log(2) <= found.interval[1]


def test_a_refuted_method_bounds_nothing_from_below():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 2000)
    found = mutual_information(12.0 * labels + rng.standard_normal(2000), labels, "decoder")
    assert found.has(Doubt.ABOVE_ENTROPY)
    assert not found.has(Doubt.LOWER_BOUND)
    assert found.interval[0] == 0.0
