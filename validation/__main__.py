"""``python -m validation``: the command line of the harness."""

from __future__ import annotations

import sys

import typer

from theorykit.cli.entry import run
from validation.commands.compare import compare
from validation.commands.export import export
from validation.commands.sweep import sweep
from validation.commands.train import train

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
app.command()(train)
app.command()(sweep)
app.command()(compare)
app.command()(export)


@app.callback()
def root() -> None:
    """Trains students of real teachers and holds the paper's statements against them."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit as :func:`theorykit.cli.entry.run` says."""
    run(app, "python -m validation", sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    main()
