"""Two progress bars on stderr: how far the experiments are, and what the present one is doing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from theorykit.cli.output import Progress, console


@contextmanager
def bars(*, quiet: bool) -> Iterator[tuple[Progress, Progress]]:
    """Give two progress callbacks, of experiments and of what happens inside one; silent in pipes and where quiet."""
    if quiet or not sys.stderr.isatty():
        yield Progress(None), Progress(None)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn())
    # a result that goes into a pipe stays out of the way of the bars
    with Bar(*columns, console=console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
        yield Progress(bar), Progress(bar)
