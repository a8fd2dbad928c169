"""Pictures of spectra."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from theorykit.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from theorykit.models.model_spectra import ModelSpectra

PICTURES = (".png", ".pdf", ".svg")


def check_picture(path: Path) -> None:
    """Raise before any work is done where a picture cannot be written under this name."""
    if path.suffix not in PICTURES:
        raise InputError(f"{path} has no ending of a picture", f"give one of {', '.join(PICTURES)}")


def plot_model_spectra(found: ModelSpectra, axes: Axes | None = None) -> Axes:
    """Draw relative truncation errors ε(r)/‖W‖ over r/q: one thin line per layer, a thick median by shape and kind.

    Args:
        found: The spectra.
        axes: Where to draw; a new figure if None.

    Returns:
        The axes.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    groups: dict[str, list[np.ndarray]] = {}
    for part in found.layers:
        m, n = part.layer.shape
        errors = part.spectrum.truncation_errors / (part.spectrum.frobenius_norm or 1.0)
        groups.setdefault(f"{part.layer.kind} {m} × {n}", []).append(errors)
    ax = axes if axes is not None else plt.subplots(figsize=(7.5, 4.8), layout="constrained")[1]
    palette = sns.color_palette("colorblind", max(len(groups), 1))
    styles = ("-", "--", "-.", ":")
    for index, (name, curves) in enumerate(groups.items()):
        color, style = palette[index % len(palette)], styles[index % len(styles)]
        share = np.linspace(0, 1, curves[0].size)
        for curve in curves:
            ax.plot(share, curve, color=color, linewidth=0.5, alpha=0.25)
        label = f"{name} ({len(curves)} layers)" if len(curves) > 1 else name
        ax.plot(share, np.median(curves, axis=0), color=color, linestyle=style, linewidth=2, label=label)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_xlabel("rank r / min(m, n)")
    ax.set_ylabel(r"truncation error $\varepsilon(r)\,/\,\|W\|_F$")
    ax.set_title(f"What a truncation leaves out: {found.name}", fontsize=11)
    ax.legend(fontsize=8, frameon=False)
    sns.despine(ax=ax)
    return ax
