"""The rule for readings, case by case, and that it reaches the audit's row."""

import itertools

import pytest

from theorykit.statements import STATEMENTS
from theorykit.statements.audit import run_audit, summary_of
from theorykit.statements.evidence import Effort, Form, Found, computation
from theorykit.statements.readings import JudgedReading, Reading, truth_over
from theorykit.statements.statement import Equation, Kind
from theorykit.verdicts import Truth

P, R, U, A = Truth.PROVED, Truth.REFUTED, Truth.UNDECIDED, Truth.AMBIGUOUS


@pytest.mark.parametrize(
    ("truths", "typed", "expected"),
    [
        ([R], [True], R),
        ([R], [False], R),  # nothing well-typed is left
        ([R, R], [True, True], R),
        ([R, P], [True, True], A),
        ([R, U], [True, True], A),  # the charitable one does not fail
        ([P, U], [True, True], A),
        ([R, P], [False, True], A),
        ([P, R], [False, True], R),  # the most charitable well-typed one fails
        ([U, R, R], [False, True, True], R),
        ([P, P], [False, True], P),
        ([U, U], [True, True], U),
    ],
)
def test_the_rule(truths, typed, expected):
    for order in itertools.permutations(range(len(truths))):
        readings = [JudgedReading(str(i), "", typed[i], truths[i]) for i in order]
        assert truth_over(readings) is expected


def check(truth, side=Form.PRINTED):
    return computation(side, "planted", lambda: Found(truth, "planted"))


def row(*readings, checks=(), kind=Kind.CLAIM):
    equation = Equation("planted", "planted", "words", checks=checks, kind=kind, readings=readings)
    return run_audit([(STATEMENTS[0], equation)], effort=Effort(1)).rows[0]


def test_a_planted_claim_is_judged_by_its_readings():
    one, other = Reading("one", "first", (check(R),)), Reading("other", "second", (check(P),))
    assert row(one).truth is R
    assert row(one, other).truth is A
    assert summary_of(row(one, other))["verdict"] == "AMBIGUOUS: one REFUTED, other PROVED"
    assert [part.reading for part in row(one, other).evidence] == ["one", "other"]
    assert row(Reading("none", "no evidence", ())).truth is U


def test_evidence_on_all_readings_counts_for_each_and_that_on_other_forms_for_none():
    open_reading = Reading("open", "", (check(U),))
    assert row(open_reading, checks=(check(R),)).truth is R
    assert row(open_reading, checks=(check(R, Form.REMARK), check(R, Form.CORRECTED))).truth is U


def test_a_premise_has_no_verdict_whatever_its_readings():
    assert row(Reading("one", "", (check(R),)), kind=Kind.PREMISE).truth is None
