"""Pictures of result objects, which find them here by name: see :meth:`theorykit.results.Result._drawn`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from theorykit.arguments import Floats
from theorykit.compression.report import CompressionReport
from theorykit.errors import InputError
from theorykit.models.model_spectra import ModelSpectra
from theorykit.rank_selection.result import RankSelection
from theorykit.spectra.spectrum import Spectrum

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICTURES = (".png", ".pdf", ".svg")
_STYLES = ("-", "--", "-.", ":")


def check_picture(path: Path) -> None:
    """Raise before any work is done where a picture cannot be written under this name."""
    if path.suffix not in PICTURES:
        raise InputError(f"{path} has no ending of a picture", f"give one of {', '.join(PICTURES)}")


def plot_spectrum(spectrum: Spectrum, axes: Axes | None = None, **style: Any) -> Axes:
    """Draw s_i over i on logarithmic axes."""
    import matplotlib.pyplot as plt

    axes = axes if axes is not None else plt.subplots()[1]
    axes.loglog(np.arange(1, spectrum.max_rank + 1), spectrum.singular_values, **style)
    axes.set_xlabel("index i")
    axes.set_ylabel("singular value $s_i$")
    return axes


def plot_model_spectra(model: ModelSpectra) -> Figure:
    """Draw s_i/s_1 over i (logarithmic) and ε(r)/‖W‖ over r/q: thin lines for layers, thick medians by kind and shape.

    Args:
        model: The spectra.

    Returns:
        A figure with the two panels.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    groups: dict[str, list[Spectrum]] = {}
    for part in model.layers:
        m, n = part.layer.shape
        groups.setdefault(f"{part.layer.kind} {m} × {n}", []).append(part.spectrum)
    figure, (decay, error) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    palette = sns.color_palette("colorblind", max(len(groups), 1))
    for index, (name, spectra) in enumerate(groups.items()):
        style = {"color": palette[index % len(palette)], "linestyle": _STYLES[index % len(_STYLES)]}
        label = f"{name} ({len(spectra)} layers)" if len(spectra) > 1 else name
        values = [each.singular_values / (each.singular_values[0] or 1.0) for each in spectra]
        errors = [each.truncation_errors / (each.frobenius_norm or 1.0) for each in spectra]
        _bundle(decay, np.arange(1.0, values[0].size + 1), values, label, style)
        _bundle(error, np.linspace(0, 1, errors[0].size), errors, label, style)
    decay.set(xscale="log", yscale="log", ylim=(1e-4, 1.3), xlabel="index i", ylabel="singular value $s_i\\,/\\,s_1$")
    decay.set_title("How fast the singular values fall", fontsize=11)
    error.set(xlim=(0, 1), ylim=(0, 1), xlabel="rank r / min(m, n)")
    error.set_ylabel(r"truncation error $\varepsilon(r)\,/\,\|W\|_F$")
    error.set_title("What a truncation leaves out", fontsize=11)
    error.legend(fontsize=8, frameon=False)
    figure.suptitle(model.name, fontsize=12, parse_math=False)
    sns.despine(fig=figure)
    return figure


def _bundle(ax: Axes, x: Floats, curves: list[Floats], label: str, style: dict[str, Any]) -> None:
    for curve in curves if len(curves) > 1 else ():
        ax.plot(x, curve, color=style["color"], linewidth=0.5, alpha=0.2)
    ax.plot(x, np.median(curves, axis=0), linewidth=2, label=label, **style)


def plot_selection(selection: RankSelection, axes: Axes | None = None) -> Axes:
    """Draw the share of parameters kept over depth, one line per role of the layer; dense layers lie at 1.

    Args:
        selection: The ranks.
        axes: Where to draw; a new figure if None.

    Returns:
        The axes.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    roles: dict[str, list[float]] = {}
    for part in selection.layers:
        role = part.layer.split("[")[0].rsplit(".", maxsplit=1)[-1]
        roles.setdefault(f"{role} {part.shape[0]} × {part.shape[1]}", []).append(part.share)
    ax = axes if axes is not None else plt.subplots(figsize=(7.5, 4.8), layout="constrained")[1]
    palette = sns.color_palette("colorblind", max(len(roles), 1))
    markers = "osD^vP*X"
    for index, (role, shares) in enumerate(roles.items()):
        ax.plot(shares, color=palette[index % len(palette)], marker=markers[index % 8], markersize=4, label=role)
    ax.set_xlabel("depth (order of the layers of one role)")
    ax.set_ylabel("share of parameters kept")
    ax.set_ylim(0, 1.05)
    ax.set_title(f"{selection.model}: {selection.share:.0%} of the linear parameters", fontsize=11, parse_math=False)
    ax.legend(fontsize=8, frameon=False, ncols=2)
    sns.despine(ax=ax)
    return ax


def plot_compression(report: CompressionReport, axes: Axes | None = None, **style: Any) -> Axes:
    """Draw the perplexity after over before by kind of text, with its 95 % interval over blocks."""
    import matplotlib.pyplot as plt

    axes = (
        axes if axes is not None else plt.subplots(figsize=(6, 1 + 0.5 * len(report.losses)), layout="constrained")[1]
    )
    ratios = [loss.ratio for loss in report.losses]
    values = np.array([ratio.value for ratio in ratios])
    ends = np.array([[ratio.value - ratio.low, ratio.high - ratio.value] for ratio in ratios]).T
    places = np.arange(len(ratios))
    options: dict[str, Any] = {"fmt": "o", "color": "C0", "capsize": 3}
    axes.errorbar(values, places, xerr=ends, **options | style)
    axes.axvline(1.0, color="0.6", linewidth=1)
    axes.set_yticks(places, [loss.text for loss in report.losses])
    axes.set_ylim(len(ratios) - 0.5, -0.5)
    axes.set_xlabel(f"perplexity after over before, {report.share:.0%} of the linear numbers kept")
    return axes
