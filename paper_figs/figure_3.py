"""Figure 3: sensitivity to the learning rate and to the clone weight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from paper_figs.pictures import Line, Panel, Part, Picture, Points, Printed, Role, floats, ticks
from paper_figs.reported_results import LOSS, curve_points, extent, measured, seeds_note, verdict
from paper_figs.sources import Sources
from theorykit.arguments import Floats
from validation.claims.comparison import Group
from validation.reported_results.design import CLONING, PAPER_CLONE_WEIGHT, PAPER_RATE, ROWS
from validation.reported_results.students import StudentsData
from validation.reported_results.verdicts import ROBUST

ABOUT = "held-out loss over the learning rate and over the clone weight λ"
_ROBUST_RATES = (1e-4, 1e-2)
"""§5.8."""


def build(sources: Sources) -> Picture:
    """Return losses over the learning rate and over λ, beside where the paper says that they are good."""
    data = measured(sources)
    robust, around = (verdict(sources, "figure-3-learning-rate", key) for key in ("robust", "around"))
    spot = verdict(sources, "figure-3-clone-weight", "sweet-spot")
    return Picture(
        "Sensitivity to learning rate and clone weight",
        [_rates(data, robust, around), _weights(data, spot)],
        "The paper says where its students do well and prints no losses: its marks have no height. Judged over seeds: "
        f"no rate of the grid loses more than {ROBUST:g} nats (a margin of ours): {robust}; the best rate is around "
        f"3e-4: {around}; λ = 1 is better than both ends: {spot}.",
        seeds_note(sources),
    )


def _rates(data: StudentsData, robust: str, around: str) -> Panel:
    rates = floats(data.figure_3_learning_rates.at)
    points = curve_points("students", rates, data.figure_3_learning_rates)
    ends = np.array(extent(rates, _ROBUST_RATES))
    margin = np.full(2, np.nanmin(points.y) + ROBUST)
    lines = [
        Line(f"least mean + {ROBUST:g} nats: our margin of robust", ends, margin, Role.RIVAL),
        _teacher(data, ends),
    ]
    label = f"the paper, §5.8, no height: best around 3e-4 (here {around}), robust from 1e-4 to 1e-2 (here {robust})"
    return _panel(
        "Learning rate", "peak learning rate", points, lines, label, PAPER_RATE, _ROBUST_RATES, rates=ticks(rates)
    )


def _weights(data: StudentsData, spot: str) -> Panel:
    weights = data.figure_3_clone_weights.at
    names = [f"{weight:g}" for weight in weights]
    points = curve_points("students", np.arange(float(len(weights))), data.figure_3_clone_weights)
    place = float(weights.index(PAPER_CLONE_WEIGHT))
    if 0.0 not in weights:
        # λ = 0 is a row of Table 2: the same students but for that
        names, place = ["0", *names], place + 1
        points = _prepended(points, next(group for group in data.table_2 if group.name["row"] == ROWS[CLONING]))
    teacher = _teacher(data, np.array([-0.5, len(names) - 0.5]))
    label = f"the paper, §5.8, no height: “a sweet spot around 1.0” (here {spot})"
    return _panel(
        "Clone weight (0: no cloning)", "clone weight λ, equally spaced", points, [teacher], label, place, names=names
    )


def _prepended(points: Points, group: Group) -> Points:
    """Return the points with the students of a row of a table before the others."""
    first = group.held_out, *(group.interval or (None, None))
    y, low, high = (
        np.r_[floats([value]), others] for value, others in zip(first, (points.y, points.low, points.high), strict=True)
    )
    return Points(points.label, np.arange(float(y.size)), y, low, high, joined=True)


def _teacher(data: StudentsData, ends: Floats) -> Line:
    return Line("the teacher", ends, np.full(2, data.teacher_loss), Role.TRUTH)


def _panel(
    title: str,
    x_label: str,
    points: Points,
    lines: Sequence[Line],
    label: str,
    place: float,
    ends: tuple[float, float] | None = None,
    *,
    rates: Sequence[float] = (),
    names: Sequence[str] = (),
) -> Panel:
    """Return a panel with the paper's mark under all that was measured."""
    low, high = extent(points.y, points.low, points.high, *(line.y for line in lines))
    mark = np.array([low - 0.08 * (high - low)])
    left, right = (None, None) if ends is None else (np.array([end]) for end in ends)
    printed = Printed(label, np.array([place]), mark, left=left, right=right)
    parts: list[Part] = [points, *lines, printed]
    limits = (low - 0.16 * (high - low), high + 0.05 * (high - low))
    scale = "linear" if names else "log"
    return Panel(title, x_label, LOSS, parts, scale, y_limits=limits, x_names=names, x_ticks=rates)
