import numpy as np
import pytest
from scipy import stats

from paper_figs.drawing import drawn
from paper_figs.pictures import Line, Panel, Picture, Points, Printed


def means(losses):
    values = np.array(losses, dtype=float)
    count = np.isfinite(values).sum(axis=1)
    mean = np.nanmean(values, axis=1)
    half = stats.t.ppf(0.975, count - 1) * np.nanstd(values, axis=1, ddof=1) / np.sqrt(count)
    return mean, mean - half, mean + half


def words(content, part):
    (found,) = (one["words"] for one in content["findings"] if part in one["what"])
    return found[0].lower().replace("_", " ")


def test_losses_over_the_learning_rate_are_those_of_the_record(made, content, parts):
    found = content("reported-results")
    curve = found["data"]["figure_3_learning_rates"]
    panel = made("figure-3").panels[0]
    (points,) = parts(panel, Points).values()
    np.testing.assert_array_equal(points.x, curve["at"])
    mean, low, high = means(curve["losses"])
    np.testing.assert_allclose([points.y, points.low, points.high], [mean, low, high])
    margin, teacher = parts(panel, Line).values()
    np.testing.assert_allclose(margin.y, mean.min() + 0.05)
    assert set(teacher.y) == {found["data"]["teacher_loss"]}
    (printed,) = parts(panel, Printed).values()
    assert (printed.x, printed.left, printed.right) == (3e-4, 1e-4, 1e-2)
    assert printed.y < min(low.min(), teacher.y.min()), "it has no height: it lies under all that has one"
    assert panel.y_limits[0] < printed.y
    assert f"3e-4 (here {words(found, 'best learning rate lies around')})" in printed.label
    assert "§5.8, no height:" in printed.label
    assert f"1e-2 (here {words(found, 'robust')})" in printed.label


def test_losses_over_the_clone_weight_begin_without_cloning(made, content, parts):
    found = content("reported-results")
    curve = found["data"]["figure_3_clone_weights"]
    panel = made("figure-3").panels[1]
    (points,) = parts(panel, Points).values()
    np.testing.assert_array_equal(points.x, np.arange(len(panel.x_names)))
    weights = [float(name) for name in panel.x_names]
    assert weights == sorted({0.0, *curve["at"]})
    shown = [weights.index(weight) for weight in curve["at"]]
    wanted = means(curve["losses"])
    np.testing.assert_allclose([part[shown] for part in (points.y, points.low, points.high)], wanted)
    without = next(row for row in found["data"]["table_2"] if row["name"]["row"] == "w/o cloning")
    np.testing.assert_allclose(
        [points.y[0], points.low[0], points.high[0]], [without["held_out"], *without["interval"]]
    )
    (printed,) = parts(panel, Printed).values()
    assert weights[int(printed.x[0])] == 1.0
    assert words(found, "λ = 1 is better") in printed.label
    assert "§5.8, no height:" in printed.label


@pytest.mark.parametrize("kind", [Printed, Points])
def test_ranges_are_drawn_in_both_directions(kind, figure_of):
    x, y, low, high, left, right = (np.array([end]) for end in (3.0, 1.0, 0.5, 4.0, 2.0, 5.0))
    (axes,) = figure_of(kind("one", x, y, low, high, left=left, right=right)).axes
    ends = [segment.tolist() for one in axes.collections for segment in one.get_segments()]
    assert ends == [[[2.0, 1.0], [5.0, 1.0]], [[3.0, 0.5], [3.0, 4.0]]]


@pytest.fixture
def figure_of():
    import matplotlib.pyplot as plt

    yield lambda part: drawn(Picture("one", [Panel("one", "x", "y", [part])], "one"))
    plt.close("all")
