from __future__ import annotations

import dataclasses
import json
import os

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.models.tiny import save_runnable, tiny_gpt2
from tests.validation.students.test_forward import VOCABULARY, gpt2, llama
from tests.validation.trainings import assert_goes_on_bit_for_bit, batch, changed
from theorykit.errors import InputError
from validation.students.architecture import architecture_of, dense_weights
from validation.students.batch import SIGNALS
from validation.students.factored import factored_students
from validation.students.forward import forward
from validation.students.make import with_regressor
from validation.training import scratch, teachers
from validation.training.data import BlockOrders, Corpus, bits_per_byte, tokens_per_byte, train_and_held_out
from validation.training.loop import Training
from validation.training.losses import LossWeights
from validation.training.prepare import load_teacher, prepare
from validation.training.problem import TrainingPlan
from validation.training.scratch import is_scratch, scratch_teacher, trained_teacher
from validation.training.teachers import Teacher

RNG = np.random.default_rng(0)
BLOCKS, HELD_OUT = (RNG.integers(0, VOCABULARY, (count, 12)).astype(np.int32) for count in (10, 4))
ALL_TERMS = LossWeights(1, 1, 1)
PLAN = TrainingPlan(steps=12, batch_size=4, learning_rates=1e-2)
SMALL = "scratch:tiny,width=16,heads=2,depth=1,context=16,vocabulary=300,steps=12,batch_size=4"
WORDS = np.random.default_rng(1).geometric(0.1, 3000) % 60
TEXT = Corpus(
    "words",
    (" ".join(f"word{number}" for number in WORDS[:2000]),),
    (" ".join(f"word{number}" for number in WORDS[2000:]),),
)


def teacher_of(module, blocks_seen_again=0):
    return Teacher(architecture_of(module), dense_weights(module), blocks_seen_again=blocks_seen_again)


def training(teacher, *, objective=ALL_TERMS, plan=PLAN, seeds=(1, 2)):
    orders = BlockOrders([np.arange(10), np.arange(5)][: len(seeds)], list(seeds))
    students = factored_students(gpt2(), [4, 9][: len(seeds)])
    return Training(students, objective, plan, orders, BLOCKS, HELD_OUT, teacher)


def losses(found):
    return np.array([record.loss for record in found.records])


@pytest.mark.parametrize("make", [gpt2, llama])
@pytest.mark.parametrize("order", ["shared", "mixed", "distinct"])
@pytest.mark.parametrize("alone", [False, True])
def test_the_outputs_are_those_of_the_model_on_every_block(make, order, alone):
    module = make()
    numbers = {"shared": [[3, 1, 2]] * 3, "mixed": [[3, 1, 2], [1, 1, 4], [0, 3, 2]], "distinct": [[0, 1], [2, 3]]}
    tokens = torch.from_numpy(BLOCKS)[torch.tensor(numbers[order])].long()
    teacher = teacher_of(module, 10)
    teacher.one_by_one = alone
    found = teacher(tokens, keep=True, signals=True)
    for student, own in enumerate(tokens):
        expected = forward(architecture_of(module), dense_weights(module), own, keep=True, signals=True)
        torch.testing.assert_close(found.logits[student], expected.logits[0])
        for state, wanted in zip(found.hidden, expected.hidden, strict=True):
            torch.testing.assert_close(state[student], wanted[0])
        for trace, wanted_trace in zip(found.signals, expected.signals, strict=True):
            assert trace.keys() == wanted_trace.keys() <= set(SIGNALS)
            for name, part in trace.items():
                torch.testing.assert_close(part[student], wanted_trace[name][0])


class Counted(Teacher):
    """A teacher that counts the blocks that it runs."""

    runs = 0

    def _run(self, rows, keep, signals):
        self.runs += len(rows)
        return super()._run(rows, keep, signals)


def counted(blocks_seen_again=0):
    module = gpt2()
    return Counted(architecture_of(module), dense_weights(module), blocks_seen_again=blocks_seen_again)


def test_students_that_see_the_same_blocks_share_one_run_of_the_teacher():
    teacher = counted()
    tokens = torch.from_numpy(BLOCKS[:4]).long().expand(8, -1, -1)
    logits = teacher(tokens).logits
    assert teacher.runs == 4
    assert logits.shape[0] == 8
    assert logits.untyped_storage().nbytes() == logits[0].numel() * 4
    torch.testing.assert_close(logits[5], logits[0])


def test_a_kept_block_is_run_once():
    teacher = counted(10)
    found = training(teacher)
    assert teacher.one_by_one
    found.run()
    assert teacher.runs == 1 + 10  # one for its size


