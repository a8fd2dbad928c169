"""The empirical Rademacher complexity of linear models of low rank, beside eq 21 and what is true in its place."""

from __future__ import annotations

import numpy as np

from paper_figs.pictures import Line, Panel, Part, Picture, Points, Role, Vacuous, floats
from paper_figs.sources import Data, Sources
from theorykit.arguments import Floats
from theorykit.verdicts import student_interval

ABOUT = "Rademacher complexity over rank and sample size, beside eq 21 and bounds that hold"
COMPLEXITY = "Rademacher complexity, in units of B R"
_EQ_21 = "eq 21 as printed, constant 1, B R = 1"


def build(sources: Sources) -> Picture:
    """Return complexities and bounds over the rank, one panel for each kind of inputs, and over N."""
    data = sources.benchmark("rademacher_bounds")
    by_rank = [_by_rank(data, name, number) for number, name in enumerate(data["inputs"])]
    m, n = data["shape"]
    seeds = _seeds(data)
    over = floats(data["over_ranks"]["printed"]) / floats(data["over_ranks"]["rank_free"])
    return Picture(
        "Rademacher complexity of linear models of low rank",
        [*by_rank, _by_size(data)],
        "Eq 21 has no B R: it is drawn with the constant 1 for B R = 1. There, and at N = "
        f"{data['at_samples']:,}, it is {over.min():,.0f} to {over.max():,.0f} times B R/√N, which needs no rank and "
        "always holds; eq 21 grows like r, the complexity at most like √r. Dudley's integral, from which the paper "
        "says it follows, has the root that eq 21 lost. All that rank can save is the distance between the points and "
        "B R/√N.",
        f"W {m} × {n}, X = y xᵀ, ‖W‖_F ≤ B, R² the mean of ‖X‖_F²; {data['draws']} draws of the signs. Means of "
        f"{seeds} samples with 95 % intervals, mostly smaller than the marks. Power law: the j-th coordinate of x has "
        "the standard deviation 1/j. Dudley's integral has the least R that serves a sample.",
    )


def _by_rank(data: Data, name: str, series: int) -> Panel:
    ranks, found = floats(data["ranks"]), data["inputs"][name]["over_ranks"]
    points = _measured(found, ranks, f"complexity, {name} inputs", series)
    parts: list[Part] = [
        _vacuous(data),
        Line(_EQ_21, ranks, floats(data["over_ranks"]["printed"]), Role.PRINTED),
        Line("B R/√N, no rank", ranks, floats(data["over_ranks"]["rank_free"]), Role.CORRECTED),
        *_bounds(found, ranks),
        Line("√r times the complexity at rank 1", ranks, points.y[0] * np.sqrt(ranks / ranks[0]), Role.RIVAL),
        points,
    ]
    return _panel(data, f"{name.capitalize()} inputs, N = {data['at_samples']:,}", "rank r", parts, ranks)


def _by_size(data: Data) -> Panel:
    sizes = floats(data["samples"])
    parts: list[Part] = [
        _vacuous(data),
        Line(_EQ_21, sizes, floats(data["over_samples"]["printed"]), Role.PRINTED),
        Line("B R/√N, no rank", sizes, floats(data["over_samples"]["rank_free"]), Role.CORRECTED),
    ]
    for series, (name, inputs) in enumerate(data["inputs"].items()):
        found = inputs["over_samples"]
        dudley = student_interval(floats(found["dudley"]))[0]
        parts.append(Line(f"Dudley's integral, {name}", sizes, dudley, Role.CORRECTED))
        parts.append(_measured(found, sizes, f"complexity, {name}", series))
    return _panel(data, f"Rank {data['at_rank']}", "samples N", parts, sizes)


def _panel(data: Data, title: str, x_label: str, parts: list[Part], places: Floats) -> Panel:
    """Return a panel with the y axis that all share."""
    shared = ("over_ranks", "over_samples")
    least = min(np.min(inputs[over]["complexity"]) for inputs in data["inputs"].values() for over in shared)
    limits = (float(least) / 2, 2 * max(max(data[over]["printed"]) for over in shared))
    return Panel(title, x_label, COMPLEXITY, parts, "log", "log", y_limits=limits, x_ticks=places.tolist())


def _vacuous(data: Data) -> Vacuous:
    return Vacuous("above B R: no linear model has more", data["trivial"])


def _bounds(found: Data, ranks: Floats) -> list[Line]:
    """Return the bounds that look at the sample, as means: they scatter less than a line is wide."""
    labels = {"dudley": "Dudley's integral: ∝ √(r(m + n + 1)/N)", "khintchine": "∝ √(r log(m + n)), at most B R/√N"}
    return [
        Line(label, ranks, student_interval(floats(found[name]))[0], Role.CORRECTED) for name, label in labels.items()
    ]


def _measured(found: Data, places: Floats, label: str, series: int) -> Points:
    mean, low, high = student_interval(floats(found["complexity"]))
    return Points(label, places, mean, low, high, series=series)


def _seeds(data: Data) -> int:
    return len(next(iter(data["inputs"].values()))["over_ranks"]["complexity"])
