"""Entry point: commands, exit codes, and errors as one line with a hint."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from theorykit.cli.output import fail
from theorykit.cli.rank_select import rank_select
from theorykit.cli.spectrum import spectrum
from theorykit.errors import TheorykitError

# typer ships a click of its own in some versions: take the base class from what it raises
UsageProblem: type[Exception] = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help="Tells whether a theory about low-rank knowledge distillation is true, and which rank each layer needs.",
)
app.command("rank-select")(rank_select)
app.command("spectrum")(spectrum)


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
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage or bad input, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    try:
        code = app(args=arguments, prog_name="theorykit", standalone_mode=False)
        sys.stdout.flush()
    except TheorykitError as error:
        if debug:
            raise
        fail(error.message, error.hint)
        code = 2
    except UsageProblem as error:
        command = " ".join(part for part in arguments[:1] if not part.startswith("-"))
        fail(getattr(error, "format_message", error.__str__)(), f"theorykit {command} --help".replace("  ", " "))
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("interrupted\n")
        code = 130
    except BrokenPipeError:
        # the reader of the pipe has left (head, less): not an error, but stdout is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        if debug:
            raise
        fail(f"the program failed: {type(error).__name__}: {error}", "run again with --debug for the traceback")
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
