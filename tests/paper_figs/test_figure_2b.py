import re
from dataclasses import replace

import numpy as np
import pytest

from paper_figs.figure_2b import build
from paper_figs.pictures import Line, Points, Printed, Vacuous
from paper_figs.sources import Sources
from validation.theorem_3.students import StudentsData


@pytest.fixture
def data(content):
    return content("cloning-information")["data"]


def of(values):
    return np.array(values, dtype=float)


def test_information_and_bounds_are_those_of_the_record(made, data, content, parts, interval):
    panel = made("figure-2b").panels[0]
    points, lines = parts(panel, Points), parts(panel, Line)
    first = next(iter(data["information"]))
    for arm, label in enumerate(("cloned", "without")):
        wanted = interval(of(data["information"][first]["states"])[arm].T)
        np.testing.assert_allclose(numbers(points[f"{first}, {label}"]), wanted)
    capacity, printed, corrected = (
        next(line for label, line in lines.items() if words in label).y[::3]
        for words in ("capacity", "eq 23 as printed", "corrected")
    )
    np.testing.assert_allclose(capacity, np.nanmax(of(data["information"][first]["capacity"]), axis=(0, 2)))
    width, loss = len(data["teacher_spectra"][0]), of(data["losses"]["clone_loss"])[0]
    np.testing.assert_allclose(printed, (np.log(width) - width / 2 * loss).mean(axis=1))
    noise = content("cloning-information")["settings"]["noise"]
    share = noise[first] if isinstance(noise, dict) else noise
    distortion = loss + share**2 * of(data["losses"]["student_variance"])[0]
    by_hand = [
        np.mean([water_filled(of(spectrum), share) for share in row])
        for spectrum, row in zip(data["teacher_spectra"], distortion, strict=True)
    ]
    np.testing.assert_allclose(corrected, by_hand, rtol=1e-6, atol=1e-9)
    (region,) = parts(panel, Vacuous).values()
    assert region.edge == 0
    assert not region.above
    kurtosis, caption = np.nanmean(of(data["losses"]["kurtosis"])), made("figure-2b").caption
    assert f"takes the teacher for Gaussian, whose excess kurtosis is 0 and here {kurtosis:.2g}" in caption
    pairs = content("cloning-information")["settings"]["components"]
    assert f"the points are I in {pairs[first] if isinstance(pairs, dict) else pairs} canonical pairs" in caption


def numbers(points):
    return np.array([points.y, points.low, points.high])


def water_filled(variances, distortion):
    """Return R(D) of independent Gaussians by bisection of the water level."""
    low, high = 0.0, variances.max()
    for _ in range(200):
        level = (low + high) / 2
        low, high = (level, high) if np.minimum(variances, level).sum() < distortion else (low, level)
    return 0.5 * np.log(np.maximum(variances / high, 1)).sum()


def test_gains_are_paired_and_controls_stand_beside_them_as_the_check_tests_them(made, data, content, parts, interval):
    record = content("cloning-information")
    level = 1 - 2 * record["settings"].get("alpha", 0.05)
    panel = made("figure-2b").panels[1]
    layers = len(data["layers"])
    for method, estimates in data["information"].items():
        points, states = parts(panel, Points)[method], of(estimates["states"])
        gain = states[0] - states[1]
        known = (of(estimates["known"]) - of(estimates["truth"])).mean(axis=1)
        same = [(of(estimates[name])[0] - states[0]).mean(axis=0) for name in ("rotated", "rescaled")]
        by_seed = [*gain, gain.mean(axis=0), *known, *same, of(estimates["shuffled"])[0].mean(axis=0)]
        np.testing.assert_allclose(numbers(points), interval(np.transpose(by_seed), level))
        what = f"cloning raises information, by {method}"
        (finding,) = (finding for finding in record["findings"] if finding["what"] == what)
        rows = [row for row in finding["verdict"]["evidence"]["rows"] if "margin" in row]
        for place, row in enumerate(rows, start=layers + 1):
            np.testing.assert_allclose(
                [points.low[place], points.high[place]], row["interval"], atol=1e-3
            )  # of 5 digits
    assert f"in the middle {100 * level:g} %" in made("figure-2b").note
    (printed,) = parts(panel, Printed).values()
    assert printed.y == 1.2


def test_the_bound_of_the_decoder_stands_in_the_note_alone(made, data):
    decoder = of(data["losses"]["decoder"])
    assert f"moves by {(decoder[0] - decoder[1]).mean():.2f} [" in made("figure-2b").note


def test_the_note_has_the_room_that_the_capacity_leaves(made, data):
    for method, estimates in data["information"].items():
        room = np.nanmax(of(estimates["capacity"]).mean(axis=1)) - np.nanmean(of(estimates["states"])[1])
        assert re.search(
            rf"{method}: noise [\d.]+, \d+ canonical pairs, room for a gain {room:.3g} nats", made("figure-2b").note
        )


def test_a_pair_that_failed_leaves_the_others(monkeypatch, made):
    data = Sources().data("cloning-information", "students", StudentsData)

    def with_a_failed_pair(block):
        return {
            name: np.pad(values, ((0, 0), (0, 0), (0, 1)), constant_values=np.nan) for name, values in block.items()
        }

    more = replace(
        data,
        seeds=(*data.seeds, 99),
        losses=with_a_failed_pair(data.losses),
        information={method: with_a_failed_pair(block) for method, block in data.information.items()},
    )
    monkeypatch.setattr(Sources, "data", lambda *_: more)
    for panel, whole in zip(build(Sources()).panels, made("figure-2b").panels, strict=True):
        for part, wanted in zip(panel.parts, whole.parts, strict=True):
            if isinstance(part, Line | Points):
                np.testing.assert_allclose(part.y, wanted.y)
            if isinstance(part, Points):
                np.testing.assert_allclose(numbers(part), numbers(wanted))


def test_clone_losses_are_those_of_the_record(made, data, parts, interval):
    points = parts(made("figure-2b").panels[2], Points)
    end, start = of(data["losses"]["clone_loss"]), of(data["losses"]["clone_loss at the start"])
    for label, values in (("cloned, at the end", end[0]), ("without, at the end", end[1]), ("at the start", start[0])):
        np.testing.assert_allclose(numbers(points[label]), np.exp(interval(np.log(values).T)))
