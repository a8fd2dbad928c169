"""Estimators of mutual information on pairs whose truth is known: the 40 tasks of Czyż et al. and hidden states."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from paper_figs.pictures import Heatmap, Line, Panel, Part, Picture, Points, Role
from paper_figs.sources import Sources
from theorykit import hidden_state_task
from theorykit.arguments import Floats
from theorykit.errors import InputError
from theorykit.information import discrete_information_ceiling
from theorykit.information.tasks import TASKS, InformationTask

ABOUT = "estimators of mutual information beside the truth, on 40 published tasks and on hidden states"
SHOWN = ("auto", "gaussian", "ksg", "mine", "infonce")
Estimates = dict[tuple[str, str], list[float]]
"""Estimates in nats by task and estimator, one for each seed that gave one."""
_RECORD = "information_tasks"
_BAND = (0.1, 0.9)
_SMALL = 2
"""Product of the dimensions up to which tasks count as one kind."""
_KINDS = {
    "multinormal-dense": "Dense",
    "multinormal-sparse": "2-pair",
    "student-identity": "Student-t",
    "asinh-student": "Asinh @ Student-t",
    "normal_cdf-multinormal": "Normal CDF @ 2-pair",
    "half_cube-multinormal": "Half-cube @ 2-pair",
    "spiral-multinormal": "Spiral @ 2-pair",
    "spiral-normal_cdf": "Spiral @ Normal CDF @ 2-pair",
    "hidden-states": "Hidden states",
}
"""What tasks of several sizes have in common, by how their identifiers begin."""
_HIDDEN = re.compile(r"hidden-states-(\d+)(?:-dof-(\d+))?")


class Collection(StrEnum):
    """A collection of tasks that the record summarises."""

    PUBLISHED = "published"
    COPULA = "copula"
    HIDDEN = "hidden states"


@dataclass(frozen=True)
class Summary:
    """One estimator on one collection: |mean − truth| on average over tasks, runs, and how many of them are wrong."""

    error_of_means: float
    runs: int
    wrong: int
    wrong_without_warning: int


@dataclass(frozen=True)
class InformationTasks:
    """The record: pairs of each sample, and summaries by collection and estimator."""

    n_samples: int
    summaries: dict[Collection, dict[str, Summary]]

    def __post_init__(self) -> None:
        if not all(self.summaries.get(collection) for collection in (Collection.PUBLISHED, Collection.HIDDEN)):
            raise InputError("a collection of tasks is missing")


@dataclass(frozen=True)
class Estimate:
    """A row of the record's table: nats, or None where the estimator gave none."""

    task: str
    method: str
    estimate: float | None


def build(sources: Sources) -> Picture:
    """Return errors by kind of task, relative errors over the tasks, and estimates between hidden states."""
    data = sources.benchmark(_RECORD, InformationTasks)
    published, hidden = data.summaries[Collection.PUBLISHED], data.summaries[Collection.HIDDEN]
    estimates: Estimates = defaultdict(list)
    for row in sources.table(_RECORD, Estimate):
        if row.estimate is not None:
            estimates[row.task, row.method].append(row.estimate)
    pairs = _hidden_tasks(estimates)
    spread = _over_seeds(estimates, pairs, list(hidden))
    relative = _over_seeds(estimates, TASKS, SHOWN)[0] / [[task.information] for task in TASKS] - 1
    if not (pairs and np.isfinite(spread).all() and np.isfinite(relative).all()):
        raise InputError("a task has no estimate by one of the estimators", f"python benchmarks/{_RECORD}.py")
    summaries = [*published.values(), *hidden.values()]
    best = min(published, key=lambda method: published[method].error_of_means)
    seeds = max(len(values) for values in estimates.values())
    return Picture(
        "Estimators of mutual information on known truth",
        [
            _kinds([*TASKS, *pairs], estimates, list(published)),
            _relative(relative),
            _hidden_states(pairs, spread, list(hidden), data.n_samples),
        ],
        f"Of {sum(row.runs for row in summaries):,} estimates {sum(row.wrong for row in summaries)} are wrong, by more "
        f"than 0.2 nats and 20 %; {sum(row.wrong_without_warning for row in summaries)} of these have no warning. "
        f"Over the {len(TASKS)} tasks {best} errs least, by {published[best].error_of_means:.2g} nats on average. "
        f"{_spread_sentence(pairs, spread[0])}",
        f"N = {data.n_samples:,}, {seeds} seeds. Left: |mean over the seeds − truth|, on average over the tasks of "
        f"a kind. Middle: dots are tasks, means over the seeds; marks are medians over the tasks, bars from the "
        f"{100 * _BAND[0]:.0f} % to the {100 * _BAND[1]:.0f} % quantile. Right: means over the seeds, bars from the "
        "least to the largest estimate; t: heavy tails, of Student's t.",
    )


