"""Why a student did not end: what training itself gave up is data, all else an accident that may not happen again."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from theorykit import provenance
from theorykit.errors import NonFiniteError, TheorykitError


class FailureKind(StrEnum):
    """What a failure says of the student."""

    DIVERGED = "diverged"
    """A loss or a gradient was not finite: it would be so again."""
    NO_STEP_SIZE = "no_step_size"
    """No step could be measured where it starts."""
    ACCIDENT = "accident"
    """Something beside the student's own numbers: trained again, it may end well."""


@dataclass(frozen=True)
class Failure:
    """Why a student has no result.

    Attributes:
        kind: What later code goes by.
        reason: One line for a reader.
        trace: Of the exception, where there was one.
    """

    kind: FailureKind
    reason: str
    trace: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Return what an exception says: numbers that were not finite are the student's own, else it is an accident."""
        kind = FailureKind.DIVERGED if isinstance(error, NonFiniteError) else FailureKind.ACCIDENT
        trace = provenance.portable_trace("".join(traceback.format_exception(error)))
        return cls(kind, reason_of(error), trace)

    def to_dict(self) -> dict[str, str]:
        """Return what rows and records hold of it; those of students that ended hold an empty ``failure`` alone."""
        trace = {"trace": self.trace} if self.trace else {}
        return {"failure": self.reason, "failure_kind": str(self.kind)} | trace


def reason_of(error: BaseException) -> str:
    """Return an error as one line of at most 1,000 characters."""
    if type(error).__name__ == "OutOfMemoryError":  # torch's own; torch is not loaded to read a failure
        return "out of memory on the accelerator: give smaller batches, shorter blocks or fewer students in a batch"
    text = error.message if isinstance(error, TheorykitError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:1000]


def failure_in(stored: Mapping[str, Any]) -> Failure | None:
    """Return the failure that a stored row or record holds, or None."""
    reason = stored["failure"]
    if not reason:
        return None
    kind = stored.get("failure_kind")
    trace = str(stored.get("trace", ""))
    return Failure(FailureKind(kind) if kind else kind_before_kinds_were_stored(reason), reason, trace)


def by_accident(stored: Mapping[str, Any]) -> bool:
    """Return whether a stored student failed by an accident: trained again, it may end well."""
    failure = failure_in(stored)
    return failure is not None and failure.kind is FailureKind.ACCIDENT


def kind_before_kinds_were_stored(reason: str) -> FailureKind:
    """Return the kind of a failure that was written down as a sentence alone, in the words of those versions."""
    if "no step size" in reason:
        return FailureKind.NO_STEP_SIZE
    return FailureKind.DIVERGED if "not finite" in reason else FailureKind.ACCIDENT
