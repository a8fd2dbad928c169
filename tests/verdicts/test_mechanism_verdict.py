from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from theorykit.errors import InputError, NonFiniteError
from theorykit.verdicts import Instance, ReferenceTask, equivalence, mechanism_verdict, paired_effect
from theorykit.verdicts.intervals import mean_limits
from theorykit.verdicts.mechanisms import _above_ceiling

STILL = ReferenceTask("rotation", [0.01, -0.02, 0.01, 0.0, 0.02, -0.01], 0.0, margin=0.1)
MOVING = ReferenceTask("shuffled pairs", [0.5, 0.6, 0.4, 0.5, 0.55, 0.45], 0.0, margin=0.1)
KNOWN = ReferenceTask("gaussian, 1 nat", [1.01, 0.99, 1.02, 0.98, 1.0, 1.01], 1.0, margin=0.1)
MISSED = ReferenceTask("gaussian, 5 nats", [3.0, 3.1, 2.9, 3.0, 3.2, 2.8], 5.0, margin=0.5)
CONTROL = np.array([1.0, 1.1, 0.9, 1.2, 1.05, 0.95, 1.15, 0.85])
GAIN = np.array([1.2, 1.0, 1.3, 0.9, 1.1, 1.25, 0.95, 1.15])


def judge(rng, treated=CONTROL + GAIN, control=CONTROL, **options):
    options = {"negative_controls": [STILL], "known_truths": [KNOWN]} | options
    return mechanism_verdict(treated, control, rng, **options)


def test_the_three_tests(rng):
    differences = np.array([1.2, -0.3, 0.8, 0.5, 0.9, -0.1, 0.4])
    found = paired_effect(differences, 0.1, 0.05, rng)
    excess = differences - 0.1
    assert found.p_t == pytest.approx(stats.ttest_1samp(excess, 0, alternative="greater").pvalue)
    assert found.p_wilcoxon == pytest.approx(stats.wilcoxon(excess, alternative="greater").pvalue)
    sums = [np.dot(signs, excess) for signs in itertools.product((-1, 1), repeat=7)]
    assert found.p_sign_flip == pytest.approx(np.mean(np.array(sums) >= excess.sum() - 1e-12))
    assert found.p_value == max(found.p_t, found.p_wilcoxon, found.p_sign_flip)


@pytest.mark.parametrize(
    "values", [[1.0] * 5, [0.0] * 5, [1.0, 1.0, 0.0, 2.0, 2.0], [-1.0] * 6, list(np.linspace(0.1, 3, 20))]
)
def test_ties_zeros_and_many_pairs(rng, values):
    found = paired_effect(values, 0.0, 0.05, rng)
    assert all(0 <= p <= 1 for p in (found.p_t, found.p_wilcoxon, found.p_sign_flip))
    assert (found.p_value <= 0.05) == (min(values) > 0)


def test_a_gain_with_controls_that_stay_holds(rng):
    verdict = judge(rng)
    assert verdict.instance is Instance.HOLDS
    names = verdict.evidence.to_frame()["name"].tolist()
    assert names == ["gaussian, 1 nat", "rotation", "effect", "reversed effect"]


def test_a_loss_is_a_violation_and_nothing_is_neither(rng):
    assert judge(rng, CONTROL - GAIN).instance is Instance.VIOLATED
    nothing = np.array([0.1, -0.1, 0.2, -0.2, 0.05, -0.05, 0.1, -0.1])
    assert judge(rng, CONTROL + nothing).instance is Instance.INCONCLUSIVE


def test_the_effect_has_to_exceed_the_smallest_of_interest_and_the_bias(rng):
    assert judge(rng, smallest_effect=0.5).instance is Instance.HOLDS
    assert judge(rng, smallest_effect=2.0).instance is Instance.VIOLATED
    assert judge(rng, smallest_effect=0.5, bias=0.7).instance is Instance.INCONCLUSIVE
    assert judge(rng, smallest_effect=2.0, bias=1.0).instance is Instance.INCONCLUSIVE
    assert judge(rng, CONTROL - GAIN, bias=2.0).instance is Instance.INCONCLUSIVE


