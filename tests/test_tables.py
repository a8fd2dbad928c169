"""LaTeX that compiles, told by its structure: nothing is left that would be a command, and every row has its cells."""

import re

from theorykit.tables import Table, latex, markdown

NASTY = Table(
    "50 % & more_or_less",
    ("a_b", "c#d", "e"),
    [
        (r"\x", "{y}", "-1.5 [-2, 3e-4]"),
        ("~^$", "< > |", "½ ± 2"),
        ("w/o “λ”", "a-b, –", "$5"),
        ("", "", ""),
        ("[a]", "*", ""),
    ],
    "Δ ≥ 0, §5.2: 100 %",
)
SPECIAL = re.compile(r"(?<!\\)[%#_~^]")
KNOWN = {r"\begin", r"\end", r"\centering", r"\caption", r"\linewidth", r"\toprule", r"\midrule", r"\bottomrule"}
TEXT = {r"\textbackslash", r"\textasciitilde", r"\textasciicircum", r"\ensuremath", r"\S"}
MATHS = {r"\pm", r"\times", r"\ge", r"\lambda", r"\Delta", r"\tau", r"\frac"}


def check(table):
    body = [line for line in latex(table, ["from_here: 5 %"]).splitlines() if not line.startswith("% ")]
    text = "\n".join(body)
    assert set(re.findall(r"\\[a-zA-Z]+", text)) <= KNOWN | TEXT | MATHS
    assert not SPECIAL.search(text.replace(r"\\", ""))
    assert len(re.findall(r"(?<!\\)\$", text)) % 2 == 0
    assert not re.search(r"[<>|]", re.sub(r"\\ensuremath\{[<>|]\}", "", text))
    assert text.isascii(), "plain pdflatex stops at what it does not know"
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    opened = re.findall(r"\\begin\{(.*?)\}", text)
    assert re.findall(r"\\end\{(.*?)\}", text) == opened[::-1]
    rows = body[body.index(r"\midrule") + 1 : body.index(r"\bottomrule")]
    head = body[body.index(r"\toprule") + 1]
    columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text).group(1)
    assert len(rows) == len(table.rows)
    assert len(columns) == len(table.columns)
    for row in (head, *rows):
        assert row.endswith(r" \\")
        assert len(re.findall(r"(?<!\\)&", row)) == len(table.columns) - 1
        assert not row.startswith(("[", "*")), "the command that ends the row before would take it"


def test_latex_escapes_everything():
    check(NASTY)
    assert r"\ensuremath{-}1.5 [\ensuremath{-}2, 3e-4]" in latex(NASTY, [])


def test_latex_of_formulas_and_of_what_it_does_not_know():
    text = latex(Table("ε² ≤ ½", ["‖W‖ → ∞"], [["√n"], ["☃"]], "α ≈ 1"), [])
    assert r"\caption{\ensuremath{\epsilon}\ensuremath{^{2}} \ensuremath{\le} \ensuremath{\frac{1}{2}}. " in text
    assert r"\ensuremath{\|}W\ensuremath{\|} \ensuremath{\to} \ensuremath{\infty} \\" in text
    assert r"\ensuremath{\surd}n \\" in text
    assert r"{}[U+2603] \\" in text, "a bracket at the beginning of a row would be an argument"


TORN = Table("title", ["a", "b"], [["one\ntwo", r"x \| y"], ["\\", "|"]], "caption\n\nof two")


def test_a_line_break_divides_no_row_comment_or_caption():
    lines = latex(TORN, ["origin\nof two"]).splitlines()
    assert lines[0] == "% origin of two"
    assert r"\caption{title. caption of two}" in lines
    assert r"one two & x \textbackslash{}\ensuremath{|} y \\" in lines
    lines = markdown(TORN, ["origin\nof two --> three"]).splitlines()
    assert lines[lines.index("<!--") :] == ["<!--", "origin of two -- > three", "-->"]


def test_a_bar_or_a_backslash_divides_no_cell_of_markdown():
    rows = [line for line in markdown(TORN, []).splitlines() if line.startswith("| ")][2:]
    assert rows == [r"| one two | x \\\| y |", r"| \\ | \| |"]
