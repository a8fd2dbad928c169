"""What a statement of the paper is: its equations, two forms of its bound, assumptions, and checks that can be run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import sympy as sp

from theorykit.arguments import Floats, did_you_mean, number_array
from theorykit.errors import InputError
from theorykit.statements.evidence import Check
from theorykit.statements.readings import Reading


class Kind(StrEnum):
    """What a statement claims."""

    IDENTITY = "identity"
    UPPER = "upper bound"
    LOWER = "lower bound"
    RATE = "rate"
    DEFINITION = "definition"
    PREMISE = "premise"
    CLAIM = "claim"

    @property
    def claims_nothing(self) -> bool:
        """Return whether it is neither true nor false: what a word means, or what is taken for granted."""
        return self in (Kind.DEFINITION, Kind.PREMISE)


@dataclass(frozen=True)
class Symbol:
    """One quantity of a bound.

    Attributes:
        name: Argument of the numeric functions and of ``theorykit bound``.
        symbol: As the sympy expressions write it.
        meaning: What it is, with its unit.
        low: Smallest value of its domain.
        high: Largest value of its domain.
        integer: Whole numbers only.
        open: The ends of the domain are not in it.
        default: Value where none is given, or a function of the arguments before it; None if it has to be given.
    """

    name: str
    symbol: sp.Symbol
    meaning: str
    low: float = 0.0
    high: float = float("inf")
    integer: bool = False
    open: bool = True
    default: float | Callable[[Mapping[str, Floats]], Floats] | None = None

    def default_at(self, earlier: Mapping[str, Floats]) -> Floats | float | None:
        """Return the default beside the arguments that come before this one."""
        return self.default(earlier) if callable(self.default) else self.default

    @property
    def default_text(self) -> str:
        """Return the default in words, empty where there is none."""
        if self.default is None:
            return ""
        return (self.default.__doc__ or "").strip() if callable(self.default) else f"{self.default:g}"

    @property
    def domain(self) -> str:
        """Return the domain in words, for example ``whole number in [1, inf)``."""
        left, right = ("(", ")") if self.open else ("[", "]")
        kind = "whole number" if self.integer else "number"
        right = ")" if np.isinf(self.high) else right
        return f"{kind} in {left}{self.low:g}, {self.high:g}{right}"

    def check(self, value: Any) -> Floats:
        """Return the value as float64, or raise where it lies outside the domain."""
        numbers = number_array(self.name, value)
        above = numbers > self.low if self.open else numbers >= self.low
        below = (numbers < self.high) | np.isinf(self.high) if self.open else numbers <= self.high
        inside = np.isfinite(numbers) & above & below
        if self.integer:
            inside &= numbers == np.floor(numbers)
        if not inside.all():
            wrong = numbers[~inside].flat[0]
            raise InputError(f"{self.name} = {wrong:.12g} is not a {self.domain}", f"{self.name} is {self.meaning}")
        return numbers


@dataclass(frozen=True)
class NumericForm:
    """One side of a statement that can be evaluated.

    Attributes:
        text: The formula in one line.
        expression: The same in sympy, in the statement's symbols.
        evaluate: The library's function, called with the symbols of the expression by their names; broadcasts.
        applies: From the arguments of one point to why the form says nothing there; empty where it applies.
        equation: Key of the equation whose verdict is the form's; empty for the forms that are not printed.
        refuted: From the arguments of one point to why the form is false with them; empty where it is not known to be.
    """

    text: str
    expression: sp.Expr
    evaluate: Callable[..., Any]
    applies: Callable[[Mapping[str, Floats]], str] = lambda _: ""
    equation: str = ""
    refuted: Callable[[Mapping[str, Floats]], str] = lambda _: ""


@dataclass(frozen=True)
class Equation:
    """One numbered equation or claim with what is known about it.

    Attributes:
        key: ``eq-11`` or a short name for a claim without a number.
        label: ``eq 11``.
        printed: The formula or sentence as the paper prints it.
        corrected: What is true instead; empty where the printed form stands.
        checks: Evidence, run on demand.
        kind: What it claims.
        remark: One sentence for the reader, said whatever the checks find.
        condition: What the proof of the printed form assumes beyond the paper; its verdict stands under it.
        readings: The claims that the printed words allow, where they differ; empty where there is one.
    """

    key: str
    label: str
    printed: str
    corrected: str = ""
    checks: tuple[Check, ...] = ()
    kind: Kind = Kind.IDENTITY
    remark: str = ""
    condition: str = ""
    readings: tuple[Reading, ...] = ()


@dataclass(frozen=True)
class Statement:
    """One statement of the paper.

    Attributes:
        slug: Its name on the command line and in records; its file has the paper's label.
        label: The paper's label, for example ``Theorem 1``.
        title: What it is about.
        kind: What it claims.
        equations: Its equations and claims, in the paper's order.
        symbols: The quantities of its bound.
        printed: The bound as printed, or None where nothing can be evaluated.
        corrected: The corrected bound.
        trivial: The bound that needs no theorem; its competitor.
        simpler: A known bound that is simpler than the statement's, or None.
        assumptions: In words.
        references: Sources of the corrected form.
    """

    slug: str
    label: str
    title: str
    kind: Kind
    equations: tuple[Equation, ...]
    symbols: tuple[Symbol, ...] = ()
    printed: NumericForm | None = None
    corrected: NumericForm | None = None
    trivial: NumericForm | None = None
    simpler: NumericForm | None = None
    assumptions: tuple[str, ...] = ()
    references: tuple[str, ...] = field(default=())

    @property
    def keys(self) -> tuple[str, ...]:
        """Return every name that finds the statement: slug, label, keys of its equations."""
        return (self.slug, self.label.lower().replace(" ", "-"), *(equation.key for equation in self.equations))

    @property
    def forms(self) -> dict[str, NumericForm]:
        """Return the forms that exist, by name."""
        named = {name: getattr(self, name) for name in ("printed", "corrected", "simpler", "trivial")}
        return {name: form for name, form in named.items() if form is not None}

    def bound(self, form: NumericForm, values: Mapping[str, Floats]) -> Floats:
        """Return a form at checked values."""
        needed = form.expression.free_symbols
        arguments = {symbol.name: values[symbol.name] for symbol in self.symbols if symbol.symbol in needed}
        return np.asarray(form.evaluate(**arguments), dtype=np.float64)

    def values(self, given: Mapping[str, Any]) -> dict[str, Floats]:
        """Return all arguments, checked, with defaults filled in.

        Raises:
            InputError: an argument that the statement does not have, that is missing, or outside its domain.
        """
        known = {symbol.name: symbol for symbol in self.symbols}
        for name in given:
            if name not in known:
                hint = f"it takes {', '.join(known) or 'no arguments'}"
                raise InputError(f"{self.slug} has no argument {name!r}", did_you_mean(name, known) + hint)
        values: dict[str, Floats] = {}
        for name, symbol in known.items():
            value = given[name] if name in given else symbol.default_at(values)
            if value is None:
                raise InputError(f"{self.slug} needs {name}: {symbol.meaning}", f"give {name}=NUMBER, {symbol.domain}")
            values[name] = symbol.check(value)
        return values
