"""The tables of ``theorykit rank-select``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from theorykit.cli.output import console
from theorykit.cli.spectrum import common_prefix
from theorykit.rank_selection.budget import quantity

if TYPE_CHECKING:
    from theorykit.rank_selection.result import LayerRank, RankSelection, RuleSummary


_WIDE = 110
_NARROW = ("layer", "m × n", "rank", "ε/‖W‖", "rule", "ranks", "dense", "kept", "predicted KL")
"""Columns that a narrow terminal keeps."""


def print_selection(selection: RankSelection) -> None:
    """Print one row per layer, one row per rule, and the notes, to stdout."""
    screen = console()
    narrow = screen.width < _WIDE
    screen.print(_layers(selection, narrow=narrow))
    screen.print()
    screen.print(_rules(selection, narrow=narrow))
    screen.print()
    for line in _summary(selection):
        screen.print(Text(f"• {line}"), soft_wrap=False)


def _table(title: str, columns: tuple[str, ...], caption: str | None = None) -> Table:
    # Text and not str: names in brackets are no markup
    table = Table(
        title=Text(title),
        caption=Text(caption) if caption else None,
        box=None,
        title_justify="left",
        caption_justify="left",
        pad_edge=False,
    )
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index == 0 else "right", no_wrap=index > 0, overflow="fold")
    return table


def _layers(selection: RankSelection, *, narrow: bool) -> Table:
    prefix = common_prefix([part.layer for part in selection.layers])
    columns = ("layer", "m × n", "stable", "eff.", "α (95 %)", "rank", "ε", "ε/‖W‖", "kept")
    caption = "α marked × where a power law is rejected; ε = ‖W − W_r‖_F of the plain SVD at that rank"
    if prefix:
        caption = f"names without {prefix!r}; {caption}"
    kept = [name for name in columns if not narrow or name in _NARROW]
    table = _table(f"{selection.model}: ranks by the rule {selection.rule!r}", tuple(kept), caption)
    for part in selection.layers:
        cells = zip(columns, _layer_row(part, prefix), strict=True)
        table.add_row(*(Text(cell) for name, cell in cells if name in kept))
    return table


def _layer_row(part: LayerRank, prefix: str) -> list[str]:
    alpha = "–"
    if part.decay_exponent is not None and part.decay_interval is not None:
        low, high = part.decay_interval
        alpha = f"{part.decay_exponent:.2f} ({low:.2f}–{high:.2f})" + (" " if part.decay_fits else "×")
    return [
        part.layer.removeprefix(prefix),
        f"{part.shape[0]} × {part.shape[1]}",
        f"{part.stable_rank:.1f}",
        f"{part.effective_rank:.0f}",
        alpha,
        "dense" if part.rank is None else str(part.rank),
        f"{part.truncation_error:.3g}",
        f"{part.relative_error:.3f}",
        f"{part.share:.0%}",
    ]


def _rules(selection: RankSelection, *, narrow: bool) -> Table:
    calibrated = selection.approximation_loss is not None
    columns: tuple[str, ...] = ("rule", "ranks", "dense", "parameters", "kept", "ratio", "ε/‖W‖ all")
    if calibrated:
        columns += ("½ tail sum", "predicted KL")
    caption = (
        "dense: layers where the rank saves nothing; losses in nats per token, before any training; * extrapolated"
        if calibrated
        else "dense: layers where the rank saves nothing; without calibration no loss can be predicted"
    )
    kept = [name for name in columns if not narrow or name in _NARROW]
    table = _table("All rules side by side", tuple(kept), caption)
    for rule in selection.rules:
        cells = zip(columns, _rule_row(rule, calibrated), strict=True)
        chosen = "bold" if rule.key == selection.rule else None
        table.add_row(*(cell for name, cell in cells if name in kept), style=chosen)
    return table


def _rule_row(rule: RuleSummary, calibrated: bool) -> list[str]:
    row = [
        rule.title,
        rule.rank_span,
        str(rule.dense_layers),
        quantity(rule.parameters, "parameters").removesuffix(" parameters"),
        f"{rule.share:.1%}",
        f"{1 / rule.share:.2f}×",
        f"{rule.relative_error:.3f}",
    ]
    if calibrated:
        row += [f"{rule.second_order_loss:.3g}", f"{rule.predicted_loss:.3g}" + ("*" if rule.extrapolated else " ")]
    return row


def _summary(selection: RankSelection) -> list[str]:
    lines = list(selection.notes)
    calibration = selection.calibration
    if calibration and calibration.anchors:
        pairs = ", ".join(
            f"{anchor.kl:.3g} measured against {anchor.second_order:.3g} at {anchor.share:.0%}"
            for anchor in sorted(calibration.anchors, key=lambda anchor: -anchor.share)
        )
        lines.append(
            f"Loss scale: KL {pairs} of the parameters, on the {calibration.text!r} text, behind the "
            f"{calibration.n_tokens:,} tokens of the calibration. Text of another kind costs more."
        )
    measured = selection.measured
    if measured:
        predicted = "" if selection.approximation_loss is None else f" ({selection.approximation_loss:.3g} predicted)"
        lines.append(
            f"Measured on {measured.n_tokens:,} held-out tokens: KL {measured.kl:.3g} nats per token{predicted}, "
            f"perplexity {measured.perplexity:.4g} against {measured.dense_perplexity:.4g} dense "
            f"({measured.perplexity / measured.dense_perplexity:.2f}×), before any training."
        )
    return lines
