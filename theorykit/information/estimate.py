"""What every estimator of mutual information returns: a number, its interval and ceiling, and reasons for doubt."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Self

from theorykit.results import Result


class Doubt(Enum):
    """What a warning is about, where something is decided by it."""

    TIED_VALUES = auto()
    NOT_GAUSSIAN = auto()
    NOT_ELLIPTICAL = auto()
    LOWER_BOUND = auto()
    UNCERTIFIED = auto()
    ABOVE_ENTROPY = auto()
    UNSEEN_RELATIONS = auto()


class KeyedWarning(str):
    """The sentence of a warning with its doubt: the reader has the sentence, the program goes by the doubt."""

    doubt: Doubt

    def __new__(cls, sentence: str, doubt: Doubt) -> KeyedWarning:
        """Return the sentence with its key."""
        warning = super().__new__(cls, sentence)
        warning.doubt = doubt
        return warning

    def __getnewargs__(self) -> tuple[str, Doubt]:  # type: ignore[override]
        """Return what copies and pickles are made from."""
        return str(self), self.doubt


@dataclass(frozen=True)
class InformationEstimate(Result):
    """An estimate of I(X; Y) from N paired samples, in nats.

    Attributes:
        method: Name of the estimator.
        information: The estimate in nats, possibly below 0; None where the estimator failed.
        interval: 95 % interval of I; None where the method has none. Of ``cca``, ``decoder``, ``network_decoder`` and
            the critics ``mine``, ``anchored_mine`` and ``infonce`` it is that of a lower bound: I may lie above.
            ``auto`` has that of its choice.
        standard_error: In nats; None where the method has none.
        ceiling: What this method cannot pass with this N and d, in nats; None where it has no ceiling.
        converged: Whether an estimator that is trained or iterated has come to rest; True for closed forms.
        n_samples: N.
        dimensions: (d_x, d_y).
        warnings: Why the number must not be believed, one sentence each; empty where nothing speaks against it.
        failure: Why there is no number; empty where there is one.
        seconds: Wall time.
    """

    method: str
    information: float | None
    interval: tuple[float, float] | None
    standard_error: float | None
    ceiling: float | None
    converged: bool
    n_samples: int
    dimensions: tuple[int, int]
    warnings: tuple[str, ...] = ()
    failure: str = ""
    seconds: float = 0.0

    @classmethod
    def failed(
        cls, method: str, n_samples: int, dimensions: tuple[int, int], failure: str, warnings: tuple[str, ...] = ()
    ) -> Self:
        """Return the record of an estimator that has no number."""
        return cls(method, None, None, None, None, False, n_samples, dimensions, warnings, failure)

    def has(self, doubt: Doubt) -> bool:
        """Return whether a warning is about this doubt."""
        return any(warning.doubt is doubt for warning in self.warnings if isinstance(warning, KeyedWarning))

    def __repr__(self) -> str:
        if self.information is None:
            return f"InformationEstimate({self.method}: failed, {self.failure})"
        low_high = "" if self.interval is None else f" ({self.interval[0]:.3g} to {self.interval[1]:.3g})"
        doubts = f", {len(self.warnings)} warnings" if self.warnings else ""
        return f"InformationEstimate({self.method}: {self.information:.4g} nats{low_high}{doubts})"
