from __future__ import annotations

import numpy as np
import pytest

import theorykit as tk
from theorykit.errors import InputError
from validation.checks import find_check
from validation.checks.check import PLANTED, STUDENTS, TEACHER, Context
from validation.checks.factors import multiplied
from validation.checks.finding import Form, Outcome
from validation.checks.generalization_gap_planted import PARTS
from validation.checks.generalization_gap_slopes import mean_intervals
from validation.checks.trained import TrainedStudent

CHECK = find_check("eq-19")
PARTS_BY_BOUND = {
    "contracted_complexity": ("contraction_findings",),
    "dudley_entropy_integral": ("dudley_findings",),
    "empirical_rademacher_complexity": ("complexity_findings",),
    "generalization_bound": ("frequency_findings",),
    "log_covering_number": ("covering_findings",),
    "low_rank_dudley_bound": ("dudley_findings",),
    "printed_generalization_bound": ("printed_findings",),
    "printed_rademacher_bound": ("printed_findings",),
    "rank_free_rademacher_bound": ("complexity_findings", "rank_free_findings"),
    "vector_rademacher_complexity": ("complexity_findings",),
}
SETTINGS = {
    "teacher": "scratch:tiny",
    "ranks": [4, 8, 16, 32, 64],
    "sizes": [32, 64, 128, 256],
    "seeds": 8,
    "length": 64,
    "alpha": 0.05,
    "gap_sd_log": 0.1,
    "gap_margin": 0.2,
}


def planted(seed: int = 0):
    ctx = Context({}, seed, train=lambda students: [])
    return ctx, {part.__name__: part for part in PARTS}


@pytest.mark.parametrize("seed", [0, 1])
def test_every_planted_control_comes_out_right(seed):
    evidence = CHECK.part(PLANTED).run(planted(seed)[0])
    assert [finding.what for finding in evidence.findings if finding.outcome is not Outcome.RIGHT] == []
    words = {word for finding in evidence.findings for word in finding.words}
    assert {"HOLDS", "VIOLATED", "INFORMATIVE", "DOMINATED", "VACUOUS", "CONSISTENT", "INCONSISTENT"} <= words


def test_the_planted_part_is_the_same_twice():
    ctx, parts = planted(3)
    first, second = (parts["complexity_findings"](ctx) for _ in range(2))
    assert [one.to_dict() for one in first] == [one.to_dict() for one in second]


@pytest.mark.parametrize("factor", [0.5, 2.0])
@pytest.mark.parametrize("name", CHECK.bounds)
def test_a_bound_that_is_off_by_two_is_noticed(monkeypatch, name, factor):
    monkeypatch.setattr(tk, name, multiplied(getattr(tk, name), factor), raising=False)
    ctx, parts = planted()
    outcomes = [finding.outcome for part in PARTS_BY_BOUND[name] for finding in parts[part](ctx)]
    assert set(outcomes) != {Outcome.RIGHT}


def test_every_bound_has_its_controls():
    assert set(PARTS_BY_BOUND) == set(CHECK.bounds)


def fake(gap, *, failing=(), falls=0.5):
    """Train nothing: gaps of the loss and of the error that are ``gap(rank) · n^-falls`` with little noise.

    The gap of the loss before training is 0.01.
    """

    def train(students):
        draws = np.random.default_rng(5)
        found = []
        for config in students:
            value = gap(config.rank[0]) * config.n_blocks[0] ** -falls * np.exp(0.05 * draws.standard_normal())
            terms = {
                "gap": {"language_model": value + 0.01, "accuracy": -value / 10},
                "held_out": {"language_model": 3 + value, "accuracy": 0.3},
            }
            before = terms | {"gap": {"language_model": 0.01, "accuracy": 0.0}}
            rows = ({"step": 0, "loss_terms": before}, {"step": 9, "loss_terms": terms})
            failure = (
                "its loss is not finite" if (config.seed[0], config.n_blocks[0], config.rank[0]) in failing else ""
            )
            found.append(TrainedStudent(config, failure, {}, rows))
        return found

    return train


def on_students(gap, **options):
    ctx = Context(SETTINGS, 0, train=fake(gap, **options))
    evidence = CHECK.part(STUDENTS).run(ctx)
    assert all(finding.outcome is None for finding in evidence.findings)
    return evidence


def of(evidence, equation, form, part=""):
    return [one for one in evidence.findings if (one.equation, one.form) == (equation, form) and part in one.what]


