"""Figure 4: held-out loss over the rank at a fixed budget."""

from __future__ import annotations

import numpy as np

from paper_figs.pictures import Line, Panel, Part, Picture, Role, floats, ticks
from paper_figs.reported_results import CHECK, LOSS, PART, curve_points, seeds_note, verdict
from paper_figs.sources import Data, Sources

ABOUT = "held-out loss over the rank at a fixed number of steps, a U or not"


def build(sources: Sources) -> Picture:
    """Return the loss over the rank, one panel for each amount of training text."""
    data = sources.data(CHECK, PART)
    panels, told = [], []
    for count, curve in data["figure_4_ranks"].items():
        seen = f"{count} train blocks"
        judged = verdict(sources, "figure-4", f"on {seen}:")
        panels.append(_panel(seen, judged, curve, data["teacher_loss"]))
        told.append(f"{seen}: {judged}")
    return Picture(
        "Held-out loss over the rank",
        panels,
        "The paper's figure shows a U and its text prints no numbers. A U, the best inner rank better than both ends, "
        f"judged over seeds: {'; '.join(told)}. Each rank has the same steps and tokens, though a larger one takes "
        "more operations.",
        seeds_note(sources),
    )


def _panel(seen: str, judged: str, curve: Data, teacher: float) -> Panel:
    ranks, sizes = floats(curve["at"]), curve["deployed_parameters"]
    points = curve_points(f"students, {sizes[0]:,} to {sizes[-1]:,} deployed parameters", ranks, curve["losses"])
    parts: list[Part] = [points, Line("the teacher", ranks[[0, -1]], np.full(2, teacher), Role.TRUTH)]
    return Panel(f"{seen.capitalize()} (a U: {judged})", "rank r", LOSS, parts, "log", x_ticks=ticks(ranks))
