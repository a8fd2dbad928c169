from __future__ import annotations

import tomllib

import numpy as np
import pytest

import theorykit as tk
from theorykit.verdicts import Instance
from validation.claims.experiment import PLANTED, STUDENTS, Context
from validation.claims.factors import multiplied
from validation.claims.finding import CONDITIONAL, Form, Outcome
from validation.claims.trained import TrainedStudent
from validation.theorem_1 import planted
from validation.theorem_1.arms import Constants, Curve, constants_of
from validation.theorem_1.experiment import EXPERIMENT
from validation.theorem_1.rates import rate_finding, rate_plan
from validation.theorem_1.slopes import adamw_finding, power, slope_findings
from validation.theorem_1.speed import gradient_speed, loss_speed, speed_findings
from validation.theorem_1.students import (
    constant_step_findings,
    refuted_and_explicit,
    students,
    tuned_findings,
)
from validation.training.config import StudentConfig

SETTINGS = tomllib.loads(
    """
    teacher = "scratch:tiny,steps=60"
    data = "python-docs"
    length = 32
    n_blocks = 8
    rank = 4
    high_rank = 16
    seeds = 8
    probe_seeds = 2
    steps = 1000
    measure_every = 10
    learning_rate = 0.5
    tuned_steps = [100, 300, 1000]
    rate_steps = [125, 250, 500, 1000]
    one_over_l = true
    adamw_steps = 8
    adamw_looks = 4
    adamw_rate = 1e-3
    adamw_batch_size = 4
    adamw_start = "random"
    sd_log = 0.2
    margin = 0.2
    control_margin = 0.3
    alpha = 0.05
    """
)
"""No file of presets: what it asks for stays a matter of the preset."""


@pytest.fixture(scope="module")
def evidence():
    return EXPERIMENT.part(PLANTED).run(Context({}, 0, lambda asked: []))


def cheap_findings():
    generator = np.random.default_rng(0)
    return [
        *planted.on_extremal_instances(),
        *planted.on_steps(),
        *planted.on_minibatches(generator),
        *planted.on_variance(generator),
    ]


def test_planted_truths_and_falsehoods_are_told(evidence):
    assert {one.outcome for one in evidence.findings} == {Outcome.RIGHT}
    assert any(one.expected == ("VIOLATED",) for one in evidence.findings)
    assert any(one.expected == ("INCONSISTENT",) for one in evidence.findings)


@pytest.mark.parametrize(
    ("slope", "explicit", "words"),
    [
        (-1.0, None, ("HOLDS", "INCONSISTENT")),
        (-0.5, Instance.VIOLATED, ("HOLDS", "CONSISTENT")),
        (0.0, Instance.VIOLATED, ("VIOLATED", "INCONSISTENT")),
        (0.0, Instance.HOLDS, ("INCONCLUSIVE", "INCONSISTENT")),
        (0.0, None, ("UNFALSIFIABLE", "INCONSISTENT")),
    ],
)
def test_a_slope_alone_refutes_no_upper_bound(slope, explicit, words):
    sizes = np.array([100.0, 1000.0, 10_000.0])
    generator = np.random.default_rng(0)
    averages = sizes**slope * np.exp(0.01 * generator.standard_normal((8, 3)))
    plan = rate_plan(-0.5, sizes, seeds=8, sd_log=0.1, margin=0.1)
    found = rate_finding(plan, averages, generator, form=Form.PRINTED, what="O(T^-1/2)", explicit=explicit)
    assert found.words == words


def test_planted_findings_repeat(evidence):
    again = EXPERIMENT.part(PLANTED).run(Context({}, 0, lambda asked: []))
    assert [one.to_dict() for one in again.findings] == [one.to_dict() for one in evidence.findings]


@pytest.mark.parametrize("factor", [2.0, 0.5])
@pytest.mark.parametrize("name", EXPERIMENT.bounds)
def test_a_bound_off_by_a_factor_is_noticed(monkeypatch, name, factor):
    assert {one.outcome for one in cheap_findings()} == {Outcome.RIGHT}
    monkeypatch.setattr(tk, name, multiplied(getattr(tk, name), factor), raising=False)
    assert {one.outcome for one in cheap_findings()} > {Outcome.RIGHT}


def curve(generator, step_size=0.5, floor=1.0, steps=1000):
    """SGD at its floor: the squared gradient norm neither falls nor rises, the loss has come down by 0.1 at once."""
    at = np.arange(0.0, steps + 1, 10)
    squares = floor * (1 + 0.2 * generator.standard_normal(at.size))
    losses = np.where(at == 0, 2.1, 2.0)
    return Curve(at, squares, losses, step_size)


