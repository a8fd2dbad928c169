"""From hidden states to numbers: clone losses, bounds and information of each layer, with their controls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import theorykit as tk
from theorykit.arguments import Floats
from theorykit.devices import torch_device
from theorykit.information import canonical_correlations
from validation.claims.experiment import Context
from validation.claims.settings import PartSettings
from validation.claims.trained import TrainedStudent
from validation.measure import LayerStates

CLONED, PLAIN = 0, 1
"""Places of the two arms: with the clone loss, and without."""
ARMS = ("cloned", "plain")
CONTROLS = {"rotated": "rotation", "rescaled": "rescaling", "shuffled": "shuffled pairs"}
"""Of the cloned arm: what an estimate must not tell from the states, and what it must find nothing in."""
TASKS = (("states", "known", *CONTROLS), ("states", "known"))
"""Of either arm."""
ESTIMATES = (*TASKS[CLONED], "truth", "capacity")
"""Names of what :func:`information` gives."""
RESCALED = 10.0
CLOSED_FORMS = ("gaussian", "gaussian_copula", "cca")
"""Estimators that log N does not limit: their model does."""
SHARES = (1.0, 0.3, 0.1, 0.03, 0.01)
"""Falling noise, over the student's own scale."""

Pair = tuple[TrainedStudent, TrainedStudent]
"""The two arms of one seed."""
PairStates = tuple[dict[int, LayerStates], dict[int, LayerStates]]
"""Their hidden states, by layer."""


@dataclass(frozen=True, kw_only=True)
class CriticSettings(PartSettings):
    """Settings of a part that estimates information.

    Attributes:
        critic_steps: Largest number of steps in which a critic is trained.
    """

    critic_steps: int = tk.TrainingSettings.max_steps


@dataclass(frozen=True, kw_only=True)
class PairSettings(CriticSettings):
    """Settings of a part on pairs of students.

    Attributes:
        seeds: Pairs.
        clone_weight: Of the cloned arm.
        estimators: Of information.
        noise: τ over the student's own scale: one for all estimators, or one for each. Critics see a few nats.
        components: Canonical pairs in which information is estimated, likewise; closed forms see many.
        margin: How far, in nats, a control may be off.
        planned_effect: Gain in nats, beyond what is claimed, that is expected.
        planned_sd: Its expected standard deviation over seeds.
        alpha: One-sided level of each decision.
    """

    seeds: int
    clone_weight: float
    estimators: tuple[str, ...]
    noise: float | Mapping[str, float]
    components: int | Mapping[str, int]
    margin: float
    planned_effect: float
    planned_sd: float
    alpha: float = 0.05

    def resolution(self, method: str) -> tuple[float, int]:
        """Return an estimator's noise, over the student's own scale, and its number of canonical pairs."""
        noise = self.noise[method] if isinstance(self.noise, Mapping) else self.noise
        return noise, self.components[method] if isinstance(self.components, Mapping) else self.components


