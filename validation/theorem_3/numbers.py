"""What all seeds of the experiment on cloning measured, as arrays, and what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from theorykit.arguments import Floats
from validation.claims.experiment import Context
from validation.claims.grids import needed
from validation.claims.trained import TrainedStudent
from validation.theorem_3.layers import (
    ARMS,
    CLONED,
    CONTROLS,
    PLAIN,
    Pair,
    decoder_controls,
    gaussian_by_noise,
    information,
    loss_numbers,
    rows_of,
    teacher_spectrum,
)

SHARES = (1.0, 0.3, 0.1, 0.03, 0.01)
"""Falling noise, over the student's own scale."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """Measurements of S pairs of students and L layers.

    Attributes:
        seeds: Of the pairs.
        layers: As counted in the states.
        width: d of the teacher.
        rows: That an estimate of information rests on.
        spectra: Variances of the teacher's principal components, ``[d]`` of each layer.
        at_end: Of :func:`.loss_numbers`, ``[arms, layers, seeds]``; NaN where a student failed.
        at_start: The same before the first step.
        decoder_controls: ``[layers, seeds]`` of the cloned arm.
        information: By estimator, what :func:`.information` gave, ``[arms, layers, seeds]``.
        by_noise: Gaussian estimates of the first cloned student's middle layer at :data:`SHARES`.
        failures: Why students are missing.
        without_estimate: By estimator, why estimates are missing.
    """

    seeds: tuple[int, ...]
    layers: tuple[int, ...]
    width: int
    rows: int
    spectra: tuple[Floats, ...]
    at_end: dict[str, Floats]
    at_start: dict[str, Floats]
    decoder_controls: dict[str, Floats]
    information: dict[str, dict[str, Floats]]
    by_noise: list[float]
    failures: tuple[str, ...]
    without_estimate: dict[str, list[str]]

    @property
    def complete(self) -> Floats:
        """Return which pairs lost nobody, ``[seeds]``."""
        return np.asarray(np.isfinite(self.at_end["clone_loss"]).all(axis=(0, 1)))

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return a sentence on students that are missing, where some are."""
        count = len(self.failures)
        return (f"{count} of {2 * len(self.seeds)} students failed: {self.failures[0]}.",) if count else ()

    def reasons_of(self, method: str) -> tuple[str, ...]:
        """Return a sentence on estimates that are missing as well."""
        missing = self.without_estimate.get(method, [])
        return (*self.reasons, *([f"{len(missing)} estimates by {method} failed: {missing[0]}."] if missing else []))


def measured(ctx: Context, pairs: Sequence[tuple[TrainedStudent, TrainedStudent]]) -> Numbers | None:
    """Measure all pairs; None where no pair is complete."""
    failures = tuple(one.failure for pair in pairs for one in pair if one.failure)
    whole = [not (cloned.failure or plain.failure) for cloned, plain in pairs]
    if not any(whole):
        return None
    first = pairs[whole.index(True)][CLONED].states(_last(pairs[whole.index(True)][CLONED]))
    layers, some = tuple(sorted(first)), next(iter(first.values()))
    shape = len(ARMS), len(layers), len(pairs)
    end: dict[str, Floats] = {}
    start: dict[str, Floats] = {}
    controls = {name: np.full(shape[1:], np.nan) for name in CONTROLS}
    methods = [str(name) for name in needed(ctx.settings, "estimators")]
    estimates: dict[str, dict[str, Floats]] = {name: {} for name in methods}
    missing: dict[str, list[str]] = {name: [] for name in methods}
    for number, pair in enumerate(pairs):
        if not whole[number]:
            continue
        ended: Pair = (pair[CLONED].states(_last(pair[CLONED])), pair[PLAIN].states(_last(pair[PLAIN])))
        for arm in (CLONED, PLAIN):
            for place, layer in enumerate(layers):
                _put(end, shape, (arm, place, number), loss_numbers(ended[arm][layer]))
                _put(start, shape, (arm, place, number), loss_numbers(pair[arm].states(0)[layer]))
        for place, layer in enumerate(layers):
            generator = ctx.generator("decoder controls", pair[CLONED].seed, layer)
            for name, value in decoder_controls(ended[CLONED][layer], generator).items():
                controls[name][place, number] = value
        for done, method in enumerate(methods):
            ctx.progress("information", number * len(methods) + done, len(pairs) * len(methods))
            found, reasons = information(ctx, ended, method, pair[CLONED].seed)
            missing[method] += reasons
            for name, values in found.items():
                estimates[method].setdefault(name, np.full(shape, np.nan))[:, :, number] = values
    return Numbers(
        tuple(cloned.seed for cloned, _ in pairs),
        layers,
        some.teacher.shape[1],
        rows_of(some),
        tuple(teacher_spectrum(first[layer]) for layer in layers),
        end,
        start,
        controls,
        estimates,
        gaussian_by_noise(first[layers[0]], SHARES, ctx.generator("falling noise")),
        failures,
        missing,
    )


def _last(one: TrainedStudent) -> int:
    return one.series("hidden_states")[-1][0]


def _put(
    into: dict[str, Floats], shape: tuple[int, int, int], place: tuple[int, int, int], numbers: dict[str, float]
) -> None:
    for name, value in numbers.items():
        into.setdefault(name, np.full(shape, np.nan))[place] = value
