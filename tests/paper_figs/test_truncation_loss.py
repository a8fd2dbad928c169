import re
from itertools import combinations

import numpy as np
import pytest

from paper_figs.pictures import Line, Points

SPECTRA = {"plain": "plain", "activation-whitened": "activation", "Fisher-whitened": "fisher"}
PANELS = (("predicted_kl", "same_kind"), ("predicted_kl", "other_kind"), ("half_tail_sum", "same_kind"))


@pytest.fixture(scope="module")
def seeds(result):
    """Return a function that gives numbers ``[budgets, seeds]``, larger budgets first."""
    every = result("truncation_loss")["rows"]

    def of(metric, way, number):
        rows = [row for row in every if (row["metric"], row["ranks"]) == (metric, way)]
        budgets = sorted({row["budget"] for row in rows}, reverse=True)
        return np.array([[number(row) for row in rows if row["budget"] == budget] for budget in budgets])

    return of


def test_points_are_those_of_the_record(made, parts, seeds, result):
    count = len({row["seed"] for row in result("truncation_loss")["rows"]})
    for panel, (predicted, kind) in zip(made("truncation-loss").panels, PANELS, strict=True):
        found = parts(panel, Points)
        assert len(found) == 6
        for label, points in found.items():
            spectrum, way = label.removesuffix(" ranks").split(", ")
            own = SPECTRA[spectrum], way
            measured = seeds(*own, lambda row, kind=kind: row[kind]["kl"])
            expected = seeds(*own, lambda row, predicted=predicted: row[predicted])
            assert measured.shape[1] == count
            np.testing.assert_allclose(points.x, expected.mean(axis=1))
            np.testing.assert_allclose(points.y, measured.mean(axis=1))
            np.testing.assert_array_equal(points.low, measured.min(axis=1))
            np.testing.assert_array_equal(points.high, measured.max(axis=1))
            np.testing.assert_array_equal([points.left, points.right], [expected.min(axis=1), expected.max(axis=1)])
        (identity,) = parts(panel, Line).values()
        np.testing.assert_array_equal(identity.x, identity.y)
        assert [panel.x_scale, panel.y_scale] == ["log", "log"]


def test_the_caption_counts_pairs_in_order_and_the_cheapest_spectrum(made):
    caption, (same, other, _) = made("truncation-loss").caption, made("truncation-loss").panels
    for panel, text in ((same, "Persuasion"), (other, "Anarchist FAQ")):
        points = [(part.label, *point) for part in panel.parts[1:] for point in zip(part.x, part.y, strict=True)]
        told = re.search(rf"{text} (.*?)[;.]", caption).group(1)
        counts = {}
        for name in ("of all", *SPECTRA):
            own = [point[1:] for point in points if name == "of all" or point[0].startswith(name)]
            pairs = [(one[0] < two[0]) == (one[1] < two[1]) for one, two in combinations(own, 2)]
            counts[name] = f"{name} {sum(pairs)}/{len(pairs)}"
        assert told == ", ".join(counts.values())
    wins = [
        (panel.parts[1 + 4 + way].y < np.minimum(panel.parts[1 + way].y, panel.parts[1 + 2 + way].y)).sum()
        for panel in (same, other)
        for way in (0, 1)
    ]
    assert f"least in {sum(wins)} of 12 cases" in caption


def test_spectra_share_colour_and_shape_and_ways_differ_in_filling(made, parts):
    found = parts(made("truncation-loss").panels[0], Points)
    for spectrum in SPECTRA:
        allocated, uniform = (found[f"{spectrum}, {way} ranks"] for way in ("allocated", "uniform"))
        assert allocated.series == uniform.series
        assert (allocated.hollow, uniform.hollow) == (False, True)
