from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.validation.students.test_forward import VOCABULARY, gpt2, llama
from tests.validation.trainings import batch
from theorykit.convergence.gradient_preservation import factor_gradients
from theorykit.errors import InputError
from validation.students import make_student, make_students
from validation.students.architecture import architecture_of, dense_weights
from validation.students.export import merged_model
from validation.students.forward import forward
from validation.students.narrow import residual_basis
from validation.students.square import square_students
from validation.training.data import BlockOrders
from validation.training.loop import Training
from validation.training.losses import LossWeights, clone_loss, language_model_loss
from validation.training.prepare import prepare
from validation.training.problem import TrainingPlan
from validation.training.runs import RunFolder
from validation.training.teachers import Teacher

TOKENS = torch.randint(VOCABULARY, (2, 11), generator=torch.Generator().manual_seed(2))
BLOCKS = np.random.default_rng(0).integers(0, VOCABULARY, (40, 12)).astype(np.int32)
WIDE = {
    "gpt2": lambda: gpt2(n_inner=24),
    "llama": lambda: llama(intermediate_size=24, num_key_value_heads=4),
    "tied llama": lambda: llama(intermediate_size=24, num_key_value_heads=4, tie_word_embeddings=True),
}
"""Teachers all of whose layers are 24 × 24: a student of width 24 can be the teacher."""
SMALL = {"gpt2": gpt2, "llama": llama, "tied llama": lambda: llama(tie_word_embeddings=True)}


def flat_final_norm(module):
    """The final gain goes over by its mean alone: with equal gains nothing is lost."""
    norm = module.transformer.ln_f if module.config.model_type == "gpt2" else module.model.norm
    with torch.no_grad():
        norm.weight.fill_(1.3)
    return module


def at_full_width(name):
    teacher = flat_final_norm(WIDE[name]())
    return teacher, square_students(teacher, 24, copies=2, basis=residual_basis(teacher, BLOCKS, 24))


