"""``python -m validation``: the command line of the harness."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from theorykit.cli.output import fail
from theorykit.errors import TheorykitError
from validation.runs import RunConfig, RunFolder
from validation.training import StepRecord

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)

PRESETS = {
    "smoke": {"steps": 20, "length": 64, "batch_size": 4, "held_out_blocks": 8, "evaluate_every": 10},
    "cpu": {"steps": 400, "length": 128, "batch_size": 8, "held_out_blocks": 64, "evaluate_every": 100},
    "paper": {"steps": 50_000, "length": 1024, "batch_size": 128, "held_out_blocks": 256, "evaluate_every": 1000},
}
"""Steps and sizes; ``paper`` is that of §5.1."""


@app.callback()
def root() -> None:
    """Trains students of real teachers and holds the paper's statements against them."""


@app.command()
def train(
    teacher: Annotated[str, typer.Option(help="Hub id, folder, or smollm2.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Run folder.")],
    method: Annotated[str, typer.Option(help="lrc, kd or finetune.")] = "lrc",
    student: Annotated[str, typer.Option(help="factored, or narrow: --rank is then the width of the student.")] = (
        "factored"
    ),
    rank: Annotated[
        list[int] | None,
        typer.Option(help="Rank of all layers, 16 by default; again for more students at once."),
    ] = None,
    start: Annotated[str, typer.Option(help="svd or random.")] = "svd",
    data: Annotated[
        str, typer.Option(help="File, folder, austen, kjv, anarchism, python-docs, wikitext-103 or ptb.")
    ] = "python-docs",
    preset: Annotated[str, typer.Option(help=f"{', '.join(PRESETS)}.")] = "smoke",
    steps: Annotated[int | None, typer.Option(help="Updates, in place of the preset's.")] = None,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate of AdamW.")] = 3e-4,
    temperature: Annotated[float, typer.Option(help="τ of the KL term.")] = 2.0,
    clone_weight: Annotated[float, typer.Option(help="λ of the clone term.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of subset, order and random starts.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run stopped.")] = False,
) -> None:
    """Train low-rank students of a teacher and keep the run in a folder."""
    if preset not in PRESETS:
        raise typer.BadParameter(f"{preset!r} is unknown: choose from {', '.join(PRESETS)}", param_hint="--preset")
    config = RunConfig(
        teacher=teacher,
        method=method,
        student=student,
        ranks=tuple(rank or [16]),
        start=start,
        data=data,
        learning_rate=learning_rate,
        temperature=temperature,
        clone_weight=clone_weight,
        seed=seed,
        **PRESETS[preset],
    )
    config = config if steps is None else dataclasses.replace(config, steps=steps)
    from validation.prepare import prepare

    training = prepare(config, cache=Path(".work/blocks"))
    folder = RunFolder(out, config, resume=resume)
    result = folder.run(training, _progress(config))
    sys.stderr.write("\n")
    for number, (parameters, loss) in enumerate(zip(result["deployed_parameters"], result["held_out"], strict=True)):
        shown = result["failures"][number] or f"{loss:.4f} nats per token held out"
        typer.echo(f"rank {config.ranks[number]}: {parameters:,} parameters, {shown}")


def _progress(config: RunConfig) -> Callable[[StepRecord], None]:
    """Return a callback that writes one live line to stderr, or nothing in pipes."""
    started = time.perf_counter()

    def show(record: StepRecord) -> None:
        if not sys.stderr.isatty():
            return
        done = record.step + 1
        passed = time.perf_counter() - started
        tokens = done * config.batch_size * config.length * len(config.ranks) / passed
        losses = " ".join("failed" if loss is None else f"{loss:.3f}" for loss in record.loss[:4])
        left = passed / done * (config.steps - done)
        sys.stderr.write(f"\rstep {done}/{config.steps}  loss {losses}  {tokens:,.0f} tokens/s  {left:.0f} s left   ")
        sys.stderr.flush()

    return show


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
