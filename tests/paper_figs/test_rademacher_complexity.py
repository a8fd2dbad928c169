import numpy as np
import pytest
from scipy import stats

from paper_figs.pictures import Line, Points, Vacuous


@pytest.fixture(scope="module")
def bounds(result):
    return result("rademacher_bounds")


def test_complexities_are_means_over_samples_with_intervals(made, bounds, parts):
    *by_rank, by_size = made("rademacher-complexity").panels
    for panel, (name, inputs) in zip(by_rank, bounds["inputs"].items(), strict=True):
        for own, over, label in (
            (panel, "over_ranks", f"complexity, {name} inputs"),
            (by_size, "over_samples", f"complexity, {name}"),
        ):
            values = np.array(inputs[over]["complexity"])
            points = parts(own, Points)[label]
            np.testing.assert_allclose(points.y, values.mean(axis=0))
            half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values, axis=0)
            np.testing.assert_allclose(points.high - points.y, half, rtol=1e-6)
            np.testing.assert_allclose(points.y - points.low, half, rtol=1e-6)


def test_lines_are_eq_21_and_the_bounds_that_hold(made, bounds, parts):
    (m, n), count = bounds["shape"], bounds["at_samples"]
    ranks = np.array(bounds["ranks"], dtype=float)
    over = ranks * (m + n) * np.log(count)
    said = f"for B R = 1. There, and at N = {count:,}, it is {over.min():,.0f} to {over.max():,.0f} times B R/√N"
    assert said in made("rademacher-complexity").caption
    for panel, inputs in zip(made("rademacher-complexity").panels[:-1], bounds["inputs"].values(), strict=True):
        lines = parts(panel, Line)
        printed = lines["eq 21 as printed, constant 1, B R = 1"].y
        np.testing.assert_allclose(printed, ranks * (m + n) * np.log(count) / np.sqrt(count))
        np.testing.assert_allclose(lines["B R/√N, no rank"].y, 1 / np.sqrt(count))
        (points,) = parts(panel, Points).values()
        root = lines["√r times the complexity at rank 1"].y
        np.testing.assert_allclose(root, points.y[0] * np.sqrt(ranks))
        dudley = lines["Dudley's integral: ∝ √(r(m + n + 1)/N)"].y
        np.testing.assert_allclose(dudley, np.mean(inputs["over_ranks"]["dudley"], axis=0))
        np.testing.assert_allclose(dudley / dudley[0], np.sqrt(ranks))
        for bound in lines.values():
            assert (points.y <= bound.y * (1 + 1e-12)).all(), bound.label


def test_what_says_nothing_is_shaded_on_axes_of_one_range(made, parts):
    panels = made("rademacher-complexity").panels
    assert {panel.y_limits for panel in panels} == {panels[0].y_limits}
    for panel in panels:
        (region,) = parts(panel, Vacuous).values()
        assert region.edge == 1.0
        low, high = panel.y_limits
        for part in panel.parts:
            if isinstance(part, Line | Points):
                assert low < np.min(part.y)
                assert np.max(part.y) < high
