import json
import math
import re

import numpy as np
import pytest

from paper_figs import sources as sources_module
from paper_figs.catalogue import build
from paper_figs.sources import RESULTS, Sources

PAPER = {
    "teacher": ["124.0", "18.3", "35.2"],
    "kd": ["12.4", "22.1", "42.8"],
    "fitnets": ["12.4", "21.8", "41.5"],
    "lora, whole teacher": ["12.4", "23.5", "44.2"],
    "pc-lora": ["12.4", "21.2", "40.8"],
    "lrc": ["12.4", "20.5", "39.6"],
}


def rows_of(table, block):
    return {row[1]: dict(zip(table.columns, row, strict=True)) for row in table.rows if row[0] == block}


def agrees(row, group):
    """Hold the cells of a row against a group of students, computed again where they follow from others."""
    assert row["deployed"] == f"{group['facts']['deployed_parameters']:,}"
    assert row["trained"] == f"{group['facts']['trained_parameters']:,}"
    loss, *ends = numbers(row["loss, nats per token"])
    assert loss == pytest.approx(group["held_out"], abs=6e-5)
    np.testing.assert_allclose(ends, group["interval"] or [], atol=6e-5)
    assert float(row["perplexity"]) == pytest.approx(math.exp(group["held_out"]), rel=1e-3)
    assert float(row["bits per byte"]) == pytest.approx(group["bits_per_byte"], abs=6e-5)
    assert [row["seeds"], row["failed"]] == [str(len(group["seeds"])), str(group["failed"])]
    if group["difference"] is None:
        assert row["loss less LRC's"] == "reference"
    else:
        wanted = [group["difference"], *(group["difference_interval"] or [])]
        np.testing.assert_allclose(numbers(row["loss less LRC's"]), wanted, atol=6e-5)


def numbers(cell):
    return [float(part) for part in cell.replace("[", " ").replace("]", " ").replace(",", " ").split()]


@pytest.mark.parametrize(("block", "key"), [("own best rate", "table_1"), ("one rate", "table_1_one_rate")])
def test_rows_are_those_of_the_record(block, key, made, content):
    found = content("reported-results")
    data, rows = found["data"], rows_of(made("table-1"), block)
    assert list(rows) == [group["name"]["row"] for group in data[key]]
    for group in data[key]:
        name = group["name"]["row"]
        agrees(rows[name], group)
        own = data["table_1_rates"][name] if key == "table_1" else found["settings"]["learning_rate"]
        assert float(rows[name]["learning rate"]) == own
    assert [name for name, row in rows.items() if row["loss less LRC's"] == "reference"] == ["lrc"]


def test_numbers_of_the_paper_stand_in_columns_of_their_own_and_once(made):
    table = made("table-1")
    theirs = [place for place, name in enumerate(table.columns) if name.startswith("the paper")]
    printed = {row[1]: [row[place] for place in theirs] for row in table.rows if row[theirs[0]]}
    known = {"teacher", *rows_of(table, "own best rate")}
    assert printed == {name: told for name, told in PAPER.items() if name in known}
    assert sum(bool(row[theirs[0]]) for row in table.rows) == len(printed)


def test_the_teacher_has_one_loss_and_no_seeds(made, content):
    data = content("reported-results")["data"]
    row = rows_of(made("table-1"), "none")["teacher"]
    assert float(row["loss, nats per token"]) == pytest.approx(data["teacher_loss"], abs=6e-5)
    assert float(row["perplexity"]) == pytest.approx(math.exp(data["teacher_loss"]), rel=1e-3)
    assert row["seeds"] == row["learning rate"] == ""


def test_students_of_smollm2_come_from_their_own_record(made):
    found = json.loads((RESULTS / "methods.json").read_text(encoding="utf-8"))
    rows = rows_of(made("table-1"), "SmolLM2-135M")
    assert len(rows) == len(found["groups"])
    for row, group in zip(rows.values(), found["groups"], strict=True):
        assert row["method"].split(",")[0] == group["name"]["method"]
        agrees(row, group)
    assert rows["lrc"]["loss less LRC's"] == "reference"
    assert {row["learning rate"] for row in rows.values()} == {"0.0003"}
    assert "30 steps" in made("table-1").note


HOW = {"own": "each at its own best learning rate", "one": "all at the learning rate"}