def known(excess=0.9):
    return Constants(3.0, 2.5, 3.5, (2 * excess,) * 2, (excess,) * 2, 0.5)


def judged(curves, constants):
    return {
        (one.equation, one.form): one.verdict
        for one in constant_step_findings(SETTINGS, "short step", curves, constants)
        if one.verdict.instance is not Instance.UNFALSIFIABLE
    }


def test_students_at_a_floor_violate_what_is_printed_and_obey_what_is_right():
    generator = np.random.default_rng(0)
    found = judged([curve(generator) for _ in range(8)], known())
    assert found["eq-11", Form.PRINTED].instance is Instance.VIOLATED
    assert found["eq-16", Form.PRINTED].instance is Instance.VIOLATED
    assert found["eq-11", Form.CORRECTED].instance is Instance.HOLDS
    assert found["eq-16", Form.CORRECTED].instance is Instance.HOLDS


def test_students_whose_gradient_vanishes_violate_nothing():
    generator = np.random.default_rng(0)
    found = judged([curve(generator, floor=1e-4) for _ in range(8)], known())
    assert Instance.VIOLATED not in {verdict.instance for verdict in found.values()}


def test_nothing_is_violated_within_what_constants_leave_open():
    # Δ may be as large as the whole loss: 2Δ/(ηT) = 2·2.1/(0.5·1000) = 0.0084; σ²/T at most 0.0035
    generator = np.random.default_rng(0)
    found = judged([curve(generator, floor=0.008) for _ in range(8)], known())
    assert found["eq-11", Form.PRINTED].instance is Instance.INCONCLUSIVE


def test_a_step_too_long_for_the_curvature_is_not_judged():
    generator = np.random.default_rng(0)
    found = judged([curve(generator) for _ in range(8)], known(excess=1.3))
    assert {verdict.instance for verdict in found.values()} == {Instance.NOT_APPLICABLE}


def test_failed_students_are_counted_and_decide_nothing():
    generator = np.random.default_rng(0)
    found = judged([None, *(curve(generator) for _ in range(7))], known())
    assert found["eq-11", Form.CORRECTED].instance is not Instance.HOLDS
    assert any("1 of 8 students failed" in reason for reason in found["eq-11", Form.CORRECTED].reasons)


def test_tuned_steps_are_judged_by_their_own_lengths():
    generator = np.random.default_rng(0)
    curves = [curve(generator, 1 / size**0.5, floor=0.1, steps=size) for size in (100, 300, 1000) for _ in range(8)]
    (found,) = tuned_findings(SETTINGS, curves, known())
    assert found.verdict.instance is Instance.HOLDS
    # curvature 1.8 against 1/η = 10, 17, 32: no step is too long
    assert len(found.verdict.evidence.rows) == 3


def test_a_tuned_step_that_is_too_long_is_left_out():
    generator = np.random.default_rng(0)
    curves = [curve(generator, 8 / size**0.5, floor=0.1, steps=size) for size in (100, 300, 1000) for _ in range(8)]
    (found,) = tuned_findings(SETTINGS, curves, known())
    assert [row.name for row in found.verdict.evidence.rows] == ["T = 300", "T = 1000"]
    assert any("T = 100 is left out" in reason for reason in found.verdict.reasons)


def slopes(refuted=(), explicit=None):
    generator = np.random.default_rng(0)
    curves = [curve(generator) for _ in range(8)]
    settings = SETTINGS | {"tuned_steps": []}
    arms = {"short step": curves, "step 1/L": curves}
    return slope_findings(Context(settings, 0, lambda asked: []), arms, refuted, explicit or {})


def test_slopes_name_whose_claim_they_judge_and_how_it_is_read():
    found = slopes(explicit={"short step": Instance.HOLDS, "step 1/L": Instance.VIOLATED})
    assert [one.words[0] for one in found] == ["INCONCLUSIVE", "UNFALSIFIABLE", "VIOLATED", "UNFALSIFIABLE"]
    for one, (rate, where) in zip(found, [("T^-1)", "§4.1"), ("T^-1/2)", "abstract, §7")] * 2, strict=True):
        assert f"O({rate}, an upper bound claimed by {where}" in one.what
        assert any("of the norm, which §5.4 writes" in reason for reason in one.verdict.reasons)


def test_slopes_are_only_shown_where_the_step_is_too_long():
    found = slopes(refuted={"short step"})
    assert [one.words for one in found[:2]] == [("NOT_APPLICABLE",)] * 2
    assert found[2].words == ("UNFALSIFIABLE", "INCONSISTENT")
    assert found[0].measured == pytest.approx(0, abs=0.1)


