from __future__ import annotations

import json
import re
from dataclasses import FrozenInstanceError

import pytest

from theorykit.rank_selection import select_ranks
from theorykit.results import to_json

from .synthetic import gpt2_small, layer_spectra, model, small_model


@pytest.fixture(scope="module")
def found():
    return select_ranks(gpt2_small(), 1e5, budget=0.6)


def test_totals_belong_together(found):
    assert found.parameters == sum(part.parameters for part in found.layers)
    assert found.share == pytest.approx(found.parameters / 84_934_656)
    assert found.ranks == {part.layer: part.rank for part in found.layers if part.rank is not None}
    own = found.rules[-1]
    assert (own.key, own.parameters, own.share) == ("common-price", found.parameters, found.share)
    assert own.predicted_loss == found.approximation_loss
    assert own.estimation_loss == pytest.approx(found.estimation_loss)
    assert own.total_loss == own.predicted_loss + own.estimation_loss
    assert own.ranks == tuple(part.rank for part in found.layers)
    assert own.dense_layers == len(found.layers) - len(found.ranks)


def test_json_is_strict_and_complete(found):
    content = json.loads(to_json(found))
    assert content == json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert content["ranks"] == found.ranks
    assert content["samples"] == {"count": 100_000.0, "unit": "sequences", "tokens_per_sample": 1024.0}
    assert content["objective"] == {"name": "kd"}
    assert content["budget"]["text"] == "0.6"
    assert (content["parameters"], content["deployed_parameters"]) == (found.parameters, found.deployed_parameters)
    assert len(content["layers"]) == 48
    assert len(content["rules"]) == 12
    assert content["measured"] is None


def test_tables(found):
    frame = found.to_frame()
    assert frame.index.tolist() == [part.layer for part in found.layers]
    assert frame["parameters"].sum() == found.parameters
    rules = found.rules_frame()
    assert rules.loc["paper-eq17", "ranks"] == "316"
    assert rules.loc["theorem2", "parameters"] == 18 * 147_456
    assert rules.loc["common-price", "ranks"] == f"{min(found.ranks.values())}–{max(found.ranks.values())}"


def test_the_notebook_view_and_the_short_one(found):
    html = found._repr_html_()
    assert html.count("<tr") >= 40
    assert "transformer.h.0.attn.c_attn" in html
    assert repr(found).startswith("RankSelection('made up', n = 100,000 sequences, rule 'common-price': ")
    assert f"{len(found.ranks)} of 48 layers factored" in repr(found)
    assert "predicted KL" in repr(found)
    assert "predicted KL" not in repr(select_ranks(small_model(None), 1e4, rank_multiple=1))


def test_the_span_of_ranks():
    rules = {entry.key: entry for entry in select_ranks(small_model(), 400, budget=1, rank_multiple=1).rules}
    assert rules["paper-eq17"].rank_span == "8–14"
    assert rules["paper-section6"].rank_span == "2"
    assert rules["common-price"].ranks == (None, None, None)
    assert rules["common-price"].rank_span == "–"


def test_results_are_frozen(found):
    with pytest.raises(FrozenInstanceError):
        found.rule = "paper-eq17"


def test_peft_with_one_rank(found):
    uniform = select_ranks(gpt2_small(), 1e5, rule="paper-section6").to_peft()
    assert uniform["r"] == 32
    assert uniform["rank_pattern"] == {}
    assert len(uniform["target_modules"]) == 48
    assert set(uniform) == {"r", "lora_alpha", "rank_pattern", "alpha_pattern", "target_modules"}


def test_peft_with_mixed_ranks(found):
    peft = found.to_peft()
    assert peft["target_modules"] == list(found.ranks)
    assert {name: peft["rank_pattern"].get(name, peft["r"]) for name in peft["target_modules"]} == found.ranks
    assert peft["r"] not in peft["rank_pattern"].values()
    assert (peft["lora_alpha"], peft["alpha_pattern"]) == (peft["r"], peft["rank_pattern"])
    counts = {rank: list(found.ranks.values()).count(rank) for rank in found.ranks.values()}
    assert counts[peft["r"]] == max(counts.values())
    json.dumps(peft)


def test_peft_leaves_dense_layers_alone():
    spectra = model(layer_spectra("flat", (64, 64), 0.01), layer_spectra("steep", (64, 64), 3.0), anchors=None)
    found = select_ranks(spectra, 1e4, budget=0.9)
    assert [part.rank is None for part in found.layers] == [True, False]
    assert found.to_peft()["target_modules"] == ["steep"]
    nothing = select_ranks(spectra, 1e4, budget=1)
    empty = {"r": 1, "lora_alpha": 1, "rank_pattern": {}, "alpha_pattern": {}, "target_modules": []}
    assert nothing.to_peft() == empty


def test_peft_finds_each_layer_by_its_own_pattern(found):
    """peft takes the first key that matches, as a regular expression, at the end of a module's path."""
    peft = found.to_peft()
    for name, rank in found.ranks.items():
        path = f"base_model.model.{name}"
        match = next((key for key in peft["rank_pattern"] if re.match(rf"(.*\.)?({key})$", path)), path)
        assert peft["rank_pattern"].get(match, peft["r"]) == rank


def test_plot_shows_every_layer_once(found):
    axes = found.plot()
    drawn = sorted(share for line in axes.lines for share in line.get_ydata())
    assert drawn == pytest.approx(sorted(part.share for part in found.layers))
    assert len(axes.lines) == 4
    assert "made up: 60% of the linear parameters" in axes.get_title()
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    assert found.plot(axes) is axes


def test_plot_of_experts_and_dense_layers():
    parts = [layer_spectra(f"mlp.experts.down_proj[{index}]", (32, 48), kind="expert") for index in range(3)]
    axes = select_ranks(model(*parts, anchors=None), 1e3, budget=1).plot()
    assert [line.get_label() for line in axes.lines] == ["down_proj 32 × 48"]
    assert axes.lines[0].get_ydata().tolist() == [1.0, 1.0, 1.0]
