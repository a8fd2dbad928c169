from __future__ import annotations

import pytest

from theorykit.errors import InputError
from theorykit.models.layers import LinearLayer
from theorykit.rank_selection.budget import cost_per_parameter, parse_budget, quantity

LAYERS = [
    LinearLayer("a", "a.weight", (2000, 3000), "mlp"),
    LinearLayer("b", "b.weight", (1000, 4000), "expert", active_share=0.25),
]
PARAMETERS = 10_000_000
FLOP = 2 * 6_000_000 + 0.5 * 4_000_000


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("0.5", 5e6),
        (0.5, 5e6),
        (".25", 2.5e6),
        ("1", 1e7),
        (1, 1e7),
        (1.0, 1e7),
        ("50%", 5e6),
        (" 50 % ", 5e6),
        ("100%", 1e7),
        ("0.5%", 5e4),
        ("1e-3", 1e4),
        (1e-5, 100.0),
        ("2", 2.0),
        ("12.5k", 12_500.0),
        ("12.5K", 12_500.0),
        ("1m", 1e6),
        ("1.5M", 1.5e6),
        ("0.001G", 1e6),
        ("0.001b", 1e6),
        ("1e6", 1e6),
        ("10000000", 1e7),
        (1_000_000, 1e6),
    ],
)
def test_shares_and_numbers_of_parameters(text, limit):
    budget = parse_budget(text, LAYERS)
    assert budget.limit == pytest.approx(limit, rel=1e-12)
    assert (budget.unit, budget.text) == ("parameters", str(text))


@pytest.mark.parametrize(
    "text", ["0.012GFLOP", "12MFLOP", "12 M FLOP", "12mflops", "0.012GFLOPs", "12e6FLOPS", "12MFlops"]
)
def test_operations_per_token(text):
    budget = parse_budget(text, LAYERS)
    assert budget.limit == pytest.approx(12e6)
    assert budget.unit == "flop"


def test_all_of_the_operations():
    assert parse_budget(f"{FLOP:.0f}FLOP", LAYERS).limit == FLOP
    with pytest.raises(InputError, match=r"linear layers have 0\.014 GFLOP per token"):
        parse_budget(f"{FLOP + 1:.0f}FLOP", LAYERS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "half",
        "-0.5",
        "50 percent",
        "1,000",
        "0x10",
        "1..5",
        "nan",
        "inf",
        "M",
        None,
        True,
        "5 GB",
        "1e",
        "%",
    ],
)
def test_what_is_not_understood(text):
    with pytest.raises(InputError, match=r"budget .* is not understood") as caught:
        parse_budget(text, LAYERS)
    assert "12.4M" in caught.value.hint


@pytest.mark.parametrize("text", ["0", "0%", 0, "0.0", "0M", "0FLOP"])
def test_nothing_is_no_budget(text):
    with pytest.raises(InputError, match=r"budget .* is not above 0"):
        parse_budget(text, LAYERS)


@pytest.mark.parametrize("text", ["10000001", "10.1M", "1T", "1e300"])
def test_more_than_the_model(text):
    with pytest.raises(InputError, match=r"is larger than the model, whose linear layers have 10\.0 M parameters"):
        parse_budget(text, LAYERS)


@pytest.mark.parametrize("text", ["101%", 1.5, "1.0001", "1e400"])
def test_a_share_above_1(text):
    with pytest.raises(InputError, match="is a share above 1"):
        parse_budget(text, LAYERS)


def test_operations_follow_the_tokens_that_use_a_layer():
    assert [cost_per_parameter(layer, "parameters") for layer in LAYERS] == [1.0, 1.0]
    assert [cost_per_parameter(layer, "flop") for layer in LAYERS] == [2.0, 0.5]


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (5, "parameters", "5 parameters"),
        (999, "parameters", "999 parameters"),
        (1000, "parameters", "1 k parameters"),
        (147_456, "parameters", "147.5 k parameters"),
        (84_934_656, "parameters", "84.9 M parameters"),
        (7.24e9, "parameters", "7.2 G parameters"),
        (1.7e8, "flop", "0.17 GFLOP per token"),
        (1.2345e12, "flop", "1.23e+03 GFLOP per token"),
    ],
)
def test_quantity(number, unit, text):
    assert quantity(number, unit) == text
