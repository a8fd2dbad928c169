"""The experiment on Lemma 1: its planted truths, what it notices, and what it says of made-up students."""

from __future__ import annotations

import dataclasses
import functools
import json

import numpy as np
import pytest

import theorykit as tk
from theorykit.results import plain
from theorykit.verdicts import Form, Instance
from validation.claims.experiment import PLANTED, STUDENTS, Context
from validation.claims.factors import multiplied
from validation.claims.finding import CONDITIONAL, Outcome
from validation.claims.settings import PartSettings
from validation.claims.trained import TrainedStudent
from validation.lemma_1 import planted, students
from validation.lemma_1.experiment import EXPERIMENT
from validation.reports.experiments import find_experiment

SETTINGS = EXPERIMENT.part(STUDENTS).read(
    {"teacher": "smollm2", "method": "kd", "steps": 10, "ranks": [4, 8], "seeds": 4}
)


def planted_context(seed=0):
    return Context(PartSettings(), seed, train=lambda students: [])


@functools.cache
def planted_findings(seed):
    return EXPERIMENT.part(PLANTED).run(planted_context(seed)).findings


QUICKEST_FIRST = (
    planted.chain_rules,
    planted.extremal_instances,
    planted.counterexample,
    planted.start_and_routes,
    planted.smoothness,
    planted.nearest_matrices,
    planted.ascents,
)
"""What the planted part is made of: the first finding that is wrong is enough."""


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
    again = EXPERIMENT.part(PLANTED).run(planted_context(1)).findings
    first, second, other = (
        [json.dumps(plain(one)) for one in found] for found in (planted_findings(1), again, planted_findings(2))
    )
    assert first == second
    assert first != other


@pytest.mark.parametrize("factor", [0.5, 2.0])
@pytest.mark.parametrize("name", [*EXPERIMENT.bounds, "factor_gradients"])
def test_a_bound_that_is_off_by_two_is_noticed(monkeypatch, name, factor):
    monkeypatch.setattr(tk, name, multiplied(getattr(tk, name), factor))
    assert any(one.outcome is not Outcome.RIGHT for part in QUICKEST_FIRST for one in part(planted_context()))


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
    """Return what the part makes of made-up students."""
    rng = np.random.default_rng(0)

    def train(configs):
        return [change(made_up(config, rng, scale), number) for number, config in enumerate(configs)]

    return EXPERIMENT.part(STUDENTS).run(Context(dataclasses.replace(SETTINGS, **settings), 0, train))


def of(result, equation, form, key, **configuration):
    (finding,) = [
        finding
        for finding in result.findings
        if (finding.equation, finding.form, finding.key) == (equation, form, key)
        and configuration.items() <= finding.of.items()
    ]
    return finding


def with_rows(change):
    """Return a change of a student's rows of gradient deviations."""

    def changed(student, number):
        rows = tuple(
            row | {"gradient_deviation": row["gradient_deviation"] | change(student, row["gradient_deviation"])}
            if "gradient_deviation" in row
            else row
            for row in student.measurements
        )
        return dataclasses.replace(student, measurements=rows)

    return changed


def test_students_are_square_and_factored_of_each_rank_and_seed():
    configs = students.students(SETTINGS, 2)
    assert len(configs) == 2 * 2 * 4
    assert {one.student for one in configs} == {"square", "factored"}
    assert {one.seed for one in configs} == {2000, 2001, 2002, 2003}
    assert all(one.measure_every == 5 for one in configs)
    without_ascent = students.students(dataclasses.replace(SETTINGS, ascent=False), 0)
    assert all("deviation_ascent" not in config.measurements for config in without_ascent)


def test_a_bound_above_the_trivial_one_is_vacuous():
    found = of(judged(), "eq-8", Form.CORRECTED, "deviation")
    assert found.words == ("HOLDS", "VACUOUS")
    assert found.measured < 0.1
    assert all(one.outcome is None for one in judged().findings)


def test_a_bound_below_the_trivial_one_is_informative():
    tight = with_rows(lambda student, row: {"truncation_errors": [1e-2] * 3, "deviation": [[1e-4, 1e-4]] * 3})
    finding = of(judged(change=tight), "eq-8", Form.CORRECTED, "deviation")
    assert finding.words == ("HOLDS", "INFORMATIVE")


