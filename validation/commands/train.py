"""``python -m validation train``: students of one teacher, as one batch, kept in a folder."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from theorykit.cli.options import Debug
from theorykit.errors import InputError
from validation.presets import PRESETS, preset
from validation.training.config import BatchConfig
from validation.training.methods import METHODS

if TYPE_CHECKING:
    from validation.training.loop import StepRecord
    from validation.training.runtime import Runtime

_METHODS = "; ".join(f"{name}: {method.title}" for name, method in METHODS.items())
MEASURED = (
    "gradient_norm",
    "gradient_variance",
    "loss_terms",
    "weight_error",
    "layer_constants",
    "gradient_deviation",
    "deviation_ascent",
    "hidden_states",
    "hessian",
)
"""Names of :data:`validation.measure.MEASUREMENTS`, which would import torch for the help alone."""


def _several(usual: str) -> str:
    """Return what the help says of an option that holds one value for all students or one for each."""
    return f" [default: {usual}] May be given several times, for students of one batch."


def train(
    teacher: Annotated[
        str,
        typer.Option(
            help="Hub id, folder or smollm2; scratch:SIZE,FIELD=VALUE,… for one trained on the text (tiny, small, "
            "medium or base; e.g. scratch:tiny,steps=500,seed=1)."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Run folder.")],
    method: Annotated[str, typer.Option(help=f"{_METHODS}.")] = "lrc",
    student: Annotated[
        str,
        typer.Option(
            help="factored: each layer two factors; narrow: the residual stream is --rank wide; square: every layer is "
            "rank × rank; dense: the teacher's shape."
        ),
    ] = "factored",
    rank: Annotated[list[int] | None, typer.Option(help=f"Rank of all layers, or width.{_several('16')}")] = None,
    ranks: Annotated[
        Path | None, typer.Option(metavar="JSON", help="Rank of each layer, from theorykit rank-select -o.")
    ] = None,
    start: Annotated[
        str,
        typer.Option(
            help="svd, whitened (by a calibration on train text) or random; svd, and random for pc-lora.",
            show_default=False,
        ),
    ] = "",
    data: Annotated[
        str, typer.Option(help="File, folder, austen, kjv, anarchism, python-docs, wikitext-103 or ptb.")
    ] = "python-docs",
    size: Annotated[str, typer.Option("--preset", help=f"Steps and sizes: {', '.join(PRESETS)}.")] = "smoke",
    steps: Annotated[int | None, typer.Option(help="Updates, in place of the preset's.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Blocks in a step, in place of the preset's.")] = None,
    length: Annotated[int | None, typer.Option(help="Tokens in a block, in place of the preset's.")] = None,
    n: Annotated[list[int] | None, typer.Option("--n", help=f"Train blocks to see.{_several('all')}")] = None,
    optimiser: Annotated[str, typer.Option(help="adamw, or sgd with a constant step.")] = "adamw",
    step_size: Annotated[
        str | None, typer.Option(help="1/L or tuned: measured at the start in place of --learning-rate, for sgd.")
    ] = None,
    learning_rate: Annotated[list[float] | None, typer.Option(help=f"Peak.{_several('3e-4')}")] = None,
    temperature: Annotated[list[float] | None, typer.Option(help=f"τ of the KL term.{_several('2')}")] = None,
    clone_weight: Annotated[list[float] | None, typer.Option(help=f"λ of the clone term.{_several('1')}")] = None,
    language_model_weight: Annotated[float | None, typer.Option(help="0: the ablation without labels.")] = None,
    distillation_weight: Annotated[float | None, typer.Option(help="0: the ablation without soft targets.")] = None,
    clone_signal: Annotated[
        list[str] | None,
        typer.Option(
            help="What the clone term compares: hidden, query, key, value, attention, gate, up, feed_forward. May be "
            "given several times."
        ),
    ] = None,
    clone_scale: Annotated[
        str, typer.Option(help="relative to the teacher's states, or raw as eq 4 has it, where λ has no scale.")
    ] = "relative",
    adapter_rank: Annotated[int | None, typer.Option(help="Of LoRA; a quarter of the rank.")] = None,
    fade_share: Annotated[
        float | None, typer.Option(help="Of the steps, over which pc-lora's frozen matrices fade out; 0.8.")
    ] = None,
    hint_share: Annotated[float | None, typer.Option(help="Of the steps, for FitNets' first stage; 0.3.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help=f"Of subset, order and random starts.{_several('0')}")] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(MEASURED)}: into measurements.jsonl. May be given several times."),
    ] = None,
    measure_every: Annotated[
        int | None, typer.Option(help="Steps between two measurements; 0 for start and end.")
    ] = None,
    mixed_precision: Annotated[
        str, typer.Option(help="no, or bf16 for products in bfloat16; several GPUs: accelerate launch -m validation …")
    ] = "no",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …; a GPU where there is one.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run stopped.")] = False,
    debug: Debug = False,
) -> None:
    """Train low-rank students of a teacher and keep the run in a folder."""
    from validation.training.runtime import launched

    given: dict[str, Any] = {
        "steps": steps,
        "batch_size": batch_size,
        "length": length,
        "rank": rank,
        "n_blocks": n,
        "learning_rate": learning_rate,
        "temperature": temperature,
        "clone_weight": clone_weight,
        "language_model_weight": language_model_weight,
        "distillation_weight": distillation_weight,
        "clone_signals": clone_signal,
        "clone_scale": clone_scale,
        "adapter_rank": adapter_rank,
        "fade_share": fade_share,
        "hint_share": hint_share,
        "seed": seed,
        "measurements": measure,
        "measure_every": measure_every,
        "step_size": step_size,
        "mixed_precision": mixed_precision,
        "layer_ranks": None if ranks is None else read_ranks(ranks),
    }
    fixed = {"method": method, "student": student, "start": start, "data": data, "optimiser": optimiser}
    overrides = {name: value for name, value in given.items() if value is not None}
    config = BatchConfig.from_dict({"teacher": teacher} | preset(size) | fixed | overrides)
    runtime = launched(mixed_precision, device)
    result = _run(config, out, resume, device, runtime)
    if runtime.main:
        _report(config, result)
    runtime.close()
    if any(row["failure"] for row in result.get("students", ())):
        raise typer.Exit(1)


def _run(config: BatchConfig, out: Path, resume: bool, device: str | None, runtime: Runtime) -> dict[str, Any]:
    """Train, or read what a finished run gave; the main process alone looks at the folder first and writes."""
    from validation.training.prepare import prepare
    from validation.training.runs import RunFolder

    ours = RunFolder(out, config, resume=resume) if runtime.main else None
    result = runtime.agreed(ours.result if ours else None)
    if result is not None:
        return result
    shown = live_line if runtime.main else None
    training = prepare(config, cache=Path(".work/blocks"), device=device, runtime=runtime, progress=shown)
    if ours is None:
        RunFolder(out, config, resume=True).follow(training)
        return {}
    result = ours.run(training, live_line(config))
    sys.stderr.write("\n" if sys.stderr.isatty() else "")
    return result


def read_ranks(file: Path) -> dict[str, int | None]:
    """Read the rank of each layer from the JSON of ``theorykit rank-select``.

    Raises:
        InputError: no such file, or not of that kind.
    """
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))["result"]["layers"]
        return {str(row["layer"]): row["rank"] for row in rows}
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}", "give what theorykit rank-select -o wrote") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} holds no ranks of layers", "give what theorykit rank-select -o wrote") from error


def _report(config: BatchConfig, result: dict[str, Any]) -> None:
    for student, row in zip(config.students, result["students"], strict=True):
        loss = row["held_out"]
        bits = row["bits_per_byte"]
        shown = row["failure"] or (
            f"held out {row['held_out_at_start']:.4f} before, {loss:.4f} nats per token now, "
            f"perplexity {math.exp(min(loss, 700)):.4g}"
            f"{'' if bits is None else f', {bits:.4f} bits per byte'}"
        )
        size = "ranks of the file" if config.shared.layer_ranks else f"rank {student.rank}"
        typer.echo(f"{size}, seed {student.seed}: {row['deployed_parameters']:,} parameters, {shown}")


def live_line(config: BatchConfig) -> Callable[[StepRecord], None]:
    """Return a callback that writes one live line to stderr, or nothing in pipes."""
    started, first, shared = time.perf_counter(), -1, config.shared

    def show(record: StepRecord) -> None:
        nonlocal first
        if not sys.stderr.isatty():
            return
        first = record.step if first < 0 else first
        taken, passed = record.step + 1 - first, time.perf_counter() - started
        tokens = taken * shared.batch_size * shared.length * config.count / passed
        parts = [f"{name.replace('_', ' ')} {_first(values)}" for name, values in record.terms.items()]
        labels = record.terms.get("language_model", (None,))[0]
        parts += [] if labels is None else [f"perplexity {math.exp(min(labels, 700)):.4g}"]
        parts += [f"gradient {_first(record.gradient_norm)}", f"{tokens:,.0f} tokens/s"]
        left = passed / taken * (shared.steps - record.step - 1)
        more = f"  (first of {config.count})" if config.count > 1 else ""
        sys.stderr.write(f"\r\033[Kstep {record.step + 1}/{shared.steps}  {'  '.join(parts)}  {left:.0f} s left{more}")
        sys.stderr.flush()

    return show


def _first(values: tuple[float | None, ...]) -> str:
    return "failed" if values[0] is None else f"{values[0]:.4g}"
