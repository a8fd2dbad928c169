from __future__ import annotations

import numpy as np
import pytest
from scipy.special import digamma

from tests.information_estimators.gaussian_pairs import canonical_pairs, information_of
from theorykit.information.estimators import neighbours as module
from theorykit.information.estimators.neighbours import grouped_information, ksg_estimate, local_information
from theorykit.information.tasks import find_task


def by_definition(x: np.ndarray, y: np.ndarray, neighbours: int) -> float:
    """Kraskov et al. (2004), eq 8, one row at a time."""
    count, total = len(x), 0.0
    for row in range(count):
        left, right = np.abs(x - x[row]).max(axis=1), np.abs(y - y[row]).max(axis=1)
        others = np.arange(count) != row
        both = np.where(others, np.maximum(left, right), np.inf)
        inside = [(side[others] < np.sort(both)[neighbours - 1]).sum() for side in (left, right)]
        total += digamma(neighbours) - digamma(inside[0] + 1) - digamma(inside[1] + 1)
    return total / count + digamma(count)


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (3, 3)])
@pytest.mark.parametrize("trees", [True, False])
def test_it_is_the_published_formula(rng, monkeypatch, size, trees):
    monkeypatch.setattr(module, "_TREE_DIMENSIONS", 100 if trees else 0)
    monkeypatch.setattr(module, "_BLOCK_NUMBERS", 1000)
    x, y = rng.standard_normal((150, size[0])), rng.standard_normal((150, size[1]))
    y[:, 0] += 2 * x[:, 0]
    for neighbours in (1, 4):
        terms = local_information(x, y, neighbours)
        assert terms.shape == (150,)
        assert terms.mean() == pytest.approx(by_definition(x, y, neighbours), abs=1e-12)


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.9])
def test_a_single_pair(rng, rho):
    """Budget: 60 repetitions of 500 rows."""
    truth = information_of([rho])
    found = [ksg_estimate(*canonical_pairs(rng, 500, np.array([rho]))) for _ in range(60)]
    values = np.array([one.information for one in found])
    assert values.mean() == pytest.approx(truth, abs=0.02)
    assert sum(one.interval[0] <= truth <= one.interval[1] for one in found) >= 52
    assert np.mean([one.standard_error for one in found]) == pytest.approx(values.std(), rel=0.5)


@pytest.mark.parametrize(("size", "rho"), [(2, 0.9), (3, 0.9)])
def test_the_interval_reaches_over_the_bias(rng, size, rho):
    """Budget: 20 repetitions of 600 rows; the mean is far below, and still inside the intervals."""
    truth = information_of(np.full(size, rho))
    found = [ksg_estimate(*canonical_pairs(rng, 600, np.full(size, rho))) for _ in range(20)]
    assert np.mean([one.information for one in found]) < truth - 0.06
    assert sum(one.interval[0] <= truth <= one.interval[1] for one in found) >= 18
    if size == 3:
        assert not any(one.converged for one in found)
        assert all("still moving with N" in one.warnings[0] for one in found)


def test_it_sees_what_is_not_linear(rng):
    x, noise = rng.standard_normal((2, 4000))
    y = np.sign(rng.standard_normal(4000)) * x + 0.1 * noise  # the sign is lost: |x| remains
    assert ksg_estimate(x, y).information > 1
    assert abs(ksg_estimate(x, rng.permutation(y)).information) < 0.05


def test_normal_margins_are_blind_to_increasing_maps(rng):
    x, y = canonical_pairs(rng, 400, np.array([0.7]))
    plain = ksg_estimate(x, y)
    assert ksg_estimate(np.exp(3 * x), np.tanh(y)).information == plain.information


@pytest.mark.parametrize("neighbours", [3, 1])
def test_the_ceiling_is_met_by_a_copy_and_never_passed(rng, neighbours):
    x = rng.standard_normal((300, 1))
    found = ksg_estimate(x, x, neighbours=neighbours)
    assert found.ceiling == pytest.approx(digamma(300) - digamma(neighbours))
    assert found.information == pytest.approx(found.ceiling, abs=1e-9)
    assert any("near the ceiling" in warning for warning in found.warnings)
    for _ in range(20):
        noisy = x + 10.0 ** rng.uniform(-8, 0) * rng.standard_normal((300, 1))
        assert ksg_estimate(x, noisy, neighbours=neighbours).information <= found.ceiling + 1e-9


