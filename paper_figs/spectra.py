"""Singular values of a real teacher: how they fall, what a truncation leaves out, and how steep the fitted laws are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from paper_figs.pictures import Line, Panel, Part, Picture, Points, Role, Vacuous
from paper_figs.sources import Sources
from theorykit.arguments import Floats
from theorykit.models.model_spectra import LayerSpectra
from theorykit.spectra import PowerLawFit, fit_power_law

ABOUT = "singular values of SmolLM2-135M, what a truncation leaves out, and decay exponents over the depth"
GROUPS = {
    "attention q, o": ("q_proj", "o_proj"),
    "attention k": ("k_proj",),
    "attention v": ("v_proj",),
    "MLP gate, up, down": ("gate_proj", "up_proj", "down_proj"),
}
_BAND = (0.1, 0.9)
_PLACES = 30
"""Places at which a spectrum is drawn."""
Groups = dict[str, list[LayerSpectra]]


def build(sources: Sources) -> Picture:
    """Return spectra, truncation errors and decay exponents of all layers that may be factored."""
    layers = sources.bundled().factorable
    groups = {name: [part for part in layers if part.layer.name.endswith(ends)] for name, ends in GROUPS.items()}
    least = max(_least_constant(part) for part in layers)
    rejected = sum(not fit.fits for fit in _fits(layers))
    exponents = np.array([fit.exponent for fit in _fits(layers)])
    return Picture(
        "Spectra of a real teacher, SmolLM2-135M",
        [_values(groups), _errors(groups, least), _exponents(groups)],
        f"A test at the 5 % level rejects a power law for {rejected} of {len(layers)} layers: for these α is a slope "
        f"and no law. Corollary 1's “approximation error O(1/r)” is read in the kinder way, as ε² ≤ C/r, which needs "
        f"α ≥ 1: {(exponents < 1).sum()} of {len(layers)} lie below (as the ε of eq 7 it needs α ≥ 3/2: "
        f"{(exponents < 1.5).sum()} lie below), and {(exponents <= 0.5).sum()} at ½ or below, where no power of r "
        "describes ε². ε² ≤ C/r holds for every matrix with some C; the least that serves all of these says nothing "
        f"below rank {least:.2g} q.",
        f"{len(layers)} layers in {len({_depth(part) for part in layers})} blocks, without the embedding. Points are "
        f"medians over layers, bands reach from the {100 * _BAND[0]:.0f} % to the {100 * _BAND[1]:.0f} % quantile. On "
        "the right, marked in the same way, means over the layers of a block; bands reach from the lowest to the "
        "highest end of their 95 % intervals, which hold for independent values and are too wide for singular values.",
    )


def _values(groups: Groups) -> Panel:
    parts: list[Part] = []
    x, y = [], []
    for name, layers in groups.items():
        values = np.array([part.spectrum.singular_values / part.spectrum.singular_values[0] for part in layers])
        index = np.arange(1.0, values.shape[1] + 1)
        middle = np.median(values, axis=0)
        lost = sum(not fit.fits for fit in _fits(layers))
        parts.append(_band(f"{name}: {lost} of {len(layers)} reject a power law", index, values))
        fit = fit_power_law(middle)
        head = index[: fit.n_values + 1]
        x.append(np.append(head, np.nan))
        y.append(np.append(middle[fit.n_values] * (head / head[-1]) ** -fit.exponent, np.nan))
    longest = np.arange(1.0, max(part.spectrum.max_rank for layers in groups.values() for part in layers) + 1)
    parts.append(Line("power laws fitted to the medians", np.concatenate(x), np.concatenate(y), Role.CORRECTED))
    parts.append(Line("α = 1, for Corollary 1 read as ε² = C/r", longest, 1 / longest, Role.PRINTED))
    return Panel("Singular values", "index i", "$s_i/s_1$", parts, "log", "log", y_limits=(3e-3, 5.0))


def _errors(groups: Groups, least: float) -> Panel:
    """Return ε(r)/‖W‖_F over r/q for 1 ≤ r < q, with ε² = C/r for C = ‖W‖_F² and for C = ``least`` q ‖W‖_F²."""
    parts: list[Part] = [Vacuous("above ‖W‖_F: no truncation leaves out more", 1.0)]
    largest = max(part.spectrum.max_rank for layers in groups.values() for part in layers)
    for layers in groups.values():
        whole = np.array([part.spectrum.truncation_errors / part.spectrum.frobenius_norm for part in layers])
        errors, q = whole[:, 1:-1], whole.shape[1] - 1
        share = np.arange(1.0, q) / q
        parts.append(_band("", share, errors))
    share = np.arange(1.0, largest) / largest
    parts += [
        Line("all singular values equal", share, np.sqrt(1 - share), Role.RIVAL),
        Line(f"Cor. 1 read as ε² = C/r, C = ‖W‖_F², q = {largest}", share, 1 / np.sqrt(largest * share), Role.PRINTED),
        Line(f"the same with the least C for all: {least:.2g} q ‖W‖_F²", share, np.sqrt(least / share), Role.PRINTED),
    ]
    return Panel("Truncation error", "$r/q$", r"$\varepsilon(r)/\|W\|_F$", parts, "log", "log", y_limits=(0.02, 3.0))


def _exponents(groups: Groups) -> Panel:
    parts: list[Part] = []
    for layers in groups.values():
        blocks = sorted({_depth(part) for part in layers})
        fits = [_fits([part for part in layers if _depth(part) == block]) for block in blocks]
        mean = np.array([np.mean([fit.exponent for fit in block]) for block in fits])
        low = np.array([min(fit.interval[0] for fit in block) for block in fits])
        high = np.array([max(fit.interval[1] for fit in block) for block in fits])
        parts.append(Points("", np.array(blocks, dtype=np.float64), mean, low, high, joined=True))
    depth = np.array([min(blocks), max(blocks)], dtype=np.float64)
    parts.append(Line("α = 1, for Cor. 1 read as ε² = C/r", depth, np.ones(2), Role.PRINTED))
    parts.append(Line("α = ½: from here down no power of r for ε²", depth, np.full(2, 0.5), Role.RIVAL))
    return Panel("Decay exponents", "block", r"$\alpha$ of $s_i \propto i^{-\alpha}$", parts)


def _band(label: str, x: Floats, values: Floats) -> Points:
    """Return medians and quantiles of ``values`` ``[layers, k]`` at places evenly spread on a logarithmic axis."""
    places = np.unique(np.geomspace(1, x.size, _PLACES).round().astype(int)) - 1
    low, middle, high = np.quantile(values[:, places], (_BAND[0], 0.5, _BAND[1]), axis=0)
    return Points(label, x[places], middle, low, high, joined=True)


def _least_constant(part: LayerSpectra) -> float:
    """Return the least c with ε(r)² ≤ c ‖W‖_F² q/r at every rank."""
    energies, q = part.spectrum.tail_energies, part.spectrum.max_rank
    return float((np.arange(q + 1) / q * energies).max() / energies[0])


def _fits(layers: Sequence[LayerSpectra]) -> list[PowerLawFit]:
    return [part.decay for part in layers if part.decay is not None]


def _depth(part: LayerSpectra) -> int:
    """Return the number of the block from a name such as ``model.layers.3.mlp.up_proj``."""
    return int(next(word for word in part.layer.name.split(".") if word.isdigit()))
