from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from theorykit.errors import InputError
from theorykit.information.estimators.critics import OBJECTIVES
from theorykit.information.estimators.training import Rows, TrainedCritics, TrainingSettings, train_critics

SMALL = TrainingSettings(
    hidden=(12,), batch_size=64, partners=2, max_steps=120, validate_every=10, patience=3, evaluation_partners=4
)


def gaussian_rows(seed: int, correlations: list[float], count: int) -> Rows:
    generator = np.random.default_rng(seed)
    x, noise = generator.standard_normal((2, len(correlations), count, 2), dtype=np.float32)
    rho = np.array(correlations, dtype=np.float32)[:, None, None]
    return Rows(torch.from_numpy(x), torch.from_numpy(rho * x + np.sqrt(1 - rho**2) * noise), [1, 2, 3, 5])


def train(
    method: str, training: Rows, validation: Rows, settings: TrainingSettings = SMALL, seeds: list[int] | None = None
) -> TrainedCritics:
    generators = [np.random.default_rng(seed) for seed in (range(training.x.shape[0]) if seeds is None else seeds)]
    return train_critics(settings.critic_of((2, 2)), OBJECTIVES[method], training, validation, generators, settings)


@pytest.mark.parametrize("method", sorted(OBJECTIVES))
def test_a_batch_is_its_critics_one_after_another(method):
    """They stop at different steps, so that the batch shrinks on the way."""
    correlations = [0.0, 0.5, 0.9, 0.0]
    training, validation = gaussian_rows(0, correlations, 300), gaussian_rows(1, correlations, 100)
    together = train(method, training, validation)
    assert len(set(together.steps)) > 1
    for number in range(4):
        alone = train(method, training.of([number]), validation.of([number]), seeds=[number])
        assert alone.steps == together.steps[number : number + 1]
        assert alone.converged == together.converged[number : number + 1]
        # the last bias has no effect on InfoNCE: its gradient is rounding, which Adam scales up
        kept = slice(-1 if method == "infonce" else None)
        torch.testing.assert_close(alone.parameters[0, kept], together.parameters[number, kept], rtol=1e-4, atol=1e-5)


def test_the_weights_are_the_best_on_the_validation_split(monkeypatch):
    """The quality is told to fall after step 20, while the weights move on."""
    from theorykit.information.estimators import training as module

    seen = {}

    def quality(run, validation):
        seen[run.steps] = run.averaged.clone()
        return np.full(1, 1.0 if run.steps == 20 else 0.5 - run.steps / 1e3)

    monkeypatch.setattr(module._Run, "quality", quality)
    rows = gaussian_rows(0, [0.8], 300)
    found = train("mine", rows, rows)
    torch.testing.assert_close(found.parameters, seen[20])
    assert found.converged == [True]
    assert found.steps == [50]
    assert not torch.equal(seen[20], seen[50])


def test_training_that_makes_worse_is_undone(monkeypatch):
    from theorykit.information.estimators import training as module

    monkeypatch.setattr(module._Run, "quality", lambda run, validation: np.full(1, -float(run.steps)))
    rows = gaussian_rows(0, [0.8], 300)
    found = train("mine", rows, rows)
    critic = SMALL.critic_of((2, 2))
    np.testing.assert_array_equal(found.parameters[0], critic.initial(np.random.default_rng(0)))


def test_running_out_of_steps_is_not_convergence():
    rows = gaussian_rows(0, [0.9], 300)
    found = train("mine", rows, rows, dataclasses.replace(SMALL, max_steps=20))
    assert found.converged == [False]
    assert found.steps == [20]
    assert found.failures == [""]


def test_a_broken_pair_fails_alone():
    training, validation = gaussian_rows(0, [0.9, 0.9], 300), gaussian_rows(1, [0.9, 0.9], 100)
    alone = train("mine", training.of([0]), validation.of([0]))
    training.x[1, 0] = torch.nan
    found = train("mine", training, validation)
    assert found.failures[0] == ""
    assert "NaN" in found.failures[1]
    assert not found.converged[1]
    torch.testing.assert_close(found.parameters[0], alone.parameters[0], rtol=1e-4, atol=1e-5)


def test_a_small_train_split_is_one_batch():
    rows = gaussian_rows(0, [0.9], 30)
    assert train("infonce", rows, rows).failures == [""]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("batch_size", 0, "batch_size = 0"),
        ("partners", 1.5, "partners = 1.5"),
        ("learning_rate", 0.0, "learning_rate = 0.0"),
        ("learning_rate", float("nan"), "learning_rate = nan"),
        ("averaging", 1.0, "averaging = 1.0 is not below 1"),
        ("tolerance", -1.0, "tolerance = -1.0"),
        ("critic", "deep", "critic = 'deep'"),
        ("hidden", (), "hidden"),
        ("inputs", "ranks", "inputs = 'ranks'"),
        ("hidden", 64, "hidden = 64 is no sequence of widths"),
        ("hidden", "64", "hidden = '64' is no sequence of widths"),
        ("hidden", (64, 1.5), "hidden = 1.5 is not a whole number"),
        ("embedding", 0, "embedding = 0"),
        ("device", "nope", "device 'nope' is not there"),
        ("device", "meta", "device 'meta' is not there"),
        ("device", 1.5, r"device 1\.5 is not there"),
    ],
)
def test_refused_settings(field, value, message):
    with pytest.raises(InputError, match=message):
        TrainingSettings(**{field: value})


def test_whole_numbers_may_be_floats():
    settings = TrainingSettings(hidden=[1e2, 8], batch_size=64.0)
    assert settings.hidden == (100, 8)
    assert all(type(number) is int for number in (*settings.hidden, settings.batch_size))


def test_a_gpu_that_is_not_there(monkeypatch):
    def missing(*_, **__):
        raise AssertionError("Torch not compiled with CUDA enabled")

    monkeypatch.setattr(torch, "empty", missing)
    with pytest.raises(InputError, match="device 'cuda' is not there"):
        TrainingSettings(device="cuda")


@pytest.mark.gpu
def test_the_gpu_gives_the_same():
    training, validation = gaussian_rows(0, [0.5, 0.9], 300), gaussian_rows(1, [0.5, 0.9], 100)
    on_gpu = [Rows(rows.x.cuda(), rows.y.cuda(), rows.shifts) for rows in (training, validation)]
    found, expected = train("mine", *on_gpu), train("mine", training, validation)
    assert found.steps == expected.steps
    torch.testing.assert_close(found.parameters.cpu(), expected.parameters, rtol=1e-2, atol=1e-3)
