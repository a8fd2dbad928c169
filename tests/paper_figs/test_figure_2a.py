import numpy as np
import pytest

from paper_figs.pictures import Line, Points, Printed, Role


@pytest.fixture
def data(content):
    return content("optimal-rank")["data"]


def least(curve):
    """Return r* by hand, ``[seeds, sizes]``."""
    losses, ranks = np.array(curve["end"], dtype=float), np.array(curve["ranks"], dtype=float)
    return ranks[np.argmin(losses, axis=2)]


def apart(curve, limit):
    """Return at which sizes a seed has its least loss at an end of the grid."""
    optima, ranks = least(curve), curve["ranks"]
    return ((optima == ranks[0]) | (optima == ranks[-1]) | (optima >= limit)).any(axis=0)


def test_best_ranks_are_those_of_the_record_and_censored_ones_stand_apart(made, data, parts, interval):
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
            own = found[name]
            wanted = np.exp(interval(np.log(least(curve)[:, ~censored])))
            np.testing.assert_allclose([own.y, own.low, own.high], wanted)
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
    own = lines["theorykit's own prediction"]
    np.testing.assert_array_equal(own.y, [row["uniform"] for row in first["predicted"]])
    assert own.role is Role.RIVAL, "it corrects nothing of the paper"
    assert ("rank 1, the least there is, at every n" in made("figure-2a").caption) == (own.y == 1).all()
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


def test_intervals_without_width_are_told(made, data):
    for name, curve in data["curves"].items():
        alike = (np.ptp(least(curve), axis=0) == 0) & ~apart(curve, data["full_rank"])
        if curve["objective"] == "labels" and alike.any():
            sizes = ", ".join(str(size) for size in np.array(curve["sizes"])[alike])
            assert f"{name}, n = {sizes}" in made("figure-2a").note
    assert "nothing lies beyond rank 1 and full rank" in made("figure-2a").caption


def test_curves_are_mean_losses(made, data, content, parts, interval):
    _, turns, objectives = made("figure-2a").panels
    first = next(curve for curve in data["curves"].values() if curve["objective"] == "labels")
    for label, points in parts(turns, Points).items():
        losses = np.array(first["end"])[:, first["sizes"].index(int(label.split()[-1]))]
        np.testing.assert_allclose([points.y, points.low, points.high], interval(losses))
    size = int(objectives.title.split()[-1].rstrip("?"))
    found = parts(objectives, Points)
    names = [name for name, curve in data["curves"].items() if size in curve["sizes"]]
    verdicts = {finding["what"]: finding["words"][0] for finding in content("optimal-rank")["findings"]}
    for name, (label, points) in zip(names, found.items(), strict=True):
        curve = data["curves"][name]
        place = curve["sizes"].index(size)
        wanted = interval(np.array(curve["end"])[:, place])
        np.testing.assert_allclose([points.y, points.low, points.high], wanted)
        ranks = least(curve)[:, place]
        span = " to ".join(f"{rank:.0f}" for rank in sorted({ranks.min(), ranks.max()}))
        word = verdicts[f"{name}, n = {size}: the loss is least at an inner rank"].lower().replace("_", " ")
        assert label == f"{name}: r* = {span}, a U: {word}"
        assert (label in made("figure-2a").caption) == (curve["objective"] == "distillation")
