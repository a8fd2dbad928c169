from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tests.validation.students.test_forward import VOCABULARY, gpt2, llama, own_head
from theorykit.errors import InputError
from validation.students.export import load_factors, merged_model, save_factors
from validation.students.factored import factored_students
from validation.students.make import make_student

TOKENS = torch.randint(VOCABULARY, (2, 11), generator=torch.Generator().manual_seed(2))
LAYER = "transformer.h.0.mlp.c_fc"
TEACHERS = {"gpt2": gpt2, "llama": llama, "tied llama": lambda: llama(tie_word_embeddings=True)}
OWN_HEADS = {"gpt2 with its head": lambda: own_head(gpt2), "llama with its head": lambda: own_head(llama)}
TEACHERS |= OWN_HEADS


@pytest.mark.parametrize("name", TEACHERS)
def test_factors_go_to_a_file_and_back(name, tmp_path):
    teacher = TEACHERS[name]()
    students = factored_students(teacher, [6, 9])
    save_factors(students, 0, tmp_path / "new" / "student")
    assert sorted(path.name for path in (tmp_path / "new" / "student").iterdir()) == [
        "factors.safetensors",
        "ranks.json",
    ]
    loaded = load_factors(tmp_path / "new" / "student", teacher)
    assert (loaded.count, loaded.ranks[0]) == (1, students.ranks[0])
    expected = students.runner()(TOKENS).logits[0]
    torch.testing.assert_close(loaded.runner()(TOKENS).logits[0], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(merged_model(loaded, 0, teacher)(TOKENS).logits, expected, rtol=1e-4, atol=1e-5)
    assert loaded.deployed_parameters() == students.deployed_parameters()[:1]


@pytest.mark.parametrize(
    ("kind", "name"),
    [("dense", "gpt2 with its head"), ("dense", "llama with its head"), ("narrow", "llama with its head")],
)
def test_a_head_of_its_own_is_kept_whatever_the_configuration_says(kind, name, tmp_path, rng):
    teacher = OWN_HEADS[name]()
    assert teacher.config.tie_word_embeddings
    options = {"rank": 16, "start": "random", "generators": [rng]} if kind == "narrow" else {}
    students = make_student(teacher, kind, **options)
    expected = students.runner()(TOKENS).logits[0]
    if kind == "dense":
        torch.testing.assert_close(expected, teacher(TOKENS).logits, rtol=1e-4, atol=1e-5)
    merged_model(students, 0, teacher).save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(again(TOKENS).logits, expected, rtol=1e-4, atol=1e-5)
    assert teacher.config.tie_word_embeddings


def test_dense_layers_stay_dense(tmp_path):
    teacher = gpt2()
    students = factored_students(teacher, [{LAYER: 3}])
    save_factors(students, 0, tmp_path)
    loaded = load_factors(tmp_path, teacher)
    assert loaded.ranks == ({LAYER: 3},)
    torch.testing.assert_close(loaded.runner()(TOKENS).logits, students.runner()(TOKENS).logits)


@pytest.fixture
def folder(tmp_path):
    save_factors(factored_students(gpt2(), [6]), 0, tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (
            lambda: gpt2(n_embd=16),
            r"transformer\.wte\.weight is \(53, 24\) in the folder and \(53, 16\) in the teacher",
        ),
        (lambda: gpt2(n_inner=48), r"transformer\.h\.0\.mlp\.c_fc\.bias is \(96,\) in the folder and \(48,\)"),
        (lambda: gpt2(n_layer=2), r"ranks\.json does not hold ranks of the teacher's layers"),
        (lambda: gpt2(n_layer=4), r"transformer\.h\.3\.ln_1\.weight is missing in the folder"),
        (lambda: gpt2(vocab_size=60), r"transformer\.wte\.weight is \(53, 24\) in the folder and \(60, 24\)"),
        (llama, r"ranks\.json does not hold ranks of the teacher's layers"),
    ],
)
def test_another_teacher_is_refused(folder, teacher, message):
    with pytest.raises(InputError, match=message):
        load_factors(folder, teacher())


def edited(folder, change):
    file = folder / "factors.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


def test_files_that_do_not_fit_are_refused(folder, tmp_path):
    with pytest.raises(InputError, match="holds no factored student"):
        load_factors(folder / "nowhere", gpt2())
    edited(folder, lambda tensors: tensors.pop(f"{LAYER}.right"))
    with pytest.raises(InputError, match=r"mlp\.c_fc\.right is missing in the folder and \(24, 6\) in the teacher"):
        load_factors(folder, gpt2())
    edited(folder, lambda tensors: tensors.update({f"{LAYER}.right": torch.zeros(24, 5)}))
    with pytest.raises(InputError, match=r"mlp\.c_fc\.right is \(24, 5\) in the folder and \(24, 6\)"):
        load_factors(folder, gpt2())
    edited(folder, lambda tensors: tensors.update({f"{LAYER}.right": torch.zeros(24, 6), "more": torch.zeros(1)}))
    with pytest.raises(InputError, match=r"more is \(1,\) in the folder and missing in the teacher"):
        load_factors(folder, gpt2())
    (folder / "factors.safetensors").write_bytes(b"no tensors")
    with pytest.raises(InputError, match="is damaged"):
        load_factors(folder, gpt2())


@pytest.mark.parametrize("content", ["{", "3", json.dumps({"mlp": 3}), json.dumps({LAYER: "six"})])
def test_ranks_that_are_none_are_refused(folder, content):
    (folder / "ranks.json").write_text(content)
    with pytest.raises(InputError):
        load_factors(folder, gpt2())


def test_a_folder_that_cannot_be_written_and_a_student_that_is_not_there(tmp_path):
    students = factored_students(gpt2(), [6])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write to"):
        save_factors(students, 0, tmp_path / "file")
    with pytest.raises(InputError, match="number = 1 is no student"):
        save_factors(students, 1, tmp_path)
    with pytest.raises(InputError, match="number = 1 is no student"):
        merged_model(students, 1, gpt2())
