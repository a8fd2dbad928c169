"""How every command line of this house is made, runs and ends: exit codes, and errors as one line with a hint."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeVar

import typer
from typer.core import TyperCommand

from theorykit.cli.output import fail
from theorykit.errors import InputError, TheorykitError

Command = TypeVar("Command", bound=Callable[..., Any])
# typer ships a click of its own in some versions: take the base class from what it raises
UsageProblem: type[Exception] = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


class OnceCommand(TyperCommand):
    """A command that refuses an option given twice, unless it holds a list: the last one would silently count."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, once none of them is given twice."""
        options = [param for param in self.get_params(ctx) if param.param_type_name == "option"]
        flags = {name for param in options if getattr(param, "is_flag", False) for name in param.opts}
        names = {name: param.opts[0] for param in options for name in param.opts if name not in flags}
        several = {param.opts[0] for param in options if param.multiple}
        for name, values in values_given(args, names, flags).items():
            if len(values) > 1 and name not in several:
                raise InputError(f"{name} is given {len(values)} times: {', '.join(values)}", f"give one {name}")
        return super().parse_args(ctx, args)


def values_given(arguments: Iterable[str], names: dict[str, str], flags: Iterable[str] = ()) -> dict[str, list[str]]:
    """Return the values of each option, under the name that ``names`` has for it, in the order of the command line.

    Args:
        arguments: As typed: ``--seed 1``, ``--seed=1``, ``-o file``, ``-ofile``, ``-qofile``.
        names: Of options that hold a value, short and long, and the name under which each counts.
        flags: Options that hold none.

    Example:
        >>> values_given(["x", "-o", "a", "--out=b", "-qoc", "--", "-o"], {"-o": "--out", "--out": "--out"}, ["-q"])
        {'--out': ['a', 'b', 'c']}
    """
    values: dict[str, list[str]] = {}
    rest = iter(arguments)
    for word in rest:
        if word == "--":
            break
        name, sign, value = word.partition("=")
        if name not in names and word[:1] == "-" != word[1:2]:  # one dash: letters of flags, then what holds the rest
            letters = iter(word[1:])
            name = next((f"-{letter}" for letter in letters if f"-{letter}" not in flags), "")
            value = "".join(letters)
            sign = value
        if name in names:  # what is behind it is its value, whatever it looks like
            values.setdefault(names[name], []).append(value if sign else next(rest, ""))
    return values


class Program(typer.Typer):
    """The commands of one program; an option is refused where it is given twice."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Command], Command]:
        """Add a command."""
        return super().command(name, cls=OnceCommand, **settings)


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
    values = values_given(arguments, dict.fromkeys(options, "")).get("")
    if values and repr(values[-1]) not in message and "Invalid value" in message:
        message = f"{message} (given: {values[-1]!r})"
    commands = [command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands]
    fail(message, "" if quiet else " ".join([name, *(known for known in commands if known == arguments[0]), "--help"]))
