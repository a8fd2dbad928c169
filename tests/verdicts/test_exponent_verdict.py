from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from theorykit.errors import InputError
from theorykit.verdicts import (
    Exponent,
    Instance,
    censored_points,
    exponent_verdict,
    plan_exponent,
    simulated_correlations,
)
from theorykit.verdicts.planning import slope_weights

SIZES = np.geomspace(1e4, 5e6, 6)
PLAN = plan_exponent(0.5, SIZES, n_seeds=8, sd_log=0.35, margin=0.1)
RANK_GRID = 2.0 ** np.arange(3, 9)


def optimum(rng, exponent, *, sd=0.35, seeds=8, scale=0.1, sizes=SIZES):
    return scale * sizes**exponent * np.exp(sd * rng.standard_normal((seeds, sizes.size)))


@pytest.mark.parametrize(
    ("exponent", "verdict", "instance"),
    [
        (0.5, Exponent.CONSISTENT, Instance.HOLDS),
        (0.25, Exponent.INCONSISTENT, Instance.VIOLATED),
        (0.8, Exponent.INCONSISTENT, Instance.VIOLATED),
        (0.6, Exponent.INDISTINGUISHABLE, Instance.INCONCLUSIVE),
    ],
)
def test_planted_exponents(rng, exponent, verdict, instance):
    found = exponent_verdict(PLAN, optimum(rng, exponent, sd=0.2), rng, grid=None)
    assert (found.exponent, found.instance) == (verdict, instance)
    assert found.evidence.slope == pytest.approx(exponent, abs=0.06)
    assert found.n_seeds == 8


def test_intervals_are_those_of_student_and_of_resampled_seeds(rng):
    values = optimum(rng, 0.5)
    evidence = exponent_verdict(PLAN, values, rng, grid=None, n_bootstrap=20_000).evidence
    slopes = np.array([np.polyfit(np.log(SIZES), np.log(row), 1)[0] for row in values])
    assert evidence.slope == pytest.approx(slopes.mean())
    assert evidence.t_interval == pytest.approx(stats.ttest_1samp(slopes, 0.0).confidence_interval(0.95))
    boot = stats.bootstrap((slopes,), np.mean, method="percentile", n_resamples=20_000, rng=rng).confidence_interval
    assert evidence.bootstrap_interval == pytest.approx((boot.low, boot.high), abs=3e-3)
    assert evidence.wider_interval == evidence.t_interval
    low, high = evidence.equivalence_interval
    assert (low, high) == pytest.approx(stats.ttest_1samp(slopes, 0.0).confidence_interval(0.90))


def test_every_rival_is_listed_with_its_distance(rng):
    evidence = exponent_verdict(PLAN, optimum(rng, 0.5, sd=0.1), rng, grid=None).evidence
    frame = evidence.to_frame()
    assert frame["name"].tolist() == ["claimed", "1/4", "1/3", "1/2"]
    np.testing.assert_allclose(frame["distance"], evidence.slope - frame["exponent"])
    assert frame["in_interval"].tolist() == [True, False, False, True]
    assert len(evidence.rivals[0].to_frame()) == 1


def test_a_rival_in_the_interval_makes_it_indistinguishable(rng):
    values = optimum(rng, 0.5, sd=0.1)
    plan = plan_exponent(0.5, SIZES, n_seeds=8, sd_log=0.35, margin=0.1, decay_exponent=1 / 0.99)
    assert exponent_verdict(PLAN, values, rng, grid=None).exponent is Exponent.CONSISTENT
    found = exponent_verdict(plan, values, rng, grid=None)
    assert found.exponent is Exponent.INDISTINGUISHABLE
    assert any("1/(2 α̂) = 0.495 lies in the interval too" in reason for reason in found.reasons)
    assert any("margin is too wide" in reason for reason in found.reasons)


def test_a_wide_interval_is_indistinguishable(rng):
    found = exponent_verdict(PLAN, optimum(rng, 0.4, sd=1.5), rng, grid=None)
    assert found.exponent is Exponent.INDISTINGUISHABLE
    assert any("reaches beyond" in reason for reason in found.reasons)


