"""``theorykit audit`` and ``theorykit bound`` in-process."""

import json
import re

import pytest
from rich.cells import cell_len

from theorykit.errors import InputError
from theorykit.latex import latex_text
from theorykit.statements import find_statement

KNOWN_COMMANDS = (
    "input begin end usepackage footnotesize sloppy linewidth hline endhead item ensuremath hat tilde frac "
    "textasciicircum textbackslash S ldots pm cdot times to nabla surd propto int le ge langle rangle "
    "Delta Sigma alpha beta delta epsilon eta theta kappa lambda pi rho sigma tau xi"
)


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
    opening = {"md": "| statement |", "html": "<table", "latex": "% \\input this", "json": "{"}[form]
    assert done.out.lstrip().startswith(opening)
    assert "Huber loss with L = 1: computed 0.32" in done.out, "the witness"
    assert "…" not in done.out.replace("if …", "").replace("‖P_right‖ …", ""), "nothing is cut"


@pytest.mark.parametrize("form", ["table", "md", "html", "latex", "csv"])
def test_every_format_has_the_readings(run, form):
    out = " ".join(run("audit", "eq-8", "--trials", 500, "--format", form).out.split())
    assert "AMBIGUOUS: literal REFUTED, appendix PROVED" in out
    if form != "csv":
        assert "read as literal, ill-typed, REFUTED: a gradient by the factors less a gradient by W" in out


def test_json_has_the_readings(run):
    rows = json.loads(run("audit", "eq-8", "--trials", 500, "--json").out)["result"]["rows"]
    assert rows[0]["truth"] == "AMBIGUOUS"
    found = {reading["key"]: (reading["truth"], reading["well_typed"]) for reading in rows[0]["readings"]}
    assert found == {"literal": ("REFUTED", False), "appendix": ("PROVED", True)}
    assert {part["reading"] for part in rows[0]["evidence"]} == {"literal", "appendix", ""}


def test_a_refuted_constant_is_said_on_the_line(run):
    out = run("bound", "theorem-3", "clone_loss=1.28e-4", "dimension=64", "variance=1e-6").out
    assert "REFUTED as stated" in out
    assert "REFUTED: constant = 0 is above" in out
    assert "REFUTED" not in run("bound", "theorem-3", "clone_loss=0.05", "dimension=64").out


def test_latex_is_ascii_that_plain_pdflatex_reads(run):
    text = run("audit", "--trials", 500, "--format", "latex").out
    assert text.isascii()
    assert "[U+" not in text, "a character without a translation"
    assert text.count("{") - text.count("\\{") == text.count("}") - text.count("\\}")
    bare = re.sub(r"\\ensuremath\{(?:[^{}]|\{[^{}]*\}|\{[^{}]*\{[^{}]*\}[^{}]*\})*\}", "", text)
    assert not re.search(r"(?<!\\)[_^$#<>|]", bare.split("\\begin{longtable}", 1)[1])
    commands = set(re.findall(r"\\[a-zA-Z]+", text))
    assert commands <= {f"\\{name}" for name in KNOWN_COMMANDS.split()}
    assert text.count("\\begin{") == text.count("\\end{")


def test_what_latex_has_no_sign_for_is_named():
    assert latex_text("☃ é ñ 5 % <") == "[U+2603] \\'{e} \\ensuremath{\\tilde{n}} 5 \\% \\ensuremath{<}"


def test_html_is_escaped_and_whole(run):
    text = run("audit", "eq-11", "--trials", 500, "--format", "html").out
    assert "&lt;" in text or "<r" not in text
    assert "η ≤ 1/L: 2Δ/(ηT) + Lησ² + β²; tuned η: 2LΔ/T + 2σ(2LΔ/T)^½ + β²; β = 0 for SGD on the factors" in text


