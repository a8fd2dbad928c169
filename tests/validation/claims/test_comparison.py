from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from theorykit.errors import InputError
from validation.claims.comparison import compare, to_markdown

LOSSES = {"kd": [3.0, 3.2, 3.4], "lrc": [2.9, 3.15, 3.2]}


def table(**changes):
    rows = [
        {"identity": f"{method}{seed}", "method": method, "steps": 60, "seed": seed, "failure": "", "held_out": loss}
        for method, losses in LOSSES.items()
        for seed, loss in enumerate(losses)
    ]
    frame = pd.DataFrame(rows).assign(
        bits_per_byte=1.5, held_out_at_start=4.0, deployed_parameters=7, trained_parameters=5
    )
    frame["deployed_parameters_without_embeddings"] = 4
    return frame.assign(**changes)


def test_means_intervals_and_paired_differences_by_hand():
    first, second = compare(table(), ["method"])
    assert (first.name, first.seeds, first.difference) == ({"method": "kd"}, (0, 1, 2), None)
    assert first.held_out == pytest.approx(3.2)
    assert first.perplexity == pytest.approx(math.exp(3.2))
    half = t.ppf(0.975, 2) * 0.2 / np.sqrt(3)
    assert first.interval == pytest.approx((3.2 - half, 3.2 + half))
    gaps = np.subtract(LOSSES["lrc"], LOSSES["kd"])
    half = t.ppf(0.975, 2) * gaps.std(ddof=1) / np.sqrt(3)
    assert second.difference == pytest.approx(gaps.mean())
    assert second.difference_interval == pytest.approx((gaps.mean() - half, gaps.mean() + half))


def test_differences_are_paired_by_seed_whatever_the_order():
    shuffled = table().sample(frac=1, random_state=0)
    found = {group.name["method"]: group for group in compare(shuffled, ["method"], {"method": "kd"})}
    assert found["lrc"].difference == pytest.approx(np.subtract(LOSSES["lrc"], LOSSES["kd"]).mean())


def test_failed_students_are_counted_and_left_out():
    frame = table()
    frame.loc[1, ["failure", "held_out"]] = ["not finite", None]
    first, second = compare(frame, ["method"])
    assert (first.seeds, first.failed) == ((0, 2), 1)
    assert first.held_out == pytest.approx(3.2)
    assert second.difference == pytest.approx(np.mean([2.9 - 3.0, 3.2 - 3.4]))
    frame.loc[:2, "failure"] = "not finite"
    none = compare(frame, ["method"])[0]
    assert (none.held_out, none.interval, none.failed) == (None, None, 3)
    assert "|  | failed |" in to_markdown(compare(frame, ["method"]), "title")


def test_one_seed_has_no_interval():
    found = compare(table()[lambda rows: rows["seed"] == 0], ["method"])
    assert [(one.interval, one.difference_interval) for one in found] == [(None, None)] * 2


def test_the_table_has_the_best_first():
    lines = to_markdown(compare(table(), ["method"]), "title").splitlines()
    assert [line.split(" | ")[0] for line in lines[4:]] == ["| lrc", "| kd"]
    assert "reference" in lines[5]


def test_refusals():
    with pytest.raises(InputError, match="no students to compare"):
        compare(pd.DataFrame(), ["method"])
    with pytest.raises(InputError, match="no field 'colour'"):
        compare(table(), ["colour"])
    with pytest.raises(InputError, match="differ in steps"):
        compare(table(steps=range(6)), ["method"])
    with pytest.raises(InputError, match="0 groups have"):
        compare(table(), ["method"], {"method": "magic"})
    with pytest.raises(InputError, match="'start' does not tell the groups apart"):
        compare(table(), ["method"], {"start": "svd"})
    with pytest.raises(InputError, match="2 groups have"):
        compare(table(student="factored"), ["method", "student"], {"student": "factored"})
    with pytest.raises(InputError, match="the students differ in teacher: no comparison"):
        compare(table(teacher=[*"aaabbb"]), ["method"])


def test_a_reference_needs_only_what_tells_it_from_the_others():
    found = compare(table(student="factored"), ["method", "student"], {"method": "lrc"})
    assert [one.difference is None for one in found] == [False, True]
    assert found[0].pairs == 3


def test_groups_by_lists_and_missing_values():
    frame = table(clone_signals=[["hidden"]] * 3 + [[]] * 3, n_blocks=[None] * 3 + [5] * 3)
    names = [one.name for one in compare(frame, ["method", "clone_signals", "n_blocks"])]
    assert names[0]["clone_signals"] == "['hidden']"


def test_a_loss_that_is_not_finite_is_a_failure():
    frame = table()
    frame.loc[0, "held_out"] = float("nan")
    first, second = compare(frame, ["method"])
    assert (first.seeds, first.failed, second.pairs) == ((1, 2), 1, 2)
    frame["failure"] = "out of memory"
    assert all(one.failed == 3 for one in compare(frame.drop(columns="held_out"), ["method"]))


def test_a_student_that_knows_nothing_does_not_widen_the_table():
    lines = to_markdown(compare(table(held_out=100.0), ["method"]), "title").splitlines()
    assert "| 2.688e+43 |" in lines[-1]
    assert "before training" in lines[2]
