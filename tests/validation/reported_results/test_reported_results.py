from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from scipy import stats

from theorykit.errors import InputError
from theorykit.results import to_json
from theorykit.verdicts import Form, Instance
from validation.claims import comparison
from validation.claims.experiment import PLANTED, STUDENTS, TEACHER, Context
from validation.claims.finding import CONDITIONAL, Outcome
from validation.claims.record import content_of
from validation.claims.trained import TrainedStudent
from validation.reported_results import design as designs
from validation.reported_results import planted
from validation.reported_results import verdicts as claims
from validation.reports.experiments import find_experiment
from validation.students.batch import StudentBatch
from validation.training.config import StudentConfig

EXPERIMENT = find_experiment("table-2")
SETTINGS = {
    "teacher": "scratch:tiny",
    "seeds": 6,
    "tuning_seeds": 1,
    "rank": 8,
    "learning_rate": 3e-3,
    "methods": ["lrc", "kd", "lora", "pc-lora"],
    "learning_rates": [1e-3, 3e-3, 1e-2],
    "sensitivity_rates": [1e-4, 3e-4, 3e-3],
    "clone_weights": [0.1, 1.0, 10.0],
    "ranks": [2, 4, 8, 16],
    "rank_blocks": [64, 0],
    "planned_sd": 0.005,
}
SIZE = 1_000


def settings_with(**changes):
    return EXPERIMENT.part(STUDENTS).read(SETTINGS | changes)


def context(train=None, seed=0, **changes):
    return Context(settings_with(**changes), seed, train=train or (lambda students: []))


def outcomes(findings):
    return {finding.outcome for finding in findings}


@pytest.mark.parametrize("seed", [0, 7])
def test_planted_truths_are_found(seed):
    findings = EXPERIMENT.part(PLANTED).run(context(seed=seed)).findings
    assert [finding.what for finding in findings if finding.outcome is not Outcome.RIGHT] == []
    assert {"HOLDS", "VIOLATED", "INCONCLUSIVE", "NOT_APPLICABLE"} <= {finding.words[0] for finding in findings}


def test_a_comparison_that_pairs_other_seeds_is_noticed(monkeypatch):
    original = comparison.compare

    def mispaired(rows, by, reference):
        moved = rows.assign(seed=rows["seed"].where(rows["row"] == "first", (rows["seed"] + 1) % 11))
        return original(moved.drop_duplicates(["row", "seed"]), by, reference)

    monkeypatch.setattr(comparison, "compare", mispaired)
    assert Outcome.WRONG in outcomes(planted.pairing(context()))


@pytest.mark.parametrize("instance", [Instance.HOLDS, Instance.VIOLATED, Instance.INCONCLUSIVE])
def test_a_test_that_always_says_the_same_is_noticed(monkeypatch, instance):
    original = claims.expectation_verdict
    monkeypatch.setattr(
        claims,
        "expectation_verdict",
        lambda *arguments, **options: dataclasses.replace(original(*arguments, **options), instance=instance),
    )
    for part in (planted.best, planted.components):
        assert outcomes(part(context())) & {Outcome.WRONG, Outcome.UNDECIDED}


@pytest.mark.parametrize("passed", [True, False])
def test_an_equivalence_that_always_says_the_same_is_noticed(monkeypatch, passed):
    original = claims.equivalence
    monkeypatch.setattr(
        claims, "equivalence", lambda *arguments: dataclasses.replace(original(*arguments), passed=passed)
    )
    assert outcomes(planted.gains(context())) & {Outcome.WRONG, Outcome.UNDECIDED}


@pytest.mark.parametrize("factor", [0.5, 2])
def test_a_wrong_count_of_parameters_is_noticed(monkeypatch, factor):
    original = StudentBatch.deployed_parameters
    monkeypatch.setattr(
        StudentBatch,
        "deployed_parameters",
        lambda self, **options: [int(factor * count) for count in original(self, **options)],
    )
    assert Outcome.WRONG in outcomes(planted.counts(context()))


def test_worse_by_is_the_t_test_of_each_row():
    differences = np.array([[0.02, 0.03, 0.05, 0.04, 0.035], [0.2, 0.3, 0.1, 0.2, 0.2]])
    verdict = claims.worse_by(differences, ["a", "b"], least=0.01)
    half = stats.t.ppf(0.95, 4) * differences.std(axis=1, ddof=1) / np.sqrt(5)
    assert [row.interval[0] for row in verdict.evidence.rows] == pytest.approx(differences.mean(axis=1) - half)
    assert verdict.instance is Instance.HOLDS
    assert claims.worse_by(differences, ["a", "b"], least=0.06).instance is Instance.VIOLATED
    assert claims.worse_by(differences, ["a", "b"], least=0.03).instance is Instance.INCONCLUSIVE


