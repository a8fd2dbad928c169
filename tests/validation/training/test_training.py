from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from tests.validation.students.test_forward import VOCABULARY, gpt2, llama
from tests.validation.trainings import assert_goes_on_bit_for_bit
from theorykit.errors import InputError
from validation.students.architecture import architecture_of, dense_weights
from validation.students.factored import factored_students
from validation.training.data import BlockOrders
from validation.training.failures import FailureKind
from validation.training.loop import Training
from validation.training.losses import LossWeights
from validation.training.problem import TrainingPlan
from validation.training.teachers import Teacher

RNG = np.random.default_rng(0)
BLOCKS, HELD_OUT = (RNG.integers(0, VOCABULARY, (count, 12)).astype(np.int32) for count in (30, 6))
PLAN = TrainingPlan(steps=12, batch_size=4, learning_rates=1e-2, evaluate_every=5)
LABELS = LossWeights(1, 0, 0)


def training(ranks, plan=PLAN, objective=LABELS, teacher=None, seeds=None, subsets=None):
    module = gpt2()
    orders = BlockOrders(subsets or [np.arange(30)] * len(ranks), seeds or [7] * len(ranks))
    return Training(factored_students(module, ranks), objective, plan, orders, BLOCKS, HELD_OUT, teacher)


def losses(found):
    return np.array([[math.nan if loss is None else loss for loss in record.loss] for record in found.records])


def test_a_batch_is_its_students_one_after_another():
    """Different rank, subset, seed and learning rate."""
    rates, seeds = (3e-3, 1e-2, 1e-3), [1, 2, 3]
    subsets = [np.arange(30), np.arange(7), np.arange(3, 30)]
    together = training([4, 9, 20], dataclasses.replace(PLAN, learning_rates=rates), seeds=seeds, subsets=subsets)
    together.run()
    for number, rank in enumerate((4, 9, 20)):
        plan = dataclasses.replace(PLAN, learning_rates=rates[number])
        alone = training([rank], plan, seeds=seeds[number : number + 1], subsets=subsets[number : number + 1])
        alone.run()
        np.testing.assert_allclose(losses(together)[:, number], losses(alone)[:, 0], rtol=2e-4)
        assert together.records[-1].held_out[number] == pytest.approx(alone.records[-1].held_out[0], rel=2e-4)
        norms = [
            [record.gradient_norm[place] for record in found.records]
            for found, place in ((together, number), (alone, 0))
        ]
        np.testing.assert_allclose(*norms, rtol=5e-3)


def test_a_student_that_diverges_in_its_last_step_has_failed():
    plan = dataclasses.replace(PLAN, optimiser="sgd", learning_rates=(1e30, 1e-2), steps=1)
    found = training([4, 4], plan)
    found.run()
    assert "held-out loss was not finite" in found.failures[0].reason
    assert (found.failures[1], found.records[0].held_out[0]) == (None, None)


