"""From a picture as plain numbers to ink: axes of one size, one style, nothing cut off."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from paper_figs.pictures import Heatmap, Line, Marks, Panel, Picture, Points, Printed, Role, Vacuous

STYLE = Path(__file__).with_name("paper.mplstyle")
_WIDTH, _HEIGHT = 3.3, 2.5
"""Of a panel's axes, in inches."""
_GAP, _MARGIN = 0.85, 0.7
_LEGEND_WIDTH = 52
"""Characters of a legend's line under a panel of usual width."""
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.4)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
_ROLES: Mapping[Role, dict[str, Any]] = {
    Role.PRINTED: {"color": "#d55e00", "first": 1},
    Role.CORRECTED: {"color": "#0072b2", "first": 0},
    Role.RIVAL: {"color": "#7a7a7a", "first": 2},
    Role.TRIVIAL: {"color": "#7a7a7a", "first": 0},
    Role.TRUTH: {"color": "#000000", "first": 0},
}
"""Colour-blind safe; in black and white the dashes tell them apart: ``first`` is where a role begins with them."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
_ORDER = (2, 4, 1, 9, 5, 6, 0, 3)
"""Of seaborn's colour-blind palette, so that measurements begin with colours that no theory has."""


def drawn(picture: Picture) -> Figure:
    """Return a picture as a figure with axes of one size."""
    palette = sns.color_palette("colorblind")
    colours = [palette[place] for place in _ORDER]
    with mpl.rc_context(fname=STYLE):
        widths = [_WIDTH * panel.width for panel in picture.panels]
        width, height = sum(widths) + _GAP * (len(widths) - 1) + 2 * _MARGIN, _HEIGHT + 2 * _MARGIN
        figure = plt.figure(figsize=(width, height))
        left, lowest = _MARGIN, 0.0
        for panel, inches in zip(picture.panels, widths, strict=True):
            axes = figure.add_axes((left / width, _MARGIN / height, inches / width, _HEIGHT / height))
            _draw_panel(axes, panel, colours)
            lowest = min(lowest, _legend(axes, panel))
            left += inches + _GAP
        if picture.note:
            letters = int((width - 2 * _MARGIN) * 17)
            text = textwrap.fill(picture.note, letters)
            place = (_MARGIN / width, (_MARGIN + lowest * _HEIGHT - 0.1) / height)
            figure.text(*place, text, fontsize=7, color="0.35", va="top", parse_math=False)
    return figure


def rendered(figure: Figure, kind: str, metadata: Mapping[str, str]) -> bytes:
    """Return the file of a figure, without a date, with its origin in the metadata.

    Args:
        figure: As drawn.
        kind: pdf, png or svg.
        metadata: ``Title``, ``Description`` and ``Source``.
    """
    fields: dict[str, Any] = dict(metadata)
    if kind == "pdf":
        fields = {"Title": metadata["Title"], "Subject": metadata["Description"], "Keywords": metadata["Source"]}
        fields |= {"Creator": "theorykit paper_figs", "Producer": None, "CreationDate": None}
    elif kind == "png":
        fields |= {"Software": None}
    else:
        fields |= {"Creator": "theorykit paper_figs", "Date": None}
    content = io.BytesIO()
    with mpl.rc_context(fname=STYLE):
        figure.savefig(content, format=kind, metadata=fields)
    return content.getvalue()


def _draw_panel(axes: Axes, panel: Panel, colours: list[Any]) -> None:
    axes.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
    maps = [part for part in panel.parts if isinstance(part, Heatmap)]
    if maps:
        _draw_heatmap(axes, maps[0])
        return
    axes.set(xscale=panel.x_scale, yscale=panel.y_scale)
    dashed: list[int] = []
    series = 0
    for part in panel.parts:
        if isinstance(part, Line):
            style, label = _ROLES[part.role], part.label or "_theory"
            dashed.append(_free_dashes(style["first"], dashed))
            axes.plot(part.x, part.y, color=style["color"], linestyle=_DASHES[dashed[-1]], label=label, zorder=3)
        elif isinstance(part, Points):
            _draw_points(axes, part, colours, series if part.series is None else part.series)
            series += part.series is None
        elif isinstance(part, Printed):
            style = {"color": "#a11313", "marker": "*", "markersize": 9, "markerfacecolor": "white", "zorder": 6}
            _draw_bars(axes, part, elinewidth=1.2, label=part.label, **style)
    _limit(axes, panel)
    for part in panel.parts:
        if isinstance(part, Vacuous):
            _shade(axes, part)


