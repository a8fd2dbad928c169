"""A statement of one's own beside those of the paper: found by its names, audited on demand, never in their way."""

import pytest

import theorykit as tk
from theorykit import statements
from theorykit.errors import InputError
from theorykit.statements import STATEMENTS, Equation, Kind, Statement, find_statement, register
from theorykit.statements.audit import run_audit
from theorykit.statements.evidence import Effort, search
from theorykit.verdicts import Form, Instance, Verdict
from validation.claims.finding import Finding


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch):
    monkeypatch.setattr(statements, "_OWN", {})


def equation(key="own-bound", label="own bound", printed="x² ≤ x"):
    check = search(Form.PRINTED, "normal numbers", lambda generator, count: abs(generator.standard_normal(count)))
    return Equation(key, label, printed, "", (check,))


def own(slug="own-theorem", label="Own 1", key="own-bound", printed="x² ≤ x"):
    return Statement(slug, label, "A square", Kind.UPPER, (equation(key, printed=printed),))


def with_equations(*equations):
    return Statement("own-theorem", "Own 1", "A square", Kind.UPPER, equations)


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
        Finding("own-bound", Form.PRINTED, "a square", verdict, key="square")
    register(own())
    finding = Finding("own-bound", Form.PRINTED, "a square", verdict, ("VIOLATED",), key="square")
    assert finding.outcome == "right"


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
        (own(slug=""), "slug = '' is no text"),
        (own(slug="foo\tbar"), r"slug = 'foo\\tbar' is no text"),
        (own(slug="own-theorem\n"), r"slug = 'own-theorem\\n' is no text"),
        (own(slug=7), "slug = 7 is no text"),
        (own(label=None), "label = None is no text"),
        (own(key=b"own-bound"), "key = b'own-bound' is no text"),
        (own(slug="../foo"), "'../foo' cannot be asked for"),
        (own(slug="théorie"), "'théorie' cannot be asked for"),
        (own(slug="own--theorem"), "'own--theorem' cannot be asked for"),
        (own(key="own bound"), "'own bound' cannot be asked for"),
        (own(key="own-theorem"), "'own-theorem' stands for two things in own-theorem"),
        (own(key="own-1"), "'own-1' stands for two things in own-theorem"),
        (with_equations(equation(), equation(label="another")), "'own-bound' stands for two things in own-theorem"),
        (with_equations(), r"equations = \(\) is no tuple of equations"),
        (with_equations("own-bound"), r"equations = \('own-bound',\) is no tuple of equations"),
        (with_equations(equation(label="eq 11")), "the label 'eq 11' is the paper's: Theorem 1"),
        (with_equations(equation(label="Equation (11)")), r"the label 'Equation \(11\)' is the paper's: Theorem 1"),
        (with_equations(equation(label="theorem 1")), "the label 'theorem 1' is the paper's: Theorem 1"),
        (own(label="Table 1"), "the label 'Table 1' is the paper's"),
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
