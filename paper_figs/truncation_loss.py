"""Predicted and measured loss of truncating SmolLM2-135M without training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

import numpy as np

from paper_figs.pictures import Line, Panel, Part, Picture, Points, Role, floats
from paper_figs.sources import Sources
from theorykit.errors import InputError
from theorykit.models.model_spectra import ANCHOR_SHARES

ABOUT = "predicted and measured KL of truncated layers of SmolLM2-135M, by the spectrum that was cut"
_SPECTRA = {"plain": "plain", "activation": "activation-whitened", "fisher": "Fisher-whitened"}
_WAYS = ("allocated", "uniform")


class Text(StrEnum):
    """A held-out text, by its likeness to that of the calibration."""

    SAME = "same_kind"
    OTHER = "other_kind"


@dataclass(frozen=True)
class Loss:
    """KL of the truncated model from the whole one, nats per token."""

    kl: float


@dataclass(frozen=True)
class Truncation:
    """One truncation: budget and what was kept as shares of the linear parameters; what was expected and measured."""

    seed: int
    budget: float
    metric: str
    ranks: str
    kept: float
    half_tail_sum: float
    predicted_kl: float
    same_kind: Loss
    other_kind: Loss

    def kl(self, text: Text) -> float:
        """Return the measured KL on a text."""
        return (self.same_kind if text is Text.SAME else self.other_kind).kl


@dataclass(frozen=True)
class Truncations:
    """The record: names of the texts, tokens of each, and truncations, of all spectra and ways at the same sizes."""

    held_out: dict[Text, str]
    evaluation_tokens: int
    rows: tuple[Truncation, ...]

    def __post_init__(self) -> None:
        seeds = [(row.budget, row.seed) for row in self.of("fisher", _WAYS[0])]
        alike = all(
            sorted((row.budget, row.seed) for row in self.of(metric, way)) == sorted(seeds)
            for metric in _SPECTRA
            for way in _WAYS
        )
        if not seeds or not alike or set(self.held_out) != set(Text):
            raise InputError("the spectra and ways have other budgets or seeds, or a text is missing")

    @property
    def budgets(self) -> list[float]:
        """Return the shares of the linear parameters, decreasing."""
        return sorted({row.budget for row in self.rows}, reverse=True)

    def of(self, metric: str, way: str) -> list[Truncation]:
        """Return the truncations by one spectrum with ranks given out one way."""
        return [row for row in self.rows if (row.metric, row.ranks) == (metric, way)]


def build(sources: Sources) -> Picture:
    """Return the measured KL over the prediction on two kinds of text, and over the ½ tail sum."""
    data = sources.benchmark("truncation_loss", Truncations)
    points = {text: _points(data, text) for text in data.held_out}
    panels = [
        _panel(f"{name} ({text.replace('_', ' ')})", "predicted KL", points[text])
        for text, name in data.held_out.items()
    ]
    unscaled = _points(data, Text.SAME, lambda row: row.half_tail_sum)
    panels.append(_panel(f"{data.held_out[Text.SAME]}, no measured scale", "½ tail sum", unscaled))
    orders = "; ".join(f"{data.held_out[text]} {_orders(own)}" for text, own in points.items())
    every = [part.x for own in (*points.values(), unscaled) for part in own]
    direction = " (from left to right)" if all((np.diff(x) > 0).all() for x in every) else ""
    shares = " and ".join(f"{share:.0%}" for share in sorted(ANCHOR_SHARES, reverse=True))
    return Picture(
        "Loss of truncation without training",
        panels,
        "Layers are cut by one of three spectra; allocated ranks follow the same one. The prediction is always the "
        f"Fisher-weighted ½ tail sum of the very weights, on a scale measured with Fisher truncations at {shares}. "
        f"Pairs of points in the right order: {orders}. At one size the Fisher-whitened spectrum costs least in "
        f"{_wins(list(points.values()))}.",
        f"SmolLM2-135M; points are means over {len({row.seed for row in data.rows})} seeds with their range (no "
        f"confidence interval), at {', '.join(f'{budget:.0%}' for budget in data.budgets)} of the numbers in linear "
        f"layers{direction}; uniform ranks keep up to {100 * max(row.budget - row.kept for row in data.rows):.1f} "
        f"points less. {data.evaluation_tokens:,} tokens of each text.",
    )


def _points(
    data: Truncations, text: Text, expected: Callable[[Truncation], float] = lambda row: row.predicted_kl
) -> list[Points]:
    """Return one point for each size, by spectrum and way: means over the seeds, with the range of the numbers."""
    points = []
    for series, (metric, name) in enumerate(_SPECTRA.items()):
        for way in _WAYS:
            groups = [[row for row in data.of(metric, way) if row.budget == budget] for budget in data.budgets]
            x = floats([[expected(row) for row in rows] for rows in groups])
            y = floats([[row.kl(text) for row in rows] for rows in groups])
            points.append(
                Points(
                    f"{name}, {way} ranks",
                    x.mean(axis=1),
                    y.mean(axis=1),
                    y.min(axis=1),
                    y.max(axis=1),
                    series=series,
                    hollow=way == "uniform",
                    left=x.min(axis=1),
                    right=x.max(axis=1),
                )
            )
    return points


def _panel(title: str, quantity: str, points: Sequence[Points]) -> Panel:
    every = np.concatenate([part.x for part in points])
    ends = np.array([every.min(), every.max()])
    parts: list[Part] = [Line("measured = predicted", ends, ends, Role.TRUTH), *points]
    return Panel(title, f"{quantity}, nats per token", "measured KL, nats per token", parts, "log", "log")


def _orders(points: Sequence[Points]) -> str:
    """Return how many pairs of points the prediction puts in the measured order, over all and for each spectrum."""
    counts = [f"of all {_in_order(points)}"]
    for series, name in enumerate(_SPECTRA.values()):
        counts.append(f"{name} {_in_order([part for part in points if part.series == series])}")
    return ", ".join(counts)


def _in_order(points: Sequence[Points]) -> str:
    places = np.column_stack([np.concatenate([getattr(part, axis) for part in points]) for axis in ("x", "y")])
    signs = [np.prod(first - second) > 0 for first, second in combinations(places, 2)]
    return f"{sum(signs)}/{len(signs)}"


def _wins(texts: Sequence[Sequence[Points]]) -> str:
    """Return in how many cases the Fisher-whitened spectrum has the least measured KL."""
    fisher = list(_SPECTRA).index("fisher")
    measured = np.array([[part.y for part in points] for points in texts])  # [texts, spectra × ways, budgets]
    spectra = measured.reshape(len(texts), len(_SPECTRA), -1)
    return f"{(spectra.argmin(axis=1) == fisher).sum()} of {spectra[:, 0].size} cases"