def test_a_control_that_moves_or_none_at_all_leaves_it_open(rng):
    for treated in (CONTROL + GAIN, CONTROL - GAIN):
        moved = judge(rng, treated, negative_controls=[STILL, MOVING])
        assert moved.instance is Instance.INCONCLUSIVE
        assert "Negative control shuffled pairs is not shown to stay." in moved.reasons
    without = judge(rng, negative_controls=[])
    assert without.instance is Instance.INCONCLUSIVE
    assert "No negative control was run." in without.reasons


def test_an_estimator_that_misses_a_known_truth_is_rejected(rng):
    verdict = judge(rng, known_truths=[KNOWN, MISSED])
    assert verdict.instance is Instance.NOT_APPLICABLE
    assert verdict.reasons[0] == "Known truth gaussian, 5 nats is not met: the estimator is rejected."
    assert any("untested" in reason for reason in judge(rng, known_truths=[]).reasons)


def test_an_estimator_above_a_hard_ceiling_is_rejected(rng):
    verdict = judge(rng, ceilings={"entropy": 1.5, "log N": 9.0})
    assert verdict.instance is Instance.NOT_APPLICABLE
    assert verdict.reasons[0].startswith("The treated arm lies above the ceiling entropy = 1.5")
    assert judge(rng, ceilings={"entropy": 2.5}).instance is Instance.HOLDS


def test_too_few_pairs_cannot_succeed(rng):
    verdict = judge(rng, [3.0, 3.1, 3.0, 2.9], [1.0, 1.0, 1.1, 1.0])
    assert verdict.instance is Instance.INCONCLUSIVE
    assert any("4 pairs are too few: sign flips give at best 0.0625" in reason for reason in verdict.reasons)


def test_failed_pairs_leave_it_open(rng):
    treated = CONTROL + GAIN
    treated[2] = np.nan
    verdict = judge(rng, treated)
    assert verdict.instance is Instance.INCONCLUSIVE
    assert any("1 of 8 pairs failed" in reason for reason in verdict.reasons)


def test_equivalence_is_two_one_sided_tests():
    values = np.array([0.3, 0.1, 0.2, 0.25, 0.15])

    def passed(margin, symmetric):
        return equivalence(ReferenceTask("x", values, 0.0, margin, symmetric), "negative control", 0.05).passed

    students = stats.ttest_1samp(values, 0.0).confidence_interval(0.9)
    skewed = mean_limits(values[None, :], 0.05, skewed=True).upper[0]
    assert skewed > students.high
    for edge, symmetric in ((students.high, True), (skewed, False)):
        assert passed(edge * 1.001, symmetric)
        assert not passed(edge * 0.999, symmetric)
    before = np.arange(5.0)
    moved = ReferenceTask("x", before + values, before, 1.0, symmetric=True)
    assert equivalence(moved, "", 0.05).interval == pytest.approx(tuple(students))
    one_run = equivalence(ReferenceTask("x", [0.0], 0.0, 9.0), "", 0.05)
    failed = equivalence(ReferenceTask("x", [0.0, 0.1, -0.1, 0.0, np.nan], 0.0, 9.0), "", 0.05)
    assert not one_run.passed
    assert not failed.passed
    assert len(failed.to_frame()) == 1


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("values", [[1.0, 1.0], [1.0] * 12, [1.0, 1.001, 0.999, 1.0]])
def test_equal_or_few_estimates_show_nothing(rng, values, symmetric):
    """One number given twice passed every control and every known truth, with an interval of width 0."""
    found = equivalence(ReferenceTask("x", values, 1.0, 0.5, symmetric), "known truth", 0.05)
    assert not found.passed
    assert found.instance is Instance.INCONCLUSIVE
    assert np.isinf(found.interval).all()
    assert judge(rng, known_truths=[ReferenceTask("x", values, 1.0, 0.5)]).instance is Instance.NOT_APPLICABLE
    assert judge(rng, negative_controls=[ReferenceTask("x", values, 1.0, 0.5)]).instance is Instance.INCONCLUSIVE


