from __future__ import annotations

import math

import pytest
import torch

from theorykit.errors import InputError
from validation.training import losses
from validation.training.losses import (
    NO_LABEL,
    LossWeights,
    clone_loss,
    distillation_kl,
    distillation_loss,
    language_model_loss,
    token_losses,
)

GENERATOR = torch.Generator().manual_seed(0)


def drawn(*shape):
    return torch.randn(shape, generator=GENERATOR)


def test_terms_do_not_depend_on_batch_and_length():
    """The same positions twice as long or twice as many: means stay."""
    logits, teacher, tokens = drawn(2, 3, 5, 7), drawn(3, 5, 7), torch.randint(7, (3, 5), generator=GENERATOR)
    twice = [torch.cat([side, side], dim=-3) for side in (logits, teacher)]
    assert torch.allclose(distillation_kl(*twice, 2.0), distillation_kl(logits, teacher, 2.0))
    longer = [torch.cat([side, side], dim=-2) for side in (logits, teacher)]
    assert torch.allclose(distillation_kl(*longer, 2.0), distillation_kl(logits, teacher, 2.0))
    both = language_model_loss(twice[0], torch.cat([tokens, tokens]))
    assert torch.allclose(both, language_model_loss(logits, tokens))
    states, theirs = [drawn(2, 4, 6)], [drawn(4, 6)]
    doubled = clone_loss([torch.cat([states[0]] * 2, dim=1)] * 3, [torch.cat([theirs[0]] * 2)] * 3)
    assert torch.allclose(doubled, clone_loss(states, theirs))


def test_language_model_loss_is_that_of_the_next_token():
    logits = torch.full((1, 1, 3, 4), -20.0)
    tokens = torch.tensor([[0, 2, 3]])
    logits[0, 0, 0, 2] = logits[0, 0, 1, 3] = 20.0
    assert language_model_loss(logits, tokens).item() < 1e-6
    assert language_model_loss(torch.zeros(2, 1, 3, 4), tokens) == pytest.approx([math.log(4)] * 2)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_kl_is_that_of_torch_with_the_square_of_the_temperature(temperature):
    student, teacher = drawn(1, 2, 3, 5).double(), drawn(2, 3, 5).double()
    expected = torch.nn.functional.kl_div(
        (student[0] / temperature).log_softmax(-1), (teacher / temperature).softmax(-1), reduction="sum"
    )
    assert distillation_kl(student, teacher, temperature)[0] == pytest.approx(expected.item() * temperature**2 / 6)
    assert distillation_kl(teacher[None], teacher, temperature)[0] == pytest.approx(0.0, abs=1e-12)


def test_hot_kl_approaches_half_the_squared_distance_of_centred_logits():
    """Hinton et al. (2015): τ² KL → ‖z_s − z_t‖²/(2V) for centred logits as τ grows."""
    student, teacher = drawn(1, 1, 1, 6).double(), drawn(1, 1, 6).double()
    apart = student[0] - teacher
    apart = apart - apart.mean()
    assert distillation_kl(student, teacher, 1e4)[0] == pytest.approx(apart.square().mean().item() / 2, rel=1e-3)


def test_the_total_is_the_weighted_sum_and_empty_terms_are_not_computed():
    logits, teacher, tokens = drawn(2, 1, 4, 5), drawn(1, 4, 5), torch.randint(5, (1, 4), generator=GENERATOR)
    states, theirs = [drawn(2, 1, 4, 3)], [drawn(1, 4, 3)]
    found = distillation_loss(
        LossWeights(0.5, 2.0, 3.0, 1.5), logits, tokens, teacher_logits=teacher, states=states, teacher_states=theirs
    )
    torch.testing.assert_close(found.total, 0.5 * found.language_model + 2 * found.distillation + 3 * found.clone)
    alone = distillation_loss(LossWeights(1, 0, 0), logits, tokens)
    assert (alone.distillation, alone.clone) == (None, None)
    torch.testing.assert_close(alone.total, language_model_loss(logits, tokens))


