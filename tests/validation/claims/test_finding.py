"""Findings are known by their questions and say how planted controls came out."""

from __future__ import annotations

from typing import Any

import pytest

from theorykit.errors import InputError
from theorykit.verdicts import Exponent, Form, Instance, Value, Verdict
from validation.claims.experiment import PartResult
from validation.claims.finding import Finding, Outcome


def finding(verdict: Verdict | None = None, **fields: Any) -> Finding:
    verdict = verdict or Verdict("as planted", Instance.HOLDS, Value.VACUOUS)
    given: dict[str, Any] = {"equation": "eq-19", "form": Form.PRINTED, "what": "a gap", "key": "gap"} | fields
    return Finding(verdict=verdict, **given)


def test_two_findings_of_one_question_are_refused() -> None:
    first, again = finding(of={"loss": "nats", "n": 8}), finding(what="the same gap", of={"n": 8, "loss": "nats"})
    assert first.question == again.question
    with pytest.raises(InputError, match="two findings answer eq-19 printed gap, n 8, loss nats"):
        PartResult((first, again))


@pytest.mark.parametrize("value", [True, float("nan"), float("inf")])
def test_a_configuration_has_texts_and_finite_numbers(value: Any) -> None:
    with pytest.raises(InputError, match="names no configuration"):
        finding(of={"n": value})


def test_an_interval_with_an_end_that_is_no_number_is_none() -> None:
    assert finding(interval=(float("nan"), 1.0)).interval is None


@pytest.mark.parametrize(
    "fields", [{"of": {"n": 16}}, {"key": "slope"}, {"form": Form.CORRECTED}, {"equation": "eq-21"}]
)
def test_another_configuration_key_form_or_equation_is_another_question(fields: dict[str, Any]) -> None:
    other = {"of": {"n": 8}} | fields
    assert len(PartResult((finding(of={"n": 8}), finding(**other))).findings) == 2


@pytest.mark.parametrize(
    ("expected", "verdict", "outcome"),
    [
        (("HOLDS", "VACUOUS"), Verdict("", Instance.HOLDS, Value.VACUOUS), Outcome.RIGHT),
        (("HOLDS",), Verdict("", Instance.HOLDS, Value.VACUOUS), Outcome.RIGHT),
        (("INFORMATIVE",), Verdict("", Instance.HOLDS, Value.VACUOUS), Outcome.WRONG),
        (("VIOLATED",), Verdict("", Instance.INCONCLUSIVE), Outcome.UNDECIDED),
        (("CONSISTENT",), Verdict("", Instance.HOLDS, exponent=Exponent.INDISTINGUISHABLE), Outcome.UNDECIDED),
        ((), Verdict("", Instance.VIOLATED), None),
    ],
)
def test_how_a_planted_control_came_out(expected: tuple[str, ...], verdict: Verdict, outcome: Outcome | None) -> None:
    assert finding(verdict, expected=expected).outcome is outcome


def test_its_words_stand_on_their_axes_and_reasons_are_added_behind_those_that_are_there() -> None:
    verdict = Verdict("", Instance.NOT_APPLICABLE, Value.VACUOUS, reasons=("first",))
    judged = finding(verdict).because("second", "third")
    assert judged.words == ("NOT_APPLICABLE", "VACUOUS")
    assert judged.sentence_words == "not applicable, vacuous"
    assert judged.verdict.reasons == ("first", "second", "third")
    assert judged.to_dict()["words"] == ["NOT_APPLICABLE", "VACUOUS"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"equation": "theorem-2"}, "'theorem-2' names a statement and no equation"),
        ({"equation": "eq-99"}, "eq-99"),
        ({"expected": ("TRUE",)}, "'TRUE' is no word of a verdict"),
    ],
)
def test_unknown_equations_and_words_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        finding(**fields)
