"""Evaluate a statement's bound: printed and corrected beside the trivial one, and what each is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from theorykit.arguments import Floats, number_array
from theorykit.errors import InputError
from theorykit.results import Result
from theorykit.statements import find_statement
from theorykit.statements.evidence import Effort, Form
from theorykit.statements.readings import printed_truth, run_checks
from theorykit.statements.statement import Kind, NumericForm, Statement
from theorykit.verdicts import Instance, Truth
from theorykit.verdicts.competitors import judged_value

if TYPE_CHECKING:
    import pandas as pd


REFUTED = "REFUTED as stated"
"""What a printed form is worth that a check refutes, whatever its number."""


@dataclass(frozen=True)
class FormValue(Result):
    """One form at every point.

    Attributes:
        form: printed, corrected, simpler or trivial.
        text: The formula.
        truth: Verdict on a printed form, from its equation's checks; None for the others.
        values: Its value at each point, infinity above 1.8e308; NaN where it does not apply.
        worth: At each point INFORMATIVE, DOMINATED or VACUOUS, or instead ``REFUTED as stated``, AMBIGUOUS or
            NOT_APPLICABLE; empty for the competitors where they apply, and where no competitor is known.
        reasons: At each point why it does not apply; empty where it does.
        refuted: At each point why it is false with these arguments; empty where that is not known.
    """

    form: str
    text: str
    truth: Truth | None
    values: tuple[float, ...]
    worth: tuple[str, ...]
    reasons: tuple[str, ...]
    refuted: tuple[str, ...]


@dataclass(frozen=True)
class BoundEvaluation(Result):
    """All forms of a statement at given arguments.

    Attributes:
        statement: Slug.
        label: The paper's label.
        arguments: Every argument, flat and broadcast; NaN for a default at a point that has none.
        forms: The forms, printed and corrected first.
    """

    statement: str
    label: str
    arguments: dict[str, tuple[float, ...]]
    forms: tuple[FormValue, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return one row per point: the arguments that vary, and every form with its worth."""
        import pandas as pd

        columns: dict[str, Any] = {
            name: values for name, values in self.arguments.items() if len(set(values)) > 1 or len(values) == 1
        }
        for form in self.forms:
            columns[form.form] = form.values
            if form.worth:
                columns[f"{form.form} is"] = form.worth
        return pd.DataFrame(columns)


def evaluate_bound(statement: Statement | str, given: Mapping[str, Any]) -> BoundEvaluation:
    """Evaluate all forms of a statement.

    Args:
        statement: With at least one form that can be evaluated; or its name, as ``theorem-1`` or ``eq-11``.
        given: Arguments by name, numbers or arrays that broadcast; defaults fill in what is missing.

    Returns:
        The values. A form whose assumption fails at a point says NOT_APPLICABLE and gives no number there; so does
        every form at a point outside the domain, where other points lie inside.

    Raises:
        InputError: no such argument, one that is missing, no point inside the domain, or a statement without a bound.

    Example:
        >>> evaluation = evaluate_bound("covering-number", {"rows": 2, "columns": 3, "rank": 1, "radius": 0.9})
        >>> [form.form for form in evaluation.forms]
        ['printed', 'corrected']
    """
    if isinstance(statement, str):
        statement = find_statement(statement)[0]
    if not statement.forms:
        raise InputError(
            f"{statement.slug} has no bound that can be evaluated", f"see it with: theorykit audit {statement.slug}"
        )
    flat, count = _flat(given)
    points = [_Point.at(statement, {name: part[i] for name, part in flat.items()}) for i in range(count)]
    if all(point.problem for point in points):
        assert points[0].problem is not None
        raise points[0].problem
    names = [symbol.name for symbol in statement.symbols]
    arguments = {name: tuple(float(point.arguments.get(name, np.nan)) for point in points) for name in names}
    forms = tuple(_form_value(statement, name, form, points) for name, form in statement.forms.items())
    return BoundEvaluation(statement.slug, statement.label, arguments, forms)


