from __future__ import annotations

import pickle
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

from theorykit.errors import InputError, NonFiniteError
from theorykit.information import METHODS, CombinedEstimate, TrainingSettings, mutual_information
from theorykit.information.estimate import Doubt, InformationEstimate, KeyedWarning
from theorykit.information.estimators import automatic
from theorykit.information.estimators.automatic import automatic_estimate
from theorykit.information.estimators.elliptical import student_estimate
from theorykit.information.estimators.pairs import checked_pair
from theorykit.information.tasks import find_task, hidden_state_task

QUICK = TrainingSettings(hidden=(16, 16), batch_size=128, max_steps=400, validate_every=50, patience=3)


def sampled(name: str, count: int, seed: int = 0):
    task = find_task(name)
    return task.information, *task.sample(count, np.random.default_rng([seed, 7]))


@pytest.mark.parametrize(
    "name",
    ["1v1-normal-0.75", "1v1-bimodal-0.75", "multinormal-dense-25-25-0.5", "half_cube-multinormal-sparse-5-5-2-2.0"],
)
def test_gaussian_copulas_are_recognised(name):
    truth, x, y = sampled(name, 4000)
    found = automatic_estimate(x, y, settings=QUICK)
    assert found.chosen == "gaussian copula"
    assert all("are not seen" in warning for warning in found.warnings)
    assert abs(found.information - truth) < 3.5 * found.standard_error
    assert "a trained critic adds" in found.reason


@pytest.mark.parametrize(
    "name", ["1v1-additive-0.75", "asinh-student-identity-1-1-1", "swissroll_x-normal_cdf-1v1-normal-0.75"]
)
def test_neighbours_answer_for_other_relations_of_few_columns(name):
    truth, x, y = sampled(name, 4000)
    found = automatic_estimate(x, y, settings=QUICK)
    assert found.chosen == "ksg1"
    assert found.information == pytest.approx(truth, abs=0.05)
    assert found.interval[0] < truth < found.interval[1]


def test_a_critic_answers_for_other_relations_of_many_columns_and_says_that_it_is_a_bound():
    truth, x, y = sampled("asinh-student-identity-5-5-2", 3000)
    found = automatic_estimate(x, y, settings=QUICK)
    assert found.chosen == "anchored mine"
    assert 0.1 < found.information < truth + 2 * found.standard_error
    assert any("lower bound" in warning for warning in found.warnings)
    assert any("methods disagree: gaussian copula" in warning for warning in found.warnings)


def test_a_t_law_answers_for_a_common_scale():
    truth, x, y = sampled("student-identity-5-5-2", 2000)
    found = automatic_estimate(x, y, settings=QUICK)
    assert found.chosen == "student"
    assert not found.has(Doubt.LOWER_BOUND)
    assert found.interval[0] < truth < found.interval[1]
    assert "likelier under a joint t law" in found.reason


def test_dependence_that_no_correlation_shows_is_found_by_the_critic():
    """All correlations and the kurtosis are those of independent normals: y₂ has the sign of x₁ x₂ y₁."""
    rng = np.random.default_rng(3)
    x, y = np.abs(rng.standard_normal((2, 3000, 2)))
    signs = rng.choice([-1.0, 1.0], (3000, 3))
    x *= signs[:, :2]
    y *= np.column_stack([signs[:, 2], signs.prod(axis=1)])
    found = automatic_estimate(x, y, settings=QUICK)
    assert found.chosen != "gaussian copula"
    assert 0.2 < found.information < np.log(2) + 2 * found.standard_error
    assert next(one for one in found.candidates if one.method == "gaussian copula").information < 0.01


def test_independent_and_shuffled_pairs_have_none(rng):
    _, x, y = sampled("multinormal-dense-5-5-0.5", 10_000)
    for other in (rng.permutation(y), rng.standard_normal(y.shape)):
        assert abs(automatic_estimate(x, other, settings=QUICK).information) <= 0.02


def test_heavy_tails_in_many_dimensions_have_the_information_of_a_t_law():
    task = hidden_state_task(80, degrees_of_freedom=5.0)
    found = automatic_estimate(*task.sample(3000, np.random.default_rng(0)), settings=QUICK)
    assert found.chosen == "student"
    assert found.interval[0] < task.information < found.interval[1]
    critic = next(part for part in found.candidates if part.method == "anchored mine")
    assert any("reduced to" in warning for warning in critic.warnings)
    assert found.dimensions == (80, 80)


