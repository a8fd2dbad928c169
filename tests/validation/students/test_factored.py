from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.validation.students.test_forward import VOCABULARY, gpt2, llama
from theorykit.errors import InputError
from theorykit.models.statistics import RIDGE, LayerStatistics
from validation.students.export import merged_model
from validation.students.factored import factored_students
from validation.students.forward import forward

TOKENS = torch.randint(VOCABULARY, (2, 11), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("make", [gpt2, llama])
def test_full_rank_is_the_teacher(make):
    teacher = make()
    students = factored_students(teacher, [24])
    found = forward(students.architecture, students.weights, TOKENS).logits[0]
    torch.testing.assert_close(found, teacher(TOKENS).logits, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("make", [gpt2, llama])
def test_students_of_different_rank_are_those_of_one_rank_each(make):
    teacher = make()
    together = factored_students(teacher, [5, 12, 24])
    outputs = forward(together.architecture, together.weights, TOKENS).logits
    for number, rank in enumerate((5, 12, 24)):
        alone = factored_students(teacher, [rank])
        torch.testing.assert_close(
            outputs[number], forward(alone.architecture, alone.weights, TOKENS).logits[0], rtol=1e-3, atol=1e-4
        )


def test_the_start_is_the_truncated_svd_with_balanced_factors():
    teacher = gpt2()
    students = factored_students(teacher, [7])
    name = students.architecture.linear[0]
    matrix = teacher.get_parameter(f"{name}.weight").double().numpy()
    u, s, vt = np.linalg.svd(matrix)
    right, left = (students.weights[f"{name}.{side}"][0].double().numpy() for side in ("right", "left"))
    np.testing.assert_allclose(right @ left, (u[:, :7] * s[:7]) @ vt[:7], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(right, axis=0), np.linalg.norm(left, axis=1), rtol=1e-4)


def test_the_whitened_start_is_nearest_in_its_metric(rng):
    teacher = gpt2()
    name = "transformer.h.0.mlp.c_fc"
    inputs, outputs = (side @ side.T + np.eye(len(side)) for side in (rng.standard_normal((n, n)) for n in (24, 96)))
    weight = teacher.get_parameter(f"{name}.weight").detach().T
    own, gradient = torch.from_numpy(inputs), torch.from_numpy(outputs)
    statistics = {name: LayerStatistics(name, weight, own, weight.double().T @ gradient @ weight.double(), 100)}
    students = factored_students(teacher, [{name: 4}, {name: 9}], start="whitened", statistics=statistics)
    matrix = weight.T.double().numpy()
    ridge = RIDGE * np.trace(inputs) / 24 * np.eye(24)
    roots = [np.linalg.cholesky(moment) for moment in (inputs + ridge, outputs)]

    def error(rank, number):
        right, left = (students.weights[f"{name}.{side}"][number].double().numpy() for side in ("right", "left"))
        return np.linalg.norm(roots[0].T @ (matrix - right[:, :rank] @ left[:rank]) @ roots[1])

    singular = np.linalg.svd(roots[0].T @ matrix @ roots[1], compute_uv=False)
    for number, rank in enumerate((4, 9)):
        assert error(rank, number) == pytest.approx(np.sqrt((singular[rank:] ** 2).sum()), rel=1e-4)


def test_a_random_start_has_the_variance_of_the_models_own(rng):
    students = factored_students(gpt2(), [2, 24], start="random", generators=rng.spawn(2))
    name = "transformer.h.0.mlp.c_fc"
    right, left, mask = (students.weights[f"{name}.{part}"] for part in ("right", "left", "mask"))
    products = torch.bmm(right * mask, left)
    assert products.std(dim=(1, 2)).numpy() == pytest.approx([0.02, 0.02], rel=0.35)
    assert torch.all(students.weights["transformer.ln_f.weight"] == 1)
    assert torch.all(students.weights["transformer.h.0.attn.c_attn.bias"] == 0)
    embedding = students.weights["transformer.wte.weight"]
    assert embedding.std().item() == pytest.approx(0.02, rel=0.1)
    assert not torch.equal(embedding[0], embedding[1])


def test_ranks_per_layer_and_dense_layers():
    teacher = gpt2()
    first, second = "transformer.h.0.mlp.c_fc", "transformer.h.1.attn.c_proj"
    students = factored_students(teacher, [{first: 3}, {second: 4, first: None}])
    assert students.ranks == ({first: 3, second: 24}, {first: 24, second: 4})
    assert "transformer.h.2.mlp.c_fc.weight" in students.weights
    outputs = forward(students.architecture, students.weights, TOKENS).logits
    for number in (0, 1):
        torch.testing.assert_close(
            outputs[number], merged_model(students, number, teacher)(TOKENS).logits, rtol=1e-3, atol=1e-4
        )


def test_parameters_by_hand():
    """GPT-2 of width 24 and 3 blocks: per block 24 · (72 + 24 + 96) + 96 · 24 in matrices, 12 · 24 · 24 in all."""
    teacher = gpt2()
    students = factored_students(teacher, [2, 3])
    per_rank = 3 * ((24 + 72) + (24 + 24) + (24 + 96) + (96 + 24))
    dense = 3 * 12 * 24 * 24
    total = sum(parameter.numel() for parameter in teacher.parameters())
    embeddings = (VOCABULARY + 32) * 24
    assert students.deployed_parameters() == [total - dense + rank * per_rank for rank in (2, 3)]
    assert students.deployed_parameters(embeddings=False) == [
        total - dense - embeddings + rank * per_rank for rank in (2, 3)
    ]


@pytest.mark.parametrize("make", [gpt2, llama, lambda: llama(tie_word_embeddings=True)])
def test_export_round_trips(make, tmp_path):
    teacher = make()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    students = factored_students(teacher, [6, 9])
    merged_model(students, 1, teacher).save_pretrained(tmp_path)
    assert [path.suffix for path in tmp_path.glob("model*")] == [".safetensors"]
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    expected = forward(students.architecture, students.weights, TOKENS).logits[1]
    torch.testing.assert_close(loaded(TOKENS).logits, expected, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_refusals(rng):
    teacher = gpt2()
    layer = "transformer.h.0.mlp.c_fc"
    with pytest.raises(InputError, match="ranks is empty"):
        factored_students(teacher, [])
    with pytest.raises(InputError, match="rank = 25"):
        factored_students(teacher, [25])
    with pytest.raises(InputError, match=r"rank of transformer\.h\.0\.mlp\.c_fc = 25"):
        factored_students(teacher, [{layer: 25}])
    with pytest.raises(InputError, match="rank = 0"):
        factored_students(teacher, [0])
    with pytest.raises(InputError, match="'mlp' is no linear layer"):
        factored_students(teacher, [{"mlp": 3}])
    with pytest.raises(InputError, match="start = 'pca' is unknown"):
        factored_students(teacher, [3], start="pca")
    with pytest.raises(InputError, match="needs statistics"):
        factored_students(teacher, [{layer: 3}], start="whitened")
    with pytest.raises(InputError, match="needs a generator"):
        factored_students(teacher, [3], start="random")
    with pytest.raises(InputError, match="number = 1 is no student"):
        factored_students(teacher, [3]).merged(1)
