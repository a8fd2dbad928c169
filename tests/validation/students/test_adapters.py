from __future__ import annotations

import copy
import dataclasses
import sys
import warnings

import numpy as np
import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.models.tiny import save_runnable, tiny_llama
from tests.validation.students.test_forward import VOCABULARY, gpt2, llama
from tests.validation.trainings import assert_goes_on_bit_for_bit, batch
from theorykit.errors import InputError
from validation.students.adapters import lora_students, pc_lora_students
from validation.students.architecture import architecture_of, dense_weights
from validation.students.export import load_factors, merged_model, save_factors
from validation.students.factored import factored_students
from validation.students.forward import forward
from validation.training.data import BlockOrders
from validation.training.loop import Training
from validation.training.losses import LossWeights
from validation.training.prepare import prepare
from validation.training.problem import TrainingPlan
from validation.training.runs import RunFolder
from validation.training.teachers import Teacher

RNG = np.random.default_rng(0)
BLOCKS, HELD_OUT = (RNG.integers(0, VOCABULARY, (count, 12)).astype(np.int32) for count in (30, 6))
TOKENS = torch.randint(VOCABULARY, (2, 11), generator=torch.Generator().manual_seed(2))
LABELS, CLONING = LossWeights(1, 0, 0), LossWeights(1, 0, 1)
families = pytest.mark.parametrize("make", [gpt2, llama])
both = pytest.mark.parametrize("method", ["lora", "pc-lora"])


def students_of(method, teacher, ranks, kind="factored", seeds=None, **options):
    generators = [np.random.default_rng([seed, 1]) for seed in seeds or range(len(ranks))]
    make = lora_students if method == "lora" else pc_lora_students
    return make(teacher, kind, ranks, generators=generators, **options)


def stirred(students):
    """Return students whose adapters have all moved: B starts at 0, where nothing could be told."""
    torch.manual_seed(3)
    weights = {}
    for name, part in students.weights.items():
        weights[name] = part + 0.1 * torch.randn_like(part)
        for number, ranks in enumerate(students.adapters):
            layer, side = name.rsplit(".", 1)
            if side == "right":
                weights[name][number, :, ranks[layer] :] = 0
            elif side == "left":
                weights[name][number, ranks[layer] :] = 0
    return dataclasses.replace(students, weights=weights)


def training(method, ranks, plan, objective=LABELS, seeds=None, make=gpt2, **options):
    module = make()
    students = students_of(method, module, ranks, seeds=seeds, **options)
    orders = BlockOrders([np.arange(30)] * len(ranks), seeds or [7] * len(ranks))
    teacher = Teacher(architecture_of(module), dense_weights(module))
    return Training(students, objective, plan, orders, BLOCKS, HELD_OUT, teacher)


@families
@both
def test_a_merged_student_stores_what_a_factored_one_does(make, method):
    """PC-LoRA's biases C are in place of GPT-2's own, and come on top for Llama, whose layers have none."""
    teacher = make()
    ranks = [2, 5, 12]
    students, factored = students_of(method, teacher, ranks), factored_students(teacher, ranks)
    names = architecture_of(teacher).linear
    sides = sum(teacher.get_parameter(f"{name}.weight").shape[0] for name in names) if make is llama else 0
    more = sides if method == "pc-lora" else 0
    for embeddings in (True, False):
        expected = [count + more for count in factored.deployed_parameters(embeddings=embeddings)]
        assert students.deployed_parameters(embeddings=embeddings) == expected
    assert students.ranks == factored.ranks


@families
def test_what_is_trained_by_hand(make):
    teacher = make()
    shapes = [teacher.get_parameter(f"{name}.weight").shape for name in architecture_of(teacher).linear]
    both_sides, outputs = sum(map(sum, shapes)), sum(shape[make is gpt2] for shape in shapes)
    assert students_of("lora", teacher, [4, 12]).trained_parameters() == [both_sides, 3 * both_sides]
    assert students_of("lora", teacher, [4, 12], adapter_rank=2).trained_parameters() == [2 * both_sides] * 2
    assert students_of("pc-lora", teacher, [4, 12]).trained_parameters() == [
        rank * both_sides + outputs for rank in (4, 12)
    ]