def test_what_cannot_fail_says_so_and_what_all_seeds_share():
    evidence = judged()
    by_proof = [of(evidence, "eq-8", Form.CORRECTED, key) for key in ("deviation", "ascent")]
    for one in evidence.findings:
        assert any("eq 8 cannot fail here" in reason for reason in one.verdict.reasons) == (one in by_proof)
        assert CONDITIONAL in one.verdict.reasons


def test_a_secant_never_supports_a_violation():
    evidence = judged(scale=1e4)
    for equation, form, over, why in (
        ("eq-8", Form.CORRECTED, "all layers and factors", "an error of the measurement"),
        ("eq-37", Form.PRINTED, "one factor of one layer", "may be larger"),
    ):
        found = of(evidence, equation, form, "deviation", over=over)
        assert found.verdict.instance is Instance.INCONCLUSIVE
        assert found.measured > 1
        assert why in " ".join(found.verdict.reasons)


def test_a_constant_is_registered_on_other_seeds_than_it_is_tested_on():
    evidence = judged(seeds=8)
    assert of(evidence, "eq-8", Form.PRINTED, "order", constant="open").verdict.instance is Instance.UNFALSIFIABLE
    assert of(evidence, "eq-8", Form.PRINTED, "order", constant="registered").verdict.instance is Instance.HOLDS

    grown = with_rows(
        lambda student, row: {"deviation": ((100 if student.seed >= 3 else 1) * np.array(row["deviation"])).tolist()}
    )
    tested = of(judged(seeds=8, change=grown), "eq-8", Form.PRINTED, "order", constant="registered")
    assert tested.verdict.instance is Instance.VIOLATED
    assert not [finding for finding in judged(seeds=6).findings if finding.of.get("constant") == "registered"]


def test_failed_students_are_counted_and_left_out():
    def lose(student, number):
        return dataclasses.replace(student, failure="the loss was not finite") if number == 0 else student

    found = judged(change=lose)
    assert all("1 of 16 students failed." in one.verdict.reasons for one in found.findings)
    assert len(found.data["deviation"]) == 3 * 7

    def lose_one_of_each_seed(student, number):
        return lose(student, number if (student.rank == 4) != student.seed % 2 else 0)

    lone = of(judged(change=lose_one_of_each_seed), "eq-8", Form.PRINTED, "order")
    assert lone.words == ("NOT_RUN",)

    def lose_all(student, number):
        return TrainedStudent(student.config, failure="the loss was not finite")

    words = {one.verdict.instance for one in judged(change=lose_all).findings}
    assert words <= {Instance.NOT_RUN, Instance.NOT_APPLICABLE}


def test_factored_students_have_eq_7_and_no_lemma():
    found = judged()
    assert of(found, "eq-8", Form.CORRECTED, "factored-students").verdict.instance is Instance.NOT_APPLICABLE
    nearest = of(found, "eq-7", Form.CORRECTED, "nearest")
    assert nearest.words == ("HOLDS",)
    assert nearest.measured == pytest.approx(0.95)


def test_rounding_above_what_was_stated_is_no_zero():
    off = with_rows(
        lambda student, row: {"svd_start": {"deviation": 0.1, "trivial": 1.0}} if "svd_start" in row else {}
    )
    assert of(judged(change=off), "eq-8", Form.CORRECTED, "svd-start").words == ("INCONCLUSIVE",)


def test_the_power_of_the_registered_constant_grows_with_the_seeds():
    few, many = (students.power(dataclasses.replace(SETTINGS, seeds=seeds)) for seeds in (4, 16))
    assert list(few.values()) < list(many.values())
    assert students.power(dataclasses.replace(SETTINGS, seeds=3)) == {}


def test_the_deviation_by_autograd_is_that_of_counterexample_3():
    (printed, corrected) = planted.counterexample(planted_context())
    assert (round(printed.measured, 4), round(printed.bound, 4), round(corrected.bound, 4)) == (0.32, 0.1623, 0.6423)
