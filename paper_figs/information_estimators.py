"""Estimators of mutual information on pairs whose truth is known: the 40 tasks of Czyż et al. and hidden states."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from paper_figs.pictures import Heatmap, Line, Panel, Part, Picture, Points, Role
from paper_figs.sources import Sources
from theorykit import hidden_state_task
from theorykit.arguments import Floats
from theorykit.information import discrete_information_ceiling
from theorykit.information.tasks import TASKS, InformationTask

ABOUT = "estimators of mutual information beside the truth, on 40 published tasks and on hidden states"
SHOWN = ("auto", "gaussian", "ksg", "mine", "infonce")
_HIDDEN = re.compile(r"hidden-states-(\d+)(?:-dof-(\d+))?")
_BAND = (0.1, 0.9)
_SMALL = 2
"""Product of the dimensions up to which tasks count as one kind."""
Estimates = dict[tuple[str, str], Floats]
"""Estimates in nats by task and estimator, one for each seed that gave one."""


def build(sources: Sources) -> Picture:
    """Return errors by kind of task, relative errors over the tasks, and estimates between hidden states."""
    data = sources.benchmark("information_tasks")
    found = _estimates(sources.table("information_tasks"))
    published, hidden = data["summaries"]["published"], data["summaries"]["hidden states"]
    all_of_them = [*published.values(), *hidden.values()]
    wrong, silent, runs = (sum(one[key] for one in all_of_them) for key in ("wrong", "wrong_without_warning", "runs"))
    best = min(published, key=lambda method: published[method]["error_of_means"])
    seeds = max(values.size for values in found.values())
    return Picture(
        "Estimators of mutual information on known truth",
        [_kinds(found, list(published)), _relative(found), _hidden_states(found, list(hidden), data["n_samples"])],
        f"Of {runs:,} estimates {wrong} are wrong, by more than 0.2 nats and 20 %; {silent} of these have no warning. "
        f"Over the {len(TASKS)} tasks {best} errs least, by {published[best]['error_of_means']:.2g} nats on average. "
        f"{_spread_sentence(found, list(hidden))}",
        f"N = {data['n_samples']:,}, {seeds} seeds. Left: |mean over the seeds − truth|, on average over the tasks of "
        f"a kind. Middle: dots are tasks, means over the seeds; marks are medians over the tasks, bars from the "
        f"{100 * _BAND[0]:.0f} % to the {100 * _BAND[1]:.0f} % quantile. Right: means over the seeds, bars from the "
        "least to the largest estimate; t: heavy tails, of Student's t.",
    )


def _estimates(rows: Sequence[dict[str, str]]) -> Estimates:
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row["estimate"]:
            found.setdefault((row["task"], row["method"]), []).append(float(row["estimate"]))
    return {key: np.array(values) for key, values in found.items()}


def _kind(task: InformationTask) -> str:
    """Return what tasks of several sizes have in common: the name without sizes."""
    if max(task.dimensions) * min(task.dimensions) <= _SMALL:
        return "1 × 1 and 2 × 1"
    plain = re.sub(r" \d+ × \d+| \(dof=\d+\)", "", task.name)
    return plain.replace("Multinormal (2-pair)", "2-pair").replace("Multinormal (dense)", "Dense")


def _kinds(found: Estimates, methods: Sequence[str]) -> Panel:
    kinds: dict[str, list[InformationTask]] = {}
    for task in TASKS:
        kinds.setdefault(_kind(task), []).append(task)
    for task in _hidden_tasks(found):
        kinds.setdefault("Hidden states" + (" (t)" if "dof" in task.identifier else ""), []).append(task)
    values = [[_error(found, tasks, method) for method in methods] for tasks in kinds.values()]
    rows = [f"{kind} [{len(tasks)}]" for kind, tasks in kinds.items()]
    columns = [method.replace("_", " ") for method in methods]
    shades = Heatmap("|error| of the mean, nats", np.array(values), rows, columns, largest=0.5)
    return Panel("Error by kind of task [number]", "estimator", "", [shades], width=1.6)


def _error(found: Estimates, tasks: Sequence[InformationTask], method: str) -> float:
    """Return the mean over the tasks of the error of the mean over the seeds; NaN where none was estimated."""
    errors = [
        abs(found[task.identifier, method].mean() - task.information)
        for task in tasks
        if (task.identifier, method) in found
    ]
    return float(np.mean(errors)) if errors else float("nan")


def _relative(found: Estimates) -> Panel:
    parts: list[Part] = [Line("truth", np.array([-0.5, len(SHOWN) - 0.5]), np.zeros(2), Role.TRUTH)]
    places = np.arange(float(len(SHOWN)))
    errors = np.array(
        [[found[task.identifier, method].mean() / task.information - 1 for task in TASKS] for method in SHOWN]
    )
    aside = np.linspace(-0.3, 0.3, len(TASKS))
    for place, own in zip(places, errors, strict=True):
        parts.append(Points("", place + aside, own, series=0, scatter=True))
    low, middle, high = np.quantile(errors, (_BAND[0], 0.5, _BAND[1]), axis=1)
    parts.append(Points("median and quantiles over the tasks", places, middle, low, high, series=1))
    label = "(estimate − truth) / truth"
    return Panel("Relative error on the 40 tasks", "estimator", label, parts, x_names=SHOWN)


def _hidden_tasks(found: Estimates) -> list[InformationTask]:
    """Return the pairs of hidden states that were measured: Gaussian ones first, by size."""
    matches = {match[0]: match for task, _ in found if (match := _HIDDEN.fullmatch(task))}
    tasks = [
        hidden_state_task(int(match[1]), degrees_of_freedom=float(match[2]) if match[2] else None)
        for match in matches.values()
    ]
    return sorted(tasks, key=lambda task: ("dof" in task.identifier, task.dimensions))


def _hidden_states(found: Estimates, methods: Sequence[str], n_samples: int) -> Panel:
    tasks = _hidden_tasks(found)
    places = np.arange(float(len(tasks)))
    ceiling = float(discrete_information_ceiling(n_samples))
    truth = np.array([task.information for task in tasks])
    parts: list[Part] = [
        Line("truth", places, truth, Role.TRUTH),
        Line(
            f"log N = {ceiling:.2f}: the N pairs themselves hold no more",
            places[[0, -1]],
            np.full(2, ceiling),
            Role.RIVAL,
        ),
    ]
    for number, method in enumerate(methods):
        values = [found[task.identifier, method] for task in tasks]
        mean, low, high = (np.array([take(one) for one in values]) for take in (np.mean, np.min, np.max))
        aside = 0.13 * (number - (len(methods) - 1) / 2)
        parts.append(Points(method.replace("_", " "), places + aside, mean, low, high))
    names = [f"{task.dimensions[0]}{', t' if 'dof' in task.identifier else ''}" for task in tasks]
    return Panel("Hidden states", "dimensions of each side", "estimate, nats", parts, y_scale="log", x_names=names)


def _spread_sentence(found: Estimates, methods: Sequence[str]) -> str:
    """Say how far apart the estimators are on the hidden states where they differ most."""
    means = {
        task.identifier: (task, [found[task.identifier, method].mean() for method in methods])
        for task in _hidden_tasks(found)
    }
    task, values = max(means.values(), key=lambda one: max(one[1]) / min(one[1]))
    law = "Student-t" if "dof" in task.identifier else "Gaussian"
    return (
        f"On {law} hidden states of {task.dimensions[0]} dimensions estimates run from {min(values):.3g} to "
        f"{max(values):.3g} nats, where the truth is {task.information:.3g}."
    )
