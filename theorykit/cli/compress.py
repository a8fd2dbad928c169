"""``theorykit compress`` and ``theorykit expand``: from a checkpoint to a smaller one that loads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from theorykit.cli.difference import BUDGET as ADAPTER_BUDGET
from theorykit.cli.difference import UNITS as ADAPTER_UNITS
from theorykit.cli.difference import compress_to_adapter, print_difference, refuse_others
from theorykit.cli.options import Debug, Device, Json, Quiet, Seed, SequenceLength, Unit
from theorykit.errors import InputError

if TYPE_CHECKING:
    from theorykit.compression.folder import StoredNumbers
    from theorykit.compression.report import CompressionReport

UNITS = {
    "kl": "nats per token, KL(dense ‖ compressed)",
    "predicted_kl": "nats per token",
    "numbers": "stored numbers",
    "seconds": "seconds",
}
_BUDGET = 0.8
_COLUMNS = ("text", "tokens", "before", "after", "ratio", "KL")
_OPTIONAL = ("tokens", "KL", "before")


def compress(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Hub id, folder, FILE.gguf, or smollm2.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="New folder for the smaller model.")
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(help="Share of the linear layers' numbers to keep, 0.8 by default; of an adapter 0.1."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(metavar="BASE", help="What MODEL was fine-tuned from: write the change as an adapter for peft."),
    ] = None,
    text: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Text for the calibration, one kind per file; prose and documentation else."),
    ] = None,
    judge: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Text on which losses are only measured.")
    ] = None,
    own_text: Annotated[
        bool, typer.Option("--own-text/--no-own-text", help="Let the model write a further kind of text.")
    ] = True,
    calibration_tokens: Annotated[
        int, typer.Option(help="Tokens of moments for each kind of text, a multiple of 512.")
    ] = 4096,
    n: Annotated[
        str | None,
        typer.Option("--n", metavar="N", help="Samples that the smaller model is trained on afterwards: 100k."),
    ] = None,
    unit: Unit = "sequences",
    seq_len: SequenceLength = 1024,
    objective: Annotated[str, typer.Option(help="What it then learns from: kd, lm or mixed.")] = "kd",
    heal: Annotated[
        str | None,
        typer.Option(metavar="LENGTH", help="Train the factors on the dense model: 30m, 500steps or 2Mtokens."),
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="factored (loads after 'import theorykit') or dense (loads everywhere).")
    ] = "factored",
    dtype: Annotated[str, typer.Option(help="auto (as the model is stored), float32, float16 or bfloat16.")] = "auto",
    rank_multiple: Annotated[int, typer.Option(help="Ranks are multiples of this.")] = 8,
    plan: Annotated[bool, typer.Option("--plan", help="Measure and print, write nothing.")] = False,
    json: Json = False,
    device: Device = None,
    seed: Seed = 0,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Make a model smaller: choose a rank for every linear layer, write the model, and say what it costs.

    With --base it is the change from another model that is made small, and an adapter that is written. Losses are
    measured on text that took no part in any choice.
    """
    from theorykit.cli.output import document, progress, warn
    from theorykit.cli.rank_select import read_text, sample_count
    from theorykit.compression.request import (
        CompressionSettings,
        PieceSizes,
        read_healing,
        require_absent,
        require_dtype,
        require_format,
        require_length,
        require_multiple,
        require_share,
    )
    from theorykit.rank_selection.objective import Objective, SampleSize

    if output is None and not plan:
        raise InputError("there is no folder for the smaller model", "give -o DIR, or --plan to write nothing")
    if output is not None and plan:
        raise InputError("--plan writes nothing, and -o names a folder", "give one of the two")
    if output is not None:
        require_absent(output)
    written_as = require_format(form)
    if dtype != "auto":
        require_dtype(dtype)
    if heal is not None:
        read_healing(heal)
    if base is not None:
        refuse_others(
            {"--heal": (heal, None), "--format": (form, "factored"), "--dtype": (dtype, "auto"), "--n": (n, None)}
        )
    share = require_share(budget if budget is not None else _BUDGET if base is None else ADAPTER_BUDGET)
    require_multiple(rank_multiple)
    if calibration_tokens < 512 or calibration_tokens % 512:
        raise InputError(f"calibration tokens = {calibration_tokens} is no multiple of 512", "give 4096")
    sizes = PieceSizes(moments=calibration_tokens // 512, healing=64 if heal else 0)
    samples = None if n is None else SampleSize(sample_count(n), unit, seq_len)  # type: ignore[arg-type]
    goal = Objective(objective)  # type: ignore[arg-type]
    read = {file: read_text(file, "--text") for file in text or []}
    read_judges = {file: read_text(file, "--judge") for file in judge or []}
    for file, content in read.items():
        require_length(file.name, content, sizes.least * sizes.block)
    for file, content in read_judges.items():
        require_length(file.name, content, sizes.judging * sizes.block)

    from theorykit.compression.compress import compress as make_smaller
    from theorykit.compression.folder import save_compressed, stored_numbers
    from theorykit.compression.texts import Text
    from theorykit.models.language_model import load_language_model
    from theorykit.provenance import command_line, commit

    kinds = [Text(file.name, content) for file, content in read.items()]
    judged_on = [Text(file.name, content) for file, content in read_judges.items()]
    settings = CompressionSettings(sizes, own_text, rank_multiple, seed=seed, samples=samples, objective=goal)
    inputs: dict[str, Any] = {
        "model": model,
        "output": output and str(output),
        "budget": share,
        "base": base,
        "format": form,
        "heal": heal,
    }
    inputs |= {"dtype": dtype, "rank_multiple": rank_multiple, "seed": seed, "device": device, "own_text": own_text}
    inputs |= {"text": [str(file) for file in text or []], "judge": [str(file) for file in judge or []]}
    inputs |= {"n": samples and samples.count, "unit": unit, "seq_len": seq_len, "objective": objective}
    inputs |= {"calibration_tokens": calibration_tokens}
    if base is not None:
        with progress(quiet=quiet, lines=True) as step:
            found = compress_to_adapter(
                model,
                base,
                kinds,
                judged_on,
                budget=share,
                settings=settings,
                device=device,
                output=output,
                step=step,
            )
        if json:
            typer.echo(document("compress", inputs, found, units=ADAPTER_UNITS, warnings=found.warnings))
            return
        warn(found.warnings, quiet=quiet)
        print_difference(found, output)
        return
    stored = stored_numbers(model)
    with progress(quiet=quiet, lines=True) as step:
        step("loading the model", 0, 1)
        smaller, report = make_smaller(
            load_language_model(model, device=device),
            kinds or None,
            budget=share,
            dtype=stored.dtype if dtype == "auto" else dtype,
            heal_for=heal,
            settings=settings,
            judged_on=judged_on,
            progress=step,
        )
        size = None
        if output is not None:
            step("writing", 0, 1)
            size = save_compressed(
                smaller, report, output, form=written_as, source=model, command=command_line(), commit=commit()
            )
    if json:
        result = report.to_dict() | {"stored_bytes_before": stored.bytes, "stored_bytes_after": size}
        typer.echo(document("compress", inputs, result, units=UNITS, warnings=report.warnings))
        return
    warn(report.warnings, quiet=quiet)
    _print_report(report, stored, size, output, form)


def expand(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that theorykit compress wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="New folder.")],
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Multiply a factored folder out into one that loads everywhere, or turn such a one back."""
    from theorykit.cli.output import print_lines, progress
    from theorykit.compression.folder import expand as write_other

    with progress(quiet=quiet) as step:
        step("writing", 0, 1)
        form = write_other(folder, output)
    print_lines(f"{output} holds the {form} model.")


def _print_report(
    report: CompressionReport, stored: StoredNumbers, size: int | None, output: Path | None, form: str
) -> None:
    from theorykit.cli.losses import held_out_caption, marked_text
    from theorykit.cli.output import console, duration, fitted_table, print_lines

    worst = max(report.losses, key=lambda loss: loss.ratio.value)
    if report.binding == "samples" and report.samples is not None:
        tokens = f"{report.samples.n_tokens:,.0f} tokens"
        print_lines(f"n decides, not the budget: one more number would cost more to learn from {tokens} than it saves.")
    kept = f"{report.share:.1%} of the linear numbers kept"
    print_lines(f"{kept}: perplexity × {worst.ratio.value:.2f} at worst ({worst.text})")
    print_lines("")
    screen = console()
    rows = [
        [
            marked_text(loss),
            f"{loss.n_tokens:,}",
            f"{loss.dense_perplexity.value:.1f}",
            f"{loss.perplexity.value:.1f}",
            f"{loss.ratio:.3f}",
            f"{loss.kl:.3f}",
        ]
        for loss in report.losses
    ]
    screen.print(
        fitted_table(
            screen.width,
            "Perplexity before and after, their ratio, and KL(dense ‖ compressed)",
            _COLUMNS,
            rows,
            optional=_OPTIONAL,
            caption=held_out_caption(report.losses),
            legend={"KL": "KL in nats per token"},
        )
    )
    print_lines("")
    before, after = report.parameters_before, report.parameters_after
    print_lines(
        f"parameters  {before:,} → {after:,} ({after / before:.1%})",
        f"layers      {len(report.ranks)} of {len(report.layers)} replaced, each stores r(m + n − r) numbers",
        f"numbers as  {report.dtype}: {_bytes(report.bytes_before)} → {_bytes(report.bytes_after)}",
    )
    if stored.kind == "gguf":
        print_lines(f"the file    {_bytes(stored.bytes)} of quantised numbers, which the written ones are not")
    if size is not None:
        print_lines(f"on disk     {_bytes(stored.bytes)} → {_bytes(size)}")
    if report.healing is not None:
        healing = report.healing
        told = f"KL {healing.kl_before:.3f} → {healing.kl_after:.3f} in {healing.steps} steps"
        print_lines(f"healing     {told}, those of step {healing.kept_step} kept")
    stages = ", ".join(f"{name} {duration(value)}" for name, value in report.seconds.items())
    print_lines(f"time        {duration(sum(report.seconds.values()))}: {stages}")
    print_lines("")
    if output is None:
        print_lines("Nothing was written. Next: the same with -o DIR in place of --plan.")
    elif form == "factored":
        print_lines(
            f"Next: import theorykit; AutoModelForCausalLM.from_pretrained({str(output)!r}), "
            f"or theorykit expand {output} -o DIR for other tools."
        )
    else:
        print_lines(f"Next: AutoModelForCausalLM.from_pretrained({str(output)!r}).")


def _bytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