def test_the_ends_of_the_grid_and_the_limit_are_censored():
    values = np.array([[8.0, 16.0, 128.0, 256.0, 300.0]])
    assert censored_points(values, RANK_GRID).tolist() == [[True, False, False, True, True]]
    assert censored_points(values, None, 128).tolist() == [[False, False, True, True, True]]
    assert not censored_points(values).any()


def test_a_censored_size_goes_whole_and_is_counted(rng):
    values = optimum(rng, 0.5, sd=0.1)
    values[2, 5] = 768.0
    found = exponent_verdict(PLAN, values, rng, grid=np.arange(1, 769), limit=768)
    assert found.evidence.sizes == tuple(SIZES[:5])
    assert found.evidence.n_censored == 1
    assert any("1 points are censored; 1 of 6 sizes" in reason for reason in found.reasons)
    expected = exponent_verdict(
        plan_exponent(0.5, SIZES[:5], n_seeds=8, sd_log=0.1, margin=0.1), values[:, :5], rng, grid=np.arange(1, 769)
    ).evidence
    assert found.evidence.slope == expected.slope


def test_clipping_would_bend_the_slope_and_leaving_out_does_not():
    slopes, clipped = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        values = np.minimum(optimum(rng, 0.5, scale=0.35, sd=0.2), 500.0)
        slopes.append(exponent_verdict(PLAN, values, rng, grid=None, limit=500.0, n_bootstrap=10).evidence.slope)
        clipped.append((np.log(values) @ slope_weights(SIZES)).mean())
    assert np.mean(clipped) < 0.46
    assert np.mean(slopes) == pytest.approx(0.5, abs=4 * np.std(slopes) / np.sqrt(60))


def test_failed_runs_take_their_seed_along(rng):
    values = optimum(rng, 0.5, sd=0.1)
    values[3, 1] = np.nan
    values[:, 0] = np.inf
    found = exponent_verdict(PLAN, values, rng, grid=None)
    assert (found.n_seeds, found.evidence.n_failed, found.evidence.sizes) == (7, 9, tuple(SIZES[1:]))
    assert any("9 runs failed; 1 of 8 seeds" in reason for reason in found.reasons)
    assert any("8 seeds were planned, 7 are used" in reason for reason in found.reasons)


@pytest.mark.parametrize("values", [np.full((1, 6), 20.0), np.full((8, 6), 768.0), np.full((8, 6), np.nan)])
def test_too_little_is_inconclusive(rng, values):
    found = exponent_verdict(PLAN, values, rng, grid=np.arange(1, 769), limit=768)
    assert (found.instance, found.exponent) == (Instance.INCONCLUSIVE, Exponent.INDISTINGUISHABLE)
    assert found.evidence is None
    assert "are left" in found.reasons[0]


def rounded(values):
    steps = np.log(RANK_GRID)
    return RANK_GRID[np.abs(np.log(values)[..., None] - steps).argmin(axis=-1)]


def test_a_coarse_grid_widens_the_interval_unless_noise_hides_it(rng):
    noisy = exponent_verdict(PLAN, optimum(rng, 0.3, sd=0.35, scale=1.0), rng, grid=np.geomspace(1, 1e5, 60)).evidence
    assert noisy.rounding_bias < 1e-3
    quiet_values = rounded(20 * (SIZES / 1e4) ** 0.25 * np.ones((8, 1)))
    quiet = exponent_verdict(PLAN, quiet_values, rng, grid=RANK_GRID)
    assert quiet.evidence.sd == pytest.approx(0.0, abs=1e-12)
    weights = np.log(SIZES) - np.log(SIZES).mean()
    worst = np.abs(weights / (weights @ weights)).sum() * np.log(2) / 2
    assert quiet.evidence.rounding_bias == pytest.approx(worst)
    assert quiet.evidence.t_interval[0] <= 0.25 <= quiet.evidence.t_interval[1]


