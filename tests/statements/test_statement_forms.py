"""Statements as data: every equation is there, and each numeric bound is its sympy expression."""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

from theorykit.errors import InputError
from theorykit.statements import STATEMENTS, Kind, find_statement
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
    assert {names[symbol] for symbol in free} <= set(form.arguments)
    function = sp.lambdify(free, form.expression, modules="numpy")
    for given in points(statement):
        values = statement.values(given)
        expected = float(function(*(values[names[symbol]] for symbol in free)))
        if not np.isclose(float(form(values)), expected, rtol=1e-9, atol=1e-12):
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
        assert equation.checks, f"{equation.key} has no check"
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
    assert forms["corrected"].instance == "NOT_APPLICABLE"
    assert forms["corrected"].values == ()
    assert "above the 1/L" in forms["corrected"].reason
    assert forms["printed"].values


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
