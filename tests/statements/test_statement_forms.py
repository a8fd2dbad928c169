"""Statements as data: every equation is there, and each numeric bound is its sympy expression."""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

from theorykit.convergence import tuned_step_size
from theorykit.errors import InputError
from theorykit.statements import STATEMENTS, Kind, find_statement
from theorykit.statements.audit import run_audit
from theorykit.statements.evaluation import evaluate_bound

FORMS = [
    pytest.param(statement, name, id=f"{statement.slug}-{name}") for statement in STATEMENTS for name in statement.forms
]


def points(statement, count=40):
    """Draw points of the domain; ranks stay within the matrix, radii below B and steps below 1/L."""
    generator = np.random.default_rng(1)
    for _ in range(count):
        given = {}
        for symbol in statement.symbols:
            if symbol.integer:
                given[symbol.name] = float(generator.integers(max(symbol.low, 1), 60))
            elif np.isinf(symbol.high):
                given[symbol.name] = float(10.0 ** generator.uniform(-2, 2))
            else:
                given[symbol.name] = float(generator.uniform(symbol.low, symbol.high))
        if "rank" in given and "rows" in given:
            given["rank"] = min(given["rank"], given["rows"], given["columns"])
        if "radius" in given:
            given["radius"] = given["frobenius_bound"] * generator.uniform(0.01, 0.99)
        if "step_size" in given:
            given["step_size"] = generator.uniform(0.01, 1) / given["smoothness"]
        yield given


def agrees(statement, form):
    """Tell whether a form's function equals its sympy expression at random points."""
    names = {symbol.symbol: symbol.name for symbol in statement.symbols}
    free = sorted(form.expression.free_symbols, key=str)
    assert {*free} <= names.keys()
    function = sp.lambdify(free, form.expression, modules="numpy")
    for given in points(statement):
        values = statement.values(given)
        expected = float(function(*(values[names[symbol]] for symbol in free)))
        if not np.isclose(float(statement.bound(form, values)), expected, rtol=1e-9, atol=1e-12):
            return False
    return True


def test_all_numbered_equations_are_reachable_by_number():
    for number in range(1, 38):
        for key in (f"eq-{number}", f"eq {number}", str(number)):
            assert find_statement(key)[1].key == f"eq-{number}"


@pytest.mark.parametrize(
    ("key", "slug"),
    [
        ("lemma-1", "gradient-preservation"),
        ("theorem-1", "sgd-convergence"),
        ("Corollary 1", "optimal-rank"),
        ("theorem-2", "generalization-gap"),
        ("definition-1", "rademacher-complexity"),
        ("theorem-3", "cloning-information"),
        ("definition-2", "mutual-information"),
        ("assumption-1", "smoothness"),
        ("appendix-a", "gradient-deviation"),
        ("covering-number", "covering-number"),
    ],
)
def test_labels_of_the_paper(key, slug):
    assert find_statement(key)[0].slug == slug


@pytest.mark.parametrize(
    ("key", "label"),
    [
        ("theorem1", "Theorem 1"),
        ("Thm1", "Theorem 1"),
        ("thm. 1", "Theorem 1"),
        ("thm-2", "Theorem 2"),
        ("cor 1", "Corollary 1"),
        ("lemma1", "Lemma 1"),
        ("Def. 2", "Definition 2"),
        ("assumption3", "Assumption 3"),
    ],
)
def test_short_names(key, label):
    assert find_statement(key)[0].label == label


@pytest.mark.parametrize("key", ["Eq. (11)", "eq11", "(11)", "Equation 11", "eq_11", 11])
def test_short_names_of_equations(key):
    assert find_statement(key)[1].key == "eq-11"


@pytest.mark.parametrize("key", [None, 1.5, True, [], {"a": 1}, b"eq-1", float("nan")])
def test_what_is_no_name_is_refused(key):
    with pytest.raises(InputError, match="is not the name of a statement") as raised:
        find_statement(key)
    assert raised.value.hint.startswith("give theorem-1")


@pytest.mark.parametrize("keys", [5.0, [None], [("eq-1", None)]])
def test_an_audit_of_what_is_no_name_is_refused(keys):
    with pytest.raises(InputError, match="is not the name of a statement"):
        run_audit(keys)


@pytest.mark.parametrize(("key", "near"), [("convergence", "sgd-convergence"), ("theorm-3", "theorem-3")])
def test_the_nearest_name_is_offered(key, near):
    with pytest.raises(InputError) as raised:
        find_statement(key)
    assert raised.value.hint.startswith(f"did you mean {near}?")


