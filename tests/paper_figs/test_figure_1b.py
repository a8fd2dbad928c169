import numpy as np

from paper_figs.pictures import Line, Points, Vacuous


def test_gaps_and_bounds_are_those_of_the_record(made, content, parts, interval):
    data = content("generalization-gap")["data"]
    bounds, accuracy_gap, accuracy = made("figure-1b").panels
    gaps = {gap["loss"].split(",")[0]: gap for gap in data["gaps"]}
    sizes = data["sizes"]
    for panel, gap in ((bounds, gaps["cross-entropy"]), (accuracy_gap, gaps["next-token error"])):
        found = parts(panel, Points)
        assert list(found) == [f"students, n = {n}" for n in (sizes[0], sizes[(len(sizes) - 1) // 2], sizes[-1])]
        for label, points in found.items():
            by_seed = np.array(gap["by_seed"], dtype=float)[:, sizes.index(int(label.split()[-1]))]
            np.testing.assert_array_equal(points.x, data["ranks"])
            np.testing.assert_allclose([points.y, points.low, points.high], interval(by_seed), rtol=1e-6)
    last = parts(bounds, Line)[f"eq 19 as printed, constants 1, n = {sizes[-1]}"]
    np.testing.assert_allclose(last.y, data["printed"][-1])
    (region,) = parts(bounds, Vacuous).values()
    assert region.edge == gaps["cross-entropy"]["trivial"]
    end = parts(accuracy, Points)[f"n = {sizes[-1]}"]
    np.testing.assert_allclose([end.y, end.low, end.high], [part[-1] for part in data["held_out_accuracy"]])


def test_what_the_shade_and_the_line_without_rank_mean_for_the_measurements_is_counted(made, content, parts):
    data = content("generalization-gap")["data"]
    (gap,) = (one for one in data["gaps"] if one["loss"].startswith("cross-entropy, nats"))
    mean = np.array(gap["by_seed"], dtype=float).mean(axis=0)
    picture = made("figure-1b")
    above = (mean > np.array(data["rank_free"])).sum()
    assert f"{above} of {mean.size} measured means lie above that of their n" in picture.caption
    drawn = np.array([points.y for points in parts(picture.panels[0], Points).values()])
    assert f"{(drawn >= gap['trivial']).sum()} of the {drawn.size} shown means lie there" in picture.caption
    (label,) = parts(picture.panels[0], Vacuous)
    assert f"ln V = {gap['trivial']:.3g}" in label
    assert "a bound on the gap leaves the risk of a uniform guess" in label
