from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from theorykit.errors import InputError, NonFiniteError
from theorykit.verdicts import Instance, Value, minimal_trials, probability_verdict, violation_interval


def trials(n_violations: int, n_trials: int) -> np.ndarray:
    return np.r_[np.full(n_violations, 2.0), np.full(n_trials - n_violations, 0.5)]


def test_the_known_minimal_numbers():
    assert minimal_trials([0.1, 0.05, 0.01]).tolist() == [29, 59, 299]


@given(st.floats(0.01, 0.6), st.floats(0.01, 0.3), st.integers(0, 8))
def test_minimal_trials_are_minimal(delta, alpha, count):
    needed = int(minimal_trials(delta, alpha, count))
    assert stats.binom.cdf(count, needed, delta) <= alpha * (1 + 1e-9)
    assert needed == count + 1 or stats.binom.cdf(count, needed - 1, delta) > alpha * (1 - 1e-9)


@given(st.integers(0, 40), st.integers(1, 40), st.sampled_from([0.01, 0.05, 0.2]))
def test_limits_are_those_of_the_exact_test(count, total, alpha):
    count = min(count, total)
    low, high = violation_interval(count, total, alpha)
    test = stats.binomtest(count, total)
    exact = test.proportion_ci(1 - 2 * alpha, method="exact")
    assert (low, high) == pytest.approx((exact.low, exact.high), abs=1e-9)


@pytest.mark.parametrize(("delta", "needed"), [(0.1, 29), (0.05, 59), (0.01, 299)])
def test_no_violation_holds_from_the_minimal_number_on(delta, needed):
    assert probability_verdict(np.zeros(needed), 1.0, delta).instance is Instance.HOLDS
    early = probability_verdict(np.zeros(needed - 1), 1.0, delta)
    assert early.instance is Instance.INCONCLUSIVE
    assert any(f"{needed} trials would be needed" in reason for reason in early.reasons)


@pytest.mark.parametrize("count", range(0, 12))
def test_both_decisions_are_exact_binomial_tests(count):
    verdict = probability_verdict(trials(count, 60), 1.0, 0.1)
    violated = stats.binomtest(count, 60, 0.1, alternative="greater").pvalue <= 0.05
    holds = stats.binomtest(count, 60, 0.1, alternative="less").pvalue <= 0.05
    expected = Instance.VIOLATED if violated else Instance.HOLDS if holds else Instance.INCONCLUSIVE
    assert verdict.instance is expected
    assert verdict.evidence.rows[0].n_violations == count


def test_equality_is_no_violation():
    verdict = probability_verdict(np.full(29, 0.1 + 0.2), 0.3, 0.1)
    assert verdict.instance is Instance.HOLDS
    assert verdict.tightness == pytest.approx(1.0)


def test_a_lower_bound():
    assert probability_verdict(np.full(29, 2.0), 1.0, 0.1, kind="lower").instance is Instance.HOLDS
    assert probability_verdict(np.full(29, 0.5), 1.0, 0.1, kind="lower").instance is Instance.VIOLATED


def test_holm_over_configurations():
    count = next(k for k in range(61) if stats.binom.sf(k - 1, 60, 0.1) <= 0.05)
    assert probability_verdict(trials(count, 60), 1.0, 0.1).instance is Instance.VIOLATED
    many = np.stack([trials(count, 60)] + [trials(0, 60)] * 20)
    assert probability_verdict(many, 1.0, 0.1).instance is Instance.INCONCLUSIVE


def test_bounds_per_configuration_and_per_trial():
    sample = np.full((2, 29), 1.5)
    verdict = probability_verdict(sample, [1.0, 2.0], 0.1)
    assert [row.n_violations for row in verdict.evidence.rows] == [29, 0]
    per_trial = np.full((2, 29), 2.0)
    per_trial[0, :3] = 1.0
    assert [row.n_violations for row in probability_verdict(sample, per_trial, 0.1).evidence.rows] == [3, 0]
    assert probability_verdict(sample[0], per_trial[0], 0.1).evidence.rows[0].n_violations == 3


def test_failed_trials_speak_against_both_verdicts():
    sample = np.zeros(60)
    sample[:2] = [np.nan, np.inf]
    verdict = probability_verdict(sample, 1.0, 0.05)
    assert verdict.instance is Instance.INCONCLUSIVE
    assert any("2 trials failed" in reason for reason in verdict.reasons)
    assert probability_verdict(np.full(10, np.nan), 1.0, 0.05).instance is Instance.INCONCLUSIVE
    assert probability_verdict(np.zeros(60), 1.0, 0.05).instance is Instance.HOLDS


def test_an_estimated_bound_pushes_the_other_way():
    sample = np.full(29, 1.5)
    assert probability_verdict(sample, 1.0, 0.1, bound_interval=(0.5, 2.0)).instance is Instance.INCONCLUSIVE
    assert probability_verdict(sample, 1.8, 0.1, bound_interval=(1.0, 2.0)).instance is Instance.INCONCLUSIVE
    held = probability_verdict(sample, 1.8, 0.1, bound_interval=(1.6, 2.0))
    assert held.instance is Instance.HOLDS
    assert any("estimated" in reason for reason in held.reasons)