@dataclass(frozen=True, eq=False)
class Numbers:
    """Measurements of S pairs of students and L layers.

    Attributes:
        seeds: Of the pairs.
        layers: As counted in the states.
        width: d of the teacher.
        rows: That an estimate of information rests on: those of the blocks of odd number.
        spectra: Variances of the teacher's principal components, ``[d]`` of each layer.
        at_end: Of :func:`loss_numbers`, ``[arms, layers, seeds]``; NaN where a student failed.
        at_start: The same before the first step.
        decoder_controls: ``[layers, seeds]`` of the cloned arm.
        information: By estimator, what :func:`information` gave, ``[arms, layers, seeds]``.
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


def measured(ctx: Context[PairSettings], pairs: Sequence[Pair]) -> Numbers | None:
    """Measure all pairs; None where no pair is complete."""
    complete = [number for number, pair in enumerate(pairs) if not any(student.failure for student in pair)]
    if not complete:
        return None
    first = _last_states(pairs[complete[0]][CLONED])
    layers = tuple(sorted(first))
    shape, methods = (len(ARMS), len(layers), len(pairs)), ctx.settings.estimators
    start, end = _arrays(shape), _arrays(shape)
    controls, estimates = _arrays(shape[1:]), {method: _arrays(shape) for method in methods}
    missing: dict[str, list[str]] = {method: [] for method in methods}
    for number in complete:
        pair = pairs[number]
        states = _last_states(pair[CLONED]), _last_states(pair[PLAIN])
        for arm, student in enumerate(pair):
            at_start = student.states(0)
            for place, layer in enumerate(layers):
                _put(start, (arm, place, number), loss_numbers(at_start[layer]))
                _put(end, (arm, place, number), loss_numbers(states[arm][layer]))
        for place, layer in enumerate(layers):
            generator = ctx.generator("decoder controls", pair[CLONED].seed, layer)
            _put(controls, (place, number), decoder_controls(states[CLONED][layer], generator))
        for done, method in enumerate(methods):
            ctx.progress("information", number * len(methods) + done, len(pairs) * len(methods))
            estimated, failures = information(ctx, states, method, pair[CLONED].seed)
            missing[method] += failures
            _put(estimates[method], (slice(None), slice(None), number), estimated)
    return Numbers(
        tuple(cloned.seed for cloned, _ in pairs),
        layers,
        first[layers[0]].teacher.shape[1],
        int((first[layers[0]].groups % 2 == 1).sum()),
        tuple(np.maximum(np.linalg.eigvalsh(np.cov(first[layer].teacher, rowvar=False)), 0.0) for layer in layers),
        dict(end),
        dict(start),
        dict(controls),
        {method: dict(values) for method, values in estimates.items()},
        gaussian_by_noise(first[layers[0]], SHARES, ctx.generator("falling noise")),
        tuple(student.failure for pair in pairs for student in pair if student.failure),
        missing,
    )


def _arrays(shape: tuple[int, ...]) -> defaultdict[str, Floats]:
    return defaultdict(lambda: np.full(shape, np.nan))


def _put(into: defaultdict[str, Floats], place: tuple[int | slice, ...], numbers: Mapping[str, Any]) -> None:
    for name, value in numbers.items():
        into[name][place] = value


def _last_states(student: TrainedStudent) -> dict[int, LayerStates]:
    return student.states(student.series("hidden_states")[-1][0])


def loss_numbers(states: LayerStates) -> dict[str, float]:
    """Return the clone loss of one layer, summed over coordinates, what it implies, and what that assumes.

    ``rate_distortion`` is R(D) at the clone loss, ``centred_rate_distortion`` at that of the centred states, with the
    teacher's sample covariance; ``decoder`` is held out: fitted on the blocks of even number, measured on the others.
    """
    teacher, student = states.teacher, states.student
    centred_teacher, centred_student = teacher - teacher.mean(axis=0), student - student.mean(axis=0)
    variances, axes = np.linalg.eigh(np.cov(teacher, rowvar=False))
    variances = np.maximum(variances, 0.0)
    differences = teacher - student, centred_teacher - centred_student
    loss, centred = (float((difference**2).sum(axis=1).mean()) for difference in differences)
    spread = centred_teacher.std(axis=0) * centred_student.std(axis=0)
    scores = centred_teacher @ axes[:, variances > 1e-9 * variances.max()]
    covariance = (centred_teacher * centred_student).mean(axis=0)
    return {
        "clone_loss": loss,
        "centred_clone_loss": centred,
        "rate_distortion": float(tk.rate_distortion(variances, loss)),
        "centred_rate_distortion": float(tk.rate_distortion(variances, centred)),
        "decoder": _decoder_bound(states, student),
        "teacher_variance": float(variances.sum()),
        "student_variance": float(centred_student.var(axis=0).sum()),
        "correlation": float((covariance[spread > 0] / spread[spread > 0]).mean()),
        "participation": float(variances.sum() ** 2 / (variances**2).sum()),
        "kurtosis": float(((scores / scores.std(axis=0)) ** 4).mean() - 3),
    }


def _decoder_bound(states: LayerStates, student: Floats) -> float:
    train, teacher = states.groups % 2 == 0, states.teacher
    bound = tk.linear_decoder_information_bound(teacher[train], student[train], teacher[~train], student[~train])
    return float(bound.information)


def decoder_controls(states: LayerStates, generator: np.random.Generator) -> dict[str, float]:
    """Return the decoder's bound after each transformation that must not move it, and on shuffled pairs."""
    return {task: _decoder_bound(states, _transformed(states, task, generator)) for task in CONTROLS}


