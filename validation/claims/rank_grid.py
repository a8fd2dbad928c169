"""Students over a grid of ranks and sample sizes: what Corollary 1's optimum and Theorem 2's gap are both read from.

Settings of a part that trains them: ``ranks``, ``sizes`` (train blocks, the unit of n), ``seeds``, the fields of a run
that all share, and under ``curves`` what is trained beside the labels::

    curves = [{objective = "distillation", start = "svd", ranks = […], sizes = […], seeds = 4, underpowered = true}]

where ``ranks``, ``sizes``, ``seeds`` and ``underpowered`` are those of the labels unless they are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from theorykit.arguments import one_of
from theorykit.errors import InputError
from validation.claims.experiment import Settings
from validation.claims.grids import needed, seeds_of, student
from validation.training.config import StudentConfig

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


@dataclass(frozen=True)
class Curve:
    """Students that differ in rank, sample size and seed alone.

    Attributes:
        objective: A key of ``OBJECTIVES``.
        start: One of ``STARTS``.
        ranks: Increasing.
        sizes: Train blocks, increasing.
        seeds: Of the students.
        underpowered: Whether its exponent may be judged with a planned power below 0.8.
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


def label_curve(settings: Settings, seed: int) -> Curve:
    """Return the curve of the whole grid: labels alone, from the teacher's truncated SVD."""
    return _curve(settings, {"objective": LABELS, "start": STARTS[0]}, seed)


def curves_of(settings: Settings, seed: int) -> list[Curve]:
    """Return all curves of a part, that of the labels first."""
    return [label_curve(settings, seed), *(_curve(settings, one, seed) for one in settings.get("curves", ()))]


def curve_students(settings: Settings, curve: Curve) -> list[StudentConfig]:
    """Return the students of a curve, in the order seed, size, rank with the last running fastest."""
    fixed = {**OBJECTIVES[curve.objective], "start": curve.start, "student": "factored", "measurements": [MEASUREMENT]}
    return [
        student(settings, **fixed, rank=rank, n_blocks=size, seed=seed)
        for seed in curve.seeds
        for size in curve.sizes
        for rank in curve.ranks
    ]


def label_grid(settings: Settings, seed: int) -> list[StudentConfig]:
    """Return the students of :func:`label_curve`: the same for every experiment that reads the same settings."""
    return curve_students(settings, label_curve(settings, seed))


def _curve(settings: Settings, given: Mapping[str, Any], seed: int) -> Curve:
    unknown = set(given) - {"objective", "start", "ranks", "sizes", "seeds", "underpowered"}
    if unknown:
        raise InputError(f"a curve has no {min(unknown)!r}", "give objective, start, ranks, sizes and seeds")
    own = {**settings, **given}
    return Curve(
        one_of("objective", needed(own, "objective"), tuple(OBJECTIVES)),
        one_of("start", needed(own, "start"), STARTS),
        _increasing("ranks", needed(own, "ranks"), least=3),
        _increasing("sizes", needed(own, "sizes"), least=1),
        tuple(seeds_of(own, seed)),
        bool(own.get("underpowered", False)),
    )


def _increasing(name: str, values: Any, least: int) -> tuple[int, ...]:
    found = tuple(int(value) for value in values)
    if len(found) < least or list(found) != sorted(set(found)) or found[0] < 1:
        raise InputError(f"{name} = {list(found)} is no increasing list", f"give at least {least} numbers from 1 up")
    return found
