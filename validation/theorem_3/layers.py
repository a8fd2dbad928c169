"""From the hidden states of one pair of students to numbers: clone losses, bounds, information with its controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import theorykit as tk
from theorykit.arguments import Floats
from theorykit.devices import torch_device
from theorykit.information import canonical_correlations
from validation.claims.experiment import Context, Settings
from validation.claims.grids import needed
from validation.measure import LayerStates

CLONED, PLAIN = 0, 1
"""Places of the two arms: with the clone loss, and without."""
ARMS = ("cloned", "plain")
CONTROLS = ("rotated", "rescaled", "shuffled")
"""Of the cloned arm: what an estimate must not tell from the states, and what it must find nothing in."""
TASKS = (("states", "known", *CONTROLS), ("states", "known"))
"""Of either arm."""
RESCALED = 10.0
CLOSED_FORMS = ("gaussian", "gaussian_copula", "cca")
"""Estimators that log N does not limit: their model does."""

Pair = tuple[dict[int, LayerStates], dict[int, LayerStates]]
"""Hidden states of the two arms of one seed, by layer."""


def loss_numbers(states: LayerStates) -> dict[str, float]:
    """Return the clone loss of one layer, summed over coordinates, what it implies, and what that assumes.

    ``rate_distortion`` is R(D) at the clone loss, ``centred_rate_distortion`` at that of the centred states, with the
    teacher's sample covariance; ``decoder`` is held out: fitted on the blocks of even number, measured on the others.
    """
    teacher, student = states.teacher, states.student
    own, other = teacher - teacher.mean(axis=0), student - student.mean(axis=0)
    variances, axes = np.linalg.eigh(np.cov(teacher, rowvar=False))
    variances = np.maximum(variances, 0.0)
    loss, centred = (float((one**2).sum(axis=1).mean()) for one in (teacher - student, own - other))
    train = states.groups % 2 == 0
    decoder = tk.linear_decoder_information_bound(teacher[train], student[train], teacher[~train], student[~train])
    spread = own.std(axis=0) * other.std(axis=0)
    scores = own @ axes[:, variances > 1e-9 * variances.max()]
    return {
        "clone_loss": loss,
        "centred_clone_loss": centred,
        "rate_distortion": float(tk.rate_distortion(variances, loss)),
        "centred_rate_distortion": float(tk.rate_distortion(variances, centred)),
        "decoder": decoder.information,
        "teacher_variance": float(variances.sum()),
        "student_variance": float(other.var(axis=0).sum()),
        "correlation": float(((own * other).mean(axis=0)[spread > 0] / spread[spread > 0]).mean()),
        "participation": float(variances.sum() ** 2 / (variances**2).sum()),
        "kurtosis": float(((scores / scores.std(axis=0)) ** 4).mean() - 3),
    }


def decoder_controls(states: LayerStates, generator: np.random.Generator) -> dict[str, float]:
    """Return the decoder's bound after each transformation that must not move it, and on shuffled pairs."""
    train = states.groups % 2 == 0
    found = {}
    for task in CONTROLS:
        student = _transformed(states.student, task, _blocks(states), generator)
        halves = states.teacher[train], student[train], states.teacher[~train], student[~train]
        found[task] = tk.linear_decoder_information_bound(*halves).information
    return found


