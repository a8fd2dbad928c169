"""All rank rules side by side on a real teacher: ranks over n, ranks that do not look at n, and what they cost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import theorykit as tk
from paper_figs.pictures import Line, Panel, Part, Picture, Points, Printed, Role, Vacuous, floats
from paper_figs.sources import Sources
from theorykit.arguments import Floats
from theorykit.rank_selection.result import RuleSummary

ABOUT = "ranks that every rule gives SmolLM2-135M over n, and the predicted loss of what they keep"
SIZES = np.logspace(3, 7, 9)
"""Training sequences."""
PAPER = (1e5, 300.0, 400.0)
"""Samples, and the ranks that the paper's §5.6 recommends for them."""
FORMULAS = {
    "paper-eq17": Role.PRINTED,
    "paper-section6": Role.PRINTED,
    "theorem2": Role.PRINTED,
    "corrected": Role.CORRECTED,
}
"""Rules that give all layers one rank."""
BY_LAYER = ("spectrum", "common-price")
"""Rules that look at n and at the layer."""
_SHORT = {
    "energy90": "90 %",
    "energy95": "95 %",
    "energy99": "99 %",
    "stable-rank": "stable",
    "effective-rank": "effect.",
    "gavish-donoho": "G.–D.",
}
_RANK = "rank (median over layers)"
Rules = dict[str, list[RuleSummary]]


def build(sources: Sources) -> Picture:
    """Return ranks over n, ranks without n, and the predicted loss of both over the parameters kept."""
    spectra = sources.bundled()
    by_size = zip(*(tk.select_ranks(spectra, n).rules for n in SIZES), strict=True)
    rules: Rules = {summaries[0].key: list(summaries) for summaries in by_size}
    widest = floats([part.spectrum.max_rank for part in spectra.factorable])
    edge = max(part.layer.break_even for part in spectra.factorable)
    region = Vacuous(f"from rank {edge:.0f} on no layer saves parameters", edge)
    return Picture(
        "Rank rules on a real teacher, SmolLM2-135M",
        [_over_n(rules, widest, region), _without_n(rules, widest, region), _price(rules, spectra)],
        _caption(rules, spectra),
        f"Computed from the spectra of {widest.size} layers; the two truncations are the only measurements. Ranks are "
        "clipped to min(m, n) of a layer, and a layer that stays dense counts with that; band and bars reach from the "
        "least to the largest, and spectral decay has none: least rank "
        f"{_spread(rules['spectrum'], widest)[0][0]:.0f}, largest {widest.max():.0f}. On the right curves run over the "
        "n of the left; rules that give all layers one rank share a curve. n in sequences of 1,024 tokens: the paper "
        f"does not say what a sample is. Common price: {rules['common-price'][0].source}, for distillation.",
    )


def _caption(rules: Rules, spectra: tk.ModelSpectra) -> str:
    place = int(np.argmin(np.abs(SIZES - PAPER[0])))
    whole, tenth = (max(_kept(rules[key][place])) for key in ("paper-eq17", "paper-section6"))
    losses = [rules[key][place].predicted_loss for key in ("paper-eq17", "paper-section6", "common-price")]
    first, second, price = (f"{loss:.2g}" for loss in losses)
    flat = sum(key in _SHORT for key in rules)
    full = [rule.saturated_layers for rule in rules["spectrum"]]
    slow = sum(part.decay.exponent <= 0.5 for part in spectra.factorable)
    return (
        f"At {SIZES[place]:,.0f} sequences the paper's two rules ask for {whole} and {tenth}, with a predicted KL "
        f"before training of {first} and {second} nats per token; the common price within its budget has {price}. "
        f"{flat} rules do not look at n, and spectral decay asks for full rank in {min(full)} to {max(full)} of "
        f"{len(spectra.factorable)} layers, in {slow} for α ≤ ½. The KL is interpolated between the two measured "
        "truncations and extrapolated everywhere else."
    )