def test_value_and_tightness(rng):
    sample = rng.uniform(0.5, 1.0, 400)
    verdict = probability_verdict(sample, 1.0, 0.1, trivial=2.0)
    assert verdict.value is Value.INFORMATIVE
    assert verdict.tightness == pytest.approx(np.quantile(1 / sample, 0.1), rel=0.01)
    low, high = verdict.tightness_interval
    assert low <= 1 / 0.95 <= high  # the 0.9 quantile of the uniform law is 0.95
    assert probability_verdict(sample, 1.0, 0.1, trivial=0.9).value is Value.VACUOUS
    assert probability_verdict(sample, 1.0, 0.1, trivial=2.0, rival=0.9).value is Value.DOMINATED
    assert probability_verdict(-sample, 1.0, 0.1).tightness is None
    assert probability_verdict(sample, -1.0, 0.1).tightness is None
    few = probability_verdict(sample[:5], 1.0, 0.1)
    assert few.tightness_interval[0] == 0.0
    assert probability_verdict(sample, 0.4, 0.1, kind="lower").tightness == pytest.approx(0.4 / 0.55, rel=0.03)


@pytest.mark.parametrize("n_trials", [20, 59, 400])
@pytest.mark.parametrize("kind", ["upper", "lower"])
def test_the_interval_of_the_tightness_is_that_of_the_quantile_test(rng, n_trials, kind):
    sample = rng.uniform(0.5, 1.0, n_trials)
    level = 0.1 if kind == "upper" else 0.9
    exact = stats.quantile_test(1 / sample, p=level).confidence_interval(0.95)
    found = probability_verdict(sample, 1.0, 0.1, kind=kind).tightness_interval
    assert found[0] == (exact.low if np.isfinite(exact.low) else 0.0)
    assert found[1] == (exact.high if np.isfinite(exact.high) else np.inf)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (([1.0], 1.0, 0.0), {}, InputError, r"delta = 0 lies outside \(0, 1\)"),
        (([1.0], 1.0, 1.0), {}, InputError, r"delta = 1 lies outside \(0, 1\)"),
        (([1.0], 1.0, 0.1), {"alpha": 0.7}, InputError, r"alpha = 0.7 lies outside \(0, 0.5\)"),
        (([1.0], np.nan, 0.1), {}, NonFiniteError, "bound = nan lies outside"),
        (([1.0], [1.0, 2.0], 0.1), {}, InputError, r"bound has shape \(2,\)"),
        (([1.0], 1.0, 0.1), {"kind": "x"}, InputError, "kind = 'x'"),
        (([1.0], 1.0, 0.1), {"bound_interval": (2.0, 3.0)}, InputError, "bound lies outside"),
        (([1.0], 1.0, 0.1), {"bound_interval": 3.0}, InputError, "is not a pair"),
    ],
)
def test_bad_input(arguments, options, error, message):
    with pytest.raises(error, match=message):
        probability_verdict(*arguments, **options)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (minimal_trials, (0.0,), r"delta = 0 lies outside \(0, 1\)"),
        (minimal_trials, (1.0,), r"delta = 1 lies outside \(0, 1\)"),
        (minimal_trials, (0.1, 0.0), r"alpha = 0 lies outside \(0, 1\)"),
        (minimal_trials, (0.1, 0.05, -1), r"n_violations = -1 lies outside \[0, inf\)"),
        (minimal_trials, (0.1, 0.05, 0.5), "n_violations = 0.5 is not a whole number"),
        (violation_interval, (3, 2), "n_violations is above n_trials"),
        (violation_interval, (0, 0), r"n_trials = 0 lies outside \[1, inf\)"),
        (violation_interval, (0, 5, 0.5), r"alpha = 0.5 lies outside \(0, 0.5\)"),
    ],
)
def test_bad_counts(function, arguments, message):
    with pytest.raises(InputError, match=message):
        function(*arguments)


def test_tiny_probabilities_neither_hang_nor_lie():
    assert int(minimal_trials(1e-12)) == int(np.ceil(np.log(0.05) / np.log1p(-1e-12)))
    assert minimal_trials([0.5, 1 - 1e-12], 0.25).tolist() == [2, 1]
    assert minimal_trials(0.5, 0.25, [0, 1, 2]).tolist() == [2, 5, 7]
    with pytest.raises(InputError, match=r"delta = 1e-300 after 0 violations needs more than 2\^53 trials"):
        minimal_trials(1e-300)
    with pytest.raises(InputError, match=r"after 1e\+300 violations needs more than 2\^53 trials"):
        minimal_trials(0.1, 0.05, 1e300)


def test_shapes_that_do_not_broadcast_are_named():
    with pytest.raises(InputError, match=r"^delta of shape \(2,\) and alpha of shape \(3,\) do not broadcast$"):
        minimal_trials([0.1, 0.2], [0.05] * 3)
    with pytest.raises(InputError, match=r"n_violations of shape \(2,\) and n_trials of shape \(3,\) do not"):
        violation_interval([0, 1], [5, 6, 7])
