"""Recorded results: one small JSON file each, with the command, commit and machine that made it."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from theorykit.cli.output import environment

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _portable(argument: str) -> str:
    """Return an argument without the path of this machine."""
    path = Path(argument)
    if path.exists() and path.resolve().is_relative_to(ROOT):
        return str(path.absolute().relative_to(ROOT))
    return path.name if path.is_absolute() else argument


def machine() -> dict[str, Any]:
    """Return what the timings depend on."""
    return {"processor": _processor(), "cores": len(os.sched_getaffinity(0))}


def save(name: str, result: dict[str, Any], *, seeds: list[int] | None = None, preset: str = "default") -> Path:
    """Write ``results/NAME.json`` and print it."""
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "theorykit", "benchmarks/*.py")
    record = {
        "name": name,
        "command": "python " + " ".join(_portable(argument) for argument in sys.argv),
        "commit": _git("rev-parse", "HEAD") + (" with local changes" if changed else ""),
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "preset": preset,
        "seeds": seeds or [],
        "machine": machine(),
        "environment": environment(),
        "result": result,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1, ensure_ascii=False))
    return path
