from __future__ import annotations

import numpy as np
import pytest

import theorykit as tk
from theorykit.errors import InputError
from theorykit.verdicts import Exponent
from validation.claims.experiment import PLANTED, STUDENTS, TEACHER, Context
from validation.claims.factors import multiplied
from validation.claims.finding import Form, Outcome
from validation.claims.trained import TrainedStudent
from validation.reports.experiments import find_experiment
from validation.theorem_2.linearity import contrast, linearity_verdict
from validation.theorem_2.planted import PARTS
from validation.theorem_2.slopes import mean_intervals

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
    evidence = EXPERIMENT.part(PLANTED).run(planted(seed)[0])
    assert [finding.what for finding in evidence.findings if finding.outcome is not Outcome.RIGHT] == []
    words = {word for finding in evidence.findings for word in finding.words}
    assert {"HOLDS", "VIOLATED", "INFORMATIVE", "DOMINATED", "VACUOUS", "CONSISTENT", "INCONSISTENT"} <= words


def test_the_planted_part_is_the_same_twice():
    ctx, parts = planted(3)
    first, second = (parts["complexity_findings"](ctx) for _ in range(2))
    assert [one.to_dict() for one in first] == [one.to_dict() for one in second]


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


def judged(gaps, ranks=(1, 2, 4, 8, 16), alpha=0.05):
    return linearity_verdict(np.asarray(gaps, dtype=float), ranks, margin=0.25, alpha=alpha, statement="planted")


@pytest.mark.parametrize("power", [0.3, 0.75, 1.0, 1.25, 2.0])
def test_the_contrast_at_p_is_0_for_a_power_p_and_keeps_sides(power):
    ranks = np.array([1.0, 2, 3, 5, 9, 30, 64])
    row = contrast(ranks, power)
    assert row @ (3 - 2 * ranks**power) == pytest.approx(0, abs=1e-9)
    assert row @ ranks ** (power + 0.1) > 0 > row @ ranks ** (power - 0.1)
    assert row @ np.log(ranks) < 0 < row @ np.exp((ranks / 64) ** power)


def test_linear_growth_is_judged_without_bias_by_noise_and_at_any_level():
    ranks, draws = np.array([1.0, 2, 4, 8, 16]), np.random.default_rng(1)
    found = [judged(-0.4 + 0.01 * ranks + 0.1 * draws.standard_normal((6, 5))).exponent for _ in range(400)]
    assert found.count(Exponent.INCONSISTENT) <= 30  # at most alpha = 0.05 would be 20 ± 4
    precise = judged(-0.4 + 0.01 * ranks + 1e-4 * draws.standard_normal((6, 5)))
    assert precise.exponent is Exponent.CONSISTENT
    assert precise.evidence.power == pytest.approx(1, abs=0.03)
    assert precise.evidence.rise == pytest.approx(0.01, rel=0.01)


def test_what_falls_or_bends_up_is_not_linear_and_what_is_too_short_is_open():
    ranks = np.array([1.0, 2, 4, 8, 16])
    noise = 1e-4 * np.random.default_rng(2).standard_normal((5, 5))
    assert judged(0.3 - 0.01 * ranks + noise).exponent is Exponent.INCONSISTENT
    assert judged(0.3 + 0.01 * ranks**2 + noise).exponent is Exponent.INCONSISTENT
    assert judged(np.full((5, 5), 0.1)).exponent is Exponent.INDISTINGUISHABLE
    failed = 0.01 * ranks + noise
    failed[0, 2], failed[:, 4] = np.nan, np.nan
    found = judged(failed)
    assert (found.evidence.ranks, found.evidence.n_seeds) == ((1, 2, 4, 8), 4)
    failed[1:, 0] = np.nan
    assert judged(failed).reasons == ("0 seeds at 4 ranks are left; 2 seeds at 3 ranks are needed.",)


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


def of(evidence, equation, form, part=""):
    return [one for one in evidence.findings if (one.equation, one.form) == (equation, form) and part in one.what]


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
    claims = {claim.what.split(" over ")[0]: claim.words for claim in of(evidence, "gap-linear-in-rank", Form.PRINTED)}
    assert claims["gap of the next-token error"] == words
    assert claims["gap of the cross-entropy gained in training, nats per token"] == words
    assert len(claims) == 3
    for claim in of(evidence, "gap-linear-in-rank", Form.PRINTED):
        assert any("learn from labels alone" in reason for reason in claim.verdict.reasons)
    assert all(one.words == ("NOT_APPLICABLE",) for one in of(evidence, "gap-linear-in-rank", Form.CORRECTED))


def test_an_exponent_at_the_end_of_the_search_is_open_there():
    claim = of(on_students(lambda rank: 2.0 - 4.0 / rank), "gap-linear-in-rank", Form.PRINTED)[0]
    assert claim.words == ("VIOLATED", "INCONSISTENT")
    assert claim.interval[0] == -np.inf
    inner = of(on_students(lambda rank: 0.05 + 0.004 * rank), "gap-linear-in-rank", Form.PRINTED)[0]
    assert np.isfinite(inner.interval).all()


