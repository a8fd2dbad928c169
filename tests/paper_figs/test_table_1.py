import json
import math

import numpy as np
import pytest

from paper_figs.sources import RESULTS

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


def test_the_caption_says_how_the_claim_was_judged(made, content):
    findings = content("reported-results")["findings"]
    for how in ("each at its own best learning rate", "at the learning rate"):
        (found,) = (one for one in findings if "is the best of Table 1's" in one["what"] and how in one["what"])
        assert f", {found['words'][0].lower().replace('_', ' ')}" in made("table-1").caption


def test_rates_at_the_end_of_the_grid_are_told(made, content):
    found = content("reported-results")
    tried = sorted({*found["settings"]["learning_rates"], found["settings"]["learning_rate"]})
    edge = [name for name, rate in found["data"]["table_1_rates"].items() if rate in (tried[0], tried[-1])]
    assert f"at the end of the grid: {', '.join(edge) or 'none'}." in made("table-1").note
