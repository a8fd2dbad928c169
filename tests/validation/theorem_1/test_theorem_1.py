from __future__ import annotations

import tomllib
from dataclasses import replace

import numpy as np
import pytest

import theorykit as tk
from theorykit.errors import InputError
from theorykit.verdicts import Form, Instance, plan_exponent
from validation.claims.experiment import PLANTED, STUDENTS, Context
from validation.claims.factors import multiplied
from validation.claims.finding import CONDITIONAL, Outcome
from validation.claims.settings import PartSettings
from validation.claims.trained import TrainedStudent
from validation.theorem_1 import planted, slopes, students
from validation.theorem_1.arms import (
    ADAMW,
    CONTROL,
    DENSE,
    HIGH,
    KD,
    ONE_OVER_L,
    SHORT,
    TUNED,
    Constants,
    Curve,
    constants_of,
)
from validation.theorem_1.experiment import EXPERIMENT
from validation.theorem_1.slopes import RIVALS, Measure
from validation.training.config import StudentConfig

TABLE = tomllib.loads(
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
SETTINGS = EXPERIMENT.part(STUDENTS).read(TABLE)
ADAMW_ARMS = (ADAMW, CONTROL, *RIVALS)


def context(settings=SETTINGS, train=lambda asked: []):
    return Context(settings, 0, train)


@pytest.fixture(scope="module")
def evidence():
    return EXPERIMENT.part(PLANTED).run(context(PartSettings()))


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
    plan = plan_exponent(-0.5, sizes, n_seeds=8, sd_log=0.1, margin=0.1, further_rivals=slopes.RATES)
    finding = slopes.rate_finding(
        plan, averages, generator, form=Form.PRINTED, what="O(T^-1/2)", of={}, explicit=explicit
    )
    assert finding.words == words


def test_planted_findings_repeat(evidence):
    again = EXPERIMENT.part(PLANTED).run(context(PartSettings()))
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
    return Curve(at, squares, np.where(at == 0, 2.1, 2.0), step_size)


def eight(**options):
    generator = np.random.default_rng(0)
    return [curve(generator, **options) for _ in range(8)]


def tuned(factor, **options):
    generator = np.random.default_rng(0)
    return [curve(generator, factor / n**0.5, steps=n, **options) for n in (100, 300, 1000) for _ in range(8)]


def known(excess=0.9):
    return Constants(3.0, 2.5, 3.5, (2 * excess,) * 2, (excess,) * 2, 0.5)


def judged(curves, constants):
    return {
        (finding.equation, finding.form): finding.verdict
        for finding in students.constant_step_findings(SETTINGS, SHORT, curves, constants)
        if finding.verdict.instance is not Instance.UNFALSIFIABLE
    }


def test_students_at_a_floor_violate_what_is_printed_and_obey_what_is_right():
    found = judged(eight(), known())
    assert found["eq-11", Form.PRINTED].instance is Instance.VIOLATED
    assert found["eq-16", Form.PRINTED].instance is Instance.VIOLATED
    assert found["eq-11", Form.CORRECTED].instance is Instance.HOLDS
    assert found["eq-16", Form.CORRECTED].instance is Instance.HOLDS


def test_students_whose_gradient_vanishes_violate_nothing():
    found = judged(eight(floor=1e-4), known())
    assert Instance.VIOLATED not in {verdict.instance for verdict in found.values()}


def test_nothing_is_violated_within_what_constants_leave_open():
    # Δ may be as large as the whole loss: 2Δ/(ηT) = 2·2.1/(0.5·1000) = 0.0084; σ²/T at most 0.0035
    found = judged(eight(floor=0.008), known())
    assert found["eq-11", Form.PRINTED].instance is Instance.INCONCLUSIVE


def test_a_step_too_long_for_the_curvature_is_not_judged():
    found = judged(eight(), known(excess=1.3))
    assert {verdict.instance for verdict in found.values()} == {Instance.NOT_APPLICABLE}


def test_failed_students_are_counted_and_decide_nothing():
    found = judged([None, *eight()[:7]], known())
    assert found["eq-11", Form.CORRECTED].instance is not Instance.HOLDS
    assert any("1 of 8 students failed" in reason for reason in found["eq-11", Form.CORRECTED].reasons)


def test_tuned_steps_are_judged_by_their_own_lengths():
    (found,) = students.tuned_findings(SETTINGS, tuned(1, floor=0.1), known())
    assert found.verdict.instance is Instance.HOLDS
    # curvature 1.8 against 1/η = 10, 17, 32: no step is too long
    assert len(found.verdict.evidence.rows) == 3


def test_a_tuned_step_that_is_too_long_is_left_out():
    (found,) = students.tuned_findings(SETTINGS, tuned(8, floor=0.1), known())
    assert [row.name for row in found.verdict.evidence.rows] == ["T = 300", "T = 1000"]
    assert any("T = 100 is left out" in reason for reason in found.verdict.reasons)


def judged_slopes(refuted=(), explicit=None):
    arms = dict.fromkeys((SHORT, ONE_OVER_L), eight())
    return slopes.slope_findings(context(replace(SETTINGS, tuned_steps=())), arms, refuted, explicit or {})


def test_slopes_name_whose_claim_they_judge_and_how_it_is_read():
    findings = judged_slopes(explicit={SHORT: Instance.HOLDS, ONE_OVER_L: Instance.VIOLATED})
    assert [finding.words[0] for finding in findings] == ["INCONCLUSIVE", "UNFALSIFIABLE", "VIOLATED", "UNFALSIFIABLE"]
    claims = [("T^-1", "§4.1"), ("T^-1/2", "abstract, §7")] * 2
    for finding, (rate, where) in zip(findings, claims, strict=True):
        assert finding.of["rate"] == rate
        assert f"O({rate}), an upper bound claimed by {where}" in finding.what
        assert any("of the norm, which §5.4 writes" in reason for reason in finding.verdict.reasons)


def test_slopes_are_only_shown_where_the_step_is_too_long():
    found = judged_slopes(refuted={SHORT})
    assert [finding.words for finding in found[:2]] == [("NOT_APPLICABLE",)] * 2
    assert found[2].words == ("UNFALSIFIABLE", "INCONSISTENT")
    assert found[0].measured == pytest.approx(0, abs=0.1)


def test_arms_whose_step_is_too_long_are_told_from_curvature():
    curves = {SHORT: eight(), ONE_OVER_L: eight(), TUNED: tuned(8)}
    constants = {SHORT: known(), ONE_OVER_L: known(excess=1.3)}
    refuted, explicit = students.refuted_and_explicit(SETTINGS, curves, constants)
    assert refuted == {ONE_OVER_L, TUNED}
    # a floor at 1 against (2LΔ + σ²)/T
    assert explicit[SHORT] is Instance.VIOLATED


def test_the_slope_of_adamw_is_only_shown():
    found = slopes.adamw_slope(context(), eight(steps=10))
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
    assert slopes.gradient_speed(one) == pytest.approx(-np.log(1.75 / 4))
    assert slopes.loss_speed(one) == pytest.approx(np.log(2))
    assert np.isnan(slopes.loss_speed(measured([1.0, 1.0], [2.0, 3.0])))


def test_a_planted_speed_is_found_and_none_is_not():
    generator = np.random.default_rng(1)

    def arm(rate):
        def one(seed):
            at = np.arange(20)
            fall = np.exp(-rate * (1 + 0.02 * generator.standard_normal()) * at)
            return measured(np.sqrt(fall).tolist(), (1 + fall).tolist(), seed)

        return [one(seed) for seed in range(8)]

    arms = {ADAMW: arm(0.4), CONTROL: arm(0.4), HIGH: arm(0.2), KD: arm(0.4), DENSE: arm(0.8)}
    findings = slopes.speed_findings(context(), slopes.speeds_of(arms))
    assert [finding.of for finding in findings] == [
        {"rival": rival, "measure": measure} for measure in Measure for rival in RIVALS
    ]
    assert all("projected teacher; the learning rate is one" in one.verdict.reasons[-1] for one in findings)
    words = [one.verdict.instance for one in findings]
    assert words[0] is words[3] is Instance.HOLDS
    assert words[2] is words[5] is Instance.VIOLATED
    assert words[1] is not Instance.VIOLATED


def test_the_students_are_known_beforehand():
    asked = students.students(SETTINGS, 0)
    assert len(asked) == 8 * (2 + 3 + 5) + 2 * 2
    assert {type(one) for one in asked} == {StudentConfig}
    assert not {one.identity for one in asked} & {one.identity for one in students.students(SETTINGS, 1)}


def test_power_is_planned():
    assert min(slopes.power(SETTINGS).values()) > 0.8


def test_every_verdict_on_students_says_what_it_is_conditional_on():
    def train(asked):
        return [TrainedStudent(config, failure="lost") for config in asked]

    findings = EXPERIMENT.part(STUDENTS).run(context(train=train)).findings
    assert findings
    assert all(one.verdict.reasons[-1] == CONDITIONAL for one in findings)


def without(field, **change):
    """Return data that a figure cannot draw: their field is another."""
    speeds = {measure: {arm: np.zeros(2) for arm in ADAMW_ARMS} for measure in Measure}
    data = students.StudentsData(dict.fromkeys((SHORT, *ADAMW_ARMS), ()), {SHORT: known()}, speeds)
    return replace(data, **{field: change})


LOOKS = np.arange(2.0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: without("curves", **{SHORT: ()}), "an arm or a measure"),
        (lambda: without("speeds"), "an arm or a measure"),
        (lambda: without("speeds", **{m: {ADAMW: LOOKS} for m in Measure}), "speeds are not of all arms"),
        (lambda: without("speeds", **{m: {a: np.zeros(len(a)) for a in ADAMW_ARMS} for m in Measure}), "and seeds"),
        (lambda: Curve(LOOKS, LOOKS[:1], LOOKS, 0.5), "two looks"),
        (lambda: Curve(LOOKS[:1], LOOKS[:1], LOOKS[:1], 0.5), "two looks"),
        (lambda: replace(known(), curvatures=()), "of no run"),
    ],
)
def test_data_without_what_a_figure_draws_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()
