"""Entry point: the commands."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from theorykit.cli.audit import audit
from theorykit.cli.bound import bound
from theorykit.cli.compress import compress, expand
from theorykit.cli.entry import Program, run
from theorykit.cli.mi import mi
from theorykit.cli.rank_select import rank_select
from theorykit.cli.spectrum import spectrum

app = Program(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help="Tells whether a theory about low-rank knowledge distillation is true, and which rank each layer needs.",
)
app.command("rank-select", short_help="Choose a rank for every layer of a teacher.")(rank_select)
app.command("compress", short_help="Make a model smaller, and say what it costs.")(compress)
app.command("expand", short_help="Multiply a compressed model out for other tools.")(expand)
app.command("audit", short_help="Say which statements of the paper are true, with evidence.")(audit)
app.command("bound", short_help="Evaluate a bound, printed and corrected.")(bound)
app.command("mi", short_help="Estimate the mutual information of two samples.")(mi)
app.command("spectrum", short_help="Show spectra, truncation errors and decay fits.")(spectrum)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        typer.echo(f"theorykit {metadata.version('theorykit')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Tells whether a theory about low-rank knowledge distillation is true, and which rank each layer needs."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit as :func:`theorykit.cli.entry.run` says."""
    run(app, "theorykit", sys.argv[1:] if arguments is None else arguments)
