"""What the student may cost: a share of the linear parameters, a number of parameters, or operations per token."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from theorykit.errors import InputError
from theorykit.models.layers import LinearLayer

_NUMBER = re.compile(r"^\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([kKmMbBgGtT]?)\s*((?i:flops?)|%)?\s*$")
_SCALE = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}


@dataclass(frozen=True)
class Budget:
    """A limit on the factorable layers (embeddings and head are not in it).

    Attributes:
        limit: In ``unit``.
        dense: What the dense layers cost, in ``unit``.
        unit: ``"parameters"`` or ``"flop"`` (multiply and add, forward, per token).
        text: What the user wrote.
    """

    limit: float
    dense: float
    unit: Literal["parameters", "flop"]
    text: str


def cost_per_parameter(layer: LinearLayer, unit: str) -> float:
    """Return what one stored number of a layer costs: 1 parameter, or 2 operations per visit of a token."""
    return 1.0 if unit == "parameters" else 2.0 * layer.active_share * layer.calls


def read_budget(text: str | float) -> tuple[float, Literal["share", "parameters", "flop"]]:
    """Read ``0.5`` or ``50%`` (a share), ``12.4M`` (parameters) or ``2.1GFLOP`` (per token); no model is needed.

    Raises:
        InputError: not such a text, or not above 0, or a share above 1.

    Example:
        >>> read_budget("50%"), read_budget("12.4M"), read_budget("2GFLOP")
        ((0.5, 'share'), (12400000.0, 'parameters'), (2000000000.0, 'flop'))
    """
    match = _NUMBER.match(str(text))
    if not match:
        raise InputError(
            f"budget {text!r} is not understood", "give a share 0.5, parameters 12.4M or 0.1GFLOP per token"
        )
    number = float(match[1]) * _SCALE[match[2].lower()]
    suffix = (match[3] or "").lower()
    if number <= 0:
        raise InputError(f"budget {text!r} is not above 0", "give a share such as 0.5")
    if suffix.startswith("flop"):
        return number, "flop"
    if suffix == "%":
        number /= 100
    elif match[2] or (number > 1 and number.is_integer()):
        return number, "parameters"
    if number > 1:
        raise InputError(f"budget {text!r} is a share above 1", "give a share up to 1, or parameters such as 12.4M")
    return number, "share"


def parse_budget(text: str | float, layers: list[LinearLayer]) -> Budget:
    """Turn a budget as in :func:`read_budget` into a limit for these layers.

    Args:
        text: What the user wrote; a number up to 1 is a share, a larger whole one a count.
        layers: The factorable layers.

    Raises:
        InputError: not such a text, not above 0, or larger than the model.
    """
    number, meaning = read_budget(text)
    unit: Literal["parameters", "flop"] = "flop" if meaning == "flop" else "parameters"
    dense = sum(layer.parameters * cost_per_parameter(layer, unit) for layer in layers)
    limit = number * dense if meaning == "share" else number
    if limit > dense * (1 + 1e-12):
        raise InputError(
            f"budget {text!r} is larger than the model, whose linear layers have {quantity(dense, unit)}",
            "give a smaller budget, or 1 for all of it",
        )
    return Budget(limit, dense, unit, str(text))


def quantity(number: float, unit: str) -> str:
    """Write a cost with its unit, for example ``84.9 M parameters``.

    Example:
        >>> quantity(84_934_656, "parameters"), quantity(1.7e8, "flop")
        ('84.9 M parameters', '0.17 GFLOP per token')
    """
    if unit == "flop":
        return f"{number / 1e9:.3g} GFLOP per token"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return (
                f"{number / size:.4g} {letter} parameters"
                if size == 1e3
                else f"{number / size:.1f} {letter} parameters"
            )
    return f"{number:.0f} parameters"