def _kept(rule: RuleSummary) -> list[int]:
    return [rank for rank in rule.ranks if rank is not None]


def _over_n(rules: Rules, widest: Floats, region: Vacuous) -> Panel:
    parts: list[Part] = [region]
    for key, role in FORMULAS.items():
        parts.append(Line(rules[key][0].title, SIZES, _spread(rules[key], widest)[1], role))
    for series, key in enumerate(BY_LAYER):
        low, middle, high = _spread(rules[key], widest)
        points = Points(rules[key][0].title, SIZES, middle, low, high, joined=True, series=series)
        if key == "spectrum":  # from the least rank to full rank: its band would cover all else
            points = replace(points, low=None, high=None)
        parts.append(points)
    n, low_rank, high_rank = (np.array([value]) for value in PAPER)
    label = f"the paper, §5.6: {PAPER[1]:.0f}–{PAPER[2]:.0f} for 100K samples"
    parts.append(Printed(label, n, (low_rank + high_rank) / 2, low_rank, high_rank))
    return Panel("Rules that look at n", "n, sequences", _RANK, parts, "log", "log", y_limits=(0.8, 800.0))


def _without_n(rules: Rules, widest: Floats, region: Vacuous) -> Panel:
    keys = [key for key in rules if key in _SHORT]
    low, middle, high = (part[:, 0] for part in np.array([_spread(rules[key], widest) for key in keys]).swapaxes(0, 1))
    points = Points("least, median, largest rank", np.arange(float(len(keys))), middle, low, high, series=2)
    return Panel(
        "Rules that do not: the same for every n",
        "share of energy; stable, effective rank; hard threshold",
        _RANK,
        [region, points],
        y_scale="log",
        y_limits=(0.8, 800.0),
        x_names=[_SHORT[key] for key in keys],
    )


def _price(rules: Rules, spectra: tk.ModelSpectra) -> Panel:
    """Return the predicted KL over the share of parameters, one curve over n for each rule that looks at it."""
    limit = float(np.log(max(part.layer.shape[0] for part in spectra.layers if part.layer.kind == "embedding")))
    parts: list[Part] = [Vacuous(f"above log V = {limit:.1f}: a uniform guess is no worse", limit)]
    parts += [Line("", *_cost(rules[key]), role) for key, role in FORMULAS.items()]
    parts += [Points("", *_cost(rules[key]), joined=True, series=series) for series, key in enumerate(BY_LAYER)]
    flat = np.array([_cost(rules[key][:1]) for key in rules if key in _SHORT])[:, :, 0]
    parts.append(Points("rules that do not look at n", flat[:, 0], flat[:, 1], series=2))
    anchors = np.array([(anchor.share, anchor.kl) for anchor in spectra.calibration.anchors])
    parts.append(Points("measured truncations", anchors[:, 0], anchors[:, 1], series=3))
    losses = [cost for rule in rules.values() for cost in _cost(rule)[1]] + anchors[:, 1].tolist()
    limits = np.nanmin(losses) / 3, 2 * max(np.nanmax(losses), limit)
    x_label, y_label = "share of the linear parameters kept", "predicted KL, nats per token"
    return Panel("What the ranks cost, with n growing", x_label, y_label, parts, y_scale="log", y_limits=limits)


def _spread(rules: list[RuleSummary], widest: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the least, median and largest rank over the layers, one entry for each n."""
    ranks = np.array([np.where(np.isnan(asked := floats(rule.ranks)), widest, asked) for rule in rules])
    return ranks.min(axis=1), np.median(ranks, axis=1), ranks.max(axis=1)


def _cost(rules: list[RuleSummary]) -> tuple[Floats, Floats]:
    """Return shares kept and predicted losses; NaN where all layers stay dense and nothing is lost."""
    losses = floats([rule.predicted_loss for rule in rules])
    return floats([rule.share for rule in rules]), np.where(losses > 0, losses, np.nan)
