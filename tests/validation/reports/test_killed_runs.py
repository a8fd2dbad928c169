"""The command line in processes of its own: killed and started again, and what its help loads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.validation.fakes import GAP, RECORDS, SGD, content

ROOT = Path(__file__).parents[3]


def _started(teacher, words, changes, *arguments):
    command = [sys.executable, str(ROOT / "tests/validation/run_fakes.py"), teacher, words, json.dumps(changes)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_run_that_was_killed_goes_on_and_ends_with_the_same_records(monkeypatch, tmp_path, teacher, words):
    monkeypatch.chdir(tmp_path)
    changes = {"steps": 25, "evaluate_every": 0}
    first = _started(teacher, words, changes, "run")
    while not list(Path(".work/validation/students").rglob("checkpoint")) and first.poll() is None:
        time.sleep(0.02)
    first.kill()
    assert first.wait() == -signal.SIGKILL
    first.communicate()
    assert not (RECORDS / f"{SGD}.students.json").exists()
    audited = (RECORDS / "audit.symbolic.json").stat().st_mtime_ns
    second = _started(teacher, words, changes, "run")
    out, err = second.communicate()
    assert (second.returncode, err) == (0, "")
    assert out.count("(kept)") == 2
    assert (RECORDS / "audit.symbolic.json").stat().st_mtime_ns == audited
    sessions = (next(Path(".work/validation/students/runs").glob("*/sessions.jsonl"))).read_text()
    assert json.loads(sessions.splitlines()[-1])["ended_at_step"] == 25
    assert '"began_at_step": 0' in sessions
    # without a kill, in another folder with students of its own
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    whole = _started(teacher, words, changes, "run")
    assert whole.communicate()[1] == ""
    for name in (f"{SGD}.students", f"{GAP}.planted", "audit.symbolic"):
        assert content(name, other / RECORDS) == content(name, tmp_path / RECORDS)


def test_help_loads_no_heavy_package():
    code = "import validation.__main__, sys; print(*sorted(sys.modules), sep=chr(10))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"torch", "scipy", "pandas", "transformers", "sympy"} & set(done.stdout.split())


def test_the_help_of_train_names_every_measurement():
    from validation.measure import MEASUREMENTS
    from validation.training.config import MEASURED

    assert tuple(MEASUREMENTS) == MEASURED