def test_few_seeds_and_copies_decide_nothing():
    assert claims.worse_by([0.5, 0.5001], ["a"]).instance is Instance.INCONCLUSIVE
    assert claims.worse_by([0.5, 0.5001, 0.4999, 0.5], ["a"]).instance is Instance.INCONCLUSIVE
    assert claims.near([0.5, 0.5001], 0.0, 0.1).instance is Instance.INCONCLUSIVE
    assert claims.near([0.5] * 6, 0.5, 0.1).instance is Instance.INCONCLUSIVE
    assert claims.no_worse_than([[0.1]], 1.0, ["a"]).instance is Instance.INCONCLUSIVE
    assert claims.worse_by(np.zeros(5), ["a"]).instance is Instance.INCONCLUSIVE
    assert claims.worse_by(np.zeros(5), ["a"], least=0.01).instance is Instance.VIOLATED


def test_gains_are_of_perplexity_and_near_is_two_sided():
    assert claims.relative_gains([math.log(20.5)], [math.log(21.2)]) == pytest.approx([(21.2 - 20.5) / 21.2])
    values = [0.030, 0.031, 0.029, 0.0305, 0.0295]
    assert claims.near(values, 0.028, 0.01).instance is Instance.HOLDS
    assert claims.near(values, 0.06, 0.01).instance is claims.near(values, 0.0, 0.01).instance is Instance.VIOLATED
    assert claims.near(values, 0.02, 0.01).instance is Instance.INCONCLUSIVE
    assert claims.near([0.03, 0.031, math.nan], 0.03, 0.01).instance is Instance.INCONCLUSIVE


def test_a_u_may_be_refuted_from_either_end():
    noise = 0.001 * np.random.default_rng(0).standard_normal((4, 5))
    names = ["2", "4", "8", "16"]
    judged = {
        shape: claims.best_among(np.array(shape)[:, None] + noise, (1, 2), 1, names).instance
        for shape in ((1, 0, 0, 1), (3, 2, 1, 0), (0, 1, 2, 3), (1, 0, 0, 0))
    }
    assert list(judged.values()) == [
        Instance.HOLDS,
        Instance.VIOLATED,
        Instance.VIOLATED,
        Instance.INCONCLUSIVE,
    ]


def test_the_best_of_some_is_chosen_on_other_seeds_but_the_same_blocks():
    noise = 0.001 * np.random.default_rng(0).standard_normal((4, 5))
    judged = {
        shape: claims.best_among(np.array(shape)[:, None] + noise, [0, 1], 0, list("abcd"))
        for shape in ((0, 1, 1, 1), (1, 1, 0, 1), (1, 0, 0.5, 2))
    }
    assert [one.instance for one in judged.values()] == [Instance.HOLDS, Instance.VIOLATED, Instance.INCONCLUSIVE]
    assert all("other seeds, by the same held-out blocks" in one.reasons[0] for one in judged.values())


def test_sizes():
    assert claims.equal_size({"a": 1000, "b": 1009}).instance is Instance.HOLDS
    assert claims.equal_size({"a": 1000, "b": 1011}).instance is Instance.VIOLATED
    assert claims.equal_size({"a": 1000, "b": None}).instance is Instance.INCONCLUSIVE
    unlike = claims.equal_size({"a": 1000, "b": 2000})
    judged = claims.at_equal_size(claims.worse_by([1.0, 1.1, 1.2], ["b"]), unlike)
    assert judged.instance is Instance.NOT_APPLICABLE
    assert "2,000" in judged.reasons[0]


def test_each_student_is_asked_for_once_and_another_seed_asks_for_others():
    first, second = (EXPERIMENT.part(STUDENTS).students(settings_with(), seed) for seed in (0, 1))
    assert len({config.identity for config in first}) == len(first)
    assert not {config.identity for config in first} & {config.identity for config in second}
    assert {type(config) for config in first} == {StudentConfig}
    # 6 methods at 3 rates, 5 more rows of Table 2, 2 rates, 2 weights, 2 × 4 ranks of which one is LRC: 6 seeds each
    assert len(first) == 6 * (6 * 3 + 5 + 2 + 2 + 7)
    assert EXPERIMENT.part(TEACHER).run is EXPERIMENT.part(STUDENTS).run


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tuning_seeds": 6}, "tuning_seeds = 6 of 6 seeds"),
        ({"methods": ["kd", "lrc"]}, "methods = "),
        ({"methods": ["lrc", "magic"]}, "methods = "),
        ({"clone_weights": [0.0, 0.5, 2.0]}, "no values on both sides of 1"),
        ({"sensitivity_rates": [3e-4, 1e-3, 1e-2]}, "no values on both sides of 0.0003"),
        ({"sensitivity_rates": [1e-4, 3e-4, 1e-3]}, "none outside"),
        ({"ranks": [4, 8]}, "no inner value"),
        ({"methods": []}, "methods = "),
    ],
)
def test_designs_that_cannot_answer_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        designs.students(settings_with(**changes), 0)


