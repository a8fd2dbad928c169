"""``python -m validation``: the command line of the harness."""

from __future__ import annotations

import sys

from theorykit.cli.entry import Program, run
from validation.commands.compare import compare
from validation.commands.export import export
from validation.commands.list_checks import list_checks
from validation.commands.plan import plan
from validation.commands.run import run as run_checks
from validation.commands.show import show
from validation.commands.sweep import sweep
from validation.commands.train import train

app = Program(no_args_is_help=True)
for name, command, short in (
    ("list", list_checks, "Statements, and what is measured of each."),
    ("plan", plan, "What a run takes: students, time, power."),
    ("run", run_checks, "Hold trained students against statements."),
    ("show", show, "The verdicts, and where the evidence lies."),
    ("train", train, "Train students of one teacher."),
    ("sweep", sweep, "Train every student of a plan."),
    ("compare", compare, "Losses over seeds, with intervals."),
    ("export", export, "A trained student as a Hugging Face model."),
):
    app.command(name, short_help=short)(command)


@app.callback()
def root() -> None:
    """Trains students of real teachers and holds the paper's statements against them."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit as :func:`theorykit.cli.entry.run` says."""
    run(app, "python -m validation", sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    main()