def _free_dashes(first: int, taken: Sequence[int]) -> int:
    """Return the number of the first dashes from ``first`` on that fewest lines of the panel have."""
    places = [(first + step) % len(_DASHES) for step in range(len(_DASHES))]
    return min(places, key=taken.count)


def _draw_points(axes: Axes, part: Points, colours: Sequence[Any], series: int) -> None:
    colour, hollow = colours[series % len(colours)], series % 2 == 1 if part.hollow is None else part.hollow
    style: dict[str, Any] = {"color": colour, "marker": _MARKERS[series % len(_MARKERS)], "zorder": 4}
    style |= {"markerfacecolor": "white" if hollow else colour, "markeredgecolor": colour}
    label = part.label or "_measured"
    if part.scatter:
        axes.plot(part.x, part.y, linestyle="", alpha=0.5, markersize=2.5, label="_scatter", **style)
    elif part.joined or part.low is None:
        if part.low is not None and part.high is not None:
            axes.fill_between(part.x, part.low, part.high, color=colour, alpha=0.18, linewidth=0, zorder=1)
        axes.plot(part.x, part.y, linestyle="-" if part.joined else "", linewidth=0.9, label=label, **style)
    else:
        _draw_bars(axes, part, elinewidth=0.9, label=label, **style)


def _draw_bars(axes: Axes, part: Marks, **style: Any) -> None:
    across, up = (
        # how far an interval goes to both sides [2, k]
        None if low is None or high is None else np.maximum(np.vstack([middle - low, high - middle]), 0)
        for middle, low, high in ((part.x, part.left, part.right), (part.y, part.low, part.high))
    )
    axes.errorbar(part.x, part.y, yerr=up, xerr=across, linestyle="", **style)


def _draw_heatmap(axes: Axes, part: Heatmap) -> None:
    numbers = {"annot": True, "fmt": ".2g", "annot_kws": {"fontsize": 6}, "mask": ~np.isfinite(part.values)}
    shades: dict[str, Any] = {"cmap": "cividis_r", "vmin": 0, "vmax": part.largest}
    shades["cbar_kws"] = {"label": part.label, "extend": "neither" if part.largest is None else "max"}
    names = {"xticklabels": list(part.columns), "yticklabels": list(part.rows)}
    sns.heatmap(part.values, ax=axes, **numbers, **shades, **names)
    axes.grid(visible=False)
    axes.tick_params(length=0)


def _shade(axes: Axes, part: Vacuous) -> None:
    """Shade from the edge to the end of the axis, which stays where it is."""
    low, high = axes.get_ylim()
    ends = (part.edge, max(high, part.edge)) if part.above else (min(low, part.edge), part.edge)
    axes.axhspan(*ends, facecolor="0.93", edgecolor="0.8", hatch="///", linewidth=0, label=part.label, zorder=0)
    axes.set_ylim(min(low, ends[0]) if not part.above else low, max(high, ends[1]) if part.above else high)


def _limit(axes: Axes, panel: Panel) -> None:
    if panel.x_names:
        axes.set_xticks(range(len(panel.x_names)), labels=list(panel.x_names))
        axes.set_xlim(-0.5, len(panel.x_names) - 0.5)
    if panel.x_ticks:
        axes.xaxis.set_major_locator(FixedLocator(list(panel.x_ticks)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    if panel.x_limits is not None:
        axes.set_xlim(*panel.x_limits)
    if panel.y_limits is not None:
        axes.set_ylim(*panel.y_limits)


def _legend(axes: Axes, panel: Panel) -> float:
    """Put the legend under the panel and return where it ends, over the height of the axes."""
    handle_of = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    labels = [part.label for part in panel.parts if part.label in handle_of]
    renderer = axes.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    box = axes.get_tightbbox(renderer)
    below = 0.0 if box is None else box.transformed(axes.transAxes.inverted()).y0
    if not labels:
        return float(below)
    wrapped = [textwrap.fill(label, int(_LEGEND_WIDTH * panel.width)) for label in labels]
    handles = [handle_of[label] for label in labels]
    legend = axes.legend(handles, wrapped, loc="upper left", bbox_to_anchor=(0, below - 0.04), labelspacing=0.35)
    return float(legend.get_window_extent(renderer).transformed(axes.transAxes.inverted()).y0)