def test_many_dimensions_are_said_and_too_many_refused(rng):
    found = ksg_estimate(*canonical_pairs(rng, 300, np.full(4, 0.5)))
    assert any("many dimensions" in warning for warning in found.warnings)
    assert "d_x + d_y = 202 is above 200" in ksg_estimate(*rng.standard_normal((2, 60, 101))).failure


def test_ties_are_broken_and_said(rng):
    x, y = canonical_pairs(rng, 3000, np.array([0.8]))
    x = np.round(x)
    found = ksg_estimate(x, y)
    assert any("ties: 100%" in warning for warning in found.warnings)
    assert found.information == ksg_estimate(x, y).information
    assert found.information != ksg_estimate(x, y, generator=rng).information
    # the randomised transform keeps I(round(x); y), by quadrature over y
    assert found.information == pytest.approx(rounded_information(0.8), abs=0.03)


def rounded_information(rho: float) -> float:
    """I(round(x); y) of a Gaussian pair, by quadrature."""
    from scipy.stats import norm

    grid = np.linspace(-7, 7, 4001)
    edges = np.arange(-6.5, 7)
    given = np.diff(norm.cdf((edges[:, None] - rho * grid) / np.sqrt(1 - rho**2)), axis=0)
    marginal = np.diff(norm.cdf(edges))[:, None]
    density = np.where(given > 0, given * np.log(np.maximum(given, 1e-300) / marginal), 0.0).sum(axis=0)
    return float(np.trapezoid(density * norm.pdf(grid), grid))


def test_groups_widen_the_interval(rng):
    """Sequences whose dependence differs: the terms of one sequence go together."""
    groups = np.repeat(np.arange(20), 50)
    signs = np.where(np.arange(20) % 2, 0.98, 0.0)[groups]
    x, noise = rng.standard_normal((2, 1000))
    y = signs * x + np.sqrt(1 - signs**2) * noise
    assert ksg_estimate(x, y, groups=groups).standard_error > 1.5 * ksg_estimate(x, y).standard_error


SEQUENCES = np.repeat(np.arange(40), 50)


def clustered(rng: np.random.Generator) -> np.ndarray:
    """A value for each sequence, repeated with jitter."""
    return rng.standard_normal(40)[SEQUENCES] + 1e-3 * rng.standard_normal(2000)


def slow(rng: np.random.Generator) -> np.ndarray:
    """Autoregressive sequences with a correlation of 0.99 between successive rows."""
    steps = rng.standard_normal((40, 50))
    for place in range(1, 50):
        steps[:, place] = 0.99 * steps[:, place - 1] + np.sqrt(1 - 0.99**2) * steps[:, place]
    return steps.ravel()


@pytest.mark.parametrize("draw", [clustered, slow])
def test_independent_sequences_have_no_information(rng, draw):
    """Without groups the intervals lie above 0."""
    pairs = [(draw(rng), draw(rng)) for _ in range(10)]
    assert ksg_estimate(*pairs[0]).interval[0] > 0
    found = [ksg_estimate(x, y, groups=SEQUENCES) for x, y in pairs]
    assert sum(one.interval[0] <= 0 <= one.interval[1] for one in found) >= 9
    assert abs(np.mean([one.information for one in found])) < 0.1


@pytest.mark.parametrize(("draw", "tolerance"), [(slow, 0.1), (lambda rng: rng.standard_normal(2000), 0.02)])
def test_dependent_sequences(rng, draw, tolerance):
    found = []
    for _ in range(10):
        x, noise = draw(rng), draw(rng)
        found.append(ksg_estimate(x, 0.8 * x + 0.6 * noise, groups=SEQUENCES))
    truth = information_of([0.8])
    assert np.mean([one.information for one in found]) == pytest.approx(truth, abs=tolerance)
    assert sum(one.interval[0] <= truth <= one.interval[1] for one in found) >= 9


