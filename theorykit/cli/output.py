"""What reaches the terminal: the result on stdout, everything else on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from theorykit.provenance import environment
from theorykit.results import to_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SCHEMA_VERSION = 1
_PIPE_WIDTH = 140


def console(*, stderr: bool = False) -> Console:
    """Return a console as wide as the terminal or as ``COLUMNS`` says; wide and plain in pipes."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    asked = os.environ.get("COLUMNS", "")
    width = int(asked) if asked.isdecimal() and int(asked) > 0 else None if stream.isatty() else _PIPE_WIDTH
    return Console(file=stream, width=width, highlight=False, soft_wrap=False)


def fitted_table(
    width: int,
    title: str,
    columns: tuple[str, ...],
    rows: list[list[str]],
    *,
    optional: tuple[str, ...],
    caption: str = "",
    legend: Mapping[str, str] = MappingProxyType({}),
    bold: int | None = None,
) -> Table:
    """Lay out a table in the columns that fit: a narrow terminal never costs the first one.

    Args:
        width: Of the terminal.
        title: Above the table.
        columns: Their names; the first one is on the left and folds where all else is not enough.
        rows: Cells as plain text: names in brackets are no markup.
        optional: Columns that may go, in the order in which they go; the caption names those that did.
        caption: Below the table.
        legend: What a column shows, told below the table where the column is there.
        bold: Index of the row to stress.
    """
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    needed = [max(cell_len(cell) for cell in (name, *cells)) for name, *cells in zip(columns, *rows, strict=True)]
    shown = dict(zip(columns, needed, strict=True))
    gone = []
    for name in optional:
        if name in shown and sum(shown.values()) + 2 * (len(shown) - 1) > width:
            gone.append(name)
            del shown[name]
    caption = "; ".join([*filter(None, [caption]), *(text for name, text in legend.items() if name in shown)])
    if gone:
        caption += f"{'; ' if caption else ''}no room for {', '.join(gone)} in {width} columns, --json has all"
    table = Table(title=Text(title), caption=Text(caption) if caption else None, box=None, pad_edge=False)
    table.title_justify = table.caption_justify = "left"
    for index, name in enumerate(shown):
        table.add_column(name, justify="left" if index == 0 else "right", no_wrap=index > 0, overflow="fold")
    for index, row in enumerate(rows):
        cells = (Text(cell) for name, cell in zip(columns, row, strict=True) if name in shown)
        table.add_row(*cells, style="bold" if index == bold else None)
    return table


def fail(message: str, hint: str) -> None:
    """Write an error as one line and its hint as another, to stderr."""
    sys.stderr.write(f"error: {_one_line(message)}\n")
    if hint:
        sys.stderr.write(f"hint: {_one_line(hint)}\n")


def warn(messages: Iterable[str], *, quiet: bool) -> None:
    """Write warnings to stderr."""
    for message in () if quiet else messages:
        sys.stderr.write(f"warning: {message}\n")


def print_lines(*lines: str, style: str = "") -> None:
    """Print lines to stdout, names in brackets as they are; what a narrow terminal folds keeps its indentation."""
    from rich.text import Text

    screen = console()
    for line in lines:
        text = line.lstrip()
        indent = " " * (len(line) - len(text))
        for row in Text(text, style=style).wrap(screen, max(screen.width - len(indent), 1)):
            screen.print(Text(indent) + row)


def duration(seconds: float) -> str:
    """Return a time as a person says it.

    Example:
        >>> duration(12.4), duration(90), duration(5400)
        ('12 s', '2 min', '1.5 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def write_json(command: str, inputs: Mapping[str, Any], result: Any, **more: Any) -> None:
    """Write the one JSON object of a command to stdout; see :func:`document`."""
    sys.stdout.write(document(command, inputs, result, **more) + "\n")


def document(
    command: str,
    inputs: Mapping[str, Any],
    result: Any,
    *,
    units: Mapping[str, str] = MappingProxyType({}),
    warnings: Sequence[str] = (),
) -> str:
    """Return the JSON of a command: what was asked, the result with its units, and where it was computed."""
    return to_json(
        {
            "schema_version": SCHEMA_VERSION,
            "command": command,
            "inputs": inputs,
            "result": result,
            "units": dict(units),
            "warnings": list(warnings),
            "environment": environment(),
        }
    )


class ProgressBar:
    """A bar on stderr that follows a :data:`theorykit.arguments.Progress`; silent in pipes and with ``--quiet``."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._task: Any = None
        self._what = ""

    def __call__(self, what: str, done: int, count: int) -> None:
        """Show that ``done`` of ``count`` steps of ``what`` are done."""
        if self._bars is None:
            return
        if what != self._what:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._what, self._task = what, self._bars.add_task(what, total=count)
        self._bars.update(self._task, completed=done)

    def below(self) -> ProgressBar:
        """Return another bar, below this one."""
        return ProgressBar(self._bars)


class StageLines(ProgressBar):
    """A line on stderr for each stage, for runs of minutes whose messages go into a file or a pipe."""

    def __init__(self) -> None:
        super().__init__(None)

    def __call__(self, what: str, done: int, count: int) -> None:
        """Write a stage where it is a new one."""
        if what != self._what:
            self._what = what
            sys.stderr.write(f"{what} …\n")
            sys.stderr.flush()

    def below(self) -> ProgressBar:
        """Return a bar that shows nothing: a stage within a stage has no line."""
        return ProgressBar(None)


@contextmanager
def progress(*, quiet: bool, elapsed: bool = False, lines: bool = False) -> Iterator[ProgressBar]:
    """Give a progress bar for the time of a command, with the time that is left or, of uneven steps, that passed.

    Args:
        quiet: Show nothing.
        elapsed: Show the time that passed.
        lines: Where there is no terminal, name each stage on a line of its own; else nothing is shown there.
    """
    if quiet or not sys.stderr.isatty():
        yield StageLines() if lines and not quiet else ProgressBar(None)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    time = TimeElapsedColumn() if elapsed else TimeRemainingColumn()
    columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), time)
    # a result that goes into a pipe stays out of the way of the bars
    with Progress(*columns, console=console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()) as bars:
        yield ProgressBar(bars)
