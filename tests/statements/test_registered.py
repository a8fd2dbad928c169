"""A statement of one's own beside those of the paper: found by its names, audited on demand, never in their way."""

import pytest

import theorykit as tk
from theorykit import statements
from theorykit.errors import InputError
from theorykit.statements import STATEMENTS, Equation, Kind, Statement, find_statement, register
from theorykit.statements.audit import run_audit
from theorykit.statements.evidence import Effort, Side, search
from theorykit.verdicts import Instance, Verdict
from validation.checks.finding import Finding, Form


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch):
    monkeypatch.setattr(statements, "_OWN", {})


def own(slug="own-theorem", label="Own 1", key="own-bound", printed="x² ≤ x"):
    check = search(Side.PRINTED, "normal numbers", lambda generator, count: abs(generator.standard_normal(count)))
    return Statement(slug, label, "A square", Kind.UPPER, (Equation(key, "own bound", printed, "", (check,)),))


def test_it_is_found_by_slug_label_and_equation():
    mine = register(own())
    assert find_statement("own-theorem") == (mine, None)
    assert find_statement("Own 1") == (mine, None)
    assert find_statement("own-bound") == (mine, mine.equations[0])
    assert tk.find_statement("own-bound")[0] is mine


def test_it_is_audited_by_name_and_left_out_of_the_audit_of_the_paper():
    register(own())
    found = run_audit("own-theorem", effort=Effort(100))
    assert [(row.key, row.truth) for row in found.rows] == [("own-bound", tk.Truth.REFUTED)]
    assert "own-theorem" not in {one.slug for one in STATEMENTS}
    whole = {row.statement for row in run_audit([one.slug for one in STATEMENTS[:2]], effort=Effort(1)).rows}
    assert "own-theorem" not in whole


def test_findings_can_be_about_it_once_it_is_there():
    verdict = Verdict("a square", Instance.VIOLATED)
    with pytest.raises(InputError, match="no statement 'own-bound'"):
        Finding("own-bound", Form.PRINTED, "a square", verdict)
    register(own())
    assert Finding("own-bound", Form.PRINTED, "a square", verdict, ("VIOLATED",)).outcome == "right"


def test_a_second_version_takes_the_place_of_the_first():
    register(own())
    register(own(printed="x² ≤ 2x"))
    assert find_statement("own-bound")[1].printed == "x² ≤ 2x"


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (own(slug="sgd-convergence"), "'sgd-convergence' is taken: Theorem 1"),
        (own(label="Theorem 1"), "'theorem-1' is taken: Theorem 1"),
        (own(key="eq-11"), "'eq-11' is taken: Theorem 1"),
        (own(slug="My Theorem"), "'My Theorem' cannot be asked for"),
        (own(key="thm9"), "'thm9' cannot be asked for"),
        ("own-theorem", "'own-theorem' is no statement"),
    ],
)
def test_names_that_are_taken_or_cannot_be_asked_for_are_refused(statement, message):
    with pytest.raises(InputError, match=message):
        register(statement)
    assert statements._OWN == {}


def test_a_name_of_another_own_statement_is_taken():
    register(own())
    with pytest.raises(InputError, match="'own-bound' is taken: Own 1, A square"):
        register(own(slug="second", label="Own 2"))
