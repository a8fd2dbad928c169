"""Recorded results: one small JSON file each, with the command, commit and machine that made it."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from theorykit.provenance import ROOT, command_line, commit, environment, machine

RESULTS = ROOT / "benchmarks" / "results"


def save(name: str, result: dict[str, Any], *, seeds: list[int] | None = None, preset: str = "default") -> Path:
    """Write ``results/NAME.json`` and print it."""
    record = {
        "name": name,
        "command": command_line(),
        "commit": commit("theorykit", "validation", "benchmarks/*.py"),
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
