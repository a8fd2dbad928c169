from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ortho_group

from tests.information_estimators.gaussian_pairs import canonical_pairs, information_of, wishart_covariance
from theorykit.errors import NonFiniteError
from theorykit.information import gaussian_mutual_information_from_samples
from theorykit.information.estimators import gaussian
from theorykit.information.estimators.canonical import correlation_matrix, correlations_of
from theorykit.information.estimators.gaussian import (
    gaussian_copula_estimate,
    gaussian_estimate,
    linear_misfit,
    mardia_kurtosis,
)
from theorykit.information.estimators.ranks import normal_scores
from theorykit.information.gaussian import PlugInError

BOTH = pytest.mark.parametrize("estimator", [gaussian_estimate, gaussian_copula_estimate])


def strong_and_weak(size: int, strongest: float = 0.95) -> np.ndarray:
    """A few strong pairs, as hidden states have, and nothing else."""
    return np.r_[np.linspace(strongest, 0.1, size // 4), np.zeros(size - size // 4)] if size > 4 else np.full(size, 0.6)


@pytest.mark.parametrize("size", [1, 7])
def test_it_is_the_corrected_plug_in(rng, size):
    x, y = canonical_pairs(rng, 300, strong_and_weak(size))
    expected = gaussian_mutual_information_from_samples(x, y).corrected
    assert gaussian_estimate(x, y).information == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(
    ("size", "count", "correlations"),
    [
        (1, 60, np.array([0.9])),
        (1, 1000, np.array([0.0])),
        (20, 100, np.full(20, 0.5)),
        (64, 10_000, strong_and_weak(64)),
        (64, 833, strong_and_weak(64)),  # d/N as with 768 and 10 000
        (64, 833, np.zeros(64)),
        (64, 833, np.full(64, 0.95)),
    ],
)
def test_bias_and_coverage(rng, size, count, correlations):
    """Budget: 200 draws of the sample covariance, without rows (2000 of a single pair, where they cost nothing).

    Within 3 standard errors, and 90 to 98 % covered; at independence more, as the upper end is never below 0.
    """
    draws = 2000 if size == 1 else 200
    truth = information_of(correlations)
    drawn = [correlations_of(_correlation(wishart_covariance(rng, count, correlations)), size) for _ in range(draws)]
    outcomes = [gaussian.corrected_plug_in_outcome(found, count) for found in drawn]
    values = np.array([outcome.information for outcome in outcomes])
    assert abs(values.mean() - truth) <= 3 * values.std() / np.sqrt(draws)
    covered = np.mean([outcome.interval()[0] <= truth <= outcome.interval()[1] for outcome in outcomes])
    assert 0.90 <= covered <= (0.985 if correlations.any() else 1.0)
    if correlations.any() or size > 1:
        assert np.mean([outcome.standard_error for outcome in outcomes]) == pytest.approx(values.std(), rel=0.2)


def _correlation(covariance: np.ndarray) -> np.ndarray:
    scale = np.sqrt(np.diagonal(covariance))
    return covariance / scale / scale[:, None]


def test_the_covariances_without_rows_are_those_of_rows(rng):
    correlations = np.array([0.8, 0.3])
    drawn = np.mean([wishart_covariance(rng, 40, correlations) for _ in range(3000)], axis=0) / 39
    expected = np.block([[np.eye(2), np.diag(correlations)], [np.diag(correlations), np.eye(2)]])
    np.testing.assert_allclose(drawn, expected, atol=0.02)


def test_linear_maps_of_either_side_change_nothing(rng):
    x, y = canonical_pairs(rng, 500, strong_and_weak(12))
    plain = gaussian_estimate(x, y)
    mapped = gaussian_estimate(
        1e4 * x @ ortho_group.rvs(12, random_state=rng) + 7, 1e-3 * y @ rng.normal(size=(12, 12))
    )
    assert mapped.information == pytest.approx(plain.information, abs=1e-6)
    assert mapped.standard_error == pytest.approx(plain.standard_error, abs=1e-6)
    swapped = gaussian_estimate(y, x)
    assert swapped.information == pytest.approx(plain.information, abs=1e-9)


@BOTH
def test_unrelated_and_shuffled_sides_have_none(rng, estimator):
    x, y = canonical_pairs(rng, 10_000, np.full(5, 0.9))
    for left, right in ((x, rng.permutation(y)), tuple(rng.standard_normal((2, 10_000, 5)))):
        found = estimator(left, right)
        assert abs(found.information) <= 0.02
        assert found.interval[0] <= 0 <= found.interval[1]
        assert found.warnings == ()


@BOTH
def test_an_exact_relation_is_infinite_and_said(rng, estimator):
    x = rng.standard_normal((300, 4)) * np.geomspace(1, 100, 4)
    found = estimator(x, -3 * x)
    assert (found.information, found.interval, found.failure) == (np.inf, None, "")
    assert any("deterministic relation" in warning for warning in found.warnings)


def test_an_exact_relation_of_ill_conditioned_sides(rng):
    """Rounding grows with the condition number of a side; the threshold follows."""
    axes = ortho_group.rvs(20, random_state=rng)
    x = rng.standard_normal((400, 20)) * np.geomspace(1, 1e-4, 20) @ axes
    assert gaussian_estimate(x, x @ ortho_group.rvs(20, random_state=rng)).information == np.inf


def test_a_relation_with_tiny_noise_is_said(rng):
    x, noise = rng.standard_normal((2, 400))
    found = gaussian_estimate(x, x + 1e-4 * noise)
    assert 8 < found.information < 10
    assert "deterministic relation but for noise" in found.warnings[0]


def test_dependent_columns_change_nothing(rng):
    x, y = canonical_pairs(rng, 400, np.full(3, 0.6))
    plain = gaussian_estimate(x, y)
    wide = gaussian_estimate(np.c_[x, x @ rng.normal(size=(3, 2)), np.ones(400)], y)
    assert wide.information == pytest.approx(plain.information, abs=1e-9)
    assert wide.dimensions == (6, 3)


@BOTH
def test_too_few_rows_are_a_failure(rng, estimator):
    found = estimator(*rng.standard_normal((2, 60, 30)))
    assert found.information is None
    assert "rows are too few for 30 + 30 directions" in found.failure
    assert estimator(*rng.standard_normal((2, 62, 30))).failure == ""


@BOTH
def test_the_advice_counts_columns_where_rows_limit_the_rank(rng, estimator):
    found = estimator(rng.standard_normal((60, 100)), rng.standard_normal((60, 3)))
    assert "N = 60 rows are too few for 100 + 3 directions; give at least 105 rows" in found.failure


@pytest.mark.parametrize("strength", [0.0, 1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("count", [50, 1000])
def test_the_interval_covers_a_weak_signal(rng, strength, count):
    """ρ√N of a few, where an interval around the estimate misses 20 %.

    Budget: 400 quantiles of 40,000 sample correlations (Bartlett's decomposition), as its ends rise with their square.
    """
    rho = strength / np.sqrt(count)
    truth, spread, covered = information_of([rho]), np.sqrt(1 - rho**2), 0
    along = rho * np.sqrt(rng.chisquare(count - 1, 40_000)) + spread * rng.standard_normal(40_000)
    squares = np.sort(along**2 / (along**2 + spread**2 * rng.chisquare(count - 2, 40_000)))[50::100]
    for correlation in np.sqrt(squares):
        joint = np.array([[1.0, correlation], [correlation, 1.0]])
        low, high = gaussian.corrected_plug_in_outcome(correlations_of(joint, 1), count).interval()
        covered += low <= truth <= high
        assert high >= 0
    assert 0.92 <= covered / 400 <= 0.98


def test_the_interval_holds_what_it_says():
    """Every I between the ends, and none beyond, is q errors or less off the estimate, with its own error."""
    error = PlugInError(0.9, 1e-4, 99, 4)
    for information in (-0.1, 0.0, 0.01, 0.6, 5.0):
        low, high = error.interval(information)
        assert low <= high
        assert high >= 0
        assert low <= information
    wide, inflated = error.interval(0.6, added=1.0), error.interval(0.6, inflation=100.0)
    assert min(wide[1], inflated[1]) > 1.5 > error.interval(0.6)[1]
    exact = error.interval(0.6, quantile=1e-3)
    assert exact[1] - exact[0] == pytest.approx(2e-3 * error.standard_error, rel=0.01)


def repeated_rows(rng: np.random.Generator, correlations: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """80 sequences of 10 rows that are equal but for a little noise, and their labels."""
    groups, noise = np.repeat(np.arange(80), 10), 1e-3 * rng.standard_normal((2, 800, len(correlations)))
    x, y = (side[groups] + one for side, one in zip(canonical_pairs(rng, 80, correlations), noise, strict=True))
    return x, y, groups


def test_groups_widen_the_interval_and_take_off_more_bias(rng):
    """Budget: 60 repetitions; taken as 800 independent rows, the bias d²/2N taken off is 10 times too small."""
    correlations = np.full(4, 0.5)
    truth, values, excess, covered = information_of(correlations), [], [], 0
    for _ in range(60):
        x, y, groups = repeated_rows(rng, correlations)
        found = gaussian_estimate(x, y, groups=groups)
        values.append(found.information)
        covered += found.interval[0] <= truth <= found.interval[1]
        excess.append(gaussian_estimate(x, y).information - found.information)
    error = np.std(values) / np.sqrt(60)
    assert abs(np.mean(values) - truth) < 3 * error
    assert np.mean(excess) > 0.06  # 0.9 · 16/160 = 0.09 and more
    assert covered >= 52


@pytest.mark.parametrize(("size", "rho"), [(1, 0.0), (4, 0.0), (4, 0.1)])
def test_groups_near_independence(rng, size, rho):
    """Budget: 80 repetitions, where the jackknife's own error is far too small: 60 to 88 % with it alone."""
    correlations, covered = np.full(size, rho), 0
    for _ in range(80):
        x, y, groups = repeated_rows(rng, correlations)
        low, high = gaussian_estimate(x, y, groups=groups).interval
        covered += low <= information_of(correlations) <= high
        assert high >= 0
    assert covered >= 73


def test_a_column_that_varies_in_one_group_alone(rng):
    x, y, groups = repeated_rows(rng, np.full(3, 0.5))
    x[10:, 1] = 0.1
    assert "a column of x is constant" in gaussian_estimate(x, y, groups=groups).failure
    assert "a column of y is constant" in gaussian_estimate(y, x, groups=groups).failure
    assert gaussian_estimate(x, y).failure == ""


def test_groups_of_the_copula(rng):
    x, y, groups = repeated_rows(rng, np.full(4, 0.5))
    found, plain = gaussian_copula_estimate(np.exp(x), y, groups=groups), gaussian_copula_estimate(np.exp(x), y)
    assert found.standard_error > 2 * plain.standard_error
    assert found.information < plain.information - 0.03
    assert found.interval[0] < information_of(np.full(4, 0.5)) < found.interval[1]


def test_normal_scores(rng):
    scores, ties = normal_scores(rng.exponential(size=(999, 2)), rng)
    assert ties == 0
    assert np.median(scores, axis=0).tolist() == [0.0, 0.0]
    assert np.var(scores, axis=0) == pytest.approx(1.0, abs=0.02)
    scores, ties = normal_scores([[1.0], [1.0], [2.0], [3.0]], rng)
    assert ties == 0.5
    assert scores[:2].max() < scores[2, 0] < scores[3, 0]
    with pytest.raises(NonFiniteError, match="samples holds NaN"):
        normal_scores([[np.nan], [1.0]], rng)


SHAPES = {
    "heavy": lambda rng, x: x * np.sqrt(3 / rng.chisquare(3, size=(x.shape[0], 1))),
    "light": lambda rng, x: np.tanh(2 * x),
    "two humps": lambda rng, x: x + 4 * np.sign(x[:, :1]),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_samples_that_are_not_gaussian_are_said(rng, shape):
    both = np.hstack(canonical_pairs(rng, 3000, np.array([0.7, 0.2])))
    assert gaussian_estimate(both[:, :2], both[:, 2:]).warnings == ()
    bent = SHAPES[shape](rng, both)
    assert any("Gaussian" in warning for warning in gaussian_estimate(bent[:, :2], bent[:, 2:]).warnings)


@pytest.mark.parametrize(
    "relation",
    [lambda x, e: x**2 + e, lambda x, e: np.sin(3 * x) + 0.3 * e, lambda x, e: x * e, lambda x, e: 0.2 * x**3 + e],
)
def test_relations_that_are_not_gaussian_are_said_by_the_copula(rng, relation):
    x, noise = rng.standard_normal((2, 3000))
    assert any("Gaussian" in warning for warning in gaussian_copula_estimate(x, relation(x, noise)).warnings)


def test_false_alarms_about_gaussian_samples_are_rare(rng):
    """300 draws of 100 rows, 5 + 5 columns."""
    alarms = sum(bool(gaussian_estimate(*canonical_pairs(rng, 100, np.full(5, 0.6))).warnings) for _ in range(300))
    assert alarms <= 2


@pytest.mark.parametrize(("count", "size"), [(30, 3), (400, 2), (200, 60)])
def test_mean_and_scatter_of_the_kurtosis(rng, count, size):
    """Budget: 400 draws against the exact mean and variance."""
    found = [
        mardia_kurtosis((rows,), correlation_matrix(rows[:, :1], rows[:, 1:]))
        for rows in rng.standard_normal((400, count, size))
    ]
    values = np.array([one.value for one in found])
    assert values.mean() == pytest.approx(found[0].expected, abs=4 * found[0].standard_error / 20)
    assert values.std() == pytest.approx(found[0].standard_error, rel=0.15)


def test_the_kurtosis_of_a_part_of_the_rows(rng, monkeypatch):
    rows = rng.standard_normal((4000, 6))
    joint = correlation_matrix(rows[:, :3], rows[:, 3:])
    whole = mardia_kurtosis((rows,), joint)
    monkeypatch.setattr("theorykit.information.estimators.gaussian._FLOPS", 4000 * 36 / 5)
    part = mardia_kurtosis((rows[:, :2], rows[:, 2:]), joint)
    assert part.standard_error > 2 * whole.standard_error
    assert abs(part.deviation()) < 3.5


def test_the_kurtosis_of_a_singular_covariance_is_none(rng):
    rows = rng.standard_normal((40, 2))
    rows = np.c_[rows, rows[:, 0]]
    assert mardia_kurtosis((rows,), np.corrcoef(rows.T) - 1e-12 * np.eye(3)) is None
    assert mardia_kurtosis((rows[:4],), np.eye(3)) is None


def test_the_misfit_of_gaussian_pairs_is_small(rng):
    """The largest of 96 standard scores."""
    left, right = canonical_pairs(rng, 4000, np.full(4, 0.7))
    assert linear_misfit(left, right, np.full(4, 0.7)) < 4.5
    assert linear_misfit(left, right * np.sqrt(1 + left[:, :1] ** 2), np.full(4, 0.7)) > 7