def test_heavy_tails_that_are_no_t_law_get_no_such_number():
    """Every column its own scale: I is that of the Gaussian columns, whose scores pass no test of a common one."""
    rng = np.random.default_rng(0)
    x, noise = rng.standard_normal((2, 2000, 4))
    y = 0.6 * x + 0.8 * noise
    x, y = (side**3 for side in (x, y))
    found = automatic_estimate(x, y, settings=QUICK)
    assert found.chosen == "gaussian copula"
    assert student_estimate(x, y).has(Doubt.NOT_GAUSSIAN)


def test_wide_relations_that_no_correlation_shows_are_warned_of():
    """I is about 92 nats, and canonical pairs see nothing of it."""
    rng = np.random.default_rng(5)
    x, noise = rng.standard_normal((2, 2000, 80))
    found = automatic_estimate(x, np.cos(3 * x) + 0.2 * noise, settings=QUICK)
    assert any("not looked at" in warning for warning in found.warnings)
    assert "an even function of one direction" in found.unseen_relations


def test_a_critic_that_sees_little_at_this_size_is_warned_of():
    rng = np.random.default_rng(5)
    found = automatic_estimate(*rng.standard_normal((2, 500, 40)), settings=QUICK)
    assert any("are not seen" in warning for warning in found.warnings)


def test_neighbours_may_object_to_a_gaussian_relation():
    """Two integers of the same parity, spread out: I = log 2, which 1,000 rows do not teach a critic."""
    rng = np.random.default_rng(5)
    first, second = rng.integers(0, 6, 1000), 2 * rng.integers(0, 3, 1000)
    second += first % 2
    found = automatic_estimate(first + rng.uniform(size=1000), second + rng.uniform(size=1000), settings=QUICK)
    assert found.chosen == "ksg1"
    assert found.information == pytest.approx(np.log(2), abs=0.3)
    assert any("methods disagree" in warning for warning in found.warnings)


def test_tied_values_are_no_gaussian_copula():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 1000)
    signs = rng.choice([-1.0, 1.0], (1000, 3))
    same = automatic_estimate(labels, labels)
    noisy = automatic_estimate(signs, signs + rng.standard_normal((1000, 3)))
    assert same.information == pytest.approx(np.log(4), abs=0.1)
    assert any("of discrete values" in warning for warning in same.warnings)
    assert "tied" in noisy.reason
    assert 0.5 < noisy.information < 3 * 0.4859 + 2 * noisy.standard_error  # ±1 in unit noise: 0.486 nats a column


def test_deterministic_relations_are_infinite_and_finite_with_noise():
    x = np.random.default_rng(0).standard_normal((2000, 2))
    for y in (x @ [[2.0], [1.0]], x):
        found = mutual_information(x, y)
        assert found.information == np.inf
        assert any("noise=τ" in warning for warning in found.warnings)
    curved = mutual_information(x[:, :1], np.sin(3 * x[:, :1]), settings=QUICK)
    assert np.isfinite(curved.information)
    assert any("the number is a floor" in warning for warning in curved.warnings)
    tiny = mutual_information(x, x, noise=1e-3, settings=QUICK)
    assert np.isfinite(tiny.information)
    noisy = mutual_information(x, x, noise=0.5, settings=QUICK)
    assert noisy.method.endswith("at noise 0.5")
    assert noisy.interval[0] < np.log(5) < noisy.interval[1]  # 2 · ½ log(1 + 1/0.25)


def test_the_noise_is_not_that_of_a_sample_drawn_with_the_same_seed():
    rows = np.random.default_rng(0).standard_normal((2000, 2))
    found = mutual_information(rows, rows, "gaussian", noise=0.5, generator=np.random.default_rng(0))
    assert found.information == pytest.approx(np.log(5), abs=0.1)


def test_more_columns_than_rows():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 300))
    y = rng.standard_normal((400, 300))
    y[:, 0] += 5 * x[:, 0]
    found = automatic_estimate(x, y, settings=QUICK)
    assert any("too few samples for the dimension" in warning for warning in found.warnings)
    assert next(one for one in found.candidates if one.method == "gaussian copula").failure