def _flat(given: Mapping[str, Any]) -> tuple[dict[str, Floats], int]:
    """Broadcast the arguments to one length; at least one point, with none given."""
    arrays = {name: number_array(name, value) for name, value in given.items()}
    try:
        broadcast = np.broadcast_arrays(*arrays.values())
    except ValueError:
        shapes = {name: array.shape for name, array in arrays.items() if array.size > 1}
        raise InputError(f"arguments of different lengths: {shapes}", "give lists of one length") from None
    flat = {name: np.ravel(array) for name, array in zip(arrays, broadcast, strict=True)}
    return flat, max((array.size for array in flat.values()), default=1)


@dataclass(frozen=True)
class _Point:
    """One set of arguments, and per form its value or the reason why it has none, or why it is false there."""

    arguments: Mapping[str, Floats]
    values: Mapping[str, float]
    reasons: Mapping[str, str]
    refuted: Mapping[str, str]
    problem: InputError | None = None

    @classmethod
    def at(cls, statement: Statement, given: Mapping[str, Any]) -> _Point:
        try:
            arguments = statement.values(given)
            reasons = {name: form.applies(arguments) for name, form in statement.forms.items()}
            values, refuted = dict.fromkeys(reasons, np.nan), dict.fromkeys(reasons, "")
            for name, form in statement.forms.items():
                if not reasons[name]:
                    with np.errstate(all="ignore"):  # overflow is told by the value itself
                        values[name] = float(statement.bound(form, arguments))
                    reasons[name] = _NO_NUMBER if np.isnan(values[name]) else ""
                    refuted[name] = form.refuted(arguments)
        except InputError as error:
            defaults = {
                symbol.name: symbol.default for symbol in statement.symbols if isinstance(symbol.default, float)
            }
            nowhere = dict.fromkeys(statement.forms, np.nan)
            none = dict.fromkeys(statement.forms, "")
            return cls(defaults | dict(given), nowhere, dict.fromkeys(statement.forms, str(error)), none, error)
        return cls(arguments, values, reasons, refuted)


_NO_NUMBER = "the arguments leave the range of float64: no number is left"


def _form_value(statement: Statement, name: str, form: NumericForm, points: list[_Point]) -> FormValue:
    truth = _truth(statement, form)
    worth = tuple(_worth(statement, name, truth, point) for point in points)
    return FormValue(
        name,
        form.text,
        truth,
        tuple(point.values[name] for point in points),
        worth if any(worth) else (),
        tuple(point.reasons[name] for point in points),
        tuple(point.refuted[name] for point in points),
    )


def _truth(statement: Statement, form: NumericForm) -> Truth | None:
    """Run the checks of the printed equation that the form belongs to; None where it belongs to none."""
    equation = next((equation for equation in statement.equations if equation.key == form.equation), None)
    if equation is None:
        return None
    checks = [check for check in equation.checks if check.side == Form.PRINTED]
    return printed_truth(*run_checks(checks, equation.readings, Effort(trials=1)))


def _worth(statement: Statement, name: str, truth: Truth | None, point: _Point) -> str:
    """Compare with the trivial and the simpler bound; an upper bound is tighter where it is smaller."""
    if point.reasons[name]:
        return str(Instance.NOT_APPLICABLE)
    if truth == Truth.REFUTED or point.refuted[name]:
        return REFUTED
    if truth == Truth.AMBIGUOUS:
        return str(truth)
    rivals = {"trivial", "simpler"} & point.values.keys()
    if name in rivals or not rivals or statement.kind not in (Kind.UPPER, Kind.LOWER):
        return ""
    sign = 1.0 if statement.kind == Kind.UPPER else -1.0
    bound, trivial, simpler = (sign * point.values.get(form, sign * np.inf) for form in (name, "trivial", "simpler"))
    return str(judged_value(bound, bound, trivial, simpler))
