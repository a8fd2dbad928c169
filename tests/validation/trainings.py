"""Batches of students by keyword, and what a training that was stopped has to come to."""

from __future__ import annotations

import json

import torch
from safetensors.torch import load, save

from validation.training.config import BatchConfig


def batch(teacher, **fields):
    """Return a batch; fields of PER_STUDENT hold one value for all or one for each."""
    return BatchConfig.from_dict({"teacher": teacher} | fields)


def changed(config, **fields):
    """Return the batch with other values of these fields."""
    return BatchConfig.from_dict(config.to_dict() | fields)


def assert_same_weights(first, second):
    for name, part in first.students.weights.items():
        assert torch.equal(part, second.students.weights[name]), name


def assert_goes_on_bit_for_bit(make, stop, in_between=lambda: None):
    """Hold a training that was stopped, written, read and resumed against one that was not."""
    whole, first = make(), make()
    whole.run()
    first.run(until=stop)
    tensors, values = first.state()
    in_between()
    second = make()
    second.restore(load(save(tensors)), json.loads(json.dumps(values)))
    second.run()
    assert whole.records == first.records + second.records
    assert_same_weights(whole, second)
    return second
