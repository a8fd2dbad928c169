"""Pictures of spectra."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from theorykit.arguments import Floats
from theorykit.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from theorykit.models.model_spectra import ModelSpectra
    from theorykit.spectra.spectrum import Spectrum

PICTURES = (".png", ".pdf", ".svg")
_STYLES = ("-", "--", "-.", ":")


def check_picture(path: Path) -> None:
    """Raise before any work is done where a picture cannot be written under this name."""
    if path.suffix not in PICTURES:
        raise InputError(f"{path} has no ending of a picture", f"give one of {', '.join(PICTURES)}")


def plot_model_spectra(found: ModelSpectra) -> Figure:
    """Draw s_i/s_1 over i (logarithmic) and ε(r)/‖W‖ over r/q: thin lines for layers, thick medians by kind and shape.

    Args:
        found: The spectra.

    Returns:
        A figure with the two panels.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    groups: dict[str, list[Spectrum]] = {}
    for part in found.layers:
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
    figure.suptitle(found.name, fontsize=12, parse_math=False)
    sns.despine(fig=figure)
    return figure


def _bundle(ax: Axes, x: Floats, curves: list[Floats], label: str, style: dict[str, Any]) -> None:
    for curve in curves if len(curves) > 1 else ():
        ax.plot(x, curve, color=style["color"], linewidth=0.5, alpha=0.2)
    ax.plot(x, np.median(curves, axis=0), linewidth=2, label=label, **style)
