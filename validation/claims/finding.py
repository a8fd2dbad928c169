"""What one experiment says about one form of one equation, and whether that is what it had to say."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, cast

from theorykit.errors import InputError
from theorykit.results import Result
from theorykit.statements import find_statement
from theorykit.verdicts import Exponent, Form, Instance, SlopeEvidence, Value, Verdict


class Outcome(StrEnum):
    """How a planted control came out."""

    RIGHT = "right"
    WRONG = "wrong"
    UNDECIDED = "undecided"


Configuration = Mapping[str, str | int | float]
"""Of a finding: names and values."""
CONDITIONAL = (
    "All seeds share one teacher, one held-out set and one text, of which their subsets overlap: the result is "
    "conditional on these."
)
"""A reason of every verdict over seeds of students."""

_WORDS = {str(word) for axis in (Instance, Value, Exponent) for word in axis}
_OPEN = {Instance.INCONCLUSIVE, Exponent.INDISTINGUISHABLE}


@dataclass(frozen=True)
class Finding(Result):
    """One verdict on one form of one equation.

    Attributes:
        equation: Key of the equation or claim, as ``eq-11``: one of :data:`theorykit.statements.STATEMENTS`.
        form: Printed, corrected, or the instrument.
        what: One line for people: what was measured, where, and what it was held against. Nothing selects by it.
        verdict: Of the library.
        expected: For planted controls, whose truth is known: the words of the verdict (``HOLDS``, ``VACUOUS``,
            ``INCONSISTENT``, …) that a working harness has to find; empty for measurements on students.
        measured: The number, in ``unit``.
        interval: Its interval; open ends are infinite.
        bound: What it was held against, in ``unit``.
        unit: Of the three.
        key: Which question about the equation it answers, as ``exponent``; the same question has the same key in every
            configuration.
        of: The configuration, as ``{"curve": "labels, svd start", "size": 48}``. Equation, form, key and configuration
            together name a finding within its record.
    """

    equation: str
    form: Form
    what: str
    verdict: Verdict
    expected: tuple[str, ...] = ()
    measured: float | None = None
    interval: tuple[float, float] | None = None
    bound: float | None = None
    unit: str = ""
    key: str = field(kw_only=True)
    of: Configuration = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        if find_statement(self.equation)[1] is None:
            raise InputError(f"{self.equation!r} names a statement and no equation", "give the key of an equation")
        for name, value in self.of.items():
            if isinstance(value, bool) or (not isinstance(value, str) and not math.isfinite(value)):
                raise InputError(f"{name} = {value!r} names no configuration", "give a text or a finite number")
        if self.interval is not None and any(map(math.isnan, self.interval)):
            object.__setattr__(self, "interval", None)  # an end that is no number is no infinite end either
        unknown = [word for word in self.expected if word not in _WORDS]
        if unknown:
            raise InputError(f"{unknown[0]!r} is no word of a verdict", f"choose from {', '.join(sorted(_WORDS))}")

    @property
    def question(self) -> tuple[Any, ...]:
        """Return what tells it from the other findings of its record."""
        return self.equation, self.form, self.key, tuple(sorted(self.of.items()))

    @property
    def words(self) -> tuple[str, ...]:
        """Return the verdict on its axes, for example ``("HOLDS", "VACUOUS")``."""
        axes = (self.verdict.instance, self.verdict.value, self.verdict.exponent)
        return tuple(str(axis) for axis in axes if axis is not None)

    @property
    def outcome(self) -> Outcome | None:
        """Return how a planted control came out; None for measurements on students."""
        if not self.expected:
            return None
        if set(self.expected) <= set(self.words):
            return Outcome.RIGHT
        return Outcome.UNDECIDED if _OPEN & set(self.words) else Outcome.WRONG

    @property
    def sentence_words(self) -> str:
        """Return the verdict as it is said in a sentence, for example ``not applicable``."""
        return ", ".join(self.words).replace("_", " ").lower()

    def judged(self, **changes: Any) -> Finding:
        """Return the same with other fields of its verdict."""
        return replace(self, verdict=replace(self.verdict, **changes))

    def because(self, *reasons: str) -> Finding:
        """Return the same with more reasons."""
        return self.judged(reasons=(*self.verdict.reasons, *reasons))

    def to_dict(self) -> dict[str, Any]:
        """Return it as a record keeps it: its fields, and what follows from them."""
        return super().to_dict() | {"words": list(self.words), "outcome": self.outcome}


def stated(
    equation: str,
    form: Form,
    what: str,
    instance: Instance,
    *reasons: str,
    n_seeds: int = 0,
    alpha: float | None = None,
    method: str = "",
    **named: Any,
) -> Finding:
    """Return a finding whose verdict is said outright, by no test: nothing is registered, or an assumption fails.

    Args:
        equation: Key of the equation.
        form: Which form is about it.
        what: Was judged, in one line.
        instance: What is said of it.
        reasons: Why.
        n_seeds: Of the verdict, as all up to ``method``.
        alpha: Level of what was computed all the same.
        method: In a few words.
        named: Other fields of the finding: its key, its configuration, its numbers and their unit.
    """
    verdict = Verdict(what, instance, reasons=reasons, n_seeds=n_seeds, alpha=alpha, method=method)
    return Finding(equation, form, what, verdict, **named)


def refuse_repeated_questions(findings: Iterable[Finding]) -> None:
    """Raise where two findings of a record have one question: nothing could tell them apart.

    Raises:
        InputError: two have the same equation, form, key and configuration.
    """
    asked = set()
    for finding in findings:
        if finding.question in asked:
            of = "".join(f", {name} {value}" for name, value in finding.of.items())
            question = f"{finding.equation} {finding.form} {finding.key}{of}"
            raise InputError(f"two findings answer {question}", "give each its own key, and each setting once")
        asked.add(finding.question)


def slope_finding(
    equation: str,
    form: Form,
    what: str,
    verdict: Verdict,
    claimed: float,
    unit: str,
    expected: tuple[str, ...] = (),
    *,
    key: str,
    of: Configuration,
) -> Finding:
    """Return the verdict on an exponent as a finding: its slope with the interval that decided, beside the claim."""
    evidence = cast("SlopeEvidence | None", verdict.evidence)
    slope, interval = (None, None) if evidence is None else (evidence.slope, evidence.equivalence_interval)
    return Finding(equation, form, what, verdict, expected, slope, interval, bound=claimed, unit=unit, key=key, of=of)