def test_no_name_means_two_things():
    slugs = [statement.slug for statement in STATEMENTS]
    keys = [equation.key for statement in STATEMENTS for equation in statement.equations]
    assert len(set(slugs)) == len(slugs)
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("key", ["theorem-4", "eq-38", "eq-0", "", "convergence"])
def test_an_unknown_statement_is_named(key):
    with pytest.raises(InputError, match="there is no statement"):
        find_statement(key)


@pytest.mark.parametrize(("statement", "name"), FORMS)
def test_the_numeric_bound_is_its_expression(statement, name):
    assert agrees(statement, statement.forms[name])


@pytest.mark.parametrize("factor", [0.5, 2.0])
@pytest.mark.parametrize(("statement", "name"), FORMS)
def test_a_bound_that_is_off_by_a_factor_of_two_is_seen(statement, name, factor):
    form = statement.forms[name]
    if form.expression == 0:
        return
    mutated = replace(form, evaluate=lambda **given: factor * np.asarray(form.evaluate(**given)))
    assert not agrees(statement, mutated)


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement.slug)
def test_every_statement_says_what_it_is(statement):
    assert statement.title
    assert statement.equations
    for equation in statement.equations:
        assert equation.printed
        assert equation.checks or equation.readings, f"{equation.key} has no check"
        assert all(reading.claim and reading.checks for reading in equation.readings)
        assert len({reading.key for reading in equation.readings}) == len(equation.readings) != 1
    for symbol in statement.symbols:
        assert symbol.meaning


@pytest.mark.parametrize(
    ("slug", "given", "message"),
    [
        ("theorem-1", {"n_steps": 0}, "n_steps = 0 is not a whole number in"),
        ("theorem-1", {"n_steps": 2.5}, "n_steps = 2.5 is not a whole number in"),
        ("theorem-1", {"smoothness": -1}, "smoothness = -1 is not a number in"),
        ("theorem-1", {"smoothness": float("nan")}, "smoothness = nan lies outside"),
        ("theorem-1", {"smoothness": True}, "smoothness is not made of real numbers: True"),
        ("theorem-1", {"smoothness": []}, "smoothness is empty"),
        ("theorem-1", {"speed": 1}, "sgd-convergence has no argument 'speed'"),
        ("theorem-1", {"n_steps": [0, -1]}, "n_steps = 0 is not a whole number in"),
        ("eq-1", {"rows": 2, "columns": 2, "rank": 3}, "rank = 3 lies outside"),
        ("theorem-1", {"smoothness": "fast"}, "smoothness is not made of real numbers: 'fast'"),
        ("theorem-2", {"delta": 1}, "delta = 1 is not a number in"),
        ("theorem-2", {"delta": 0}, "delta = 0 is not a number in"),
        ("covering-number", {"rank": 0}, "rank = 0 is not a whole number in"),
        ("covering-number", {"rank": 4}, "rank"),
        ("eq-7", {}, "truncation-error has no bound that can be evaluated"),
    ],
)
def test_bad_arguments(slug, given, message):
    statement = find_statement(slug)[0]
    good = next(points(statement)) if statement.symbols else {}
    if slug == "covering-number":
        good |= {"rows": 3, "columns": 3}
    with pytest.raises(InputError, match=message):
        evaluate_bound(statement, good | given)


def test_a_missing_argument_is_named():
    with pytest.raises(InputError, match="sgd-convergence needs smoothness"):
        evaluate_bound(find_statement("theorem-1")[0], {"n_steps": 10})


def test_a_step_above_the_limit_is_not_applicable_and_no_number():
    statement = find_statement("theorem-1")[0]
    found = evaluate_bound(
        statement, {"n_steps": 10, "smoothness": 2, "initial_gap": 1, "gradient_variance": 1, "step_size": 1}
    )
    forms = {form.form: form for form in found.forms}
    assert forms["corrected"].worth == ("NOT_APPLICABLE",)
    assert np.isnan(forms["corrected"].values).all()
    assert "above the 1/L" in forms["corrected"].reasons[0]
    assert np.isfinite(forms["printed"].values).all()


GOOD = {"n_steps": 100, "smoothness": 2.0, "initial_gap": 1.0, "gradient_variance": 0.5}


def test_one_bad_entry_of_a_list_costs_one_point():
    statement = find_statement("theorem-1")[0]
    forms = {form.form: form for form in evaluate_bound(statement, GOOD | {"step_size": [0.5, 2.0, 0.1]}).forms}
    assert np.isfinite(forms["corrected"].values).tolist() == [True, False, True]
    assert forms["corrected"].worth == ("", "NOT_APPLICABLE", "")
    found = evaluate_bound(find_statement("eq-21")[0], {"rows": 8, "columns": 8, "rank": [2, 9, 0], "n_samples": 10})
    for form in found.forms:
        assert np.isfinite(form.values).tolist() == [True, False, False]
        assert form.reasons[1:] == ("rank = 9 lies outside [1, 8]", "rank = 0 is not a whole number in [1, inf)")
    assert found.arguments["input_norm"] == (1.0, 1.0, 1.0)