@pytest.mark.parametrize(("falls", "word"), [(0.5, "CONSISTENT"), (1.0, "INCONSISTENT")])
def test_students_tell_the_slope_in_n(falls, word):
    found = of(on_students(np.sqrt, falls=falls), "eq-19", Form.PRINTED, "error over the number of blocks")
    assert [one.words for one in found] == [("NOT_APPLICABLE",)]
    assert sum(f": {word}." in reason for reason in found[0].verdict.reasons) == len(SETTINGS["ranks"])
    assert found[0].measured == pytest.approx(-falls, abs=0.05)


def test_eq_19_is_vacuous_with_constant_one_and_unfalsifiable_without_and_not_about_transformers():
    evidence = on_students(np.sqrt)
    found = of(evidence, "eq-19", Form.PRINTED, "constants 1")
    assert [one.words for one in found] == [("NOT_APPLICABLE", "VACUOUS")] * 2
    for one in found:
        assert None not in (one.measured, one.bound, one.verdict.tightness)
        assert any("no linear layer" in reason and reason.endswith("HOLDS.") for reason in one.verdict.reasons)
    assert of(evidence, "eq-19", Form.PRINTED, "without a constant")[0].words == ("UNFALSIFIABLE",)
    assert of(evidence, "eq-19", Form.CORRECTED)[0].words == ("NOT_APPLICABLE",)
    assert np.shape(evidence.data["gaps"][0]["by_seed"]) == (8, 4, 5)
    assert np.shape(evidence.data["printed"]) == (4, 5)


def test_a_gap_beyond_the_printed_bound_is_told():
    found = of(on_students(lambda rank: 1e5 * rank), "eq-19", Form.PRINTED, "constants 1")[0]
    assert found.words == ("NOT_APPLICABLE", "VACUOUS")
    assert any(reason.endswith("all the same: VIOLATED.") for reason in found.verdict.reasons)


def test_failed_students_are_told_and_their_seeds_left_out():
    evidence = on_students(np.sqrt, failing=((0, 32, 4), (1, 256, 64)))
    for finding in evidence.findings:
        assert any("2 of 160 students failed" in reason for reason in finding.verdict.reasons)
    claim = of(evidence, "gap-linear-in-rank", Form.PRINTED)[0]
    assert claim.verdict.n_seeds == 6  # one is lost at n = 32, another at n = 256, of which the mean is judged
    assert evidence.data["gaps"][0]["by_seed"][0][0][0] != evidence.data["gaps"][0]["by_seed"][0][0][0]


def test_points_whose_gap_is_not_shown_to_be_above_0_have_no_slope_in_n_but_count_over_the_rank():
    evidence = on_students(lambda rank: rank - 5.0)
    claim = of(evidence, "gap-linear-in-rank", Form.PRINTED)[0]
    assert claim.words == ("HOLDS", "CONSISTENT")
    assert claim.measured == pytest.approx(1, abs=0.15)
    fall = of(evidence, "eq-19", Form.PRINTED, "error over the number of blocks")[0]
    told = "r = 4: no slope. The gap is shown to be above 0, and in every seed, at 0 of 4 points."
    assert fall.verdict.reasons[0] == told
    claim = of(on_students(lambda rank: -1.0), "gap-linear-in-rank", Form.PRINTED)[0]
    assert claim.words == ("INCONCLUSIVE", "INDISTINGUISHABLE")
    assert claim.measured is None
    assert claim.verdict.reasons[1].startswith("Mean over n: INDISTINGUISHABLE, no exponent")


def test_an_underpowered_plan_is_refused():
    weak = SETTINGS | {"gap_sd_log": 2.0}
    assert (
        min(EXPERIMENT.part(STUDENTS).power(weak).values())
        < 0.8
        < min(EXPERIMENT.part(STUDENTS).power(SETTINGS).values())
    )
    with pytest.raises(InputError, match="power"):
        EXPERIMENT.part(TEACHER).run(Context(weak, 0, train=fake(np.sqrt)))
    EXPERIMENT.part(TEACHER).run(Context(weak | {"underpowered": True}, 0, train=fake(np.sqrt)))


def test_mean_intervals_leave_out_what_failed():
    mean, lower, upper = mean_intervals(np.array([[1.0, 2.0], [3.0, np.nan], [np.nan, np.nan]]))
    assert mean[0] == 2.0
    assert np.isnan(mean[1])
    assert lower[0] == pytest.approx(2 - 12.706 * 1.0, rel=1e-3)  # t of 1 degree of freedom, sd √2 over √2
    assert upper[0] == pytest.approx(2 + 12.706 * 1.0, rel=1e-3)
