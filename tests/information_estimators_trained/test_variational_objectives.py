from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from theorykit.information.estimators.critics import OBJECTIVES
from theorykit.information.estimators.training import partner_shifts
from theorykit.information.estimators.variational import _influence, _standard_error

BOUNDS = ("mine", "infonce")
LAW = np.array([[6, 1, 0], [2, 4, 3]])
"""Counts of a law on 2 × 3 symbols."""


def exact_scores(table: np.ndarray, method: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of all rows and of all pairs of rows, so that sample means are expectations under the law.

    InfoNCE counts the joint sample among its candidates, the others take shift 0 into the product.
    """
    a, b = (np.repeat(index.ravel(), LAW.ravel()) for index in np.indices(LAW.shape))
    shifts = range(method == "infonce", a.size)
    product = np.stack([table[a, np.roll(b, -shift)] for shift in shifts])
    return torch.from_numpy(table[a, b])[None], torch.from_numpy(product)[None]


def true_information() -> tuple[float, np.ndarray]:
    joint = LAW / LAW.sum()
    with np.errstate(divide="ignore"):
        log_ratio = np.log(joint / np.outer(joint.sum(1), joint.sum(0)))
    return float((joint[joint > 0] * log_ratio[joint > 0]).sum()), np.maximum(log_ratio, -50.0)


@pytest.mark.parametrize("method", BOUNDS)
def test_the_log_density_ratio_meets_the_information(method):
    information, log_ratio = true_information()
    value = float(OBJECTIVES[method].value(*exact_scores(log_ratio, method)))
    assert value == pytest.approx(information, abs=1e-12)


@pytest.mark.parametrize("method", BOUNDS)
def test_no_scores_pass_the_information(method, rng):
    information, log_ratio = true_information()
    scale = np.geomspace(1e-3, 5, 400)
    values = [
        float(OBJECTIVES[method].value(*exact_scores(log_ratio + size * rng.standard_normal(LAW.shape), method)))
        for size in scale
    ]
    assert max(values) <= information + 1e-12
    assert values[0] > information - 1e-3


def test_infonce_never_passes_its_ceiling(rng):
    for size in np.geomspace(0.1, 1e3, 50):
        joint, product = (torch.from_numpy(size * rng.standard_normal(shape)) for shape in ((1, 20), (1, 7, 20)))
        assert float(OBJECTIVES["infonce"].value(joint.abs(), product)) <= math.log(8) + 1e-12
    perfect = OBJECTIVES["infonce"].value(torch.full((1, 20), 800.0), torch.zeros(1, 7, 20))
    assert float(perfect) == pytest.approx(math.log(8))


def test_the_gradient_of_mine_divides_by_the_moving_average(rng):
    joint = torch.from_numpy(rng.standard_normal((1, 6))).requires_grad_()
    product = torch.from_numpy(rng.standard_normal((1, 2, 6))).requires_grad_()
    loss = OBJECTIVES["mine"].loss
    _, first = loss(joint, product, torch.tensor([-math.inf], dtype=torch.float64))
    assert float(first.exp()) == pytest.approx(float(product.detach().exp().mean()))
    value, second = loss(joint, product, torch.tensor([math.log(10.0)], dtype=torch.float64))
    average = 0.95 * 10 + 0.05 * float(product.detach().exp().mean())
    assert float(second.exp()) == pytest.approx(average)
    value.sum().backward()
    np.testing.assert_allclose(joint.grad.numpy(), -1 / 6)
    np.testing.assert_allclose(product.grad.numpy(), product.detach().exp().numpy() / (12 * average))


def test_infonce_ascends_its_value(rng):
    joint, product = (torch.from_numpy(rng.standard_normal(shape)) for shape in ((2, 6), (2, 3, 6)))
    loss, same = OBJECTIVES["infonce"].loss(joint, product, torch.zeros(2))
    torch.testing.assert_close(loss, -OBJECTIVES["infonce"].value(joint, product))
    assert torch.all(same == 0)


RHO = 0.6


def normal_log_ratio(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return -0.5 * np.log(1 - RHO**2) - (RHO**2 * (x**2 + y**2) - 2 * RHO * x * y) / (2 * (1 - RHO**2))


def drawn(method: str, copies: int, critic: Callable, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Values and standard errors of 300 test splits of 300 rows; each row stands ``copies`` times in its sequence."""
    objective, shifts = OBJECTIVES[method], partner_shifts(300, copies, 32)
    sequences = np.repeat(np.arange(300 // copies), copies)
    found = []
    for _ in range(300):
        x, noise = rng.standard_normal((2, 300 // copies))
        x, y = np.repeat(x, copies), np.repeat(RHO * x + 0.8 * noise, copies)
        joint = torch.from_numpy(critic(x, y))
        product = torch.from_numpy(np.stack([critic(x, np.roll(y, -shift)) for shift in shifts]))
        error = _standard_error(_influence(objective, joint, product, shifts), sequences)
        found.append((float(objective.value(joint, product)), error))
    values, errors = np.array(found).T
    return values, errors


@pytest.mark.parametrize("copies", [1, 5])
@pytest.mark.parametrize("method", sorted(OBJECTIVES))
def test_the_standard_error_is_the_scatter_over_test_splits(method, copies, rng):
    values, errors = drawn(method, copies, normal_log_ratio, rng)
    assert 0.9 < errors.mean() / values.std() < 1.2
    assert (np.abs(values - -0.5 * np.log(1 - RHO**2)) < 1.96 * errors).mean() > 0.88


def test_the_standard_error_counts_each_row_as_a_partner_too(rng):
    """This critic leans on y alone in the product, where the log ratio does not."""
    values, errors = drawn("mine", 1, lambda x, y: 0.1 * x * y + 0.7 * y, rng)
    assert 0.9 < errors.mean() / values.std() < 1.2
