from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field

import numpy as np
import pytest

import theorykit as tk
from theorykit.errors import InputError
from theorykit.information.estimation import METHODS
from theorykit.results import to_json
from validation.claims.experiment import PLANTED, STUDENTS, Context
from validation.claims.factors import multiplied
from validation.claims.finding import CONDITIONAL, Outcome
from validation.claims.trained import TrainedStudent
from validation.measure import LayerStates
from validation.reports.experiments import find_experiment
from validation.theorem_3.gain import PRINTED_GAIN
from validation.theorem_3.layers import CLONED, PLAIN, information, loss_numbers
from validation.theorem_3.planted import PlantedSettings, closed_forms, mechanisms
from validation.theorem_3.theorem import OF_ESTIMATORS
from validation.training.config import StudentConfig

EXPERIMENT = find_experiment("cloning-information")
SETTINGS = {
    "teacher": "scratch:tiny",
    "seeds": 6,
    "clone_weight": 1.0,
    "steps": 10,
    "estimators": ["gaussian"],
    "noise": 0.3,
    "components": 2,
    "margin": 0.3,
    "planned_effect": 0.5,
    "planned_sd": 0.3,
}
BLOCKS, LENGTH, WIDTH = 80, 32, 4
RAISES = {"key": "gain", "estimator": "gaussian", "more_than": 0.0}
BY_MORE = RAISES | {"more_than": PRINTED_GAIN}
OF_DECODER = {"key": "gain", "bound": "decoder"}


def context(seed: int = 0) -> Context:
    return Context(PlantedSettings(rows=600, components=2, critic_steps=300), seed, train=lambda students: [])


def settings_with(**changes):
    return EXPERIMENT.part(STUDENTS).read(SETTINGS | changes)


def not_right(findings) -> list[str]:
    return [finding.what for finding in findings if finding.outcome is not Outcome.RIGHT]


@dataclass(frozen=True)
class FakeStudent(TrainedStudent):
    """One whose states are drawn here: the teacher's, mixed with its own; the rest of a student is as trained."""

    kept: float = 0.5
    shift: float = 0.0
    turned: bool = False
    all_states: dict = field(default_factory=dict)

    def states(self, step: int) -> dict[int, LayerStates]:
        generator = np.random.default_rng(7)
        teacher = generator.standard_normal((BLOCKS * LENGTH, WIDTH)) @ np.diag([3.0, 2.0, 1.0, 0.5])
        own = np.random.default_rng([self.seed, step, round(100 * self.kept)]).standard_normal(teacher.shape)
        student = self.kept * teacher + np.sqrt(1 - self.kept**2) * own * teacher.std(axis=0) + self.shift
        if self.turned:
            student = student[:, ::-1] * [1, -1, 1, -1]
        groups = np.repeat(np.arange(BLOCKS), LENGTH)
        return {layer: LayerStates(student, teacher, groups) for layer in (1, 2)}


def trainer(cloned: dict, plain: dict, failed: tuple[int, ...] = ()):
    def train(students: list[StudentConfig]) -> list[TrainedStudent]:
        trained = []
        for number, config in enumerate(students):
            arm = cloned if config.clone_weight else plain
            rows = tuple({"step": step, "hidden_states": {}, "loss_terms": {}} for step in (0, config.steps))
            failure = "the loss is not finite" if number in failed else ""
            trained.append(FakeStudent(config, failure, {"held_out": 1.0}, rows, **arm))
        return trained

    return train


def result_of(train, **changes):
    return EXPERIMENT.part(STUDENTS).run(Context(settings_with(**changes), 0, train))


def verdicts_on(result, key: str, equation: str = "", **of):
    return [
        finding.verdict
        for finding in result.findings
        if finding.key == key and equation in ("", finding.equation) and of.items() <= finding.of.items()
    ]


def verdict_on(result, key: str, **of):
    return verdicts_on(result, key, **of)[0]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_truths_and_falsehoods_are_told(seed):
    ctx = context(seed)
    assert not_right([*closed_forms(ctx), *mechanisms(ctx)]) == []


