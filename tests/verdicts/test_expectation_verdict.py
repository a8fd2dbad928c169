from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from theorykit.errors import InputError, NonFiniteError
from theorykit.verdicts import Instance, Value, expectation_verdict, power_expectation
from theorykit.verdicts.intervals import mean_limits
from theorykit.verdicts.samples import SKEWED, holm, skewness_z

SEEDS = [1.0, 1.4, 0.8, 1.1, 0.9, 1.2]
student = partial(expectation_verdict, law="symmetric")


def rows(verdict):
    return verdict.evidence.rows


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_holm_agrees_with_statsmodels(rng, count):
    values = rng.choice(np.r_[0.0, rng.uniform(0, 0.2, 8)], count)
    np.testing.assert_allclose(holm(values), multipletests(values, method="holm")[1], rtol=1e-12)


@pytest.mark.parametrize("bound", [0.5, 1.0, 1.3])
def test_p_values_and_limits_are_those_of_the_one_sided_t_test(bound):
    row = rows(student(SEEDS, bound))[0]
    test = stats.ttest_1samp(SEEDS, bound, alternative="greater")
    assert row.p_value == pytest.approx(test.pvalue, rel=1e-10)
    assert row.interval[0] == pytest.approx(test.confidence_interval(0.95).low)
    below = stats.ttest_1samp(SEEDS, bound, alternative="less")
    assert row.interval[1] == pytest.approx(below.confidence_interval(0.95).high)


@pytest.mark.parametrize(
    ("shift", "instance"),
    [(-0.01, Instance.INCONCLUSIVE), (0.01, Instance.HOLDS)],
)
def test_holds_begins_at_the_upper_limit(shift, instance):
    upper = mean_limits(np.array([SEEDS]), 0.05).upper[0]
    assert student(SEEDS, upper + shift).instance is instance


@pytest.mark.parametrize(("shift", "instance"), [(-0.01, Instance.VIOLATED), (0.01, Instance.INCONCLUSIVE)])
def test_violated_begins_at_the_lower_limit(shift, instance):
    lower = mean_limits(np.array([SEEDS]), 0.05).lower[0]
    assert student(SEEDS, lower + shift).instance is instance


def test_holm_counts_the_configurations_and_holds_does_not():
    lower, upper = (float(x[0]) for x in (lambda m: (m.lower, m.upper))(mean_limits(np.array([SEEDS]), 0.05)))
    easy = [[value - 5 for value in SEEDS]] * 9
    many = [SEEDS, *easy]
    assert student(SEEDS, lower - 0.01).instance is Instance.VIOLATED
    assert student(many, lower - 0.01).instance is Instance.INCONCLUSIVE
    assert student(many, 0.5).instance is Instance.VIOLATED
    assert student(many, upper + 0.01).instance is Instance.HOLDS
    assert [row.instance for row in rows(student(many, 0.5))] == [Instance.VIOLATED] + [Instance.HOLDS] * 9


def test_one_seed_is_inconclusive():
    for bound in (0.0, 2.0):
        verdict = expectation_verdict([1.0], bound)
        assert verdict.instance is Instance.INCONCLUSIVE
        assert "at least 5" in verdict.reasons[0]


@pytest.mark.parametrize(("value", "instance"), [(0.99, "HOLDS"), (1.0, "HOLDS"), (1.01, "VIOLATED")])
def test_a_deterministic_quantity_is_compared_directly(value, instance):
    verdict = expectation_verdict([value] * 3, 1.0, deterministic=True)
    assert verdict.instance == instance
    assert any("deterministic" in reason for reason in verdict.reasons)
    assert rows(verdict)[0].deterministic
    assert verdict.tightness == pytest.approx(1 / value)


@pytest.mark.parametrize("bound", [0.0, 0.4, 1.0])
def test_equal_values_of_something_random_decide_nothing(bound):
    verdict = expectation_verdict([0.5] * 5, bound)
    assert verdict.instance is Instance.INCONCLUSIVE
    assert any("All seeds agree" in reason for reason in verdict.reasons)


def test_rare_errors_that_no_seed_shows_are_no_proof():
    generator = np.random.default_rng(0)
    draws = (generator.random((2000, 1, 10)) < 0.1).astype(float)
    holds = [expectation_verdict(draw, 0.05).instance is Instance.HOLDS for draw in draws if not draw.any()]
    assert holds
    assert not any(holds)


