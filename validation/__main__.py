"""``python -m validation``: the command line of the harness."""

from __future__ import annotations

import sys

import typer

from theorykit.cli.output import fail
from theorykit.errors import TheorykitError
from validation.commands.train import train

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
app.command()(train)


@app.callback()
def root() -> None:
    """Trains students of real teachers and holds the paper's statements against them."""


def main() -> None:
    """Run and exit: 0 done, 1 failed, 2 wrong usage or bad input, 130 interrupted."""
    try:
        app(prog_name="python -m validation")
    except TheorykitError as error:
        fail(error.message, error.hint)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
