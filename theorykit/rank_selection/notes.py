"""The sentences beside the tables: the unit of n, which case the objective is in, where rules contradict each other."""

from __future__ import annotations

import math

from theorykit.rank_selection.budget import quantity
from theorykit.rank_selection.laws import PAPER_EQ17, THEOREM_2
from theorykit.rank_selection.result import RankSelection
from theorykit.rank_selection.rules import COMMON_PRICE

_DECIDES = {
    "budget": "the budget decides the rank, not n",
    "samples": "n decides, not the budget",
    "none": "neither the budget nor n takes anything away",
    "rule": "the rule decides, neither the budget nor the loss",
}
_WORTH_SAYING = 0.001
"""Share of the parameters from which on tensors that are no layers are named."""
_FEW_TOKENS = 0.1
"""Parameters per token above which the expansion k/(2N) is not to be trusted."""


def selection_notes(selection: RankSelection, freedom: float) -> tuple[str, ...]:
    """Return the notes of a selection, each one sentence or two.

    Args:
        selection: The ranks.
        freedom: Degrees of freedom of the chosen layers.
    """
    notes = [_unit(selection), _objective(selection, freedom), _budget(selection), _contradiction(selection)]
    notes += _saturation(selection)
    if selection.rules[-1].key != COMMON_PRICE:
        notes.append(
            f"No row {COMMON_PRICE!r}: the smallest rank in every layer is past the budget {selection.budget.text}."
        )
    return tuple(note for note in notes if note)


def _unit(selection: RankSelection) -> str:
    samples = selection.samples
    if samples is None:
        return "No n is given: the budget decides, and the rules that look at n are left out."
    root = PAPER_EQ17.rank(samples.count)
    if samples.unit == "tokens":
        return f"n counts tokens. The paper never says what its n counts; √n = {root:,.0f} is in tokens."
    return (
        f"n counts {samples.unit}: {samples.count:,.0f} × {samples.tokens_per_sample:,.0f} = {samples.n_tokens:.4g} "
        f"tokens. The paper never says what its n counts; √n is {root:,.0f} in {samples.unit}, "
        f"{PAPER_EQ17.rank(samples.n_tokens):,.0f} in tokens."
    )


def _objective(selection: RankSelection, freedom: float) -> str:
    name, loss = selection.objective.name, selection.estimation_loss
    if selection.samples is None:
        return ""
    ratio = f"{freedom / selection.samples.n_tokens:.3g} parameters per token"
    kinds = {
        "kd": "the noise of soft targets is about 2 KL of that of labels (to second order) and vanishes as the student "
        "nears the teacher, so that more rank lowers both terms",
        "lm": "labels cost 1/(2N) nats on every degree of freedom, N training tokens",
        "mixed": "half soft targets, half labels, whose noise counts at least a quarter",
    }
    if selection.approximation_loss is None:
        cost = f"{ratio}; without calibration the estimation term takes no part"
    else:
        cost = f"estimation ≈ {loss:.2g} nats per token at {ratio}"
    return f"Objective {name}: {kinds[name]} ({cost}); here {_DECIDES[selection.binding]}."


def _budget(selection: RankSelection) -> str:
    kept = quantity(selection.parameters, "parameters")
    deployed = quantity(selection.deployed_parameters, "parameters")
    target = "the plain relative ε²" if selection.approximation_loss is None else "the predicted loss"
    gap = selection.optimality_gap
    unknown = gap is None or math.isinf(gap)
    distance = "not proven near the best" if unknown else f"at most {100 * (gap or 0):.2g} % above the best"
    proof = f"proven optimal for {target}" if selection.optimal else f"{distance} for {target}"
    how = f"; allocation {proof}" if selection.rule == COMMON_PRICE else ""
    unit = sum(part.shape[0] + part.shape[1] for part in selection.layers)
    held = sum(part.parameters for part in selection.held)
    others = {"embeddings and head": selection.embedding_parameters, "layers outside the budget": held}
    others |= {"other tensors": selection.omitted_parameters}
    unchanged = ", ".join(f"{name} ({count:,})" for name, count in others.items() if count)
    whole = f"; with {unchanged} that is {deployed}, biases and norms aside" if unchanged else ""
    within = "Linear layers in the budget" if held else "Linear layers"
    return (
        f"{within} keep {kept} ({selection.share:.1%}){whole}{how}. "
        f"One unit of rank in every layer is {unit:,} parameters."
    )


