"""The notebooks run in a kernel of this Python, offline, and say what is committed."""

from __future__ import annotations

import copy
import functools
import io
import itertools
import json
import math
import os
import re
import subprocess
import sys
from base64 import b64decode, b64encode
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from theorykit import bundled_spectra, statements
from theorykit.rank_selection.calibrated import CalibrationSettings

ROOT = Path(__file__).parents[1]
NAMES = ("from_checkpoint_to_rank", "what_the_paper_gets_wrong", "validate_your_own_theorem")
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")
MOST_BYTES = 300_000
ROUNDING = {"from_checkpoint_to_rank": 0.05, "what_the_paper_gets_wrong": 0.0, "validate_your_own_theorem": 0.05}
"""Relative: numbers of trained models differ a little between processors, whose sums round in another order."""


def committed(name):
    return json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))


def code_of(notebook):
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def lines_of(code):
    """Return the lines that are neither empty nor a comment."""
    return [line for line in code.splitlines() if line.strip() and not line.strip().startswith("#")]


def outputs_of(notebook):
    """Return what each code cell gave, by kind (``text/plain``, ``text/html``, ``image/png``)."""
    return [
        [{kind: "".join(said) for kind, said in part.get("data", {"text": part.get("text")}).items()} for part in parts]
        for parts in (cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code")
    ]


def same_outputs(first, second, rounding):
    """Return whether two cells gave the same kinds of output, and each the same up to rounding.

    Where all texts are equal to the letter, the arithmetic is too, and pictures have to agree pixel by pixel.
    """
    if [list(part) for part in first] != [list(part) for part in second]:
        return False
    pairs = [(kind, part[kind], other[kind]) for part, other in zip(first, second, strict=True) for kind in part]
    return all(
        same_picture(one, two, reach=2 if rounding else 0) if kind == "image/png" else same_text(one, two, rounding)
        for kind, one, two in pairs
    )


def same_text(first, second, rounding):
    """Return whether two texts have the same words and whole numbers and, up to rounding, the same other numbers."""
    if NUMBER.sub("#", first).split() != NUMBER.sub("#", second).split():
        return False
    pairs = zip(NUMBER.findall(first), NUMBER.findall(second), strict=True)
    return all(one == two or _same_number(one, two, rounding) for one, two in pairs)


def _same_number(first, second, rounding):
    if first.replace(",", "").isdigit() or second.replace(",", "").isdigit():
        return False
    one, two = (float(text.replace(",", "")) for text in (first, second))
    digits = re.search(r"\.(\d+)$", first)
    unit = 1.01 * 10 ** -len(digits[1]) if digits else 0.0
    return math.isclose(one, two, rel_tol=rounding, abs_tol=unit)


def same_picture(first, second, reach):
    """Return whether the pixels of each have their like in the other: there, or but for a few within ``reach``."""
    one, two = (imread(io.BytesIO(b64decode(picture)))[..., :3] for picture in (first, second))
    if np.abs(np.subtract(one.shape, two.shape)).max() > reach:
        return False
    height, width, _ = np.minimum(one.shape, two.shape)
    one, two = one[:height, :width], two[:height, :width]
    shifts = list(itertools.product(range(-reach, reach + 1), repeat=2))
    for here, there in ((one, two), (two, one)):
        apart = [np.abs(here - np.roll(there, shift, (0, 1))).max(axis=2) for shift in shifts]
        if (np.min(apart, axis=0) > 0.3).sum() > 100 * reach:
            return False
    return True


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_says_what_is_committed(name, tmp_path):
    file = ROOT / "notebooks" / f"{name}.ipynb"
    # its client runs in a process of its own: sockets, event loop and their warnings stay out of this one
    run = subprocess.run(
        [sys.executable, ROOT / "scripts" / "execute_notebooks.py", file, "--into", tmp_path],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    found = json.loads((tmp_path / file.name).read_text(encoding="utf-8"))
    now, then = outputs_of(found), outputs_of(committed(name))
    rounding = 0.0 if texts_in(now) == texts_in(then) else ROUNDING[name]
    for code, one, two in zip(code_of(found), now, then, strict=True):
        assert same_outputs(two, one, rounding), f"{code}\n\nsays\n{one}\n\nand not\n{two}\n\nrun: {_AGAIN}"


def texts_in(outputs):
    return [said for cell in outputs for part in cell for kind, said in part.items() if kind != "image/png"]


_AGAIN = "python scripts/execute_notebooks.py"


@pytest.mark.parametrize(
    ("second", "same"),
    [
        ("rank 64 HOLDS 0.12", True),
        ("rank 64 HOLDS  0.13", True),
        ("rank 65 HOLDS 0.12", False),
        ("rank 64.0 HOLDS 0.12", False),
        ("rank 64 HOLDS 0.22", False),
        ("rank 64 VIOLATED 0.12", False),
        ("rank 64 HOLDS", False),
        ("rank 64 HOLDS -0.12", False),
        ("rank 64 HOLDS 1.2e-07", False),
    ],
)
def test_the_comparison_of_texts_can_say_no(second, same):
    assert same_text("rank 64 HOLDS 0.12", second, 0.05) is same


def test_small_numbers_are_compared_as_well():
    assert same_text("2.8e-07", "2.9e-07", 0.05)
    assert not same_text("2.8e-07", "2.8e-06", 0.05)
    assert not same_text("2.8e-07", "2.9e-07", 0.0)


@functools.cache
def picture(factor=1.0, title="Before any training", curves=2):
    figure = Figure(figsize=(4, 3), dpi=72)
    axes = figure.subplots()
    axes.semilogy([1, 2, 3], [0.01, 0.1 * factor, 0.5], "o-")
    axes.semilogy([1, 2, 3][: 3 * (curves - 1)], [0.02, 0.05, 0.1][: 3 * (curves - 1)], "s--")
    axes.set_title(title)
    figure.savefig(drawn := io.BytesIO(), format="png")
    return b64encode(drawn.getvalue()).decode()


def test_the_comparison_of_pictures_can_say_no():
    assert same_picture(picture(), picture(), reach=0)
    assert same_picture(picture(), picture(1.03), reach=2)
    assert not same_picture(picture(), picture(1.3), reach=2)
    assert not same_picture(picture(), picture(curves=1), reach=2)
    assert not same_picture(picture(), picture(1.03), reach=0)
    assert not same_picture(picture(), picture(title="After any training"), reach=0)


@pytest.mark.parametrize(
    ("kind", "said"),
    [("text/plain", "rank 9"), ("text/html", "<b>rank 9</b>"), ("image/png", picture(1.3)), ("image/svg+xml", "")],
)
def test_no_kind_of_output_may_be_stale(kind, said):
    then = {"text/plain": "rank 8", "text/html": "<b>rank 8</b>", "image/png": picture()}
    assert same_outputs([then], [dict(then)], 0.05)
    assert not same_outputs([then], [then | {kind: said}], 0.05)


def test_all_notebooks_are_tested():
    assert {file.stem for file in (ROOT / "notebooks").glob("*.ipynb")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_committed_is_whole_small_and_of_no_machine(name):
    file = ROOT / "notebooks" / f"{name}.ipynb"
    text = file.read_text(encoding="utf-8")
    assert file.stat().st_size < MOST_BYTES
    assert not re.search(r"/(?:home|root|tmp|work|Users|usr)/", text)
    assert not re.search(r"20\d\d-\d\d-\d\d", text)
    assert "stderr" not in text
    notebook = json.loads(text)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell["metadata"] == {} for cell in notebook["cells"])
    assert not any(part["output_type"] == "error" for cell in cells for part in cell["outputs"])


def test_ten_statements_of_the_paper_have_a_cell_each():
    notebook = committed("what_the_paper_gets_wrong")
    kinds = [cell["cell_type"] for cell in notebook["cells"]]
    assert kinds == ["markdown", *["markdown", "code"] * 10]
    headings = ["".join(cell["source"]).splitlines()[0] for cell in notebook["cells"][1::2]]
    assert [heading.split(".")[0] for heading in headings] == [f"## {number}" for number in range(1, 11)]
    assert all("tk." in code for code in code_of(notebook))


MADE_UNTRUE = (
    (1, "** 2).mean()", "** 2).mean() / count"),
    (1, "step_size=1.0", "step_size=0.1"),
    (2, "x**2)", "x**2 / 100)"),
    (2, "gradient_bias=bias", "gradient_bias=0.1"),
    (2, "right - slopes[1] / 10", "right"),
    (2, "slope @ slope for", "slope @ slope + 0.01 for"),
    (3, "    teacher.T @ slope", "    teacher.T @ left.T @ slope"),
    (3, "factor_gradients(slope", "factor_gradients(2 * slope"),
    (4, "float(deviation[0, 0])", "float(deviation[0, 0]) / 2"),
    (4, "float(deviation[0, 0])", "float(deviation[0, 0]) * 3"),
    (5, "0.5, 0.5)):", "0.5, 0.25)):"),
    (5, "approximation=1", "approximation=2"),
    (6, "samples, shape", "samples, constant=1e-6, shape"),
    (6, "delta=0.05", "delta=1e-300"),
    (6, "[10**10, 10**11]", "[10**8, 10**9]"),
    (7, "growth = exact[ranks - 1] / exact[0]", "growth = np.sqrt(ranks)"),
    (7, "printed = ", "printed = np.sqrt(ranks) * "),
    (7, "generator=rng).values", "generator=rng).values * 1.1"),
    (7, "dudley = ", "dudley = 0.001 * "),
    (8, "2 * d * variance", "d * variance"),
    (8, "printed_cloning_bound(loss, d)", "printed_cloning_bound(loss, d) - 5"),
    (8, "printed_cloning_bound(loss, d)", "printed_cloning_bound(loss / variance, d)"),
    (8, "cloning_information_bound(loss, d, variance)", "cloning_information_bound(loss, d, 1.0) - 9"),
    (9, "1 - rho**2", "1 - rho"),
    (9, "2 * d * (1", "d * (1"),
    (10, "one, noise", "one, 5 * noise"),
    (10, "one, noise", "one, noise / 5"),
    (10, "sizes**0.25", "sizes**0.5"),
)
"""Cell, what it computes, and what makes one of its sentences untrue."""
FEWER_STEPS = ("range(100_000):  # ‖teacher", "range(20_000):  # ‖teacher")
"""Of a descent that has long converged; the sentences hold after so many as well."""


def test_a_cell_fails_where_what_it_says_is_made_untrue(capsys):
    names = {}
    for number, code in enumerate(code_of(committed("what_the_paper_gets_wrong")), start=1):
        changes = [(old, new) for cell, old, new in MADE_UNTRUE if cell == number]
        assert changes
        code = code.replace(*FEWER_STEPS)
        for old, new in changes:
            assert code.count(old) == 1, (number, old)
            # the random numbers are those that the cell itself gets
            assert fails(code.replace(old, new), names | {"rng": copy.deepcopy(names.get("rng"))}), (number, new)
        exec(code, names)


def fails(code, names):
    try:
        exec(code, names)
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (6, "With both constants 1"),
        (7, "this needs no check"),
        (8, "asks for a teacher that is Gaussian and isotropic"),
        (9, "isotropic Gaussian model (eqs 24–26), in which the clone loss gives I exactly"),
        (9, "the teacher alone is Gaussian and isotropic, at any coupling"),
        (10, "8 seeds and a noise of 0.35 (standard deviation of log r* at one size) are ours"),
    ],
)
def test_what_a_statement_rests_on_is_said(number, words):
    text = "".join(committed("what_the_paper_gets_wrong")["cells"][2 * number - 1]["source"])
    assert words in " ".join(text.split())


