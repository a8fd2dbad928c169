"""Commands of the README and of docs/ run, their Python runs, links lead somewhere, tables are those of the records."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
COMMANDS = sorted(
    {
        line.removeprefix("$ ")
        for text in TEXTS.values()
        for block in re.findall(r"```console\n(.*?)```", text, flags=re.S)
        for line in block.splitlines()
        if line.startswith("$ ")
    }
)
NEEDS_A_MODEL = ("--model", "smollm2", ".npz")
QUICK = ("python -m validation show", "python -m validation list", "python -m paper_figs")
TESTED_AS_IT_IS = {"python -m validation run --preset smoke": "tests/validation/reports/test_smoke_run.py"}
BY_HAND = ("make ", "source .venv/bin/activate")
"""What makes the environment that these tests run in."""


def words_of(command):
    program, *words = shlex.split(command)
    return [sys.executable, *(["-m", "theorykit.cli"] if program == "theorykit" else []), *words]


@pytest.fixture
def work(tmp_path):
    """Return a folder with the files that the pages name."""
    rng = np.random.default_rng(0)
    for name, rows in {"teacher": rng.standard_normal((300, 3)), "sequence": np.repeat(np.arange(30), 10)}.items():
        np.save(tmp_path / f"{name}.npy", rows)
    np.save(tmp_path / "student.npy", np.load(tmp_path / "teacher.npy") + rng.standard_normal((300, 3)))
    return tmp_path


def called(words, folder):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(words, capture_output=True, text=True, cwd=folder, env=environment, check=False)


@pytest.mark.parametrize("command", [line for line in COMMANDS if not line.startswith(BY_HAND)])
def test_commands_run_and_the_options_of_long_ones_exist(command, work):
    if command in TESTED_AS_IT_IS:
        name = command.split()[-1]
        assert f'"run", "--preset", "{name}"' in (ROOT / TESTED_AS_IT_IS[command]).read_text(encoding="utf-8")
        return
    if command.startswith(QUICK) or (command.startswith("theorykit") and not any(x in command for x in NEEDS_A_MODEL)):
        run = called(words_of(command), work)
        assert run.returncode == 0, run.stderr
        assert run.stdout.strip()
        return
    words = words_of(command)
    run = called([*words[:4], "--help"], work)
    assert run.returncode == 0, run.stderr
    for option in (word for word in words if word.startswith("-") and word != "-m"):
        assert re.search(rf"(^|[\s,]){re.escape(option)}\b", run.stdout), f"{option} is not an option"


def test_make_targets_exist():
    named = {name for text in TEXTS.values() for name in re.findall(r"(?:`|\$ )make (\w+)", text)}
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M)
    assert {"install", "run", "texts", "benchmarks"} <= named
    assert named <= set(targets)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[page.name]):
        if target.startswith("http"):
            continue
        assert "#" not in target, "sections are not checked: link to the page"
        assert (page.parent / target).exists(), target


def test_named_files_exist():
    for page, text in TEXTS.items():
        for name in re.findall(r"`((?:benchmarks|theorykit|scripts|validation|paper_figs)/[\w/-]+\.\w+)", text):
            assert (ROOT / name).exists(), f"{page}: {name}"


def test_the_readme_has_at_most_two_screens():
    assert len(TEXTS["README.md"].splitlines()) <= 100


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "```python" in TEXTS[page.name]], ids=lambda page: page.name
)
def test_python_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", TEXTS[page.name], flags=re.S))
    scope: dict = {}
    exec(code, scope)
    if page.name == "students.md":
        assert (tmp_path / "student" / "model.safetensors").exists()
    if page.name == "rank-selection.md":
        assert scope["selection"].share <= 0.5


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "<!-- begin:" in TEXTS[page.name]], ids=lambda page: page.name
)
def test_tables_are_those_of_the_records(page):
    code = "import sys, update_tables as u; t = open(sys.argv[1], encoding='utf-8').read(); sys.exit(u.filled(t) != t)"
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'scripts'}"}
    words = [sys.executable, "-c", code, str(page)]
    run = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr or "run: python scripts/update_tables.py"
    assert not re.search(r"/(home|work|tmp|root)/", TEXTS[page.name])


def test_every_table_stands_on_a_page():
    run = subprocess.run(
        [sys.executable, "-c", "import update_tables as u; print(*u.TABLES)"],
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'scripts'}"},
        capture_output=True,
        text=True,
        check=True,
    )
    placed = [name for text in TEXTS.values() for name in re.findall(r"<!-- begin: ([\w-]+) -->", text)]
    assert sorted(placed) == sorted(run.stdout.split())
