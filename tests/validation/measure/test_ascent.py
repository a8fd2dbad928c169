"""Gradient ascent on ratios of many instances at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from theorykit.verdicts import Instance, inequality_verdict
from validation.measure.ascent import ascend, search_result

START = [torch.tensor([[1.0, 0.5], [-2.0, 1.0], [0.3, 3.0]], dtype=torch.float64)]


def cosine(points):
    """|x + y| / (√2 ‖(x, y)‖) ≤ 1, with equality at x = y."""
    return points[0].sum(dim=1).abs() / (2**0.5 * points[0].norm(dim=1))


def test_every_instance_climbs_to_its_own_top():
    found = ascend(cosine, START, steps=80)
    np.testing.assert_allclose(found.start, cosine(START).numpy())
    np.testing.assert_allclose(found.best, 1.0, atol=1e-6)
    np.testing.assert_allclose(found.best, cosine(found.points).numpy(), rtol=1e-12)
    assert found.n_trials == 3 * 81


def test_instances_see_nothing_of_each_other():
    together = ascend(cosine, START, steps=20)
    for number in range(3):
        alone = ascend(cosine, [START[0][number : number + 1]], steps=20)
        assert together.best[number] == pytest.approx(alone.best[0], rel=1e-12)


def test_points_outside_the_domain_are_no_trials():
    def root(points):
        return 1 - (0.5 - points[0][:, 0]).sqrt()  # NaN above 0.5

    start = [torch.tensor([[0.4], [0.9]], dtype=torch.float64)]
    found = ascend(root, start, steps=30)
    assert found.best[0] > 0.95
    assert np.isnan(found.best[1])
    assert found.n_trials < 2 * 31
    search = search_result(found, found.best, rounding=1e-9)
    assert search.n_failed == 1
    assert search.largest_ratio == found.best[0]


def test_a_ratio_that_another_route_does_not_find_is_not_reproduced():
    found = ascend(cosine, START, steps=40)
    verdict = inequality_verdict(search_result(found, 1.5 * found.best, rounding=1e-9), rounding=1e-9)
    assert verdict.instance is Instance.INCONCLUSIVE
    same = search_result(found, found.best, rounding=1e-9)
    assert inequality_verdict(same, rounding=1e-9).instance is Instance.HOLDS
