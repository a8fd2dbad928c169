"""Every method on Python's documentation, at the sizes of the smoke preset, with a teacher trained on that text."""

from __future__ import annotations

import pytest

from tests.validation.trainings import batch
from validation.presets import preset
from validation.training.methods import METHODS
from validation.training.prepare import prepare
from validation.training.runs import RunFolder

TEACHER = "scratch:tiny,steps=120"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("real")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_improves_on_its_start(method, folder):
    sizes = preset("smoke")
    # from truncated matrices there is little to win back: this teacher knows hardly more than how frequent words are
    start = "svd" if method == "lora" else "random"  # lora would freeze random matrices
    config = batch(TEACHER, method=method, rank=2, start=start, seed=(0, 1), learning_rate=1e-2, **sizes)
    training = prepare(config, cache=folder / "blocks", teachers=folder / "teachers")
    result = RunFolder(folder / method, config).run(training)
    assert result["steps"] == sizes["steps"]
    after, before = ([row[name] for row in result["students"]] for name in ("held_out", "held_out_at_start"))
    assert after == training.evaluate(progress=1.0).tolist()  # of what is deployed
    assert all(now < then for now, then in zip(after, before, strict=True)), (before, after)
