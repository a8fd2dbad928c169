"""The 40 tasks of Czyż et al. (2023) by name, with the truth of each in closed form."""

from __future__ import annotations

import difflib
from functools import partial
from typing import Any

import numpy as np

from theorykit.errors import InputError
from theorykit.information.gaussian import gaussian_mutual_information
from theorykit.information.tasks import maps
from theorykit.information.tasks.task import (
    InformationTask,
    Map,
    additive_uniform_pairs,
    covariance_pairs,
    student_pairs,
)
from theorykit.information.tasks.truths import additive_uniform_information, student_information

_CORRELATION = 0.75
_WAVES_X = ((0.4, 1.0, 0.0), (0.2, 1.7, 1.0), (0.03, 3.3, -2.5))
_WAVES_Y = ((-0.4, 0.4, 0.0), (0.17, 1.3, 3.5), (0.02, 4.3, -2.5))


def _gaussian(name: str, identifier: str, size: int, cross: np.ndarray, within: float = 0.0) -> InformationTask:
    """Return unit-variance Gaussian vectors of ``size`` coordinates each from their cross-covariance."""
    block = np.full((size, size), within) + (1 - within) * np.eye(size)
    covariance = np.block([[block, cross], [cross.T, block]])
    sampler = partial(covariance_pairs, factor=np.linalg.cholesky(covariance), split=size)
    information = gaussian_mutual_information(covariance, size)
    return InformationTask(name, identifier, (size, size), information, True, sampler)


def _dense(size: int) -> InformationTask:
    """Return the task in which any two coordinates, of one side or of both, have the correlation ½."""
    name = f"Multinormal {size} × {size} (dense)"
    return _gaussian(name, f"multinormal-dense-{size}-{size}-0.5", size, np.full((size, size), 0.5), within=0.5)


def _two_pairs(size: int) -> InformationTask:
    """Return the task in which (X_1, Y_1) and (X_2, Y_2) have the correlation 0.8, all else is independent.

    0.8 = λ²/(1 + λ²) for the published strength λ = 2.
    """
    name = f"Multinormal {size} × {size} (2-pair)"
    return _gaussian(name, f"multinormal-sparse-{size}-{size}-2-2.0", size, np.diag([0.8, 0.8] + [0.0] * (size - 2)))


def _student(size: int, degrees: int) -> InformationTask:
    """Return jointly Student-t vectors with the identity as dispersion: dependent through their scale alone."""
    gaussian = partial(covariance_pairs, factor=np.eye(2 * size), split=size)
    return InformationTask(
        f"Student-t {size} × {size} (dof={degrees})",
        f"student-identity-{size}-{size}-{degrees}",
        (size, size),
        float(student_information(degrees, size, size)),
        False,
        partial(student_pairs, base=gaussian, degrees_of_freedom=float(degrees)),
    )


def _additive(noise: float) -> InformationTask:
    return InformationTask(
        f"Uniform 1 × 1 (additive noise={noise})",
        f"1v1-additive-{noise}",
        (1, 1),
        float(additive_uniform_information(noise)),
        False,
        partial(additive_uniform_pairs, noise=noise),
    )


def _mapped(base: InformationTask, label: str, first: Map, second: Map, **changes: Any) -> InformationTask:
    """Return the base task seen through an injective map of each side, under the name of the map."""
    identifier = f"{label.lower().replace(' ', '_').replace('-', '_')}-{base.identifier}"
    return base.mapped(first, second, name=f"{label} @ {base.name}", identifier=identifier, **changes)


def _normal_cdf(base: InformationTask) -> InformationTask:
    return _mapped(base, "Normal CDF", maps.normal_cdf, maps.normal_cdf)


def _half_cube(base: InformationTask) -> InformationTask:
    return _mapped(base, "Half-cube", maps.half_cube, maps.half_cube)


def _asinh(base: InformationTask) -> InformationTask:
    return _mapped(base, "Asinh", np.arcsinh, np.arcsinh)


