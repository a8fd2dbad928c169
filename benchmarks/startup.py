"""How long the command line takes to answer, beside a bare ``python -c pass`` in the same run.

python benchmarks/startup.py

Targets: ``theorykit --help`` below 0.3 s, ``theorykit rank-select --n 100000`` below 2 s, a whole audit below 60 s.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import record

ROUNDS = 9
COMMANDS = {
    "python": [sys.executable, "-c", "pass"],
    "help": [sys.executable, "-m", "theorykit.cli", "--help"],
    "rank_select": [sys.executable, "-m", "theorykit.cli", "rank-select", "--n", "100000"],
    "audit": [sys.executable, "-m", "theorykit.cli", "audit"],
}


def main() -> None:
    """Time the commands in turn and record the medians."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(command, capture_output=True, check=True)
            seconds[name].append(time.perf_counter() - start)
    result = {f"{name}_seconds": round(statistics.median(values), 3) for name, values in seconds.items()}
    targets = {"target_help_seconds": 0.3, "target_rank_select_seconds": 2.0, "target_audit_seconds": 60.0}
    record.save("startup", result | targets)


if __name__ == "__main__":
    main()
