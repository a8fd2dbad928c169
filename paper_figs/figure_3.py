"""Figure 3: sensitivity to the learning rate and to the clone weight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from paper_figs.pictures import Line, Panel, Part, Picture, Points, Printed, Role, floats, ticks
from paper_figs.reported_results import CHECK, LOSS, PART, curve_points, extent, seeds_note, verdict
from paper_figs.sources import Data, Sources
from theorykit.arguments import Floats
from validation.reported_results.design import PAPER_CLONE_WEIGHT, PAPER_RATE
from validation.reported_results.verdicts import ROBUST

ABOUT = "held-out loss over the learning rate and over the clone weight λ"
_ROBUST_RATES = (1e-4, 1e-2)
"""§5.8."""
_WITHOUT_CLONING = "w/o cloning"
"""Row of Table 2 with λ = 0: the same students but for that."""


def build(sources: Sources) -> Picture:
    """Return losses over the learning rate and over λ, beside where the paper says that they are good."""
    data = sources.data(CHECK, PART)
    robust, around = (verdict(sources, "figure-3-learning-rate", part) for part in ("robust", "lies around"))
    spot = verdict(sources, "figure-3-clone-weight")
    return Picture(
        "Sensitivity to learning rate and clone weight",
        [_rates(data, robust, around), _weights(data, spot)],
        "The paper says where its students do well and prints no losses: its marks have no height. Judged over seeds: "
        f"no rate of the grid loses more than {ROBUST:g} nats (a margin of ours): {robust}; the best rate is around "
        f"3e-4: {around}; λ = 1 is better than both ends: {spot}.",
        seeds_note(sources),
    )


def _rates(data: Data, robust: str, around: str) -> Panel:
    curve = data["figure_3_learning_rates"]
    rates = floats(curve["at"])
    points = curve_points("students", rates, curve["losses"])
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


def _weights(data: Data, spot: str) -> Panel:
    curve = data["figure_3_clone_weights"]
    weights, losses = list(curve["at"]), list(curve["losses"])
    names = [f"{weight:g}" for weight in weights]
    points = curve_points("students", np.arange(float(len(weights))), losses)
    place = float(weights.index(PAPER_CLONE_WEIGHT))
    without = next(row for row in data["table_2"] if row["name"]["row"] == _WITHOUT_CLONING)
    if 0.0 not in weights:
        names, place = ["0", *names], place + 1
        points = _prepended(points, without)
    teacher = _teacher(data, np.array([-0.5, len(names) - 0.5]))
    label = f"the paper, §5.8, no height: “a sweet spot around 1.0” (here {spot})"
    return _panel(
        "Clone weight (0: no cloning)", "clone weight λ, equally spaced", points, [teacher], label, place, names=names
    )


def _prepended(points: Points, row: Data) -> Points:
    """Return the points with λ = 0, which Table 2 has, before the others."""
    ends = row["interval"] or (np.nan, np.nan)
    new = [row["held_out"], *ends]
    y, low, high = (
        np.r_[floats([one]), old] for one, old in zip(new, (points.y, points.low, points.high), strict=True)
    )
    return Points(points.label, np.arange(float(y.size)), y, low, high, joined=True)


def _teacher(data: Data, ends: Floats) -> Line:
    return Line("the teacher", ends, np.full(2, data["teacher_loss"]), Role.TRUTH)


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
