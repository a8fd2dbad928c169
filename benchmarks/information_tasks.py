"""All estimators of mutual information on pairs whose truth is known: the 40 tasks of Czyż et al. and hidden states.

python benchmarks/information_tasks.py [--seeds 0,1,2,3,4] [--workers 2]

N = 10,000 for every task and seed. Writes ``results/information_tasks.json``, every run to ``.csv`` beside it, and the
table of all tasks and estimators to ``.md``. Finished (seed, task) pairs are kept in .work/information_tasks.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import statistics
import sys
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # one thread per worker, before NumPy is loaded

import numpy as np
import record

from theorykit import hidden_state_task, mutual_information
from theorykit.information.tasks import TASKS, InformationTask

ROWS = 10_000
METHODS = (
    "auto", "gaussian", "gaussian_copula", "cca", "ksg", "decoder", "network_decoder",
    "mine", "anchored_mine", "infonce",
)  # fmt: skip
HIDDEN = ("auto", "gaussian", "gaussian_copula", "cca", "anchored_mine")
HIDDEN_STATES = [hidden_state_task(size, degrees_of_freedom=dof) for dof in (None, 5.0) for size in (64, 256, 768)]
CASES: list[tuple[InformationTask, tuple[str, ...]]] = [
    *((task, METHODS) for task in TASKS),
    *((task, HIDDEN) for task in HIDDEN_STATES),
]
TARGETS = {"auto": 0.08, "auto on copulas": 0.006, "worst on copulas": 0.015, "coverage": 0.9}


def measured(job: tuple[int, int, Path]) -> list[dict[str, Any]]:
    """Return one row per estimator for a seed and a case, from the folder where they are there already."""
    seed, number, folder = job
    kept = folder / f"{seed}-{number}.json"
    if kept.exists():
        return json.loads(kept.read_text())
    task, methods = CASES[number]
    x, y = task.sample(ROWS, np.random.default_rng([seed, number]))
    rows = []
    for method in methods:
        found = mutual_information(x, y, method, generator=np.random.default_rng([seed, number, 1]))
        rows.append(
            {
                "task": task.identifier,
                "method": method,
                "seed": seed,
                "estimate": found.information,
                "interval": found.interval,
                "warnings": [*found.warnings, *([found.failure] if found.failure else [])],
                "chosen": getattr(found, "chosen", ""),
                "seconds": found.seconds,
            }
        )
    kept.write_text(json.dumps(rows))
    print(f"seed {seed}: {task.name}", file=sys.stderr, flush=True)
    return rows


def summary(rows: list[dict[str, Any]], tasks: list[InformationTask]) -> dict[str, Any]:
    """Return the errors, the coverage and the warnings of one estimator over tasks and seeds.

    The error of the mean over the seeds is what published tables show; that of a single sample cannot fall below its
    sampling error, whatever the estimator.
    """
    truth = {task.identifier: task.information for task in tasks}
    rows = [row for row in rows if row["task"] in truth]
    errors: dict[str, list[float]] = {name: [] for name in truth}
    for row in rows:
        if row["estimate"] is not None:
            errors[row["task"]].append(row["estimate"] - truth[row["task"]])
    of_means = [abs(statistics.mean(one)) for one in errors.values() if one]
    quiet = [row for row in rows if not row["warnings"] and row["interval"]]
    wrong = [
        row
        for row in rows
        if row["estimate"] is not None
        and abs(row["estimate"] - truth[row["task"]]) > max(0.2, 0.2 * truth[row["task"]])
    ]
    return {
        "error_of_means": statistics.mean(of_means),
        "worst_error_of_means": max(of_means),
        "mean_error": statistics.mean(abs(error) for one in errors.values() for error in one),
        "without_warning": len(quiet),
        "covered_without_warning": sum(row["interval"][0] <= truth[row["task"]] <= row["interval"][1] for row in quiet),
        "wrong": len(wrong),
        "wrong_without_warning": sum(not row["warnings"] for row in wrong),
        "runs": len(rows),
        "failed": sum(row["estimate"] is None for row in rows),
        "median_seconds": statistics.median(row["seconds"] for row in rows),
    }


def summaries(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the summary of every estimator over the published tasks, their Gaussian copulas, and hidden states."""
    copulas = [task for task in TASKS if task.gaussian_copula]
    groups = {"published": list(TASKS), "copula": copulas, "hidden states": HIDDEN_STATES}
    return {
        group: {
            method: summary([row for row in rows if row["method"] == method], tasks)
            for method in (HIDDEN if group == "hidden states" else METHODS)
        }
        for group, tasks in groups.items()
    }