def test_arms_whose_step_is_too_long_are_told_from_curvature():
    generator = np.random.default_rng(0)
    short = [curve(generator) for _ in range(8)]
    tuned = [curve(generator, 8 / size**0.5, steps=size) for size in (100, 300, 1000) for _ in range(8)]
    curves = {"short step": short, "step 1/L": short, "tuned step": tuned}
    constants = {"short step": known(), "step 1/L": known(excess=1.3)}
    refuted, explicit = refuted_and_explicit(SETTINGS, curves, constants)
    assert refuted == {"step 1/L", "tuned step"}
    # a floor at 1 against (2LΔ + σ²)/T
    assert explicit["short step"] is Instance.VIOLATED


def test_the_slope_of_adamw_is_only_shown():
    generator = np.random.default_rng(0)
    curves = [curve(generator, steps=10) for _ in range(8)]
    found = adamw_finding(Context(SETTINGS, 0, lambda asked: []), curves)
    assert found.words == ("NOT_APPLICABLE",)
    assert found.measured is not None
    assert "§5.4" in found.what


def test_the_largest_of_the_lower_limits_of_a_run_is_corrected_for_being_picked():
    halves = np.random.default_rng(0).chisquare(5, (3, 8))
    noise = [tk.convergence.paired_gradient_variance(one, one) for one in halves]
    looks = [{"step": place, "gradient_variance": one.to_dict()} for place, one in enumerate(noise)]
    more = {"hessian": {"eigenvalue": 1.0}, "weight_error": {"0": {"least": 0.5}}}
    probe = TrainedStudent(StudentConfig("scratch:tiny"), measurements=tuple(look | more for look in looks))
    # two-sided 95 %: 2.5 % below, shared by the three points
    wider = [tk.convergence.paired_gradient_variance(one, one, confidence=1 - 0.05 / 3) for one in halves]
    assert constants_of([probe]).low == pytest.approx(max(one.interval[0] for one in wider))
    assert constants_of([probe]).low < max(one.interval[0] for one in noise)


def measured(norms, losses, seed=0):
    rows = tuple(
        {
            "step": 10 * place,
            "gradient_norm": norm,
            "loss_terms": {"train": {"total": loss}, "held_out": {"language_model": loss}},
        }
        for place, (norm, loss) in enumerate(zip(norms, losses, strict=True))
    )
    return TrainedStudent(StudentConfig("scratch:tiny", seed=seed), measurements=rows)


def test_speeds_of_a_known_curve():
    one = measured([2.0, 1.0, 1.0], [4.0, 3.0, 2.0])
    # squares 4, 1, 1: mean by trapezoids (2.5 + 1)/2 = 1.75 of 4; half of the loss at step 10 of 20
    assert gradient_speed(one) == pytest.approx(-np.log(1.75 / 4))
    assert loss_speed(one) == pytest.approx(np.log(2))
    assert np.isnan(loss_speed(measured([1.0, 1.0], [2.0, 3.0])))


def test_a_planted_speed_is_found_and_none_is_not():
    generator = np.random.default_rng(1)
    context = Context(SETTINGS, 0, lambda asked: [])

    def arm(rate):
        def one(seed):
            at = np.arange(20)
            fall = np.exp(-rate * (1 + 0.02 * generator.standard_normal()) * at)
            return measured(np.sqrt(fall).tolist(), (1 + fall).tolist(), seed)

        return [one(seed) for seed in range(8)]

    arms = {"low rank": arm(0.4), "low rank, other order": arm(0.4), "high rank": arm(0.2), "kd": arm(0.4)}
    findings, _ = speed_findings(context, arms | {"dense finetune": arm(0.8)})
    assert all("projected teacher; the learning rate is one" in one.verdict.reasons[-1] for one in findings)
    words = [one.verdict.instance for one in findings]
    assert words[0] is words[3] is Instance.HOLDS
    assert words[2] is words[5] is Instance.VIOLATED
    assert words[1] is not Instance.VIOLATED


def test_the_students_are_known_beforehand():
    asked = students(SETTINGS, 0)
    assert len(asked) == 8 * (2 + 3 + 5) + 2 * 2
    assert {type(one) for one in asked} == {StudentConfig}
    assert not {one.identity for one in asked} & {one.identity for one in students(SETTINGS, 1)}


def test_power_is_planned():
    assert min(power(SETTINGS).values()) > 0.8


def test_every_verdict_on_students_says_what_it_is_conditional_on():
    def train(asked):
        return [TrainedStudent(one, failure="lost") for one in asked]

    findings = EXPERIMENT.part(STUDENTS).run(Context(SETTINGS, 0, train)).findings
    assert findings
    assert all(one.verdict.reasons[-1] == CONDITIONAL for one in findings)
