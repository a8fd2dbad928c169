from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.validation.students.test_forward import VOCABULARY, gpt2, llama
from theorykit.errors import InputError
from validation.students.architecture import architecture_of, dense_weights
from validation.students.export import merged_model
from validation.students.forward import forward
from validation.students.narrow import narrow_students, residual_basis
from validation.training.data import BlockOrders
from validation.training.loop import Training
from validation.training.losses import LossWeights, clone_loss
from validation.training.problem import TrainingPlan
from validation.training.teachers import Teacher

TOKENS = torch.randint(VOCABULARY, (2, 11), generator=torch.Generator().manual_seed(2))
BLOCKS = np.random.default_rng(0).integers(0, VOCABULARY, (40, 12)).astype(np.int32)


def flat_final_norm(module):
    """The final gain goes over by its mean alone: with equal gains nothing is lost."""
    with torch.no_grad():
        module.model.norm.weight.fill_(1.3)
    return module


@pytest.mark.parametrize("tied", [False, True])
def test_at_full_width_a_rotated_student_is_the_teacher(tied, rng):
    teacher = flat_final_norm(llama(tie_word_embeddings=tied))
    students = narrow_students(teacher, 24, copies=2, generators=rng.spawn(2))
    found = forward(students.architecture, students.effective(), TOKENS).logits
    for logits in found:
        torch.testing.assert_close(logits, teacher(TOKENS).logits, rtol=1e-3, atol=1e-4)


def test_parameters_by_hand():
    """Width 8: q 8·24, k and v 8·12, o 24·8, gate, up and down 8·40, two gains of 8, in 3 blocks."""
    students = narrow_students(llama(), 8, generators=[np.random.default_rng(0)])
    blocks = 3 * (8 * 24 + 2 * 8 * 12 + 24 * 8 + 3 * 8 * 40 + 2 * 8) + 8
    assert students.deployed_parameters(embeddings=False) == [blocks]
    assert students.deployed_parameters() == [blocks + 2 * VOCABULARY * 8]
    trained = sum(part[0].numel() for part in students.weights.values())
    assert trained == (3 * 7 + 2) * 24 * 8 + 3 * 16 + 8


def test_export_is_an_ordinary_smaller_model(tmp_path):
    teacher = llama()
    students = narrow_students(teacher, 8, copies=2, generators=np.random.default_rng(0).spawn(2))
    merged_model(students, 1, teacher).save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    assert (loaded.config.hidden_size, loaded.config.head_dim) == (8, 6)
    expected = forward(students.architecture, students.effective(), TOKENS).logits[1]
    torch.testing.assert_close(loaded(TOKENS).logits, expected, rtol=1e-4, atol=1e-5)


def test_it_trains_and_the_basis_of_the_residual_stream_is_a_better_start():
    teacher = llama(num_hidden_layers=1)
    bases = residual_basis(teacher, BLOCKS, 12), None
    orders = [BlockOrders([np.arange(40)], [0]) for _ in bases]
    found = [
        Training(
            narrow_students(teacher, 12, basis=basis, generators=[np.random.default_rng(0)]),
            LossWeights(1, 0, 0),
            TrainingPlan(steps=30, batch_size=8, learning_rates=1e-2),
            own,
            BLOCKS,
            BLOCKS[:4],
        )
        for basis, own in zip(bases, orders, strict=True)
    ]
    for one in found:
        one.run()
        losses = [record.loss[0] for record in one.records]
        assert np.mean(losses[-5:]) < np.mean(losses[:5])
    assert torch.allclose(bases[0].T @ bases[0], torch.eye(12), atol=1e-5)


def test_clone_signals_are_equal_at_full_width_and_seen_through_the_projection(rng):
    teacher = flat_final_norm(llama())
    students = narrow_students(teacher, 24, generators=[rng])
    own = forward(students.architecture, students.effective(), TOKENS, signals=True)
    taught = Teacher(architecture_of(teacher), dense_weights(teacher))(TOKENS[None], signals=True)
    ours, theirs = students.compared(own, taught, students.default_signals)
    assert len(ours) == 3 * 7
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)
    assert float(clone_loss(ours, theirs)) < 1e-8


def test_low_rank_clone_trains_with_its_signals():
    teacher = llama()
    found = Training(
        narrow_students(teacher, 12, basis=residual_basis(teacher, BLOCKS, 12)),
        LossWeights(1, 1, 1),
        TrainingPlan(steps=30, batch_size=8, learning_rates=1e-2),
        BlockOrders([np.arange(40)], [0]),
        BLOCKS,
        BLOCKS[:4],
        Teacher(architecture_of(teacher), dense_weights(teacher)),
    )
    found.run()
    clone = [record.terms["clone"][0] for record in found.records]
    assert np.mean(clone[-5:]) < np.mean(clone[:5])


def test_the_basis_holds_most_of_the_stream():
    teacher = llama()
    basis = residual_basis(teacher, BLOCKS, 12)
    states = teacher(torch.from_numpy(BLOCKS).long(), output_hidden_states=True).hidden_states
    rng = np.random.default_rng(0)
    other = torch.from_numpy(np.linalg.qr(rng.standard_normal((24, 12))).Q).float()

    def kept(directions):
        return sum(((state @ directions).square().sum() / state.square().sum()).item() for state in states)

    assert kept(basis) > kept(other)
    assert kept(residual_basis(teacher, BLOCKS, 24)) == pytest.approx(len(states), rel=1e-4)


def test_refusals(rng):
    with pytest.raises(InputError, match="needs a Llama-type teacher"):
        narrow_students(gpt2(), 8, generators=[rng])
    with pytest.raises(InputError, match="width = 25"):
        narrow_students(llama(), 25, generators=[rng])
    with pytest.raises(InputError, match="width = 10 is no multiple of the 4 heads"):
        narrow_students(llama(), 10, generators=[rng])
    with pytest.raises(InputError, match="need a basis, or a generator each"):
        narrow_students(llama(), 8)
    with pytest.raises(InputError, match=r"basis has shape \(24, 9\), not \(24, 8\)"):
        narrow_students(llama(), 8, basis=torch.zeros(24, 9))
