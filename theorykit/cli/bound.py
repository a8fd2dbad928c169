"""``theorykit bound``: evaluate a bound of the paper, printed and corrected, beside the trivial one."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Annotated

import typer

from theorykit.cli.options import Debug, Json, Quiet
from theorykit.errors import InputError

if TYPE_CHECKING:
    from rich.text import Text

    from theorykit.statements.evaluation import BoundEvaluation
    from theorykit.statements.statement import Statement


_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


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
    given = read_arguments(arguments)
    found = evaluate_bound(statement, given)
    if json:
        units = {symbol.name: symbol.meaning for symbol in statement.symbols}
        inputs = {"statement": slug, "arguments": given}
        write_json("bound", inputs, found, units=units, warnings=_overflows(found))
        return
    _print(found)


def read_arguments(texts: list[str]) -> dict[str, float | list[float]]:
    """Read every ``NAME=NUMBER``.

    Raises:
        InputError: one that is none, or a name given twice.
    """
    given: dict[str, float | list[float]] = {}
    for text in texts:
        name, value = read_argument(text)
        if name in given:
            raise InputError(f"{name} is given twice", f"give one value, or a list {name}=8,64,256")
        given[name] = value
    return given


def read_argument(text: str) -> tuple[str, float | list[float]]:
    """Read ``rank=64`` or ``rank=8,64,256``.

    Raises:
        InputError: no equals sign, or something that is no number.

    Example:
        >>> read_argument("rank=8,64"), read_argument("delta=0.05")
        (('rank', [8.0, 64.0]), ('delta', 0.05))
    """
    name, _, rest = text.partition("=")
    parts = rest.split(",")
    # float() would read 1_0 as 10, and nan
    if not name.strip() or not all(_NUMBER.fullmatch(part.strip()) for part in parts):
        raise InputError(f"{text!r} is not NAME=NUMBER", "give rank=64 or rank=8,64,256")
    values = [float(part) for part in parts]
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
        default = f"; if not given: {symbol.default_text}" if symbol.default_text else ""
        screen.print(Text(f"  {symbol.name}=  {symbol.meaning}; {symbol.domain}{default}"))


def _print(found: BoundEvaluation) -> None:
    from rich.table import Table
    from rich.text import Text

    from theorykit.cli.output import console

    screen = console()
    frame = found.to_frame()
    table = Table(title=Text(f"{found.label} ({found.statement})"), box=None, pad_edge=False, title_justify="left")
    single = len(frame) == 1  # one point stands upright, so that it fits
    table.show_header = not single
    for name in ("", "") if single else frame.columns:
        table.add_column(str(name), justify="left" if single else "right", overflow="fold")
    for row in zip(frame.columns, *frame.to_numpy(), strict=True) if single else frame.to_numpy():
        table.add_row(*map(_cell, row))
    screen.print(table)
    screen.print()
    for form in found.forms:
        screen.print(Text(f"{form.form}: {form.text}"))
    for sentence in (*_reasons(found), *_overflows(found)):
        screen.print(Text(sentence))
    screen.print(Text(f"Which of them are true: theorykit audit {found.statement}"))


def _cell(value: object) -> Text:
    """Return a number in six digits, and a dash where there is none."""
    from rich.text import Text

    if isinstance(value, float):
        return Text("—" if math.isnan(value) else f"{value:.6g}")
    return Text(str(value))


def _reasons(found: BoundEvaluation) -> tuple[str, ...]:
    """Say once why something does not apply, or is false with these arguments, and to which forms."""
    forms: dict[str, list[str]] = {}
    for form in found.forms:
        told = [f"NOT_APPLICABLE: {reason}" for reason in form.reasons if reason]
        told += [f"REFUTED: {reason}" for reason in form.refuted if reason]
        for sentence in dict.fromkeys(told):
            forms.setdefault(sentence, []).append(form.form)
    return tuple(f"{sentence} ({', '.join(names)})" for sentence, names in forms.items())


def _overflows(found: BoundEvaluation) -> tuple[str, ...]:
    """Say which forms leave float64, where JSON has null."""
    return tuple(
        f"{form.form} is infinite at {count} of {len(form.values)} points: it passes 1.8e308, the largest number here"
        for form in found.forms
        if (count := sum(math.isinf(value) for value in form.values))
    )
