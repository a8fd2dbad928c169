import csv

import numpy as np
import pytest

from paper_figs.pictures import Heatmap, Line, Points
from paper_figs.sources import Sources
from theorykit import find_task, hidden_state_task


@pytest.fixture(scope="module")
def estimates():
    with (Sources().benchmarks / "information_tasks.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))

    def of(task, method):
        found = [float(row["estimate"]) for row in rows if (row["task"], row["method"]) == (task, method)]
        assert len(found) == 5
        return np.array(found)

    return of


def test_kinds_of_tasks_hold_the_error_of_the_mean_over_the_seeds(made, estimates):
    (shades,) = (part for part in made("information-estimators").panels[0].parts if isinstance(part, Heatmap))
    sizes = [int(row.split("[")[1][:-1]) for row in shades.rows]
    assert sum(sizes) == 40 + 6
    tasks = [f"spiral-multinormal-sparse-{size}-{size}-2-2.0" for size in (3, 5, 25)]
    row = list(shades.rows).index("Spiral @ 2-pair [3]")
    for column, method in enumerate(shades.columns):
        errors = [abs(estimates(task, method.replace(" ", "_")).mean() - find_task(task).information) for task in tasks]
        assert shades.values[row, column] == pytest.approx(np.mean(errors)), method
    heavy = shades.values[list(shades.rows).index("Hidden states (t) [3]")]
    assert np.isnan(heavy[list(shades.columns).index("ksg")])
    assert np.isfinite(heavy[list(shades.columns).index("auto")])


def test_relative_errors_are_those_of_all_tasks(made, estimates):
    panel = made("information-estimators").panels[1]
    dots = [part for part in panel.parts if isinstance(part, Points) and part.scatter]
    (marks,) = (part for part in panel.parts if isinstance(part, Points) and not part.scatter)
    assert [dot.y.size for dot in dots] == [40] * len(panel.x_names)
    place = list(panel.x_names).index("ksg")
    task = find_task("Multinormal 25 × 25 (dense)")
    wanted = estimates(task.identifier, "ksg").mean() / task.information - 1
    assert np.isclose(dots[place].y, wanted).any()
    assert marks.y[place] == pytest.approx(np.median(dots[place].y))
    assert marks.low[place] == pytest.approx(np.quantile(dots[place].y, 0.1))
    (zero,) = (part for part in panel.parts if isinstance(part, Line))
    assert not zero.y.any()


def test_hidden_states_stand_beside_the_truth_and_the_ceiling(made, estimates, parts):
    panel = made("information-estimators").panels[2]
    lines, points = parts(panel, Line), parts(panel, Points)
    place = list(panel.x_names).index("256, t")
    assert lines["truth"].y[place] == hidden_state_task(256, degrees_of_freedom=5.0).information
    ceiling = next(line for label, line in lines.items() if label.startswith("log N"))
    assert ceiling.y[0] == pytest.approx(np.log(10_000))
    found = estimates("hidden-states-256-dof-5", "anchored_mine")
    shown = points["anchored mine"]
    assert (shown.low[place], shown.high[place]) == (found.min(), found.max())
    assert shown.y[place] == pytest.approx(found.mean())


def test_the_caption_tells_how_many_estimates_are_wrong_and_how_many_unwarned(made, result):
    summaries = result("information_tasks")["summaries"]
    both = [row for collection in ("published", "hidden states") for row in summaries[collection].values()]
    wrong, silent = (sum(row[key] for row in both) for key in ("wrong", "wrong_without_warning"))
    caption = made("information-estimators").caption
    assert f" {wrong} are wrong" in caption
    assert f"; {silent} of these have no warning" in caption
