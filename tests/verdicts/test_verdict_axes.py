from __future__ import annotations

import dataclasses
import json

import pytest

from theorykit.results import to_json
from theorykit.verdicts import Exponent, Instance, Rows, Truth, Value, Verdict, expectation_verdict


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        (Truth, {"PROVED", "REFUTED", "AMBIGUOUS", "UNDECIDED"}),
        (Instance, {"HOLDS", "VIOLATED", "INCONCLUSIVE", "NOT_APPLICABLE", "NOT_RUN", "UNFALSIFIABLE"}),
        (Value, {"INFORMATIVE", "DOMINATED", "VACUOUS"}),
        (Exponent, {"CONSISTENT", "INCONSISTENT", "INDISTINGUISHABLE"}),
    ],
)
def test_the_axes(axis, values):
    assert {str(value) for value in axis} == values


@pytest.mark.parametrize(
    ("verdict", "sentence"),
    [
        (Verdict("", Instance.HOLDS, Value.VACUOUS), "holds and is vacuous: true but says nothing"),
        (Verdict("", Instance.HOLDS, Value.DOMINATED), "holds and is dominated: a simpler known bound is tighter"),
        (Verdict("", Instance.HOLDS, Value.INFORMATIVE), "holds and is informative"),
        (Verdict("", Instance.HOLDS), "holds"),
        (Verdict("", Instance.VIOLATED, Value.VACUOUS), "is violated"),
        (Verdict("", Instance.INCONCLUSIVE, Value.VACUOUS), "is inconclusive and is vacuous in any case"),
        (Verdict("", Instance.INCONCLUSIVE, Value.INFORMATIVE), "is inconclusive"),
        (Verdict("", Instance.NOT_APPLICABLE), "does not apply"),
        (Verdict("", Instance.NOT_RUN), "was not run"),
        (Verdict("", Instance.HOLDS, exponent=Exponent.CONSISTENT), "holds; the exponent is consistent"),
        (Verdict("", Instance.HOLDS, truth=Truth.REFUTED), "refuted in general; here it holds"),
    ],
)
def test_one_line(verdict, sentence):
    assert verdict.sentence == sentence


def test_a_verdict_is_written_as_strict_json_and_as_a_table():
    verdict = expectation_verdict([[1.0, 1.2, 0.9], [-1.0, 0.1, 0.2]], 3.0, trivial=2.0, names=["a", "b"])
    written = json.loads(to_json(verdict))
    assert (written["instance"], written["value"], written["truth"]) == ("HOLDS", "VACUOUS", "UNDECIDED")
    assert [row["name"] for row in written["evidence"]["rows"]] == ["a", "b"]
    assert verdict.to_frame()["sentence"].tolist() == [verdict.sentence]
    assert verdict.evidence.to_frame()["name"].tolist() == ["a", "b"]
    assert len(verdict.evidence.rows[0].to_frame()) == 1
    assert "<table" in verdict._repr_html_()
    with pytest.raises(dataclasses.FrozenInstanceError):
        verdict.instance = Instance.VIOLATED  # type: ignore[misc]


def test_the_representation_tells_the_whole_story():
    verdict = expectation_verdict([1.0, 1.2, float("nan")], 3.0, trivial=2.0, statement="eq 11")
    lines = repr(verdict).splitlines()
    assert lines[0] == "eq 11: is inconclusive and is vacuous in any case"
    assert "bound / measured = 2.73" in lines[1]
    assert "n = 3, alpha = 0.05" in lines[2]
    assert any("1 of 3 runs failed" in line for line in lines[3:])
    assert repr(Verdict("", Instance.NOT_RUN)).splitlines() == ["was not run", "  no test, n = 0"]


def test_rows_are_a_table():
    assert Rows(()).to_frame().empty
