from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from tests.validation.trainings import batch
from theorykit.errors import InputError
from validation.plans import read_plan
from validation.training.store import Store, group

EXAMPLE = Path(__file__).parents[3] / "validation" / "plans" / "smoke.toml"


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def students(**fields):
    return [*batch("somewhere", **fields).students]


def record(student, failure="", **result):
    return {
        "identity": student.identity,
        "batch": "b",
        "place": 0,
        "config": student.to_dict(),
        "failure": failure,
        "result": None if failure else result,
        "made": {},
    }


def test_the_example_is_every_run_with_every_combination():
    plan = read_plan(EXAMPLE)
    assert [(one.method, one.seed) for one in plan.students] == [
        (method, seed) for method in ("lrc", "kd", "finetune") for seed in (0, 1)
    ]
    assert {one.steps for one in plan.students} == {20}
    assert set(plan.presets.values()) == {"smoke"}
    assert [len(batch.students) for batch in group(plan.students, plan.batch_students)] == [2, 2, 2]


def test_toml_and_json_name_the_same_students_once(tmp_path):
    toml = written(
        tmp_path / "p.toml",
        '[base]\nteacher = "t"\npreset = "cpu"\nlayer_ranks = {a = 3, b = "none"}\n'
        '[grid]\nn_blocks = [5, "none"]\ntemperature = [1, 1.0, 4]\n',
    )
    base = {"teacher": "t", "preset": "cpu", "layer_ranks": {"a": 3, "b": None}}
    same = {"base": base, "grid": {"n_blocks": [5, None], "temperature": [1.0, 4.0]}}
    plans = [read_plan(toml), read_plan(written(tmp_path / "p.json", json.dumps(same)))]
    assert plans[0] == plans[1]
    assert [(one.n_blocks, one.temperature) for one in plans[0].students] == [
        (5, 1.0),
        (5, 4.0),
        (None, 1.0),
        (None, 4.0),
    ]
    assert {one.steps for one in plans[0].students} == {400}
    lists = read_plan(
        written(tmp_path / "l.toml", '[base]\nteacher = "t"\nrank = [4, 8]\n[[runs]]\n[[runs]]\nseed=1\n')
    )
    assert [(one.rank, one.seed) for one in lists.students] == [(r, s) for s in (0, 1) for r in (4, 8)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[base]\nteacher = "t"\nrnak = 3', "'rnak' is no field of a run"),
        ("[grid]\nrank = [3]", "names no teacher"),
        ('[base]\nteacher = "t"\nmethod = "magic"', "method = 'magic' is unknown"),
        ('[base]\nteacher = "t"\npreset = "huge"', "preset = 'huge' is unknown"),
        ('[base]\nteacher = "t"\n[grid]\nrank = 3', "no list of values"),
        ('[base]\nteacher = "t"\n[grid]\nrank = []', "no list of values"),
        ('[base]\nteacher = "t"\n[grid]\nrank = [1]\n[[runs]]\nrank = 2', "both in"),
        ('teacher = "t"', "'teacher' is no part of a plan"),
        ("base = 3", "base = 3 is not a dict"),
        ("runs = [3]", "3 in runs is no table"),
        ('batch_students = 0\n[base]\nteacher = "t"', "batch_students = 0"),
        ("", "holds no plan"),
        ("[base", "is no toml"),
        (f"[grid]\nseed = {list(range(400))}\nrank = {list(range(400))}", "asks for 160,000 students"),
    ],
)
def test_a_plan_that_is_none_is_refused_by_the_name_of_its_file(text, message, tmp_path):
    file = written(tmp_path / "plan.toml", text)
    with pytest.raises(InputError, match=message) as caught:
        read_plan(file)
    assert caught.value.message.startswith(str(file))
    assert "\n" not in caught.value.message


def test_a_plan_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_plan(tmp_path / "none.toml")


def test_one_batch_differs_in_nothing_that_needs_another_program():
    given = [
        *students(rank=(4, 8, 12), seed=(0, 1, 2)),
        *students(method="kd", rank=(4, 8)),
        *students(student="narrow", rank=(12, 24), n_blocks=(5, 6)),
    ]
    batches = group(given, 2)
    assert [batch.each("rank") for batch in batches] == [(4, 8), (12,), (4, 8), (12,), (24,)]
    alone = [student.identity for batch in batches for student in batch.students]
    assert alone == [student.identity for student in given]