def test_masked_columns_never_wake_up():
    found = training([3, 20])
    found.run()
    mask = found.students.weights["transformer.h.0.mlp.c_fc.mask"]
    assert mask[0].sum() == 3
    before = factored_students(gpt2(), [3, 20]).weights["transformer.h.0.mlp.c_fc.left"][0, 3:]
    decay = np.prod([1 - 1e-2 * PLAN.rate(step) * PLAN.weight_decay for step in range(PLAN.steps)])
    after = found.students.weights["transformer.h.0.mlp.c_fc.left"][0, 3:]
    torch.testing.assert_close(after.detach(), before * decay, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("objective", [LossWeights(1, 0, 0), LossWeights(0, 1, 0), LossWeights(1, 1, 1)])
def test_losses_fall(objective):
    module = gpt2()
    teacher = Teacher(architecture_of(module), dense_weights(module))
    plan = TrainingPlan(steps=40, batch_size=8, learning_rates=3e-3)
    found = training([6, 12], plan, objective, teacher)
    found.run()
    assert np.all(losses(found)[-5:].mean(axis=0) < losses(found)[:5].mean(axis=0))
    assert all(
        (value is None) == (not weight)
        for value, weight in zip(
            (found.records[0].terms.get(name) for name in ("language_model", "distillation", "clone")),
            (objective.language_model, objective.distillation, objective.clone),
            strict=True,
        )
    )


def test_a_teacher_with_itself_as_student_has_nothing_to_learn():
    module = llama()
    teacher = Teacher(architecture_of(module), dense_weights(module))
    orders = BlockOrders([np.arange(30)], [0])
    students = factored_students(module, [{}])
    found = Training(students, LossWeights(0, 1, 1), TrainingPlan(1), orders, BLOCKS, HELD_OUT, teacher)
    found.run()
    assert found.records[0].loss[0] == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_stopped_and_resumed_is_the_same_bit_for_bit(optimiser):
    plan = dataclasses.replace(PLAN, optimiser=optimiser, learning_rates=(1e-2, 3e-3))
    assert_goes_on_bit_for_bit(lambda: training([4, 9], plan, seeds=[1, 2]), 5)


def test_a_student_whose_loss_is_not_finite_stops_alone():
    plan = dataclasses.replace(PLAN, optimiser="sgd", learning_rates=(1e30, 1e-2), steps=6)
    found = training([4, 4], plan)
    found.run()
    assert "not finite at step" in found.failures[0].reason
    assert found.failures[0].kind is FailureKind.DIVERGED
    assert found.failures[1] is None
    assert found.alive == [False, True]
    assert found.records[-1].loss[0] is None
    alone = training([4], dataclasses.replace(plan, learning_rates=1e-2))
    alone.run()
    np.testing.assert_allclose(losses(found)[:, 1], losses(alone)[:, 0], rtol=1e-3)
    both = training([4], dataclasses.replace(plan, learning_rates=1e30))
    both.run()
    assert both.step < 6


def test_the_first_step_of_adamw_goes_against_the_gradient():
    """Of every weight: the gradient of a tied embedding does not lie in memory as the embedding does."""
    found = training([4, 9], dataclasses.replace(PLAN, weight_decay=0.0))
    before = {name: part.detach().clone() for name, part in found.students.weights.items()}
    tokens = torch.from_numpy(BlockOrders([np.arange(30)] * 2, [7] * 2).next(BLOCKS, PLAN.batch_size)).long()
    weights = [found.students.weights[name] for name in found.students.trainable]
    gradients = torch.autograd.grad(found.loss(tokens)[0].total.sum(), weights)
    found.run(until=1)
    for name, part, gradient in zip(found.students.trainable, weights, gradients, strict=True):
        clear = gradient.abs() > 1e-6
        assert torch.equal((part.detach() - before[name])[clear].sign(), -gradient[clear].sign()), name


def test_the_schedule_is_warm_up_then_cosine():
    plan = TrainingPlan(steps=100, warmup=0.1)
    rates = [plan.rate(step) for step in range(100)]
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90)))
    assert TrainingPlan(steps=100, optimiser="sgd").rate(50) == 1.0


def test_the_training_copies_where_students_start():
    students = factored_students(gpt2(), [4])
    before = {name: part.clone() for name, part in students.weights.items()}
    Training(students, LABELS, PLAN, BlockOrders([np.arange(30)], [0]), BLOCKS, HELD_OUT).run()
    assert all(torch.equal(part, before[name]) for name, part in students.weights.items())


def test_every_block_is_seen_once_an_epoch():
    orders = BlockOrders([np.arange(10), np.arange(3)], [0, 0])
    numbers = np.arange(30, dtype=np.int32)[:, None]
    seen = np.concatenate([orders.next(numbers, 5) for _ in range(6)], axis=1)[:, :, 0]
    assert sorted(seen[0, :10]) == sorted(seen[0, 10:20]) == list(range(10))
    assert sorted(seen[1, :9]) == sorted(list(range(3)) * 3)


def test_refusals():
    with pytest.raises(InputError, match="1 orders of blocks for 2 students"):
        Training(factored_students(gpt2(), [3, 4]), LABELS, PLAN, BlockOrders([np.arange(3)], [0]), BLOCKS, HELD_OUT)
    with pytest.raises(InputError, match="needs the teacher's logits"):
        training([3], objective=LossWeights(1, 1, 0)).run()
    with pytest.raises(InputError, match="steps = 0"):
        TrainingPlan(steps=0)
    with pytest.raises(InputError, match="learning_rates"):
        TrainingPlan(steps=1, learning_rates=(1e-3, -1.0))
    with pytest.raises(InputError, match=r"warmup = 1 is not in \[0, 1\)"):
        TrainingPlan(steps=1, warmup=1)
    with pytest.raises(InputError, match="optimiser = 'lion' is unknown"):
        TrainingPlan(steps=1, optimiser="lion")
    with pytest.raises(InputError, match="2 subsets and 1 seeds"):
        BlockOrders([np.arange(3)] * 2, [0])
    with pytest.raises(InputError, match="holds no block"):
        BlockOrders([np.arange(0)], [0])
