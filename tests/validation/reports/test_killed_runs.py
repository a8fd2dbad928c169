"""The command line in a process of its own: killed and started again, and what its help loads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.validation.fakes import GAP, RECORDS, SGD, audited_shortly, content
from validation.reports import audit

ROOT = Path(__file__).parents[3]


def test_a_run_that_was_killed_goes_on_and_ends_with_the_same_records(call, monkeypatch, tmp_path, teacher, words):
    """What is killed is a process; what goes on has of it no more than what lies on the disk."""
    monkeypatch.setattr(audit, "run_audit", audited_shortly)
    changes = {"steps": 25, "evaluate_every": 0}
    command = [sys.executable, str(ROOT / "tests/validation/run_fakes.py"), teacher, words, json.dumps(changes), "run"]
    first = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL)
    # the runs' folders alone are listed: what is below them is written and renamed meanwhile
    while not list(Path(".work/validation/students/runs").glob("*/checkpoint")) and first.poll() is None:
        time.sleep(0.02)
    first.kill()
    assert first.wait() == -signal.SIGKILL
    assert not (RECORDS / f"{SGD}.students.json").exists()
    audited = (RECORDS / "audit.symbolic.json").stat().st_mtime_ns
    second = call("run", **changes)
    assert (second.code, second.err) == (0, "")
    assert second.out.count("(kept)") == 2
    assert (RECORDS / "audit.symbolic.json").stat().st_mtime_ns == audited
    sessions = (next(Path(".work/validation/students/runs").glob("*/sessions.jsonl"))).read_text()
    assert json.loads(sessions.splitlines()[-1])["ended_at_step"] == 25
    assert '"began_at_step": 0' in sessions
    # without a kill, in another folder with students of its own
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    assert call("run", **changes).err == ""
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
