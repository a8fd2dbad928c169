"""``python -m validation list|plan|show`` on fake experiments: what a reader is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.validation.fakes import GAP, SGD, settings_of
from theorykit.statements import STATEMENTS
from validation.claims.record import read_record
from validation.commands.show import _lines, shortened
from validation.reports.table import COMMITTED, recorded


def test_the_plan_counts_students_once_and_what_is_done_not_at_all(call):
    before = json.loads(call("plan", "--json").out)["result"]
    planned = {one["check"]: one for one in before}
    cost = planned[SGD]["cost"]
    assert (cost["students"], cost["done"], cost["tokens"]) == (2, 0, 2 * 3 * 2 * 16)
    assert cost["operations"] > 0
    assert planned[SGD]["seconds"] > planned[GAP]["seconds"] == 1.0
    assert planned[SGD]["power"] == {"slope": 0.9}
    assert call("run").code == 0
    after = json.loads(call("plan", "--json").out)["result"]
    assert all(one["done"] and one["seconds"] == 0 for one in after)
    more = {one["check"]: one for one in json.loads(call("plan", "--json", "--again", seeds=3).out)["result"]}
    assert (more[SGD]["cost"]["students"], more[SGD]["cost"]["done"]) == (3, 2)
    assert call("run", "--max-hours", 1).code == 0


def test_a_teacher_from_scratch_is_counted_once_and_where_it_is_there_not(call, words):
    settings = settings_of("scratch:tiny,steps=2", words)
    settings[GAP] = {}
    first = json.loads(call("plan", "--json", settings=settings).out)["result"][-1]["cost"]
    assert first["teachers"] == ["scratch:tiny,steps=2"]
    assert call("run", settings=settings).code == 0
    settings[SGD]["students"] = settings[SGD]["students"] | {"seeds": 3}
    second = json.loads(call("plan", "--json", settings=settings).out)["result"][-1]["cost"]
    assert second["teachers"] == []
    assert second["operations"] < first["operations"]


def test_the_table_has_every_statement_printed_and_corrected(call):
    assert call("run").code == 0
    rows = json.loads(call("show", "--json").out)["result"]["rows"]
    keys = {one.key for statement in STATEMENTS for one in statement.equations}
    assert {row["equation"] for row in rows if row["form"] == "printed"} == keys
    found = {(row["equation"], row["form"]): row for row in rows}
    assert found["eq-11", "printed"]["truth"] == "REFUTED"
    row = found["eq-11", "corrected"]
    assert row["instances"] == {"students": "HOLDS"}
    assert row["bound"] == pytest.approx(2 * row["measured"])
    assert row["tightness"] == 2.0
    assert row["records"] == [f"{SGD}.students.json"]
    assert found["eq-19", "corrected"]["instances"] == {"planted": "1 of 1"}
    assert found["eq-19", "corrected"]["measured"] is None  # numbers are of students
    table = call("show", "--format", "md").out
    assert "| eq 11 corrected | PROVED |" in table
    assert "preset smoke, seed 0" in table


@pytest.mark.parametrize("width", [80, 140, 200])
def test_the_table_fits_the_terminal(call, monkeypatch, width):
    assert call("run").code == 0
    monkeypatch.setenv("COLUMNS", str(width))
    for arguments in (["show"], ["show", "theorem-1"], ["plan"], ["list"]):
        done = call(*arguments)
        assert done.code == 0
        assert max(map(len, done.out.splitlines())) <= width
    table = call("show").out
    assert ("VIOLATED" in table, "HOLDS" in table) == (False, True)


def test_cells_are_short_in_a_terminal_and_whole_elsewhere():
    assert shortened("INCONCLUSIVE 4, NOT_APPLICABLE; lost 1 of 9") == "INCONCL. 4, N/A; lost 1 of 9"
    assert shortened("—") == "—"


def test_wrong_and_undecided_controls_and_failed_parts_stand_in_the_table(call):
    call("run", off=1.0, undecided=True)
    rows = json.loads(call("show", "--json").out)["result"]["rows"]
    found = {(row["equation"], row["form"]): row for row in rows}
    assert found["eq-19", "corrected"]["instances"]["planted"] == "0 of 1, 1 wrong"
    assert found["eq-19", "printed"]["instances"]["planted"] == "0 of 1, 1 undecided"
    one = call("show", "theorem-2").out
    assert "(control: wrong, had to be HOLDS)" in one
    call("run", raises=True)
    rows = json.loads(call("show", "--json").out)["result"]["rows"]
    assert {row["instances"].get("planted") for row in rows if row["statement"] == GAP} == {"FAILED"}
    assert f"{GAP} planted failed: the text is too short" in call("show").out


def test_show_prefers_what_was_run_here_and_then_what_is_committed(call, monkeypatch, tmp_path):
    monkeypatch.setattr("validation.reports.table.COMMITTED", Path("committed"))
    assert call("run", "--out", "committed").code == 0
    assert "committed/smoke" in call("show", "--format", "md").out
    assert call("run").code == 0
    assert ".work/validation/smoke" in call("show", "--format", "md").out
    assert "committed/smoke" in call("show", "--from", "committed", "--preset", "smoke", "--format", "md").out
    assert call("show", "--seed", 3).code == 2


def test_the_recorded_table_has_what_was_measured(call):
    from validation.reports.table import recorded_table

    assert recorded_table(Path("none")) == "Not yet recorded."
    assert call("run", "--out", "results").code == 0
    lines = recorded_table(Path("results"), "smoke").splitlines()
    assert lines[0].startswith("| equation | in general | on students | measured |")
    assert lines[2].startswith("| eq 11 corrected | PROVED | HOLDS |")
    assert "Planted controls that came out as they had to: 1 of 1." in lines


def test_list_says_what_is_measured_and_what_is_not(call):
    done = call("list")
    assert "sgd-convergence  (Theorem 1): SGD reaches a floor" in done.out
    assert "parts: planted; by preset: smoke: planted" in done.out
    assert "Decided by theorykit audit alone: compression-ratio" in done.out
    found = json.loads(call("list", "--json").out)["result"]
    assert {one["statement"] for one in found["checks"]} == {SGD, GAP}


def test_whole_records_of_the_repository_stand_before_an_unfinished_run_and_before_a_smaller_preset(tmp_path):
    for preset in ("cpu", "smoke"):
        (tmp_path / preset).mkdir()
    shutil.copy(COMMITTED / "cpu" / "audit.symbolic.json", tmp_path / "cpu")
    found = recorded(None, None, 0, tmp_path)
    assert found.folder == COMMITTED / "cpu"
    assert found.passed == (tmp_path / "cpu",)
    shutil.copytree(COMMITTED / "cpu", tmp_path / "cpu", dirs_exist_ok=True)
    assert recorded(None, None, 0, tmp_path).folder == tmp_path / "cpu"


def test_ends_of_intervals_that_are_open_have_their_sign():
    record = read_record(COMMITTED / "cpu" / "generalization-gap.students.json")
    claim = next(finding for finding in record.findings if finding.equation == "gap-linear-in-rank")
    assert any("[−∞, 0.05]" in line for line in _lines(claim, "table"))
