from __future__ import annotations

import numpy as np
import pytest

from theorykit.information.estimators.pairs import checked_pair, near_copies
from theorykit.information.tasks import TASKS


def repeated(rng: np.random.Generator, pairs: int, copies: int, noise: float, width: int = 1) -> list[np.ndarray]:
    sides = rng.standard_normal((2, pairs, width)).repeat(copies, axis=1)
    return list(sides + noise * rng.standard_normal(sides.shape))


@pytest.mark.parametrize(
    ("pairs", "copies", "noise", "width"),
    [(150, 10, 1e-3, 1), (750, 2, 1e-4, 1), (30, 50, 1e-3, 1), (150, 10, 0.01, 20)],
)
def test_copies_with_noise_are_said(rng, pairs, copies, noise, width):
    x, y = repeated(rng, pairs, copies, noise, width)
    (said,) = checked_pair(x, y).warnings
    assert "stand in tight clumps" in said
    assert checked_pair(x, y, np.repeat(np.arange(pairs), copies)).warnings == ()


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.identifier)
def test_the_published_tasks_raise_no_alarm(rng, task):
    assert near_copies(*task.sample(2000, rng)) == ()


def test_independent_rows_raise_no_alarm(rng):
    x = rng.standard_normal((2000, 1))
    assert near_copies(x, x**2) == ()  # on a curve, with the most gaps by chance
    assert near_copies(x, 1e-6 * rng.standard_cauchy((2000, 3))) == ()
    assert near_copies(rng.standard_normal((50, 3)), rng.standard_normal((50, 3))) == ()
    assert near_copies(np.repeat(x[:200], 10, axis=0), x) == ()  # the same x again, with another y


def test_equal_rows_are_left_to_another_warning(rng):
    x, y = repeated(rng, 100, 4, 0.0)
    assert near_copies(x, y) == ()
    assert "300 of 400 pairs repeat" in checked_pair(x, y).warnings[0]


def test_very_few_rows_are_not_judged():
    assert near_copies(np.arange(7.0)[:, None], np.arange(7.0)[:, None]) == ()
