from __future__ import annotations

import numpy as np
import pytest

from tests.information_estimators.gaussian_pairs import canonical_pairs, information_of
from theorykit.errors import InputError, NonFiniteError
from theorykit.information import canonical_correlations
from theorykit.information.estimators import pairs
from theorykit.information.estimators.canonical import (
    canonical_pairs_of_moments,
    canonical_reduction,
    cca_estimate,
    correlation_matrix,
    correlations_of,
    noise_edge,
)
from theorykit.information.estimators.gaussian import gaussian_estimate
from theorykit.information.estimators.outcomes import LOWER_BOUND

STRONG = np.r_[0.95, 0.8, 0.6, np.zeros(17)]


def test_the_correlation_matrix_is_numpys(rng):
    x, y = 1e3 + rng.exponential(size=(5000, 3)), rng.standard_normal((5000, 2)) - 7
    expected = np.corrcoef(np.hstack([x, y]).T)
    np.testing.assert_allclose(correlation_matrix(x, y), expected, atol=1e-10)


def test_sample_correlations_are_those_of_the_covariance(rng):
    x, y = canonical_pairs(rng, 200, STRONG)
    found = correlations_of(correlation_matrix(x, y[:, :5]), 20)
    expected = canonical_correlations(np.cov(np.hstack([x, y[:, :5]]).T), 20)
    np.testing.assert_allclose(found.correlations, expected, atol=1e-10)
    assert found.ranks == (20, 5)


@pytest.mark.parametrize(("left", "right", "count"), [(20, 20, 200), (60, 10, 300), (3, 3, 50), (1, 1, 100)])
def test_the_edge_of_noise(rng, left, right, count):
    """Budget: 200 draws of independent sides: the largest squared correlation rarely passes, and comes near."""
    largest = [
        correlations_of(
            correlation_matrix(rng.standard_normal((count, left)), rng.standard_normal((count, right))), left
        ).correlations[0]
        ** 2
        for _ in range(200)
    ]
    passed = np.array(largest) > noise_edge(count, left, right)
    assert passed.mean() <= 0.04
    assert np.mean(np.array(largest) > 0.75 * noise_edge(count, left, right)) > passed.mean()
    assert noise_edge(100, 60, 60) == 1.0


def test_the_reduction_finds_the_pairs(rng):
    x, y = canonical_pairs(rng, 4000, STRONG)
    mixing = rng.normal(size=(20, 20))
    reduction = canonical_reduction(x @ mixing, y)
    assert reduction.significant == 3
    left, right = reduction.transform(
        *(side @ into for side, into in zip(canonical_pairs(rng, 4000, STRONG), (mixing, np.eye(20)), strict=True))
    )
    for index, rho in enumerate(STRONG[:3]):
        assert abs(np.corrcoef(left[:, index], right[:, index])[0, 1]) == pytest.approx(rho, abs=0.04)


def test_the_reduction_of_more_columns_than_rows(rng):
    x, y = rng.standard_normal((2, 60, 200))
    y[:, 0] += 30 * x[:, 0]
    x[:, 0] *= 30
    reduction = canonical_reduction(x, y, components=2)
    assert reduction.x_weights.shape == (200, 2)
    assert np.isfinite(reduction.transform(x, y)[0]).all()


@pytest.mark.parametrize("wide", [(0,), (1,), (0, 1)])
def test_the_products_of_rows_give_the_axes_of_the_columns(rng, monkeypatch, wide):
    """40 rows: the N × N side and the d × d side must find the same pairs."""
    sides = [3 + 1e-6 * rng.standard_normal((40, 90 if index in wide else 4)) for index in (0, 1)]
    sides[1][:, :3] += 0.5 * sides[0][:, :3]
    sides[0][:, 2] = 0.1  # constant
    by_rows = canonical_reduction(*sides, components=3)
    moments = np.hstack(sides)
    by_columns = canonical_pairs_of_moments(moments.mean(axis=0), np.cov(moments.T), sides[0].shape[1], 40).leading(3)
    np.testing.assert_allclose(by_rows.correlations, by_columns.correlations, atol=1e-8)
    for left, right in zip(by_rows.transform(*sides), by_columns.transform(*sides), strict=True):
        np.testing.assert_allclose(np.abs(left), np.abs(right), atol=1e-6)
    assert (by_rows.x_weights[2] == 0).all()


def test_wide_sides_take_no_square_of_their_columns(rng, monkeypatch):
    x, y = rng.standard_normal((2, 60, 3000))
    x[:, 1:] += 2 * x[:, :1]
    y += 2 * x[:, :1]
    shapes = []
    decompose = np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda matrix: (shapes.append(matrix.shape), decompose(matrix))[1])
    found = cca_estimate(x, y)
    assert found.information > 2
    assert max(max(shape) for shape in shapes) <= 60
    monkeypatch.setattr(pairs, "free_bytes", lambda: 8 * 3 * 60 * 6000)
    assert "GB of memory are needed" in cca_estimate(x, y).failure