def test_kept_outputs_change_no_loss():
    without, kept = training(teacher_of(gpt2())), training(teacher_of(gpt2(), 10))
    without.run()
    kept.run()
    assert kept.teacher.one_by_one
    assert not without.teacher.one_by_one
    np.testing.assert_allclose(losses(kept), losses(without), rtol=2e-5)


@pytest.mark.parametrize("hint_steps", [0, 5])
@pytest.mark.parametrize("free", [None, 2**40])
def test_with_kept_outputs_it_goes_on_bit_for_bit(free, hint_steps, monkeypatch):
    """Wherever it stopped, and however much memory there is then."""
    plan = dataclasses.replace(PLAN, hint_steps=hint_steps)

    def made():
        orders = BlockOrders([np.arange(10)], [3])
        students = with_regressor(factored_students(gpt2(), [4]), 24, [])
        return Training(students, LossWeights(1, 1, 0), plan, orders, BLOCKS, HELD_OUT, teacher_of(gpt2(), 10))

    resumed = assert_goes_on_bit_for_bit(made, 4, lambda: monkeypatch.setattr(teachers, "free_bytes", lambda: free))
    assert resumed.teacher.one_by_one


def test_nothing_is_kept_where_it_does_not_fit(monkeypatch):
    per_block = 4 * 12 * (VOCABULARY + 4 * 24)
    for room, alone in ((10 * per_block, True), (10 * per_block - 1, False)):
        monkeypatch.setattr(teachers, "free_bytes", lambda room=room: room / teachers.FREE_SHARE)
        teacher = teacher_of(gpt2(), 10)
        found = training(teacher)
        found.run(until=1)
        assert teacher.one_by_one is alone


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teachers")
    save_runnable(tiny_gpt2(), folder / "teacher")
    (folder / "text.txt").write_text("\n".join(TEXT.documents + TEXT.held_out), encoding="utf-8")
    return batch(
        teacher=str(folder / "teacher"), rank=4, data=str(folder / "text.txt"), length=16, steps=4, batch_size=4
    )


def test_outputs_are_kept_where_blocks_come_back(setting):
    assert prepare(changed(setting, n_blocks=8)).teacher.one_by_one
    assert not prepare(changed(setting, n_blocks=16)).teacher.one_by_one
    assert not prepare(changed(setting, n_blocks=8, method="finetune")).teacher.one_by_one


def test_a_teacher_from_scratch(setting, tmp_path, monkeypatch):
    config = changed(setting, teacher=SMALL, rank=(3, 6), length=16)
    found = prepare(config, teachers=tmp_path)
    (home,) = tmp_path.iterdir()
    row = json.loads((home / "model" / "teacher.json").read_text())
    assert found.teacher.architecture.width == row["width"] == 16
    assert found.teacher.architecture.vocabulary <= 300
    assert row["steps"] == 12
    model = load_teacher(SMALL, TEXT, teachers=tmp_path)  # not the same text: another teacher
    assert len(list(tmp_path.iterdir())) == 2
    _, held_out = train_and_held_out(TEXT, model.tokenizer, 16, 64)
    own = Teacher(architecture_of(model.module), dense_weights(model.module))
    dense = Training(
        factored_students(model.module, [{}]),
        LossWeights(1, 0, 0),
        PLAN,
        BlockOrders([np.arange(4)], [0]),
        held_out,
        held_out,
        own,
    )
    other = next(folder for folder in tmp_path.iterdir() if folder != home)
    row = json.loads((other / "model" / "teacher.json").read_text())
    assert float(dense.evaluate()) == pytest.approx(row["held_out"], rel=1e-6)
    assert row["bits_per_byte"] == pytest.approx(
        bits_per_byte(row["held_out"], tokens_per_byte(held_out, model.tokenizer))
    )
    monkeypatch.setattr(scratch, "_train", None)  # nothing is trained again
    again = trained_teacher(SMALL, TEXT, tmp_path)
    assert again == other / "model"
    found.run(until=2)


