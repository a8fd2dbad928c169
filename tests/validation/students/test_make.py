from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.validation.students.test_forward import VOCABULARY, gpt2, llama
from tests.validation.trainings import batch
from theorykit.errors import InputError
from theorykit.models.calibration import collect_statistics
from theorykit.models.language_model import load_language_model
from validation.students import make_student, make_students
from validation.students.factored import FactoredStudents
from validation.students.narrow import NarrowStudents
from validation.students.square import SquareStudents
from validation.training.losses import distillation_kl
from validation.training.prepare import prepare

BLOCKS = np.random.default_rng(0).integers(0, VOCABULARY, (40, 12)).astype(np.int32)
TOKENS = torch.randint(VOCABULARY, (2, 11), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(
    ("kind", "cls"),
    [
        ("factored", FactoredStudents),
        ("narrow", NarrowStudents),
        ("square", SquareStudents),
        ("dense", FactoredStudents),
    ],
)
def test_kinds_by_name(kind, cls):
    students = make_students(llama(), kind, [8, 8], blocks=BLOCKS)
    assert type(students) is cls
    assert students.count == 2
    assert students.runner()(TOKENS).logits.shape == (2, 2, 11, VOCABULARY)
    assert make_student(llama(), kind, 8, blocks=BLOCKS).count == 1


def test_a_dense_student_is_the_teacher():
    teacher = gpt2()
    students = make_student(teacher, "dense")
    torch.testing.assert_close(students.runner()(TOKENS).logits[0], teacher(TOKENS).logits, rtol=1e-4, atol=1e-5)
    assert students.deployed_parameters() == [sum(part.numel() for part in teacher.parameters())]


def test_random_students_do_not_depend_on_their_batch():
    for kind in ("factored", "narrow", "square", "dense"):
        generators = [np.random.default_rng(seed) for seed in (1, 2)]
        both = make_students(llama(), kind, [8, 8], start="random", generators=generators)
        second = make_student(llama(), kind, 8, start="random", generators=[np.random.default_rng(2)])
        for name, part in second.weights.items():
            assert torch.equal(both.weights[name][1], part[0]), name


def started(teacher, words, start, rank):
    return prepare(batch(teacher, method="kd", rank=rank, start=start, data=words, length=16, steps=2))


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_the_whitened_start_has_the_least_predicted_loss_and_a_lower_kl(name, teachers, words):
    """½ tr(G ΔW A ΔWᵀ) is least layer by layer (equality at its own metric); the KL on held-out text follows."""
    ranks = (4, 12, 20)
    found = {start: started(teachers[name], words, start, ranks) for start in ("svd", "whitened")}
    model = load_language_model(teachers[name], device="cpu")
    order = np.random.default_rng(0).permutation(len(found["svd"].blocks))[:16]
    tokens = torch.from_numpy(np.array(found["svd"].blocks[order])).long()
    for one in collect_statistics(model, tokens, generator=torch.Generator().manual_seed(0)):
        weight = one.weight.double()
        inverse, identity = torch.linalg.pinv(weight), torch.eye(min(weight.shape), dtype=torch.float64)
        for number, rank in enumerate(ranks):
            losses = {}
            for start, training in found.items():
                parts = training.students.deployed(number)
                own = (parts[f"{one.name}.right"] @ parts[f"{one.name}.left"]).detach().double().T
                share = inverse @ own if one.on_inputs else (own @ inverse).T
                losses[start] = one.second_order_loss((share, identity))
            assert losses["whitened"] == pytest.approx(one.predicted_loss("fisher", rank), rel=1e-3)
            assert losses["whitened"] < losses["svd"]
    text = torch.from_numpy(np.array(found["svd"].held_out)).long()
    divergence = {}
    for start, training in found.items():
        with torch.no_grad():
            taught = training.teacher(text[None]).logits
            divergence[start] = distillation_kl(training.students.runner()(text).logits, taught, 1.0)
    assert torch.all(divergence["whitened"] < 0.5 * divergence["svd"])


def test_refusals(teachers, words):
    with pytest.raises(InputError, match="student = 'round' is unknown"):
        make_student(gpt2(), "round")
    for kind in ("narrow", "square"):
        with pytest.raises(InputError, match=f"{kind} students have one width and not a rank for each layer"):
            make_students(llama(), kind, [{}], blocks=BLOCKS)
        with pytest.raises(InputError, match=rf"{kind} students of widths \(4, 8\) are no batch"):
            make_students(llama(), kind, [4, 8], blocks=BLOCKS)
    with pytest.raises(InputError, match="'whitened' is for factored students"):
        make_student(gpt2(), "dense", start="whitened")
    other = started(teachers["gpt2"], words, "svd", 4).students.architecture.linear[0]
    model = load_language_model(teachers["gpt2"], device="cpu")
    generator = torch.Generator().manual_seed(0)
    statistics = {part.name: part for part in collect_statistics(model, TOKENS, generator=generator)}
    del statistics[other]
    with pytest.raises(InputError, match=f"statistics hold nothing of {other}"):
        make_student(model.module, "factored", 4, start="whitened", statistics=statistics)
