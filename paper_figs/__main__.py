"""``python -m paper_figs``: the command line of the figures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from paper_figs.catalogue import NAMES, PICTURES, build, files_of, maker, write
from paper_figs.sources import RESULTS, Sources
from theorykit.arguments import did_you_mean, one_of
from theorykit.cli.entry import Program, run
from theorykit.cli.options import Debug, Quiet, Seed
from theorykit.cli.output import fail
from theorykit.errors import InputError

FIGURES = Path("figures")

app = Program()


@app.command()
def figures(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="As figure-1a or table-2; all without it.")
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="Of pictures: pdf, png or svg; tables are always md, tex and csv.")
    ] = "pdf",
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where they are written.")] = FIGURES,
    results: Annotated[
        Path | None,
        typer.Option("--from", metavar="FOLDER", help="Of the records. [default: validation/results]"),
    ] = None,
    preset: Annotated[str, typer.Option("--preset", help="Of the records.")] = "cpu",
    seed: Seed = 0,
    listed: Annotated[bool, typer.Option("--list", help="List the names and draw nothing.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw the paper's figures and tables, and those that it lacks, from records.

    A figure whose records are missing or not in order is not drawn, and the command that makes them is told; the
    others are. Exit code 2 where one was not drawn.
    """
    form = one_of("format", form.lower(), PICTURES)
    wanted = [_known(name) for name in names or NAMES]
    if listed:
        width = max(map(len, wanted))
        typer.echo("\n".join(f"{name:{width}}  {maker(name).ABOUT}" for name in wanted))
        return
    missing = 0
    for name in dict.fromkeys(wanted):
        sources = Sources(results or RESULTS, preset, seed)
        try:
            files = files_of(name, build(name, sources), sources, form)
        except InputError as error:
            if debug:
                raise
            fail(f"{name} is not drawn: {error.message}", "" if quiet else error.hint)
            missing += 1
            continue
        for file in write(files, out):
            typer.echo(str(file))
    if missing:
        raise typer.Exit(2)


def _known(name: str) -> str:
    """Return the name of a figure, whatever its case, or raise with the nearest one."""
    if name.lower() in NAMES:
        return name.lower()
    raise InputError(
        f"figure = {name!r} is unknown", f"{did_you_mean(name.lower(), NAMES)}choose from {', '.join(NAMES)}"
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit as :func:`theorykit.cli.entry.run` says."""
    run(app, "python -m paper_figs", sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    main()
