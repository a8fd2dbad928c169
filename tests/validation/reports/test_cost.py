"""What students cost: shapes against real students, operations by hand, nothing counted twice."""

from __future__ import annotations

import pytest
import torch

from tests.models.tiny import save_runnable, tiny_gpt2, tiny_llama
from validation.claims.model_shape import count_parameters, model_shape, student_matrices
from validation.reports import cost
from validation.reports.cost import Cost, Estimate
from validation.students import make_student
from validation.training.config import BatchConfig, StudentConfig
from validation.training.scratch import SIZES
from validation.training.store import Store

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def teacher(request, tmp_path_factory):
    """A module and its folder."""
    module = {"gpt2": tiny_gpt2, "llama": tiny_llama}[request.param]()
    return module, str(save_runnable(module, tmp_path_factory.mktemp("teachers") / request.param))


def teacher_parameters(name):
    return count_parameters(model_shape(name).values())


def multiplied(weights):
    """Return how many numbers of a model's weights are in matrices that every token meets, a tied head with them."""
    names = {name: part for name, part in weights.items() if part.ndim == 2}
    looked_up = ("wpe.weight",) + (("wte.weight", "embed_tokens.weight") if "lm_head.weight" in names else ())
    return sum(part.numel() for name, part in names.items() if not name.endswith(looked_up))


def test_the_shape_of_a_folder_is_that_of_the_model(teacher):
    module, folder = teacher
    assert teacher_parameters(folder) == multiplied(dict(module.named_parameters()))


def test_the_shape_of_a_size_is_that_of_its_gpt2():
    size = SIZES["small"]
    blocks = 12 * size.depth * size.width**2
    assert teacher_parameters("scratch:small") == blocks + size.width * size.vocabulary
    assert teacher_parameters("scratch:small,depth=1") == blocks // size.depth + size.width * size.vocabulary


@pytest.mark.parametrize(("kind", "rank"), [("factored", 3), ("dense", 3), ("square", 8), ("narrow", 8)])
def test_students_have_the_matrices_that_are_counted(teacher, kind, rank):
    module, folder = teacher
    if kind == "narrow" and module.config.model_type == "gpt2":
        pytest.skip("narrow students need a Llama-type teacher")
    blocks = torch.arange(64).view(4, 16).numpy() % 50
    students = make_student(module, kind, rank, blocks=blocks)
    counted = student_matrices(StudentConfig(folder, student=kind, rank=rank))
    assert count_parameters(counted) == multiplied(students.deployed(0))


def test_ranks_of_layers_are_followed():
    config = StudentConfig(
        "scratch:tiny", layer_ranks={"transformer.h.0.attn.c_attn": 2, "transformer.h.0.mlp.c_fc": None}
    )
    dense = teacher_parameters("scratch:tiny")
    assert count_parameters(student_matrices(config)) == dense - 64 * 192 + 2 * (64 + 192)


def usual(**fields):
    given = {"teacher": "scratch:tiny", "length": 16, "batch_size": 2, "steps": 5, "held_out_blocks": 1}
    return BatchConfig.from_dict(given | {"evaluate_every": 0} | fields)


def test_operations_are_six_per_parameter_and_token_and_two_of_the_teacher(monkeypatch):
    monkeypatch.setattr(cost, "product_seconds", lambda *_: 1e-6)
    plain = usual(method="finetune", student="dense")
    parameters, tokens, looks = teacher_parameters("scratch:tiny"), 5 * 2 * 16, 3 * 16
    alone = cost._batch_cost(plain, CPU)
    assert alone.tokens == tokens
    assert alone.operations == pytest.approx(parameters * (6 * tokens + 2 * looks))
    taught = cost._batch_cost(usual(method="kd", student="dense"), CPU)
    assert taught.operations == pytest.approx(parameters * (6 * tokens + 2 * looks + 2 * (tokens + looks)))
    # two students of one order of blocks share the teacher's outputs, and blocks that come back are kept
    shared = cost._taught_tokens(usual(method="kd", rank=[4, 8]))
    assert shared == tokens == cost._taught_tokens(usual(method="kd", rank=[4, 4], seed=[0, 1])) / 2
    assert cost._taught_tokens(usual(method="kd", n_blocks=[3])) == 3 * 16
    measured = cost._batch_cost(usual(student="dense", method="finetune", measurements=["gradient_norm"]), CPU)
    assert measured.operations - alone.operations == pytest.approx(6 * parameters * 2 * 256 * 16)


def test_students_are_counted_once_and_those_with_a_record_are_done(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost, "product_seconds", lambda *_: 1e-6)
    students = [usual(seed=seed).shared for seed in range(4)]
    store = Store(tmp_path / "students")
    store.write({"identity": students[0].identity, "failure": None})
    estimate = Estimate(store, "cpu")
    first = estimate.of(students[:3], 8)
    assert (first.students, first.done, first.tokens) == (3, 1, 2 * 160)
    assert first.teachers == ("scratch:tiny",)
    second = estimate.of(students, 8)
    assert (second.students, second.done, second.tokens, second.teachers) == (4, 3, 160, ())
    assert (first + second).operations == first.operations + second.operations
    assert Estimate(store, "cpu").of([], 8) == Cost()


def test_the_time_follows_the_device(monkeypatch):
    monkeypatch.setattr(cost, "SECONDS_PER_LAYER", 0.0)
    monkeypatch.setattr(cost, "SECONDS_PER_BATCH", 0.0)
    monkeypatch.setattr(cost, "product_seconds", lambda *_: 1e-3)
    slow = cost._batch_cost(usual(), CPU).seconds
    monkeypatch.setattr(cost, "product_seconds", lambda *_: 1e-4)
    assert cost._batch_cost(usual(), CPU).seconds == pytest.approx(slow / 10)
    assert cost._batch_cost(usual(steps=50), CPU).seconds > 4 * slow / 10


def test_a_product_is_timed():
    small, large = (cost.product_seconds(1, 8, side, side, CPU) for side in (8, 512))
    assert 0 < small < large
