"""Entry point: commands, exit codes, and errors as one line with a hint."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from theorykit.cli.audit import audit
from theorykit.cli.bound import bound
from theorykit.cli.mi import mi
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
app.command("rank-select", short_help="Choose a rank for every layer of a teacher.")(rank_select)
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
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage or bad input, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    quiet = "--quiet" in arguments or "-q" in arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an ASCII terminal shows ? for α
    try:
        code = app(args=arguments, prog_name="theorykit", standalone_mode=False)
        sys.stdout.flush()
    except TheorykitError as error:
        if debug:
            raise
        fail(error.message, "" if quiet else error.hint)
        code = 2
    except UsageProblem as error:
        _explain_usage(error, arguments, quiet=quiet)
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except (BrokenPipeError, SystemExit):
        # the reader of the pipe has left (head, less), which typer and rich report by SystemExit: not an error, but
        # stdout is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 0
    except Exception as error:
        if debug:
            raise
        hint = "" if quiet else "run again with --debug for the traceback"
        fail(f"the program failed: {type(error).__name__}: {error}", hint)
        code = 1
    if code == 130:
        sys.stderr.write("interrupted\n")
    sys.exit(code if isinstance(code, int) else 0)


def _explain_usage(error: Exception, arguments: list[str], *, quiet: bool) -> None:
    """Write what is wrong with the arguments; without any, the help itself."""
    message = str(getattr(error, "format_message", error.__str__)())
    if not arguments:
        sys.stderr.write(f"{message}\n")
        return
    options = getattr(getattr(error, "param", None), "opts", [])
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    given = [
        after if word in options else word.split("=", 1)[1]
        for word, after in pairs
        if word in options or (word.split("=", 1)[0] in options and "=" in word)
    ]
    if given and repr(given[-1]) not in message and "Invalid value" in message:
        message = f"{message} (given: {given[-1]!r})"
    known = [command.name for command in app.registered_commands if command.name == arguments[0]]
    fail(message, "" if quiet else " ".join(["theorykit", *(str(name) for name in known), "--help"]))