@pytest.mark.parametrize("name", WIDE)
def test_at_full_width_it_starts_as_the_teacher(name):
    teacher, students = at_full_width(name)
    for logits in students.runner()(TOKENS).logits:
        torch.testing.assert_close(logits, teacher(TOKENS).logits, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", WIDE)
def test_clone_signals_are_seen_through_the_left_projection(name):
    teacher, students = at_full_width(name)
    own = students.runner()(TOKENS, signals=True)
    taught = Teacher(architecture_of(teacher), dense_weights(teacher))(TOKENS.expand(2, -1, -1), signals=True)
    ours, theirs = students.compared(own, taught, students.default_signals)
    assert len(ours) == 3 * (6 if name == "gpt2" else 7)
    assert float(clone_loss(ours, theirs).max()) < 1e-8
    layer = students.architecture.linear[-1]
    left = students.weights[f"{layer}.weight.left"][1, 0]
    torch.testing.assert_close(theirs[-1][1], taught.signals[-1]["feed_forward"][1] @ left.T)


def test_frequencies_and_heads_are_kept_where_they_fit():
    """Head sizes 8 and 4: each rotary pair of the student turns as one of the teacher's does."""
    teacher = llama(num_key_value_heads=4, head_dim=8)
    students = square_students(teacher, 16, basis=residual_basis(teacher, BLOCKS, 16))
    name = "model.layers.0.self_attn.k_proj.weight.left"
    rows = students.weights[name][0, 0, :4]
    assert torch.equal(rows, torch.eye(32)[[0, 2, 4, 6]])


@pytest.mark.parametrize("name", SMALL)
def test_every_square_matrix_is_reached(name, rng):
    """Errata, R1: rank W_t ≥ r gives P_left = A S_r⁻¹ U_rᵀ and P_right = V_r with P_left W_t P_right = A."""
    students = make_student(SMALL[name](), "square", 8, start="random", generators=[rng])
    layer = f"{students.architecture.linear[1]}.weight"
    wanted = torch.from_numpy(rng.standard_normal((8, 8)))
    u, s, vt = torch.linalg.svd(students.teacher[layer][0, 0].double())
    students.weights[f"{layer}.left"][0, 0] = (wanted / s[:8] @ u[:, :8].T).float()
    students.weights[f"{layer}.right"][0, 0] = vt[:8].T.float()
    torch.testing.assert_close(students.effective()[layer][0].T, wanted.float(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(students.deployed(0)[layer].T, wanted.float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_autograd_gives_the_gradients_of_lemma_1(name, rng):
    """∂L/∂P_left = G (W_t P_right)ᵀ and ∂L/∂P_right = W_tᵀ P_leftᵀ G (eqs 9 and 28; 10 and 29 corrected)."""
    students = make_students(SMALL[name](), "square", [8, 8], start="random", generators=rng.spawn(2))
    trained = {key: part.requires_grad_() for key, part in students.weights.items()}
    effective = students.effective()
    loss = language_model_loss(forward(students.architecture, effective, TOKENS).logits, TOKENS).sum()
    for layer in students.architecture.linear:
        key = f"{layer}.weight"
        wanted = effective[key], trained[f"{key}.left"], trained[f"{key}.right"]
        weight, left, right = torch.autograd.grad(loss, wanted, retain_graph=True)
        parts = left.shape[1]
        # stored [S, n, parts · m]: one r × r gradient for each layer of eq 1
        squares = weight.reshape(2, 8, parts, 8).permute(0, 2, 3, 1)
        values = (squares, students.teacher[key], *(trained[f"{key}.{side}"] for side in ("left", "right")))
        expected = factor_gradients(*(value.detach().double().numpy() for value in values))
        for found, own in zip((left, right), expected, strict=True):
            np.testing.assert_allclose(found.numpy(), own, rtol=1e-4, atol=1e-6 * np.abs(own).max())


def test_parameters_by_hand():
    """GPT-2 of width 8 and 3 blocks: per block 6 r² matrices, 6 r biases, 4 r of the norms."""
    students = make_student(gpt2(), "square", 8, start="random", generators=[np.random.default_rng(0)])
    blocks = 3 * (6 * 64 + 6 * 8 + 4 * 8) + 2 * 8
    assert students.deployed_parameters(embeddings=False) == [blocks]
    assert students.deployed_parameters() == [blocks + (VOCABULARY + 32) * 8]
    sides = 3 * 8 * ((24 + 24) * 4 + (24 + 96) * 2)
    assert students.trained_parameters(embeddings=False) == [sides + 3 * 10 * 8 + 2 * 8]
    assert students.trained_parameters() == [sides + 3 * 10 * 8 + 2 * 8 + 2 * 24 * 8]


@pytest.mark.parametrize("start", ["svd", "random"])
@pytest.mark.parametrize("name", SMALL)
def test_export_is_a_plain_smaller_model(name, start, rng, tmp_path):
    teacher = SMALL[name]()
    students = make_students(teacher, "square", [8, 8], start=start, blocks=BLOCKS, generators=rng.spawn(2))
    merged_model(students, 1, teacher).save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    assert (loaded.config.hidden_size, loaded.config.model_type) == (8, teacher.config.model_type)
    torch.testing.assert_close(loaded(TOKENS).logits, students.runner()(TOKENS).logits[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("start", ["svd", "random"])
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_it_trains_with_labels_soft_targets_and_signals(name, start, rng):
    teacher = SMALL[name]()
    students = make_students(teacher, "square", [8, 8], start=start, blocks=BLOCKS, generators=rng.spawn(2))
    frozen = {key: part.clone() for key, part in students.teacher.items()}
    found = Training(
        students,
        LossWeights(1, 1, 1),
        TrainingPlan(steps=30, batch_size=8, learning_rates=1e-2),
        BlockOrders([np.arange(40)] * 2, [0, 1]),
        BLOCKS,
        BLOCKS[:4],
        Teacher(architecture_of(teacher), dense_weights(teacher)),
    )
    found.run()
    for term in ("language_model", "distillation", "clone"):
        values = np.array([record.terms[term] for record in found.records])
        assert np.all(values[-5:].mean(axis=0) < values[:5].mean(axis=0)), term
    assert all(torch.equal(part, frozen[key]) for key, part in students.teacher.items())


def test_refusals(rng):
    with pytest.raises(InputError, match=r"width = 16 is above 12, the smaller side of model\.layers\.0\.self_attn\.k"):
        square_students(llama(), 16, generators=[rng])
    with pytest.raises(InputError, match="width = 10 of a square student is no multiple of the 4 heads"):
        square_students(gpt2(), 10, generators=[rng])
    with pytest.raises(InputError, match="width = 12 of a square student is no multiple of twice the 4 heads"):
        square_students(llama(), 12, generators=[rng])
    with pytest.raises(InputError, match="width = 0"):
        square_students(gpt2(), 0, generators=[rng])
    with pytest.raises(InputError, match="need a basis, or a generator each"):
        square_students(gpt2(), 8)
    with pytest.raises(InputError, match=r"basis has shape \(24, 4\), not \(24, 8\)"):
        square_students(gpt2(), 8, basis=torch.zeros(24, 4))
    with pytest.raises(InputError, match="needs blocks of tokens"):
        make_student(gpt2(), "square", 8)
    with pytest.raises(InputError, match="start = 'whitened' is not for square students"):
        make_student(gpt2(), "square", 8, start="whitened", blocks=BLOCKS)
    students = square_students(gpt2(), 8, generators=[rng])
    with pytest.raises(InputError, match="number = 1 is no student"):
        students.deployed(1)


@pytest.mark.parametrize(("name", "method", "start"), [("gpt2", "lrc", "svd"), ("llama", "fitnets", "random")])
def test_a_run_improves_on_its_start_and_is_resumed_bit_for_bit(teachers, words, name, method, start, tmp_path):
    config = batch(
        teachers[name],
        method=method,
        student="square",
        rank=8,
        start=start,
        data=words,
        length=16,
        steps=40,
        batch_size=4,
        held_out_blocks=4,
        learning_rate=3e-3,
        checkpoint_every=9,
        seed=(0, 1),
    )
    before = prepare(config).evaluate()
    result = RunFolder(tmp_path / "whole", config).run(prepare(config))
    rows = result["students"]
    assert all(row["held_out"] < loss for row, loss in zip(rows, before.tolist(), strict=True))
    stopped, folder = prepare(config), RunFolder(tmp_path / "stopped", config)

    def stop(record):
        if record.step == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.run(stopped, stop)
    assert RunFolder(tmp_path / "stopped", config, resume=True).run(prepare(config)) == result
