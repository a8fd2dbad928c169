"""FitNets: what its first stage may change, and that its second one starts anew."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.validation.students.test_forward import VOCABULARY, gpt2, llama
from tests.validation.trainings import assert_goes_on_bit_for_bit, assert_same_weights
from theorykit.errors import InputError
from validation.students import make_students
from validation.students.architecture import architecture_of, dense_weights
from validation.students.batch import REGRESSOR
from validation.students.make import with_regressor
from validation.training.config import StudentConfig
from validation.training.data import BlockOrders
from validation.training.loop import Training
from validation.training.losses import LossWeights
from validation.training.prepare import hint_steps_of
from validation.training.problem import TrainingPlan
from validation.training.teachers import Teacher

BLOCKS = np.random.default_rng(0).integers(0, VOCABULARY, (30, 12)).astype(np.int32)
PLAN = TrainingPlan(steps=12, batch_size=4, learning_rates=(1e-2, 3e-3), weight_decay=0.1, hint_steps=5)
KINDS = {
    "factored gpt2": (gpt2, "factored", (4, 9)),
    "factored llama": (llama, "factored", (4, 9)),
    "narrow llama": (llama, "narrow", (8, 8)),
    "square gpt2": (gpt2, "square", (8, 8)),
}


def students(name):
    make, kind, ranks = KINDS[name]
    generators = np.random.default_rng(1).spawn(2)
    plain = make_students(make(), kind, ranks, blocks=BLOCKS, generators=generators)
    return plain, with_regressor(plain, 24, generators)


def training(name, plan=PLAN, start=None):
    module = KINDS[name][0]()
    teacher = Teacher(architecture_of(module), dense_weights(module))
    orders = BlockOrders([np.arange(30)] * 2, [1, 2])
    return Training(start or students(name)[1], LossWeights(1, 1, 0), plan, orders, BLOCKS, BLOCKS[:4], teacher)


@pytest.mark.parametrize("name", KINDS)
def test_the_first_stage_changes_the_layers_up_to_the_middle_and_the_regressor_alone(name):
    found = training(name)
    before = {key: part.detach().clone() for key, part in found.students.weights.items()}
    found.run(until=5)
    first = found.students.architecture.block(0)
    guided = (first, REGRESSOR, found.students.architecture.embedding, "transformer.wpe.weight")
    changed = {key for key, part in found.students.weights.items() if not torch.equal(part, before[key])}
    assert changed == {key for key in found.students.trainable if key.startswith(guided)}
    assert all(set(record.terms) == {"hint"} for record in found.records)
    hints = np.array([record.terms["hint"] for record in found.records])
    assert np.all(hints[-1] < hints[0])


@pytest.mark.parametrize("name", ["factored gpt2", "square gpt2"])
def test_the_second_stage_is_a_training_of_its_own_from_there(name):
    """A new optimiser and a new schedule: the same as a run without hints that starts where the first stage ended."""
    whole = training(name)
    whole.run(until=5)
    assert not whole._optimiser.state
    assert [PLAN.rate(step) for step in (5, 6, 11)] == [TrainingPlan(steps=7).rate(step) for step in (0, 1, 6)]
    rest = TrainingPlan(steps=7, batch_size=4, learning_rates=PLAN.learning_rates, weight_decay=0.1)
    second = training(name, rest, whole.students)
    second.orders.restore(whole.orders.state())
    regressor = whole.students.weights[REGRESSOR].detach().clone()
    whole.run()
    second.run()
    assert [record.loss for record in whole.records[5:]] == [record.loss for record in second.records]
    assert torch.equal(whole.students.weights[REGRESSOR], regressor)
    assert_same_weights(whole, second)


@pytest.mark.parametrize("stop", [3, 5, 6])
def test_stopped_before_at_or_behind_the_border_it_goes_on_bit_for_bit(stop):
    assert_goes_on_bit_for_bit(lambda: training("factored gpt2"), stop)


@pytest.mark.parametrize("name", KINDS)
def test_the_regressor_is_trained_and_not_deployed(name):
    plain, regressed = students(name)
    width = regressed.architecture.width
    assert regressed.weights[REGRESSOR].shape == (2, width, 24)
    assert REGRESSOR not in regressed.deployed(0)
    assert REGRESSOR not in regressed.merged(1)
    assert regressed.deployed(1).keys() == plain.deployed(1).keys()
    assert regressed.deployed_parameters() == plain.deployed_parameters()
    trained = [count + width * 24 for count in plain.trained_parameters()]
    assert regressed.trained_parameters() == trained
    if width == 24:
        assert torch.equal(regressed.weights[REGRESSOR][0], torch.eye(24))
    else:
        rows = regressed.weights[REGRESSOR][0]
        torch.testing.assert_close(rows @ rows.T, torch.eye(width), rtol=0, atol=1e-5)


def test_the_share_of_the_first_stage():
    assert hint_steps_of(StudentConfig("t", method="fitnets", steps=10)) == 3
    assert hint_steps_of(StudentConfig("t", method="fitnets", steps=3, hint_share=0.99)) == 2
    assert hint_steps_of(StudentConfig("t", method="fitnets", steps=2, hint_share=0.01)) == 1
    assert hint_steps_of(StudentConfig("t", method="kd", steps=10)) == 0
    with pytest.raises(InputError, match=r"hint_share = 1\.0 is not in \(0, 1\)"):
        hint_steps_of(StudentConfig("t", method="fitnets", hint_share=1.0))
    with pytest.raises(InputError, match="steps = 1 is too few"):
        hint_steps_of(StudentConfig("t", method="fitnets", steps=1))
    with pytest.raises(InputError, match="hints need a teacher and a regressor"):
        training("factored gpt2", start=students("factored gpt2")[0]).run()