def test_a_theorem_of_ones_own_takes_less_than_60_lines():
    assert 0 < len(lines_of("\n".join(code_of(committed("validate_your_own_theorem"))))) < 60


def test_the_loss_of_smollm2_in_words_is_the_recorded_one_and_says_why_the_table_differs():
    notebook = committed("from_checkpoint_to_rank")
    words = next("".join(cell["source"]) for cell in notebook["cells"] if "truncation_loss.json" in str(cell["source"]))
    recorded = json.loads((ROOT / "benchmarks/results/truncation_loss.json").read_text(encoding="utf-8"))["result"]
    kind = {"budget": 0.8, "metric": "fisher", "ranks": "allocated"}
    rows = [row for row in recorded["rows"] if kind.items() <= row.items()]
    predicted = mean(row["predicted_kl"] for row in rows)
    same, other = (mean(row[text]["kl"] for row in rows) for text in ("same_kind", "other_kind"))
    assert f"predicts a KL of {predicted:.2f} and measures {same:.2f} on" in words
    assert f"and {other:.2f} on another" in " ".join(words.split())
    lines = "\n".join(texts_in(outputs_of(notebook))).splitlines()
    tabled = next(line for line in lines if line.startswith("common-price")).split()[-2]
    assert f"not the {tabled} of the table above" in words
    for tokens in (CalibrationSettings().n_tokens, bundled_spectra().calibration.n_tokens):
        assert f"{tokens:,} tokens" in words


def test_a_student_that_agrees_with_its_teacher_violates_nothing_and_nan_says_nothing(monkeypatch, capsys):
    monkeypatch.setattr(statements, "_OWN", {})
    names = {}
    for code in code_of(committed("validate_your_own_theorem"))[:3]:
        exec(code, names)
    teacher = 10 * np.random.default_rng(0).standard_normal((100, 384))
    for student in (teacher, teacher + 0.1):
        for ratio in names["ratios"](teacher, student):
            assert abs(ratio).max() < 0.1
            assert names["judged"]("printed", "the same", ratio.max()).words == ("HOLDS",)
    with pytest.raises(AssertionError, match="no logits: a ratio of nan says nothing"):
        names["judged"]("printed", "no logits", names["ratios"](teacher, teacher * np.nan)[0].max())
