"""How a command line runs and ends: exit codes, and errors as one line with a hint."""

from __future__ import annotations

import io
import os
import sys
from typing import NoReturn

import typer

from theorykit.cli.output import fail
from theorykit.errors import TheorykitError

# typer ships a click of its own in some versions: take the base class from what it raises
UsageProblem: type[Exception] = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def run(app: typer.Typer, name: str, arguments: list[str]) -> NoReturn:
    """Run a command line and exit: 0 done, 1 failed, 2 wrong usage or bad input, 130 interrupted.

    Args:
        app: The commands.
        name: What the user calls it by.
        arguments: Behind the name; ``--debug`` shows tracebacks, ``--quiet`` no hints.
    """
    debug = "--debug" in arguments
    quiet = "--quiet" in arguments or "-q" in arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an ASCII terminal shows ? for α
    try:
        code = app(args=arguments, prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except TheorykitError as error:
        if debug:
            raise
        fail(error.message, "" if quiet else error.hint)
        code = 2
    except UsageProblem as error:
        _explain_usage(app, name, error, arguments, quiet=quiet)
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


def _explain_usage(app: typer.Typer, name: str, error: Exception, arguments: list[str], *, quiet: bool) -> None:
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
    names = [command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands]
    fail(message, "" if quiet else " ".join([name, *(one for one in names if one == arguments[0]), "--help"]))