def test_another_seed_size_or_text_is_another_teacher(tmp_path):
    names = [SMALL, f"{SMALL},seed=1", SMALL.replace("steps=12", "steps=13"), SMALL.replace("depth=1", "depth=2")]
    folders = {trained_teacher(name, TEXT, tmp_path) for name in names}
    folders.add(trained_teacher(SMALL, dataclasses.replace(TEXT, documents=TEXT.held_out), tmp_path))
    assert len(folders) == 5
    assert trained_teacher(SMALL, dataclasses.replace(TEXT, name="elsewhere"), tmp_path) in folders


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return trained_teacher(f"{SMALL},steps=60", TEXT, tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize("writes", [1, 3, 6, 9])
def test_killed_half_way_it_passes_for_nothing_and_goes_on(writes, undisturbed, tmp_path, monkeypatch):
    replace, calls = os.replace, 0

    def counted_replace(*paths):
        nonlocal calls
        calls += 1
        if calls == writes:
            raise KeyboardInterrupt
        replace(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", counted_replace)
        with pytest.raises(KeyboardInterrupt):
            trained_teacher(f"{SMALL},steps=60", TEXT, tmp_path)
    assert not list(tmp_path.glob("*/model"))
    found = trained_teacher(f"{SMALL},steps=60", TEXT, tmp_path)
    for name in ("model.safetensors", "tokenizer.json", "teacher.json"):
        assert (found / name).read_bytes() == (undisturbed / name).read_bytes()


def test_a_teacher_whose_loss_is_not_finite(tmp_path):
    with pytest.raises(InputError, match="the teacher from scratch failed: the held-out loss was not finite"):
        trained_teacher(f"{SMALL},learning_rate=1e30", TEXT, tmp_path)


def test_names_of_teachers_from_scratch():
    assert is_scratch("scratch")
    assert not is_scratch("scratchy")
    assert scratch_teacher("scratch") == scratch_teacher("scratch:tiny") == scratch.SIZES["tiny"]
    assert scratch_teacher("scratch:small,learning_rate=0.5").learning_rate == 0.5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scratch:huge", "'huge' is no size of a teacher from scratch"),
        ("scratch:tiny,colour=3", "'colour=3' sets no field"),
        ("scratch:tiny,steps=many", "steps = 'many' is not a number"),
        ("scratch:tiny,steps=0", "steps = 0"),
        ("scratch:tiny,heads=5", "width = 64 is no multiple of 5 heads"),
    ],
)
def test_refused_names(name, message):
    with pytest.raises(InputError, match=message):
        scratch_teacher(name)


def test_refusals(setting, tmp_path):
    scratch_run = changed(setting, teacher=SMALL)
    with pytest.raises(InputError, match="length = 17 is above the teacher's 16 tokens"):
        prepare(changed(scratch_run, length=17), teachers=tmp_path)
    with pytest.raises(InputError, match="length = 1 leaves no token to predict"):
        prepare(changed(setting, length=1))
    with pytest.raises(InputError, match="held_out_blocks = 0"):
        prepare(changed(setting, held_out_blocks=0))
    (tmp_path / "short.txt").write_text("w1 w2\nw3\n")
    with pytest.raises(InputError, match=r"the train text has .* tokens, fewer than one block of 1000"):
        prepare(changed(setting, length=1000, data=str(tmp_path / "short.txt")))
    with pytest.raises(InputError, match=r"the held-out text has .* tokens, fewer than one block of 900"):
        prepare(changed(setting, length=900))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make the folder"):
        trained_teacher(SMALL, TEXT, tmp_path / "file")


def test_a_tokenizer_of_another_model(setting, tmp_path):
    save_runnable(tiny_gpt2(vocab_size=40), tmp_path / "small")
    with pytest.raises(InputError, match=r"the tokenizer gives the id .* and the model has 40 embeddings"):
        prepare(changed(setting, teacher=str(tmp_path / "small"), data=str(words_file(tmp_path))))


def words_file(folder):
    file = folder / "words.txt"
    file.write_text("\n".join(" ".join(f"w{number}" for number in range(90)) for _ in range(9)), encoding="utf-8")
    return file


def test_teachers_of_another_vocabulary_are_refused():
    with pytest.raises(InputError, match=f"vocabularies differ: {VOCABULARY} of the student, 60 of the teacher"):
        training(teacher_of(gpt2(vocab_size=60))).run(until=1)


@pytest.mark.parametrize("make", [gpt2, llama])
def test_outputs_do_not_depend_on_the_attention_that_the_caller_asks_for(make):
    """Second derivatives ask for plain attention; what is kept then has to be what a resumed run computes."""
    module = make()
    tokens = torch.randint(VOCABULARY, (1, 2, 12), generator=torch.Generator().manual_seed(0))
    teacher = Teacher(architecture_of(module), dense_weights(module))
    usual = teacher(tokens).logits
    with sdpa_kernel([SDPBackend.MATH]):
        assert torch.equal(teacher(tokens).logits, usual)
        plain = forward(teacher.architecture, teacher.weights, tokens[0]).logits
    assert not torch.equal(plain[None], usual), "plain attention rounds as the other does here: the test shows nothing"
