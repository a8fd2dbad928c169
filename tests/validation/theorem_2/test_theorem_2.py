from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import theorykit as tk
from theorykit.errors import InputError
from theorykit.verdicts import Form
from validation.claims.experiment import PLANTED, STUDENTS, TEACHER, Context
from validation.claims.factors import multiplied
from validation.claims.finding import Outcome
from validation.claims.settings import PartSettings
from validation.claims.trained import TrainedStudent
from validation.reports.experiments import find_experiment
from validation.theorem_2.planted import PARTS
from validation.theorem_2.slopes import GapSettings
from validation.theorem_2.students import Loss

EXPERIMENT = find_experiment("eq-19")
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
SETTINGS = GapSettings(
    teacher="scratch:tiny",
    ranks=(4, 8, 16, 32, 64),
    sizes=(32, 64, 128, 256),
    seeds=8,
    length=64,
    sd_log=0.35,
    margin=0.15,
    gap_sd_log=0.1,
    gap_margin=0.2,
    run={"teacher": "scratch:tiny", "length": 64},
)


def planted(seed: int = 0):
    ctx = Context(PartSettings(), seed, train=lambda students: [])
    return ctx, {part.__name__: part for part in PARTS}


@pytest.mark.parametrize("seed", [0, 1])
def test_every_planted_control_comes_out_right(seed):
    evidence = EXPERIMENT.part(PLANTED).run(planted(seed)[0])
    assert [finding.what for finding in evidence.findings if finding.outcome is not Outcome.RIGHT] == []
    words = {word for finding in evidence.findings for word in finding.words}
    assert {"HOLDS", "VIOLATED", "INFORMATIVE", "DOMINATED", "VACUOUS", "CONSISTENT", "INCONSISTENT"} <= words


def test_the_planted_part_is_the_same_twice():
    ctx, parts = planted(3)
    first, second = (parts["complexity_findings"](ctx) for _ in range(2))
    assert [finding.to_dict() for finding in first] == [finding.to_dict() for finding in second]


@pytest.mark.parametrize("factor", [0.5, 0.95, 1.05, 2.0])
@pytest.mark.parametrize("name", EXPERIMENT.bounds)
def test_a_bound_that_is_off_is_noticed(monkeypatch, name, factor):
    monkeypatch.setattr(tk, name, multiplied(getattr(tk, name), factor), raising=False)
    ctx, parts = planted()
    outcomes = [finding.outcome for part in PARTS_BY_BOUND[name] for finding in parts[part](ctx)]
    assert set(outcomes) != {Outcome.RIGHT}


def test_a_line_with_an_intercept_a_root_and_no_growth_are_told_apart_for_20_seeds():
    for seed in range(20):
        ctx, parts = planted(seed)
        words = [finding.words for finding in parts["linearity_findings"](ctx)]
        assert words == [("HOLDS", "CONSISTENT"), ("VIOLATED", "INCONSISTENT"), ("INCONCLUSIVE", "INDISTINGUISHABLE")]


def test_every_bound_has_its_controls():
    assert set(PARTS_BY_BOUND) == set(EXPERIMENT.bounds)


def fake(gap, *, failing=(), falls=0.5):
    """Train nothing: gaps of the loss and of the error that are ``gap(rank) · n^-falls`` with little noise.

    The gap of the loss before training is 0.01.
    """

    def train(students):
        draws = np.random.default_rng(5)
        found = []
        for config in students:
            value = gap(config.rank) * config.n_blocks**-falls * np.exp(0.05 * draws.standard_normal())
            terms = {
                "gap": {"language_model": value + 0.01, "accuracy": -value / 10},
                "held_out": {"language_model": 3 + value, "accuracy": 0.3},
            }
            before = terms | {"gap": {"language_model": 0.01, "accuracy": 0.0}}
            rows = ({"step": 0, "loss_terms": before}, {"step": 9, "loss_terms": terms})
            failure = "its loss is not finite" if (config.seed, config.n_blocks, config.rank) in failing else ""
            found.append(TrainedStudent(config, failure, {}, rows))
        return found

    return train


def on_students(gap, **options):
    ctx = Context(SETTINGS, 0, train=fake(gap, **options))
    evidence = EXPERIMENT.part(STUDENTS).run(ctx)
    assert all(finding.outcome is None for finding in evidence.findings)
    return evidence


def asked(evidence, equation, form, key):
    """Return the findings on one question by loss."""
    return {
        finding.of["loss"]: finding
        for finding in evidence.findings
        if (finding.equation, finding.form, finding.key) == (equation, form, key)
    }


def growth(evidence):
    return asked(evidence, "gap-linear-in-rank", Form.PRINTED, "growth")


