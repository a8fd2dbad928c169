"""How a sentence of the paper is read: one rule for every row of the audit.

1. A reading is one precise claim that the printed words allow. It is well-typed where all that it speaks of exists:
   shapes conform, differences are of one space, a symbol has one meaning in it.
2. A constant that the paper leaves open (O(·), C, const) may depend on all that the paper fixes beforehand (shapes,
   norms, variances, Lipschitz and smoothness constants), and not on what the claim is about: T in eq 11, n and r in eqs
   19 and 21, the loss in eq 23.
3. A printed number stands for every value that rounds to it (:mod:`theorykit.statements.printed`).
4. A definition or a premise claims nothing: neither true nor false.
5. REFUTED: the most charitable well-typed reading fails, which is to say that every well-typed one does. Where all
   readings have one verdict, it is the claim's. Otherwise the claim is AMBIGUOUS, and each reading keeps its own.

A claim that is printed without readings has one, its words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from theorykit.results import Result
from theorykit.statements.evidence import Check, Effort, Evidence, Form, truth_of
from theorykit.verdicts import Truth


@dataclass(frozen=True)
class Reading:
    """One claim that the printed words allow.

    Attributes:
        key: One word for it, as ``literal``.
        claim: What it claims, in one line.
        checks: Evidence on the printed form so read, run on demand.
        well_typed: Whether all that it speaks of exists.
    """

    key: str
    claim: str
    checks: tuple[Check, ...]
    well_typed: bool = True


@dataclass(frozen=True)
class JudgedReading(Result):
    """A reading with its verdict.

    Attributes:
        key: Of the reading.
        claim: Of the reading.
        well_typed: Of the reading.
        truth: What its evidence says, with that on all readings; UNDECIDED without any.
    """

    key: str
    claim: str
    well_typed: bool
    truth: Truth


def truth_over(readings: Sequence[JudgedReading]) -> Truth:
    """Draw one verdict from those of the readings, by the rule that opens this file.

    Args:
        readings: At least one.

    Example:
        >>> literal = JudgedReading("literal", "a 2 × 3 matrix less a 3 × 3 one", False, Truth.REFUTED)
        >>> meant = JudgedReading("meant", "a 3 × 3 matrix less a 3 × 3 one", True, Truth.PROVED)
        >>> str(truth_over([literal, meant])), str(truth_over([literal]))
        ('AMBIGUOUS', 'REFUTED')
    """
    every = {reading.truth for reading in readings}
    if len(every) == 1:
        return every.pop()
    typed = {reading.truth for reading in readings if reading.well_typed}
    return Truth.REFUTED if typed == {Truth.REFUTED} else Truth.AMBIGUOUS


def run_checks(
    checks: Iterable[Check], readings: Sequence[Reading], effort: Effort
) -> tuple[tuple[Evidence, ...], tuple[JudgedReading, ...]]:
    """Run the checks of a claim, those of its readings first, and judge each reading."""
    shared = tuple(check.run(effort) for check in checks)
    on_all = [part for part in shared if part.side == Form.PRINTED]
    own: list[Evidence] = []
    judged = []
    for reading in readings:
        evidence = [replace(check.run(effort), reading=reading.key) for check in reading.checks]
        own += evidence
        truth = truth_of([*on_all, *evidence]) or Truth.UNDECIDED
        judged.append(JudgedReading(reading.key, reading.claim, reading.well_typed, truth))
    return (*own, *shared), tuple(judged)


def printed_truth(evidence: Iterable[Evidence], readings: Sequence[JudgedReading]) -> Truth | None:
    """Return the verdict on a printed form: over its readings, or from the evidence where it has none."""
    return truth_over(readings) if readings else truth_of(part for part in evidence if part.side == Form.PRINTED)
