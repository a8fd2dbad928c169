"""The trivial competitors that are registered for the paper's bounds: what holds without any of its theorems."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from theorykit.arguments import calculation, one_of, positive_array, unwrapped, whole_number_array
from theorykit.errors import InputError
from theorykit.verdicts.competitors import Kind


@dataclass(frozen=True)
class TrivialBound:
    """What is known of a quantity without the statement that is judged.

    Attributes:
        quantity: What it bounds.
        kind: ``"upper"`` or ``"lower"``.
        formula: In words and symbols.
        unit: Of the bound.
        holds: Under which assumptions, and for what.
        compute: From keyword arguments that broadcast to the bound.
    """

    quantity: str
    kind: Kind
    formula: str
    unit: str
    holds: str
    compute: Callable[..., Any]


def _initial_squared_gradient(smoothness: Any, initial_gap: Any) -> Any:
    smooth, gap = positive_array("smoothness", smoothness), positive_array("initial_gap", initial_gap, allow_zero=True)
    with calculation(smoothness=smooth, initial_gap=gap):
        return unwrapped(2 * smooth * gap)


def _norm_sum(first_norm: Any, second_norm: Any) -> Any:
    first = positive_array("first_norm", first_norm, allow_zero=True)
    second = positive_array("second_norm", second_norm, allow_zero=True)
    with calculation(first_norm=first, second_norm=second):
        return unwrapped(first + second)


TRIVIAL_BOUNDS: dict[str, TrivialBound] = {
    bound.quantity: bound
    for bound in (
        TrivialBound(
            "next_token_error",
            "upper",
            "1 − 1/V",
            "share of tokens",
            "for a guess uniform over V tokens",
            lambda vocabulary: unwrapped(1.0 - 1.0 / whole_number_array("vocabulary", vocabulary)),
        ),
        TrivialBound(
            "bits_per_token",
            "upper",
            "log2 V",
            "bits",
            "for a prediction uniform over V tokens",
            lambda vocabulary: unwrapped(np.log2(whole_number_array("vocabulary", vocabulary))),
        ),
        TrivialBound("mutual_information", "lower", "0", "nats", "always", lambda: 0.0),
        TrivialBound(
            "squared_gradient_norm",
            "upper",
            "2LΔ",
            "squared norm of the gradient",
            "where the loss is L-smooth everywhere and at most Δ above its least value: at the start, and as long as "
            "noise does not raise the loss above it",
            _initial_squared_gradient,
        ),
        TrivialBound(
            "gradient_deviation",
            "upper",
            "‖g1‖ + ‖g2‖",
            "unit of a gradient",
            "always, for ‖g1 − g2‖ of any two gradients (triangle inequality)",
            _norm_sum,
        ),
    )
}
"""By quantity; each is handed to a verdict as its ``trivial``."""


def trivial_bound(quantity: str, **arguments: Any) -> Any:
    """Compute the registered trivial competitor of a quantity, in the unit that :data:`TRIVIAL_BOUNDS` says.

    Args:
        quantity: A key of :data:`TRIVIAL_BOUNDS`.
        **arguments: What its formula needs: ``vocabulary``; ``smoothness`` and ``initial_gap``; ``first_norm`` and
            ``second_norm``; nothing for information.

    Returns:
        The bound, the broadcast shape of the arguments.

    Raises:
        InputError: an unknown quantity, arguments that are not those of its formula, or outside their domain.

    Example:
        >>> trivial_bound("bits_per_token", vocabulary=1024), trivial_bound("mutual_information")
        (10.0, 0.0)
    """
    compute = TRIVIAL_BOUNDS[one_of("quantity", quantity, TRIVIAL_BOUNDS)].compute
    needed = tuple(inspect.signature(compute).parameters)
    if set(arguments) != set(needed):
        raise InputError(
            f"{quantity} takes {', '.join(needed) or 'no arguments'}, not {', '.join(arguments) or 'nothing'}",
            "give each of them by name",
        )
    return compute(**arguments)
