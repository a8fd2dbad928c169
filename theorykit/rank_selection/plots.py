"""Picture of a rank selection."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from theorykit.rank_selection.result import RankSelection


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
