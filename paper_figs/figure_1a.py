"""Figure 1(a): the squared gradient norm over the steps, for plain SGD and for the paper's own optimiser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from paper_figs.pictures import Line, Panel, Part, Picture, Points, Role, box, floats, ticks
from paper_figs.sources import Data, Sources, verdict_words
from theorykit.arguments import Floats
from theorykit.verdicts import geometric_interval, student_interval
from validation.claims.finding import Form
from validation.theorem_1.arms import (
    ADAMW,
    CONTROL,
    DENSE,
    HIGH,
    KD,
    ONE_OVER_L,
    SHORT,
    TUNED,
    Constants,
    Curve,
)
from validation.theorem_1.students import CURVED, eq_11_bound, tuned_excess

ABOUT = "squared gradient norm over the steps, beside eq 11, and which method is faster"
_CHECK = ("sgd-convergence", "students")
_METHODS = {ADAMW: "low rank", HIGH: "high rank", KD: "KD", DENSE: "fine-tuning in full"}
_OTHERS = {HIGH: "high rank", KD: "KD", DENSE: "fine-tuning", CONTROL: "control:\nother order"}
"""What the low rank is held against."""
_MEASURES = {
    "gradient": "mean ‖∇L‖² over its start",
    "held-out loss": "steps until half of the held-out loss that goes is gone",
}
"""How the speeds of the record are told from another, and what a reader needs to know of them."""


def build(sources: Sources) -> Picture:
    """Return averages of ‖∇L‖² over T with eq 11, the same of AdamW, and differences of speeds."""
    data = sources.data(*_CHECK)
    settings = sources.record(*_CHECK).content["settings"]
    margin, level = float(settings["control_margin"]), 1 - 2 * float(settings["alpha"])
    curves = {arm: [_curve(one) for one in found] for arm, found in data["curves"].items()}
    known = {arm: Constants(**one) for arm, one in data["constants"].items() if one is not None}
    seeds = len(data["curves"][SHORT])
    return Picture(
        "Convergence of low-rank students",
        [_plain(curves, known), _adamw(curves), _speeds(data["speeds"], margin, level)],
        "Eq 11 as printed goes to zero with T, as corrected it ends at the floor Lησ². Measurements above both printed "
        "lines refute eq 11 without its O(ε²/√T), which has no constant and is left out; with it nothing can refute "
        "eq 11. Theorem 1 says nothing of AdamW with a schedule, which §5.4 shows: that the low rank is faster, above "
        f"0 on the right, counts where the interval of the control lies in its box. {_set_up(sources)}",
        f"{seeds} seeds; means (AdamW: geometric) with 95 % intervals, on the right {100 * level:g} %, those of the "
        f"check's tests. {_judged(sources)} Printed lines have L = 1/η, corrected ones the lesser of 1/η and the "
        f"measured curvature. {_constants(curves, known)}No bound is drawn where η times the top Hessian eigenvalue "
        "passed 1: Theorem 1 does not apply. The paper prints no numbers of its Figure 1(a).",
    )


def _faster(sources: Sources) -> list[dict[str, Any]]:
    return sources.findings(*_CHECK, "faster-convergence", Form.PRINTED)


def _set_up(sources: Sources) -> str:
    """Return what the record says of the start and of the learning rate, which are those of no arm of the paper."""
    reasons: list[str] = _faster(sources)[0]["verdict"]["reasons"]
    return next(reason for reason in reasons if reason.startswith("The start is"))


def _judged(sources: Sources) -> str:
    """Return the verdicts on who is faster, by measure and arm."""
    said = []
    for words, label in _MEASURES.items():
        found = {one["what"]: verdict_words(one) for one in _faster(sources)}
        told = [
            f"{_OTHERS[arm]} {verdict}"
            for arm in (HIGH, KD, DENSE)
            for what, verdict in found.items()
            if f"faster than {arm}:" in what and words in what
        ]
        said.append(f"{label}: {', '.join(told)}")
    return f"Is the low rank faster than these? {'; '.join(said)}."


def _constants(curves: Mapping[str, Sequence[Curve]], known: Mapping[str, Constants]) -> str:
    """Return whose constants the bound of the tuned step has, and at which T it has none."""
    if not curves.get(TUNED) or SHORT not in known:
        return ""
    long = [size for size, value in tuned_excess(_by_length(curves[TUNED]), known[SHORT]).items() if value > CURVED]
    none = f", and none is drawn at T = {', '.join(map(str, long))}" if long else ""
    return f"The bound of the tuned step has curvature and σ² of the short step's runs{none}. "


def _curve(one: Data) -> Curve:
    steps, squares, losses = (floats(one[name]) for name in ("step", "squared_gradient_norm", "loss"))
    return Curve(steps, squares, losses, float(one["step_size"]))


def _averages(curves: Sequence[Curve], sizes: Floats) -> Floats:
    return np.array([[one.average(0, size) for size in sizes] for one in curves])


def _plain(curves: Mapping[str, Sequence[Curve]], known: Mapping[str, Constants]) -> Panel:
    """Return constant steps at halves of the whole run, the tuned step at its T, and bounds where they apply."""
    parts: list[Part] = []
    looks = curves[SHORT][0].steps[1:]
    sizes = np.array([size for size in looks[-1] / 2.0 ** np.arange(12)[::-1] if size >= looks[0]])
    for arm in (SHORT, ONE_OVER_L):
        if curves.get(arm):
            excess = max(known[arm].excess) if arm in known else np.inf
            label = f"SGD, {arm}" + ("" if excess <= CURVED else " (too long: no bound)")
            parts.append(Points(label, sizes, *student_interval(_averages(curves[arm], sizes))))
            parts += _bounds(arm, curves[arm], known[arm], sizes) if excess <= CURVED else []
    if curves.get(TUNED):
        parts += _tuned(curves[TUNED], known.get(SHORT))
    half = _averages(curves[SHORT], sizes[:1]).mean() * np.sqrt(sizes[0] / sizes)
    parts.append(Line("T^-½, slope only (abstract, §7)", sizes, half, Role.RIVAL))
    y_label, marks = "average of ‖∇L‖², nats²", ticks(sizes)
    return Panel("Plain SGD, constant step", "T, steps", y_label, parts, "log", "log", x_ticks=marks, width=1.15)


def _bounds(arm: str, curves: Sequence[Curve], known: Constants, sizes: Floats) -> list[Line]:
    steps = np.unique(np.geomspace(sizes[0], sizes[-1], 40).round()).astype(int)

    def line(label: str, form: Form, kind: str, role: Role) -> Line:
        values = floats([eq_11_bound(form, kind, curves, known, int(size)) for size in steps])
        return Line(label, steps.astype(float), values, role)

    most = "the same at most: Δ = L(θ0), largest limit of σ²"
    return [
        line(f"2LΔ/T + σ²/T as printed, {arm}", Form.PRINTED, "point", Role.PRINTED),
        line(most if arm == SHORT else "", Form.PRINTED, "high", Role.PRINTED),
        line(f"2Δ/(ηT) + Lησ² as corrected, {arm}", Form.CORRECTED, "point", Role.CORRECTED),
    ]


def _tuned(curves: Sequence[Curve], known: Constants | None) -> list[Part]:
    """Return averages over whole runs whose step was tuned to their length, with the bound where it applies."""
    groups = _by_length(curves)
    sizes = list(groups)
    found = [student_interval(_averages(group, floats([size]))) for size, group in groups.items()]
    mean, low, high = (np.concatenate(part) for part in zip(*found, strict=True))
    parts: list[Part] = [Points("SGD, step tuned to each T", floats(sizes), mean, low, high)]
    if known is not None:
        excess = tuned_excess(groups, known)
        bound = [
            eq_11_bound(Form.CORRECTED, "point", group, known, size) if excess[size] <= CURVED else np.nan
            for size, group in groups.items()
        ]
        parts.append(Line("as corrected, tuned step", floats(sizes), floats(bound), Role.CORRECTED))
    return parts


def _by_length(curves: Sequence[Curve]) -> dict[int, list[Curve]]:
    sizes = sorted({int(one.steps[-1]) for one in curves})
    return {size: [one for one in curves if one.steps[-1] == size] for size in sizes}


def _adamw(curves: Mapping[str, Sequence[Curve]]) -> Panel:
    """Return the running average over its start, as the losses of the methods have other scales."""
    parts: list[Points] = []
    for arm, label in _METHODS.items():
        if curves[arm]:
            sizes = curves[arm][0].steps[1:]
            over_start = _averages(curves[arm], sizes) / floats([one.squares[0] for one in curves[arm]])[:, None]
            parts.append(Points(label, sizes, *geometric_interval(over_start), joined=True))
    x, first = parts[0].x, parts[0].y[0]
    slope = Line("T^-½, slope only (§5.4)", x, first * np.sqrt(x[0] / x), Role.RIVAL)
    y_label = "average of ‖∇L‖² over its start"
    return Panel("AdamW: no theorem applies", "T, steps", y_label, [*parts, slope], "log", "log", x_ticks=ticks(x))


def _speeds(speeds: Data, margin: float, level: float) -> Panel:
    """Return for each other arm how much faster the low rank is, by both measures of the record."""
    parts: list[Part] = []
    places = np.arange(len(_OTHERS), dtype=float)
    for number, (words, label) in enumerate(_MEASURES.items()):
        (measure,) = (name for name in speeds if words in name)
        found = {arm: floats(values) for arm, values in speeds[measure].items()}
        differences = np.stack([found[ADAMW] - found[arm] for arm in _OTHERS], axis=1)
        parts.append(Points(label, places + 0.2 * number - 0.1, *student_interval(differences, level)))
    parts.append(box("where the control must lie", places[-1] - 0.4, places[-1] + 0.4, margin))
    zero = Line("no difference", floats([-0.5, places[-1] + 0.5]), floats([0, 0]), Role.TRIVIAL)
    y_label = "ln(speed of low rank / speed of the other)"
    return Panel("Is low rank faster (§5.4)?", "", y_label, [*parts, zero], x_names=list(_OTHERS.values()), width=1.1)
