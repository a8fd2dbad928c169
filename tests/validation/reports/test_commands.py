"""``python -m validation run`` on fake experiments: exit codes, refusals, records that are kept or made again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.validation.fakes import CHECKS, GAP, RECORDS, SGD, content
from theorykit.errors import InputError
from theorykit.verdicts import Form, Instance, Verdict
from validation.claims.experiment import Part, PartResult
from validation.claims.finding import Finding
from validation.claims.record import Made, Record, checksum_of, content_of, read_record
from validation.reports.run import contradictions, exit_code


def test_a_run_leaves_a_record_of_each_part_and_repeats_none(call):
    done = call("run")
    assert (done.code, done.err) == (0, "")
    assert [line.split(":")[0] for line in done.out.splitlines()[:-1]] == [
        "audit symbolic",
        f"{GAP} planted",
        f"{SGD} students",
    ]
    files = {file.name: file.stat().st_mtime_ns for file in RECORDS.iterdir()}
    assert set(files) == {"audit.symbolic.json", f"{GAP}.planted.json", f"{SGD}.students.json"}
    made = json.loads((RECORDS / f"{SGD}.students.json").read_text())["made"]
    assert {"command", "commit", "machine", "environment", "seconds", "time"} <= set(made)
    again = call("run")
    assert again.code == 0
    assert again.out.count("(kept)") == 3
    assert {file.name: file.stat().st_mtime_ns for file in RECORDS.iterdir()} == files


def test_two_runs_of_one_configuration_give_the_same_content(call):
    assert call("run", "--out", "one").code == 0
    assert call("run", "--out", "two").code == 0
    names = sorted(file.name for file in Path("one/smoke").iterdir())
    for name in names:
        first, second = (json.loads(Path(place, "smoke", name).read_text()) for place in ("one", "two"))
        assert first["content"] == second["content"]
    assert call("run", "--again", "--seed", 1).code == 0
    other = Path(".work/validation/smoke-seed-1")
    assert content(f"{GAP}.planted", other)["data"] != content(f"{GAP}.planted", Path("one/smoke"))["data"]


def test_other_settings_replace_a_record_and_again_repeats_it(call):
    assert call("run").code == 0
    before = content(f"{SGD}.students")
    assert call("run", seeds=1).code == 0
    assert content(f"{SGD}.students")["identity"] != before["identity"]
    assert len(content(f"{SGD}.students")["students"]) == 1
    assert "(kept)" not in call("run", "--again", seeds=1).out


@pytest.mark.parametrize(
    ("changes", "arguments", "code", "told"),
    [
        ({"off": 1.0}, [], 3, f"{GAP} planted control came out VIOLATED: a number by two routes"),
        ({"word": "VIOLATED"}, [], 3, f"{SGD} students contradicts the corrected eq-11: mean loss"),
        ({"undecided": True}, [], 0, ""),
        ({"undecided": True}, ["--strict"], 4, f"{GAP} planted eq-19: INCONCLUSIVE: a coin"),
        ({"word": "INCONCLUSIVE"}, ["--strict"], 4, f"{SGD} students eq-11: INCONCLUSIVE: mean loss"),
        ({"value": "VACUOUS"}, ["--strict"], 4, "HOLDS, VACUOUS"),
        ({"value": "VACUOUS"}, [], 0, ""),
        ({"raises": True}, [], 1, f"{GAP} planted failed: the text is too short"),
        ({"raises": True, "word": "VIOLATED"}, [], 1, "contradicts"),
    ],
)
def test_exit_codes_say_what_was_found(call, changes, arguments, code, told):
    done = call("run", *arguments, **changes)
    assert done.code == code
    assert told in done.err
    assert "Traceback" not in done.err
    assert (RECORDS / f"{SGD}.students.json").exists()  # whatever happened before it
    assert call("run", *arguments, **changes).code == code  # from the records


def test_a_part_that_failed_is_tried_again_and_debug_shows_why(call):
    assert call("run", raises=True).code == 1
    assert content(f"{GAP}.planted")["failure"] == "the text is too short"
    assert "(kept)" not in call("run", GAP, raises=True).out.splitlines()[1]
    assert call("run").code == 0


def test_an_interrupt_leaves_nothing_half_written(call):
    done = call("run", interrupt=True)
    assert (done.code, done.err) == (130, "interrupted\n")
    assert [file.name for file in RECORDS.iterdir()] == ["audit.symbolic.json"]
    assert call("run").code == 0


def test_students_that_diverge_are_counted_and_are_no_accident(call):
    done = call("run", SGD, learning_rate=[1e30], optimiser="sgd", seeds=2)
    assert done.code == 0
    assert "2 of 2 students lost" in done.out
    shown = call("show", "--json")
    row = next(row for row in json.loads(shown.out)["result"]["rows"] if row["equation"] == "eq-11" and row["findings"])
    assert "lost 2 of 2" in row["instances"]["students"]
    one = call("show", "theorem-1").out
    assert "lost 2 of 2 students: the" in one
    assert "not finite" in one


def test_students_that_die_make_a_run_fail(call):
    done = call("run", SGD, rank=[4000])
    assert done.code == 1
    assert "2 of 2 students ended: rank = 4000 is above" in done.err


def test_students_that_died_are_trained_again_and_those_that_diverged_are_not(call):
    assert call("run", SGD, "--part", "students").code == 0
    records = sorted(Path(".work/validation/students/records").glob("*.json"))
    for file, reason in zip(records, ("its process died (SIGKILL)", "the loss is not finite"), strict=True):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"failure": reason, "result": None}))
    done = call("run", SGD, "--part", "students", "--again")
    assert done.code == 0
    assert "1 of 2 students lost" in done.out
    assert [json.loads(file.read_text())["failure"] for file in records] == ["", "the loss is not finite"]


def test_a_part_whose_students_died_is_not_done(call):
    lost = {"rank": [4000]}
    assert call("run", SGD, **lost).code == 1
    assert "(kept)" not in call("run", SGD, **lost).out.splitlines()[1]


def test_students_without_their_measurements_are_lost(call):
    asked = {"measurements": ["gradient_norm"]}
    assert call("run", SGD, **asked).code == 0
    for folder in Path(".work/validation/students/runs").glob("*/"):
        shutil.rmtree(folder)
    done = call("run", SGD, "--again", **asked)
    assert done.code == 1
    assert "2 of 2 students ended: its measurements are gone from the store" in done.err


@pytest.mark.parametrize(
    ("key", "told"), [("eq-11", True), ("table-1-improvement", False), ("corollary-1-proof", False)]
)
def test_only_theorems_can_be_contradicted(key, told):
    """Two exponents of one rank cannot both be right, and the gain of one experiment is no law for another."""
    verdict = Verdict("by measurement", Instance.VIOLATED, reasons=("seen",), n_seeds=9)
    evidence = PartResult((Finding(key, Form.CORRECTED, "seen", verdict, key="seen"),))
    record = Record(content_of(SGD, "students", "smoke", 0, {}, evidence), Made("", ""), Path())
    assert bool(contradictions(record)) is told
    assert exit_code([record]) == (3 if told else 0)


BAD = {
    "run theorem-9": "there is no statement 'theorem-9'",
    "plan theorem-9": "there is no statement 'theorem-9'",
    "show theorem-9": "there is no statement 'theorem-9'",
    "run lemma-2": "'",
    "run truncation-error": "'truncation-error' is decided by theorykit audit, not by students",
    "plan eq-7": "'eq-7' is decided by theorykit audit, not by students",
    "run --preset huge": "preset = 'huge' is unknown",
    "plan --preset huge": "preset = 'huge' is unknown",
    "show --preset huge": "preset = 'huge' is unknown",
    "run --preset gpu": "the preset gpu has no part of",
    "run --part magic": "part = 'magic'",
    "run --part teacher": "the preset smoke has no teacher of",
    "run sgd-convergence --part planted": "the preset smoke has no planted of sgd-convergence",
    "run --seed -1": "seed = -1",
    "plan --seed -1": "seed = -1",
    "run --device abacus": "device 'abacus' is not there",
    "plan --device abacus": "device 'abacus' is not there",
    "run --executor magic": "executor = 'magic'",
    "run --address here": "address = 'here' is for a Ray cluster",
    "run --workers 0": "workers = 0",
    "run --out file": "cannot make file/smoke",
    "run --max-hours 0": "max_hours = 0 is not above 0",
    "run --max-hours 1e-6": "the plan is expected to take",
    "plan --max-hours 1e-6": "above --max-hours 1e-06",
    "show": "there are no records with seed 0",
    "show --from nowhere": "there are no records with seed 0 in nowhere",
    "show --format pdf": "format = 'pdf'",
    "run --part planted --part students --seed 1 --seed 2": "--seed is given 2 times: 1, 2",
    "train --method kd --method lrc": "--method is given 2 times: kd, lrc",
    "train --data=a --data b": "--data is given 2 times: a, b",
    "show -oa -ob": "--out is given 2 times: a, b",
}


@pytest.mark.parametrize("arguments", BAD)
def test_bad_input_is_one_line_before_anything_is_done(call, arguments, monkeypatch, tmp_path):
    monkeypatch.setattr("validation.reports.table.COMMITTED", tmp_path / "none")
    Path("file").touch()
    done = call(*arguments.split())
    assert done.code == 2
    assert arguments.startswith("plan") or not done.out  # a plan is told before it is refused
    error, hint = done.err.splitlines()
    assert error.startswith("error: ")
    assert BAD[arguments] in error
    assert len(hint) > len("hint: ")
    assert not list(Path().rglob("*.json"))


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"teacher": "./nothing"}, "there is no model at './nothing'"),
        ({"teacher": "scratch:vast"}, "'vast' is no size of a teacher from scratch"),
        ({"power": 0.5}, f"{SGD} students: the planned power of slope is 0.50, below 0.8"),
        ({"power": float("nan")}, "the planned power of slope is nan, below 0.8"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is(call, command, changes, told):
    done = call(command, **changes)
    assert done.code == 2
    assert command == "plan" or not done.out  # a plan is told before it is refused
    assert told in done.err.splitlines()[0]
    assert not list(Path().rglob("*.json"))


def test_a_text_that_is_missing_keeps_from_running_and_not_from_planning(call):
    assert call("plan", data="nothing.txt").code == 0
    done = call("run", data="nothing.txt")
    assert (done.code, done.out) == (2, "")
    assert "data = 'nothing.txt' is no text" in done.err


def test_a_low_power_runs_where_it_is_allowed_and_says_so(call):
    done = call("run", "--underpowered", power=0.5)
    assert done.code == 0
    assert "sgd-convergence students is underpowered, as allowed: slope 0.50" in done.err
    assert content(f"{SGD}.students")["settings"]["underpowered"] is True
    assert "underpowered" not in content(f"{GAP}.planted")["settings"]
    by_preset = call("run", power=0.5, underpowered=True)
    assert by_preset.code == 0
    assert "(kept)" in by_preset.out.splitlines()[2]
    assert "below 0.8: underpowered, as allowed" in call("plan", "--underpowered", power=0.5).out


@pytest.mark.parametrize("command", ["run", "show", "plan"])
def test_records_that_are_not_in_order_are_refused(call, command):
    assert call("run").code == 0
    file = RECORDS / f"{GAP}.planted.json"
    kept = json.loads(file.read_text())
    for change, told in (
        ({"schema_version": 99}, "has schema version 99, this is 2"),
        ({"content": kept["content"] | {"failure": "x"}}, "was changed after it was written"),
        ({"content": None}, "was changed after it was written"),
    ):
        file.write_text(json.dumps(kept | change))
        done = call(command)
        assert (done.code, done.out) == (2, "")
        assert told in done.err.splitlines()[0]
    file.write_text("[]")
    assert "is no record of an experiment" in call(command).err
    assert call("run", "--again").code == 0  # writes them anew


def test_a_record_of_another_preset_or_part_is_not_shown(call):
    assert call("run").code == 0
    kept = (RECORDS / f"{GAP}.planted.json").read_text()
    for place in ("smoke/copy.planted.json", f"cpu/{GAP}.planted.json"):
        file = RECORDS.parent / place
        file.parent.mkdir(exist_ok=True)
        file.write_text(kept)
        done = call("show", "--preset", place.split("/")[0])
        assert (done.code, done.out) == (2, "")
        assert f"holds {GAP} planted of preset smoke, seed 0: it was put there by hand" in done.err.splitlines()[0]
        file.unlink()


def spoil(change):
    """Write the record of the planted part anew with a change of its body, under a checksum that fits."""
    file = RECORDS / f"{GAP}.planted.json"
    body = json.loads(file.read_text())
    del body["checksum"]
    change(body)
    file.write_text(json.dumps(body | {"checksum": checksum_of(body)}))
    return file


def test_a_record_without_its_fields_is_refused(call):
    assert call("run", GAP).code == 0
    spoil(lambda body: body["content"].pop("identity"))
    done = call("run", GAP)
    assert (done.code, done.out) == (2, "")
    assert "is no record of an experiment" in done.err.splitlines()[0]


def test_verdicts_of_another_commit_are_drawn_again_from_the_same_students(call, monkeypatch):
    assert call("run").code == 0
    monkeypatch.setattr("theorykit.provenance.commit", lambda *_: "of another day")
    again = call("run")
    assert again.code == 0
    assert "(kept)" not in again.out
    assert read_record(Path(f".work/validation/smoke/{SGD}.students.json")).made.commit == "of another day"


@pytest.mark.parametrize("data", [{"x": object()}, {"x": {1}}])
def test_a_result_that_cannot_be_kept_is_a_failure_of_its_part_alone(call, monkeypatch, data):
    """What JSON cannot hold leaves a record that says so, and the parts behind it run."""
    monkeypatch.setitem(CHECKS[GAP].parts, "planted", Part(lambda ctx: PartResult((), data)))  # type: ignore[arg-type]
    done = call("run")
    assert done.code == 1
    assert "is not JSON serializable" in content(f"{GAP}.planted")["failure"]
    trace = content(f"{GAP}.planted")["trace"]
    assert 'File "validation/reports/run.py"' in trace
    assert str(Path(__file__).parents[3]) not in trace
    assert content(f"{SGD}.students")["failure"] == ""


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    "spoilt",
    [
        lambda body: body["content"].update(findings=[None]),
        lambda body: body["content"].update(findings=["x"]),
        lambda body: body.update(made=None),
        lambda body: body.update(made=[]),
        lambda body: body["content"].update(students=[{"identity": "x"}]),
        lambda body: body["made"].pop("commit"),
    ],
)
def test_records_of_either_schema_that_are_not_in_order_are_refused_in_words(call, version, spoilt):
    assert call("run", GAP).code == 0
    spoil(lambda body: body.update(schema_version=version))
    with pytest.raises(InputError, match="is no record of an experiment"):
        read_record(spoil(spoilt))


def test_a_record_with_two_findings_of_one_question_is_refused(call):
    assert call("run", GAP).code == 0
    file = spoil(lambda body: body["content"].update(findings=2 * body["content"]["findings"]))
    with pytest.raises(InputError, match="two findings answer eq-19 corrected routes"):
        read_record(file)