def information(
    ctx: Context[PairSettings], pair: PairStates, method: str, seed: int
) -> tuple[dict[str, Floats], list[str]]:
    """Estimate I(H_t; H_s + τZ) of all layers of both arms, and of the tasks whose outcome is known, in nats.

    One call for all, so that the critics of a method train as one batch. ``known`` are Gaussian rows of the joint
    covariance of the same layer, ``truth`` their information at the same noise in the leading canonical pairs.

    Returns:
        ``[arms, layers]`` each of :data:`ESTIMATES`, NaN where an estimator failed and for controls of the arm that has
        none; and the reasons of those that failed.
    """
    share, most = ctx.settings.resolution(method)
    layers = sorted(pair[CLONED])
    places = [(arm, place, task) for arm in (CLONED, PLAIN) for place in range(len(layers)) for task in TASKS[arm]]
    values = {name: np.full((len(ARMS), len(layers)), np.nan) for name in ESTIMATES}
    teachers, students = [], []
    for arm, place, task in places:
        states = pair[arm][layers[place]]
        generator = ctx.generator("task", task, seed, arm, place)
        if task == "known":
            teacher, student, truth, capacity = _known_pair(states, share, most, generator)
            values["truth"][arm, place], values["capacity"][arm, place] = truth, capacity
        else:
            teacher, student = states.teacher, _transformed(states, task, generator)
        teachers.append(_by_block(states, teacher))
        students.append(_by_block(states, student))
    result = tk.layer_information(
        lambda: [(teachers, students)],
        method=method,
        noise=share,
        components=most,
        generator=ctx.generator("estimate", method, seed),
        settings=critic_settings(ctx),
    )
    estimates = [layer.estimate for layer in result.layers]
    for (arm, place, task), estimate in zip(places, estimates, strict=True):
        values[task][arm, place] = np.nan if estimate.information is None else estimate.information
    return values, [estimate.failure for estimate in estimates if estimate.information is None]


def critic_settings(ctx: Context[Any]) -> tk.TrainingSettings:
    """Return how critics are trained: the library's settings, on the device of the experiment."""
    usual = tk.TrainingSettings(device=str(torch_device(ctx.device)))
    return replace(usual, max_steps=ctx.settings.critic_steps)


def gaussian_by_noise(states: LayerStates, shares: Iterable[float], generator: np.random.Generator) -> list[float]:
    """Return the Gaussian estimate of I(H_t; H_s + τZ) at falling noise: it has no end where both are functions."""
    scale = float(np.sqrt(states.student.var(axis=0).mean()))
    options: dict[str, Any] = {"groups": states.groups, "generator": generator}
    pair = states.teacher, states.student, "gaussian"
    values = [tk.mutual_information(*pair, noise=share * scale, **options).information for share in shares]
    return [float("nan") if value is None else float(value) for value in values]


def _by_block(states: LayerStates, rows: Floats) -> Floats:
    return rows.reshape(int(states.groups.max()) + 1, -1, rows.shape[1])


def _transformed(states: LayerStates, task: str, generator: np.random.Generator) -> Floats:
    """Return student states that an estimate must not tell from its own, or must not find anything in."""
    student, width = states.student, states.student.shape[1]
    if task == "rotated":
        return np.asarray(student @ np.linalg.qr(generator.standard_normal((width, width))).Q, dtype=np.float64)
    if task == "rescaled":
        return RESCALED * student
    if task == "shuffled":
        # other blocks, and other places in them: what the position alone says must go too
        moved = np.roll(_by_block(states, student), 2, axis=0)
        return np.stack([rows[generator.permutation(len(rows))] for rows in moved]).reshape(-1, width)
    return student


def _known_pair(
    states: LayerStates, share: float, most: int, generator: np.random.Generator
) -> tuple[Floats, Floats, float, float]:
    """Draw Gaussian rows of the layer's joint covariance; return them, I of k canonical pairs, and their capacity.

    The capacity of k directions, ½ Σ log(1 + λ_i/τ²) over the k largest variances of the student, passes any I there.
    """
    width = states.teacher.shape[1]
    joint = np.cov(np.hstack([states.teacher, states.student]), rowvar=False)
    values, axes = np.linalg.eigh(joint)
    rows = generator.standard_normal((len(states.groups), len(values))) * np.sqrt(np.maximum(values, 0.0)) @ axes.T
    noise = share**2 * float(np.diagonal(joint)[width:].mean())
    capacity = np.log1p(np.linalg.eigvalsh(joint[width:, width:])[::-1][:most] / noise).sum() / 2
    joint[width:, width:] += noise * np.eye(len(values) - width)
    joint[:width, :width] += 1e-9 * np.trace(joint[:width, :width]) / width * np.eye(width)  # regular, and no more
    rho = canonical_correlations(joint, width)[:most]
    return rows[:, :width], rows[:, width:], float(-np.log1p(-(rho**2)).sum() / 2), float(capacity)