@pytest.mark.parametrize(
    ("gap", "words"),
    [
        (lambda rank: rank / 10, ("HOLDS", "CONSISTENT")),
        (lambda rank: 0.05 + 0.004 * rank, ("HOLDS", "CONSISTENT")),
        (np.sqrt, ("VIOLATED", "INCONSISTENT")),
        (lambda rank: 0.05 + 0.02 * np.sqrt(rank), ("VIOLATED", "INCONSISTENT")),
        (lambda rank: 0.05, ("INCONCLUSIVE", "INDISTINGUISHABLE")),
    ],
)
def test_students_tell_a_gap_that_is_linear_in_the_rank_from_a_root(gap, words):
    evidence = on_students(gap)
    claims = growth(evidence)
    assert claims[Loss.ERROR].words == claims[Loss.GAINED].words == words
    assert set(claims) == set(Loss)
    for claim in claims.values():
        assert any("learn from labels alone" in reason for reason in claim.verdict.reasons)
    beside = asked(evidence, "gap-linear-in-rank", Form.CORRECTED, "growth")
    assert {finding.words for finding in beside.values()} == {("NOT_APPLICABLE",)}


def test_an_exponent_at_the_end_of_the_search_is_open_there():
    claim = growth(on_students(lambda rank: 2.0 - 4.0 / rank))[Loss.ERROR]
    assert claim.words == ("VIOLATED", "INCONSISTENT")
    assert claim.interval[0] == -np.inf
    inner = growth(on_students(lambda rank: 0.05 + 0.004 * rank))[Loss.ERROR]
    assert np.isfinite(inner.interval).all()


@pytest.mark.parametrize(("falls", "word"), [(0.5, "CONSISTENT"), (1.0, "INCONSISTENT")])
def test_students_tell_the_slope_in_n(falls, word):
    slopes = asked(on_students(np.sqrt, falls=falls), "eq-19", Form.PRINTED, "slope-in-n")[Loss.ERROR]
    assert slopes.words == ("NOT_APPLICABLE",)
    assert sum(f": {word}." in reason for reason in slopes.verdict.reasons) == len(SETTINGS.ranks)
    assert slopes.measured == pytest.approx(-falls, abs=0.05)


def test_eq_19_is_vacuous_with_constant_one_and_unfalsifiable_without_and_not_about_transformers():
    evidence = on_students(np.sqrt)
    held = asked(evidence, "eq-19", Form.PRINTED, "violations")
    assert set(held) == {Loss.NATS, Loss.ERROR}
    for finding in held.values():
        assert finding.words == ("NOT_APPLICABLE", "VACUOUS")
        assert None not in (finding.measured, finding.bound, finding.verdict.tightness)
        assert any("no linear layer" in reason and reason.endswith("HOLDS.") for reason in finding.verdict.reasons)
    assert asked(evidence, "eq-19", Form.PRINTED, "order")[Loss.NATS].words == ("UNFALSIFIABLE",)
    assert asked(evidence, "eq-19", Form.CORRECTED, "last-term")[Loss.ERROR].words == ("NOT_APPLICABLE",)
    assert evidence.data.gap(Loss.NATS).by_seed.shape == (8, 4, 5)
    assert evidence.data.printed.shape == (4, 5)


def test_a_gap_beyond_the_printed_bound_is_told():
    held = asked(on_students(lambda rank: 1e5 * rank), "eq-19", Form.PRINTED, "violations")[Loss.NATS]
    assert held.words == ("NOT_APPLICABLE", "VACUOUS")
    assert any(reason.endswith("all the same: VIOLATED.") for reason in held.verdict.reasons)


def test_failed_students_are_told_and_their_seeds_left_out():
    evidence = on_students(np.sqrt, failing=((0, 32, 4), (1, 256, 64)))
    for finding in evidence.findings:
        assert any("2 of 160 students failed" in reason for reason in finding.verdict.reasons)
    # one is lost at n = 32, another at n = 256, of which the mean is judged
    assert growth(evidence)[Loss.ERROR].verdict.n_seeds == 6
    assert np.isnan(evidence.data.gap(Loss.NATS).by_seed[0, 0, 0])


def test_points_whose_gap_is_not_shown_to_be_above_0_have_no_slope_in_n_but_count_over_the_rank():
    evidence = on_students(lambda rank: rank - 5.0)
    claim = growth(evidence)[Loss.ERROR]
    assert claim.words == ("HOLDS", "CONSISTENT")
    assert claim.measured == pytest.approx(1, abs=0.15)
    slopes = asked(evidence, "eq-19", Form.PRINTED, "slope-in-n")[Loss.ERROR]
    left_out = "r = 4: no slope. The gap is shown to be above 0, and in every seed, at 0 of 4 points."
    assert slopes.verdict.reasons[0] == left_out
    claim = growth(on_students(lambda rank: -1.0))[Loss.ERROR]
    assert claim.words == ("INCONCLUSIVE", "INDISTINGUISHABLE")
    assert claim.measured is None
    assert claim.verdict.reasons[1].startswith("Mean over n: INDISTINGUISHABLE, no exponent")


def test_an_underpowered_plan_is_refused():
    weak = replace(SETTINGS, gap_sd_log=2.0)
    power = EXPERIMENT.part(STUDENTS).power
    assert min(power(weak).values()) < 0.8 < min(power(SETTINGS).values())
    with pytest.raises(InputError, match="power"):
        EXPERIMENT.part(TEACHER).run(Context(weak, 0, train=fake(np.sqrt)))
    EXPERIMENT.part(TEACHER).run(Context(replace(weak, underpowered=True), 0, train=fake(np.sqrt)))
