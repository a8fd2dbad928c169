from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from tests.validation.trainings import batch
from theorykit.errors import InputError
from validation.reports.experiments import find_experiment
from validation.training.config import PER_STUDENT, BatchConfig, StudentConfig
from validation.training.scratch import scratch_teacher

RECORDS = sorted((Path(__file__).parents[3] / "validation" / "results" / "cpu").glob("*.students.json"))
RANKS = {"transformer.h.0.mlp.c_fc": 3, "transformer.h.0.attn.c_proj": None}
T = {"teacher": "t"}
IDENTITIES = [
    (T, "1d78dd6b43eb2ce2", "1d78dd6b43eb2ce2"),
    ({"teacher": "smollm2", "rank": [4, 8], "seed": [1, 2]}, "4d0b14875f1a35a4", "f00117d04ed5a9f0"),
    (T | {"rank": [2, 4, 8], "seed": 5, "learning_rate": [1e-3, 1e-4, 1e-5]}, "22e23ceb8cf651e2", "2b7094735e03cdec"),
    (T | {"n_blocks": [None, 6], "temperature": [1, 3], "clone_weight": 0.5}, "027fd43f9032202e", "640d140654703b78"),
    (T | {"method": "kd", "language_model_weight": 0, "distillation_weight": 1}, *["7c0aa92b70ca9bf1"] * 2),
    (T | {"layer_ranks": {"a": 3, "b": None}, "checkpoint_every": 7}, *["7655385eee5a4ab3"] * 2),
    (T | {"student": "narrow", "rank": 24, "start": "random", "mixed_precision": "bf16"}, *["517318e4feefb0a9"] * 2),
    (T | {"optimiser": "sgd", "step_size": "1/L", "evaluate_every": 0, "warmup": 0}, *["ae244d0037a11a5d"] * 2),
    (
        T | {"measurements": ["loss_terms", "hessian"], "measure_every": 3, "measure_blocks": 9, "hessian_blocks": 2},
        *["ba15bea957cdf440"] * 2,
    ),
    (T | {"measurements": "hidden_states", "state_blocks": 4, "state_layers": [1, 2]}, *["2bdfd58ed8afc6c5"] * 2),
    (
        {"teacher": "scratch:tiny,steps=60", "data": "kjv", "n_blocks": 12, "seed": [3], "clone_signals": "hidden"}
        | {"clone_scale": "raw"},
        *["91b902ff23190600"] * 2,
    ),
    (
        T | {"method": "lora", "adapter_rank": 3, "hint_share": 0.25, "fade_share": 0.5, "weight_decay": 0.1}
        | {"length": 64, "held_out_blocks": 8, "steps": 20, "batch_size": 4},
        *["e34be34102f3d9ee"] * 2,
    ),
]  # fmt: skip
"""Configurations, and the names of the batch and of its last student in stores that exist."""


@pytest.mark.parametrize(("fields", "name", "last"), IDENTITIES)
def test_names_of_what_was_trained_before_stay(fields, name, last):
    config = BatchConfig.from_dict(fields)
    assert (config.identity, config.students[-1].identity) == (name, last)


def test_the_names_of_teachers_from_scratch_stay():
    assert scratch_teacher("scratch:tiny,seed=3").config("0" * 32).identity == "a6048d7854664c00"