def test_students_do_not_feel_one_another():
    logits = drawn(2, 1, 4, 5).requires_grad_()
    found = distillation_loss(
        LossWeights(1, 1, 0), logits, torch.zeros(1, 4, dtype=torch.int64), teacher_logits=drawn(1, 4, 5)
    )
    found.total[0].backward()
    assert torch.all(logits.grad[1] == 0)
    assert logits.grad[0].abs().sum() > 0


def test_refusals():
    logits, tokens = drawn(1, 1, 3, 4), torch.zeros(1, 3, dtype=torch.int64)
    with pytest.raises(InputError, match="all weights are 0"):
        LossWeights(0, 0, 0)
    with pytest.raises(InputError, match="temperature = 0"):
        LossWeights(temperature=0)
    with pytest.raises(InputError, match="clone = -1"):
        LossWeights(clone=-1)
    with pytest.raises(InputError, match="needs the teacher's logits"):
        distillation_loss(LossWeights(), logits, tokens)
    with pytest.raises(InputError, match="vocabularies differ: 4 of the student, 6 of the teacher"):
        distillation_loss(LossWeights(), logits, tokens, teacher_logits=drawn(1, 3, 6))
    with pytest.raises(InputError, match="width 4 cannot be compared with one of width 5"):
        clone_loss([drawn(1, 2, 4)], [drawn(2, 5)])
    with pytest.raises(InputError, match="0 states of the student and 1"):
        clone_loss([], [drawn(2, 5)])


def test_a_batch_with_weights_and_temperatures_of_its_own_is_its_students():
    """λ, τ and the weight of the labels for each student; one that weighs a term by 0 has the others' gradient only."""
    count, labels, weights, temperatures = 3, (1.0, 0.5, 0.0), (0.0, 0.5, 2.0), (1.0, 2.0, 4.0)
    logits, states = drawn(count, 2, 4, 5).requires_grad_(), drawn(count, 2, 4, 3).requires_grad_()
    teacher, theirs = drawn(2, 4, 5), drawn(count, 2, 4, 3)
    tokens = torch.randint(5, (2, 4), generator=GENERATOR)

    def loss(objective, chosen):
        return distillation_loss(
            objective,
            logits[chosen],
            tokens,
            teacher_logits=teacher,
            states=[states[chosen]],
            teacher_states=[theirs[chosen]],
        )

    together = loss(LossWeights(labels, 1.0, weights, temperatures), slice(0, count))
    gradients = torch.autograd.grad(together.total.sum(), (logits, states), retain_graph=True)
    for number in range(count):
        one = slice(number, number + 1)
        alone = loss(LossWeights(temperature=temperatures[number]), one)
        expected = labels[number] * alone.language_model + alone.distillation + weights[number] * alone.clone
        torch.testing.assert_close(together.total[one], expected)
        torch.testing.assert_close(together.distillation[one], alone.distillation)
        for found, own in zip(gradients, torch.autograd.grad(expected.sum(), (logits, states)), strict=True):
            torch.testing.assert_close(found[number], own[number])
    assert torch.all(gradients[1][0] == 0)


def test_a_student_without_any_term_is_refused():
    with pytest.raises(InputError, match="all weights are 0"):
        LossWeights((1.0, 0.0), 0.0, (1.0, 0.0))
    with pytest.raises(InputError, match="clone signal 'touch' is unknown"):
        LossWeights(clone_signals=("touch",))


def test_the_relative_clone_loss_has_no_scale():
    ours, theirs = drawn(2, 3, 5, 7), drawn(2, 3, 5, 7)
    found = clone_loss([ours], [theirs], "relative")
    expected = ((ours - theirs).square().sum(-1) / theirs.square().sum(-1)).flatten(1).mean(1)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(clone_loss([1e3 * ours], [1e3 * theirs], "relative"), found)
    torch.testing.assert_close(clone_loss([0 * ours], [theirs], "relative"), torch.ones(2))
    assert clone_loss([0 * ours], [0 * theirs], "relative").eq(0).all()
    with pytest.raises(InputError, match="clone_scale = 'cosine'"):
        LossWeights(clone_scale="cosine")