def test_the_cross_fitted_value_is_near_the_information_of_the_strong_pairs(rng):
    found = cca_estimate(*canonical_pairs(rng, 6000, STRONG))
    assert found.information == pytest.approx(information_of(STRONG), abs=0.08)
    assert found.interval[0] < found.information < found.interval[1]
    assert (found.warnings, found.failure, found.method) == ((LOWER_BOUND,), "", "cca")


@pytest.mark.parametrize("count", [100, 400])
def test_it_stays_a_lower_bound_where_columns_are_many(rng, count):
    """Budget: 40 repetitions of 20 + 20 columns; the plug-in without correction is far above."""
    found = [cca_estimate(*canonical_pairs(rng, count, STRONG), components=3).information for _ in range(40)]
    assert np.mean(found) <= information_of(STRONG) + 3 * np.std(found) / np.sqrt(40)
    assert np.mean(found) > 0.4


def test_more_columns_than_rows_give_a_value_where_the_plug_in_fails(rng):
    """Two factors in 400 noisy columns of either side."""
    x, y = rng.standard_normal((2, 300, 400))
    factors, loadings = rng.standard_normal((300, 2)), rng.standard_normal((2, 2, 400))
    x, y = x + factors @ loadings[0], y + factors @ loadings[1]
    assert gaussian_estimate(x, y).failure
    found = cca_estimate(x, y)
    assert found.failure == ""
    assert 2 < found.information < np.log(200) + 2  # each factor is known from 400 columns to about 1 in 400


def test_unrelated_sides(rng):
    x, y = rng.standard_normal((2, 3000, 10))
    found = cca_estimate(x, y)
    assert abs(found.information) < 0.02
    assert any("noise edge" in warning for warning in found.warnings)


def test_an_exact_relation(rng):
    x = rng.standard_normal((500, 3))
    found = cca_estimate(x, x[:, ::-1] * 4)
    assert found.information == np.inf
    assert "deterministic relation" in found.warnings[0]


def test_groups_stay_together_and_count_as_one(rng):
    """60 sequences of 10 nearly equal rows. Budget: 40 repetitions."""
    groups, truth, values, covered = np.repeat(np.arange(60), 10), information_of([0.7]), [], 0
    for _ in range(40):
        noise = 1e-2 * rng.standard_normal((2, 600, 1))
        x, y = (side[groups] + one for side, one in zip(canonical_pairs(rng, 60, np.array([0.7])), noise, strict=True))
        found = cca_estimate(x, y, groups=groups)
        values.append(found.information)
        covered += found.interval[0] <= truth <= found.interval[1]
    assert np.mean(values) <= truth + 3 * np.std(values) / np.sqrt(40)
    assert covered >= 34


def test_a_column_that_is_constant_in_a_fold_is_a_failure_that_is_told(rng):
    spike = np.r_[1.0, 2.0, np.zeros(78)]
    for sides, name in (((spike, rng.standard_normal(80)), "x"), ((rng.standard_normal(80), spike), "y")):
        assert f"a column of {name} is constant in a fold" in cca_estimate(*sides).failure


def test_a_fold_of_one_group(rng):
    x, y = rng.standard_normal((2, 80, 1))
    assert "a fold holds 1 group" in cca_estimate(x, y, groups=np.repeat(np.arange(5), 16)).failure


def test_refused_reductions(rng):
    x, y = rng.standard_normal((2, 60, 2))
    with pytest.raises(InputError, match="components = 3 is above the 2 canonical pairs"):
        canonical_reduction(x, y, components=3)
    with pytest.raises(InputError, match="7 rows are too few"):
        canonical_reduction(x[:7], y[:7])
    with pytest.raises(NonFiniteError, match="y holds NaN"):
        canonical_reduction(x, y * np.nan)
    assert "components = 3 is above" in cca_estimate(x, y, components=3).failure
    assert "held-out rows are too few" in cca_estimate(x[:20], y[:20], components=2).failure


def test_few_held_out_rows_of_unrelated_sides_give_nothing_on_average(rng):
    """Budget: 60 repetitions; 12 held-out rows of 2 pairs would give 4/(2 · 12) nats and more without the bias."""
    found = [cca_estimate(*rng.standard_normal((2, 60, 4)), components=2).information for _ in range(60)]
    error = np.std(found) / np.sqrt(60)
    assert abs(np.mean(found)) < 3 * error
    assert error < 0.04