def test_the_caption_says_how_the_claim_was_judged(made, content):
    findings = content("reported-results")["findings"]
    for how in HOW.values():
        (found,) = (one for one in findings if "is the best of Table 1's" in one["what"] and how in one["what"])
        seeds, rival = found["verdict"]["n_seeds"], f"the nearest rival at {found['measured']:+.4f}"
        told = f", {spoken(found)} ({seeds} seed{'s' * (seeds > 1)}; {rival}"
        if found["interval"]:
            assert found["verdict"]["alpha"] == 0.05
            low, high = found["interval"]
            told += f" [{low:+.4f}, {high:+.4f}], a 90% interval"
        assert told in made("table-1").caption


def test_the_caption_says_against_whom_the_claim_is_decided_otherwise(made, content):
    findings = content("reported-results")["findings"]
    halves = made("table-1").caption.split("at one rate for all")
    for how, half in zip(HOW.values(), halves, strict=True):
        (whole,) = (one for one in findings if "is the best of Table 1's" in one["what"] and how in one["what"])
        pairs = [one for one in findings if "LRC is better than" in one["what"] and how in one["what"]]
        other = [one for one in pairs if one["words"] != whole["words"]]
        assert half.count(" alone ") == len({spoken(one) for one in other})
        for one in other:
            rival = one["what"].removeprefix("LRC is better than ").split(f", {how}")[0]
            assert re.search(rf"against [^;)]*\b{rival}\b[^;)]* alone {spoken(one)} at level", half)


def spoken(finding):
    return ", ".join(finding["words"]).lower().replace("_", " ")


def comparison(folder, changed):
    """Write the comparison of SmolLM2-135M with other groups and return table 1 with it."""
    found = json.loads((RESULTS / "methods.json").read_text(encoding="utf-8"))
    changed(found)
    (folder / "methods.json").write_text(json.dumps(found), encoding="utf-8")
    return build("table-1", Sources())


@pytest.mark.parametrize("end", [-0.01, 0.01])
def test_students_of_smollm2_that_contradict_the_claim_are_named(end, tmp_path, monkeypatch):
    def changed(found):
        for group in found["groups"]:
            if group["name"]["method"] == "kd":
                group["difference_interval"] = [-0.2, end]
            elif group["difference"] is not None:
                group["difference_interval"] = [-0.2, 0.2]
            if group["name"]["method"] == "finetune":  # better, and too large to count
                group["difference_interval"] = [-0.2, -0.1]
                group["facts"]["deployed_parameters"] *= 2

    monkeypatch.setattr(sources_module, "RESULTS", tmp_path)
    caption = comparison(tmp_path, changed).caption
    wanted = "contradict the claim at their one rate: an interval lies wholly below LRC's loss for kd."
    assert (wanted in caption) == (end < 0)
    assert ("no method of LRC's size has an interval wholly below" in caption) == (end > 0)


def test_students_of_smollm2_as_committed_contradict_the_claim_where_they_do(made):
    groups = json.loads((RESULTS / "methods.json").read_text(encoding="utf-8"))["groups"]
    better = [
        one["name"]["method"] for one in groups if one["difference_interval"] and one["difference_interval"][1] < 0
    ]
    assert f"wholly below LRC's loss for {'; '.join(better)}." in made("table-1").caption or not better


def test_preset_and_commit_of_the_students_of_smollm2_are_those_of_their_training(made):
    found = json.loads((RESULTS / "methods.json").read_text(encoding="utf-8"))
    (preset,), (commit,) = found["presets"], found["trained_at_commit"]
    assert f"Last block, of preset {preset}, trained at commit {commit[:10]}:" in made("table-1").note
    sources = Sources()
    build("table-1", sources)
    (told,) = (told for file, told in sources.used.items() if file.endswith("methods.json"))
    assert f"students of preset {preset} trained at commit {commit}, compared at commit {found['commit']}" in told


def test_rates_at_the_end_of_the_grid_are_told(made, content):
    found = content("reported-results")
    tried = sorted({*found["settings"]["learning_rates"], found["settings"]["learning_rate"]})
    edge = [f"“{name}”" for name, rate in found["data"]["table_1_rates"].items() if rate in (tried[0], tried[-1])]
    assert f"at the end of the grid: {'; '.join(edge) or 'none'}." in made("table-1").note
