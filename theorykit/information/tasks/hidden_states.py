"""Synthetic hidden states of a teacher and a student whose mutual information is known."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from theorykit.arguments import Floats, checked_generator, number_array, positive_integer, positive_number
from theorykit.errors import InputError
from theorykit.information.tasks import maps
from theorykit.information.tasks.task import InformationTask, canonical_pairs, student_pairs
from theorykit.information.tasks.truths import canonical_information, student_information

DEFAULT_CORRELATIONS = (0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
"""Canonical correlations of a low-rank shared signal: a few strong ones, then noise; 3.3 nats in all."""


def hidden_state_task(
    dimension: Any,
    *,
    correlations: Any = DEFAULT_CORRELATIONS,
    spectrum_decay: float = 1.0,
    outliers: int = 4,
    outlier_scale: float = 20.0,
    tail: float = 0.0,
    degrees_of_freedom: float | None = None,
    generator: np.random.Generator | None = None,
) -> InformationTask:
    """Build a pair of d-dimensional vectors that look like hidden states, with their exact information.

    X = D Q S R U and Y = D' Q' S' R' V for Gaussian U, V with the canonical correlations ρ_i (a shared signal of rank
    k in private noise). R mixes signal and noise, S gives the variances i^−α of a power law, Q turns the axes, and D
    multiplies a few coordinates, drawn for each side, by ``outlier_scale``. All are regular, so that the canonical
    correlations stay and I = −½ Σ log(1 − ρ_i²) is an equality, however badly the covariances are conditioned.
    ``tail`` then bends every coordinate by Tukey's x exp(h x²/(2 s²)), s its standard deviation: increasing, so that
    the information and the Gaussian copula stay. ``degrees_of_freedom`` instead divides both sides of a pair by one
    random scale, which adds what they share of it (:func:`student_information`).

    Args:
        dimension: d ≥ 1 of each side; 64, 256 and 768 are the sizes it is meant for.
        correlations: ρ ``[k]`` in (−1, 1), k ≤ d; the rest is 0.
        spectrum_decay: α ≥ 0; 0 is a flat spectrum.
        outliers: Number of large coordinates on each side, in [0, d].
        outlier_scale: Their factor, above 0.
        tail: h in [0, ½), finite variance; 0 leaves Gaussian coordinates, 0.1 gives a kurtosis of 5.5.
        degrees_of_freedom: ν > 0 of a joint Student-t law, or None; not together with ``tail``.
        generator: Draws R, Q and the outlying coordinates; None stands for ``numpy.random.default_rng(dimension)``.

    Returns:
        The task, its information in nats.

    Raises:
        InputError: an argument outside its domain, more correlations than dimensions, or both kinds of heavy tails.
        NonFiniteError: NaN or infinity.

    References:
        Stringer et al. (2019), Nature 571 (power laws of variance); Kovaleva et al. (2021), Findings of ACL, arXiv
        2105.06990 (outlier dimensions); Tukey (1977), the g-and-h family.

    Example:
        >>> round(hidden_state_task(64, correlations=[0.6, 0.8]).information, 6)  # log(5/4) + log(5/3)
        0.733969
    """
    size = positive_integer("dimension", dimension)
    rho = _checked_correlations(correlations, size)
    decay = positive_number("spectrum_decay", spectrum_decay, allow_zero=True)
    large = _checked_outliers(outliers, size)
    factor = positive_number("outlier_scale", outlier_scale)
    source = np.random.default_rng(size) if generator is None else checked_generator(generator)
    mixing = _mixing(size, decay, large, factor, source), _mixing(size, decay, large, factor, source)
    gaussian = InformationTask(
        f"Hidden states {size} × {size}",
        f"hidden-states-{size}",
        (size, size),
        float(canonical_information(rho)),
        True,
        partial(canonical_pairs, correlations=rho, mixing=mixing),
    )
    return _heavy_tailed(gaussian, mixing, tail, degrees_of_freedom)


def _mixing(size: int, decay: float, outliers: int, factor: float, source: np.random.Generator) -> Floats:
    """Return D Q S R ``[d, d]``: random axes, power law, random axes, large coordinates."""
    turned, axes = (np.linalg.qr(source.standard_normal((size, size))).Q for _ in range(2))
    matrix = (axes * np.arange(1.0, size + 1) ** (-decay / 2)) @ turned
    matrix[source.choice(size, outliers, replace=False)] *= factor
    return np.asarray(matrix, dtype=np.float64)


def _heavy_tailed(
    task: InformationTask, mixing: tuple[Floats, Floats], tail: Any, degrees_of_freedom: Any
) -> InformationTask:
    """Return the Gaussian task with bent coordinates, with one random scale for each pair, or as it is."""
    bend = float(number_array("tail", tail, low=0, high=0.5, open_high=True))
    if degrees_of_freedom is None:
        if bend == 0:
            return task
        first, second = (partial(maps.heavy_tails, tail=bend, scale=np.linalg.norm(side, axis=1)) for side in mixing)
        name, identifier = f"{task.name} (tail={bend:g})", f"{task.identifier}-tail-{bend:g}"
        return task.mapped(first, second, name=name, identifier=identifier)
    degrees = positive_number("degrees_of_freedom", degrees_of_freedom)
    if bend:
        raise InputError(
            f"tail = {bend:g} and degrees_of_freedom = {degrees:g} are both given", "leave one of them out"
        )
    return replace(
        task,
        name=f"{task.name} (dof={degrees:g})",
        identifier=f"{task.identifier}-dof-{degrees:g}",
        information=float(student_information(degrees, *task.dimensions, task.information)),
        gaussian_copula=False,
        sampler=partial(student_pairs, base=task.sampler, degrees_of_freedom=degrees),
    )


def _checked_correlations(value: Any, size: int) -> Floats:
    rho = np.atleast_1d(number_array("correlations", value, low=-1, high=1, open_low=True, open_high=True))
    if rho.ndim != 1 or rho.size > size:
        raise InputError(
            f"correlations has shape {rho.shape}, not that of at most {size} numbers",
            "give at most one correlation per dimension",
        )
    return rho


def _checked_outliers(value: Any, size: int) -> int:
    number = positive_number("outliers", value, allow_zero=True)
    if number != int(number) or number > size:
        raise InputError(f"outliers = {value!r} is no whole number in [0, {size}]", "give at most one per dimension")
    return int(number)