def test_rounding_is_no_variance_and_no_violation():
    value = 0.1 + 0.2
    values = [value, np.nextafter(value, 1), value]
    assert expectation_verdict(values, 0.3, deterministic=True).instance is Instance.HOLDS


def test_a_lower_bound_is_the_mirrored_upper_one(rng):
    sample = rng.normal(2.0, 1.0, (5, 6))
    bounds = rng.normal(2.0, 1.0, 5)
    above = student(sample, bounds, bound_interval=(bounds - 0.1, bounds + 0.2), kind="lower")
    below = student(-sample, -bounds, bound_interval=(-bounds - 0.2, -bounds + 0.1))
    for one, other in zip(rows(above), rows(below), strict=True):
        assert (one.instance, one.p_holm) == (other.instance, pytest.approx(other.p_holm))
        assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]))
    assert student(SEEDS, 0.5, kind="lower").instance is Instance.HOLDS
    assert student(SEEDS, 1.5, kind="lower").instance is Instance.VIOLATED


def test_an_estimated_bound_pushes_the_other_way():
    assert expectation_verdict(SEEDS, 0.5).instance is Instance.VIOLATED
    assert expectation_verdict(SEEDS, 0.5, bound_interval=(0.4, 1.2)).instance is Instance.INCONCLUSIVE
    assert expectation_verdict(SEEDS, 0.5, bound_interval=(0.4, np.inf)).instance is Instance.INCONCLUSIVE
    assert expectation_verdict(SEEDS, 2.0).instance is Instance.HOLDS
    assert expectation_verdict(SEEDS, 2.0, bound_interval=(1.0, 2.1)).instance is Instance.INCONCLUSIVE
    assert expectation_verdict(SEEDS, 2.0, bound_interval=(-np.inf, 2.1)).instance is Instance.INCONCLUSIVE
    held = expectation_verdict(SEEDS, 2.0, bound_interval=(1.9, np.inf))
    assert held.instance is Instance.HOLDS
    assert any("estimated" in reason for reason in held.reasons)


@pytest.mark.parametrize("lost", [np.nan, np.inf, -np.inf])
def test_a_failed_run_is_never_dropped(lost):
    sample = [*SEEDS, lost]
    for bound in (0.2, 5.0):
        verdict = student(sample, bound)
        assert verdict.instance is Instance.INCONCLUSIVE
        assert any("1 of 7 runs failed" in reason for reason in verdict.reasons)
        assert rows(verdict)[0].mean == pytest.approx(np.mean(SEEDS))
    # the end of the support that speaks against the verdict takes its place
    assert student(sample, 0.2, support=(0, np.inf)).instance is Instance.VIOLATED
    assert student(sample, 5.0, support=(0, np.inf)).instance is Instance.INCONCLUSIVE
    assert student(sample, 5.0, support=(0, 6.0)).instance is Instance.HOLDS
    assert student(sample, 1.5, support=(0, 6.0)).instance is Instance.INCONCLUSIVE
    assert student(sample, 0.2, kind="lower", support=(0, 6.0)).instance is Instance.HOLDS
    assert student(sample, 5.0, kind="lower", support=(0, 6.0)).instance is Instance.VIOLATED


def test_all_runs_failed():
    verdict = expectation_verdict([[np.nan] * 3, [1.0, 1.1, 0.9]], 2.0)
    assert verdict.instance is Instance.INCONCLUSIVE
    assert np.isnan(rows(verdict)[0].mean)
    assert not rows(verdict)[0].deterministic
    assert verdict.tightness == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({"trivial": 3.0}, Value.INFORMATIVE),
        ({"trivial": 2.0}, Value.VACUOUS),
        ({"trivial": 1.0}, Value.VACUOUS),
        ({"trivial": 3.0, "rival": 1.5}, Value.DOMINATED),
        ({"trivial": 3.0, "rival": 2.5}, Value.INFORMATIVE),
        ({"trivial": 1.9, "rival": 1.5}, Value.VACUOUS),
        ({"rival": 1.5}, Value.DOMINATED),
        ({"rival": 2.5}, None),
        ({}, None),
        ({"trivial": 2.1, "bound_interval": (1.8, 2.2)}, None),
        ({"trivial": 3.0, "rival": 2.1, "bound_interval": (1.8, 2.2)}, None),
    ],
)
def test_the_value_of_a_bound(options, value):
    assert expectation_verdict(SEEDS, 2.0, **options).value is value


