"""Evaluate a statement's bound: printed and corrected beside the trivial one, and what each is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from theorykit.checks import Floats
from theorykit.errors import InputError
from theorykit.results import Result
from theorykit.statements.statement import Kind, Statement
from theorykit.verdicts import Instance, Value

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class FormValue(Result):
    """One form at one set of arguments.

    Attributes:
        form: printed, corrected, simpler or trivial.
        text: The formula.
        values: Its values, flat, in the order of the broadcast arguments; empty where it does not apply.
        worth: INFORMATIVE, DOMINATED or VACUOUS for each; empty for the competitors and where it does not apply.
        reason: Why it does not apply; empty where it does.
    """

    form: str
    text: str
    values: tuple[float, ...]
    worth: tuple[Value, ...] = ()
    reason: str = ""

    @property
    def instance(self) -> Instance | None:
        """Return NOT_APPLICABLE where an assumption fails, None otherwise."""
        return Instance.NOT_APPLICABLE if self.reason else None


@dataclass(frozen=True)
class BoundEvaluation(Result):
    """All forms of a statement at given arguments.

    Attributes:
        statement: Slug.
        label: The paper's label.
        arguments: Every argument, flat and broadcast.
        forms: The forms, printed and corrected first.
    """

    statement: str
    label: str
    arguments: dict[str, tuple[float, ...]]
    forms: tuple[FormValue, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return one row per set of arguments: those that vary, and every form with its worth."""
        import pandas as pd

        columns: dict[str, Any] = {
            name: values for name, values in self.arguments.items() if len(set(values)) > 1 or len(values) == 1
        }
        count = len(next(iter(self.arguments.values()), (0.0,)))
        for form in self.forms:
            columns[form.form] = form.values or [float("nan")] * count
            if form.worth or form.reason:
                columns[f"{form.form} is"] = form.worth or [str(Instance.NOT_APPLICABLE)] * count
        return pd.DataFrame(columns)


def evaluate_bound(statement: Statement, given: Mapping[str, Any]) -> BoundEvaluation:
    """Evaluate all forms of a statement.

    Args:
        statement: With at least one form that can be evaluated.
        given: Arguments by name, numbers or arrays that broadcast; defaults fill in what is missing.

    Returns:
        The values; a form whose assumption fails says NOT_APPLICABLE and gives no number.

    Raises:
        InputError: no such argument, one that is missing or outside its domain, or a statement without a bound.

    Example:
        >>> from theorykit.statements import find_statement
        >>> found = evaluate_bound(find_statement("covering-number")[0],
        ...                        {"rows": 2, "columns": 3, "rank": 1, "radius": 0.9})
        >>> [form.form for form in found.forms]
        ['printed', 'corrected']
    """
    if not statement.forms:
        raise InputError(
            f"{statement.slug} has no bound that can be evaluated", f"see it with: theorykit audit {statement.slug}"
        )
    values = statement.values(given)
    try:
        broadcast = dict(zip(values, np.broadcast_arrays(*values.values()), strict=True)) if values else {}
    except ValueError:
        shapes = {name: value.shape for name, value in values.items() if value.size > 1}
        raise InputError(f"arguments of different lengths: {shapes}", "give lists of one length") from None
    flat = {name: np.ravel(value) for name, value in broadcast.items()}
    count = next(iter(flat.values())).size if flat else 1
    results = {}
    for name, form in statement.forms.items():
        reason = form.applies(flat)
        # one point at a time: a shape (m, n) of a bound does not broadcast
        points = [] if reason else [float(form({key: part[i] for key, part in flat.items()})) for i in range(count)]
        results[name] = (form, reason, np.array(points))
    rivals = {name: found for name, (_, _, found) in results.items() if name in ("simpler", "trivial")}
    evaluated = tuple(
        FormValue(
            name,
            form.text,
            tuple(found.tolist()),
            _worths(statement.kind, found, rivals) if name in ("printed", "corrected") and found.size else (),
            reason,
        )
        for name, (form, reason, found) in results.items()
    )
    arguments = {name: tuple(part.tolist()) for name, part in flat.items()}
    return BoundEvaluation(statement.slug, statement.label, arguments, evaluated)


def _worths(kind: Kind, values: Floats, rivals: Mapping[str, Floats]) -> tuple[Value, ...]:
    """Compare with the trivial and the simpler bound; an upper bound is tighter where it is smaller."""
    if kind not in (Kind.UPPER, Kind.LOWER) or not rivals:
        return ()
    sign = 1.0 if kind == Kind.UPPER else -1.0
    empty = np.full(values.shape, np.inf)
    trivial, simpler = (sign * rivals[name] if name in rivals else empty for name in ("trivial", "simpler"))
    found = sign * values
    return tuple(
        Value.VACUOUS if own >= low else Value.DOMINATED if own > rival else Value.INFORMATIVE
        for own, low, rival in zip(found, trivial, simpler, strict=True)
    )
