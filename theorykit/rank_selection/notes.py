"""The sentences beside the tables: the unit of n, which case the objective is in, where rules contradict each other."""

from __future__ import annotations

from theorykit.rank_selection.budget import quantity
from theorykit.rank_selection.laws import PAPER_EQ17, THEOREM_2
from theorykit.rank_selection.result import RankSelection


def selection_notes(selection: RankSelection, freedom: float) -> tuple[str, ...]:
    """Return the notes of a selection, each one sentence or two.

    Args:
        selection: The ranks.
        freedom: Degrees of freedom of the chosen layers.
    """
    notes = [_unit(selection), _objective(selection, freedom), _budget(selection), _contradiction(selection)]
    notes += _saturation(selection)
    return tuple(note for note in notes if note)


def _unit(selection: RankSelection) -> str:
    samples = selection.samples
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
    ratio = f"{freedom / selection.samples.n_tokens:.3g} parameters per token"
    if name == "kd":
        return (
            "Objective kd: the noise of soft targets is at most 2 KL of that of labels and vanishes as the student "
            f"nears the teacher (estimation at most {loss:.2g} nats per token at {ratio}), so there is no U-curve and "
            "the budget decides the rank, not n."
        )
    decides = "n decides" if selection.binding == "samples" else "the budget decides"
    kind = (
        "labels cost 1/(2N) nats on every parameter, N training tokens"
        if name == "lm"
        else "half soft targets, half labels, whose noise counts a quarter"
    )
    return f"Objective {name}: {kind} (estimation ≈ {loss:.2g} nats per token at {ratio}); here {decides}."


def _budget(selection: RankSelection) -> str:
    kept = quantity(selection.parameters, "parameters")
    deployed = quantity(selection.deployed_parameters, "parameters")
    proof = "proven optimal for the predicted loss" if selection.optimal else "not proven optimal"
    how = f"; allocation {proof}" if selection.rule == "measured" else ""
    unit = sum(part.shape[0] + part.shape[1] for part in selection.layers)
    return (
        f"Linear layers keep {kept} ({selection.share:.1%}); with embeddings and head "
        f"({selection.embedding_parameters:,}) {deployed} are deployed{how}. "
        f"One unit of rank in every layer is {unit:,} parameters."
    )


def _contradiction(selection: RankSelection) -> str:
    n = selection.samples.count
    root = PAPER_EQ17.rank(n)
    return (
        f"The paper contradicts itself at this n: eq 17 says √n = {root:,.0f}, its §6 √n/10 = {root / 10:,.1f}, the "
        f"r/√n of its own proof n^¼ = {THEOREM_2.rank(n):,.1f}; none of them looks at the loss."
    )


def _saturation(selection: RankSelection) -> list[str]:
    notes = []
    count = len(selection.layers)
    full = [rule.title for rule in selection.rules[:-1] if rule.saturated_layers]
    past = [f"{rule.title} ({rule.dense_layers} of {count})" for rule in selection.rules[:-1] if rule.dense_layers]
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
    elif selection.calibration and not selection.calibration.anchors:
        warnings.append("The scale of the predicted loss was not measured: it is the raw half tail sum.")
    elif selection.calibration:
        shares = [anchor.share for anchor in selection.calibration.anchors]
        if selection.share < min(shares) - 1e-6:
            warnings.append(
                f"The predicted loss is extrapolated: its scale was measured down to {min(shares):.0%} of the "
                "parameters."
            )
    if selection.objective.name != "kd" and freedom > selection.samples.n_tokens:
        warnings.append(
            f"{freedom / selection.samples.n_tokens:.3g} parameters per training token: the estimation term k/(2N) is "
            "an expansion for many tokens per parameter and says little here."
        )
    if selection.share >= 1.0:
        warnings.append("Nothing is factored: at this budget and n the dense layers have the least predicted loss.")
    return tuple(warnings)
