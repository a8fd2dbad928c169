"""``theorykit bound``: evaluate a bound of the paper, printed and corrected, beside the trivial one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from theorykit.cli.options import Debug, Json, Quiet
from theorykit.errors import InputError

if TYPE_CHECKING:
    from theorykit.statements.evaluation import BoundEvaluation
    from theorykit.statements.statement import Statement


def bound(
    slug: Annotated[
        str | None, typer.Argument(metavar="[STATEMENT]", help="theorem-1, sgd-convergence, …; without it: a list.")
    ] = None,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=VALUE]...", help="rank=64, or a list rank=8,64,256; without any: what it takes."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Evaluate a bound, printed and corrected beside the trivial one, and say where it is VACUOUS or DOMINATED."""
    from theorykit.cli.output import write_json
    from theorykit.statements import find_statement
    from theorykit.statements.evaluation import evaluate_bound

    if slug is None:
        _print_statements()
        return
    statement, _ = find_statement(slug)
    if not arguments:
        _print_arguments(statement)
        return
    given = dict(map(read_argument, arguments))
    found = evaluate_bound(statement, given)
    if json:
        units = {symbol.name: symbol.meaning for symbol in statement.symbols}
        write_json("bound", {"statement": slug, "arguments": given}, found, units=units, warnings=())
        return
    _print(found)


def read_argument(text: str) -> tuple[str, float | list[float]]:
    """Read ``rank=64`` or ``rank=8,64,256``.

    Raises:
        InputError: no equals sign, or something that is no number.

    Example:
        >>> read_argument("rank=8,64"), read_argument("delta=0.05")
        (('rank', [8.0, 64.0]), ('delta', 0.05))
    """
    name, sign, rest = text.partition("=")
    try:
        values = [float(part) for part in rest.split(",")]
    except ValueError:
        values = []
    if not sign or not values:
        raise InputError(f"{text!r} is not NAME=NUMBER", "give rank=64 or rank=8,64,256")
    return name.strip().replace("-", "_"), values[0] if len(values) == 1 else values


def _print_statements() -> None:
    from rich.text import Text

    from theorykit.cli.output import console
    from theorykit.statements import STATEMENTS

    screen = console()
    for statement in STATEMENTS:
        if statement.forms:
            screen.print(Text(f"{statement.slug:24} {statement.label}: {statement.title}"))
    screen.print(Text("What one takes: theorykit bound theorem-1"))


def _print_arguments(statement: Statement) -> None:
    from rich.text import Text

    from theorykit.cli.output import console

    screen = console()
    screen.print(Text(f"{statement.label}: {statement.title}"))
    for name, form in statement.forms.items():
        screen.print(Text(f"  {name}: {form.text}"))
    if not statement.forms:
        screen.print(Text(f"  no bound that can be evaluated; see it with: theorykit audit {statement.slug}"))
    for symbol in statement.symbols:
        default = "" if symbol.default is None else f"; {symbol.default:g} if not given"
        screen.print(Text(f"  {symbol.name}=  {symbol.meaning}; {symbol.domain}{default}"))


def _print(found: BoundEvaluation) -> None:
    from rich.table import Table
    from rich.text import Text

    from theorykit.cli.output import console

    screen = console()
    frame = found.to_frame()
    table = Table(title=Text(f"{found.label} ({found.statement})"), box=None, pad_edge=False, title_justify="left")
    for name in frame.columns:
        table.add_column(str(name), justify="right", overflow="fold")
    for row in frame.to_numpy():
        table.add_row(*(Text(f"{cell:.6g}" if isinstance(cell, float) else str(cell)) for cell in row))
    screen.print(table)
    screen.print()
    for form in found.forms:
        screen.print(Text(f"{form.form}: {form.text}"))
        if form.reason:
            screen.print(Text(f"  {form.instance}: {form.reason}"))
    screen.print(Text(f"Which of them are true: theorykit audit {found.statement}"))
