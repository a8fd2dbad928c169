"""What a picture shows, as plain numbers: its panels and what is in them. Nothing is drawn here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from theorykit.arguments import Floats


class Role(StrEnum):
    """What a line of theory is."""

    PRINTED = "as printed"
    CORRECTED = "as corrected"
    RIVAL = "rival"
    TRIVIAL = "trivial"
    TRUTH = "truth"


@dataclass(frozen=True, eq=False)
class Line:
    """Theory: a line.

    Attributes:
        label: In the legend; empty for none.
        x: ``[k]``.
        y: ``[k]``, NaN where there is none.
        role: Decides colour and dashes; several lines of one role differ in dashes.
    """

    label: str
    x: Floats
    y: Floats
    role: Role


@dataclass(frozen=True, eq=False)
class Marks:
    """Single numbers with their ranges, ends are None where there are none.

    Attributes:
        label: In the legend; empty for none.
        x: ``[k]``.
        y: ``[k]``, NaN where there is none.
        low: Lower ends ``[k]``.
        high: Upper ends ``[k]``.
        left: Lower ends in x ``[k]``.
        right: Upper ends in x ``[k]``.
    """

    label: str
    x: Floats
    y: Floats
    low: Floats | None = None
    high: Floats | None = None
    left: Floats | None = None
    right: Floats | None = None


@dataclass(frozen=True, eq=False)
class Points(Marks):
    """Measurements: points with intervals.

    Attributes:
        joined: Join them with a thin line, their intervals with a band.
        series: Number of colour and marker; the place among the panel's measurements if None.
        scatter: Many single measurements: small, pale and without a legend of their own.
        hollow: White inside; every second series is if None.
    """

    joined: bool = False
    series: int | None = None
    scatter: bool = False
    hollow: bool | None = None


@dataclass(frozen=True, eq=False)
class Printed(Marks):
    """Numbers that the paper's text gives, marked as the paper's; the label has their section."""


@dataclass(frozen=True)
class Vacuous:
    """A region where a bound says nothing, shaded; ``edge`` is its end on the y axis.

    Attributes:
        label: In the legend: what is known without the bound.
        edge: On the y axis.
        above: The region lies above the edge (upper bounds), or below it.
    """

    label: str
    edge: float
    above: bool = True


@dataclass(frozen=True, eq=False)
class Heatmap:
    """Numbers as shades with the number in each cell, NaN left blank.

    Attributes:
        label: Of the shades, with a unit.
        values: ``[rows, columns]``.
        rows: Names.
        columns: Names.
        largest: Shade of all values from here on.
    """

    label: str
    values: Floats
    rows: Sequence[str]
    columns: Sequence[str]
    largest: float | None = None


Part = Line | Points | Vacuous | Printed | Heatmap


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        title: One line.
        x_label: With a unit.
        y_label: With a unit.
        parts: In the order of the legend.
        x_scale: ``linear``, ``log`` or ``symlog``.
        y_scale: The same.
        x_limits: Of the axis, or None.
        y_limits: The same.
        x_names: Names at 0, 1, …, in the place of numbers.
        x_ticks: Numbers that the axis shows, each as it is; for few values on a logarithmic axis.
        width: Over that of a usual panel.
    """

    title: str
    x_label: str
    y_label: str
    parts: Sequence[Part]
    x_scale: str = "linear"
    y_scale: str = "linear"
    x_limits: tuple[float | None, float | None] | None = None
    y_limits: tuple[float | None, float | None] | None = None
    x_names: Sequence[str] = ()
    x_ticks: Sequence[float] = ()
    width: float = 1.0


@dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes:
        title: What it shows, in one line.
        panels: Side by side.
        caption: What it says, and what it does not: for the gallery, and for the metadata.
        note: Under the panels: seeds, kind of intervals, what is missing.
    """

    title: str
    panels: Sequence[Panel]
    caption: str
    note: str = ""


def floats(values: Sequence[Any] | Floats) -> Floats:
    """Return numbers as an array of any shape; records have null for NaN."""
    return np.array(values, dtype=object).astype(np.float64)


def box(label: str, left: float, right: float, margin: float) -> Line:
    """Return the outline in which controls must lie: within ± ``margin``, between two places of the x axis."""
    corners = floats([left, right, right, left, left]), margin * floats([1, 1, -1, -1, 1])
    return Line(f"{label}: ± {margin:g}", *corners, Role.TRUTH)


def ticks(values: Floats) -> list[float]:
    """Return the values that a logarithmic axis has room for: each at least 1.35 times the one before."""
    places: list[float] = []
    for value in values:
        if not places or value >= 1.35 * places[-1]:
            places.append(float(value))
    return places
