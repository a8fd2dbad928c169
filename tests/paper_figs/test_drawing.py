"""What is drawn is what the picture holds, nothing overlaps, and the files say where their numbers come from."""

import itertools
import re
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib import image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from PIL import Image

from paper_figs.catalogue import NAMES, files_of, metadata, write
from paper_figs.drawing import drawn, rendered
from paper_figs.pictures import Heatmap, Line, Panel, Picture, Points, Printed, Role, Vacuous
from paper_figs.sources import Sources
from tests.paper_figs.conftest import built
from theorykit.provenance import ROOT
from theorykit.tables import Table

FIGURES = [name for name in NAMES if not name.startswith("table")]


class Drawn(NamedTuple):
    """A figure from the committed records: its name, what it holds, what it was made from, and the ink."""

    name: str
    picture: Picture
    sources: Sources
    figure: Figure


@pytest.fixture(scope="module", params=FIGURES)
def shown(request):
    """Draw a figure once for all tests of it."""
    figure = drawn(built(request.param)[0])
    plt.close(figure)
    FigureCanvasAgg(figure)  # which pyplot takes with it
    return Drawn(request.param, *built(request.param), figure)


def ink(axes):
    """Return the curves that axes show, as arrays, NaN left out."""
    return [np.column_stack([line.get_xdata(), line.get_ydata()]).astype(float) for line in axes.lines]


def holds(curves, x, y):
    wanted = np.column_stack([x, y]).astype(float)
    return any(curve.shape == wanted.shape and np.array_equal(curve, wanted, equal_nan=True) for curve in curves)


def panels_of(shown):
    """Return the panels of a picture with the axes that show them."""
    axes = [axes for axes in shown.figure.axes if axes.get_label() != "<colorbar>"]
    return zip(shown.picture.panels, axes, strict=True)


def test_every_number_of_the_picture_is_drawn_as_it_is(shown):
    for panel, axes in panels_of(shown):
        curves = ink(axes)
        for part in panel.parts:
            if isinstance(part, Line | Points | Printed):
                assert holds(curves, part.x, part.y), part.label
            elif isinstance(part, Heatmap):
                shades = np.ma.filled(axes.collections[0].get_array(), np.nan).reshape(np.shape(part.values))
                np.testing.assert_array_equal(shades, part.values)
            elif isinstance(part, Vacuous):
                ends = [end for patch in axes.patches for end in (patch.get_y(), patch.get_y() + patch.get_height())]
                assert part.edge in ends, part.label


def ends_of(part):
    """Return the intervals that a part has, as ends ``[k, 2, 2]`` of their bars, without those that are not known."""
    x, y = np.asarray(part.x, dtype=float), np.asarray(part.y, dtype=float)
    pairs = []
    if part.low is not None:
        pairs.append([np.column_stack([x, part.low]), np.column_stack([x, part.high])])
    if part.left is not None:
        pairs.append([np.column_stack([part.left, y]), np.column_stack([part.right, y])])
    bars = np.concatenate([np.stack(ends, axis=1) for ends in pairs]).astype(float)
    return bars[np.isfinite(bars).all(axis=(1, 2))]


def near(corners, ends):
    """Return whether each of the ends is a corner."""
    return all(np.isclose(corners, end, rtol=1e-9, atol=0).all(axis=1).any() for end in ends)


def band_holds(collection, bars):
    corners = np.concatenate([path.vertices for path in collection.get_paths()])
    return near(corners, bars.reshape(-1, 2)) and near(bars.reshape(-1, 2), corners)


def whiskers(axes):
    """Return all error bars of axes ``[k, 2, 2]``."""
    lines = [line for line in axes.collections if isinstance(line, LineCollection)]
    segments = [segment for line in lines for segment in line.get_segments() if len(segment) == 2]  # NaN is left out
    return np.array(segments).reshape(-1, 2, 2)


def compare_intervals(panel, axes):
    """Hold bands and error bars against the intervals of a panel, and count them."""
    measured = [part for part in panel.parts if isinstance(part, Points | Printed)]
    known = [part for part in measured if part.low is not None or part.left is not None]
    joined = [part for part in known if getattr(part, "joined", False)]
    bands = [band for band in axes.collections if isinstance(band, PolyCollection)]
    assert len(bands) == len(joined)
    for part, band in zip(joined, bands, strict=True):
        assert band_holds(band, ends_of(part)), part.label
    wanted = [bar for part in known if part not in joined for bar in ends_of(part)]
    drawn_bars = whiskers(axes)
    assert len(drawn_bars) == len(wanted)
    for bar in wanted:
        assert np.isclose(drawn_bars, bar, rtol=1e-9, atol=1e-12).all(axis=(1, 2)).any()


def test_every_interval_of_the_picture_is_drawn_as_it_is(shown):
    for panel, axes in panels_of(shown):
        if not any(isinstance(part, Heatmap) for part in panel.parts):
            compare_intervals(panel, axes)