def information(ctx: Context, pair: Pair, method: str, seed: int) -> tuple[dict[str, Floats], list[str]]:
    """Estimate I(H_t; H_s + τZ) of all layers of both arms, and of the tasks whose outcome is known, in nats.

    One call for all, so that the critics of a method train as one batch. ``known`` are Gaussian rows of the joint
    covariance of the same layer, ``truth`` their information at the same noise in the leading canonical pairs.

    Returns:
        ``[arms, layers]`` each of :data:`TASKS`, ``truth`` and ``capacity``, NaN where an estimator failed and for
        controls of the arm that has none; and the reasons of those that failed.
    """
    share, most = resolution(ctx.settings, method)
    layers = sorted(pair[CLONED])
    places = [(arm, place, task) for arm in (CLONED, PLAIN) for place in range(len(layers)) for task in TASKS[arm]]
    found = {name: np.full((len(ARMS), len(layers)), np.nan) for name in (*TASKS[CLONED], "truth", "capacity")}
    teachers, students = [], []
    for arm, place, task in places:
        states = pair[arm][layers[place]]
        generator = ctx.generator("task", task, seed, arm, place)
        shape = (_blocks(states), -1, states.teacher.shape[1])
        if task == "known":
            teacher, student, truth, capacity = _known_pair(states, share, most, generator)
            found["truth"][arm, place], found["capacity"][arm, place] = truth, capacity
        else:
            teacher, student = states.teacher, _transformed(states.student, task, shape[0], generator)
        teachers.append(teacher.reshape(shape))
        students.append(student.reshape(shape[0], -1, student.shape[1]))
    result = tk.layer_information(
        lambda: [(teachers, students)],
        method=method,
        noise=share,
        components=most,
        generator=ctx.generator("estimate", method, seed),
        settings=critic_settings(ctx),
    )
    for (arm, place, task), layer in zip(places, result.layers, strict=True):
        value = layer.estimate.information
        found[task][arm, place] = np.nan if value is None else value
    return found, [layer.estimate.failure for layer in result.layers if layer.estimate.information is None]


def resolution(settings: Settings, method: str) -> tuple[float, int]:
    """Return an estimator's noise, over the student's own scale, and its number of canonical pairs.

    One value for all estimators, or a table of one for each: critics see a few nats, closed forms many.
    """
    noise, components = (needed(settings, name) for name in ("noise", "components"))
    share, most = (part[method] if isinstance(part, dict) else part for part in (noise, components))
    return float(share), int(most)


def critic_settings(ctx: Context) -> tk.TrainingSettings:
    """Return how critics are trained: the library's settings, on the device of the experiment."""
    usual = tk.TrainingSettings(device=str(torch_device(ctx.device)))
    return replace(usual, max_steps=int(ctx.settings.get("critic_steps", usual.max_steps)))


def gaussian_by_noise(states: LayerStates, shares: Sequence[float], generator: np.random.Generator) -> list[float]:
    """Return the Gaussian estimate of I(H_t; H_s + τZ) at falling noise: it has no end where both are functions."""
    scale = float(np.sqrt(states.student.var(axis=0).mean()))
    found = []
    for share in shares:
        options: dict[str, Any] = {"noise": share * scale, "groups": states.groups, "generator": generator}
        value = tk.mutual_information(states.teacher, states.student, "gaussian", **options).information
        found.append(float("nan") if value is None else float(value))
    return found


def teacher_spectrum(states: LayerStates) -> Floats:
    """Return the variances of the teacher's principal components, ``[d]``."""
    values = np.linalg.eigvalsh(np.cov(states.teacher, rowvar=False))
    return np.asarray(np.maximum(values, 0.0), dtype=np.float64)


def rows_of(states: LayerStates) -> int:
    """Return how many rows an estimate rests on: those of the blocks of odd number."""
    return int((states.groups % 2 == 1).sum())


def _blocks(states: LayerStates) -> int:
    return int(states.groups.max()) + 1


def _transformed(student: Floats, task: str, blocks: int, generator: np.random.Generator) -> Floats:
    """Return the states that an estimate must not tell from these, or must not find anything in."""
    width = student.shape[1]
    if task == "rotated":
        return np.asarray(student @ np.linalg.qr(generator.standard_normal((width, width))).Q, dtype=np.float64)
    if task == "rescaled":
        return RESCALED * student
    if task == "shuffled":
        # other blocks, and other places in them: what the position alone says must go too
        moved = np.roll(student.reshape(blocks, -1, width), 2, axis=0)
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