def test_the_whole_planted_part_is_right():
    findings = EXPERIMENT.part(PLANTED).run(context()).findings
    assert not_right(findings) == []
    judged = {finding.equation for finding in findings}
    assert {"eq-22", "eq-23", "eq-23-constant-0", "eq-25", "eq-26", "eq-27"} < judged


@pytest.mark.parametrize("factor", [2.0, 0.5])
@pytest.mark.parametrize("name", EXPERIMENT.bounds)
def test_each_bound_off_by_two_is_noticed(monkeypatch, name, factor):
    monkeypatch.setattr(tk, name, multiplied(getattr(tk, name), factor), raising=False)
    assert not_right(closed_forms(context()))


def test_pairs_differ_in_the_clone_loss_alone():
    students = EXPERIMENT.part(STUDENTS).students(settings_with(), 3)
    assert len(students) == 12
    for cloned, plain in zip(students[::2], students[1::2], strict=True):
        assert (cloned.clone_weight, plain.clone_weight) == (1.0, 0.0)
        assert dataclasses.replace(cloned, clone_weight=0.0) == plain


@pytest.fixture(scope="module")
def with_a_gain():
    return result_of(trainer({"kept": 0.85}, {"kept": 0.6}))


def test_a_gain_that_is_there_is_found_and_not_made_larger(with_a_gain):
    assert verdict_on(with_a_gain, **RAISES).instance == "HOLDS"
    assert verdict_on(with_a_gain, **BY_MORE).instance == "VIOLATED"
    assert verdict_on(with_a_gain, **OF_DECODER).instance == "HOLDS"
    assert verdict_on(with_a_gain, "treatment").instance == "HOLDS"
    assert verdict_on(with_a_gain, "known-truth").instance == "HOLDS"


def test_a_smaller_clone_loss_without_information_is_no_gain():
    result = result_of(trainer({"kept": 0.8}, {"kept": 0.8, "shift": 3.0, "turned": True}))
    assert verdict_on(result, "treatment").instance == "HOLDS"
    assert verdict_on(result, **RAISES).instance != "HOLDS"


def test_without_a_smaller_clone_loss_no_gain_is_laid_to_cloning():
    # more of the teacher, but shifted away from it
    result = result_of(trainer({"kept": 0.85, "shift": 3.0}, {"kept": 0.6}))
    assert verdict_on(result, "treatment").instance == "VIOLATED"
    for claim in (RAISES, BY_MORE, OF_DECODER):
        verdict = verdict_on(result, **claim)
        assert verdict.instance == "INCONCLUSIVE"
        assert "lowered the clone loss" in verdict.reasons[0]
    assert verdict_on(result, "known-truth").instance == "HOLDS"


def test_each_estimator_says_what_it_bounds(with_a_gain):
    assert set(OF_ESTIMATORS) == set(METHODS)
    reasons = verdict_on(with_a_gain, "lower-bound", estimator="gaussian").reasons
    assert any("the states of one side are a Gaussian vector, and no bound otherwise" in reason for reason in reasons)
    assert all(CONDITIONAL in finding.verdict.reasons for finding in with_a_gain.findings)


def test_estimates_never_violate_a_lower_bound():
    result = result_of(trainer({"kept": 0.999}, {"kept": 0.6}))
    against = verdicts_on(result, "lower-bound", estimator="gaussian")
    assert len(against) == 4
    assert all(verdict.instance in ("HOLDS", "INCONCLUSIVE") for verdict in against)
    without_noise = verdict_on(result, "lower-bound", distortion="D")
    assert without_noise.instance == "INCONCLUSIVE"
    assert any("is no upper bound on I" in reason for reason in without_noise.reasons)


def test_a_claim_that_could_not_show_at_this_noise_is_not_judged():
    result = result_of(trainer({"kept": 0.85}, {"kept": 0.6}), noise={"gaussian": 1.0}, seeds=5)
    claim = verdict_on(result, **BY_MORE)
    assert claim.instance == "NOT_APPLICABLE"
    assert "could not show" in claim.reasons[0]
    assert verdict_on(result, **RAISES).instance == "HOLDS"


