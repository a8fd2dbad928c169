"""The empirical Rademacher complexity of linear models of low rank, beside eq 21 and what is true in its place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from paper_figs.pictures import Line, Panel, Part, Picture, Points, Role, Vacuous
from paper_figs.sources import Sources
from theorykit.arguments import Floats
from theorykit.errors import InputError
from theorykit.verdicts import student_interval

ABOUT = "Rademacher complexity over rank and sample size, beside eq 21 and bounds that hold"
COMPLEXITY = "Rademacher complexity, in units of B R"


@dataclass(frozen=True, eq=False)
class Bounds:
    """Bounds that do not look at the sample ``[places]``: eq 21 with the constant 1, and B R/√N."""

    printed: Floats
    rank_free: Floats


@dataclass(frozen=True, eq=False)
class Measured:
    """Complexities and the bounds that look at the sample ``[seeds, places]``."""

    complexity: Floats
    dudley: Floats
    khintchine: Floats


@dataclass(frozen=True)
class Inputs:
    """What was measured of one kind of inputs, over the ranks and over the sample sizes."""

    over_ranks: Measured
    over_samples: Measured


@dataclass(frozen=True, eq=False)
class RademacherBounds:
    """The record: places, bounds there, and what was measured by kind of inputs, in units of B R."""

    shape: tuple[int, int]
    draws: int
    ranks: Floats
    samples: Floats
    at_samples: int
    at_rank: int
    trivial: float
    over_ranks: Bounds
    over_samples: Bounds
    inputs: dict[str, Inputs]

    def __post_init__(self) -> None:
        for places, bounds, measured in (
            (self.ranks, self.over_ranks, [inputs.over_ranks for inputs in self.inputs.values()]),
            (self.samples, self.over_samples, [inputs.over_samples for inputs in self.inputs.values()]),
        ):
            rows = [bounds.printed, bounds.rank_free]
            rows += [row for own in measured for row in (*own.complexity, *own.dudley, *own.khintchine)]
            whole = all(row.shape == places.shape and np.isfinite(row).all() for row in (places, *rows))
            if not measured or not places.size or not whole:
                raise InputError("there are no inputs, or places without a number")


def build(sources: Sources) -> Picture:
    """Return complexities and bounds over the rank, one panel for each kind of inputs, and over N."""
    data = sources.benchmark("rademacher_bounds", RademacherBounds)
    m, n = data.shape
    seeds = len(next(iter(data.inputs.values())).over_ranks.complexity)
    over = data.over_ranks.printed / data.over_ranks.rank_free
    return Picture(
        "Rademacher complexity of linear models of low rank",
        [*(_by_rank(data, name, series) for series, name in enumerate(data.inputs)), _by_size(data)],
        "Eq 21 has no B R: it is drawn with the constant 1 for B R = 1. There, and at N = "
        f"{data.at_samples:,}, it is {over.min():,.0f} to {over.max():,.0f} times B R/√N, which needs no rank and "
        "always holds; eq 21 grows like r, the complexity at most like √r. Dudley's integral, from which the paper "
        "says it follows, has the root that eq 21 lost. All that rank can save is the distance between the points and "
        "B R/√N.",
        f"W {m} × {n}, X = y xᵀ, ‖W‖_F ≤ B, R² the mean of ‖X‖_F²; {data.draws} draws of the signs. Means of "
        f"{seeds} samples with 95 % intervals, mostly smaller than the marks. Power law: the j-th coordinate of x has "
        "the standard deviation 1/j. Dudley's integral has the least R that serves a sample.",
    )


def _by_rank(data: RademacherBounds, name: str, series: int) -> Panel:
    ranks, measured = data.ranks, data.inputs[name].over_ranks
    points = Points(f"complexity, {name} inputs", ranks, *student_interval(measured.complexity), series=series)
    # bounds that look at the sample are drawn as means: they scatter less than a line is wide
    parts: list[Part] = [
        *_bounds(data, data.over_ranks, ranks),
        Line("Dudley's integral: ∝ √(r(m + n + 1)/N)", ranks, student_interval(measured.dudley)[0], Role.CORRECTED),
        Line("∝ √(r log(m + n)), at most B R/√N", ranks, student_interval(measured.khintchine)[0], Role.CORRECTED),
        Line("√r times the complexity at rank 1", ranks, points.y[0] * np.sqrt(ranks / ranks[0]), Role.RIVAL),
        points,
    ]
    return _panel(data, f"{name.capitalize()} inputs, N = {data.at_samples:,}", "rank r", parts, ranks)


def _by_size(data: RademacherBounds) -> Panel:
    sizes = data.samples
    parts = _bounds(data, data.over_samples, sizes)
    for series, (name, inputs) in enumerate(data.inputs.items()):
        measured = inputs.over_samples
        parts.append(Line(f"Dudley's integral, {name}", sizes, student_interval(measured.dudley)[0], Role.CORRECTED))
        parts.append(Points(f"complexity, {name}", sizes, *student_interval(measured.complexity), series=series))
    return _panel(data, f"Rank {data.at_rank}", "samples N", parts, sizes)


def _bounds(data: RademacherBounds, bounds: Bounds, places: Floats) -> list[Part]:
    return [
        Vacuous("above B R: no linear model has more", data.trivial),
        Line("eq 21 as printed, constant 1, B R = 1", places, bounds.printed, Role.PRINTED),
        Line("B R/√N, no rank", places, bounds.rank_free, Role.CORRECTED),
    ]


def _panel(data: RademacherBounds, title: str, x_label: str, parts: list[Part], places: Floats) -> Panel:
    """Return a panel with the y axis that all share."""
    least = min(
        own.complexity.min() for inputs in data.inputs.values() for own in (inputs.over_ranks, inputs.over_samples)
    )
    limits = (float(least) / 2, 2 * float(max(data.over_ranks.printed.max(), data.over_samples.printed.max())))
    return Panel(title, x_label, COMPLEXITY, parts, "log", "log", y_limits=limits, x_ticks=places.tolist())
