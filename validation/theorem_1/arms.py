"""The students of Theorem 1: which are trained, and what the numbers of each mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from theorykit.arguments import Floats
from theorykit.errors import InputError
from validation.claims import grids
from validation.claims.settings import PartSettings
from validation.claims.trained import TrainedStudent
from validation.training.config import StudentConfig

SHORT, ONE_OVER_L, TUNED = "short step", "step 1/L", "tuned step"
"""Of plain SGD with a constant step."""
ADAMW, HIGH, CONTROL, KD, DENSE = "low rank", "high rank", "low rank, other order", "kd", "dense finetune"
"""All of AdamW: LRC at the low rank and at the high one, again at the low one, distillation, fine-tuning in full."""
_LOOKS = ("gradient_norm", "loss_terms")
_PROBES = ("gradient_variance", "hessian", "weight_error")
_OTHER_ORDERS = 500
_POINTS = 16
"""Looks at a run with a tuned step, whose length is its T."""


@dataclass(frozen=True, kw_only=True)
class StudentsSettings(PartSettings):
    """Settings of the part on students; the arms of plain SGD have the fields of a run, those of AdamW their own.

    Attributes:
        n_blocks: Train blocks of plain SGD, and those that every gradient norm is measured on.
        steps: Of plain SGD at a constant step.
        seeds: How many students of each arm.
        probe_seeds: Of how many of them σ², curvature and ε are measured.
        one_over_l: Whether the step 1/L is tried beside the short one.
        tuned_steps: T to which a step is tuned, increasing; none for no such arm.
        rate_steps: T at which averages of the constant steps make a slope, increasing.
        high_rank: What the low rank is compared with.
        adamw_steps: Steps of AdamW.
        adamw_looks: How often its gradient norm is measured.
        adamw_rate: Its learning rate.
        adamw_batch_size: Its blocks in a step.
        adamw_start: Its ``start``.
        sd_log: Expected standard deviation of the logarithm of one average.
        margin: Largest difference from a claimed exponent that counts as agreement.
        control_margin: Largest difference in speed that the control may show.
        alpha: One-sided level of each decision.
    """

    n_blocks: int
    steps: int
    seeds: int
    probe_seeds: int
    one_over_l: bool
    tuned_steps: tuple[int, ...]
    rate_steps: tuple[int, ...]
    high_rank: int
    adamw_steps: int
    adamw_looks: int
    adamw_rate: float
    adamw_batch_size: int
    adamw_start: str
    sd_log: float
    margin: float
    control_margin: float
    alpha: float


def sgd_arms(settings: StudentsSettings) -> tuple[str, ...]:
    """Return the arms of plain SGD: a short step, 1/L where asked for, and the tuned step where T are given."""
    asked = {SHORT: True, ONE_OVER_L: settings.one_over_l, TUNED: bool(settings.tuned_steps)}
    return tuple(arm for arm, wanted in asked.items() if wanted)


def sgd_students(settings: StudentsSettings, seed: int) -> dict[str, list[StudentConfig]]:
    """Return the students of plain SGD by arm; those with a tuned step hold all seeds of one T after the other."""
    return {
        arm: [
            _sgd(settings, arm, number, steps, measurements=_LOOKS)
            for steps in (settings.tuned_steps if arm == TUNED else (settings.steps,))
            for number in grids.seeds_of(settings.seeds, seed)
        ]
        for arm in sgd_arms(settings)
    }


def probe_students(settings: StudentsSettings, seed: int) -> dict[str, list[StudentConfig]]:
    """Return the students of a constant step once more by arm, for what costs much and is measured seldom.

    They are the same trainings, as measurements change nothing.
    """
    probed, every = grids.seeds_of(settings.seeds, seed)[: settings.probe_seeds], max(1, settings.steps // 2)
    return {
        arm: [
            _sgd(settings, arm, number, settings.steps, measurements=_PROBES, measure_every=every) for number in probed
        ]
        for arm in sgd_arms(settings)
        if arm != TUNED
    }


def _sgd(settings: StudentsSettings, arm: str, seed: int, steps: int, **fields: Any) -> StudentConfig:
    by_arm: dict[str, dict[str, Any]] = {
        SHORT: {},
        ONE_OVER_L: {"step_size": "1/L"},
        TUNED: {"step_size": "tuned", "measure_every": max(1, steps // _POINTS)},
    }
    blocks = {"measure_blocks": settings.n_blocks, "hessian_blocks": settings.n_blocks}
    return grids.student(settings, seed=seed, optimiser="sgd", **_quiet(steps), **blocks, **by_arm[arm], **fields)


def adamw_students(settings: StudentsSettings, seed: int) -> dict[str, list[StudentConfig]]:
    """Return the students of the paper's own optimiser by arm, paired by seed."""
    steps = settings.adamw_steps
    common = {
        "learning_rate": settings.adamw_rate,
        "batch_size": settings.adamw_batch_size,
        "start": settings.adamw_start,
        "n_blocks": None,
        "measurements": _LOOKS,
        "measure_every": max(1, steps // settings.adamw_looks),
        "measure_blocks": settings.n_blocks,
    }
    arms: dict[str, dict[str, Any]] = {
        ADAMW: {},
        HIGH: {"rank": settings.high_rank},
        CONTROL: {},
        KD: {"method": "kd"},
        DENSE: {"method": "finetune", "student": "dense"},
    }
    return {
        arm: [
            grids.student(settings, seed=number + apart, **_quiet(steps), **(common | fields))
            for number in grids.seeds_of(settings.seeds, seed)
        ]
        for arm, fields in arms.items()
        for apart in [_OTHER_ORDERS if arm == CONTROL else 0]
    }


def _quiet(steps: int) -> dict[str, int]:
    """Return the length of a run, and fields that spend no time on looks and checkpoints that nobody reads."""
    return {"steps": steps, "evaluate_every": 0, "checkpoint_every": steps}


@dataclass(frozen=True, eq=False)
class Curve:
    """What one run gave, as records keep it.

    Attributes:
        step: Steps at which it was looked at, ``[looks]``.
        squared_gradient_norm: ‖∇L‖² of the whole train subset there.
        loss: L there, of the same subset.
        step_size: η.
    """

    step: Floats
    squared_gradient_norm: Floats
    loss: Floats
    step_size: float

    def __post_init__(self) -> None:
        if len(self.step) < 2 or not len(self.step) == len(self.squared_gradient_norm) == len(self.loss):
            raise InputError("a curve has less than two looks, or not all numbers of each", "run it again")

    def average(self, first: float, last: float) -> float:
        """Return the mean of ‖∇L‖² between two steps, by the trapezoidal rule."""
        inside = (self.step > first) & (self.step < last)
        places = np.concatenate([[first], self.step[inside], [last]])
        squares = np.interp(places, self.step, self.squared_gradient_norm)
        return float(np.trapezoid(squares, places) / (last - first))

    def loss_at(self, step: float) -> float:
        """Return L at a step."""
        return float(np.interp(step, self.step, self.loss))


def curve_of(student: TrainedStudent) -> Curve | None:
    """Return the curve of a student, or None where it failed."""
    norms, losses = student.series("gradient_norm"), student.loss_curve("train", "total").values
    if student.failure or len(norms) < 2 or len(norms) != losses.size:
        return None
    return Curve(
        np.array([step for step, _ in norms], dtype=np.float64),
        np.array([norm for _, norm in norms], dtype=np.float64) ** 2,
        losses,
        _step_size(student),
    )


def _step_size(student: TrainedStudent) -> float:
    """Return the η that was measured at its start, or its learning rate."""
    measured = (student.result.get("step_size") or {}).get("step_size")
    return float(student.config.learning_rate if measured is None else measured)


Curves = Sequence[Curve | None]
"""None where a student failed."""


def averages(groups: Iterable[Curves], sizes: Iterable[float]) -> Floats:
    """Return the averages of ‖∇L‖² over the first T steps of one group of curves for each T, ``[sizes, seeds]``."""
    return np.array(
        [
            [float("nan") if curve is None else curve.average(0, size) for curve in group]
            for group, size in zip(groups, sizes, strict=True)
        ]
    )


def tuned_groups(settings: StudentsSettings, curves: Curves) -> dict[int, Curves]:
    """Return the curves of the tuned step by their T, seeds in order."""
    seeds = settings.seeds
    return {size: curves[place * seeds : (place + 1) * seeds] for place, size in enumerate(settings.tuned_steps)}


@dataclass(frozen=True)
class Constants:
    """σ², curvature and ε of one arm, over the students whose constants were measured.

    Attributes:
        variance: σ²: the largest over a run, meaned over the runs.
        low: The same of lower 97.5 % limits: σ² is a supremum, so that each is a lower limit of it. As the largest of
            a run is picked, they are Bonferroni-corrected over its points.
        high: The largest upper limit seen anywhere.
        curvatures: Largest |eigenvalue| of the Hessian on the whole train subset seen on each run.
        excess: η times it, of each run: above 1 the loss is not (1/η)-smooth.
        truncation_error: ε = Σ_l ε_l.
    """

    variance: float
    low: float
    high: float
    curvatures: tuple[float, ...]
    excess: tuple[float, ...]
    truncation_error: float

    def __post_init__(self) -> None:
        if not self.curvatures or not self.excess:
            raise InputError("constants are of no run", "run it again")


def constants_of(probes: Sequence[TrainedStudent]) -> Constants | None:
    """Return what was measured on the living, or None where nothing was."""
    rows = []
    for probe in probes:
        noise = [look for _, look in probe.series("gradient_variance")]
        tops = [abs(look["eigenvalue"]) for _, look in probe.series("hessian") if "eigenvalue" in look]
        errors = probe.last("weight_error")
        if not probe.failure and noise and tops and errors:
            variance = max(look["variance"] for look in noise)
            low = max(_lower_limit(look, len(noise)) for look in noise)
            high = max(look["interval"][1] for look in noise)
            error = sum(layer["least"] for layer in errors.values())
            rows.append((variance, low, high, max(tops), max(tops) * _step_size(probe), error))
    if not rows:
        return None
    variances, lows, highs, curvatures, excess, truncation_errors = zip(*rows, strict=True)
    return Constants(
        float(np.mean(variances)),
        float(np.mean(lows)),
        float(max(highs)),
        curvatures,
        excess,
        float(np.mean(truncation_errors)),
    )


def _lower_limit(noise: Mapping[str, Any], points: int) -> float:
    """Return the lower limit of a variance whose error is shared by ``points`` of them (Bonferroni).

    Intervals are Student's over pairs of gradients, on the logarithm: the quantile alone changes.
    """
    low, variance = noise["interval"][0], noise["variance"]
    if not 0 < low < variance:
        return float(low)
    freedom, tail = noise["n_gradients"] / 2 - 1, (1 - noise["confidence"]) / 2
    wider = stdtrit(freedom, 1 - tail / points) / stdtrit(freedom, 1 - tail)
    return float(variance * (low / variance) ** wider)