def test_one_number_for_all_students_or_one_for_each():
    logits, tokens = torch.zeros(3, 1, 4, 5), torch.zeros(1, 4, dtype=torch.int64)
    with pytest.raises(InputError, match="temperature has 2 values for 3 students"):
        distillation_kl(logits, logits[0], (1.0, 2.0))
    with pytest.raises(InputError, match="language_model has 2 values for 3 students"):
        distillation_loss(LossWeights((1.0, 0.5), 0.0, 0.0), logits, tokens)


def test_blocks_of_one_token_have_no_labels():
    with pytest.raises(InputError, match="blocks of 1 token"):
        language_model_loss(torch.zeros(1, 2, 1, 5), torch.zeros(2, 1, dtype=torch.int64))


def test_tokens_that_the_teacher_rules_out_do_not_count_in_the_kl():
    teacher = torch.tensor([0.0, 0.0, -math.inf]).view(1, 1, 1, 3)
    student = torch.tensor([0.0, 0.0, -1.0]).view(1, 1, 1, 3)
    expected = math.log((2 + math.exp(-1.0)) / 2)  # KL of (½, ½, 0) from softmax(0, 0, −1)
    assert distillation_kl(student, teacher, 1.0).item() == pytest.approx(expected, rel=1e-6)


def test_a_zero_state_of_the_teacher_counts_with_norm_one():
    ours = torch.full((1, 1, 2, 4), 0.5)
    assert clone_loss([ours], [torch.zeros(1, 2, 4)], "relative").item() == pytest.approx(1.0)


ROWS, VOCABULARY = 23, 11


def inputs():
    generator = torch.Generator().manual_seed(0)
    logits, teacher = (torch.randn(ROWS, VOCABULARY, generator=generator, dtype=torch.float64) for _ in range(2))
    labels = torch.randint(VOCABULARY, (ROWS,), generator=generator)
    labels[3] = NO_LABEL
    return logits.requires_grad_(), labels, teacher, torch.linspace(0.5, 3, ROWS, dtype=torch.float64)


def by_hand(logits, labels, teacher, temperature):
    of_labels = [
        0.0 if label == NO_LABEL else -row.log_softmax(0)[label] for row, label in zip(logits, labels, strict=True)
    ]
    of_teacher = []
    for row, other, tau in zip(logits, teacher, temperature, strict=True):
        p, q = (other / tau).softmax(0), (row / tau).softmax(0)
        of_teacher.append(tau**2 * (p * (p / q).log()).sum())
    return torch.stack([torch.as_tensor(loss) for loss in of_labels]), torch.stack(of_teacher)


@pytest.mark.parametrize("numbers", [1, 5 * VOCABULARY, 10**6])
def test_chunks_change_neither_losses_nor_first_and_second_derivatives(numbers, monkeypatch):
    monkeypatch.setitem(losses._LOGITS, "cpu", numbers)
    logits, labels, teacher, temperature = inputs()
    direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = []
    for route in (token_losses, by_hand):
        first, second = route(logits, labels, teacher, temperature)
        total = (first * torch.arange(ROWS)).sum() + 0.3 * second.sum()
        (gradient,) = torch.autograd.grad(total, logits, create_graph=True)
        (curvature,) = torch.autograd.grad((gradient * direction).sum(), logits)
        found.append((first.detach(), second.detach(), gradient.detach(), curvature))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_what_is_not_asked_for_is_zero():
    logits, labels, teacher, temperature = inputs()
    assert token_losses(logits, labels, None, None)[1].eq(0).all()
    assert token_losses(logits, None, teacher, temperature)[0].eq(0).all()