def test_what_does_not_vary_is_said_and_what_moves_nothing_shows(rng):
    fixed = ReferenceTask("x", [1.0, 1.0], 1.0, 0.5, deterministic=True)
    assert equivalence(fixed, "known truth", 0.05).passed
    before = rng.normal(size=6)
    assert equivalence(ReferenceTask("rotation", before, before, 0.1), "negative control", 0.05).passed
    assert not equivalence(ReferenceTask("rotation", before[:4], before[:4], 0.1), "negative control", 0.05).passed


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda r: judge(r, [1.0, 2.0], [1.0]), InputError, "2 treated and 1 control runs"),
        (lambda r: judge(r, [1.0], [1.0]), InputError, "one pair has no variance"),
        (lambda r: judge(r, alpha=0.5), InputError, "alpha = 0.5"),
        (lambda r: judge(r, smallest_effect=-1.0), InputError, "smallest_effect = -1.0"),
        (lambda r: judge(r, bias=np.nan), InputError, "bias = nan"),
        (lambda r: judge(r, ceilings={"entropy": np.nan}), InputError, "ceiling entropy = nan lies outside"),
        (lambda r: judge(None), InputError, "generator = None is not a numpy.random.Generator"),
        (lambda r: paired_effect([1.0, np.nan], 0.0, 0.05, r), NonFiniteError, "differences holds NaN"),
        (lambda r: paired_effect([1.0, 2.0], np.inf, 0.05, r), InputError, "threshold = inf lies outside"),
        (lambda r: equivalence(ReferenceTask("x", [1.0, 2.0], 0.0, 0.0), "", 0.05), InputError, "x: margin = 0.0"),
        (
            lambda r: equivalence(ReferenceTask("x", [1.0, 2.0], [1.0, 2.0, 3.0], 1.0), "", 0.05),
            InputError,
            r"x: expected has shape \(3,\)",
        ),
    ],
)
def test_bad_input(rng, call, error, message):
    with pytest.raises(error, match=message):
        call(rng)


def test_ceilings_are_one_family(rng):
    """Holm over arms and ceilings: an estimator at its ceilings is rejected with probability at most alpha."""
    ceilings = {f"ceiling {number}": 1.0 + 1e-9 * number for number in range(4)}
    draws = rng.normal(1.0, 0.1, (400, 2, 8))
    rejected = sum(bool(_above_ceiling({"treated": a, "control": b}, ceilings, 0.05)) for a, b in draws)
    assert stats.binom.sf(rejected - 1, 400, 0.05) > 1e-3  # two tests of each arm at 0.05 would give about 39


def test_a_marginal_ceiling_is_passed_alone_and_not_among_many(rng):
    treated = CONTROL + GAIN
    limits = mean_limits(np.array([treated] * 2), 0.05, skewed=True)
    p_values = limits.p_above(np.array([2.0, 2.05])).tolist()
    level = max(p_values) * 1.01
    ceiling = (2.0, 2.05)[int(np.argmax(p_values))]
    alone = judge(rng, treated, ceilings={"log N": ceiling}, alpha=min(2.02 * level, 0.49))
    assert alone.instance is Instance.NOT_APPLICABLE
    many = {"log N": ceiling} | {f"far {number}": 50.0 + number for number in range(9)}
    assert judge(rng, treated, ceilings=many, alpha=min(2.02 * level, 0.49)).instance is not Instance.NOT_APPLICABLE


def test_skewed_differences_are_told(rng):
    skewed = CONTROL[0] + rng.standard_exponential(30) ** 2
    verdict = judge(rng, skewed, np.full(30, CONTROL[0]))
    assert "The differences are skewed: the three tests ask for symmetric ones." in verdict.reasons
    assert not any("skewed" in reason for reason in judge(rng).reasons)


TWO_ROWS = np.ones((2, 4))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda r: judge(r, TWO_ROWS, CONTROL[:4]), "treated"),
        (lambda r: judge(r, CONTROL[:4], TWO_ROWS), "control"),
        (lambda r: paired_effect(TWO_ROWS, 0.0, 0.05, r), "differences"),
        (lambda r: equivalence(ReferenceTask("x", TWO_ROWS, 0.0, 1.0), "", 0.05), "x: estimates"),
        (lambda r: paired_effect(3.0, 0.0, 0.05, r), "differences"),
    ],
)
def test_only_a_vector_of_seeds_is_taken(rng, call, name):
    with pytest.raises(InputError, match=rf"{name} has shape .*, not \[seeds\]"):
        call(rng)


def test_two_failed_arms_are_a_failed_pair(rng):
    treated, control = CONTROL + GAIN, CONTROL.copy()
    treated[2] = control[2] = np.inf
    assert any("1 of 8 pairs failed" in reason for reason in judge(rng, treated, control).reasons)
