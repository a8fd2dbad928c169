"""The experiment on Lemma 1: its planted truths, what it notices, and what it says of made-up students."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

import theorykit as tk
from theorykit.results import plain
from theorykit.verdicts import Instance
from validation.claims.experiment import PLANTED, STUDENTS, Context
from validation.claims.factors import multiplied
from validation.claims.finding import CONDITIONAL, Form, Outcome
from validation.claims.trained import TrainedStudent
from validation.lemma_1 import planted
from validation.lemma_1 import students as trained
from validation.lemma_1.experiment import EXPERIMENT
from validation.reports.experiments import find_experiment

SETTINGS = {"teacher": "smollm2", "method": "kd", "steps": 10, "ranks": [4, 8], "seeds": 4}


def planted_findings(seed=0):
    return EXPERIMENT.part(PLANTED).run(Context({}, seed, train=lambda students: [])).findings


def test_it_is_found_under_its_slug():
    assert find_experiment("lemma-1") is EXPERIMENT


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_truths_and_falsehoods_come_out_right(seed):
    found = planted_findings(seed)
    assert all(one.outcome is Outcome.RIGHT for one in found), [
        one for one in found if one.outcome is not Outcome.RIGHT
    ]
    refuted = {one.equation for one in found if one.form is Form.PRINTED and one.expected == ("VIOLATED",)}
    assert refuted == {"eq-37", "eq-10", "eq-5"}
    assert {one.equation for one in found} == {"eq-5", "eq-7", "eq-8", "eq-9", "eq-10", "eq-37"}


def test_one_seed_gives_one_record():
    first, second = ([json.dumps(plain(one)) for one in planted_findings(5)] for _ in range(2))
    assert first == second
    assert first != [json.dumps(plain(one)) for one in planted_findings(6)]


@pytest.mark.parametrize("factor", [0.5, 2.0])
@pytest.mark.parametrize("name", [*EXPERIMENT.bounds, "factor_gradients"])
def test_a_bound_that_is_off_by_two_is_noticed(monkeypatch, name, factor):
    monkeypatch.setattr(tk, name, multiplied(getattr(tk, name), factor))
    assert any(one.outcome is not Outcome.RIGHT for one in planted_findings())


def deviation_row(rng, scale=1.0, step=0):
    layers = 3
    trivial = rng.uniform(1, 2, (layers, 2))
    row = {
        "layers": [f"layer {number}" for number in range(layers)],
        "deviation": (scale * rng.uniform(0.1, 0.2, (layers, 2))).tolist(),
        "trivial": trivial.tolist(),
        "truncation_errors": [1.0, 2.0, 3.0],
        "teacher_norms": [4.0, 4.0, 4.0],
        "projection_norms": [1.0, 2.0, 1.5],
        "gradient_norms": [0.1, 0.2, 0.1],
        "smoothness": 0.5,
    }
    return row | ({} if step else {"svd_start": {"deviation": 0.0, "trivial": 3.0}})


def made_up(config, rng, scale):
    if config.student == "factored":
        rows = [
            {"step": step, "weight_error": {"layer": {"rank": 4, "error": 2.0, "least": 1.9}}} for step in (0, 5, 10)
        ]
        return TrainedStudent(config, measurements=tuple(rows))
    rows = [{"step": step, "gradient_deviation": deviation_row(rng, scale, step)} for step in (0, 5, 10)]
    rows[-1]["deviation_ascent"] = {"start": 0.1, "largest": 0.4, "n_trials": 21, "n_blocks": 1}
    return TrainedStudent(config, measurements=tuple(rows))


def judged(scale=1.0, change=lambda student, number: student, **settings):
    """Return the findings on made-up students, by equation, form and the first word of the verdict."""
    rng = np.random.default_rng(0)

    def train(students):
        return [change(made_up(one, rng, scale), number) for number, one in enumerate(students)]

    return EXPERIMENT.part(STUDENTS).run(Context(SETTINGS | settings, 0, train))


def of(evidence, equation, form, start):
    (found,) = [
        one for one in evidence.findings if one.equation == equation and one.form is form and one.what.startswith(start)
    ]
    return found


def test_students_are_square_and_factored_of_each_rank_and_seed():
    configs = EXPERIMENT.part(STUDENTS).students(SETTINGS, 2)
    assert len(configs) == 2 * 2 * 4
    assert {one.student for one in configs} == {"square", "factored"}
    assert {one.seed for one in configs} == {2000, 2001, 2002, 2003}
    assert all(one.measure_every == 5 for one in configs)
    plain_ones = EXPERIMENT.part(STUDENTS).students(SETTINGS | {"ascent": False}, 0)
    assert all("deviation_ascent" not in one.measurements for one in plain_ones)


def test_a_bound_above_the_trivial_one_is_vacuous():
    found = of(judged(), "eq-8", Form.CORRECTED, "how loose: deviation summed")
    assert found.words == ("HOLDS", "VACUOUS")
    assert found.measured < 0.1
    assert all(one.outcome is None for one in judged().findings)


def test_a_bound_below_the_trivial_one_is_informative():
    def tight(student, number):
        rows = [dict(row) for row in student.measurements]
        for row in rows:
            if "gradient_deviation" in row:
                change = {"truncation_errors": [1e-2] * 3, "deviation": [[1e-4, 1e-4]] * 3}
                row["gradient_deviation"] = row["gradient_deviation"] | change
        return dataclasses.replace(student, measurements=tuple(rows))

    assert of(judged(change=tight), "eq-8", Form.CORRECTED, "how loose: deviation summed").words == (
        "HOLDS",
        "INFORMATIVE",
    )


def test_what_cannot_fail_says_so_and_what_all_seeds_share():
    evidence = judged()
    by_proof = [one for one in evidence.findings if one.what.startswith("how loose")]
    assert [one.form for one in by_proof] == [Form.CORRECTED] * 2
    for one in evidence.findings:
        assert any("eq 8 cannot fail here" in reason for reason in one.verdict.reasons) == (one in by_proof)
        assert CONDITIONAL in one.verdict.reasons


def test_a_secant_never_supports_a_violation():
    evidence = judged(scale=1e4)
    for equation, form, start, why in (
        ("eq-8", Form.CORRECTED, "how loose: deviation summed", "an error of the measurement"),
        ("eq-37", Form.PRINTED, "deviation of one", "may be larger"),
    ):
        found = of(evidence, equation, form, start)
        assert found.verdict.instance is Instance.INCONCLUSIVE
        assert found.measured > 1
        assert why in " ".join(found.verdict.reasons)


def test_a_constant_is_registered_on_other_seeds_than_it_is_tested_on():
    evidence = judged()
    assert of(evidence, "eq-8", Form.PRINTED, "deviation summed").verdict.instance is Instance.UNFALSIFIABLE
    assert of(evidence, "eq-8", Form.PRINTED, "the same").verdict.instance is Instance.HOLDS

    def grown(student, number):
        rows = [dict(row) for row in student.measurements]
        for row in rows:
            if "gradient_deviation" in row and student.seed >= 2:
                old = row["gradient_deviation"]
                row["gradient_deviation"] = old | {"deviation": (100 * np.array(old["deviation"])).tolist()}
        return dataclasses.replace(student, measurements=tuple(rows))

    assert of(judged(change=grown), "eq-8", Form.PRINTED, "the same").verdict.instance is Instance.VIOLATED
    assert not [one for one in judged(seeds=3).findings if "registered on" in one.what]


def test_failed_students_are_counted_and_left_out():
    def lose(student, number):
        return dataclasses.replace(student, failure="the loss was not finite") if number == 0 else student

    found = judged(change=lose)
    assert all("1 of 16 students failed." in one.verdict.reasons for one in found.findings)
    assert len(found.data["deviation"]) == 3 * 7

    def lose_one_of_each_seed(student, number):
        return lose(student, number if (student.rank == 4) != student.seed % 2 else 0)

    lone = of(judged(change=lose_one_of_each_seed), "eq-8", Form.PRINTED, "deviation summed")
    assert lone.words == ("NOT_RUN",)

    def lose_all(student, number):
        return TrainedStudent(student.config, failure="the loss was not finite")

    words = {one.verdict.instance for one in judged(change=lose_all).findings}
    assert words <= {Instance.NOT_RUN, Instance.NOT_APPLICABLE}


def test_factored_students_have_eq_7_and_no_lemma():
    found = judged()
    assert of(found, "eq-8", Form.CORRECTED, "Lemma 1 of factored").verdict.instance is Instance.NOT_APPLICABLE
    nearest = of(found, "eq-7", Form.CORRECTED, "ε_l(r)")
    assert nearest.words == ("HOLDS",)
    assert nearest.measured == pytest.approx(0.95)


def test_rounding_above_what_was_stated_is_no_zero():
    def off(student, number):
        rows = [dict(row) for row in student.measurements]
        if "gradient_deviation" in rows[0]:
            start = {"svd_start": {"deviation": 0.1, "trivial": 1.0}}
            rows[0]["gradient_deviation"] = rows[0]["gradient_deviation"] | start
        return dataclasses.replace(student, measurements=tuple(rows))

    assert of(judged(change=off), "eq-8", Form.CORRECTED, "deviation at the SVD").words == ("INCONCLUSIVE",)


def test_the_power_of_the_registered_constant_grows_with_the_seeds():
    few, many = (trained.power(SETTINGS | {"seeds": seeds}) for seeds in (4, 16))
    assert list(few.values()) < list(many.values())
    assert trained.power(SETTINGS | {"seeds": 3}) == {}


def test_the_deviation_by_autograd_is_that_of_counterexample_3():
    (printed, corrected) = planted.counterexample(Context({}, 0, train=lambda students: []))
    assert (round(printed.measured, 4), round(printed.bound, 4), round(corrected.bound, 4)) == (0.32, 0.1623, 0.6423)