def test_power_grows_with_seeds():
    few, many = (designs.power(settings_with(seeds=count)) for count in (2, 12))
    assert all(few[name] < many[name] for name in few)
    assert min(many.values()) > 0.8


def simulated(loss, size=lambda config: SIZE, fails=lambda config: False):
    """Return a training that gives each student a loss that is known."""

    def train(students):
        trained = []
        for config in students:
            seed, name = config.seed, sum(map(ord, config.identity))
            value = loss(config) + 0.3 * math.sin(seed) + 1e-3 * math.sin(1e3 * seed + name)
            result = {
                "held_out": value,
                "held_out_at_start": 4.0,
                "bits_per_byte": value,
                "deployed_parameters": size(config),
                "deployed_parameters_without_embeddings": size(config) - 1,
                "trained_parameters": size(config),
            }
            lost = fails(config)
            trained.append(TrainedStudent(config, "not finite" if lost else "", {} if lost else result))
        return trained

    return train


def as_the_paper_has_it(config):
    """Everything that the paper says, in nats per token."""
    loss = 3 + {"kd": 0.1, "lora": 0.2, "pc-lora": -math.log(1 - 0.028)}.get(config.method, 0)
    loss += 0.05 * (config.start == "random") + 0.05 * (config.language_model_weight == 0)
    loss += 0.05 * (config.distillation_weight == 0) + 0.01 * abs(math.log10(config.learning_rate / 3e-4))
    if config.method == "lrc":
        loss += 0.1 if config.clone_weight == 0 else 0.05 * abs(math.log10(config.clone_weight))
    return loss + 0.05 * abs(math.log2(config.rank / 8))


def larger_where_dense(config):
    return SIZE * (3 if config.student == "dense" else 1)


def judged(train, **changes):
    result = EXPERIMENT.part(STUDENTS).run(context(train, **changes))
    assert all(finding.outcome is None for finding in result.findings)
    return result


def words(result, key, **of):
    """Return the verdicts on a question, in all forms and for both choices of the learning rates."""
    return {one.words[0] for one in result.findings if one.key == key and of.items() <= one.of.items()}


def test_students_that_do_as_the_paper_says_bear_it_out():
    result = judged(simulated(as_the_paper_has_it, larger_where_dense))
    assert words(result, "best") == words(result, "better") == {"HOLDS"}
    assert words(result, "every-component") == {"HOLDS"}
    assert words(result, "component", component=designs.UNFACTORED) == {"NOT_APPLICABLE"}
    assert words(result, "gain") == {"UNFALSIFIABLE"}
    assert [one.words[0] for one in result.findings if one.equation == "table-1-lora"] == ["VIOLATED"]
    for key in ("robust", "around", "sweet-spot", "u-shape"):
        assert words(result, key) == {"HOLDS"}
    gain = next(one for one in result.findings if one.key == "gain" and one.form is Form.PRINTED)
    assert gain.unit == "share of perplexity"
    assert gain.measured == pytest.approx(0.028, abs=0.002)
    assert gain.interval[0] < gain.measured < gain.interval[1]
    assert result.data.teacher_loss == 4.0
    assert result.data.table_2[0].name == {"row": "lrc"}
    assert result.data.figure_4_ranks["all"].losses.shape == (4, 6)


def test_students_that_do_the_opposite_refute_it():
    result = judged(simulated(lambda config: 6 - as_the_paper_has_it(config), larger_where_dense))
    assert words(result, "best") == words(result, "better") == {"VIOLATED"}
    assert words(result, "every-component") == words(result, "component", component="KD loss") == {"VIOLATED"}
    assert words(result, "sweet-spot") == words(result, "around") == {"VIOLATED"}
    assert words(result, "u-shape") == {"VIOLATED"}
    assert result.data.table_1_rates["lrc"] == 1e-2