def _spiral(base: InformationTask) -> InformationTask:
    """Return the base task with X turned in its coordinates (1, 2) and Y in (2, 3), by ‖·‖²/d."""
    first = partial(maps.spiral, plane=(0, 1), speed=1 / base.dimensions[0])
    second = partial(maps.spiral, plane=(1, 2), speed=1 / base.dimensions[1])
    return _mapped(base, "Spiral", first, second, gaussian_copula=False)


def _wiggly(base: InformationTask) -> InformationTask:
    return _mapped(base, "Wiggly", partial(maps.wiggly, waves=_WAVES_X), partial(maps.wiggly, waves=_WAVES_Y))


def _bimodal(base: InformationTask) -> InformationTask:
    """Return the base task with both margins made mixtures of two normals."""
    first = partial(maps.mixture_quantile, weights=(0.3, 0.7), means=(0.0, 5.0))
    second = partial(maps.mixture_quantile, weights=(0.5, 0.5), means=(-1.0, 3.0))
    return base.mapped(first, second, name="Bimodal 1 × 1", identifier="1v1-bimodal-0.75")


def _swiss_roll(base: InformationTask) -> InformationTask:
    """Return the base task, uniform on [0, 1]², with X rolled up in the plane."""
    name, identifier = "Swiss roll 2 × 1", f"swissroll_x-{base.identifier}"
    changes = {"name": name, "identifier": identifier, "dimensions": (2, 1), "gaussian_copula": False}
    return base.mapped(maps.swiss_roll, np.asarray, **changes)


def _published() -> tuple[InformationTask, ...]:
    normal = _gaussian("Bivariate normal 1 × 1", "1v1-normal-0.75", 1, np.array([[_CORRELATION]]))
    cauchy, uniform = _student(1, 1), _normal_cdf(normal)
    plane = [normal, uniform, _additive(0.1), _additive(0.75), _bimodal(normal), _wiggly(normal), _half_cube(normal)]
    pairs = {size: _two_pairs(size) for size in (2, 3, 5, 25)}
    sparse = [pairs[size] for size in (3, 5, 25)]
    student = {case: _student(*case) for case in ((2, 1), (2, 2), (3, 2), (3, 3), (5, 2), (5, 3))}
    return (
        *plane,
        cauchy,
        _asinh(cauchy),
        _swiss_roll(uniform),
        *map(_dense, (2, 3, 5, 25, 50)),
        *pairs.values(),
        *student.values(),
        *map(_normal_cdf, sparse),
        *map(_half_cube, sparse),
        *map(_spiral, sparse),
        *(_spiral(_normal_cdf(task)) for task in sparse),
        *(_asinh(student[case]) for case in ((2, 1), (3, 2), (5, 2))),
    )


TASKS: tuple[InformationTask, ...] = _published()
"""The 40 tasks of Czyż, Grabowski, Vogt, Beerenwinkel & Marx (2023), "Beyond Normal: On the Evaluation of Mutual
Information Estimators", NeurIPS, arXiv 2306.11078, in their order; 20 of them with a Gaussian copula."""


def find_task(name: str) -> InformationTask:
    """Return the published task of that name or identifier.

    Args:
        name: ``InformationTask.name`` or ``InformationTask.identifier``; ``x`` stands for ``×``, and case is ignored.

    Raises:
        InputError: no task is called so; the hint names the nearest.

    Example:
        >>> find_task("Bivariate normal 1 x 1").identifier
        '1v1-normal-0.75'
    """
    known = {_key(label): task for task in TASKS for label in (task.name, task.identifier)}
    if _key(name) not in known:
        near = difflib.get_close_matches(_key(name), known, n=1, cutoff=0.0)[0]
        raise InputError(f"name = {name!r} is no task", f"{known[near].name!r} is the nearest of {len(TASKS)}")
    return known[_key(name)]


def _key(name: str) -> str:
    return str(name).replace("×", "x").casefold()
