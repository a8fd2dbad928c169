"""How a claim is checked: by proof, exact witness, adversarial search or computation; each run anew, none remembered.

A check says something about one form of an equation, as printed or as corrected. Data can refute a claim that is made
for all values, and can never prove it: a search that finds nothing leaves the claim undecided and says how hard it
looked.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

import numpy as np
import sympy as sp

from theorykit.results import Result
from theorykit.statements.enclosure import certainly
from theorykit.verdicts import Form as Form
from theorykit.verdicts import Truth as Truth
from theorykit.verdicts import Value as Value

Numbers = Mapping[str, float | int | str]


class EvidenceKind(StrEnum):
    """What kind of evidence a check gives."""

    PROOF = "proof"
    WITNESS = "witness"
    SEARCH = "search"
    COMPUTATION = "computation"
    LITERATURE = "literature"
    MEASUREMENT = "measurement"


@dataclass(frozen=True)
class Effort:
    """How hard the searches look.

    Attributes:
        trials: Random instances per search.
        seed: Of the generator of each search.
    """

    trials: int = 100_000
    seed: int = 0


@dataclass(frozen=True)
class Evidence(Result):
    """What one check found.

    Attributes:
        side: The form that it is about.
        method: Proof, witness, search, computation, literature or measurement.
        title: What was checked.
        truth: What follows for the form.
        sentence: What was found, with its numbers.
        numbers: The numbers by name.
        value: VACUOUS or DOMINATED where the check shows that a true bound says nothing, INFORMATIVE where it shows
            that it says something; None otherwise.
        reading: Key of the reading of the printed form that it is about; empty where it is about all of them.
    """

    side: Form
    method: EvidenceKind
    title: str
    truth: Truth
    sentence: str
    numbers: Numbers = field(default_factory=dict)
    value: Value | None = None
    reading: str = ""


@dataclass(frozen=True)
class Found:
    """The outcome of a check: what follows, in a sentence, with its numbers."""

    truth: Truth
    sentence: str
    numbers: Numbers = field(default_factory=dict)
    value: Value | None = None


@dataclass(frozen=True)
class Check:
    """One check that can be run.

    Attributes:
        side: The form that it is about.
        method: The kind of evidence.
        title: What is checked.
        outcome: From the effort to what was found.
    """

    side: Form
    method: EvidenceKind
    title: str
    outcome: Callable[[Effort], Found]

    def run(self, effort: Effort) -> Evidence:
        """Check it anew."""
        return Evidence(self.side, self.method, self.title, **vars(self.outcome(effort)))


def truth_of(evidence: Iterable[Evidence]) -> Truth | None:
    """Draw one verdict: REFUTED outranks PROVED outranks UNDECIDED; None without evidence."""
    truths = {part.truth for part in evidence}
    return next((truth for truth in (Truth.REFUTED, Truth.PROVED, Truth.UNDECIDED) if truth in truths), None)


def identity(side: Form, title: str, left: Callable[[], Any], right: Callable[[], Any]) -> Check:
    """Check that two sympy expressions (or matrices) are equal: PROVED where their difference simplifies to 0."""

    def outcome(_: Effort) -> Found:
        rest = sp.simplify(left() - right())
        equal = rest == 0 or (isinstance(rest, sp.MatrixBase) and rest.is_zero_matrix)
        sentence = f"{title}: the difference of both sides is {'0' if equal else sp.sstr(rest)}"
        return Found(Truth.PROVED if equal else Truth.REFUTED, sentence)

    return Check(side, EvidenceKind.PROOF, title, outcome)


def proof(side: Form, title: str, reasoning: Callable[[], tuple[bool, str]], *, refutes: bool = False) -> Check:
    """Check a symbolic argument: a function that returns whether every step held, and says what it showed.

    Args:
        side: The form.
        title: What is shown.
        reasoning: Returns (held, sentence).
        refutes: The argument shows the form to be false.
    """

    def outcome(_: Effort) -> Found:
        held, sentence = reasoning()
        truth = Truth.REFUTED if refutes else Truth.PROVED
        return Found(truth if held else Truth.UNDECIDED, sentence)

    return Check(side, EvidenceKind.PROOF, title, outcome)


@dataclass(frozen=True)
class Witness:
    """A counterexample in exact numbers: what an instance does, against what the printed form says of it.

    Attributes:
        title: The instance in words.
        computed: The bounded quantity, computed from the instance's matrices or recursion; an exact sympy number.
        printed: The registered expression of the printed form.
        values: Number of the instance for each symbol of the expressions.
        corrected: The registered expression of the corrected form, or None.
        lower: The forms are lower bounds, not upper ones.
    """

    title: str
    computed: sp.Expr
    printed: sp.Expr
    values: Mapping[sp.Symbol, Any] = field(default_factory=dict)
    corrected: sp.Expr | None = None
    lower: bool = False

    def at_instance(self, form: sp.Expr) -> sp.Expr:
        """Return an expression with the numbers of the instance in it."""
        return sp.sympify(form).xreplace({symbol: sp.sympify(value) for symbol, value in self.values.items()})

    def verify(self) -> bool:
        """Return whether the printed form is broken for certain, in interval arithmetic, and the corrected one not."""
        broken = self._breaks(self.computed, self.at_instance(self.printed))
        return broken and (self.corrected is None or self._breaks(self.at_instance(self.corrected), self.computed))

    def _breaks(self, first: sp.Expr, second: sp.Expr) -> bool:
        """Return whether a first number is on the wrong side of a bound that is the second."""
        return certainly(second, first) if self.lower else certainly(first, second)


def witness(title: str, example: Callable[[], Witness], *, side: Form = Form.PRINTED) -> Check:
    """Check a counterexample to a form: REFUTED where it verifies in exact or interval arithmetic."""

    def outcome(_: Effort) -> Found:
        instance = example()
        if not instance.verify():
            return Found(Truth.UNDECIDED, f"{instance.title}: the stored witness does not verify")
        numbers = {"computed": float(instance.computed), "printed": float(instance.at_instance(instance.printed))}
        if instance.corrected is not None:
            numbers["corrected"] = float(instance.at_instance(instance.corrected))
        relation = "≥" if instance.lower else "≤"
        forms = ", ".join(f"{name} form {relation} {numbers[name]:.4g}" for name in list(numbers)[1:])
        return Found(Truth.REFUTED, f"{instance.title}: computed {numbers['computed']:.4g}; {forms}", numbers)

    return Check(side, EvidenceKind.WITNESS, title, outcome)


Ratios = Callable[[np.random.Generator, int], "np.ndarray[Any, np.dtype[np.float64]]"]
"""From a generator and a count to as many ratios: claimed smaller side / claimed larger side."""

Drawn = TypeVar("Drawn")
_KEPT = 64


def drawn_once(draw: Callable[[np.random.Generator, int], Drawn]) -> Callable[[np.random.Generator, int], Drawn]:
    """Let searches of one seed share their instances: what was drawn from this state before is given again.

    The generator moves on as if it had drawn. The last 64 batches are kept; the instances are not to be changed.
    """
    kept: dict[tuple[str, int], tuple[Drawn, Any]] = {}

    @functools.wraps(draw)
    def again(generator: np.random.Generator, count: int) -> Drawn:
        key = (repr(generator.bit_generator.state), count)
        if key in kept:
            drawn, state = kept[key]
            generator.bit_generator.state = state
            return drawn
        if len(kept) >= _KEPT:
            kept.pop(next(iter(kept)))
        drawn = draw(generator, count)
        kept[key] = (drawn, generator.bit_generator.state)
        return drawn

    return again


ROUNDING = 1e-9
"""A ratio may pass 1 by this much in float64 without being a violation."""
_BATCH = 5_000


def search(side: Form, title: str, ratios: Ratios) -> Check:
    """Search for a violation among random instances: REFUTED where a ratio passes 1, else not refuted in K trials.

    Args:
        side: The form.
        title: What is searched.
        ratios: Draws instances and returns smaller side / larger side; must include the extreme ones.
    """

    def outcome(effort: Effort) -> Found:
        generator = np.random.default_rng(effort.seed)
        largest, done = 0.0, 0
        while done < effort.trials:
            count = min(_BATCH, effort.trials - done)
            values = ratios(generator, count)
            if not np.isfinite(values).all():
                sentence = f"{title}: a trial gave {values[~np.isfinite(values)][0]}, which is no ratio"
                return Found(Truth.UNDECIDED, sentence, {"trials": done})
            largest, done = max(largest, float(values.max())), done + count
        numbers = {"trials": done, "largest_ratio": largest}
        refuted = largest > 1 + ROUNDING
        words = f"a ratio of {largest:.6g} in" if refuted else f"largest ratio {largest:.4g}, not refuted in"
        return Found(Truth.REFUTED if refuted else Truth.UNDECIDED, f"{title}: {words} {done:,} trials", numbers)

    return Check(side, EvidenceKind.SEARCH, title, outcome)


def computation(
    side: Form, title: str, compute: Callable[[], Found], *, method: EvidenceKind = EvidenceKind.COMPUTATION
) -> Check:
    """Check by a computation that says itself what follows."""
    return Check(side, method, title, lambda _: compute())


def cited(side: Form, theorem: str, source: str) -> Check:
    """State a step that is taken from the literature: it decides nothing here, and what is proved rests on it."""
    outcome = Found(Truth.UNDECIDED, f"cited, not computed here: {theorem} ({source})")
    return Check(side, EvidenceKind.LITERATURE, theorem, lambda _: outcome)


def measured_later(side: Form, title: str, what: str) -> Check:
    """Announce evidence that only trained students can give (``python -m validation``)."""
    outcome = Found(Truth.UNDECIDED, f"only trained students can tell (python -m validation run): {what}")
    return Check(side, EvidenceKind.MEASUREMENT, title, lambda _: outcome)