def test_leaving_out_whole_batches_does_not_change_the_others():
    given = students(seed=tuple(range(10)))
    first, second, third, fourth = group(given, 3)
    for gone in (first, second, third, fourth):
        left = {one.identity for one in given} - {one.identity for one in gone.students}
        again = group([one for one in given if one.identity in left], 3)
        assert again == [one for one in (first, second, third, fourth) if one != gone]


def test_students_stay_together_when_the_plan_grows(tmp_path):
    store = Store(tmp_path)
    before = store.assign(students(seed=(5, 6, 7)), 2)
    assert store.assign(students(seed=(5, 6, 7)), 8) == before
    grown = students(seed=(4, 5, 6, 7, 8))
    assert store.assign(grown, 8, keep=False) == [*before, *group(students(seed=(4, 8)), 8)]
    assert store.batches() == {one.identity: one for one in before}
    assert store.assign(grown, 8)[:2] == before
    assert [one.each("seed") for one in store.batches().values()] == [(5, 6), (7,), (4, 8)]
    for student in before[0].students:
        store.write(record(student))
    assert [one.each("seed") for one in store.assign(grown, 8)] == [(7,), (4, 8)]


def test_a_batch_gives_way_to_its_halves_in_its_place(tmp_path):
    store = Store(tmp_path)
    first, second = store.assign(students(seed=tuple(range(6))), 3)
    store.split(first)
    assert [one.each("seed") for one in store.assign(students(seed=tuple(range(6))), 3)] == [(0,), (1, 2), (3, 4, 5)]
    assert second.identity in store.batches()


def test_failures_are_forgotten_and_nothing_else(tmp_path):
    store, given = Store(tmp_path), students(seed=tuple(range(4)))
    mixed, failed = store.assign(given, 2)
    for student, failure in zip(given, ("", "nan", "full", "full"), strict=True):
        store.write(record(student, failure))
    for config in (mixed, failed):
        store.run_folder(config.identity).mkdir(parents=True)
        (store.run_folder(config.identity) / "result.json").write_text("{}")
    with store.claim(failed.identity):
        store.forget_failures(given)
    assert [one.seed for one in store.unfinished(given)] == [1]
    store.forget_failures(given)
    assert [one.seed for one in store.unfinished(given)] == [1, 2, 3]
    assert [one.each("seed") for one in store.assign(given, 8)] == [(1, 2, 3)]
    assert store.run_folder(mixed.identity).exists()  # what its finished student left
    assert not store.run_folder(failed.identity).exists()  # had ended: begins anew


def test_one_process_holds_a_batch(tmp_path):
    store, other = Store(tmp_path), Store(tmp_path)
    with store.claim("x") as mine, other.claim("x") as theirs, other.claim("y") as free:
        assert (mine, theirs, free) == (True, False, True)
    with other.claim("x") as again:
        assert again


def test_records_are_found_by_what_they_were_asked_for(tmp_path):
    store, given = Store(tmp_path), students(rank=(4, 8), seed=(0, 1))
    store.write(record(given[0], held_out=2.5))
    store.write(record(given[1], "diverged"))
    assert [one["identity"] for one in store.records(rank=8, method="lrc")] == [given[1].identity]
    assert store.records(rank=5) == []
    table = store.to_frame().set_index("identity")
    assert table.loc[given[0].identity, ["rank", "held_out", "failure"]].tolist() == [4, 2.5, ""]
    assert table.loc[given[1].identity, "failure"] == "diverged"
    with pytest.raises(InputError, match="no metrics of student"):
        store.metrics(given[0].identity)


def test_refusals_of_a_store(tmp_path):
    blocked = written(tmp_path / "file", "")
    with pytest.raises(InputError, match="cannot make the folder"):
        Store(blocked).assign(students(), 1)
    store = Store(tmp_path / "store")
    store.assign(students(), 1)
    written(tmp_path / "store" / "batches.json", '{"batches": [')
    with pytest.raises(InputError, match="is no JSON object"):
        store.batches()
    (tmp_path / "store" / "batches.lock").unlink(missing_ok=True)
    (tmp_path / "store" / "batches.lock").mkdir()
    with pytest.raises(InputError, match="cannot lock"):
        store.assign(students(seed=3), 1)


def test_two_spellings_of_a_number_are_one_student():
    assert students(temperature=2)[0].identity == students(temperature=2.0)[0].identity
    assert dataclasses.replace(students()[0], learning_rate=1).learning_rate == 1.0
