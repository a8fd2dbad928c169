from dataclasses import replace

import numpy as np
import pytest

from paper_figs.catalogue import build
from paper_figs.pictures import Line, Points
from paper_figs.sources import Sources
from theorykit.errors import InputError
from validation.claims.record import record_file, write_record

CURVED = 1.02


def average(curve, last):
    """Return the mean of a run's ‖∇L‖² up to a step that was looked at, by trapezia."""
    steps, squares = np.array(curve["step"]), np.array(curve["squared_gradient_norm"])
    kept = steps <= last
    return np.sum(np.diff(steps[kept]) * (squares[kept][1:] + squares[kept][:-1]) / 2) / last


@pytest.fixture
def data(content):
    return content("sgd-convergence")["data"]


def shown(points):
    return np.array([points.y, points.low, points.high])


def test_averages_of_plain_sgd_are_those_of_the_record_with_95_percent_intervals(made, data, parts, interval):
    found = parts(made("figure-1a").panels[0], Points)
    for arm in ("short step", "step 1/L"):
        if data["curves"].get(arm):
            (points,) = (one for label, one in found.items() if label.startswith(f"SGD, {arm}"))
            assert points.x[-1] == data["curves"][arm][0]["step"][-1]
            averages = [[average(one, size) for size in points.x] for one in data["curves"][arm]]
            np.testing.assert_allclose(shown(points), interval(averages), rtol=1e-9)
    if data["curves"].get("tuned step"):
        points = found["SGD, step tuned to each T"]
        lengths = np.array([one["step"][-1] for one in data["curves"]["tuned step"]])
        np.testing.assert_array_equal(points.x, np.unique(lengths))
        ends = np.array([average(one, one["step"][-1]) for one in data["curves"]["tuned step"]])
        wanted = [interval(ends[lengths == size]) for size in points.x]
        np.testing.assert_allclose(shown(points).T, wanted, rtol=1e-9)


def test_bounds_are_eq_11_with_the_recorded_constants(made, data, parts):
    lines = parts(made("figure-1a").panels[0], Line)
    known, curves = data["constants"]["short step"], data["curves"]["short step"]
    if max(known["excess"]) > CURVED:
        assert not any("short step" in label for label in lines)
        return
    rate, start = curves[0]["step_size"], np.array([one["loss"][0] for one in curves])
    fall = start - [min(one["loss"]) for one in curves]
    smooth = min(1 / rate, np.mean(known["curvatures"]))
    printed, most, corrected = (
        next(line for label, line in lines.items() if words in label)
        for words in ("as printed, short step", "the same at most", "as corrected, short step")
    )
    np.testing.assert_allclose(printed.y, (2 * fall.mean() / rate + known["variance"]) / printed.x)
    np.testing.assert_allclose(most.y, (2 * start.mean() / rate + known["high"]) / most.x)
    floor = smooth * rate * known["variance"]
    np.testing.assert_allclose(corrected.y, 2 * fall.mean() / (rate * corrected.x) + floor)


def test_no_bound_is_drawn_where_the_step_is_too_long(made, data, parts):
    panel = made("figure-1a").panels[0]
    known = data["constants"].get("step 1/L")
    if known is not None:
        too_long = max(known["excess"]) > CURVED
        assert too_long == any("too long" in label for label in parts(panel, Points))
        assert too_long != any("step 1/L" in label for label in parts(panel, Line))
    if "as corrected, tuned step" in parts(panel, Line):
        line = parts(panel, Line)["as corrected, tuned step"]
        curvature = np.mean(data["constants"]["short step"]["curvatures"])
        for size, bound in zip(line.x, line.y, strict=True):
            rates = [one["step_size"] for one in data["curves"]["tuned step"] if one["step"][-1] == size]
            assert np.isnan(bound) == (np.mean(rates) * curvature > CURVED)
        without = [f"{size:.0f}" for size in line.x[np.isnan(line.y)]]
        note = made("figure-1a").note
        assert "has curvature and σ² of the short step's runs" in note
        assert ("none is drawn at T" in note) == bool(without)
        if without:
            assert f"none is drawn at T = {', '.join(without)}. " in note


def test_adamw_is_drawn_over_its_start_with_intervals_of_logarithms(made, data, parts, interval):
    found = parts(made("figure-1a").panels[1], Points)
    arms = {"low rank": "low rank", "high rank": "high rank", "KD": "kd", "fine-tuning in full": "dense finetune"}
    assert set(found) == {label for label, arm in arms.items() if data["curves"][arm]}
    for label, points in found.items():
        curves = data["curves"][arms[label]]
        shares = [[average(one, size) / one["squared_gradient_norm"][0] for size in points.x] for one in curves]
        np.testing.assert_allclose(shown(points), np.exp(interval(np.log(shares))), rtol=1e-9)


@pytest.mark.parametrize(
    "label", ["mean ‖∇L‖² over its start", "steps until half of the held-out loss that goes is gone"]
)
def test_speeds_are_paired_differences_with_the_intervals_of_the_tests(label, made, data, content, parts, interval):
    points = parts(made("figure-1a").panels[2], Points)[label]
    words = label.replace("‖∇L‖²", "squared gradient norm")
    arms = data["speeds"][words]
    rivals = {"high rank": "high rank", "kd": "KD", "dense finetune": "fine-tuning", "low rank, other order": ""}
    differences = np.transpose([np.subtract(arms["low rank"], arms[rival]) for rival in rivals])
    found = content("sgd-convergence")
    alpha = found["settings"]["alpha"]
    np.testing.assert_allclose(shown(points), interval(differences, 1 - 2 * alpha))
    judged = []
    for place, rival in enumerate(list(rivals)[:-1]):
        (one,) = (
            one
            for one in found["findings"]
            if one["equation"] == "faster-convergence" and f"than {rival}: {words}" in one["what"]
        )
        control, effect = (one["verdict"]["evidence"]["rows"][number] for number in (0, 1))
        np.testing.assert_allclose([points.low[place], points.high[place]], effect["interval"], rtol=1e-6)
        np.testing.assert_allclose([-points.high[-1], -points.low[-1]], control["interval"], rtol=1e-6)
        inside = -control["margin"] < points.low[-1] and points.high[-1] < control["margin"]
        assert inside == control["passed"], "the box shows what the check decides"
        judged.append(f"{rivals[rival]} {one['words'][0].lower().replace('_', ' ')}")
    picture = made("figure-1a")
    assert f"{label}: {', '.join(judged)}" in picture.note
    assert f"on the right {100 - 200 * alpha:g} %" in picture.note


def test_the_caption_says_what_the_bounds_and_the_arms_leave_out(made, content):
    caption, note = made("figure-1a").caption, made("figure-1a").note
    start = content("sgd-convergence")["settings"]["adamw_start"]
    assert "refute eq 11 without its O(ε²/√T)" in caption
    assert f"The start is {start} for every arm" in caption
    assert "the learning rate is one for every arm, tuned for none" in caption
    assert "Printed lines have L = 1/η, corrected ones the lesser of 1/η and the measured curvature" in note


def test_without_students_that_ended_there_is_no_figure(data, tmp_path):
    record = Sources().record("sgd-convergence", "students")
    content = replace(record.content, data=data | {"curves": data["curves"] | {"short step": []}})
    write_record(record_file(tmp_path, "cpu", 0, record.slug, record.part), content, record.made)
    with pytest.raises(InputError, match="no student of the short step") as caught:
        build("figure-1a", Sources(results=tmp_path))
    assert "python -m validation run sgd-convergence --part students" in caught.value.hint