def cells(rows: list[dict[str, Any]], truth: float) -> list[str]:
    """Return the cells of one task and estimator: mean error, scatter, coverage, remarks and seconds."""
    values = [row["estimate"] for row in rows if row["estimate"] is not None]
    intervals = [row["interval"] for row in rows if row["interval"]]
    remarks = sum(bool(row["warnings"]) for row in rows)
    width = statistics.mean(high - low for low, high in intervals) / 2 if intervals else None
    return [
        f"{statistics.mean(values):.3f}" if values else "failed",
        f"{statistics.mean(values) - truth:+.3f}" if values else "",
        "" if width is None else f"± {width:.3f}",
        f"{sum(low <= truth <= high for low, high in intervals)}/{len(intervals)}",
        f"{remarks}/{len(rows)}",
        f"{statistics.median(row['seconds'] for row in rows):.1f}",
    ]


def full_table(rows: list[dict[str, Any]], origin: str) -> str:
    """Return the page with all tasks and estimators, in Markdown."""
    lines = [
        "# Estimators of mutual information on known truth",
        "",
        f"{origin}. N = {ROWS:,}. Estimates are means over the seeds in nats; ± is half the mean width of the 95 % "
        "intervals; *covered* counts the seeds whose interval holds the truth, *warned* those with a warning. Every "
        "lower bound of a trained critic carries one.",
        "",
        "| task | truth | estimator | estimate | error | interval | covered | warned | s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for task, methods in CASES:
        for method in methods:
            found = [row for row in rows if (row["task"], row["method"]) == (task.identifier, method)]
            first = (task.name, f"{task.information:.3f}") if method == methods[0] else ("", "")
            lines.append("| " + " | ".join([*first, method, *cells(found, task.information)]) + " |")
    return "\n".join(lines) + "\n"


def markdown_table(recorded: dict[str, Any]) -> str:
    """Return the table of the docs: one row per estimator over the published tasks, and where it comes from."""
    found = recorded["result"]["summaries"]
    lines = [
        "| estimator | error, 40 tasks | of one sample | 20 Gaussian copulas | worst of them | runs without warning | "
        "of them covered | wrong without warning | s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for method, one in found["published"].items():
        copulas, quiet = found["copula"][method], one["without_warning"]
        cells = [
            method,
            f"{one['error_of_means']:.3f}",
            f"{one['mean_error']:.3f}",
            f"{copulas['error_of_means']:.4f}",
            f"{copulas['worst_error_of_means']:.3f}",
            f"{quiet} of {one['runs']}",
            f"{one['covered_without_warning'] / quiet:.0%}" if quiet else "",
            str(one["wrong_without_warning"]),
            f"{one['median_seconds']:.1f}",
        ]
        if method == "auto":
            cells = [f"**{cell}**" for cell in cells]
        lines.append("| " + " | ".join(cells) + " |")
    seeds = len(recorded["seeds"])
    lines += [
        "",
        f"{seeds} seeds, N = {ROWS:,}; `{recorded['command']}`, commit {recorded['commit'][:12]}; "
        "[all tasks and estimators](../benchmarks/results/information_tasks.md).",
    ]
    return "\n".join(lines)


def written_rows(rows: list[dict[str, Any]], kinds: list[str]) -> str:
    """Return all rows as CSV: four decimals, warnings by their number in ``kinds``."""
    lines = ["seed,task,method,estimate,low,high,seconds,warnings,chosen"]
    for row in rows:
        numbers = [row["estimate"], *(row["interval"] or (None, None))]
        shown = ["" if number is None else f"{number:.4f}" for number in numbers]
        warned = " ".join(str(kinds.index(kind_of(warning))) for warning in row["warnings"])
        cells = [row["seed"], row["task"], row["method"], *shown, f"{row['seconds']:.2f}", warned, row["chosen"]]
        lines.append(",".join(map(str, cells)))
    return "\n".join(lines) + "\n"


def kind_of(warning: str) -> str:
    """Return a warning with its numbers blotted out."""
    return re.sub(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?", "#", warning)


def main() -> None:
    """Measure what is not there yet, and write the record and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    seeds = [int(seed) for seed in given.seeds.split(",")]
    folder = record.ROOT / ".work" / "information_tasks"
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(seed, number, folder) for seed in seeds for number in range(len(CASES))]
    with multiprocessing.get_context("spawn").Pool(given.workers) as pool:
        rows = [row for part in pool.imap_unordered(measured, jobs, chunksize=1) for row in part]
    rows.sort(key=lambda row: (row["task"], row["method"], row["seed"]))
    kinds = sorted({kind_of(warning) for row in rows for warning in row["warnings"]})
    result = {"n_samples": ROWS, "targets": TARGETS, "summaries": summaries(rows), "warnings": kinds}
    path = record.save("information_tasks", result, seeds=seeds)
    path.with_suffix(".csv").write_text(written_rows(rows, kinds), encoding="utf-8")
    kept = json.loads(path.read_text(encoding="utf-8"))
    origin = f"`{kept['command']}`, commit {kept['commit'][:12]}, seeds {given.seeds}"
    path.with_suffix(".md").write_text(full_table(rows, origin), encoding="utf-8")


if __name__ == "__main__":
    main()
