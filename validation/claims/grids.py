"""From the settings of a part to the students that it trains: seeds, single students, grids of ranks and sample sizes.

The grid of :class:`GridSettings` is what Corollary 1's optimum and Theorem 2's gap are both read from. Beside the
labels, ``curves`` names what else is trained::

    curves = [{objective = "distillation", start = "svd", ranks = […], sizes = […], seeds = 4, underpowered = true}]

where ``ranks``, ``sizes``, ``seeds`` and ``underpowered`` are those of the labels unless they are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from theorykit.arguments import one_of
from theorykit.errors import InputError
from validation.claims.settings import PartSettings
from validation.training.config import StudentConfig

_SEEDS_APART = 1000
"""Seeds of students of two seeds of an experiment: below so many students of one configuration none is used twice."""
LABELS, DISTILLATION, MIX = "labels", "distillation", "mix"
OBJECTIVES: Mapping[str, Mapping[str, Any]] = {
    LABELS: {"method": "finetune"},
    DISTILLATION: {"method": "kd", "language_model_weight": 0.0},
    MIX: {"method": "kd"},
}
"""Fields of a run by what the student is taught with: the tokens, the teacher's distributions, or both alike."""
STARTS = ("svd", "random")
MEASUREMENT = "loss_terms"
"""Train and held-out losses of every term, at the end and wherever ``measure_every`` asks for it."""


def seeds_of(count: int, seed: int) -> tuple[int, ...]:
    """Return the seeds of ``count`` students of a part, others for another ``seed`` of the experiment."""
    return tuple(_SEEDS_APART * seed + number for number in range(count))


def student(settings: PartSettings, **fields: Any) -> StudentConfig:
    """Return one student: the run fields of the settings, and the fields given in their place."""
    return StudentConfig.from_dict({**settings.run, **fields})


class CurveSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a curve has in the place of what the grid has; a name that is none of these is refused.

    Attributes:
        objective: A key of ``OBJECTIVES``.
        start: One of ``STARTS``.
        ranks: Increasing; the grid's if None.
        sizes: Train blocks, increasing; the grid's if None.
        seeds: How many; the grid's if None.
        underpowered: Whether its exponent may be judged with a planned power below 0.8; the grid's if None.
    """

    objective: str
    start: str
    ranks: tuple[int, ...] | None = None
    sizes: tuple[int, ...] | None = None
    seeds: int | None = None
    underpowered: bool | None = None


@dataclass(frozen=True, kw_only=True)
class GridSettings(PartSettings):
    """Settings of a part that trains students over ranks and sample sizes.

    Attributes:
        teacher: Of all students.
        length: Tokens in a block.
        ranks: Increasing.
        sizes: Train blocks, the unit of n, increasing.
        seeds: How many students of each.
        curves: What is trained beside the labels.
        sd_log: Expected standard deviation of ln r* at one size.
        margin: Largest difference from a claimed exponent that counts as agreement.
        alpha: One-sided level of each decision.
    """

    teacher: str
    length: int
    ranks: tuple[int, ...]
    sizes: tuple[int, ...]
    seeds: int
    curves: tuple[CurveSettings, ...] = ()
    sd_log: float
    margin: float
    alpha: float = 0.05


@dataclass(frozen=True)
class Curve:
    """Students that differ in rank, sample size and seed alone.

    ``seeds`` are those of the students; all else is as of :class:`CurveSettings`, with what the grid has in its place.
    """

    objective: str
    start: str
    ranks: tuple[int, ...]
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    underpowered: bool = False

    @property
    def name(self) -> str:
        """Return objective and start."""
        return f"{self.objective}, {self.start} start"


def label_curve(settings: GridSettings, seed: int) -> Curve:
    """Return the curve of the whole grid: labels alone, from the teacher's truncated SVD."""
    return _curve(settings, CurveSettings(objective=LABELS, start=STARTS[0]), seed)


def curves_of(settings: GridSettings, seed: int) -> list[Curve]:
    """Return all curves of a part, that of the labels first."""
    return [label_curve(settings, seed), *(_curve(settings, own, seed) for own in settings.curves)]


def curve_students(settings: GridSettings, curve: Curve) -> list[StudentConfig]:
    """Return the students of a curve, in the order seed, size, rank with the last running fastest."""
    fixed = {**OBJECTIVES[curve.objective], "start": curve.start, "student": "factored", "measurements": [MEASUREMENT]}
    return [
        student(settings, **fixed, rank=rank, n_blocks=size, seed=seed)
        for seed in curve.seeds
        for size in curve.sizes
        for rank in curve.ranks
    ]


def label_grid(settings: GridSettings, seed: int) -> list[StudentConfig]:
    """Return the students of :func:`label_curve`: the same for every experiment that reads the same settings."""
    return curve_students(settings, label_curve(settings, seed))


def _curve(settings: GridSettings, own: CurveSettings, seed: int) -> Curve:
    count = settings.seeds if own.seeds is None else own.seeds
    return Curve(
        one_of("objective", own.objective, tuple(OBJECTIVES)),
        one_of("start", own.start, STARTS),
        _increasing("ranks", settings.ranks if own.ranks is None else own.ranks, least=3),
        _increasing("sizes", settings.sizes if own.sizes is None else own.sizes, least=1),
        seeds_of(count, seed),
        settings.underpowered if own.underpowered is None else own.underpowered,
    )


def _increasing(name: str, values: tuple[int, ...], least: int) -> tuple[int, ...]:
    if len(values) < least or list(values) != sorted(set(values)) or values[0] < 1:
        raise InputError(f"{name} = {list(values)} is no increasing list", f"give at least {least} numbers from 1 up")
    return values
