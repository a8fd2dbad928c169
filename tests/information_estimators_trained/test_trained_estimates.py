from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from theorykit.errors import InputError, NonFiniteError
from theorykit.information.estimators import pairs, variational
from theorykit.information.estimators.critics import OBJECTIVES
from theorykit.information.estimators.training import TrainingSettings
from theorykit.information.estimators.variational import (
    LOWER_BOUND,
    TrainedEstimate,
    trained_estimates,
)

QUICK = TrainingSettings(hidden=(16, 16), batch_size=128, partners=4, max_steps=400, validate_every=50, patience=3)


def gaussian_pair(seed: int, rho: float, count: int, size: int = 1) -> tuple[np.ndarray, np.ndarray]:
    x, noise = np.random.default_rng(seed).standard_normal((2, count, size))
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def trained(x, y, method: str = "mine", **options) -> TrainedEstimate:
    return trained_estimates([(x, y)], method=method, **options)[0]


def said(estimate, words: str) -> bool:
    return any(words in sentence for sentence in estimate.warnings)


@pytest.mark.parametrize("method", sorted(OBJECTIVES))
def test_gaussian_pairs(method):
    x, y = gaussian_pair(0, 0.8, 3000)
    found = trained(x, y, method, generator=np.random.default_rng(1), settings=QUICK)
    information = -math.log(0.6)
    assert found.method == method
    assert found.information == pytest.approx(information, abs=0.07)
    assert found.interval[0] < information < found.interval[1]
    assert found.interval[1] - found.interval[0] == pytest.approx(2 * 1.96 * found.standard_error, rel=1e-3)
    assert (found.n_samples, found.dimensions, found.failure) == (3000, (1, 1), "")
    assert found.ceiling == pytest.approx(math.log(512 if method == "infonce" else 1050))
    assert found.warnings[-1] == LOWER_BOUND
    assert found.seconds > 0


@pytest.mark.parametrize("method", ["mine", "infonce"])
def test_shuffled_pairs_have_none(method, rng):
    x, y = gaussian_pair(0, 0.9, 3000, 2)
    found = trained(x, rng.permutation(y), method, generator=np.random.default_rng(1), settings=QUICK)
    assert abs(found.information) < 0.02
    assert found.converged


def test_a_separable_critic_and_standardised_inputs():
    settings = dataclasses.replace(QUICK, critic="separable", inputs="standardised", learning_rate=1e-2)
    x, y = gaussian_pair(0, 0.8, 3000)
    found = trained(100 * x + 7, y / 100, generator=np.random.default_rng(1), settings=settings)
    assert found.information == pytest.approx(-math.log(0.6), abs=0.1)


def test_increasing_maps_of_columns_change_nothing():
    x, y = gaussian_pair(0, 0.8, 1000, 2)
    settings = dataclasses.replace(QUICK, max_steps=100)
    base, mapped = (
        trained(*pair, generator=np.random.default_rng(1), settings=settings) for pair in ((x, y), (np.exp(x), y**3))
    )
    assert mapped.information == pytest.approx(base.information, abs=2e-2)


def test_layers_at_once_are_layers_one_by_one():
    """Two shapes, so two batches; the order is kept."""
    settings = dataclasses.replace(QUICK, max_steps=100)
    pairs = [gaussian_pair(0, 0.9, 600), gaussian_pair(1, 0.5, 600, 2), gaussian_pair(2, 0.5, 600)]
    together = trained_estimates(pairs, method="infonce", generator=np.random.default_rng(3), settings=settings)
    for (x, y), own, found in zip(pairs, np.random.default_rng(3).spawn(3), together, strict=True):
        alone = trained(x, y, "infonce", generator=own, settings=settings)
        assert found.information == pytest.approx(alone.information, abs=1e-4)
        assert found.standard_error == pytest.approx(alone.standard_error, abs=1e-4)
        assert found.warnings == alone.warnings
    given = trained_estimates(pairs, method="infonce", generator=np.random.default_rng(3).spawn(3), settings=settings)
    assert [one.information for one in given] == [one.information for one in together]


def test_rows_of_one_sequence_widen_the_interval():
    x, y = gaussian_pair(0, 0.8, 400)
    x, y, groups = np.repeat(x, 5, axis=0), np.repeat(y, 5, axis=0), np.repeat(np.arange(400), 5)
    jitter = np.random.default_rng(5).standard_normal((2, *x.shape)) / 100
    x, y = x + jitter[0], y + jitter[1]
    settings = dataclasses.replace(QUICK, max_steps=100)
    whole, apart = (
        trained(x, y, generator=np.random.default_rng(1), groups=labels, settings=settings) for labels in (groups, None)
    )
    assert whole.standard_error > 1.6 * apart.standard_error


def test_infonce_says_that_it_has_reached_its_ceiling():
    x, y = gaussian_pair(0, 1 - 1e-9, 100)
    settings = dataclasses.replace(QUICK, critic="separable", max_steps=400, learning_rate=1e-2)
    found = trained(x, y, "infonce", generator=np.random.default_rng(1), settings=settings)
    assert found.ceiling == pytest.approx(math.log(35))
    assert found.information <= found.ceiling


