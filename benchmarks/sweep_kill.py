"""A sweep killed at 20 random moments against an undisturbed one, in one run.

python benchmarks/sweep_kill.py [--kills 20]

12 factored students (6 ranks × 2 seeds) of a GPT-2-shaped teacher with random weights (width 64, 2 blocks), in 4
batches of 3, 60 steps each, on the topics of Python's documentation. The moments are even in the work done: when the
share of steps passes a random number, or while the program still starts. Every other kill takes the whole sweep,
the others the parent of two workers alone. Targets: records and metrics equal bit for bit to those of the undisturbed
sweep; no record lost or written again; no batch begun again that had ended.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from validation.training.data import read_corpus, train_tokenizer
from validation.training.store import Store

STEPS = 60
EVERY = 3
STUDENTS = 12
SEED = 0
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def setting(folder: Path) -> Path:
    """Write teacher, text and plan, and return the plan."""
    text = "\n".join(read_corpus("python-docs").documents)[:200_000]
    (folder / "text.txt").write_text(text, encoding="utf-8")
    tokenizer = train_tokenizer([text], 512)
    tokenizer.save_pretrained(folder / "teacher")
    torch.manual_seed(SEED)
    end = tokenizer.eos_token_id
    shape = {"vocab_size": 512, "n_positions": 64, "n_embd": 64, "n_layer": 2, "n_head": 2}
    GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=end, eos_token_id=end)).save_pretrained(folder / "teacher")
    base = {
        **{"teacher": str(folder / "teacher"), "data": str(folder / "text.txt"), "method": "kd", "length": 64},
        **{"steps": STEPS, "checkpoint_every": EVERY, "evaluate_every": 20, "batch_size": 4, "held_out_blocks": 8},
    }
    plan = {"base": base, "grid": {"rank": [2, 4, 8, 16, 24, 32], "seed": [0, 1]}, "batch_students": 3}
    file = folder / "plan.json"
    file.write_text(json.dumps(plan), encoding="utf-8")
    return file


def begin(plan: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start a sweep in a process group of its own."""
    command = [sys.executable, "-m", "validation", "sweep", str(plan), "--out", str(out), "--device", "cpu", *options]
    return subprocess.Popen(
        command, cwd=record.ROOT, env=ENVIRONMENT, start_new_session=True, stdout=subprocess.DEVNULL
    )


def finish(plan: Path, out: Path) -> float:
    """Run a sweep to its end and return the seconds."""
    start = time.perf_counter()
    if begin(plan, out).wait():
        raise SystemExit("the sweep failed")
    return time.perf_counter() - start


def share_done(out: Path) -> float:
    """Return the share of the steps that have been written."""
    lines = [file.read_bytes().count(b"\n") for file in out.glob("runs/*/metrics.jsonl")]
    return 3 * sum(lines) / (STUDENTS * STEPS)


def killed(plan: Path, out: Path, moment: float, delay: float, *, whole: bool) -> bool:
    """Kill a sweep when it has done a share of its steps, and some seconds later; return whether it was running."""
    process = begin(plan, out, *(() if whole else ("--workers", "2")))
    while share_done(out) < moment and process.poll() is None:
        time.sleep(0.002)
    time.sleep(delay)
    running = process.poll() is None
    if whole:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
    return running


def kept(out: Path) -> dict[str, bytes]:
    """Return the records byte for byte."""
    return {file.name: file.read_bytes() for file in out.glob("records/*.json")}


def repeatable(out: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return what two sweeps have in common: records but for how they were made, and the metrics of all steps."""
    rows = {one["identity"]: {name: one[name] for name in one if name != "made"} for one in Store(out).records()}
    return rows, {file.parent.name: file.read_bytes() for file in out.glob("runs/*/metrics.jsonl")}


def session_counts(out: Path) -> tuple[int, int]:
    """Return the sessions of all batches, and those that began after their batch had ended."""
    begun = again = 0
    for file in out.glob("runs/*/sessions.jsonl"):
        ends = ["ended_at_step" in json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        begun += ends.count(False)
        again += ends[ends.index(True) :].count(False) if True in ends else 0
    return begun, again


def main() -> None:
    """Kill, resume, compare, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    kills = parser.parse_args().kills
    drawn = np.random.default_rng(SEED)
    moments, delays = np.sort(drawn.uniform(0, 0.98, kills)), drawn.uniform(0, 0.3, kills)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan = setting(folder)
        undisturbed = finish(plan, folder / "whole")
        start, lost, hits = time.perf_counter(), set(), 0
        before: dict[str, bytes] = {}
        for number, (moment, delay) in enumerate(zip(moments, delays, strict=True)):
            late = share_done(folder / "killed") >= moment  # the moment has passed: while the program starts
            hits += killed(plan, folder / "killed", moment, 10 * delay if late else delay, whole=number % 2 == 0)
            left = kept(folder / "killed")
            lost |= {file for file in before if left.get(file) != before[file]}
            before = left
        finish(plan, folder / "killed")
        disturbed = time.perf_counter() - start
        lost |= {file for file in before if kept(folder / "killed").get(file) != before[file]}
        (rows, metrics), (found, found_metrics) = repeatable(folder / "whole"), repeatable(folder / "killed")
        sessions, again = session_counts(folder / "killed")
    result = {
        "kills": kills,
        "kills_of_a_running_sweep": hits,
        "students": len(found),
        "records_equal_bit_for_bit": sum(rows[one] == found.get(one) for one in rows),
        "runs_with_equal_metrics": sum(metrics[one] == found_metrics.get(one) for one in metrics),
        "runs": len(metrics),
        "records_lost_or_written_again": len(lost),
        "sessions_of_batches": sessions,
        "sessions_after_the_end": again,
        "undisturbed_seconds": round(undisturbed, 1),
        "seconds_with_kills": round(disturbed, 1),
    }
    record.save("sweep_kill", result, seeds=[SEED])


if __name__ == "__main__":
    main()