def test_statements_that_cannot_be_tested_say_so(with_a_gain):
    assert verdict_on(with_a_gain, "open-constant").instance == "UNFALSIFIABLE"
    assert verdict_on(with_a_gain, "without-noise").instance == "NOT_APPLICABLE"
    assert verdict_on(with_a_gain, "isotropic-states").instance == "NOT_APPLICABLE"
    assert verdict_on(with_a_gain, "lower-bound", equation="eq-27").instance == "VIOLATED"


def test_failed_students_are_counted():
    gain = verdict_on(result_of(trainer({"kept": 0.9}, {"kept": 0.6}, failed=(3,))), **RAISES)
    assert gain.instance not in ("HOLDS", "VIOLATED")
    assert any("1 of 12 students failed" in reason for reason in gain.reasons)
    nothing = result_of(trainer({"kept": 0.9}, {"kept": 0.6}, failed=tuple(range(0, 10, 2))))
    assert [finding.verdict.instance for finding in nothing.findings] == ["INCONCLUSIVE"]


def test_an_estimator_that_fails_leaves_its_reason():
    train = trainer({"kept": 0.9}, {"kept": 0.6})
    result = result_of(train, estimators=["mine"], components=2, critic_steps=1, seeds=2)
    assert verdict_on(result, **RAISES | {"estimator": "mine"}).instance == "NOT_APPLICABLE"


def test_the_same_configuration_gives_the_same_record_and_few_numbers():
    first, second = (result_of(trainer({"kept": 0.9}, {"kept": 0.6}), seeds=2) for _ in range(2))
    assert to_json(first.data) == to_json(second.data)
    assert [finding.to_dict() for finding in first.findings] == [finding.to_dict() for finding in second.findings]
    assert len(json.dumps(json.loads(to_json(first.data)))) < 200_000


def test_data_without_a_measurement_or_a_pair_are_refused(with_a_gain):
    data = with_a_gain.data
    for changes in ({"seeds": ()}, {"seeds": data.seeds[1:]}, {"losses": {}}, {"information": {"mine": {}}}):
        with pytest.raises(InputError, match="is not whole"):
            dataclasses.replace(data, **changes)


def test_controls_do_not_move_and_shuffled_pairs_share_nothing():
    pair = tuple(
        FakeStudent(StudentConfig("scratch:tiny", clone_weight=weight), kept=kept).states(10)
        for weight, kept in ((1.0, 0.9), (0.0, 0.6))
    )
    values, failures = information(Context(settings_with(), 0, trainer({}, {})), pair, "gaussian", 0)
    assert failures == []
    states = values["states"][CLONED]
    np.testing.assert_allclose(values["rotated"][CLONED], states, atol=0.15)
    np.testing.assert_allclose(values["rescaled"][CLONED], states, atol=0.15)
    np.testing.assert_allclose(values["shuffled"][CLONED], 0.0, atol=0.05)
    np.testing.assert_allclose(values["known"], values["truth"], atol=0.2)
    assert (values["capacity"] > values["truth"]).all()
    assert np.isnan(values["rotated"][PLAIN]).all()


def test_clone_losses_are_sums_over_coordinates():
    states = FakeStudent(StudentConfig("scratch:tiny"), kept=0.9, shift=1.0).states(10)[1]
    numbers = loss_numbers(states)
    centred = 2 * 0.1 * (9 + 4 + 1 + 0.25)  # 2 (1 − ρ) Σ σ²
    assert numbers["centred_clone_loss"] == pytest.approx(centred, rel=0.05)
    assert numbers["clone_loss"] == pytest.approx(centred + WIDTH, rel=0.05)
    assert numbers["rate_distortion"] < numbers["centred_rate_distortion"] < numbers["decoder"]


def test_power_needs_five_pairs():
    power = EXPERIMENT.part(STUDENTS).power
    assert set(power(settings_with(seeds=4)).values()) == {0.0}
    assert min(power(settings_with(seeds=8)).values()) > 0.9
