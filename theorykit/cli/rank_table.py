"""The tables of ``theorykit rank-select``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from theorykit.cli.output import console, fitted_table, print_lines
from theorykit.cli.spectrum import common_prefix
from theorykit.rank_selection.budget import quantity
from theorykit.rank_selection.rules import COMMON_PRICE

if TYPE_CHECKING:
    from rich.table import Table

    from theorykit.rank_selection.result import LayerRank, RankSelection, RuleSummary

_NEGLIGIBLE = 0.01
"""Share of the chosen rule's total below which an estimation term is not worth a column."""


def print_selection(selection: RankSelection) -> None:
    """Print one row per layer, one row per rule, and the notes, to stdout."""
    screen = console()
    if selection.binding == "samples":
        print_lines("n decides, not the budget: one more rank would cost more to learn than it saves.", "")
    screen.print(_layers(selection, screen.width))
    screen.print()
    screen.print(_rules(selection, screen.width))
    screen.print()
    print_lines(*(f"• {line}" for line in _summary(selection)))


def _layers(selection: RankSelection, width: int) -> Table:
    prefix = common_prefix([part.layer for part in selection.layers])
    legend = {"α (95 %)": "α marked × where a power law is rejected", "ε/‖W‖": "ε = ‖W − W_r‖_F of the plain SVD"}
    return fitted_table(
        width,
        f"{selection.model}: ranks by the rule {selection.rule!r}",
        ("layer", "m × n", "stable", "eff.", "α (95 %)", "rank", "ε", "ε/‖W‖", "kept"),
        [_layer_row(part, prefix) for part in selection.layers],
        optional=("eff.", "α (95 %)", "stable", "ε", "kept"),
        caption=f"names without {prefix!r}" if prefix else "",
        legend=legend,
    )


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


def _rules(selection: RankSelection, width: int) -> Table:
    calibrated = selection.approximation_loss is not None
    chosen = [rule.key for rule in selection.rules].index(selection.rule)
    least = _NEGLIGIBLE * (selection.rules[chosen].total_loss or 0.0)
    with_estimation = any((rule.estimation_loss or 0.0) > least for rule in selection.rules)
    columns: tuple[str, ...] = ("rule", "ranks", "dense", "parameters", "kept", "ratio", "ε/‖W‖ all")
    caption = "without calibration no loss can be predicted"
    legend = {"dense": "dense: layers where the rank saves nothing"}
    if calibrated:
        columns += ("½ tail sum", "predicted KL")
        caption = "losses in nats per token, before any training; * extrapolated"
    if with_estimation:
        columns += ("estimation", "total")
        legend["total"] = f"total: predicted KL plus estimation, which {COMMON_PRICE!r} minimises in the budget"
    return fitted_table(
        width,
        "All rules side by side",
        columns,
        [_rule_row(rule)[: len(columns)] for rule in selection.rules],
        optional=("½ tail sum", "ratio", "ε/‖W‖ all", "parameters", "dense", "estimation", "kept"),
        caption=caption,
        legend=legend,
        bold=chosen,
    )


def _rule_row(rule: RuleSummary) -> list[str]:
    row = [
        rule.title,
        rule.rank_span,
        str(rule.dense_layers),
        quantity(rule.parameters, "parameters").removesuffix(" parameters"),
        f"{rule.share:.1%}",
        f"{1 / rule.share:.2f}×",
        f"{rule.relative_error:.3f}",
    ]
    if rule.predicted_loss is not None:
        row += [f"{rule.second_order_loss:.3g}", f"{rule.predicted_loss:.3g}" + ("*" if rule.extrapolated else " ")]
        row += [f"{rule.estimation_loss:.3g}", f"{rule.total_loss:.3g}"]
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