def test_groups_of_one_row_are_no_groups(rng):
    x, y = canonical_pairs(rng, 400, np.array([0.7]))
    labels = rng.permutation(400)
    plain, grouped = ksg_estimate(x, y), ksg_estimate(x, y, groups=labels)
    assert (grouped.information, grouped.interval, grouped.ceiling) == (
        plain.information,
        plain.interval,
        plain.ceiling,
    )
    terms, ceilings = grouped_information(x, y, labels, 5)
    np.testing.assert_allclose(terms, local_information(x, y, 5), atol=1e-12)
    np.testing.assert_allclose(ceilings, plain.ceiling, atol=1e-12)


def test_copies_count_as_one(rng):
    """With 50 copies the terms are those of one row for each group but for what the edge of the ball cuts off."""
    x, y = canonical_pairs(rng, 200, np.array([0.7]))
    groups = np.repeat(np.arange(200), 50)
    jitter = 1e-6 * rng.standard_normal((2, 10_000, 1))
    terms, ceilings = grouped_information(x[groups] + jitter[0], y[groups] + jitter[1], groups, 5)
    assert terms.mean() == pytest.approx(local_information(x, y, 5).mean(), abs=0.06)
    assert ceilings.mean() == pytest.approx(digamma(200) - digamma(5), abs=0.02)


def test_grouped_counts_are_those_by_hand(rng, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_NUMBERS", 700)  # several blocks of rows
    groups = rng.integers(0, 12, 90)
    x, y = rng.standard_normal((90, 2)), rng.standard_normal((90, 1))
    terms, _ = grouped_information(x, y, groups, 3)
    for row in range(90):
        others = groups != groups[row]
        left, right = np.abs(x - x[row]).max(axis=1), np.abs(y - y[row]).max(axis=1)
        both = np.maximum(left, right)
        radius = sorted(both[groups == group].min() for group in range(12) if group != groups[row])[2]
        clump = (both[others] < radius).sum() / 2
        counts = [(side[others] < radius).sum() / clump + 1 for side in (left, right)]
        expected = digamma(3) + digamma(others.sum() / clump + 1) - digamma(counts).sum()
        assert terms[row] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("options", "groups", "failure"),
    [
        ({"neighbours": 1}, 20, "neighbours = 1 is not from 2 to below half of the 20 groups"),
        ({}, 10, "neighbours = 5 is not from 2 to below half of the 10 groups"),
    ],
)
def test_groups_that_neighbours_cannot_use(rng, options, groups, failure):
    labels = np.arange(100) % groups
    assert failure in ksg_estimate(*rng.standard_normal((2, 100)), groups=labels, **options).failure


def test_as_many_neighbours_as_half_the_rows_are_a_failure(rng):
    x, y = rng.standard_normal((2, 60, 1))
    assert "neighbours = 30 is not below N/2 = 30" in ksg_estimate(x, y, neighbours=30).failure
    assert ksg_estimate(x, y, neighbours=29).failure == ""


@pytest.mark.parametrize(("noise", "count"), [(0.1, 300), (0.75, 300), (0.75, 1000)])
def test_edges_of_a_density_are_inside_the_interval(noise, count):
    """X + N, both uniform: the estimate is low by more than its sampling error; 95 % are promised, 83 % asked of 24."""
    task = find_task(f"1v1-additive-{noise}")
    found = [ksg_estimate(*task.sample(count, np.random.default_rng([seed, 12]))) for seed in range(24)]
    assert np.mean([one.information for one in found]) < task.information - 0.02
    assert sum(one.interval[0] <= task.information <= one.interval[1] for one in found) >= 20


def test_few_rows_in_many_columns_are_warned_of(rng):
    """100 rows in 6 columns, 3 log 1.25 = 0.67 nats: more than the value may be missing to it."""
    few = [ksg_estimate(*canonical_pairs(rng, 100, np.full(3, 0.6))) for _ in range(10)]
    said = [any("may be missing" in warning for warning in one.warnings) for one in few]
    assert sum(said) >= 5
    assert all(loud or one.interval[1] < one.information + 2 for loud, one in zip(said, few, strict=True))
    assert not ksg_estimate(*canonical_pairs(rng, 1000, np.array([0.6]))).warnings