def test_the_value_of_a_lower_bound():
    assert expectation_verdict(SEEDS, 0.5, kind="lower", trivial=0.0).value is Value.INFORMATIVE
    assert expectation_verdict(SEEDS, -0.5, kind="lower", trivial=0.0).value is Value.VACUOUS
    assert expectation_verdict(SEEDS, 0.5, kind="lower", trivial=0.0, rival=0.6).value is Value.DOMINATED


def test_mixed_values_are_told():
    verdict = expectation_verdict([SEEDS] * 3, [2.0, 3.0, 4.0], trivial=2.5)
    assert verdict.value is Value.INFORMATIVE
    assert "Value by configuration: 1 informative, 2 vacuous." in verdict.reasons


def test_a_broken_trivial_bound_points_at_the_measurement():
    verdict = student(SEEDS, 0.5, trivial=0.6)
    assert any("check the measurement" in reason for reason in verdict.reasons)
    assert not any("check" in reason for reason in student(SEEDS, 0.5, trivial=1.6).reasons)
    lower = student(SEEDS, 2.0, kind="lower", trivial=1.9)
    assert any("check the measurement" in reason for reason in lower.reasons)


def test_tightness_is_that_of_the_nearest_configuration():
    verdict = expectation_verdict([SEEDS] * 2, [2.0, 1.5], bound_interval=([1.8, 1.4], [2.2, 1.6]))
    row = rows(verdict)[1]
    mean = np.mean(SEEDS)
    assert verdict.tightness == pytest.approx(1.5 / mean)
    assert verdict.tightness_interval == pytest.approx((1.4 / row.interval[1], 1.6 / row.interval[0]))
    assert expectation_verdict([SEEDS] * 2, [0.2, 0.5], kind="lower").tightness == pytest.approx(0.5 / mean)
    assert expectation_verdict([0.1, -0.1, 0.03], 1.0).tightness_interval[1] == np.inf
    assert expectation_verdict([-1.0, -1.1], 1.0).tightness is None


def test_skewed_seeds_are_told_where_symmetric_ones_were_said(rng):
    heavy = np.exp(rng.normal(size=(6, 12)) * 1.2)
    assert any("skewed" in reason for reason in student(heavy, 50.0).reasons)
    assert any("skewed" in reason for reason in student(-heavy, -20.0).reasons)
    assert not any("skewed" in reason for reason in expectation_verdict(heavy, 50.0).reasons)
    assert not any("skewed" in reason for reason in student(rng.normal(size=(6, 12)), 50.0).reasons)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((np.zeros((2, 2, 2)), 1.0), {}, InputError, r"measured has shape \(2, 2, 2\)"),
        (([], 1.0), {}, InputError, "measured is empty"),
        ((["a"], 1.0), {}, InputError, "measured is not made of real numbers"),
        ((SEEDS, np.nan), {}, NonFiniteError, "bound = nan lies outside"),
        ((SEEDS, np.inf), {}, NonFiniteError, "bound = inf lies outside"),
        ((SEEDS, [1.0, 2.0]), {}, InputError, r"bound has shape \(2,\), not \(1,\)"),
        ((SEEDS, 1.0), {"alpha": 0.0}, InputError, r"alpha = 0 lies outside \(0, 0.5\)"),
        ((SEEDS, 1.0), {"alpha": 0.5}, InputError, r"alpha = 0.5 lies outside \(0, 0.5\)"),
        ((SEEDS, 1.0), {"alpha": "a"}, InputError, "alpha is not made of real numbers: 'a'"),
        ((SEEDS, 1.0), {"law": "normal"}, InputError, "law = 'normal' is unknown"),
        ((SEEDS, 1.0), {"kind": "both"}, InputError, "kind = 'both' is unknown"),
        ((SEEDS, 1.0), {"bound_interval": (0.0, 0.5)}, InputError, "bound lies outside bound_interval"),
        ((SEEDS, 1.0), {"bound_interval": (2.0, 0.5)}, InputError, "low end above its high end"),
        ((SEEDS, 1.0), {"bound_interval": 2.0}, InputError, "bound_interval = 2.0 is not a pair"),
        ((SEEDS, 1.0), {"support": (1.0, 0.0)}, InputError, "support has its low end above"),
        ((SEEDS, 1.0), {"trivial": np.nan}, NonFiniteError, "trivial = nan lies outside"),
        ((SEEDS, 1.0), {"names": ["a", "b"]}, InputError, "2 names for 1 configurations"),
    ],
)
def test_bad_input(arguments, options, error, message):
    with pytest.raises(error, match=message):
        expectation_verdict(*arguments, **options)


