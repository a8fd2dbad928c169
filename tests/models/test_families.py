from dataclasses import replace

import pytest

from benchmarks.architectures.judge import REFUSED, RIGHT, WRONG
from tests.models.families import FAMILIES, differences, judged

STILL_WRONG: dict[str, str] = {}
"""Families that are known to be told wrong today, with the reason; each has to fail."""

# transformers and peft warn in their own ways about tiny models
pytestmark = pytest.mark.filterwarnings("ignore")


def _marked(name):
    return pytest.param(name, marks=[pytest.mark.xfail(reason=STILL_WRONG[name])] if name in STILL_WRONG else [])


@pytest.mark.parametrize("name", [_marked(name) for name in FAMILIES])
def test_family_is_told_right(name, tmp_path):
    row = judged(name, tmp_path)
    wrong = "\n".join(differences(row))
    assert not wrong, FAMILIES[name]
    if row.group == "refused":
        assert row.cells["calibration"].status == REFUSED
    else:
        assert row.cells["spectrum"].status == row.cells["peft"].status == RIGHT


def test_judge_says_no(tmp_path, monkeypatch):
    """A layer that is turned, one that is forgotten, and moments that are off are all seen."""
    from theorykit.models import calibration, sources

    whole = sources.module_source
    monkeypatch.setattr(sources, "module_source", lambda module: Changed(whole(module)))
    collect = calibration.collect_statistics
    monkeypatch.setattr(calibration, "collect_statistics", lambda *args, **more: doubled(collect(*args, **more)))
    row = judged("gpt2", tmp_path, evaluate=False)
    told = row.cells["spectrum"].details
    assert any("wrong way round: transformer.h.0.attn.c_attn" in line for line in told)
    assert any("missing: transformer.h.0.mlp.c_fc" in line for line in told)
    assert not any("h.1." in line for line in told)
    assert row.cells["calibration"].status == WRONG
    assert "off by a factor 2.0" in row.cells["calibration"].note


class Changed:
    """A source whose first two layers are told wrong."""

    def __init__(self, source):
        by_name = {layer.name: layer for layer in source.layers}
        turned = by_name["transformer.h.0.attn.c_attn"]
        self.open = source.open
        self.layers = [
            replace(layer, shape=layer.shape[::-1], transposed=not layer.transposed) if layer is turned else layer
            for layer in source.layers
            if layer.name != "transformer.h.0.mlp.c_fc"
        ]


def doubled(statistics):
    return [replace(part, own=2 * part.own) for part in statistics]