def test_where_nothing_works_the_record_says_why():
    found = automatic_estimate(*np.random.default_rng(0).standard_normal((2, 12, 40)))
    assert found.information is None
    assert found.interval is None
    assert "rows are too few" in found.failure
    assert "failed" in repr(found)


def estimate(method: str, value: float, error: float = 0.01) -> InformationEstimate:
    return InformationEstimate(method, value, (value - 0.02, value + 0.02), error, None, True, 1000, (1, 1))


def test_disagreement():
    assert automatic._far_apart(estimate("ksg1", 1.0), estimate("mine", 1.04)) == ()
    (said,) = automatic._far_apart(estimate("ksg1", 1.0), estimate("mine", 1.05))
    assert said == "methods disagree: ksg1 1 nats, a trained critic 1.05"


@pytest.mark.parametrize(
    ("doubt", "reason"), [(Doubt.TIED_VALUES, "tied"), (Doubt.NOT_GAUSSIAN, "fail the tests"), (Doubt.LOWER_BOUND, "")]
)
def test_the_key_of_a_warning_decides_and_not_its_words(doubt, reason):
    copula = replace(estimate("gaussian copula", 1.0), warnings=(KeyedWarning("any words", doubt),))
    words = replace(copula, warnings=("ties: not jointly Gaussian, the relation is not that of Gaussian vectors",))
    for found in (copula, pickle.loads(pickle.dumps(copula)), deepcopy(copula)):
        against = automatic._against_gaussian(found, estimate("mine", 1.0), None)
        assert reason in against
        assert bool(against) == bool(reason)
        assert found.to_dict()["warnings"] == ["any words"]
        assert found.has(doubt)
    assert automatic._against_gaussian(words, estimate("mine", 1.0), None) == ""


def test_sequences_widen_the_interval():
    rng = np.random.default_rng(0)
    x, noise = rng.standard_normal((2, 300, 2))
    x, y = (np.repeat(side, 8, axis=0) for side in (x, x + noise))
    x, y = (side + 0.01 * rng.standard_normal(side.shape) for side in (x, y))
    groups = np.repeat(np.arange(300), 8)
    apart, together = (mutual_information(x, y, "gaussian", groups=labels) for labels in (None, groups))
    assert together.standard_error > 2 * apart.standard_error


def test_every_method_answers_and_repeats_itself():
    rng = np.random.default_rng(0)
    x, noise = rng.standard_normal((2, 600, 1))
    y = 0.8 * x + 0.6 * noise
    for method in METHODS:
        first, second = (mutual_information(x, y, method, settings=QUICK) for _ in range(2))
        assert first.information == second.information
        assert first.information == pytest.approx(-np.log(0.6), abs=0.2), method
        assert isinstance(first, CombinedEstimate) == (method == "auto")


def test_tables_show_all_candidates():
    _, x, y = sampled("1v1-normal-0.75", 600)
    found = automatic_estimate(x, y, settings=QUICK)
    frame = found.to_frame()
    assert list(frame["method"]) == ["gaussian", "gaussian copula", "anchored mine", "ksg1"]
    assert list(frame.loc[frame["chosen"], "method"]) == [found.chosen]
    assert "candidates" in found.to_dict()
    assert "<table" in found._repr_html_()


def test_refusals():
    x = np.random.default_rng(0).standard_normal((100, 2))
    with pytest.raises(InputError, match="method = 'kl' is unknown"):
        mutual_information(x, x, "kl")
    with pytest.raises(InputError, match="x has 100 rows and y has 99"):
        mutual_information(x, x[1:])
    with pytest.raises(NonFiniteError, match="y holds"):
        mutual_information(x, np.full((100, 1), np.nan))
    with pytest.raises(InputError, match="y is constant"):
        mutual_information(x, np.ones((100, 1)))
    with pytest.raises(InputError, match="noise = 0"):
        mutual_information(x, x, noise=0)
    with pytest.raises(InputError, match=r"is not a numpy\.random\.Generator"):
        mutual_information(x, x, generator=0)


