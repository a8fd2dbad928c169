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
    assert discrete_entropy(drawn[:, None].astype(float)) == pytest.approx(truth, abs=0.01)
    pairs = rng.integers(0, 2, (4000, 2)).astype(float)
    assert discrete_entropy(pairs) <= np.log(4)


def test_a_continuous_side_has_none_nor_has_a_mixed_one():
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal((500, 1))
    mixed = np.where(rng.random((500, 1)) < 0.5, 0.0, numbers)
    assert discrete_entropy(numbers) is None
    assert discrete_entropy(mixed) is None


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
