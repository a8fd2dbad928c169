"""Rounded numbers as intervals, against values drawn from within them."""

import numpy as np
import pytest

from theorykit.statements import reported_results
from theorykit.statements.evidence import Truth
from theorykit.statements.printed import Printed


@pytest.mark.parametrize(
    ("value", "decimals", "low", "high"), [(21.2, 1, 21.15, 21.25), (0.97, 2, 0.965, 0.975), (12, 0, 11.5, 12.5)]
)
def test_a_printed_number_is_what_rounds_to_it(value, decimals, low, high):
    assert Printed.rounded(value, decimals) == Printed(low, high)


def test_gains_and_differences_hold_all_that_the_cells_may_have_been():
    rng = np.random.default_rng(0)
    before, after = Printed.rounded(21.2, 1), Printed.rounded(20.5, 1)
    first, second = (rng.uniform(part.low, part.high, 10_000) for part in (before, after))
    for interval, values in (
        (before.gain_to(after), (first - second) / first),
        (before.difference_from(after), first - second),
    ):
        assert interval.low <= values.min()
        assert values.max() <= interval.high
        assert np.ptp(values) > 0.9 * (interval.high - interval.low)


def test_table_1_admits_the_text_and_does_not_show_it():
    """21.15 → 20.55 and 40.8 → 39.6 print as the cells, and gain 2.8 % and 2.9 %."""
    result = reported_results._improvement()
    assert result.truth is Truth.UNDECIDED
    low, high = (result.numbers[f"wikitext, {end}"] for end in ("low", "high"))
    assert low < (21.1501 - 20.5499) / 21.1501 < 0.0285 < high


@pytest.mark.parametrize(
    ("cells", "decimals", "truth"),
    [
        ({"PC-LoRA": (21.2, 40.8), "LRC": (20.0, 39.6)}, 1, Truth.REFUTED),  # 5.2 to 6.1 %
        ({"PC-LoRA": (21.2, 40.8), "LRC": (20.6064, 39.6168)}, 4, Truth.PROVED),  # 2.80 and 2.90 %
        ({"PC-LoRA": (21.2, 40.8), "LRC": (20.5, 39.6)}, 4, Truth.REFUTED),  # 3.30 % where there are four decimals
    ],
)
def test_the_check_can_say_both(monkeypatch, cells, decimals, truth):
    monkeypatch.setattr(reported_results, "TABLE_1", cells)
    monkeypatch.setattr(reported_results, "CELL_DECIMALS", decimals)
    assert reported_results._improvement().truth is truth


def test_differences_of_table_2_are_refuted_beyond_rounding(monkeypatch):
    assert reported_results._table_2().truth is Truth.UNDECIDED
    monkeypatch.setattr(reported_results, "TABLE_2", {"cloning": (22.3, 1.6)})
    assert reported_results._table_2().truth is Truth.REFUTED
    monkeypatch.setattr(reported_results, "TABLE_2", {"cloning": (22.3, 1.7)})
    assert reported_results._table_2().truth is Truth.UNDECIDED
