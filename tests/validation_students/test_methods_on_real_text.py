"""Every method on Python's documentation, at the sizes of the smoke preset, with a teacher trained on that text."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from validation.config import RunConfig
from validation.methods import METHODS
from validation.objectives import language_model_loss
from validation.prepare import prepare
from validation.presets import preset
from validation.runs import RunFolder

TEACHER = "scratch:tiny,steps=80"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("real")


def deployed_loss(training):
    """Held-out loss of what would be deployed now: PC-LoRA's students without the teacher's matrices."""
    tokens = torch.from_numpy(np.array(training.held_out)).to(torch.int64)
    with torch.no_grad():
        return language_model_loss(training.students.runner(1.0)(tokens).logits, tokens).tolist()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_improves_on_its_start(method, folder):
    sizes = preset("smoke")
    # from truncated matrices there is little to win back: this teacher knows hardly more than how frequent words are
    start = "svd" if METHODS[method].adapters else "random"
    config = RunConfig(TEACHER, method, rank=(2,), start=start, seed=(0, 1, 2), learning_rate=(1e-2,), **sizes)
    training = prepare(config, cache=folder / "blocks", teachers=folder / "teachers")
    before = deployed_loss(training)
    result = RunFolder(folder / method, config).run(training)
    assert result["steps"] == sizes["steps"]
    after = [row["held_out"] for row in result["students"]]
    assert after == pytest.approx(deployed_loss(training), rel=1e-5)
    assert all(now < then for now, then in zip(after, before, strict=True)), (before, after)