def test_the_whole_table_is_short_on_a_narrow_terminal(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = run("audit", "--trials", 500).out.splitlines()
    assert max(map(cell_len, lines)) <= 80
    assert len(lines) < 105
    assert not any("AMBIGUOUS: literal" in line for line in lines), "what each reading says takes more room"
    rows = [line.split() for line in lines if line.startswith("eq ")]
    assert ["eq", "11", "REFUTED", "PROVED"] in [row[:4] for row in rows]
    assert ["eq", "5", "premise", "not", "refuted"] in [row[:5] for row in rows]


def test_the_legend_explains_the_table(run):
    out = " ".join(run("audit", "--trials", 500).out.split())
    assert "—: no such form, or no check of it" in out
    assert "trials ≤ x: a search found no violation, which proves nothing" in out


def test_json_holds_the_evidence(run):
    document = json.loads(run("audit", "eq-37", "--trials", 500, "--json").out)
    row = document["result"]["rows"][0]
    assert row["truth"] == "REFUTED"
    assert row["corrected_truth"] == "PROVED"
    witness = next(part for part in row["evidence"] if part["method"] == "witness")
    assert witness["numbers"]["computed"] > witness["numbers"]["printed"]
    assert document["inputs"]["trials"] == 500


def test_a_file_is_written_whole(run, tmp_path):
    file = tmp_path / "audit.md"
    assert run("audit", "eq-1", "--format", "md", "-o", file).code == 0
    assert file.read_text(encoding="utf-8").startswith("| statement |")


def test_a_refuted_correction_ends_with_3(run, monkeypatch):
    from theorykit.statements import lemma_1

    monkeypatch.setattr(lemma_1, "factor_gradient_bound", lemma_1.printed_gradient_bound)
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
        (("bound", "theorem-1", "n_steps=1_0"), "'n_steps=1_0' is not NAME=NUMBER"),
        (("bound", "theorem-1", "n_steps=nan"), "'n_steps=nan' is not NAME=NUMBER"),
        (("bound", "theorem-1", "n_steps=1,,2"), "'n_steps=1,,2' is not NAME=NUMBER"),
        (("bound", "theorem-1", "=3"), "'=3' is not NAME=NUMBER"),
        (("bound", "eq-21", "rows=3", "rows=4"), "rows is given twice"),
        (("bound", "eq-21", "rank=3", "row=4"), "hint: did you mean rows?"),
        (("audit", "theorm-1"), "hint: did you mean theorem-1?"),
        (("bound", "covering"), "hint: did you mean covering-number?"),
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


def test_the_tuned_step_is_reached_by_leaving_it_out(run):
    done = run("bound", "thm1", "n_steps=100", "smoothness=1", "initial_gap=1", "gradient_variance=0.1")
    assert done.code == 0
    assert "0.447214" in done.out
    assert "REFUTED as stated" in done.out
    assert "INFORMATIVE" not in done.out
    assert "min(1/L, sqrt(2Δ/(Lσ²T)))" in run("bound", "thm1").out


@pytest.mark.filterwarnings("error")
def test_an_overflow_is_said_and_warns_of_nothing(run):
    arguments = ("n_steps=10", "smoothness=1e308", "initial_gap=1e308", "gradient_variance=1", "step_size=1e-308")
    done = run("bound", "theorem-1", *arguments)
    assert (done.code, done.err) == (0, "")
    assert "corrected is infinite at 1 of 1 points: it passes 1.8e308" in done.out
    assert run("bound", "theorem-1", *arguments, "--json").document["warnings"][0].startswith("printed is infinite")


def test_one_bad_rank_of_a_list(run):
    done = run("bound", "eq-21", "rows=8", "columns=8", "n_samples=100", "rank=2,9")
    assert done.code == 0
    assert done.out.count("NOT_APPLICABLE: rank = 9 lies outside [1, 8]") == 1
    assert "INFORMATIVE" in done.out
    assert "nan" not in done.out


def test_both_costs_of_eq_1_are_told(run):
    out = " ".join(run("bound", "eq-1", "rows=768", "columns=768", "rank=64").out.split())
    assert "printed 0.166667 printed is AMBIGUOUS corrected 0.00694444" in out
    assert "two factors of an m × n matrix (R2) it costs the printed r(m + n)/(mn)" in out


def test_what_a_bound_takes(run):
    done = run("bound", "theorem-1")
    assert done.code == 0
    for symbol in find_statement("theorem-1")[0].symbols:
        assert f"{symbol.name}=" in done.out


def test_the_library_raises_what_the_command_line_says():
    with pytest.raises(InputError, match="there is no statement"):
        find_statement("nothing")


def test_the_command_walks_a_text(run, tmp_path):
    paper = tmp_path / "paper.txt"
    paper.write_text("Abstract\n\nPigs fly at 3 m/s. So it is.\n\nReferences\n\nNobody.\n", encoding="utf-8")
    done = run("audit", "--paper", paper)
    assert done.code == 0
    assert "2 not listed, 334 listed and not there" in done.out
    assert "abstract 1: Pigs fly at 3 m/s." in done.out
    result = json.loads(run("audit", "--paper", paper, "--json").out)["result"]
    assert [len(result[name]) for name in ("sentences", "unlisted", "missing")] == [2, 2, 334]
    assert run("audit", "--paper", paper, "--format", "csv").out.count("\n") == 3
    assert "--paper has no format 'html'" in run("audit", "--paper", paper, "--format", "html").err
    assert run("audit", "--paper", tmp_path / "none.txt").code == 2
