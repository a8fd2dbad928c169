from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from theorykit.errors import InputError
from theorykit.results import to_json
from theorykit.verdicts import AdversarialSearch, Instance, Truth, adversarial_search, inequality_verdict


def cauchy_schwarz(factor):
    """|⟨x, y⟩| ≤ factor · ‖x‖‖y‖: equality at x = y for factor 1."""

    def ratio(point):
        return abs(point[0] @ point[1]) / (factor * np.linalg.norm(point[0]) * np.linalg.norm(point[1]))

    return ratio


def sampler(generator):
    return generator.standard_normal((2, 3))


def search(rng, factor=1.0, **options):
    return adversarial_search(cauchy_schwarz(factor), sampler, 100, rng, **options)


def test_a_true_inequality_is_not_refuted(rng):
    found = search(rng)
    assert found.largest_ratio == pytest.approx(1.0, abs=1e-6)
    assert found.largest_ratio <= 1 + 1e-12
    verdict = inequality_verdict(found, rounding=1e-12)
    assert verdict.instance is Instance.HOLDS
    assert verdict.truth is Truth.UNDECIDED
    assert verdict.reasons[0].startswith(f"Not refuted in {found.n_trials} adversarial trials; largest ratio")
    assert verdict.tightness == pytest.approx(1.0, abs=1e-6)


def test_equality_is_told(rng):
    verdict = inequality_verdict(search(rng), rounding=1e-5)
    assert any("Equality is met" in reason for reason in verdict.reasons)


@pytest.mark.parametrize("factor", [0.5, 0.99])
def test_a_smaller_constant_is_refuted_with_its_witness(rng, factor):
    found = search(rng, factor)
    verdict = inequality_verdict(found, rounding=1e-9)
    assert verdict.instance is Instance.VIOLATED
    assert cauchy_schwarz(factor)(found.argument) == found.largest_ratio > 1
    assert verdict.tightness == pytest.approx(factor, abs=1e-3)


@pytest.mark.parametrize("method", ["Nelder-Mead", "Powell"])
def test_the_ascent_finds_what_random_starts_do_not(method):
    blind = search(np.random.default_rng(0), 0.9999, refine=0)
    refined = search(np.random.default_rng(0), 0.9999, refine=4, method=method)
    assert blind.n_trials == 100 < refined.n_trials
    assert inequality_verdict(blind, rounding=0.0).instance is Instance.HOLDS
    assert inequality_verdict(refined, rounding=0.0).instance is Instance.VIOLATED


@pytest.mark.parametrize(
    ("largest", "instance"),
    [(1 + 1e-10, Instance.HOLDS), (1 + 1e-8, Instance.VIOLATED), (np.inf, Instance.VIOLATED), (0.0, Instance.HOLDS)],
)
def test_rounding_decides_at_the_edge(largest, instance):
    found = AdversarialSearch(10, 0, largest, np.zeros(2), True)
    assert inequality_verdict(found, rounding=1e-9).instance is instance


def test_a_ratio_that_does_not_come_back_refutes_nothing(rng):
    noise = np.random.default_rng(0)
    found = adversarial_search(lambda point: 1 + noise.random(), sampler, 20, rng)
    assert not found.reproduced
    verdict = inequality_verdict(found, rounding=0.0)
    assert verdict.instance is Instance.INCONCLUSIVE
    assert any("not deterministic" in reason for reason in verdict.reasons)


def test_points_outside_the_domain_are_counted_and_no_trials(rng):
    found = adversarial_search(lambda p: np.nan if p[0] < 0 else 0.5, lambda g: g.standard_normal(1), 40, rng, refine=0)
    assert found.n_trials + found.n_failed == 40
    assert found.n_failed > 5
    assert any("gave NaN" in reason for reason in inequality_verdict(found, rounding=0.0).reasons)
    nothing = adversarial_search(lambda p: np.nan, sampler, 5, rng)
    verdict = inequality_verdict(nothing, rounding=0.0)
    assert (nothing.n_trials, verdict.instance, verdict.tightness) == (0, Instance.INCONCLUSIVE, None)


def test_too_few_trials(rng):
    found = search(rng, refine=0)
    assert inequality_verdict(found, rounding=0.0, least_trials=101).instance is Instance.INCONCLUSIVE
    assert inequality_verdict(dataclasses.replace(found), rounding=0.0, least_trials=100).instance is Instance.HOLDS


def test_the_ratio_cannot_change_the_point(rng):
    def spoil(point):
        point *= 0
        return 0.5

    assert np.abs(adversarial_search(spoil, sampler, 5, rng).argument).max() > 0


def test_a_search_is_written(rng):
    found = search(rng, refine=0)
    assert np.array(json.loads(to_json(found))["argument"]).shape == (2, 3)
    assert len(found.to_frame()) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_trials": 0}, "n_trials = 0"),
        ({"refine": -1}, "refine = -1"),
        ({"max_evaluations": 0}, "max_evaluations = 0"),
        ({"generator": None}, "generator = None is not a numpy.random.Generator"),
        ({"sampler": lambda g: np.zeros(g.integers(1, 9))}, "the sampler changes its shape"),
        ({"sampler": lambda g: "x"}, r"sampler\(generator\) is not made of real numbers"),
    ],
)
def test_bad_searches(rng, change, message):
    arguments = {"ratio": lambda p: 0.5, "sampler": sampler, "n_trials": 20, "generator": rng} | change
    with pytest.raises(InputError, match=message):
        adversarial_search(**arguments)


@pytest.mark.parametrize("rounding", [-1.0, np.nan])
def test_bad_rounding(rounding):
    with pytest.raises(InputError, match="rounding ="):
        inequality_verdict(AdversarialSearch(1, 0, 0.5, np.zeros(1), True), rounding=rounding)