@pytest.mark.parametrize("file", RECORDS, ids=lambda file: file.stem)
def test_the_students_of_the_committed_records_are_found_by_their_names(file):
    content = json.loads(file.read_text())["content"]
    part = find_experiment(content["check"]).part(content["part"])
    students = part.students(part.read(content["settings"]), content["seed"])
    named = {one["identity"] for one in content["students"]}
    assert len(RECORDS) == 6
    assert len(students) == len(named)
    assert {student.identity for student in students[:: max(1, len(students) // 40)]} <= named


def test_one_value_is_that_of_all_students():
    config = batch("t", rank=[2, 4, 8], seed=5, learning_rate=(1e-3, 1e-4, 1e-5))
    assert config.count == 3
    assert [config.each(name) for name in ("rank", "seed", "learning_rate")] == [
        (2, 4, 8),
        (5, 5, 5),
        (1e-3, 1e-4, 1e-5),
    ]
    assert {len(config.to_dict()[name]) for name in PER_STUDENT} == {3}
    assert batch("t").students == (StudentConfig("t"),)


def test_a_student_of_a_batch_is_the_run_that_it_is_alone():
    together = batch("t", rank=(2, 4), seed=(7, 9), temperature=(1, 3), clone_weight=0.5, layer_ranks=RANKS)
    alone = [
        StudentConfig("t", rank=rank, seed=seed, temperature=temperature, clone_weight=0.5, layer_ranks=RANKS)
        for rank, seed, temperature in ((2, 7, 1), (4, 9, 3))
    ]
    assert list(together.students) == alone
    assert [one.identity for one in alone] == [BatchConfig((one,)).identity for one in alone]
    assert len({together.identity, *(one.identity for one in alone)}) == 3


def test_the_dictionary_goes_through_json_and_back():
    config = batch(
        "t", method="kd", rank=(2, 4), n_blocks=(None, 6), layer_ranks=RANKS, clone_signals="hidden", warmup=0
    )
    values = json.loads(json.dumps(config.to_dict()))
    again = BatchConfig.from_dict(values)
    assert again == config
    assert again.identity == config.identity
    assert again.changed_from(values) == []
    assert again.shared.clone_signals == ("hidden",)
    student = config.students[1]
    assert student.to_dict()["rank"] == [4]  # as a batch of one: what stores hold
    assert StudentConfig.from_dict(student.to_dict()) == student


def test_equal_numbers_are_the_same_run():
    first = StudentConfig("t", learning_rate=1, weight_decay=0, rank=np.int64(4), language_model_weight=1)
    second = StudentConfig("t", learning_rate=1.0, weight_decay=0.0, rank=4, language_model_weight=1.0)
    assert first == second
    assert first.identity == second.identity


FIELDS = [field.name for field in dataclasses.fields(StudentConfig) if field.name != "checkpoint_every"]


@pytest.mark.parametrize("name", FIELDS)
def test_every_other_field_changes_the_identity(name):
    changes = {"layer_ranks": RANKS, "state_layers": (1,), "n_blocks": 3, "adapter_rank": 3}
    first = getattr(StudentConfig("t"), name)
    other = changes.get(name, 0.125 if first is None else f"{first}x" if isinstance(first, str) else "x")
    other = first + 1 if isinstance(first, int | float) else other
    changed = batch(**T | {name: other})
    assert changed.identity != batch("t").identity
    assert name in changed.changed_from(batch("t").to_dict())
    assert batch("t", checkpoint_every=3).identity == batch("t").identity


def test_students_of_a_batch_differ_in_little():
    with pytest.raises(InputError, match="students of one batch differ in steps"):
        BatchConfig((StudentConfig("t"), StudentConfig("t", steps=3)))
    with pytest.raises(InputError, match="a configuration holds 2 students"):
        StudentConfig.from_dict({"teacher": "t", "rank": [1, 2]})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "the run names no teacher"),
        ({"teacher": "t", "rnak": 3}, "'rnak' is no field of a run"),
        ({"teacher": "t", "rank": [1, 2], "seed": [1, 2, 3]}, "rank has 2 values for 3 students"),
        ({"teacher": "t", "rank": []}, "rank has 0 values for 1 students"),
        ({"teacher": "t", "rank": [[4]]}, r"rank = \[4\] is not a whole number"),
        ({"teacher": "t", "rank": "4"}, "rank = '4' is not a whole number"),
        ({"teacher": "t", "rank": 4.5}, r"rank = 4\.5 is not a whole number"),
        ({"teacher": "t", "steps": None}, "steps = None is not a whole number"),
        ({"teacher": "t", "steps": True}, "steps = True is not a whole number"),
        ({"teacher": "t", "temperature": "hot"}, "temperature = 'hot' is not a number"),
        ({"teacher": 3}, "teacher = 3 is not a text"),
        ({"teacher": "t", "method": ["kd"]}, r"method = \['kd'\] is not a text"),
        ({"teacher": "t", "clone_signals": [3]}, "clone_signals = 3 is not a text"),
        ({"teacher": "t", "layer_ranks": [3]}, r"layer_ranks = \[3\] is no table"),
        ({"teacher": "t", "seed": -1}, "seed = -1 is below 0"),
        ({"teacher": "t", "checkpoint_every": 0}, "checkpoint_every = 0"),
        ({"teacher": "t", "held_out_blocks": 0}, "held_out_blocks = 0"),
    ],
)
def test_refusals(values, message):
    with pytest.raises(InputError, match=message):
        BatchConfig.from_dict(values)
