"""What can go wrong, told in one line: an error names the value and the rule and carries a hint."""

from __future__ import annotations


class TheorykitError(Exception):
    """An error that a user can act on.

    Attributes:
        message: One line that names the value and the rule it breaks.
        hint: What to do instead; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(TheorykitError, ValueError):
    """An argument, a file or a model that breaks a stated rule."""


class CheckpointError(InputError):
    """Weights that cannot be read: missing, truncated, corrupt, pickled or in an unknown layout."""


class CalibrationError(InputError):
    """A model that can be read and whose layers cannot be calibrated on text."""


class NotRunnableError(CheckpointError, CalibrationError):
    """A file that can be read, and that transformers would run as another model than it holds."""


class NonFiniteError(InputError):
    """NaN or infinity where every number has to be finite."""


class ConvergenceError(TheorykitError):
    """An iteration that did not reach its tolerance: no number is returned."""