def test_the_tuned_step_is_the_default():
    statement = find_statement("theorem-1")[0]
    found = evaluate_bound(statement, GOOD | {"n_steps": [1, 100]})
    assert found.arguments["step_size"] == pytest.approx((0.5, tuned_step_size(**GOOD)))
    corrected = next(form for form in found.forms if form.form == "corrected")
    for step in (0.02, 0.05, 0.3):
        at_step = evaluate_bound(statement, GOOD | {"step_size": step})
        assert next(form for form in at_step.forms if form.form == "corrected").values[0] > corrected.values[1]
    assert corrected.values[1] == pytest.approx(2 * np.sqrt(2 * 2.0 * 0.5 / 100))
    with pytest.raises(InputError, match="the tuned step is 0"):
        evaluate_bound(statement, GOOD | {"initial_gap": 0})


def test_a_refuted_form_is_not_called_informative():
    given = {"n_steps": 100, "smoothness": 2.0, "initial_gap": 1.0, "gradient_variance": 0.5}
    printed = evaluate_bound(find_statement("theorem-1")[0], given).forms[0]
    assert printed.truth == "REFUTED"
    assert printed.worth == ("REFUTED as stated",)


def test_a_constant_that_is_too_large_at_one_point_is_refuted_there_alone():
    """Eq 23: a const up to (d/2)(log(dσ²) + 1) − log d follows from log x ≤ x − 1; at σ² = 10⁻⁶ const = 0 is false."""
    best = 32 * (np.log(64) + 1) - np.log(64)
    given = {"clone_loss": [0.05, 0.05, 1.28e-4, 20], "dimension": 64, "variance": [1, 1, 1e-6, 1]}
    printed = evaluate_bound(find_statement("theorem-3")[0], given | {"constant": [best, 2 * best, 0, best]}).forms[0]
    assert printed.truth == "PROVED"
    assert printed.worth == ("INFORMATIVE", "REFUTED as stated", "REFUTED as stated", "VACUOUS")
    assert [bool(reason) for reason in printed.refuted] == [False, True, True, False]
    assert "the largest with which eq 23 holds" in printed.refuted[1]


def test_an_ambiguous_form_says_so():
    printed = evaluate_bound(find_statement("eq-1")[0], {"rows": 8, "columns": 8, "rank": 2}).forms[0]
    assert (printed.truth, printed.worth) == ("AMBIGUOUS", ("AMBIGUOUS",))


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement.slug)
def test_every_printed_form_names_the_equation_of_its_verdict(statement):
    keys = {equation.key for equation in statement.equations}
    for name, form in statement.forms.items():
        assert (form.equation in keys) if name == "printed" else not form.equation


def test_overflow_is_infinite_and_silent():
    huge = GOOD | {"initial_gap": 1e308, "smoothness": 1e308, "n_steps": 1}
    found = evaluate_bound(find_statement("theorem-1")[0], huge)
    assert found.forms[0].values == (np.inf,)


def test_worth_beside_the_competitors():
    printed = evaluate_bound(
        find_statement("eq-21")[0], {"rows": 768, "columns": 768, "rank": [8, 64], "n_samples": 100_000}
    )
    worth = {form.form: form.worth for form in printed.forms}
    assert set(worth["printed"]) == {"VACUOUS"}
    small = evaluate_bound(find_statement("eq-21")[0], {"rows": 2, "columns": 2, "rank": 1, "n_samples": 100_000})
    worth = {form.form: form.worth for form in small.forms}
    assert (worth["printed"], worth["corrected"]) == (("DOMINATED",), ("INFORMATIVE",))
    information = evaluate_bound(find_statement("theorem-3")[0], {"clone_loss": [0.5, 9], "dimension": 4})
    assert {form.form: form.worth for form in information.forms}["corrected"] == ("INFORMATIVE", "VACUOUS")
    assert find_statement("theorem-3")[0].kind == Kind.LOWER


def test_lists_of_different_lengths_are_refused():
    given = {"rows": [2, 3], "columns": [2, 3, 4], "rank": 1, "n_samples": 10}
    with pytest.raises(InputError, match="arguments of different lengths"):
        evaluate_bound(find_statement("eq-21")[0], given)
