"""The README's commands run, its Python runs, and its tables are those of the records."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.removeprefix("$ ")
    for block in re.findall(r"```console\n(.*?)```", README, flags=re.S)
    for line in block.splitlines()
    if line.startswith("$ ")
]
NEEDS_A_MODEL = ("--model", "smollm2")


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("theorykit")])
def test_command_lines_parse_and_those_without_a_model_run(command, tmp_path):
    rng = np.random.default_rng(0)
    for name, rows in {"teacher": rng.standard_normal((300, 3)), "sequence": np.repeat(np.arange(30), 10)}.items():
        np.save(tmp_path / f"{name}.npy", rows)
    np.save(tmp_path / "student.npy", np.load(tmp_path / "teacher.npy") + rng.standard_normal((300, 3)))
    arguments = shlex.split(command)[1:]
    if any(word in command for word in NEEDS_A_MODEL):
        arguments = [arguments[0], "--help"]
        asked = [word for word in shlex.split(command) if word.startswith("-")]
    else:
        asked = []
    run = subprocess.run(
        [sys.executable, "-m", "theorykit.cli", *arguments], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert run.returncode == 0, run.stderr
    for option in asked:
        assert re.search(rf"(^|[\s,]){re.escape(option)}\b", run.stdout), f"{option} is not an option"


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("python -m validation")])
def test_options_of_the_harness_exist(command):
    name, *words = shlex.split(command)[3:]
    run = subprocess.run(
        [sys.executable, "-m", "validation", name, "--help"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert run.returncode == 0, run.stderr
    for option in (word for word in words if word.startswith("-")):
        assert re.search(rf"(^|[\s,]){re.escape(option)}\b", run.stdout), f"{option} is not an option"


def test_make_targets_exist():
    named = re.findall(r"(?:`|\$ )make (\w+)", README)
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M)
    assert {"run", "test", "texts", "benchmarks"} <= set(named)
    assert set(named) <= set(targets)


def test_named_files_exist():
    names = re.findall(r"(?:benchmarks|theorykit|scripts|validation)/[\w/]+\.\w+|[A-Z]+\.md", README)
    assert names
    for name in names:
        assert (ROOT / name).exists(), name


def test_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", README, flags=re.S))
    scope: dict = {}
    exec(code, scope)
    assert scope["selection"].share <= 0.5
    assert (tmp_path / "student" / "model.safetensors").exists()


def test_tables_are_those_of_the_records():
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
    code = (
        "import update_readme as u; t = (u.ROOT / 'README.md').read_text('utf-8'); raise SystemExit(u.filled(t) != t)"
    )
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr or "run: python scripts/update_readme.py"
