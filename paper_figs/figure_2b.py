"""Figure 2(b): information between the states of teacher and student, with the clone loss and without it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

import theorykit as tk
from paper_figs.pictures import Line, Panel, Part, Picture, Points, Printed, Role, Vacuous, box, floats
from paper_figs.sources import Sources
from theorykit.arguments import Floats
from theorykit.verdicts import geometric_interval, student_interval
from validation.claims.settings import read_settings
from validation.theorem_3.gain import PRINTED_GAIN
from validation.theorem_3.layers import CLONED, PLAIN, PairSettings
from validation.theorem_3.students import AT_START, StudentsData

ABOUT = "information by layer with and without cloning, what the estimators are worth, and the clone loss"
_CHECK = ("cloning-information", "students")
_ARMS = {CLONED: "cloned", PLAIN: "without"}
_CONTROLS = ("known,\ncloned", "known,\nwithout", "rotated", "rescaled", "shuffled")
_NATS = "nats"
_DODGE = 0.13


def build(sources: Sources) -> Picture:
    """Return information by layer with its bounds, gains beside controls of the estimators, and clone losses."""
    data = sources.data(*_CHECK, StudentsData)
    settings = read_settings(PairSettings, sources.record(*_CHECK).content.settings)
    level = 1 - 2 * settings.alpha
    return Picture(
        "Information with and without cloning",
        [_information(data, settings), _gains(data, settings.margin, level), _losses(data)],
        "Without noise the information of eq 22 is infinite: what is estimated belongs to the noise τ that is added to "
        "the student's states, and no gain can be larger than the room below the capacity. Gains count as far as the "
        "intervals of the controls stay in their box: Gaussian pairs of known information, states rotated and "
        "rescaled, rows shuffled. The printed star is a claim about other students, by MINE, at no noise that the "
        f"paper tells. {_assumed(data, settings)}",
        f"{len(data.seeds)} pairs of students, each pair of one seed; means with 95 % intervals (clone loss: "
        f"geometric), in the middle {100 * level:g} %, those of the check's tests; gains paired. {data.rows} rows. "
        f"{_resolutions(data, settings)} Clone loss: squared distance summed over coordinates. {_decoder(data)}",
    )


def _assumed(data: StudentsData, settings: PairSettings) -> str:
    """Return what R(D + dτ²) rests on, and that it bounds more than what the points are."""
    _, pairs = settings.resolution(next(iter(data.information)))
    kurtosis = np.nanmean(data.losses["kurtosis"])
    return (
        f"R(D + dτ²) takes the teacher for Gaussian, whose excess kurtosis is 0 and here {kurtosis:.2g}: without that "
        f"it may lie above the true bound. It bounds the whole of I; the points are I in {pairs} canonical pairs, so "
        "that one below it would refute nothing."
    )


def _resolutions(data: StudentsData, settings: PairSettings) -> str:
    """Return noise and number of canonical pairs of each estimator, and what they leave for a gain."""
    rooms = []
    for method, estimates in data.information.items():
        noise, pairs = settings.resolution(method)
        # as in the check: means over the layers, the largest capacity of any student
        room = np.nanmax(estimates["capacity"].mean(axis=1)) - np.nanmean(estimates["states"][PLAIN])
        rooms.append(f"{method}: noise {noise:g}, {pairs} canonical pairs, room for a gain {room:.3g} nats")
    return f"Gains at different noise (over the student's scale) do not compare: {'; '.join(rooms)}."


def _decoder(data: StudentsData) -> str:
    """Return what the decoder's bound does: it is no information, and stands in no panel beside it."""
    bound = data.losses["decoder"]
    mean, low, high = (
        float(part[0]) for part in student_interval((bound[CLONED] - bound[PLAIN]).mean(axis=0)[:, None])
    )
    return (
        f"Not shown: the lower bound of a linear decoder without noise moves by {mean:.2f} [{low:.2f}, {high:.2f}] "
        "nats; a lower bound that moves is no gain of information."
    )


def _information(data: StudentsData, settings: PairSettings) -> Panel:
    """Return the estimates of one noise, that of the first estimator, with what bounds them at it."""
    methods = data.information
    noise, pairs = settings.resolution(next(iter(methods)))
    alike = [method for method in methods if settings.resolution(method) == (noise, pairs)]
    places = np.arange(len(data.layers), dtype=float)
    printed, corrected = _bounds(data, noise)
    capacity = np.nanmax(methods[alike[0]]["capacity"], axis=(0, 2))
    limits = -0.08 * float(capacity.max()), 1.08 * float(capacity.max())
    outside = " (off scale)" if printed.min() < limits[0] else ""
    parts: list[Part] = [
        Vacuous("below 0: I ≥ 0 without any bound", 0.0, above=False),
        _levels("capacity: information at this noise is below it", places, capacity, Role.TRIVIAL),
        _levels(f"eq 23 as printed, const = 0: {_listed(printed)}{outside}", places, printed, Role.PRINTED),
        _levels(f"R(D + dτ²), corrected, Gaussian teacher: {_listed(corrected)}", places, corrected, Role.CORRECTED),
    ]
    for number, (method, arm) in enumerate((method, arm) for method in alike for arm in _ARMS):
        values = student_interval(methods[method]["states"][arm].T)
        parts.append(Points(f"{method}, {_ARMS[arm]}", _dodged(places, number, 2 * len(alike)), *values))
    names = [str(layer) for layer in data.layers]
    return Panel(f"Information at noise τ = {noise:g}", "layer", _NATS, parts, y_limits=limits, x_names=names)


