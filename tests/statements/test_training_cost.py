"""Table 1's numbers of parameters and speed-ups: what each reading leaves, and that the checks can say both."""

import pytest

from theorykit.statements import training_cost
from theorykit.statements.training_cost import deployed_numbers, teacher_beside, teacher_cached, trained_numbers
from theorykit.verdicts import Truth


def test_the_readings_of_12_4_million():
    assert deployed_numbers().truth is Truth.REFUTED
    found = trained_numbers("the factors")
    assert found.truth is Truth.UNDECIDED
    assert "is rank 84, none of the 8, 16" in found.sentence
    assert round(found.numbers["implied_rank"], 1) == 84.1


@pytest.mark.parametrize(
    ("millions", "deployed", "trained"),
    [
        (51.8, Truth.UNDECIDED, Truth.UNDECIDED),
        (12.5, Truth.REFUTED, Truth.UNDECIDED),
        (0.01, Truth.REFUTED, Truth.REFUTED),
    ],
)
def test_other_numbers_of_parameters(monkeypatch, millions, deployed, trained):
    monkeypatch.setattr(training_cost, "PARAMETERS", millions * 1e6)
    assert (deployed_numbers().truth, trained_numbers("the factors").truth) == (deployed, trained)


@pytest.mark.parametrize(
    ("speedup", "beside", "cached"),
    [
        (3.2, Truth.REFUTED, Truth.REFUTED),
        (3.1, Truth.REFUTED, Truth.REFUTED),  # at least 3.05
        (3.0, Truth.UNDECIDED, Truth.REFUTED),  # 2.95 prints so
        (2.4, Truth.UNDECIDED, Truth.UNDECIDED),
    ],
)
def test_speedups_are_held_against_the_costs_up_to_their_rounding(monkeypatch, speedup, beside, cached):
    monkeypatch.setattr(training_cost, "SPEEDUPS", {"planted": speedup})
    assert (teacher_beside().truth, teacher_cached().truth) == (beside, cached)


def test_the_teachers_numbers():
    found = training_cost.teacher_numbers()
    assert found.numbers == {"parameters": 124_439_808}  # as transformers counts gpt2
    assert "prints as 124 million and does not print as Table 1's 124.0" in found.sentence


def test_the_limits_by_hand():
    assert teacher_beside().numbers == {"limit": 3.0, "above": 5}
    # 12 · 12 · 768² in the layers and 50,257 · 768 in the output
    dense, head = 144 * 768**2, 50_257 * 768
    assert teacher_cached().numbers["limit"] == pytest.approx((dense + head) / (12.35e6 + head))
    held, sentence = training_cost.training_costs()
    assert held
    assert f"at most {3 * (dense + head) / (2 * (dense + head) - 3 * 768**2):.2f} times" in sentence
