"""``python -m validation``: the command line of the harness."""

from __future__ import annotations

import sys

import typer

from theorykit.cli.entry import run
from validation.commands.compare import compare
from validation.commands.export import export
from validation.commands.list_checks import list_checks
from validation.commands.once import OnceCommand
from validation.commands.plan import plan
from validation.commands.run import run as run_checks
from validation.commands.show import show
from validation.commands.sweep import sweep
from validation.commands.train import train

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
app.command("list", cls=OnceCommand)(list_checks)
app.command(cls=OnceCommand)(plan)
app.command("run", cls=OnceCommand)(run_checks)
app.command(cls=OnceCommand)(show)
app.command(cls=OnceCommand)(train)
app.command(cls=OnceCommand)(sweep)
app.command(cls=OnceCommand)(compare)
app.command(cls=OnceCommand)(export)


@app.callback()
def root() -> None:
    """Trains students of real teachers and holds the paper's statements against them."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit as :func:`theorykit.cli.entry.run` says."""
    run(app, "python -m validation", sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    main()