def _hidden_tasks(estimates: Estimates) -> list[InformationTask]:
    """Return the pairs of hidden states that were measured: Gaussian ones first, by size."""
    matches = {match[0]: match for task, _ in estimates if (match := _HIDDEN.fullmatch(task))}
    tasks = [
        hidden_state_task(int(match[1]), degrees_of_freedom=float(match[2]) if match[2] else None)
        for match in matches.values()
    ]
    return sorted(tasks, key=lambda task: (_heavy(task), task.dimensions))


def _heavy(task: InformationTask) -> bool:
    """Return whether hidden states have heavy tails."""
    return "-dof-" in task.identifier


def _over_seeds(estimates: Estimates, tasks: Sequence[InformationTask], methods: Sequence[str]) -> Floats:
    """Return means, least and largest estimates ``[3, tasks, methods]``; NaN where there is none."""
    values = [[estimates.get((task.identifier, method), [np.nan]) for method in methods] for task in tasks]
    return np.array([[[take(seeds) for seeds in row] for row in values] for take in (np.mean, np.min, np.max)])


def _kinds(tasks: Sequence[InformationTask], estimates: Estimates, methods: Sequence[str]) -> Panel:
    """Return the mean over the tasks of a kind of the error of the mean over the seeds; NaN where there is none."""
    errors = np.abs(_over_seeds(estimates, tasks, methods)[0] - [[task.information] for task in tasks])
    kinds: dict[str, list[int]] = defaultdict(list)
    for place, task in enumerate(tasks):
        kinds[_kind(task)].append(place)
    values = np.full((len(kinds), len(methods)), np.nan)
    for row, places in enumerate(kinds.values()):
        for column, known in enumerate(np.isfinite(errors[places]).T):
            if known.any():
                values[row, column] = errors[places, column][known].mean()
    rows = [f"{kind} [{len(places)}]" for kind, places in kinds.items()]
    columns = [method.replace("_", " ") for method in methods]
    shades = Heatmap("|error| of the mean, nats", values, rows, columns, largest=0.5)
    return Panel("Error by kind of task [number]", "estimator", "", [shades], width=1.6)


def _kind(task: InformationTask) -> str:
    """Return what tasks of several sizes have in common."""
    if np.prod(task.dimensions) <= _SMALL:
        return "1 × 1 and 2 × 1"
    kind = next(kind for beginning, kind in _KINDS.items() if task.identifier.startswith(beginning))
    return f"{kind} (t)" if _heavy(task) else kind


def _relative(errors: Floats) -> Panel:
    """Return relative errors ``[tasks, methods]``."""
    parts: list[Part] = [Line("truth", np.array([-0.5, len(SHOWN) - 0.5]), np.zeros(2), Role.TRUTH)]
    aside = np.linspace(-0.3, 0.3, len(errors))
    parts += [Points("", place + aside, column, series=0, scatter=True) for place, column in enumerate(errors.T)]
    low, middle, high = np.quantile(errors, (_BAND[0], 0.5, _BAND[1]), axis=0)
    places = np.arange(float(len(SHOWN)))
    parts.append(Points("median and quantiles over the tasks", places, middle, low, high, series=1))
    label = "(estimate − truth) / truth"
    return Panel("Relative error on the 40 tasks", "estimator", label, parts, x_names=SHOWN)


def _hidden_states(tasks: Sequence[InformationTask], spread: Floats, methods: Sequence[str], n_samples: int) -> Panel:
    places, ceiling = np.arange(float(len(tasks))), float(discrete_information_ceiling(n_samples))
    label = f"log N = {ceiling:.2f}: the N pairs themselves hold no more"
    parts: list[Part] = [
        Line("truth", places, np.array([task.information for task in tasks]), Role.TRUTH),
        Line(label, places[[0, -1]], np.full(2, ceiling), Role.RIVAL),
    ]
    for number, method in enumerate(methods):
        aside = 0.13 * (number - (len(methods) - 1) / 2)
        parts.append(Points(method.replace("_", " "), places + aside, *spread[:, :, number]))
    names = [f"{task.dimensions[0]}{', t' if _heavy(task) else ''}" for task in tasks]
    return Panel("Hidden states", "dimensions of each side", "estimate, nats", parts, y_scale="log", x_names=names)


def _spread_sentence(tasks: Sequence[InformationTask], means: Floats) -> str:
    """Say how far apart the estimators are on the hidden states where they differ most."""
    low, high = means.min(axis=1), means.max(axis=1)
    place = int(np.argmax(high / low))
    task = tasks[place]
    return (
        f"On {'Student-t' if _heavy(task) else 'Gaussian'} hidden states of {task.dimensions[0]} dimensions estimates "
        f"run from {low[place]:.3g} to {high[place]:.3g} nats, where the truth is {task.information:.3g}."
    )