def test_power_against_simulation_and_shape(rng):
    power = power_expectation(np.array([[0.5], [1.0]]), 1.0, [5, 10, 20], symmetric=True)
    assert power.shape == (2, 3)
    sample = rng.normal(1.0, 1.0, (20_000, 10))
    t = sample.mean(axis=1) / sample.std(axis=1, ddof=1) * np.sqrt(10)
    share = (stats.t.sf(t, 9) <= 0.05).mean()
    assert power[1, 1] == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 20_000))
    assert (np.diff(power, axis=1) > 0).all()
    assert (np.diff(power, axis=0) > 0).all()
    assert power_expectation(1.0, 1.0, 10, 0.05, 4) == pytest.approx(power_expectation(1.0, 1.0, 10, 0.0125))
    assert power_expectation(1e6, 1.0, 10) == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1.0, 1.0, 5), r"effect = -1 lies outside \[0, inf\)"),
        ((1.0, 0.0, 5), r"sd = 0 lies outside \(0, inf\)"),
        ((1.0, 1.0, 1), r"n_seeds = 1 lies outside \[2, inf\)"),
        ((1.0, 1.0, 2.5), "n_seeds = 2.5 is not a whole number"),
        ((1.0, 1.0, [5, np.nan]), "n_seeds = nan lies outside"),
        ((1.0, 1.0, 5, 1.0), r"alpha = 1 lies outside \(0, 1\)"),
        ((1.0, 1.0, 5, 0.05, 0), r"n_configurations = 0 lies outside \[1, inf\)"),
        ((np.nan, 1.0, 5), "effect = nan lies outside"),
    ],
)
def test_power_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        power_expectation(*arguments)


def test_measurements_whose_squares_leave_float64_are_refused():
    with pytest.raises(InputError, match=r"measured = 1e\+200 lies outside \[-1e\+150, 1e\+150\]"):
        expectation_verdict([1e200, 1.0], 1.0)
    assert expectation_verdict([1e149, 2e149, 1.5e149, 1.2e149, 1.8e149], 1e308).instance is Instance.HOLDS


def test_skewed_limits_are_those_that_simulation_asks_for(rng):
    """P(mean + c s/√n < E) of lognormal and exponential seeds, of which none was used for c."""
    for n_seeds in (5, 8, 20, 60):
        for draws, mean in (
            (rng.lognormal(size=(20_000, n_seeds)), np.exp(0.5)),
            (rng.standard_exponential((20_000, n_seeds)), 1.0),
        ):
            for alpha in (0.1, 0.05, 0.01):
                missed = (mean_limits(draws, alpha, skewed=True).upper < mean).mean()
                assert missed <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / 20_000)
        assert (mean_limits(draws, 0.05).upper < mean).mean() > 0.07


def test_the_p_value_of_skewed_seeds_is_where_their_limit_meets_the_bound(rng):
    draws = rng.lognormal(size=(6, 9))
    for alpha in (0.2, 0.03, 1e-6):
        limits = mean_limits(draws, alpha, skewed=True)
        np.testing.assert_allclose(limits.p_above(limits.lower), alpha, rtol=1e-6)
    far = mean_limits(draws, 0.05, skewed=True).p_above(np.full(6, -1e300))
    assert (far < 1e-12).all()
    assert (mean_limits(draws, 0.05, skewed=True).p_above(np.full(6, 1e300)) > 0.5).all()


def test_a_right_tail_is_allowed_for_on_the_right_alone(rng):
    draws = rng.lognormal(size=(3, 9))
    students, skewed, one = (
        np.array([row.interval for row in rows(expectation_verdict(draws, 9.0, law=law))])
        for law in ("symmetric", "skewed", "right-tailed")
    )
    np.testing.assert_allclose(one, np.stack([students[:, 0], skewed[:, 1]], axis=1))
    below = expectation_verdict(draws, 0.1, law="right-tailed", kind="lower")
    assert np.array([row.interval for row in rows(below)]) == pytest.approx(one)


