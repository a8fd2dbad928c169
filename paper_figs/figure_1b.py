"""Figure 1(b): the generalization gap over the rank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from paper_figs.pictures import Line, Panel, Part, Picture, Points, Role, Vacuous, floats, ticks
from paper_figs.sources import Sources
from theorykit.arguments import Floats
from validation.theorem_2.students import GapData, Loss, StudentsData

ABOUT = "generalization gap over the rank, beside eq 19 and what needs no rank"
RANK = "rank r"
_AT_MOST = 3
"""Sample sizes that are shown: the smallest, the middle one and the largest."""


def build(sources: Sources) -> Picture:
    """Return gaps over the rank at three sample sizes in nats and in accuracy, and the test accuracy."""
    data = sources.data("generalization-gap", "students", StudentsData)
    places = np.linspace(0, len(data.sizes) - 1, min(_AT_MOST, len(data.sizes))).round()
    sizes = sorted({int(place) for place in places})
    nats, errors, ranks = data.gap(Loss.NATS), data.gap(Loss.ERROR), ticks(floats(data.ranks))
    shown = nats.mean[sizes]
    above = f"{(nats.mean > data.rank_free).sum()} of {np.isfinite(nats.mean).sum()}"
    beyond = f"{(shown >= nats.trivial).sum()} of the {np.isfinite(shown).sum()}"
    accuracies = _points(data, data.held_out_accuracy, sizes, "")
    return Picture(
        "Generalization gap over the rank",
        [
            _bounds(data, nats, sizes),
            Panel("Gap in accuracy (§5.5)", RANK, "train less held-out accuracy", _gaps(data, errors, sizes)),
            Panel("Held-out accuracy", RANK, "next-token accuracy", accuracies, "log", x_ticks=ranks),
        ],
        "Eq 19 as printed has no constants; with both constants 1 it is drawn for the smallest layer, beside what the "
        f"same constants give with no rank at all: {above} measured means lie above that of their n. Shaded, a bound "
        f"on the gap leaves the risk of a uniform guess, whatever the train loss; {beyond} shown means lie there, as "
        "students can be worse than that guess. No form of it is about these students: their losses are not bounded, "
        "their models not linear.",
        f"{len(data.seeds)} seeds, means with 95 % intervals; n in {data.unit_of_n}. The paper prints no numbers of "
        "it.",
    )


def _bounds(data: StudentsData, gap: GapData, sizes: Sequence[int]) -> Panel:
    ranks = floats(data.ranks)
    label = f"from ln V = {gap.trivial:.3g} on a bound on the gap leaves the risk of a uniform guess"
    region = Vacuous(label, gap.trivial)
    lines = [
        Line(f"eq 19 as printed, constants 1, n = {data.sizes[k]}", ranks, data.printed[k], Role.PRINTED) for k in sizes
    ]
    last = sizes[-1]
    rival = Line(f"the same constants, no rank at all, n = {data.sizes[last]}", ranks, data.rank_free[last], Role.RIVAL)
    parts: list[Part] = [region, *lines, rival, *_gaps(data, gap, sizes)]
    return Panel("Gap and bound", RANK, "gap, nats per token", parts, "log", "log", x_ticks=ticks(ranks))


def _gaps(data: StudentsData, gap: GapData, sizes: Sequence[int]) -> list[Points]:
    return _points(data, (gap.mean, gap.lower, gap.upper), sizes, "students, ")


def _points(data: StudentsData, means: tuple[Floats, Floats, Floats], sizes: Sequence[int], who: str) -> list[Points]:
    """Return means with their intervals over the rank, one series for each sample size."""
    ranks, (mean, low, high) = floats(data.ranks), means
    return [Points(f"{who}n = {data.sizes[k]}", ranks, mean[k], low[k], high[k], joined=True) for k in sizes]
