"""Figure 1(a): the squared gradient norm over the steps, for plain SGD and for the paper's own optimiser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from paper_figs.pictures import Line, Panel, Part, Picture, Points, Role, box, floats, ticks
from paper_figs.sources import Sources
from theorykit.arguments import Floats
from theorykit.errors import InputError
from theorykit.verdicts import Form, geometric_interval, student_interval
from validation.claims.record import Record
from validation.claims.settings import read_settings
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
    StudentsSettings,
    averages,
)
from validation.theorem_1.slopes import RIVALS, Measure, Speeds, set_up
from validation.theorem_1.students import CURVED, StudentsData, eq_11_bound, tuned_excess

ABOUT = "squared gradient norm over the steps, beside eq 11, and which method is faster"
_CHECK = ("sgd-convergence", "students")
_METHODS = {ADAMW: "low rank", HIGH: "high rank", KD: "KD", DENSE: "fine-tuning in full"}
_OTHERS = {HIGH: "high rank", KD: "KD", DENSE: "fine-tuning", CONTROL: "control:\nother order"}
"""What the low rank is held against."""
_MEASURES = {
    Measure.GRADIENT: "mean ‖∇L‖² over its start",
    Measure.LOSS: "steps until half of the held-out loss that goes is gone",
}


def build(sources: Sources) -> Picture:
    """Return averages of ‖∇L‖² over T with eq 11, the same of AdamW, and differences of speeds."""
    data, record = sources.data(*_CHECK, StudentsData), sources.record(*_CHECK)
    settings = read_settings(StudentsSettings, record.content.settings)
    level = 1 - 2 * settings.alpha
    known = {arm: constants for arm, constants in data.constants.items() if constants is not None}
    if not data.curves[SHORT] or not any(data.curves[arm] for arm in _METHODS):
        raise InputError(f"no student of the {SHORT} or none of AdamW ended", f"{sources.again(*_CHECK)} --again")
    return Picture(
        "Convergence of low-rank students",
        [_plain_sgd(data.curves, known), _adamw(data.curves), _speeds(data.speeds, settings.control_margin, level)],
        "Eq 11 as printed goes to zero with T, as corrected it ends at the floor Lησ². Measurements above both printed "
        "lines refute eq 11 without its O(ε²/√T), which has no constant and is left out; with it nothing can refute "
        "eq 11. Theorem 1 says nothing of AdamW with a schedule, which §5.4 shows: that the low rank is faster, above "
        "0 on the right, counts where the interval of the control lies in its box. " + set_up(settings.adamw_start),
        f"{len(data.curves[SHORT])} seeds; means (AdamW: geometric) with 95 % intervals, on the right "
        f"{100 * level:g} %, those of the check's tests. {_verdicts(record)} Printed lines have L = 1/η, "
        f"corrected ones the lesser of 1/η and the measured curvature. {_constants(data.curves, known)}"
        "No bound is drawn where η times the top Hessian eigenvalue passed 1: Theorem 1 does not apply. "
        "The paper prints no numbers of its Figure 1(a).",
    )


def _verdicts(record: Record) -> str:
    """Return the verdicts on who is faster, by measure and arm."""
    by_measure = []
    for measure, label in _MEASURES.items():
        verdicts = [
            f"{_OTHERS[arm]} "
            + record.finding("faster-convergence", Form.PRINTED, "speed", rival=arm, measure=measure).sentence_words
            for arm in RIVALS
        ]
        by_measure.append(f"{label}: {', '.join(verdicts)}")
    return f"Is the low rank faster than these? {'; '.join(by_measure)}."


def _constants(curves: Mapping[str, Sequence[Curve]], known: Mapping[str, Constants]) -> str:
    """Return whose constants the bound of the tuned step has, and at which T it has none."""
    if not curves.get(TUNED) or SHORT not in known:
        return ""
    long = [size for size, value in tuned_excess(_by_length(curves[TUNED]), known[SHORT]).items() if value > CURVED]
    none = f", and none is drawn at T = {', '.join(map(str, long))}" if long else ""
    return f"The bound of the tuned step has curvature and σ² of the short step's runs{none}. "


def _averages(curves: Sequence[Curve], sizes: Floats) -> Floats:
    """Return averages over the first T steps ``[seeds, sizes]``."""
    return averages([curves] * len(sizes), sizes).T


def _plain_sgd(curves: Mapping[str, Sequence[Curve]], known: Mapping[str, Constants]) -> Panel:
    """Return constant steps at halves of the whole run, the tuned step at its T, and bounds where they apply."""
    parts: list[Part] = []
    looks = curves[SHORT][0].step[1:]
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
    intervals = [student_interval(_averages(group, floats([size]))) for size, group in groups.items()]
    mean, low, high = (np.concatenate(part) for part in zip(*intervals, strict=True))
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
    sizes = sorted({int(curve.step[-1]) for curve in curves})
    return {size: [curve for curve in curves if curve.step[-1] == size] for size in sizes}


def _adamw(curves: Mapping[str, Sequence[Curve]]) -> Panel:
    """Return the running average over its start, as the losses of the methods have other scales."""
    parts: list[Points] = []
    for arm, label in _METHODS.items():
        if curves[arm]:
            sizes, starts = curves[arm][0].step[1:], floats([curve.squared_gradient_norm[0] for curve in curves[arm]])
            over_start = _averages(curves[arm], sizes) / starts[:, None]
            parts.append(Points(label, sizes, *geometric_interval(over_start), joined=True))
    x, first = parts[0].x, parts[0].y[0]
    slope = Line("T^-½, slope only (§5.4)", x, first * np.sqrt(x[0] / x), Role.RIVAL)
    y_label = "average of ‖∇L‖² over its start"
    return Panel("AdamW: no theorem applies", "T, steps", y_label, [*parts, slope], "log", "log", x_ticks=ticks(x))


def _speeds(speeds: Speeds, margin: float, level: float) -> Panel:
    """Return for each other arm how much faster the low rank is, by both measures of the record."""
    parts: list[Part] = []
    places = np.arange(len(_OTHERS), dtype=float)
    for number, (measure, label) in enumerate(_MEASURES.items()):
        by_arm = speeds[measure]
        differences = np.stack([by_arm[ADAMW] - by_arm[arm] for arm in _OTHERS], axis=1)
        parts.append(Points(label, places + 0.2 * number - 0.1, *student_interval(differences, level)))
    parts.append(box("where the control must lie", places[-1] - 0.4, places[-1] + 0.4, margin))
    zero = Line("no difference", floats([-0.5, places[-1] + 0.5]), floats([0, 0]), Role.TRIVIAL)
    y_label = "ln(speed of low rank / speed of the other)"
    return Panel("Is low rank faster (§5.4)?", "", y_label, [*parts, zero], x_names=list(_OTHERS.values()), width=1.1)