def test_a_gain_of_other_students_is_set_beside_and_never_refuted():
    result = judged(simulated(lambda config: 6 - as_the_paper_has_it(config)))
    assert words(result, "gain") == {"UNFALSIFIABLE"}
    gain = next(finding for finding in result.findings if finding.key == "gain")
    assert gain.measured < 0
    assert gain.verdict.reasons[0].startswith(f"Here {gain.measured:.1%} [{gain.interval[0]:.1%}, ")
    assert "text prints 2.8% for its own teacher" in gain.verdict.reasons[0]


@pytest.mark.parametrize(("best", "word"), [(1e-4, "HOLDS"), (1e-3, "HOLDS"), (3e-3, "VIOLATED")])
def test_around_a_rate_are_its_neighbours(best, word):
    def peaked(config):
        return as_the_paper_has_it(config) + 0.1 * abs(math.log10(config.learning_rate / best))

    result = judged(simulated(peaked), sensitivity_rates=[1e-4, 3e-4, 1e-3, 3e-3, 1e-2])
    assert words(result, "around") == {word}


def test_what_all_seeds_share_and_what_the_paper_tells_of_is_said():
    result = judged(simulated(as_the_paper_has_it))
    over_seeds = [finding for finding in result.findings if finding.key != "equal-size"]
    assert all(CONDITIONAL in finding.verdict.reasons for finding in over_seeds)
    best = next(finding for finding in result.findings if finding.key == "best")
    assert any("its own GPT-2 small, of WikiText-103 and PTB" in reason for reason in best.verdict.reasons)
    for key in ("best", "robust", "around", "u-shape"):
        chosen = next(finding for finding in result.findings if finding.key == key)
        assert any("by the same held-out blocks" in reason for reason in chosen.verdict.reasons)


def test_one_component_that_does_nothing_is_enough():
    def idle(config):
        return as_the_paper_has_it(config) - 0.05 * (config.language_model_weight == 0)

    result = judged(simulated(idle))
    assert words(result, "every-component") == words(result, "component", component="LM loss") == {"VIOLATED"}
    assert words(result, "component", component="KD loss") == {"HOLDS"}


def test_failed_students_leave_their_claims_open():
    train = simulated(as_the_paper_has_it, fails=lambda config: config.method == "kd" and config.seed == 3)
    result = judged(train)
    content = content_of(EXPERIMENT.slug, STUDENTS, "cpu", 0, SETTINGS, result)
    assert sum(bool(student.failure) for student in content.students) == 3
    json.loads(to_json(content))
    assert words(result, "best") == words(result, "better", rival="kd") == {"INCONCLUSIVE"}
    assert words(result, "better", rival="lora") == {"HOLDS"}


@pytest.mark.parametrize("lost", ["kd", "lrc"])
def test_a_method_that_always_fails_ends_nothing(lost):
    result = judged(simulated(as_the_paper_has_it, fails=lambda config: config.method == lost))
    assert words(result, "best") <= {"INCONCLUSIVE", "NOT_APPLICABLE"}


def test_nothing_is_compared_at_unlike_sizes():
    result = judged(simulated(as_the_paper_has_it, lambda config: SIZE + 100 * (config.method == "pc-lora")))
    assert words(result, "best") == words(result, "better", rival="pc-lora") == {"NOT_APPLICABLE"}
    assert words(result, "gain") == {"NOT_APPLICABLE"}
    assert [one.words[0] for one in result.findings if one.equation == "table-1-parameters"] == ["VIOLATED"]
    assert words(result, "better", rival="kd") == {"HOLDS"}


def test_two_seeds_say_nothing():
    result = judged(simulated(as_the_paper_has_it), seeds=2)
    assert words(result, "gain") == {"UNFALSIFIABLE"}
    others = [finding for finding in result.findings if finding.key not in ("gain", "equal-size")]
    assert {finding.words[0] for finding in others} == {"INCONCLUSIVE"}


def test_data_without_a_row_or_a_setting_of_the_paper_are_refused():
    data = judged(simulated(as_the_paper_has_it)).data
    weights = dataclasses.replace(data.figure_3_clone_weights, at=(0.1, 2.0, 10.0))
    for changes in ({"table_1": ()}, {"table_2": data.table_2[1:]}, {"figure_3_clone_weights": weights}):
        with pytest.raises(InputError, match="lacks a row or a setting"):
            dataclasses.replace(data, **changes)
    with pytest.raises(InputError, match="have other losses"):
        dataclasses.replace(data.figure_3_clone_weights, at=())
