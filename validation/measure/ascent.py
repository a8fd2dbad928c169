"""Gradient ascent on a ratio left / right of many instances at once, to find where an inequality fails or is met."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from theorykit.arguments import Floats
from theorykit.verdicts import AdversarialSearch

Points = list[torch.Tensor]
"""What is moved, ``[S, …]`` each: S instances, which see nothing of each other."""

_LONGER, _SHORTER = 1.2, 0.5


@dataclass(frozen=True, eq=False)
class Ascent:
    """Where an ascent has come.

    Attributes:
        start: Ratio of each instance where it began ``[S]``.
        best: The largest that was found ``[S]``.
        points: That give it.
        n_trials: Points at which a ratio could be computed, all instances together.
    """

    start: Floats
    best: Floats
    points: Points
    n_trials: int


def ascend(
    ratio: Callable[[Points], torch.Tensor], start: Sequence[torch.Tensor], *, steps: int, rate: float = 0.1
) -> Ascent:
    """Raise the ratio of every instance by gradient ascent; a step that does not raise it is taken back.

    Each tensor of an instance moves along its own gradient, by ``rate`` times its norm to begin with: 1.2 times as far
    after a success, half as far after a failure.

    Args:
        ratio: Left / right ``[S]``, differentiable; NaN outside the domain.
        start: ``[S, …]`` each.
        steps: Evaluations after the first one.
        rate: Of a first step, relative to what is moved.

    Example:
        >>> found = ascend(lambda x: 1 / (1 + (x[0] - 3).square().sum(dim=1)), [torch.ones(2, 1)], steps=40)
        >>> bool((found.best > 0.99).all())
        True
    """
    best, slopes, value = _evaluated(ratio, [part.detach() for part in start])
    first, length, trials = value.clone(), torch.full_like(value, rate), int(value.isfinite().sum())
    for _ in range(steps):
        moved = [
            _along(part, length) * slope * _norm(part) / _norm(slope).clamp_min(1e-300) + part
            for part, slope in zip(best, slopes, strict=True)
        ]
        points, new_slopes, new = _evaluated(ratio, moved)
        trials += int(new.isfinite().sum())
        better = (new > value) | (new.isfinite() & ~value.isfinite())
        length = torch.where(better, length * _LONGER, length * _SHORTER)
        value = torch.where(better, new, value)
        best, slopes = (
            [torch.where(_along(old, better), fresh, old) for fresh, old in zip(*pair, strict=True)]
            for pair in ((points, best), (new_slopes, slopes))
        )
    return Ascent(_numbers(first), _numbers(value), best, trials)


def search_result(ascent: Ascent, ratios: Floats, *, rounding: float) -> AdversarialSearch:
    """Return what an ascent found for :func:`theorykit.verdicts.inequality_verdict`.

    Args:
        ascent: Whose best points are judged.
        ratios: There, by another route ``[S]``: these are what is judged.
        rounding: Largest relative difference of both routes.
    """
    failed = ~np.isfinite(ratios)
    where = int(np.argmax(np.where(failed, -np.inf, ratios)))
    flat = torch.cat([part[where].flatten() for part in ascent.points])
    return AdversarialSearch(
        n_trials=ascent.n_trials,
        n_failed=int(failed.sum()),
        largest_ratio=float(ratios[where]),
        argument=_numbers(flat),
        reproduced=bool(np.isclose(ratios[where], ascent.best[where], rtol=rounding)),
    )


def _evaluated(ratio: Callable[[Points], torch.Tensor], points: Points) -> tuple[Points, Points, torch.Tensor]:
    """Return the points, the gradients there, 0 where there is none, and the ratios."""
    leaves = [part.detach().requires_grad_() for part in points]
    value = ratio(leaves)
    slopes = torch.autograd.grad(value.sum(), leaves, materialize_grads=True)
    return [part.detach() for part in leaves], [slope.nan_to_num(0.0, 0.0, 0.0) for slope in slopes], value.detach()


def _along(part: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return one value per instance ``[S]`` in a shape that multiplies ``[S, …]``."""
    return values.view(-1, *[1] * (part.ndim - 1))


def _norm(part: torch.Tensor) -> torch.Tensor:
    return _along(part, torch.linalg.vector_norm(part.flatten(1), dim=1))


def _numbers(values: torch.Tensor) -> Floats:
    return np.asarray(values.detach().double().numpy(force=True), dtype=np.float64)