@families
def test_lora_starts_at_the_truncated_teacher(make):
    teacher = make()
    students = students_of("lora", teacher, [4, 12], adapter_rank=2)
    for number, rank in enumerate((2, 10)):
        found = students.runner()(TOKENS).logits[number]
        expected = factored_students(teacher, [rank])
        torch.testing.assert_close(found, expected.runner()(TOKENS).logits[0], rtol=1e-3, atol=1e-5)
    whole = students_of("lora", teacher, [4], adapter_rank=4).runner()(TOKENS).logits
    assert torch.isfinite(whole).all()  # nothing of the teacher's matrices is left


@families
def test_plain_lora_is_that_of_peft(make):
    teacher = make()
    names = list(architecture_of(teacher).linear)
    students = stirred(students_of("lora", teacher, [12], kind="dense"))
    assert students.deployed_parameters() == [sum(part.numel() for part in teacher.parameters())]
    config = peft.LoraConfig(r=3, lora_alpha=3, target_modules=names, fan_in_fan_out=make is gpt2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = peft.get_peft_model(copy.deepcopy(teacher), config).eval()
    with torch.no_grad():
        for name in names:
            layer = model.get_submodule(f"base_model.model.{name}")
            layer.lora_A.default.weight.copy_(students.weights[f"{name}.right"][0].T)
            layer.lora_B.default.weight.copy_(students.weights[f"{name}.left"][0].T)
    expected = model(TOKENS).logits
    torch.testing.assert_close(students.runner()(TOKENS).logits[0], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(merged_model(students, 0, teacher)(TOKENS).logits, expected, rtol=1e-4, atol=1e-5)


@families
@pytest.mark.parametrize("start", ["random", "svd"])
def test_pc_lora_goes_from_the_teacher_to_its_factors(make, start):
    teacher = make()
    students = students_of("pc-lora", teacher, [5, 12], start=start)
    torch.testing.assert_close(
        students.runner(0.0)(TOKENS).logits, teacher(TOKENS).logits.repeat(2, 1, 1, 1), rtol=1e-4, atol=1e-5
    )
    end = students.runner(1.0)(TOKENS).logits
    if start == "svd":
        expected = factored_students(teacher, [5, 12]).runner()(TOKENS).logits
        torch.testing.assert_close(end, expected, rtol=1e-3, atol=1e-5)
    moved = stirred(students)
    torch.testing.assert_close(moved.runner(0.8)(TOKENS).logits, moved.runner(1.0)(TOKENS).logits, rtol=0, atol=0)
    assert not torch.allclose(moved.runner(0.7)(TOKENS).logits, moved.runner(1.0)(TOKENS).logits)


def test_the_formula_of_pc_lora_in_one_layer():
    """F(x) = λ W x + B A x + C."""
    teacher = gpt2()
    name = "transformer.h.0.attn.c_proj"
    students = stirred(students_of("pc-lora", teacher, [{name: 3}]))
    assert students.strength(0.2) == pytest.approx(0.75)
    assert [students.strength(progress) for progress in (0.0, 0.8, 0.9, 1.0)] == [1, 0, 0, 0]
    expected = dict(teacher.named_parameters())
    right, left, bias = (students.weights[f"{name}.{part}"][0] for part in ("right", "left", "bias"))
    expected |= {f"{name}.weight": 0.75 * expected[f"{name}.weight"] + right @ left, f"{name}.bias": bias}
    logits = torch.func.functional_call(teacher, expected, (TOKENS,)).logits
    torch.testing.assert_close(students.runner(0.2)(TOKENS).logits[0], logits, rtol=1e-4, atol=1e-5)


@families
@both
def test_states_and_signals_are_those_of_the_batched_forward_pass(make, method):
    students = stirred(students_of(method, make(), [5, 12]))
    found = students.runner()(TOKENS.expand(2, 2, 11), keep=True, signals=True)
    expected = forward(students.architecture, students.effective(), TOKENS, keep=True, signals=True)
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-3, atol=1e-5)
    for ours, theirs in zip(found.hidden, expected.hidden, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
    for ours, theirs in zip(found.signals, expected.signals, strict=True):
        assert set(ours) == set(theirs)
        for name, signal in ours.items():
            torch.testing.assert_close(signal, theirs[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("make", [gpt2, llama, lambda: llama(tie_word_embeddings=True)])
@both
def test_export_round_trips(make, method, tmp_path):
    teacher = make()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    students = stirred(students_of(method, teacher, [6, 9]))
    expected = students.runner()(TOKENS).logits[1]
    merged_model(students, 1, teacher).save_pretrained(tmp_path / "merged")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32).eval()
    torch.testing.assert_close(loaded(TOKENS).logits, expected, rtol=1e-4, atol=1e-5)
    save_factors(students, 1, tmp_path / "factors")
    kept = load_factors(tmp_path / "factors", teacher)
    torch.testing.assert_close(kept.runner()(TOKENS).logits[0], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(merged_model(kept, 0, teacher)(TOKENS).logits, expected, rtol=1e-4, atol=1e-5)
    assert kept.deployed_parameters() == students.deployed_parameters()[1:]
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_ranks_per_layer():
    teacher = llama()
    first, second = "model.layers.0.mlp.up_proj", "model.layers.1.self_attn.q_proj"
    ranks = {first: 8, second: 4, "model.layers.2.mlp.up_proj": None}
    lora = stirred(students_of("lora", teacher, [ranks, {first: 1}]))
    assert lora.ranks == ({first: 8, second: 4}, {first: 1})
    assert [lora.adapters[0][name] for name in (first, second, "model.layers.2.mlp.up_proj")] == [2, 1, 6]
    assert lora.deployed_parameters()[0] == factored_students(teacher, [ranks]).deployed_parameters()[0]
    fading = stirred(students_of("pc-lora", teacher, [ranks]))
    for students in (lora, fading):
        outputs = students.runner()(TOKENS).logits
        for number in range(students.count):
            merged = merged_model(students, number, teacher)(TOKENS).logits
            torch.testing.assert_close(outputs[number], merged, rtol=1e-4, atol=1e-5)


def one_block():
    return gpt2(n_layer=1)


PLAN = TrainingPlan(steps=8, batch_size=4, learning_rates=1e-2, evaluate_every=4)


@both
def test_a_batch_is_its_students_one_after_another(method):
    rates = (1e-2, 3e-3)
    plan = dataclasses.replace(PLAN, learning_rates=rates)
    together = training(method, [4, 9], plan, CLONING, seeds=[1, 2], make=one_block)
    together.run()
    for number, rank in enumerate((4, 9)):
        plan = dataclasses.replace(PLAN, learning_rates=rates[number])
        alone = training(method, [rank], plan, CLONING, seeds=[number + 1], make=one_block)
        alone.run()
        for ours, theirs in zip(together.records, alone.records, strict=True):
            assert ours.loss[number] == pytest.approx(theirs.loss[0], rel=1e-5)
            assert ours.gradient_norm[number] == pytest.approx(theirs.gradient_norm[0], rel=1e-4)
        assert together.records[-1].held_out[number] == pytest.approx(alone.records[-1].held_out[0], rel=1e-5)


@both
def test_stopped_and_resumed_is_the_same_bit_for_bit(method):
    def small():
        return llama(num_hidden_layers=1)

    assert_goes_on_bit_for_bit(lambda: training(method, [4, 9], PLAN, CLONING, seeds=[1, 2], make=small), 5)


@both
def test_adapters_alone_are_trained(method):
    found = training(method, [4, 9], PLAN)
    before = copy.deepcopy(found.students.model.state_dict())
    start = {name: part.detach().clone() for name, part in found.students.weights.items()}
    found.run()
    assert all(not part.requires_grad for part in found.students.model.parameters())
    assert all(torch.equal(part, before[name]) for name, part in found.students.model.state_dict().items())
    for name, part in found.students.weights.items():
        assert not torch.equal(part, start[name]), name
    layer = "transformer.h.0.mlp.c_fc"
    rank = found.students.adapters[0][layer]
    assert not found.students.weights[f"{layer}.right"][0, :, rank:].any()
    assert not found.students.weights[f"{layer}.left"][0, rank:].any()


@pytest.mark.parametrize("start", ["", "svd"])
def test_the_result_of_a_run_is_the_deployed_student(start, tmp_path):
    """At the end nothing of the frozen matrices is left, in the recorded loss as in the exported model."""
    teacher = tiny_llama()
    words = RNG.geometric(0.15, 4000) % 90
    (tmp_path / "text.txt").write_text("\n".join(" ".join(f"w{word}" for word in row) for row in words.reshape(-1, 20)))
    config = batch(
        teacher=str(save_runnable(teacher, tmp_path / "teacher")),
        method="pc-lora",
        rank=(6, 12),
        start=start,
        data=str(tmp_path / "text.txt"),
        length=16,
        held_out_blocks=4,
        steps=20,
        batch_size=4,
        learning_rate=3e-3,
        evaluate_every=0,
    )
    found = prepare(config)
    assert bool(found.students.base) == (start == "svd")  # the method's own start is random
    assert found.students.strength(15 / 20) > 0 == found.students.strength(16 / 20)
    result = RunFolder(tmp_path / "run", config).run(found)
    tokens = torch.from_numpy(np.array(found.held_out)).long()
    for number, row in enumerate(result["students"]):
        model = merged_model(found.students, number, teacher)
        with torch.no_grad():
            assert row["held_out"] == pytest.approx(float(model(tokens, labels=tokens).loss), rel=1e-5)
        assert row["deployed_parameters"] == sum(part.numel() for part in model.parameters()) - sum(
            (fans[0] * fans[1] - rank * sum(fans))
            for name, rank in found.students.ranks[number].items()
            for fans in [teacher.get_parameter(f"{name}.weight").shape]
        )


def test_refusals(monkeypatch):
    teacher = gpt2()
    first, second = architecture_of(teacher).linear[:2]
    with pytest.raises(InputError, match="student = 'narrow' is not for lora"):
        students_of("lora", teacher, [4], kind="narrow")
    with pytest.raises(InputError, match="student = 'dense' is not for pc-lora"):
        students_of("pc-lora", teacher, [4], kind="dense")
    with pytest.raises(InputError, match="would freeze random matrices"):
        students_of("lora", teacher, [4], start="random")
    for method in ("lora", "pc-lora"):
        with pytest.raises(InputError, match="start = 'pca' is unknown"):
            students_of(method, teacher, [4], start="pca")
        with pytest.raises(InputError, match="ranks is empty"):
            students_of(method, teacher, [])
        with pytest.raises(InputError, match="rank = 25"):
            students_of(method, teacher, [25])
        with pytest.raises(InputError, match="2 students with adapters need a generator each, not 1"):
            students_of(method, teacher, [3, 4], seeds=[1])
    with pytest.raises(InputError, match="adapter_rank = 5"):
        students_of("lora", teacher, [4, 12], adapter_rank=5)
    with pytest.raises(InputError, match=r"fade_share = 0 is not in \(0, 1\]"):
        students_of("pc-lora", teacher, [4], fade_share=0)
    with pytest.raises(InputError, match="factor different layers"):
        students_of("pc-lora", teacher, [{first: 3}, {second: 3}])
    with pytest.raises(InputError, match="number = 1 is no student"):
        students_of("lora", teacher, [4]).merged(1)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(InputError, match="need the package peft"):
        students_of("lora", teacher, [4])
