"""What reaches the terminal: the result on stdout, everything else on stderr."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import TYPE_CHECKING, Any

from theorykit.results import to_json

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA_VERSION = 1
_PIPE_WIDTH = 140


def console(*, stderr: bool = False) -> Console:
    """Return a console that is wide and plain in pipes."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else _PIPE_WIDTH, highlight=False, soft_wrap=False)


def fail(message: str, hint: str) -> None:
    """Write an error as one line and its hint as another, to stderr."""
    sys.stderr.write(f"error: {_one_line(message)}\n")
    if hint:
        sys.stderr.write(f"hint: {_one_line(hint)}\n")


def warn(messages: tuple[str, ...], *, quiet: bool) -> None:
    """Write warnings to stderr."""
    if not quiet:
        for message in messages:
            sys.stderr.write(f"warning: {message}\n")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def write_json(
    command: str, inputs: dict[str, Any], result: Any, *, units: dict[str, str], warnings: tuple[str, ...]
) -> None:
    """Write the one JSON object of a command to stdout."""
    sys.stdout.write(document(command, inputs, result, units=units, warnings=warnings) + "\n")


def document(
    command: str, inputs: dict[str, Any], result: Any, *, units: dict[str, str], warnings: tuple[str, ...]
) -> str:
    """Return the JSON of a command: what was asked, the result with its units, and where it was computed."""
    return to_json(
        {
            "schema_version": SCHEMA_VERSION,
            "command": command,
            "inputs": inputs,
            "result": result,
            "units": units,
            "warnings": list(warnings),
            "environment": environment(),
        }
    )


def environment() -> dict[str, str]:
    """Return the versions that a result depends on."""
    versions = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for package in ("theorykit", "numpy", "scipy", "torch", "transformers"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


class Progress:
    """A progress bar on stderr; silent in pipes and with ``--quiet``."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._task: Any = None
        self._what = ""

    def __call__(self, what: str, done: int, count: int) -> None:
        """Show that ``done`` of ``count`` steps of ``what`` are done."""
        if self._bar is None:
            return
        if what != self._what:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._what, self._task = what, self._bar.add_task(what, total=count)
        self._bar.update(self._task, completed=done)


@contextmanager
def progress(*, quiet: bool) -> Iterator[Progress]:
    """Give a progress callback for the time of a command."""
    if quiet or not sys.stderr.isatty():
        yield Progress(None)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console(stderr=True), transient=True) as bar:
        yield Progress(bar)