def _contradiction(selection: RankSelection) -> str:
    if selection.samples is None:
        return ""
    n = selection.samples.count
    root = PAPER_EQ17.rank(n)
    return (
        f"The paper contradicts itself at this n: eq 17 says √n = {root:,.0f}, its §6 √n/10 = {root / 10:,.1f}, the "
        f"r/√n of its own proof n^¼ = {THEOREM_2.rank(n):,.1f}; none of them looks at the loss."
    )


def _saturation(selection: RankSelection) -> list[str]:
    notes = []
    count = len(selection.layers)
    rules = [rule for rule in selection.rules if rule.key != COMMON_PRICE]
    full = [rule.title for rule in rules if rule.saturated_layers]
    past = [f"{rule.title} ({rule.dense_layers} of {count})" for rule in rules if rule.dense_layers]
    if full:
        notes.append(f"Saturated at min(m, n) in some layers: {', '.join(full)}.")
    if past:
        notes.append(
            f"Past the break-even rank mn/(m + n), where the layer is cheaper dense and stays so: {', '.join(past)}."
        )
    return notes


def selection_warnings(selection: RankSelection, freedom: float) -> tuple[str, ...]:
    """Return what the reader must not miss."""
    warnings = []
    if selection.approximation_loss is None:
        warnings.append(
            "Without calibration text the choice rests on the plain ε of each layer, which is blind to the loss: "
            "equal ε can cost a hundred times more in one layer than in another. Give --calibration TEXTFILE."
        )
    elif selection.calibration:
        warnings += _scale_warnings(selection)
    ratio = freedom / selection.samples.n_tokens if selection.samples else 0.0
    matters = selection.objective.name != "kd" or selection.binding == "samples"
    if ratio > _FEW_TOKENS and matters and selection.approximation_loss is not None:
        warnings.append(
            f"{ratio:.3g} parameters per training token: the estimation term k/(2N) is an expansion for many tokens "
            "per parameter, and only its scale is to be trusted here."
        )
    if selection.rule != COMMON_PRICE and selection.share > selection.budget_share * (1 + 1e-9):
        warnings.append(
            f"The rule {selection.rule!r} ignores the budget: it keeps {selection.share:.1%} where the budget allows "
            f"{selection.budget_share:.1%}."
        )
    warnings += _left_out(selection)
    if selection.share >= 1.0:
        warnings.append("Nothing is factored: every layer is best left dense here.")
    return tuple(warnings)


def _left_out(selection: RankSelection) -> list[str]:
    """Say what the budget is not dealt from, with its share of all parameters in matrices."""
    whole = selection.dense_parameters + selection.embedding_parameters + selection.omitted_parameters
    whole += sum(part.parameters for part in selection.held)
    lines = []
    for reason in dict.fromkeys(part.reason for part in selection.held):
        held = [part for part in selection.held if part.reason == reason]
        share = sum(part.parameters for part in held) / whole
        layers = "1 layer" if len(held) == 1 else f"{len(held)} layers"
        lines.append(f"{layers} with {share:.1%} of the parameters stay dense, outside the budget: {reason}.")
    if selection.omitted_parameters > _WORTH_SAYING * whole:
        share = selection.omitted_parameters / whole
        lines.append(f"{share:.1%} of the parameters lie in no linear layer (convolutions, tables).")
    return lines


def _scale_warnings(selection: RankSelection) -> list[str]:
    """Return what is wrong with the measured scale of the loss, or with where it is used."""
    calibration = selection.calibration
    assert calibration is not None
    if len(calibration.usable_anchors) < len(calibration.anchors) or not calibration.anchors:
        return ["The scale of the predicted loss was not measured at two rising points: it is a common factor at best."]
    chosen = sum(part.second_order_loss or 0.0 for part in selection.layers)
    if chosen > 0 and not calibration.interpolates(chosen):
        low, high = (anchor.second_order for anchor in calibration.usable_anchors)
        return [
            f"The predicted loss is extrapolated: its scale was measured at raw losses from {low:.3g} to {high:.3g}, "
            f"and the choice has {chosen:.3g}."
        ]
    return []
