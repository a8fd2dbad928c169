from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from typer.testing import CliRunner

from tests.validation.measure.test_measurements import measured_setting, training
from tests.validation.students.test_forward import gpt2
from tests.validation.trainings import assert_same_weights
from theorykit.convergence import tuned_step_size
from theorykit.errors import ConvergenceError, InputError
from validation.__main__ import app
from validation.measure import gradient_variance, hessian, loss_terms, step_sizes
from validation.measure.log import read_measurements
from validation.training import runs
from validation.training.failures import Failure, FailureKind
from validation.training.problem import TrainingPlan


def small(rule, **plan):
    return training(gpt2(n_embd=8, n_layer=1), ranks=(2, 5), optimiser="sgd", step_size=rule, **plan)


def stepped(rule, **plan):
    """Return a training that was handed the steps measured at its start, as a run folder does it."""
    found = small(rule, **plan)
    found.use_step_sizes(step_sizes.measured_step_sizes(found))
    return found


def test_one_over_the_top_eigenvalue_at_the_start():
    found = stepped("1/L")
    eigenvalues = [row["eigenvalue"] for row in hessian(found)]
    found.run(until=1)
    assert [one["step_size"] for one in found.step_sizes] == pytest.approx([1 / abs(value) for value in eigenvalues])
    fixed = small("", learning_rates=tuple(one["step_size"] for one in found.step_sizes))
    fixed.run(until=1)
    assert_same_weights(fixed, found)


def test_the_tuned_step_is_that_of_theorem_1():
    found = stepped("tuned", steps=2000)
    noise, terms, curvature = gradient_variance(found), loss_terms(found), hessian(found)
    found.run(until=1)
    for number, one in enumerate(found.step_sizes):
        expected = tuned_step_size(
            2000,
            smoothness=abs(curvature[number]["eigenvalue"]),
            initial_gap=terms[number]["train"]["total"],
            gradient_variance=noise[number]["variance"],
        )
        assert one["step_size"] == pytest.approx(expected)
        assert 0 < one["step_size"] <= 1 / one["smoothness"]


def test_the_loss_falls_at_the_measured_step():
    found = stepped("1/L", steps=20)
    before = loss_terms(found)
    found.run()
    after = loss_terms(found)
    assert all(last["train"]["total"] < first["train"]["total"] for first, last in zip(before, after, strict=True))


def test_a_resumed_run_keeps_its_step(monkeypatch):
    whole, first, second = stepped("1/L"), stepped("1/L"), small("1/L")
    whole.run()
    first.run(until=5)
    tensors, values = first.state()
    second.restore(load(save(tensors)), json.loads(json.dumps(values)))
    monkeypatch.setattr(runs, "measured_step_sizes", None)  # would fail if it was measured again
    runs._take_step_sizes(second)
    second.run()
    assert whole.step_sizes == second.step_sizes
    assert_same_weights(whole, second)


def test_a_student_without_a_step_fails_and_the_others_go_on(monkeypatch):
    measured = step_sizes.top_eigenvalue

    def partly(training, number, blocks):
        if number == 0:
            raise ConvergenceError("Lanczos did not end")
        return measured(training, number, blocks)

    monkeypatch.setattr(step_sizes, "top_eigenvalue", partly)
    found = stepped("1/L")
    start = {name: part.detach().clone() for name, part in found.students.weights.items()}
    found.run(until=3)
    assert found.failures == [Failure(FailureKind.NO_STEP_SIZE, "no step size: Lanczos did not end"), None]
    assert found.step_sizes[0] is None
    assert all(torch.equal(part[0], start[name][0]) for name, part in found.students.weights.items())
    monkeypatch.undo()
    undisturbed = stepped("1/L")
    undisturbed.run(until=3)
    np.testing.assert_allclose(
        [record.loss[1] for record in found.records], [record.loss[1] for record in undisturbed.records], rtol=1e-4
    )


def test_the_run_folder_says_which_step_was_taken(tmp_path, monkeypatch):
    setting = measured_setting(tmp_path).shared
    monkeypatch.chdir(tmp_path)  # blocks are cached there
    found = CliRunner().invoke(
        app,
        f"train --teacher {setting.teacher} --data {setting.data} --rank 2 --rank 5 --steps 3 --length 16 --out run "
        "--optimiser sgd --step-size 1/L --measure hessian --measure gradient_norm --measure-every 2",
    )
    assert found.exit_code == 0, found.output
    rows = json.loads((tmp_path / "run" / "result.json").read_text())["students"]
    measured = read_measurements(tmp_path / "run")
    assert [row["step"] for row in measured] == [0, 2, 3]
    for number, row in enumerate(rows):
        smoothness = abs(measured[0]["hessian"][number]["eigenvalue"])
        assert row["step_size"]["smoothness"] == pytest.approx(smoothness)
        assert row["step_size"]["step_size"] == pytest.approx(1 / smoothness)
        assert row["step_size"]["rule"] == "1/L"


def test_where_no_student_has_a_step_the_start_is_measured_once(tmp_path, monkeypatch):
    setting = measured_setting(tmp_path).shared
    monkeypatch.chdir(tmp_path)

    def never(*_):
        raise ConvergenceError("Lanczos did not end")

    monkeypatch.setattr(step_sizes, "top_eigenvalue", never)
    found = CliRunner().invoke(
        app,
        f"train --teacher {setting.teacher} --data {setting.data} --rank 2 --steps 3 --length 16 --out run "
        "--optimiser sgd --step-size 1/L --measure gradient_norm",
    )
    assert found.exit_code == 1
    assert [row["step"] for row in read_measurements(tmp_path / "run")] == [0]


def test_refusals():
    with pytest.raises(InputError, match="step_size = '1/L' is for sgd on one loss"):
        TrainingPlan(steps=3, step_size="1/L")
    with pytest.raises(InputError, match="is for sgd on one loss"):
        TrainingPlan(steps=3, optimiser="sgd", step_size="tuned", hint_steps=1)
    with pytest.raises(InputError, match="step_size = 'short' is unknown"):
        TrainingPlan(steps=3, optimiser="sgd", step_size="short")
