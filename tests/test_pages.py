"""Commands of the README and of docs/ run, their Python runs, links lead somewhere, tables are those of the records."""

import functools
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import paper_figs.__main__
import theorykit.cli.app
import theorykit.information
import validation.__main__
from paper_figs import catalogue
from paper_figs.drawing import rendered
from tests.paper_figs.conftest import built, update_tables
from theorykit.information import TrainingSettings

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
PROGRAMS = {
    "theorykit": theorykit.cli.app.main,
    "python -m validation": validation.__main__.main,
    "python -m paper_figs": paper_figs.__main__.main,
}
"""Run in this process; as processes of their own they are tested in tests/cli/test_process.py, in
tests/validation/reports/test_smoke_run.py and in tests/paper_figs/test_command.py."""
SMALLER = {
    "theorykit audit": ("--trials", "500"),
    "theorykit mi teacher.npy student.npy --groups sequence.npy --noise 0.5 --calibrate": ("--draws", "1"),
}
"""What long ones run with here beside their own words."""
SMALL_CRITICS = functools.partial(TrainingSettings, hidden=(16, 16), batch_size=128, max_steps=400, validate_every=50)
"""Of --calibrate, which trains those of a pair and of four known ones: what they come to is asserted elsewhere."""


@pytest.fixture
def work(tmp_path):
    """Return a folder with the files that the pages name."""
    rng = np.random.default_rng(0)
    teacher, noise = rng.standard_normal((2, 200, 2))
    for name, rows in {
        "teacher": teacher,
        "student": teacher + noise,
        "sequence": np.repeat(np.arange(20), 10),
    }.items():
        np.save(tmp_path / f"{name}.npy", rows)
    return tmp_path


@pytest.fixture
def call(work, monkeypatch, capsys):
    """Return a function that runs a command of the pages there; it gives the exit code, stdout and stderr."""

    def shared(name, sources):  # figures are those of the other tests
        made, origin = built(name)
        sources.used.update(origin.used)
        return made

    def inked(figure, kind, fields):  # all are inked in tests/paper_figs/test_drawing.py
        return rendered(figure, kind, fields) if fields["Title"] == built("figure-4")[0].title else b""

    monkeypatch.chdir(work)
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(paper_figs.__main__, "build", shared)
    monkeypatch.setattr(catalogue, "rendered", inked)

    def run(program, *words):
        with pytest.raises(SystemExit) as ended:
            PROGRAMS[program]([*words])
        return ended.value.code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("command", [line for line in COMMANDS if not line.startswith(BY_HAND)])
def test_commands_run_and_the_options_of_long_ones_exist(command, call, monkeypatch):
    if command in TESTED_AS_IT_IS:
        name = command.split()[-1]
        assert f'"run", "--preset", "{name}"' in (ROOT / TESTED_AS_IT_IS[command]).read_text(encoding="utf-8")
        return
    program = next(program for program in PROGRAMS if command.startswith(program))
    words = shlex.split(command.removeprefix(program))
    if command.startswith(QUICK) or (program == "theorykit" and not any(x in command for x in NEEDS_A_MODEL)):
        if "--calibrate" in words:
            monkeypatch.setattr(theorykit.information, "TrainingSettings", SMALL_CRITICS)
        code, out, err = call(program, *words, *SMALLER.get(command, ()))
        assert code == 0, err
        assert out.strip()
        return
    code, out, err = call(program, words[0], "--help")
    assert code == 0, err
    for option in (word for word in words if word.startswith("-")):
        assert re.search(rf"(^|[\s,]){re.escape(option)}\b", out), f"{option} is not an option"


def test_what_runs_smaller_is_on_the_pages():
    assert set(SMALLER) <= set(COMMANDS)


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
    assert update_tables().filled(TEXTS[page.name]) == TEXTS[page.name], "run: python scripts/update_tables.py"
    assert not re.search(r"/(home|work|tmp|root)/", TEXTS[page.name])


def test_every_table_stands_on_a_page():
    placed = [name for text in TEXTS.values() for name in re.findall(r"<!-- begin: ([\w-]+) -->", text)]
    assert sorted(placed) == sorted(update_tables().TABLES)