def test_above_log_n_the_gaussian_value_stays_and_nothing_is_called_a_bound():
    """I = 5 log(1/(1 − 0.99²)) = 19.6 nats, where log N of the test rows is 5.9."""
    rng = np.random.default_rng([77, 0])
    x, noise = rng.standard_normal((2, 1000, 10))
    truth = -5 * np.log1p(-(0.99**2))
    found = mutual_information(x, 0.99 * x + np.sqrt(1 - 0.99**2) * noise, settings=QUICK)
    assert found.chosen == "gaussian copula"
    assert not found.has(Doubt.LOWER_BOUND)
    assert abs(found.information - truth) < 4 * found.standard_error
    assert any("no critic certifies a lower bound" in warning for warning in found.warnings)
    critic = next(part for part in found.candidates if part.method == "anchored mine")
    assert critic.information <= critic.ceiling or (critic.has(Doubt.UNCERTIFIED) and critic.interval is None)


def candidate(method, information, *doubts, ceiling=None):
    warnings = tuple(KeyedWarning(doubt.name, doubt) for doubt in doubts)
    interval = None if Doubt.UNCERTIFIED in doubts else (information - 0.1, information + 0.1)
    return InformationEstimate(method, information, interval, 0.05, ceiling, True, 100, (7, 7), warnings)


def test_what_is_not_certified_replaces_nothing():
    """A copula that fails its tests stays, as an order of magnitude, where the critic lies above log N."""
    pair = checked_pair(*np.random.default_rng(0).standard_normal((2, 100, 7)))
    copula = candidate("gaussian copula", 3.0, Doubt.NOT_GAUSSIAN)
    wild = candidate("mine", 40.0, Doubt.UNCERTIFIED, ceiling=3.5)
    tame = candidate("mine", 3.2, Doubt.LOWER_BOUND, ceiling=3.5)
    rng = np.random.default_rng(0)
    kept = automatic.choose(pair, {"copula": copula, "mine": wild}, rng, QUICK)
    assert kept.estimate is copula
    assert "order of magnitude" in kept.warnings[0]
    assert automatic.choose(pair, {"copula": copula, "mine": tame}, rng, QUICK).estimate is tame


def hidden_parity(tails: bool):
    """Return 1,000 rows with y = |g| sign(x₁ x₂ x₃): 0.69 nats that neither correlations nor a quick critic see."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((1000, 8))
    if tails:
        x /= np.sqrt(rng.chisquare(3, (1000, 1)) / 3)
    return x, np.abs(rng.standard_normal(1000)) * np.sign(x[:, :3].prod(axis=1))


@pytest.mark.parametrize("tails", [False, True])
def test_relations_that_could_not_be_seen_are_named(tails):
    """Whatever estimator answers: Gaussian columns, and columns with a common scale."""
    found = automatic_estimate(*hidden_parity(tails), settings=QUICK)
    assert found.information < 0.3
    assert (found.chosen == "gaussian copula") != tails
    assert "a parity of three directions" in found.unseen_relations
    assert found.to_dict()["unseen_relations"] == list(found.unseen_relations)
    (warning,) = (part for part in found.warnings if getattr(part, "doubt", None) is Doubt.UNSEEN_RELATIONS)
    assert all(name in warning for name in found.unseen_relations)


def test_an_answer_far_above_what_is_planted_is_not_tried():
    _, x, y = sampled("1v1-additive-0.1", 1000)
    found = automatic_estimate(x, y, settings=QUICK)
    assert found.information > 1
    assert found.unseen_relations is None


def test_a_critic_below_zero_loses_its_anchor():
    """Images of 8 × 8 of a spot at a Gaussian place, I = 1.66 nats: nearly dependent columns ruin a Gaussian anchor."""
    rng = np.random.default_rng([5, 0])
    z, e = rng.standard_normal((2, 1000, 2))
    grid = np.stack(np.meshgrid(np.arange(8), np.arange(8)), axis=-1).reshape(-1, 2) - 3.5
    x, y = (
        np.exp(-((grid - place[:, None]) ** 2).sum(axis=2) / 4.5) for place in (z, 0.9 * z + np.sqrt(1 - 0.9**2) * e)
    )
    found = automatic_estimate(x, y)
    assert found.chosen == "mine"
    assert found.has(Doubt.LOWER_BOUND)
    assert 1.0 < found.information < -np.log1p(-(0.9**2)) + 2 * found.standard_error