@pytest.mark.parametrize("sd", [0.02, 0.1, 0.2, 0.35])
def test_the_bound_on_the_rounding_bias_is_one(rng, sd):
    """For the worst of many offsets the mean slope after rounding is off by less than the bound."""
    sizes = np.geomspace(1e4, 5e6, 6)
    grid = 2.0 ** np.arange(0, 14)
    plan = plan_exponent(0.5, sizes, n_seeds=2, sd_log=0.35, margin=0.1, allow_low_power=True)
    steps = np.log(grid)
    for offset in np.linspace(0, 1, 7):
        logs = np.log(30) + offset * np.log(2) + 0.4 * np.log(sizes / sizes[0])
        draws = logs + sd * rng.standard_normal((400, 6))
        values = grid[np.abs(draws[..., None] - steps).argmin(axis=-1)]
        evidence = exponent_verdict(plan, values, rng, grid=grid, n_bootstrap=1).evidence
        assert abs(evidence.slope - 0.4) <= evidence.rounding_bias + 4 * evidence.sd / np.sqrt(400)


def test_a_grid_too_coarse_for_the_margin_is_named(rng):
    values = rounded(20 * (SIZES / 1e4) ** 0.3 * np.exp(0.02 * rng.standard_normal((8, 6))))
    plan = plan_exponent(0.3, SIZES, n_seeds=8, sd_log=0.1, margin=0.1, further_rivals={"none": 0.0})
    found = exponent_verdict(plan, values, rng, grid=RANK_GRID)
    assert found.exponent is Exponent.INDISTINGUISHABLE
    bias = found.evidence.rounding_bias
    assert plan.margin < bias <= np.log(2) / 2 * np.abs(slope_weights(SIZES)).sum()
    told = f"may bend the slope by {bias:.3f}. Steps of at most a factor 1.13 "
    assert any(told in reason for reason in found.reasons)
    steps = np.exp(PLAN.margin / (2 * np.abs(slope_weights(SIZES)).sum())) ** np.arange(60)
    fine = steps[np.abs(np.log(values)[..., None] - np.log(steps)).argmin(axis=-1)]
    assert exponent_verdict(plan, fine, rng, grid=steps).evidence.rounding_bias <= 0.025 + 1e-9


def test_a_grid_pays_for_its_noise_with_a_tenth_of_alpha(rng):
    values, steps = optimum(rng, 0.5), np.geomspace(1, 1e5, 100_001)
    on_grid = steps[np.abs(np.log(values)[..., None] - np.log(steps)).argmin(axis=-1)]
    evidence = exponent_verdict(PLAN, on_grid, rng, grid=steps).evidence
    slopes = np.log(on_grid) @ slope_weights(SIZES)
    expected = stats.ttest_1samp(slopes, 0.0).confidence_interval(0.91)
    assert evidence.equivalence_interval == pytest.approx((expected.low, expected.high), abs=1e-4)


