"""The students of Theorem 1: which are trained, and what the numbers of each mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from theorykit.arguments import Floats
from validation.claims.experiment import Settings
from validation.claims.grids import needed, seeds_of, student
from validation.claims.trained import TrainedStudent
from validation.training.config import StudentConfig

LOOKS = ("gradient_norm", "loss_terms")
PROBES = ("gradient_variance", "hessian", "weight_error")
SHORT, ONE_OVER_L, TUNED = "short step", "step 1/L", "tuned step"
PROBE = "constants of "
ADAMW, HIGH, CONTROL, KD, DENSE = "low rank", "high rank", "low rank, other order", "kd", "dense finetune"
"""All of AdamW: LRC at the low rank and at the high one, again at the low one, distillation, fine-tuning in full."""
_OTHER_ORDERS = 500
_POINTS = 16
"""Looks at a run with a tuned step, whose length is its T."""


def sgd_students(settings: Settings, seed: int) -> dict[str, list[StudentConfig]]:
    """Return the students of plain SGD by arm: a short step, 1/L where asked for, and the tuned step where T are given.

    Those with a tuned step hold all seeds of one T after the other.
    """
    seeds, sizes = seeds_of(settings, seed), needed(settings, "tuned_steps")
    blocks = int(needed(settings, "n_blocks"))
    probed = seeds[: int(needed(settings, "probe_seeds"))]
    steps = int(needed(settings, "steps"))

    def sgd(one: int, **fields: Any) -> StudentConfig:
        length = int(fields.get("steps", steps))
        common = {"optimiser": "sgd", "measure_blocks": blocks, "hessian_blocks": blocks, "measurements": LOOKS}
        return student(settings, seed=one, **_quiet(length), **(common | fields))

    arms: dict[str, dict[str, Any]] = {SHORT: {}}
    if needed(settings, "one_over_l"):
        arms[ONE_OVER_L] = {"step_size": "1/L"}
    found = {name: [sgd(one, **fields) for one in seeds] for name, fields in arms.items()}
    if sizes:
        found[TUNED] = [
            sgd(one, step_size="tuned", steps=int(size), measure_every=max(1, int(size) // _POINTS))
            for size in sizes
            for one in seeds
        ]
    # the same trainings once more, as measurements change nothing: these cost much and are made seldom
    for name, fields in arms.items():
        found[PROBE + name] = [
            sgd(one, measurements=PROBES, measure_every=max(1, steps // 2), **fields) for one in probed
        ]
    return found


def adamw_students(settings: Settings, seed: int) -> dict[str, list[StudentConfig]]:
    """Return the students of the paper's own optimiser by arm, paired by seed."""
    seeds, steps = seeds_of(settings, seed), int(needed(settings, "adamw_steps"))
    common = {
        "learning_rate": needed(settings, "adamw_rate"),
        "batch_size": needed(settings, "adamw_batch_size"),
        "start": needed(settings, "adamw_start"),
        "n_blocks": None,
        "measurements": LOOKS,
        "measure_every": max(1, steps // int(needed(settings, "adamw_looks"))),
        "measure_blocks": int(needed(settings, "n_blocks")),
        "steps": steps,
    }
    arms: dict[str, dict[str, Any]] = {
        ADAMW: {},
        HIGH: {"rank": needed(settings, "high_rank")},
        CONTROL: {},
        KD: {"method": "kd"},
        DENSE: {"method": "finetune", "student": "dense"},
    }
    return {
        name: [
            student(
                settings,
                seed=one + (_OTHER_ORDERS if name == CONTROL else 0),
                **_quiet(steps),
                **(common | fields),
            )
            for one in seeds
        ]
        for name, fields in arms.items()
    }


def _quiet(steps: int) -> dict[str, int]:
    """Return fields that spend no time on looks and checkpoints that nobody reads."""
    return {"evaluate_every": 0, "checkpoint_every": steps}


@dataclass(frozen=True)
class Curve:
    """What one run of SGD gave.

    Attributes:
        steps: At which it was looked at, ``[looks]``.
        squares: ‖∇L‖² of the whole train subset there.
        losses: L there, of the same subset.
        step_size: η.
    """

    steps: Floats
    squares: Floats
    losses: Floats
    step_size: float

    def average(self, first: float, last: float) -> float:
        """Return the mean of ‖∇L‖² between two steps, by the trapezoidal rule."""
        inside = (self.steps > first) & (self.steps < last)
        places = np.concatenate([[first], self.steps[inside], [last]])
        return float(np.trapezoid(np.interp(places, self.steps, self.squares), places) / (last - first))

    def loss(self, step: float) -> float:
        """Return L at a step."""
        return float(np.interp(step, self.steps, self.losses))


def curve_of(one: TrainedStudent) -> Curve | None:
    """Return the curve of a student, or None where it failed."""
    norms, losses = one.series("gradient_norm"), one.loss_curve("train", "total").values
    if one.failure or len(norms) < 2 or len(norms) != losses.size:
        return None
    measured = (one.result.get("step_size") or {}).get("step_size")
    return Curve(
        np.array([step for step, _ in norms], dtype=np.float64),
        np.array([norm for _, norm in norms], dtype=np.float64) ** 2,
        losses,
        float(one.config.learning_rate if measured is None else measured),
    )


Curves = Sequence[Curve | None]
"""None where a student failed."""


def tuned_groups(settings: Settings, curves: Curves) -> dict[int, Curves]:
    """Return the curves of the tuned step by their T, seeds in order."""
    sizes, seeds = [int(size) for size in needed(settings, "tuned_steps")], int(needed(settings, "seeds"))
    return {size: curves[place * seeds : (place + 1) * seeds] for place, size in enumerate(sizes)}


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


def constants_of(probes: Sequence[TrainedStudent]) -> Constants | None:
    """Return what was measured on the living, or None where nothing was."""
    rows: list[Mapping[str, float]] = []
    for one in probes:
        noise = [value for _, value in one.series("gradient_variance")]
        tops = [abs(value["eigenvalue"]) for _, value in one.series("hessian") if "eigenvalue" in value]
        errors = one.last("weight_error")
        if one.failure or not noise or not tops or not errors:
            continue
        measured = (one.result.get("step_size") or {}).get("step_size", one.config.learning_rate)
        rows.append(
            {
                "variance": max(value["variance"] for value in noise),
                "low": max(_lower_limit(value, len(noise)) for value in noise),
                "high": max(value["interval"][1] for value in noise),
                "curvature": max(tops),
                "excess": max(tops) * float(measured),
                "error": sum(layer["least"] for layer in errors.values()),
            }
        )
    if not rows:
        return None
    return Constants(
        variance=float(np.mean([row["variance"] for row in rows])),
        low=float(np.mean([row["low"] for row in rows])),
        high=float(max(row["high"] for row in rows)),
        curvatures=tuple(row["curvature"] for row in rows),
        excess=tuple(row["excess"] for row in rows),
        truncation_error=float(np.mean([row["error"] for row in rows])),
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
