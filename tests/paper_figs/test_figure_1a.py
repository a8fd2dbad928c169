import numpy as np
import pytest

from paper_figs.pictures import Line, Points

CURVED = 1.02


def average(curve, last):
    """Return the mean of a run's ‖∇L‖² up to a step that was looked at, by trapezia."""
    steps, squares = np.array(curve["step"]), np.array(curve["squared_gradient_norm"])
    kept = steps <= last
    return np.sum(np.diff(steps[kept]) * (squares[kept][1:] + squares[kept][:-1]) / 2) / last


@pytest.fixture
def data(content):
    return content("sgd-convergence")["data"]


def test_averages_of_plain_sgd_are_those_of_the_record(made, data, parts):
    found = parts(made("figure-1a").panels[0], Points)
    short = found["SGD, short step"]
    looks = data["curves"]["short step"][0]["step"]
    assert short.x[-1] == looks[-1]
    whole = np.array([average(one, looks[-1]) for one in data["curves"]["short step"]])
    np.testing.assert_allclose(short.y[-1], whole.mean(), rtol=1e-9)
    assert short.low[-1] < short.y[-1] < short.high[-1]
    for one in data["curves"].get("tuned step", []):
        assert one["step"][-1] in found["SGD, step tuned to each T"].x
    if data["curves"].get("tuned step"):
        ends = [average(one, one["step"][-1]) for one in data["curves"]["tuned step"]]
        lengths = np.array([one["step"][-1] for one in data["curves"]["tuned step"]])
        points = found["SGD, step tuned to each T"]
        for size, value in zip(points.x, points.y, strict=True):
            np.testing.assert_allclose(value, np.mean(np.array(ends)[lengths == size]), rtol=1e-9)


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


def test_adamw_is_drawn_over_its_start_and_speeds_as_paired_differences(made, data, parts):
    _, adamw, faster = made("figure-1a").panels
    low = parts(adamw, Points)["low rank"]
    curves = data["curves"]["low rank"]
    last = [average(one, low.x[-1]) / one["squared_gradient_norm"][0] for one in curves]
    np.testing.assert_allclose(low.y[-1], np.exp(np.mean(np.log(last))), rtol=1e-9)
    for name, label in (("mean squared gradient norm", "mean ‖∇L‖²"), ("steps until half", "steps until half")):
        (arms,) = (arms for measure, arms in data["speeds"].items() if measure.startswith(name))
        (points,) = (one for own, one in parts(faster, Points).items() if own.startswith(label))
        rivals = ("high rank", "kd", "dense finetune", "low rank, other order")
        wanted = [np.mean(np.subtract(arms["low rank"], arms[rival])) for rival in rivals]
        np.testing.assert_allclose(points.y, wanted)