def doubts(method: str = "mine", **changes) -> list[str]:
    usual = {"value": 1.0, "error": 0.01, "train_value": 1.0, "effective": 1e4, "ceiling": 5.0, "converged": True}
    told = variational._doubts(method, **(usual | changes))
    return [warning for warning in told if warning is not variational.LOWER_BOUND]


def test_doubts():
    assert doubts() == []
    assert "not come to rest" in doubts(converged=False)[0]
    assert "no value can be certified" in doubts(value=5.1)[0]
    assert variational.LOWER_BOUND not in variational._doubts("mine", 5.1, 0.01, 5.1, 1e4, 5.0, True)
    assert variational.LOWER_BOUND in variational._doubts("mine", 4.9, 0.01, 4.9, 1e4, 5.0, True)
    assert "nearly reached" in doubts("infonce", value=4.6)[0]
    assert doubts(value=4.6, train_value=4.6) == []
    assert doubts(value=-0.05, train_value=0.0) == doubts(value=-0.3, error=0.2, train_value=0.0) == []
    assert doubts(value=-3.7, train_value=-3.7) == ["below 0: no information is certified; the critic overfits"]
    assert "1.5 nats on rows it was trained on, 1 on others" in doubts(train_value=1.5)[0]
    assert doubts(train_value=1.5, error=0.3) == []
    assert "about 40 product samples" in doubts(effective=40.0)[0]
    assert doubts("infonce", effective=40.0) == []


def test_overfitting_and_too_few_steps_are_said():
    x, noise = np.random.default_rng(0).standard_normal((2, 200, 5))
    settings = dataclasses.replace(QUICK, learning_rate=1e-2, patience=30, max_steps=100, averaging=0.0, tolerance=10)
    found = trained(x, x + noise / 2, generator=np.random.default_rng(1), settings=settings)
    assert said(found, "overfits")
    assert said(found, "not come to rest")
    assert not found.converged


def test_failures_are_records(monkeypatch):
    few = trained(*gaussian_pair(0, 0.5, 40), generator=np.random.default_rng(0))
    assert few.information is None
    assert "40 rows are too few" in few.failure
    long = trained(*gaussian_pair(0, 0.5, 100), generator=np.random.default_rng(0), groups=[0] * 60 + [1] * 40)
    assert "longest sequence has 60 of 100 rows" in long.failure

    def no_memory(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(variational, "train_critics", no_memory)
    assert "out of memory" in trained(*gaussian_pair(0, 0.5, 100), generator=np.random.default_rng(0)).failure


def test_too_little_memory_is_a_record_before_training(monkeypatch):
    monkeypatch.setattr(pairs, "free_bytes", lambda: 1_000_000)
    monkeypatch.setattr(variational, "train_critics", lambda *_: pytest.fail("training began"))
    found = trained(*gaussian_pair(0, 0.5, 100), generator=np.random.default_rng(0))
    assert "GB of memory are needed" in found.failure


@pytest.mark.parametrize("hidden", [(1e9,), (1e5, 1e5)])
def test_a_critic_that_is_too_large_is_refused_before_training(monkeypatch, hidden):
    """Of the second the hidden layers need 420 GB and the weights, held eight times, 320 GB."""
    monkeypatch.setattr(pairs, "free_bytes", lambda: 5 * 10**11)
    monkeypatch.setattr(variational, "train_critics", lambda *_: pytest.fail("training began"))
    found = trained(
        *gaussian_pair(0, 0.5, 100), generator=np.random.default_rng(0), settings=TrainingSettings(hidden=hidden)
    )
    assert "GB of memory are needed" in found.failure


def test_a_loss_that_is_nan_is_a_failure_of_its_pair_alone():
    """Steps of 1e30 overflow float32 at once."""
    settings = dataclasses.replace(QUICK, learning_rate=1e30, max_steps=100)
    found = trained(*gaussian_pair(0, 0.9, 200), generator=np.random.default_rng(0), settings=settings)
    assert found.information is None
    assert found.interval is None
    assert "NaN or infinite" in found.failure
    assert "failed" in repr(found)


def test_other_errors_of_torch_are_not_hidden(monkeypatch):
    def broken(*_):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(variational, "train_critics", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        trained(*gaussian_pair(0, 0.5, 100), generator=np.random.default_rng(0))


def test_refusals():
    x, y = gaussian_pair(0, 0.5, 100)
    generator = np.random.default_rng(0)
    with pytest.raises(InputError, match="pairs is empty"):
        trained_estimates([], generator=generator)
    with pytest.raises(InputError, match="method = 'kl' is not known"):
        trained_estimates([(x, y)], method="kl", generator=generator)
    with pytest.raises(InputError, match=r"generator = 0 is not a numpy\.random\.Generator"):
        trained(x, y, generator=0)
    with pytest.raises(InputError, match=r"settings = \{\} are no TrainingSettings"):
        trained(x, y, generator=generator, settings={})
    with pytest.raises(InputError, match="1 generators for 2 pairs"):
        trained_estimates([(x, y)] * 2, generator=[generator])
    with pytest.raises(InputError, match="2 generators for 2 pairs"):
        trained_estimates([(x, y)] * 2, generator=[generator, generator])
    with pytest.raises(InputError, match="x has 100 rows and y has 90"):
        trained(x, y[:90], generator=generator)
    with pytest.raises(NonFiniteError, match="y holds NaN"):
        trained(x, np.where(y == y.max(), np.nan, y), generator=generator)
