"""Figure 1(b): the generalization gap over the rank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from paper_figs.pictures import Line, Panel, Part, Picture, Points, Role, Vacuous, floats, ticks
from paper_figs.sources import Data, Sources
from theorykit.arguments import Floats

ABOUT = "generalization gap over the rank, beside eq 19 and what needs no rank"
RANK = "rank r"
_AT_MOST = 3
"""Sample sizes that are shown: the smallest, the middle one and the largest."""


def build(sources: Sources) -> Picture:
    """Return gaps over the rank at three sample sizes in nats and in accuracy, and the test accuracy."""
    data = sources.data("generalization-gap", "students")
    ranks, sizes = floats(data["ranks"]), data["sizes"]
    places = np.linspace(0, len(sizes) - 1, min(_AT_MOST, len(sizes))).round()
    shown = sorted({int(place) for place in places})
    names = {gap["loss"]: gap for gap in data["gaps"]}
    nats, errors = names["cross-entropy, nats per token"], names["next-token error"]
    panels = [_bounds(data, nats, ranks, shown), _gap(data, errors, ranks, shown), _accuracy(data, ranks, shown)]
    seeds = len(data["seeds"])
    return Picture(
        "Generalization gap over the rank",
        panels,
        "Eq 19 as printed has no constants; with both constants 1 it is drawn for the smallest layer, beside what the "
        f"same constants give with no rank at all: {_above(nats, data)} of their n. Shaded, a bound on the gap leaves "
        f"the risk of a uniform guess, whatever the train loss; {_beyond(nats, shown)} means lie there, as students "
        "can be worse than that guess. No form of it is about these students: their losses are not bounded, their "
        "models not linear.",
        f"{seeds} seeds, means with 95 % intervals; n in {data['unit_of_n']}. The paper prints no numbers of it.",
    )


def _above(gap: Data, data: Data) -> str:
    """Return how many mean gaps of all sizes and ranks pass the bound that needs no rank."""
    mean = floats(gap["mean"])
    return f"{(mean > floats(data['rank_free'])).sum()} of {np.isfinite(mean).sum()} measured means lie above that"


def _beyond(gap: Data, shown: Sequence[int]) -> str:
    mean = floats(gap["mean"])[list(shown)]
    return f"{(mean >= gap['trivial']).sum()} of the {np.isfinite(mean).sum()} shown"


def _bounds(data: Data, gap: Data, ranks: Floats, shown: Sequence[int]) -> Panel:
    sizes = data["sizes"]
    label = f"from ln V = {gap['trivial']:.3g} on a bound on the gap leaves the risk of a uniform guess"
    region = Vacuous(label, gap["trivial"])
    lines = [
        Line(f"eq 19 as printed, constants 1, n = {sizes[k]}", ranks, floats(data["printed"][k]), Role.PRINTED)
        for k in shown
    ]
    free = floats(data["rank_free"][shown[-1]])
    rival = Line(f"the same constants, no rank at all, n = {sizes[shown[-1]]}", ranks, free, Role.RIVAL)
    parts: list[Part] = [region, *lines, rival, *_measured(data, gap, ranks, shown)]
    return Panel("Gap and bound", RANK, "gap, nats per token", parts, "log", "log", x_ticks=ticks(ranks))


def _gap(data: Data, gap: Data, ranks: Floats, shown: Sequence[int]) -> Panel:
    parts = _measured(data, gap, ranks, shown)
    return Panel("Gap in accuracy (§5.5)", RANK, "train less held-out accuracy", parts)


def _accuracy(data: Data, ranks: Floats, shown: Sequence[int]) -> Panel:
    mean, low, high = (floats(part) for part in data["held_out_accuracy"])
    parts = [Points(f"n = {data['sizes'][k]}", ranks, mean[k], low[k], high[k], joined=True) for k in shown]
    return Panel("Held-out accuracy", RANK, "next-token accuracy", parts, "log", x_ticks=ticks(ranks))


def _measured(data: Data, gap: Data, ranks: Floats, shown: Sequence[int]) -> list[Points]:
    mean, low, high = (floats(gap[part]) for part in ("mean", "lower", "upper"))
    return [Points(f"students, n = {data['sizes'][k]}", ranks, mean[k], low[k], high[k], joined=True) for k in shown]
