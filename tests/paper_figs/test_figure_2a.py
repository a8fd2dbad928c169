import numpy as np
import pytest

from paper_figs.pictures import Line, Points, Printed


@pytest.fixture
def data(content):
    return content("optimal-rank")["data"]


def least(curve):
    """Return r* by hand, ``[seeds, sizes]``."""
    losses, ranks = np.array(curve["end"], dtype=float), np.array(curve["ranks"], dtype=float)
    return ranks[np.argmin(losses, axis=2)]


def apart(curve, limit):
    """Return at which sizes a seed has its least loss at an end of the grid."""
    found, ranks = least(curve), curve["ranks"]
    return ((found == ranks[0]) | (found == ranks[-1]) | (found >= limit)).any(axis=0)


def test_best_ranks_are_those_of_the_record_and_censored_ones_stand_apart(made, data, parts):
    panel = made("figure-2a").panels[0]
    found = parts(panel, Points)
    for name, curve in data["curves"].items():
        if curve["objective"] != "labels":
            assert name not in found
            continue
        means = np.exp(np.log(least(curve)).mean(axis=0))
        censored = apart(curve, data["full_rank"])
        assert (name in found) == (not censored.all())
        if name in found:
            np.testing.assert_array_equal(found[name].x, np.array(curve["sizes"])[~censored])
            np.testing.assert_allclose(found[name].y, means[~censored])
        assert (f"{name}, a seed at an end: no optimum" in found) == censored.any()
        if censored.any():
            ends = found[f"{name}, a seed at an end: no optimum"]
            np.testing.assert_array_equal(ends.x, np.array(curve["sizes"])[censored])
            np.testing.assert_allclose(ends.y, means[censored])
            assert ends.hollow
            assert ends.low is None


def test_single_seeds_are_shown(made, data):
    curves = [curve for curve in data["curves"].values() if curve["objective"] == "labels"]
    dots = [part.y for part in made("figure-2a").panels[0].parts if isinstance(part, Points) and part.scatter]
    np.testing.assert_array_equal(np.concatenate(dots), np.concatenate([least(curve).ravel() for curve in curves]))


def test_laws_and_the_papers_own_numbers(made, data, parts):
    panel = made("figure-2a").panels[0]
    lines = parts(panel, Line)
    np.testing.assert_allclose(lines["√n as printed (§5.6)"].y ** 2, lines["√n as printed (§5.6)"].x)
    np.testing.assert_allclose(lines["√n/10 as printed (§6)"].y * 10, np.sqrt(lines["√n/10 as printed (§6)"].x))
    first = next(curve for curve in data["curves"].values() if curve["objective"] == "labels")
    np.testing.assert_array_equal(lines["predicted from the spectra"].y, [row["uniform"] for row in first["predicted"]])
    slopes = [np.ptp(np.log(line.y)) / np.ptp(np.log(line.x)) for label, line in lines.items() if "slope" in label]
    np.testing.assert_allclose(slopes, 1 / 3)
    assert len(slopes) == (not apart(first, data["full_rank"]).all())
    (printed,) = parts(panel, Printed).values()
    assert (printed.x, printed.low, printed.high) == (1e5, 300, 400)


def test_the_note_has_the_exponent_of_the_record(made, content):
    found = content("optimal-rank")["findings"]
    (slope,) = (one for one in found if one["equation"] == "eq-17" and one["what"] == "labels, svd start: r* ∝ √n")
    wanted = (
        "not measured" if slope["interval"] is None else f"{slope['measured']:.2f} (90 %: {slope['interval'][0]:.2f}"
    )
    assert wanted in made("figure-2a").note


def test_curves_are_mean_losses(made, data, parts):
    _, turns, objectives = made("figure-2a").panels
    first = next(curve for curve in data["curves"].values() if curve["objective"] == "labels")
    for label, points in parts(turns, Points).items():
        losses = np.array(first["end"])[:, first["sizes"].index(int(label.split()[-1]))]
        np.testing.assert_allclose(points.y, losses.mean(axis=0))
        assert (points.low < points.y).all()
    size = int(objectives.title.split()[-1].rstrip("?"))
    found = parts(objectives, Points)
    assert set(found) == {name for name, curve in data["curves"].items() if size in curve["sizes"]}
    for name, points in found.items():
        curve = data["curves"][name]
        np.testing.assert_allclose(points.y, np.array(curve["end"])[:, curve["sizes"].index(size)].mean(axis=0))