@pytest.mark.parametrize("law", ["skewed", "right-tailed", "symmetric"])
def test_four_seeds_of_something_random_decide_nothing(law):
    for bound in (0.0, 5.0):
        verdict = expectation_verdict([1.0, 1.01, 0.99, 1.005], bound, law=law)
        assert verdict.instance is Instance.INCONCLUSIVE
        assert verdict.reasons[0] == "4 seeds decide nothing on what varies over them: at least 5 are needed."
        assert np.isfinite(rows(verdict)[0].interval).all()
    mixed = expectation_verdict([[1.0] * 4, [1.0, 1.01, 0.99, 1.005]], 5.0, law=law, deterministic=True)
    assert [row.instance for row in rows(mixed)] == [Instance.HOLDS, Instance.INCONCLUSIVE]
    assert power_expectation(9.0, 1.0, 4) == 0.0


class TestBounded:
    """Bets on a support: exact for any law, and able to say what 200 trials without an error say."""

    def judge(self, values, bound, **options):
        return expectation_verdict(values, bound, **{"law": "bounded", "support": (0.0, 1.0)} | options)

    @pytest.mark.parametrize("bound", [0.02, 0.3, 0.9])
    def test_it_errs_at_most_alpha_on_rare_events(self, rng, bound):
        draws = (rng.random((300, 40)) < bound).astype(float)
        judged = rows(self.judge(draws, bound))
        for wrong in ([row.p_value <= 0.05 for row in judged], [row.interval[1] < bound for row in judged]):
            assert np.mean(wrong) <= 0.05 + 3 * np.sqrt(0.0475 / 300)

    def test_rare_errors_that_no_seed_shows_are_proof_when_there_are_enough(self):
        assert self.judge(np.zeros(200), 0.05).instance is Instance.HOLDS
        assert self.judge(np.zeros(40), 0.05).instance is Instance.INCONCLUSIVE
        assert self.judge(np.ones(40), 0.5).instance is Instance.VIOLATED
        assert self.judge(np.ones(40), 0.5, kind="lower").instance is Instance.HOLDS

    def test_limits_and_p_values_agree(self, rng):
        values = rng.random((3, 30))
        verdict = self.judge(values, 0.9)
        lower, upper = np.array([row.interval for row in rows(verdict)]).T
        assert ((lower > 0) & (lower < values.mean(axis=1)) & (values.mean(axis=1) < upper) & (upper < 1)).all()
        for end, kind in ((lower, "upper"), (upper, "lower")):
            judged = self.judge(values, end, kind=kind)
            assert [row.p_value for row in rows(judged)] == pytest.approx([0.05] * 3, rel=1e-6)

    def test_one_end_gives_one_limit(self, rng):
        values = 5 * rng.random(60)
        verdict = self.judge(values, 100.0, support=(0.0, np.inf))
        assert verdict.instance is Instance.INCONCLUSIVE
        assert rows(verdict)[0].interval[1] == np.inf
        assert self.judge(values, 1.0, support=(0.0, np.inf)).instance is Instance.VIOLATED
        assert self.judge([*values, np.nan], 1.0, support=(0.0, np.inf)).instance is Instance.VIOLATED

    def test_what_the_support_rules_out(self):
        assert self.judge([0.5] * 5, -0.1).instance is Instance.VIOLATED
        assert self.judge([0.5] * 5, 1.0).instance is Instance.HOLDS
        with pytest.raises(InputError, match="measured lies outside its support"):
            self.judge([0.5, 1.5], 1.0)


def test_normal_seeds_are_seldom_called_skewed(rng):
    assert np.mean([skewness_z(seeds[None, :]) > SKEWED for seeds in rng.normal(size=(800, 8))]) < 0.045


def test_power_far_out_follows_its_limit():
    """P(χ²/df < (shift/t)²), where scipy's noncentral t goes wrong or gives NaN."""
    assert power_expectation(1e308, 1.0, 5) == power_expectation(1.0, 5e-324, 5) == 1.0
    below, above = (float(power_expectation(effect, 1.0, 2, 1e-5)) for effect in (0.9999e4 / 2**0.5, 1.0001e4 / 2**0.5))
    assert below == pytest.approx(above, rel=3e-4)
    with pytest.raises(InputError, match=r"sd of shape \(2,\) and n_seeds of shape \(3,\) do not broadcast"):
        power_expectation(1.0, [1.0, 2.0], [3, 4, 5])


def test_without_a_competitor_nothing_is_said_of_the_value():
    alone = expectation_verdict([1.0, 1.1, 0.9], 2.0)
    assert alone.value is None
    assert not any("value of the bound" in reason for reason in alone.reasons)
    straddled = expectation_verdict([1.0, 1.1, 0.9], 2.0, bound_interval=(1.5, 2.5), trivial=2.0)
    assert any("value of the bound is not judged" in reason for reason in straddled.reasons)