@pytest.mark.parametrize(
    ("gap", "words"),
    [(lambda rank: rank / 10, ("HOLDS", "CONSISTENT")), (np.sqrt, ("VIOLATED", "INCONSISTENT"))],
)
def test_students_tell_a_gap_that_is_linear_in_the_rank_from_a_root(gap, words):
    evidence = on_students(gap)
    claims = {claim.what.split(" over ")[0]: claim.words for claim in of(evidence, "gap-linear-in-rank", Form.PRINTED)}
    assert claims["gap of the next-token error"] == words
    assert claims["gap of the cross-entropy gained in training, nats per token"] == words
    assert len(claims) == 3
    assert all(one.words == ("NOT_APPLICABLE",) for one in of(evidence, "gap-linear-in-rank", Form.CORRECTED))


@pytest.mark.parametrize(("falls", "word"), [(0.5, "CONSISTENT"), (1.0, "INCONSISTENT")])
def test_students_tell_the_slope_in_n(falls, word):
    found = of(on_students(np.sqrt, falls=falls), "eq-19", Form.PRINTED, "error over the number of blocks")
    assert [one.words for one in found] == [("NOT_APPLICABLE",)]
    assert sum(f": {word}." in reason for reason in found[0].verdict.reasons) == len(SETTINGS["ranks"])
    assert found[0].measured == pytest.approx(-falls, abs=0.05)


def test_eq_19_holds_and_is_vacuous_with_constant_one_and_unfalsifiable_without():
    evidence = on_students(np.sqrt)
    assert [one.words for one in of(evidence, "eq-19", Form.PRINTED, "constants 1")] == [("HOLDS", "VACUOUS")] * 2
    assert of(evidence, "eq-19", Form.PRINTED, "without a constant")[0].words == ("UNFALSIFIABLE",)
    assert of(evidence, "eq-19", Form.CORRECTED)[0].words == ("NOT_APPLICABLE",)
    assert np.shape(evidence.data["gaps"][0]["by_seed"]) == (8, 4, 5)
    assert np.shape(evidence.data["printed"]) == (4, 5)


def test_a_gap_beyond_the_printed_bound_violates_it():
    evidence = on_students(lambda rank: 1e5 * rank)
    assert of(evidence, "eq-19", Form.PRINTED, "constants 1")[0].words == ("VIOLATED", "VACUOUS")


def test_failed_students_are_told_and_their_seeds_left_out():
    evidence = on_students(np.sqrt, failing=((0, 32, 4), (1, 256, 64)))
    for finding in evidence.findings:
        assert any("2 of 160 students failed" in reason for reason in finding.verdict.reasons)
    claim = of(evidence, "gap-linear-in-rank", Form.PRINTED)[0]
    assert claim.verdict.n_seeds == 7
    assert evidence.data["gaps"][0]["by_seed"][0][0][0] != evidence.data["gaps"][0]["by_seed"][0][0][0]


def test_points_whose_gap_is_not_shown_to_be_above_0_are_left_out_whole_and_told():
    evidence = on_students(lambda rank: rank - 5.0)
    claim = of(evidence, "gap-linear-in-rank", Form.PRINTED)[0]
    assert "The gap is shown to be above 0, and in every seed, at 4 of 5 points." in claim.verdict.reasons[0]
    claim = of(on_students(lambda rank: -1.0), "gap-linear-in-rank", Form.PRINTED)[0]
    assert claim.words == ("INCONCLUSIVE", "INDISTINGUISHABLE")
    assert claim.measured is None
    assert claim.verdict.reasons[0].startswith("n = 32: no slope.")


def test_an_underpowered_plan_is_refused():
    weak = SETTINGS | {"gap_sd_log": 2.0}
    assert min(CHECK.part(STUDENTS).power(weak).values()) < 0.8 < min(CHECK.part(STUDENTS).power(SETTINGS).values())
    with pytest.raises(InputError, match="power"):
        CHECK.part(TEACHER).run(Context(weak, 0, train=fake(np.sqrt)))
    CHECK.part(TEACHER).run(Context(weak | {"underpowered": True}, 0, train=fake(np.sqrt)))


def test_mean_intervals_leave_out_what_failed():
    mean, lower, upper = mean_intervals(np.array([[1.0, 2.0], [3.0, np.nan], [np.nan, np.nan]]))
    assert mean[0] == 2.0
    assert np.isnan(mean[1])
    assert lower[0] == pytest.approx(2 - 12.706 * 1.0, rel=1e-3)  # t of 1 degree of freedom, sd √2 over √2
    assert upper[0] == pytest.approx(2 + 12.706 * 1.0, rel=1e-3)
