import numpy as np

from paper_figs.pictures import Line, Points, Vacuous


def test_gaps_and_bounds_are_those_of_the_record(made, content, parts):
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
            np.testing.assert_allclose(points.y, by_seed.mean(axis=0), rtol=1e-6)
            assert (points.low < points.y).all()
            assert (points.y < points.high).all()
    last = parts(bounds, Line)[f"eq 19 as printed, constants 1, n = {sizes[-1]}"]
    np.testing.assert_allclose(last.y, data["printed"][-1])
    (region,) = parts(bounds, Vacuous).values()
    assert region.edge == gaps["cross-entropy"]["trivial"]
    end = parts(accuracy, Points)[f"n = {sizes[-1]}"]
    np.testing.assert_allclose(end.y, data["held_out_accuracy"][0][-1])