class TestCorrelationIsNoEvidence:
    """The published evidence for slope 1/2 is a correlation of 0.97 between logarithms."""

    def share(self, exponent, **options):
        rng = np.random.default_rng(0)
        return (simulated_correlations(SIZES, exponent, 0.35, rng, **options) >= 0.97).mean()

    def test_a_quarter_gives_it_in_most_draws(self):
        assert self.share(0.25, n_seeds=8) > 0.8
        scale = 24 / 1e4**0.25
        assert self.share(0.25, n_seeds=8, scale=scale, grid=RANK_GRID) > 0.65

    def test_a_half_that_saturates_gives_it_less_often(self):
        scale = 48 / 1e4**0.5
        assert self.share(0.5, n_seeds=8, scale=scale, grid=RANK_GRID) < 0.05

    def test_without_noise_every_exponent_has_correlation_one(self, rng):
        for exponent in (0.05, 0.25, 0.5, 1.0):
            found = simulated_correlations(SIZES, exponent, 0.0, rng, n_draws=3)
            np.testing.assert_allclose(found, 1.0, rtol=1e-12)

    def test_it_is_the_correlation(self, rng):
        found = simulated_correlations(SIZES, 0.25, 0.35, np.random.default_rng(5), n_draws=1)
        noise = 0.35 * np.random.default_rng(5).standard_normal((1, 1, 6))[0, 0]
        assert found[0] == pytest.approx(np.corrcoef(np.log(SIZES), 0.25 * np.log(SIZES) + noise)[0, 1])
        assert simulated_correlations(SIZES, 0.0, 0.0, rng, n_draws=1)[0] == 0.0

    def test_the_verdict_sees_what_the_correlation_does_not(self, rng):
        values = optimum(rng, 0.25, scale=2.4)
        means = np.log(values).mean(axis=0)
        assert np.corrcoef(np.log(SIZES), means)[0, 1] > 0.95
        assert exponent_verdict(PLAN, values, rng, grid=None).exponent is Exponent.INCONSISTENT


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (np.ones((8, 5)), {}, "optimum has 5 columns for 6 sizes"),
        (np.zeros((8, 6)), {}, "not above 0"),
        (np.ones((8, 6)), {"grid": [1.0, 2.0]}, "grid has fewer than 3 values"),
        (np.ones((8, 6)), {"grid": [0.0, 1.0, 2.0]}, r"grid = 0 lies outside \(0, inf\)"),
        (np.ones((8, 6)), {"limit": 0}, "limit = 0 has to be finite and above 0"),
        (np.ones((8, 6)), {"n_bootstrap": 0}, "n_bootstrap = 0"),
    ],
)
def test_bad_input(rng, values, options, message):
    with pytest.raises(InputError, match=message):
        exponent_verdict(PLAN, values, rng, **{"grid": None} | options)


def test_a_generator_is_asked_for():
    with pytest.raises(InputError, match=r"generator = 0 is not a numpy\.random\.Generator"):
        exponent_verdict(PLAN, np.ones((8, 6)), 0, grid=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"sd_log": -1.0}, "sd_log = -1.0"), ({"n_draws": 0}, "n_draws = 0"), ({"exponent": np.nan}, "exponent = nan")],
)
def test_bad_simulations(rng, options, message):
    arguments = {"sizes": SIZES, "exponent": 0.5, "sd_log": 0.1, "generator": rng} | options
    with pytest.raises(InputError, match=message):
        simulated_correlations(**arguments)


def test_the_grid_has_to_be_said(rng):
    with pytest.raises(TypeError, match="grid"):
        exponent_verdict(PLAN, optimum(rng, 0.5), rng)  # type: ignore[call-arg]


def test_a_grid_that_is_not_given_shows_by_its_ties(rng):
    """Without the grid r* at its upper end would bend the slope unseen."""
    values = rounded(optimum(rng, 0.5, scale=0.35, sd=0.2))
    assert (values == RANK_GRID[-1]).sum() > 5
    with pytest.raises(InputError, match=r"optimum holds \d+ times 256: it was searched on a grid") as caught:
        exponent_verdict(PLAN, values, rng, grid=None)
    assert "give the grid" in caught.value.hint
    judged = exponent_verdict(PLAN, values, rng, grid=RANK_GRID)
    assert any("points are censored" in reason for reason in judged.reasons)
    at_the_limit = np.minimum(optimum(rng, 0.5, scale=0.35, sd=0.2), 500.0)
    assert exponent_verdict(PLAN, at_the_limit, rng, grid=None, limit=500.0).evidence.n_censored > 1


def test_a_grid_of_equal_values_is_none():
    with pytest.raises(InputError, match="grid has fewer than 3 values"):
        censored_points(np.ones(2), [1.0, 1.0, 1.0, 2.0])


def test_skewed_slopes_are_told(rng):
    tail = rng.standard_exponential((40, 1)) ** 2
    skewed = SIZES ** (0.5 + 0.02 * tail) * np.exp(0.01 * rng.standard_normal((40, 6)))
    found = exponent_verdict(PLAN, skewed, rng, grid=None)
    assert found.evidence.skewness_z > 2
    assert any("slopes are skewed" in reason for reason in found.reasons)
    normal = exponent_verdict(PLAN, optimum(rng, 0.5, seeds=40), rng, grid=None)
    assert not any("slopes are skewed" in reason for reason in normal.reasons)
