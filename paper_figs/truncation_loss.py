"""Predicted and measured loss of truncating SmolLM2-135M without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from paper_figs.pictures import Line, Panel, Part, Picture, Points, Role, floats
from paper_figs.sources import Data, Sources
from theorykit.arguments import Floats
from theorykit.models.model_spectra import ANCHOR_SHARES

ABOUT = "predicted and measured KL of truncated layers of SmolLM2-135M, by the spectrum that was cut"
_SPECTRA = {"plain": "plain", "activation": "activation-whitened", "fisher": "Fisher-whitened"}
_WAYS = ("allocated", "uniform")
_PREDICTIONS = {"predicted_kl": "predicted KL, nats per token", "half_tail_sum": "½ tail sum, nats per token"}
Rows = Sequence[Mapping[str, Any]]


def build(sources: Sources) -> Picture:
    """Return the measured KL over the prediction on two kinds of text, and over the ½ tail sum."""
    data = sources.benchmark("truncation_loss")
    rows, texts = data["rows"], data["held_out"]
    panels = [_panel(rows, f"{text} ({kind.replace('_', ' ')})", "predicted_kl", kind) for kind, text in texts.items()]
    panels.append(_panel(rows, f"{texts['same_kind']}, no measured scale", "half_tail_sum", "same_kind"))
    shares = " and ".join(f"{share:.0%}" for share in sorted(ANCHOR_SHARES, reverse=True))
    return Picture(
        "Loss of truncation without training",
        panels,
        "Layers are cut by one of three spectra; allocated ranks follow the same one. The prediction is always the "
        f"Fisher-weighted ½ tail sum of the very weights, on a scale measured with Fisher truncations at {shares}. "
        f"Pairs of points in the right order: {_orders(data)}. At one size the Fisher-whitened spectrum costs least in "
        f"{_wins(data)}.",
        f"SmolLM2-135M; points are means over {len({row['seed'] for row in rows})} seeds with their "
        f"range (no confidence interval), at {_budgets(rows)} of the numbers in linear layers{_direction(panels)}; "
        f"uniform ranks keep up to {_short_of(rows):.1f} points less. {data['evaluation_tokens']:,} tokens of each "
        "text.",
    )


def _panel(rows: Rows, title: str, predicted: str, kind: str) -> Panel:
    points = [_points(rows, metric, way, predicted, kind) for metric in _SPECTRA for way in _WAYS]
    every = np.concatenate([part.x for part in points])
    ends = np.array([every.min(), every.max()])
    parts: list[Part] = [Line("measured = predicted", ends, ends, Role.TRUTH), *points]
    return Panel(title, _PREDICTIONS[predicted], "measured KL, nats per token", parts, "log", "log")


def _points(rows: Rows, metric: str, way: str, predicted: str, kind: str) -> Points:
    """Return one point for each size: means over the seeds, with the range of what was measured."""
    groups = [own for key, own in _groups(rows).items() if key[1:] == (metric, way)]
    expected = floats([[row[predicted] for row in own] for own in groups])
    measured = floats([[row[kind]["kl"] for row in own] for own in groups])
    return Points(
        f"{_SPECTRA[metric]}, {way} ranks",
        expected.mean(axis=1),
        measured.mean(axis=1),
        measured.min(axis=1),
        measured.max(axis=1),
        series=list(_SPECTRA).index(metric),
        hollow=way == "uniform",
        left=expected.min(axis=1),
        right=expected.max(axis=1),
    )


def _groups(rows: Rows) -> dict[tuple[float, str, str], list[Mapping[str, Any]]]:
    """Return the seeds of each budget, spectrum and way of giving out ranks, larger budgets first."""
    found: dict[tuple[float, str, str], list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: -float(row["budget"])):
        found.setdefault((row["budget"], row["metric"], row["ranks"]), []).append(row)
    return found


def _means(groups: Sequence[Rows], kind: str) -> tuple[Floats, Floats]:
    """Return the predicted and the measured KL of groups of seeds."""
    predicted = [np.mean([row["predicted_kl"] for row in own]) for own in groups]
    return floats(predicted), floats([np.mean([row[kind]["kl"] for row in own]) for own in groups])


def _orders(data: Data) -> str:
    """Return how many pairs of points the prediction puts in the measured order, over all and for each spectrum."""
    wanted = {"of all": list(_SPECTRA)} | {name: [metric] for metric, name in _SPECTRA.items()}
    told = []
    for kind, text in data["held_out"].items():
        counts = (f"{name} {_in_order(data['rows'], kind, metrics)}" for name, metrics in wanted.items())
        told.append(f"{text} {', '.join(counts)}")
    return "; ".join(told)


def _in_order(rows: Rows, kind: str, metrics: Sequence[str]) -> str:
    predicted, measured = _means([own for key, own in _groups(rows).items() if key[1] in metrics], kind)
    pairs = list(combinations(range(predicted.size), 2))
    right = sum((predicted[one] - predicted[two]) * (measured[one] - measured[two]) > 0 for one, two in pairs)
    return f"{right}/{len(pairs)}"


def _wins(data: Data) -> str:
    """Return in how many cases the Fisher-whitened spectrum has the least measured KL."""
    groups, texts = _groups(data["rows"]), data["held_out"]
    cases = sorted({(budget, way) for budget, _, way in groups})
    place = list(_SPECTRA).index("fisher")
    measured = [
        _means([groups[budget, metric, way] for metric in _SPECTRA], kind)[1] for budget, way in cases for kind in texts
    ]
    return f"{sum(int(losses.argmin()) == place for losses in measured)} of {len(measured)} cases"


def _budgets(rows: Rows) -> str:
    return ", ".join(f"{budget:.0%}" for budget in sorted({row["budget"] for row in rows}, reverse=True))


def _direction(panels: Sequence[Panel]) -> str:
    """Return which point of a series has which size, where the prediction tells them apart."""
    every = [part.x for panel in panels for part in panel.parts if isinstance(part, Points)]
    return " (from left to right)" if all((np.diff(x) > 0).all() for x in every) else ""


def _short_of(rows: Rows) -> float:
    """Return by how many points of the share of parameters a truncation stays below its budget."""
    return 100 * max(float(row["budget"] - row["kept"]) for row in rows)
