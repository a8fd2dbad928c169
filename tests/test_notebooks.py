"""The notebooks run in a kernel of this Python, offline, and say what is committed."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMES = ("from_checkpoint_to_rank", "what_the_paper_gets_wrong", "validate_your_own_theorem")
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")
MOST_BYTES = 300_000
ROUNDING = 0.05
"""Relative: numbers of trained models differ a little between processors, whose sums round in another order."""


def committed(name):
    return json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))


def code_of(notebook):
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def lines_of(code):
    """Return the lines that are neither empty nor a comment."""
    return [line for line in code.splitlines() if line.strip() and not line.strip().startswith("#")]


def texts_of(notebook):
    """Return the text of each code cell's outputs; a picture has one too."""
    return [
        "\n".join("".join(part["text"] if "text" in part else part["data"]["text/plain"]) for part in cell["outputs"])
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


def same_text(first, second):
    """Return whether two texts have the same words and, up to rounding and one unit of the last digit, numbers."""
    if NUMBER.sub("#", first).split() != NUMBER.sub("#", second).split():
        return False
    pairs = zip(NUMBER.findall(first), NUMBER.findall(second), strict=True)
    return all(_same_number(one, two) for one, two in pairs)


def _same_number(first, second):
    one, two = (float(text.replace(",", "")) for text in (first, second))
    digits = re.search(r"\.(\d+)$", first)
    unit = 1.01 * 10 ** -len(digits[1]) if digits else 0.0
    return math.isclose(one, two, rel_tol=ROUNDING, abs_tol=unit)


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
    for code, now, then in zip(code_of(found), texts_of(found), texts_of(committed(name)), strict=True):
        assert same_text(then, now), f"{code}\n\nsays\n{now}\n\nand not\n{then}\n\nrun: {_AGAIN}"


_AGAIN = "python scripts/execute_notebooks.py"


@pytest.mark.parametrize(
    ("second", "same"),
    [
        ("rank 64 HOLDS 0.12", True),
        ("rank 65 HOLDS  0.13", True),
        ("rank 80 HOLDS 0.12", False),
        ("rank 64 HOLDS 0.22", False),
        ("rank 64 VIOLATED 0.12", False),
        ("rank 64 HOLDS", False),
        ("rank 64 HOLDS -0.12", False),
        ("rank 64 HOLDS 1.2e-07", False),
    ],
)
def test_the_comparison_of_texts_can_say_no(second, same):
    assert same_text("rank 64 HOLDS 0.12", second) is same


def test_small_numbers_are_compared_as_well():
    assert same_text("2.8e-07", "2.9e-07")
    assert not same_text("2.8e-07", "2.8e-06")


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
    for code in code_of(notebook):
        assert "tk." in code
        assert "assert " in code


def test_a_theorem_of_ones_own_takes_less_than_60_lines():
    assert 0 < len(lines_of("\n".join(code_of(committed("validate_your_own_theorem"))))) < 60
