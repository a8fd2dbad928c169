"""The smoke preset as a user runs it: all experiments, in a folder that has nothing yet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from theorykit.statements import STATEMENTS
from validation.__main__ import main
from validation.claims.finding import Outcome
from validation.claims.record import read_records
from validation.reports.experiments import SLUGS

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    words = [sys.executable, "-m", "validation", "run", "--preset", "smoke"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run(words, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    return folder


@pytest.fixture
def harness(smoke, monkeypatch, capsys):
    """Return a function that gives other commands there, in this process; it returns what they write."""

    def call(*words):
        with pytest.raises(SystemExit) as ended:
            main([*words])
        found = capsys.readouterr()
        assert ended.value.code == 0, found.err
        return found.out

    monkeypatch.chdir(smoke)
    return call


def test_every_part_leaves_findings_and_no_planted_truth_is_missed(smoke):
    records = list(read_records(smoke / ".work" / "validation" / "smoke"))
    measured = [record for record in records if record.slug in SLUGS]
    assert {(record.slug, record.part) for record in measured} == {
        (slug, part) for slug in SLUGS for part in ("planted", "students")
    }
    for record in measured:
        assert record.findings, record.file
        assert not record.failure
        assert not record.lost
        if record.part == "planted":
            assert {finding.outcome for finding in record.findings} == {Outcome.RIGHT}, record.file
    assert sum(len(record.findings) for record in measured if record.part == "planted") >= 200


def test_show_has_every_equation_and_claim_printed_and_corrected(harness):
    rows = json.loads(harness("show", "--preset", "smoke", "--json"))["result"]["rows"]
    forms = {(row["equation"], row["form"]) for row in rows}
    for statement in STATEMENTS:
        for equation in statement.equations:
            assert (equation.key, "printed") in forms
            assert not equation.corrected or (equation.key, "corrected") in forms
    assert all(row["truth"] for row in rows if row["form"] != "instrument")


def test_a_second_run_repeats_nothing(smoke, harness):
    before = {file: file.stat().st_mtime_ns for file in (smoke / ".work" / "validation").rglob("*.json")}
    harness("run", "--preset", "smoke")
    after = {file: file.stat().st_mtime_ns for file in (smoke / ".work" / "validation").rglob("*.json")}
    assert after == before