def test_intervals_are_drawn_of_bands_bars_in_both_directions_and_what_the_paper_prints():
    x, y = np.array([1.0, 2.0, 4.0]), np.array([3.0, np.nan, 5.0])
    parts = [
        Points("band", x, x, x - 0.1, x + 0.3, joined=True),
        Points("bars", x, y, y - 0.2, y + 0.5),
        Points("cross", x, x, x - 0.2, x + 0.5, left=x - 0.4, right=x + 0.1),
        Printed("the paper", x[:1], x[:1], x[:1] - 0.3, x[:1] + 0.6),
    ]
    panel = Panel("one", "x", "y", parts)
    (axes,) = drawn(Picture("intervals", [panel], "")).axes
    compare_intervals(panel, axes)
    wider = [Points("band", x, x, x - 0.1, x + 0.4, joined=True), *parts[1:]]
    longer = [*parts[:3], Printed("the paper", x[:1], x[:1], x[:1] - 0.3, x[:1] + 0.7)]
    for other in (wider, longer):
        with pytest.raises(AssertionError):
            compare_intervals(Panel("one", "x", "y", other), axes)
    plt.close("all")


def test_nothing_overlaps(shown):
    shown.figure.draw_without_rendering()
    renderer = shown.figure.canvas.get_renderer()
    texts = []
    for axes in shown.figure.axes:
        legend = axes.get_legend()
        own = [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]
        own += [*axes.get_xticklabels(), *axes.get_yticklabels(), *(legend.get_texts() if legend else ())]
        low, high = sorted(axes.get_xlim())
        bottom, top = sorted(axes.get_ylim())
        for text in own:
            x, y = text.get_position()
            hidden = (text in axes.get_xticklabels() and not low <= x <= high) or (
                text in axes.get_yticklabels() and not bottom <= y <= top
            )
            if text.get_text() and not hidden:
                texts.append(text)
    texts += [text for text in shown.figure.texts if text.get_text()]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
    for (one, first), (other, second) in itertools.combinations(boxes, 2):
        assert not first.padded(-1).overlaps(second.padded(-1)), f"{one!r} lies over {other!r}"


def test_pictures_name_their_records_and_no_date_or_machine(shown, tmp_path):
    fields = metadata(shown.picture, shown.sources)
    assert shown.sources.used
    assert all(file in fields["Source"] for file in shown.sources.used)
    assert re.search(r"sha256 [0-9a-f]{16}", fields["Source"])
    (file,) = write(files_of(shown.name, shown.picture, shown.sources, "png"), tmp_path)
    assert image.imread(file).shape[1] > 400
    raw = file.read_bytes()
    with Image.open(file) as picture:
        assert {key: picture.text[key] for key in fields} == dict(fields)
    for word in (b"Software", *(str(place).encode() for place in (tmp_path, ROOT, Path.home()))):
        assert word not in raw
    assert rendered(shown.figure, "png", fields) == raw, "the same records give the same file"
    with Image.open(ROOT / "docs" / "figures" / f"{shown.name}.png") as picture:
        committed = {key: picture.text[key] for key in fields}
    assert committed == dict(fields), "run: python -m paper_figs --format png --out docs/figures"


def test_two_runs_into_one_folder_do_not_meet(tmp_path, monkeypatch):
    name, save, runs = "figure-4", Figure.savefig, []
    picture, sources = built(name)

    def run(*arguments, **named):
        save(*arguments, **named)
        runs.append(name)
        if len(runs) == 1:  # another run ends between the drawing and the writing of this one
            write(files_of(name, picture, sources, "png"), tmp_path)

    monkeypatch.setattr(Figure, "savefig", run)
    (file,) = write(files_of(name, picture, sources, "png"), tmp_path)
    assert len(runs) == 2
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("table")])
def test_tables_are_written_in_three_formats_that_name_their_records(name, tmp_path):
    table, sources = built(name)
    assert isinstance(table, Table)
    files = write(files_of(name, table, sources, "pdf"), tmp_path)
    assert [file.suffix for file in files] == [".md", ".tex", ".csv"]
    for file in files[:2]:
        assert "sha256" in file.read_text(encoding="utf-8")
    assert len(files[2].read_text(encoding="utf-8").splitlines()) >= len(table.rows) + 1


def test_lines_of_a_panel_differ_in_dashes_and_the_legend_has_the_order_of_the_parts():
    x = np.array([1.0, 2.0])
    roles = (Role.PRINTED, Role.PRINTED, Role.CORRECTED, Role.CORRECTED, Role.RIVAL)
    lines = [Line(f"line {number}", x, x + number, role) for number, role in enumerate(roles)]
    parts = [Points("with intervals", x, x, x - 1, x + 1), *lines, Points("without", x, x), Vacuous("empty", 3.0)]
    (axes,) = drawn(Picture("lines", [Panel("one", "x", "y", parts)], "")).axes
    dashes = [line._dash_pattern for line in axes.lines if line.get_label().startswith("line")]
    assert len(dashes) == len({str(one) for one in dashes}) == len(roles)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [part.label for part in parts]
    plt.close("all")
