"""Figure 4: held-out loss over the rank at a fixed budget."""

from __future__ import annotations

import numpy as np

from paper_figs.pictures import Line, Panel, Part, Picture, Role, floats, ticks
from paper_figs.reported_results import LOSS, curve_points, measured, seeds_note, verdict
from paper_figs.sources import Sources
from theorykit.errors import InputError
from validation.reported_results.students import CurveData

ABOUT = "held-out loss over the rank at a fixed number of steps, a U or not"


def build(sources: Sources) -> Picture:
    """Return the loss over the rank, one panel for each amount of training text."""
    data = measured(sources)
    panels, sentences = [], []
    for blocks, curve in data.figure_4_ranks.items():
        seen, turns = f"{blocks} train blocks", verdict(sources, "figure-4", "u-shape", blocks=blocks)
        panels.append(_panel(seen, turns, curve, data.teacher_loss))
        sentences.append(f"{seen}: {turns}")
    return Picture(
        "Held-out loss over the rank",
        panels,
        "The paper's figure shows a U and its text prints no numbers. A U, the best inner rank better than both ends, "
        f"judged over seeds: {'; '.join(sentences)}. Each rank has the same steps and tokens, though a larger one "
        "takes more operations.",
        seeds_note(sources),
    )


def _panel(seen: str, turns: str, curve: CurveData, teacher: float) -> Panel:
    ranks, least, most = floats(curve.at), curve.deployed_parameters[0], curve.deployed_parameters[-1]
    if least is None or most is None:
        raise InputError(f"no student of the least or the largest rank ended on {seen}", "run it again")
    points = curve_points(f"students, {least:,} to {most:,} deployed parameters", ranks, curve)
    parts: list[Part] = [points, Line("the teacher", ranks[[0, -1]], np.full(2, teacher), Role.TRUTH)]
    return Panel(f"{seen.capitalize()} (a U: {turns})", "rank r", LOSS, parts, "log", x_ticks=ticks(ranks))
