"""``theorykit audit`` and ``theorykit bound`` in-process."""

import json

import pytest

from theorykit.errors import InputError
from theorykit.statements import find_statement


@pytest.mark.parametrize("key", ["theorem-1", "eq-11", "11", "sgd-convergence"])
def test_one_statement_whole(run, key):
    done = run("audit", key, "--trials", 500)
    assert done.code == 0
    assert "REFUTED" in done.out
    assert "T = 10: average (T − 1)σ²/T against σ²/T" in " ".join(done.out.split())
    assert "not refuted in 500 trials" in " ".join(done.out.split())
    assert "assumes: L-smooth loss" in done.out


@pytest.mark.parametrize("form", ["md", "html", "latex", "json"])
def test_formats(run, form):
    done = run("audit", "eq-37", "--trials", 500, "--format", form)
    assert done.code == 0
    assert "REFUTED" in done.out
    opening = {"md": "| statement |", "html": "<table", "latex": "\\begin{longtable}", "json": "{"}[form]
    assert done.out.lstrip().startswith(opening)


def test_json_holds_the_evidence(run):
    document = json.loads(run("audit", "eq-37", "--trials", 500, "--json").out)
    row = document["result"]["rows"][0]
    assert row["truth"] == "REFUTED"
    assert row["corrected_truth"] == "PROVED"
    witness = next(part for part in row["evidence"] if part["method"] == "witness")
    assert witness["numbers"]["left"] > witness["numbers"]["right"]
    assert document["inputs"]["trials"] == 500


def test_a_file_is_written_whole(run, tmp_path):
    file = tmp_path / "audit.md"
    assert run("audit", "eq-1", "--format", "md", "-o", file).code == 0
    assert file.read_text(encoding="utf-8").startswith("| statement |")


def test_a_refuted_correction_ends_with_3(run, monkeypatch):
    from theorykit.statements import gradient_deviation

    monkeypatch.setattr(gradient_deviation, "factor_gradient_bound", gradient_deviation.printed_gradient_bound)
    done = run("audit", "eq-37", "--trials", 5000)
    assert done.code == 3
    assert "one layer, one factor: a ratio of" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("audit", "theorem-9"), "there is no statement 'theorem-9'"),
        (("audit", "--format", "pdf"), "format 'pdf' is not known"),
        (("audit", "eq-1", "--trials", 0), "at least 1 trial"),
        (("bound", "theorem-1", "n_steps"), "'n_steps' is not NAME=NUMBER"),
        (("bound", "theorem-1", "n_steps=many"), "'n_steps=many' is not NAME=NUMBER"),
        (("bound", "theorem-1", "n_steps=10"), "sgd-convergence needs smoothness"),
        (("bound", "theorem-2", "rank=0"), "sgd"),
        (("bound", "nothing"), "there is no statement 'nothing'"),
    ],
)
def test_bad_input(run, arguments, message):
    done = run(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert "error: " in done.err
    if message != "sgd":
        assert message in done.err


def test_a_bound_with_a_list(run):
    shape = ("rows=768", "columns=768", "n_samples=100000")
    done = run("bound", "eq-21", *shape, "rank=8,64,256")
    assert done.code == 0
    assert done.out.count("VACUOUS") >= 3
    document = json.loads(run("bound", "eq-21", *shape, "rank=8,64,256", "--json").out)
    printed = document["result"]["forms"][0]
    assert [round(value) for value in printed["values"]] == [447, 3579, 14316]


def test_a_bound_whose_assumption_fails_gives_no_number(run):
    arguments = ("n_steps=10", "smoothness=2", "initial_gap=1", "gradient_variance=1", "step_size=1")
    done = run("bound", "theorem-1", *arguments)
    assert done.code == 0
    assert "NOT_APPLICABLE: step_size is 2/smoothness" in done.out


def test_what_a_bound_takes(run):
    done = run("bound", "theorem-1")
    assert done.code == 0
    for symbol in find_statement("theorem-1")[0].symbols:
        assert f"{symbol.name}=" in done.out


def test_the_library_raises_what_the_command_line_says():
    with pytest.raises(InputError, match="there is no statement"):
        find_statement("nothing")
