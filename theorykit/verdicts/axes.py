"""The separate axes of a verdict, and the result that carries one value on each of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from theorykit.results import Result

if TYPE_CHECKING:
    import pandas as pd


class Form(StrEnum):
    """Which form of an equation a check or a finding is about."""

    PRINTED = "printed"
    CORRECTED = "corrected"
    INSTRUMENT = "instrument"
    """Neither: whether the measurement itself can be trusted."""
    REMARK = "remark"
    """Neither: what a reader should know, which decides nothing on them."""


class Truth(StrEnum):
    """Whether the statement is true for all instances: decided by proof or by a stored witness, never by a sample.

    AMBIGUOUS: its words allow readings with different verdicts, and a well-typed one is not refuted
    (:mod:`theorykit.statements.readings`).
    """

    PROVED = "PROVED"
    REFUTED = "REFUTED"
    AMBIGUOUS = "AMBIGUOUS"
    UNDECIDED = "UNDECIDED"


class Instance(StrEnum):
    """What this measurement says.

    UNFALSIFIABLE is kept apart from NOT_APPLICABLE: there an assumption fails and another measurement may apply; here
    no measurement can contradict the statement until a constant or an exponent is registered.
    """

    HOLDS = "HOLDS"
    VIOLATED = "VIOLATED"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_APPLICABLE = "NOT_APPLICABLE"
    NOT_RUN = "NOT_RUN"
    UNFALSIFIABLE = "UNFALSIFIABLE"


class Value(StrEnum):
    """Whether the bound says anything: DOMINATED by a tighter simpler bound, VACUOUS beside the trivial one."""

    INFORMATIVE = "INFORMATIVE"
    DOMINATED = "DOMINATED"
    VACUOUS = "VACUOUS"


class Exponent(StrEnum):
    """Whether a measured slope agrees with the claimed one; INDISTINGUISHABLE where the data leave it open."""

    CONSISTENT = "CONSISTENT"
    INCONSISTENT = "INCONSISTENT"
    INDISTINGUISHABLE = "INDISTINGUISHABLE"


_INSTANCE_WORDS = {
    Instance.HOLDS: "holds",
    Instance.VIOLATED: "is violated",
    Instance.INCONCLUSIVE: "is inconclusive",
    Instance.NOT_APPLICABLE: "does not apply",
    Instance.NOT_RUN: "was not run",
    Instance.UNFALSIFIABLE: "is unfalsifiable until a constant or an exponent is registered",
}
_VALUE_WORDS = {
    Value.INFORMATIVE: "is informative",
    Value.DOMINATED: "is dominated: a simpler known bound is tighter",
    Value.VACUOUS: "is vacuous: true but says nothing",
}


@dataclass(frozen=True, repr=False)
class Verdict(Result):
    """One answer on every axis, with the reasons in words.

    Attributes:
        statement: What was judged.
        instance: What this measurement says.
        value: Whether the bound says anything; None where no competitor was given or its interval straddles one.
        exponent: For statements about an exponent; None otherwise.
        truth: Symbolic truth; a measurement leaves it UNDECIDED, ``dataclasses.replace`` adds what is proved.
        tightness: bound / measured, no unit, of the configuration nearest to a violation; None where undefined.
        tightness_interval: Its two-sided interval; the upper end may be infinite.
        reasons: Sentences that explain the verdict and name all that was left out.
        n_seeds: Independent repetitions (seeds, data sets or trials) per configuration.
        alpha: One-sided error rate of each decision; None where no test was made.
        method: Name of the decision procedure.
        evidence: The numbers behind it, one row per configuration or part.
    """

    statement: str
    instance: Instance
    value: Value | None = None
    exponent: Exponent | None = None
    truth: Truth = Truth.UNDECIDED
    tightness: float | None = None
    tightness_interval: tuple[float, float] | None = None
    reasons: tuple[str, ...] = ()
    n_seeds: int = 0
    alpha: float | None = None
    method: str = ""
    evidence: Result | None = None

    @property
    def sentence(self) -> str:
        """Return the verdict as one line.

        Example:
            >>> Verdict("eq 19", Instance.HOLDS, Value.VACUOUS).sentence
            'holds and is vacuous: true but says nothing'
        """
        words = _INSTANCE_WORDS[self.instance]
        if self.value is not None and self.instance is Instance.HOLDS:
            words += f" and {_VALUE_WORDS[self.value]}"
        elif self.value is Value.VACUOUS and self.instance is Instance.INCONCLUSIVE:
            words += " and is vacuous in any case"
        if self.exponent is not None:
            words += f"; the exponent is {self.exponent.lower()}"
        return words if self.truth is Truth.UNDECIDED else f"{self.truth.lower()} in general; here it {words}"

    def __repr__(self) -> str:
        lines = [f"{self.statement}: {self.sentence}" if self.statement else self.sentence]
        if self.tightness is not None:
            span = self.tightness_interval
            between = f" [{span[0]:.3g}, {span[1]:.3g}]" if span else ""
            lines.append(f"  bound / measured = {self.tightness:.3g}{between}")
        level = "" if self.alpha is None else f", alpha = {self.alpha:g}"
        lines.append(f"  {self.method or 'no test'}, n = {self.n_seeds}{level}")
        return "\n".join(lines + [f"  - {reason}" for reason in self.reasons])

    def to_frame(self) -> pd.DataFrame:
        """Return one row; ``evidence.to_frame()`` has the rows behind it."""
        import pandas as pd

        row = self.to_dict()
        del row["evidence"]
        return pd.DataFrame([row | {"sentence": self.sentence, "reasons": " ".join(self.reasons)}])


@dataclass(frozen=True)
class Rows(Result):
    """Rows of evidence: a table whose rows are all of one kind of result.

    Attributes:
        rows: Frozen results, one per configuration or part.
    """

    rows: tuple[Result, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return one row per part."""
        import pandas as pd

        return pd.DataFrame([row.to_dict() for row in self.rows])
