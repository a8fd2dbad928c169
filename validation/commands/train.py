"""``python -m validation train``: students of one teacher, as one batch, kept in a folder."""

from __future__ import annotations

import dataclasses
import inspect
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
from validation.training.config import PER_STUDENT, BatchConfig, StudentConfig
from validation.training.methods import method_of

if TYPE_CHECKING:
    from validation.training.loop import StepRecord
    from validation.training.runtime import Runtime

_FIELDS = {field.name: field for field in dataclasses.fields(StudentConfig)}
_KINDS = {"int": int, "float": float, "str": str}
_CALLED = {"n_blocks": "n", "clone_signals": "clone_signal", "measurements": "measure"}
"""Fields whose option is called otherwise."""
_USUAL: dict[Any, str] = {None: "all", 3e-4: "3e-4"}
"""Defaults that the help writes otherwise than Python."""


def _own(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _of(name: str) -> inspect.Parameter:
    """Return the option of a field: texts with their default, numbers that a preset may set as None, lists."""
    field, default, shown = _FIELDS[name], None, False
    text, declared = field.metadata["help"], str(field.type)
    kind: Any = next(kind for word, kind in _KINDS.items() if word in declared)
    if name in PER_STUDENT:
        usual = _USUAL.get(field.default) or f"{field.default:g}"
        text = f"{text} [default: {usual}] May be given several times, for students of one batch."
        kind = list[kind] | None
    elif declared.startswith("tuple"):
        text, kind = f"{text} May be given several times.", list[kind] | None
    elif kind is str:
        default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
        shown = bool(default)
    else:
        kind = kind | None
    option = typer.Option(f"--{_CALLED.get(name, name).replace('_', '-')}", help=text, show_default=shown)
    return _own(name, Annotated[kind, option], default)


_RANKS = typer.Option("--ranks", metavar="JSON", help=_FIELDS["layer_ranks"].metadata["help"])
_OPTIONS = (
    _of("teacher"),
    _own("out", Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Run folder.")]),
    *map(_of, ("method", "student", "rank")),
    _own("layer_ranks", Annotated[Path | None, _RANKS], None),
    *map(_of, ("start", "data")),
    _own("size", Annotated[str, typer.Option("--preset", help=f"Steps and sizes: {', '.join(PRESETS)}.")], "smoke"),
    *map(_of, ("steps", "batch_size", "length", "n_blocks", "optimiser", "step_size", "learning_rate")),
    *map(_of, ("temperature", "clone_weight", "language_model_weight", "distillation_weight", "clone_signals")),
    *map(_of, ("clone_scale", "adapter_rank", "fade_share", "hint_share", "seed", "measurements", "measure_every")),
    _of("mixed_precision"),
    _own("device", Annotated[str | None, typer.Option(help="cpu, cuda, …; a GPU where there is one.")], None),
    _own("resume", Annotated[bool, typer.Option("--resume", help="Go on where the run stopped.")], False),
    _own("debug", Debug, False),
)


def train(**options: Any) -> None:
    """Train low-rank students of a teacher and keep the run in a folder."""
    from validation.training.runtime import launched

    asked = {name: value for name, value in options.items() if name in _FIELDS and value is not None}
    if "layer_ranks" in asked:
        chosen = read_ranks(asked["layer_ranks"])
        asked["layer_ranks"] = chosen.ranks
        method = method_of(asked.get("method") or str(_FIELDS["method"].default))
        if not (method.adapters or method.fades):
            # ranks are chosen for one truncation: from another one the same ranks begin far worse
            asked["start"] = asked.get("start") or chosen.start
    config = BatchConfig.from_dict(preset(options["size"]) | asked)
    device, out, resume = options["device"], options["out"], options["resume"]
    runtime = launched(config.shared.mixed_precision, device)
    result = _run(config, out, resume, device, runtime)
    if runtime.main:
        _report(config, result)
    runtime.close()
    if any(row["failure"] for row in result.get("students", ())):
        raise typer.Exit(1)


train.__signature__ = inspect.Signature(_OPTIONS)  # type: ignore[attr-defined]
train.__annotations__ = {option.name: option.annotation for option in _OPTIONS}


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


@dataclasses.dataclass(frozen=True)
class ChosenRanks:
    """Ranks from a file.

    Attributes:
        ranks: By layer; None where it stays dense.
        start: The start that they were chosen for: ``"whitened"`` after a calibration, else ``"svd"``.
    """

    ranks: dict[str, int | None]
    start: str


def read_ranks(file: Path) -> ChosenRanks:
    """Read the rank of each layer from what ``theorykit rank-select -o`` or ``theorykit compress`` wrote.

    Raises:
        InputError: no such file, or not of that kind.
    """
    hint = "give what theorykit rank-select -o wrote, or the ranks.json of theorykit compress"
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        if "result" not in document:
            layers = document["layers"]
            return ChosenRanks({str(name): layer["rank"] for name, layer in layers.items()}, "whitened")
        result = document["result"]
        ranks = {str(row["layer"]): row["rank"] for row in result["layers"]}
        return ChosenRanks(ranks, "svd" if result["calibration"] is None else "whitened")
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}", hint) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} holds no ranks of layers", hint) from error


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