def _bounds(data: StudentsData, noise: float) -> tuple[Floats, Floats]:
    """Return eq 23 with constant 0, and R(D + dτ²) of the teacher, of the cloned arm by layer, meaned over seeds."""
    loss, spread = (data.losses[name][CLONED] for name in ("clone_loss", "student_variance"))
    living = np.isfinite(loss).all(axis=0)
    loss, spread, spectra = loss[:, living], spread[:, living], data.teacher_spectra
    printed = np.asarray(tk.printed_cloning_bound(loss, spectra.shape[1]))
    noisy = loss + noise**2 * spread
    corrected = np.array([tk.rate_distortion(spectrum, row) for spectrum, row in zip(spectra, noisy, strict=True)])
    return printed.mean(axis=1), corrected.mean(axis=1)


def _gains(data: StudentsData, margin: float, level: float) -> Panel:
    """Return what cloning adds by every estimator, beside what each estimator adds where nothing is to be found."""
    layers, methods = len(data.layers), data.information
    gains, controls = np.arange(layers + 1.0), layers + 1.0 + np.arange(len(_CONTROLS))
    parts: list[Part] = []
    for number, (name, estimates) in enumerate(methods.items()):
        gain = estimates["states"][CLONED] - estimates["states"][PLAIN]
        values, places = [*gain, gain.mean(axis=0), *_errors(estimates)], np.concatenate([gains, controls])
        parts.append(Points(name, _dodged(places, number, len(methods)), *student_interval(np.array(values).T, level)))
    beside = _dodged(gains[-1:], len(methods), len(methods))
    left, right = controls[0] - 0.45, controls[-1] + 0.45
    parts += [
        box("where controls must lie", left, right, margin),
        Line("no gain, no error", floats([-0.5, right]), floats([0, 0]), Role.TRIVIAL),
        Printed(f"the paper, §5.7: +{PRINTED_GAIN:g} nats on average, by MINE", beside, floats([PRINTED_GAIN])),
    ]
    names = [*(f"layer {layer}" for layer in data.layers), "mean", *_CONTROLS]
    return Panel("Gain from cloning (§5.7), and controls", "", _NATS, parts, x_names=names, width=1.75)


def _errors(estimates: Mapping[str, Floats]) -> list[Floats]:
    """Return what each control is off by, meaned over the layers, one number for each seed."""
    mean = {name: values.mean(axis=1) for name, values in estimates.items()}
    known = mean["known"] - mean["truth"]
    same = [mean[name][CLONED] - mean["states"][CLONED] for name in ("rotated", "rescaled")]
    return [known[CLONED], known[PLAIN], *same, mean["shuffled"][CLONED]]


def _losses(data: StudentsData) -> Panel:
    """Return clone losses by layer: at the start, where both arms are alike, and at the end."""
    places = np.arange(len(data.layers), dtype=float)
    start, end = data.losses[f"clone_loss{AT_START}"], data.losses["clone_loss"]
    values = {**{f"{arm}, at the end": end[k] for k, arm in _ARMS.items()}, "at the start": start[CLONED]}
    parts = [
        Points(label, _dodged(places, number, len(values)), *geometric_interval(losses.T))
        for number, (label, losses) in enumerate(values.items())
    ]
    names = [str(layer) for layer in data.layers]
    return Panel("Clone loss", "layer", "E‖H_t − H_s‖²", parts, y_scale="log", x_names=names)


def _dodged(places: Floats, number: int, count: int) -> Floats:
    """Return places moved aside, so that the intervals of several series can be told apart."""
    return places + _DODGE * (number - (count - 1) / 2)


def _levels(label: str, places: Floats, values: Floats, role: Role) -> Line:
    """Return a short level line at each place."""
    x = np.column_stack([places - 0.4, places + 0.4, places]).ravel()
    y = np.column_stack([values, values, np.full(values.size, np.nan)]).ravel()
    return Line(label, x, y, role)


def _listed(values: Floats) -> str:
    return ", ".join(f"{value:.3g}".replace("-", "−") for value in np.round(values, 3))
