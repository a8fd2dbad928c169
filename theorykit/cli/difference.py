"""``theorykit compress MODEL --base BASE``: what a fine-tuning changed, as an adapter of small rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from theorykit.arguments import Progress
from theorykit.errors import InputError

if TYPE_CHECKING:
    from theorykit.compression.difference import DifferenceReport
    from theorykit.compression.request import CompressionSettings
    from theorykit.compression.texts import Text

BUDGET = 0.1
UNITS = {"kl": "nats per token, KL(fine-tuned ‖ base with adapter)", "predicted_kl": "nats per token"}
_COLUMNS = ("text", "tokens", "fine-tuned", "with adapter", "KL of the base", "KL with adapter")
_OPTIONAL = ("tokens", "with adapter", "fine-tuned")


def refuse_others(options: Mapping[str, tuple[Any, Any]]) -> None:
    """Raise for an option that says nothing of an adapter.

    Args:
        options: Option to its value and its default.
    """
    for name, (value, default) in options.items():
        if value != default:
            raise InputError(f"{name} says nothing of the adapter that --base asks for", f"leave out {name} or --base")


def compress_to_adapter(
    model: str,
    base: str,
    texts: Sequence[Text],
    judged_on: Sequence[Text],
    *,
    budget: float,
    settings: CompressionSettings,
    device: str | None,
    output: Path | None,
    step: Progress,
) -> DifferenceReport:
    """Load both models, find the adapter and write it."""
    from theorykit.compression.difference import compress_difference, save_adapter
    from theorykit.models.language_model import load_language_model
    from theorykit.provenance import command_line, commit

    step("loading the models", 0, 1)
    adapted, report = compress_difference(
        load_language_model(model, device=device),
        load_language_model(base, device=device),
        list(texts) or None,
        budget=budget,
        settings=settings,
        judged_on=judged_on,
        progress=step,
    )
    if output is not None:
        step("writing", 0, 1)
        save_adapter(adapted, report, output, command=command_line(), commit=commit())
    return report


def print_difference(report: DifferenceReport, output: Path | None) -> None:
    """Print what the adapter holds and what it leaves out."""
    from theorykit.cli.losses import held_out_caption, marked_text
    from theorykit.cli.output import console, fitted_table, print_lines

    worst = max(report.losses, key=lambda loss: loss.kl.value)
    size = f"{report.numbers:,} numbers ({report.share:.1%} of the linear ones)"
    print_lines(f"an adapter of {size}: KL {worst.kl.value:.3g} nats per token at worst ({worst.text})", "")
    screen = console()
    rows = [
        [
            marked_text(after),
            f"{after.n_tokens:,}",
            f"{after.dense_perplexity.value:.1f}",
            f"{after.perplexity.value:.1f}",
            f"{before.kl:.3f}",
            f"{after.kl:.3f}",
        ]
        for before, after in zip(report.losses_of_base, report.losses, strict=True)
    ]
    caption = f"{held_out_caption(report.losses)}; KL from the fine-tuned model in nats per token"
    legend = {name: f"{name}: perplexity" for name in ("fine-tuned", "with adapter")}
    screen.print(
        fitted_table(
            screen.width, "Base and adapter", _COLUMNS, rows, optional=_OPTIONAL, caption=caption, legend=legend
        )
    )
    ranks = report.ranks.values()
    print_lines(
        "",
        f"layers      {len(ranks)} of {len(report.layers)} with an adapter of rank {min(ranks)} to {max(ranks)}",
        f"predicted   KL {report.predicted_kl:.3g} nats per token, by the second-order loss of what is left out",
        "",
    )
    if output is None:
        typer.echo("Nothing was written. Next: the same with -o DIR in place of --plan.")
    else:
        print_lines(f"Next: peft.PeftModel.from_pretrained(BASE, {str(output)!r}).")
