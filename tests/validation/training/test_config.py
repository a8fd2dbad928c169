from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from theorykit.errors import InputError
from validation.training.config import PER_STUDENT, RunConfig

RANKS = {"transformer.h.0.mlp.c_fc": 3, "transformer.h.0.attn.c_proj": None}


def test_one_value_is_that_of_all_students():
    config = RunConfig("t", rank=[2, 4, 8], seed=5, learning_rate=(1e-3, 1e-4, 1e-5))
    assert config.count == 3
    assert (config.rank, config.seed, config.learning_rate) == ((2, 4, 8), (5, 5, 5), (1e-3, 1e-4, 1e-5))
    assert {len(getattr(config, name)) for name in PER_STUDENT} == {3}
    assert RunConfig("t").count == 1


def test_a_student_of_a_batch_is_the_run_that_it_is_alone():
    batch = RunConfig("t", rank=(2, 4), seed=(7, 9), temperature=(1, 3), clone_weight=0.5, layer_ranks=RANKS)
    alone = [
        RunConfig("t", rank=rank, seed=seed, temperature=temperature, clone_weight=0.5, layer_ranks=RANKS)
        for rank, seed, temperature in ((2, 7, 1), (4, 9, 3))
    ]
    assert batch.students() == alone
    assert [one.identity for one in batch.students()] == [one.identity for one in alone]
    assert len({batch.identity, *(one.identity for one in alone)}) == 3
    assert alone[0].students() == [alone[0]]


def test_the_dictionary_goes_through_json_and_back():
    config = RunConfig(
        "t", method="kd", rank=(2, 4), n_blocks=(None, 6), layer_ranks=RANKS, clone_signals="hidden", warmup=0
    )
    values = json.loads(json.dumps(config.to_dict()))
    again = RunConfig.from_dict(values)
    assert again == config
    assert again.identity == config.identity
    assert again.changed_from(values) == []
    assert again.clone_signals == ("hidden",)


def test_equal_numbers_are_the_same_run():
    first = RunConfig("t", learning_rate=1, weight_decay=0, rank=np.int64(4), language_model_weight=1)
    second = RunConfig("t", learning_rate=(1.0,), weight_decay=0.0, rank=[4], language_model_weight=1.0)
    assert first == second
    assert first.identity == second.identity


@pytest.mark.parametrize("name", [one.name for one in dataclasses.fields(RunConfig) if one.name != "checkpoint_every"])
def test_every_other_field_changes_the_identity(name):
    changes = {"layer_ranks": RANKS, "state_layers": (1,), "n_blocks": 3, "adapter_rank": 3}
    value = getattr(RunConfig("t"), name)
    first = value[0] if isinstance(value, tuple) and value else value
    other = changes.get(name, 0.125 if first is None else f"{first}x" if isinstance(first, str) else "x")
    other = first + 1 if isinstance(first, int | float) else other
    changed = RunConfig(**{"teacher": "t", name: other})
    assert changed.identity != RunConfig("t").identity
    assert name in changed.changed_from(RunConfig("t").to_dict())
    assert RunConfig("t", checkpoint_every=3).identity == RunConfig("t").identity


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "the run names no teacher"),
        ({"teacher": "t", "rnak": 3}, "'rnak' is no field of a run"),
        ({"teacher": "t", "rank": [1, 2], "seed": [1, 2, 3]}, "rank has 2 values for 3 students"),
        ({"teacher": "t", "rank": []}, "rank has 0 values for 1 students"),
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
        RunConfig.from_dict(values)
