"""From spectra and n to a rank for every layer: all rules side by side, and one budget allocated exactly."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from theorykit.arguments import Floats, positive_integer
from theorykit.errors import InputError
from theorykit.models.model_spectra import LayerSpectra, ModelSpectra
from theorykit.rank_selection.allocation import Allocation, LayerOptions, allocate
from theorykit.rank_selection.budget import Budget, cost_per_parameter, parse_budget
from theorykit.rank_selection.frontier import TwoSums, least_loss
from theorykit.rank_selection.notes import selection_notes, selection_warnings
from theorykit.rank_selection.objective import (
    Objective,
    ObjectiveName,
    SampleSize,
    degrees_of_freedom,
    estimation_loss,
)
from theorykit.rank_selection.result import HeldLayer, LayerRank, RankSelection, RuleSummary
from theorykit.rank_selection.rules import COMMON_PRICE, Rule, clipped_rank, rules_for
from theorykit.spectra.rank_measures import effective_rank, stable_rank

DEFAULT_BUDGET = "0.8"
EXPERTS = ("own", "shared")
_STUCK_SHARE = 0.01
"""Share of the parameters that may lie in layers too small for the default rank multiple; they stay dense."""


@dataclass(frozen=True, eq=False)
class _Candidate:
    """One layer with its loss at every rank and the ranks that it may take."""

    part: LayerSpectra
    tail: Floats
    ranks: Floats

    @property
    def shape(self) -> tuple[int, int]:
        return self.part.layer.shape

    def cost(self, unit: str) -> Floats:
        """Return the cost of each allowed rank, and of staying dense at the end."""
        layer = self.part.layer
        numbers = np.append(self.ranks * layer.parameters_per_rank, layer.parameters)
        return numbers * cost_per_parameter(layer, unit)

    def loss(self) -> Floats:
        """Return the raw loss of each allowed rank, and 0 for staying dense."""
        return np.append(self.tail[self.ranks.astype(int)], 0.0)

    def freedom(self) -> Floats:
        """Return the degrees of freedom of each option."""
        return np.append(degrees_of_freedom(self.shape, self.ranks), float(self.part.layer.parameters))


@dataclass(frozen=True)
class _Estimation:
    """The estimation term of one run; without samples nothing is learnt afterwards, and it is 0."""

    samples: SampleSize | None
    goal: Objective

    def loss(self, freedom: float, kl: float) -> float:
        """Return the cost of learning so many degrees of freedom at a distance ``kl`` from the teacher, in nats."""
        if self.samples is None:
            return 0.0
        return float(estimation_loss(freedom, self.samples.n_tokens, self.goal.noise_share(kl)))


@dataclass(frozen=True)
class _OwnChoice:
    """What the tool's own rule gives, with the evidence."""

    ranks: list[int | None]
    allocation: Allocation
    binding: str
    gap: float


def tail_losses(part: LayerSpectra, *, in_nats: bool) -> Floats:
    """Return the raw loss of one layer at ranks 0 … q: nats per token, or ε²/‖W‖_F² where some layer has no nats."""
    if in_nats:
        return part.whitened["fisher"].predicted_losses
    energies = part.spectrum.tail_energies
    return energies / (energies[0] or 1.0)


def saving_ranks(shape: tuple[int, int], multiple: int) -> Floats:
    """Return the multiples of ``multiple`` whose two factors hold fewer numbers than the matrix."""
    m, n = shape
    return np.arange(multiple, (m * n - 1) // (m + n) + 1, multiple, dtype=np.float64)


def select_ranks(
    spectra: ModelSpectra,
    n: float | None = None,
    *,
    unit: str = "sequences",
    seq_len: float = 1024,
    objective: ObjectiveName = "kd",
    budget: str | float = DEFAULT_BUDGET,
    rank_multiple: int | None = None,
    rule: str = COMMON_PRICE,
    experts: str = "own",
) -> RankSelection:
    """Choose a rank for every factorable layer.

    The tool's own choice (``rule="common-price"``) minimises the predicted loss, approximation plus estimation, within
    the budget, and says how far above the least of all it may lie (``optimality_gap``; 0 is proven). With labels
    the estimation term is a price of 1/(2N) nats on every degree of freedom; with the teacher's distribution as target
    it nearly vanishes, and the budget decides.

    Args:
        spectra: Of the teacher; Fisher-whitened for a prediction in nats, plain otherwise.
        n: Number of training samples, above 0; None where there is no training, or nothing is known of it: the budget
            decides then, and rules that look at n are left out.
        unit: ``sequences``, ``tokens`` or ``documents``.
        seq_len: Tokens per sequence or document.
        objective: ``kd``, ``lm`` or ``mixed``.
        budget: As in :func:`theorykit.rank_selection.budget.parse_budget`.
        rank_multiple: Ranks are multiples of it; if None 8, or 4, 2, 1 where 8 fits too few layers.
        rule: Which rule gives the ranks: ``common-price`` or a key of ``RULES``; those of ``RULES`` ignore the budget.
        experts: ``own``, a rank for every map of a stack, or ``shared``, one for all maps of a stack.

    Returns:
        Ranks, evidence, and all rules side by side.

    Raises:
        InputError: an argument breaks its rule; names it.

    References:
        Corollary 1 and §6 of arXiv 2603.22355 for the paper's rules.
    """
    samples = None if n is None else SampleSize(n, unit, seq_len)  # type: ignore[arg-type]
    goal = Objective(objective)
    entries = rules_for(rule, sampled=samples is not None)
    checked_experts(experts, rule)
    parts = spectra.factorable
    if not parts:
        raise InputError(f"{spectra.name} has no linear layer that can be factored", "give a model with linear layers")
    limit = parse_budget(budget, [part.layer for part in parts])
    multiple = _rank_multiple(rank_multiple, parts)
    in_nats = spectra.is_calibrated
    candidates = [
        _Candidate(part, tail_losses(part, in_nats=in_nats), saving_ranks(part.layer.shape, multiple)) for part in parts
    ]
    groups = _groups(parts, shared=experts == "shared")
    count = math.nan if samples is None else samples.count
    asked = {entry.key: [entry.rank(part, count) for part in parts] for entry in entries}
    estimation = _Estimation(samples, goal)
    rules = [_summarise(spectra, entry, asked[entry.key], estimation) for entry in entries]
    own = _own_choice(spectra, candidates, groups, limit, estimation, required=rule == COMMON_PRICE)
    if own:
        names = (COMMON_PRICE, "theorykit: common price", f"least predicted loss within the budget {limit.text}")
        rules.append(_rule_summary(spectra, names, own.ranks, own.ranks, estimation))
    if own and rule == COMMON_PRICE:
        chosen = own.ranks
    else:
        own, chosen = None, [_factored(part, rank) for part, rank in zip(parts, asked[rule], strict=True)]
    layers = tuple(_layer_rank(part, rank) for part, rank in zip(parts, chosen, strict=True))
    kl = _losses(spectra, chosen)[1]
    freedom = _freedom(parts, chosen)
    selection = RankSelection(
        model=spectra.name,
        samples=samples,
        objective=goal,
        budget=limit,
        rule=rule,
        rank_multiple=multiple,
        layers=layers,
        rules=tuple(rules),
        approximation_loss=kl,
        estimation_loss=estimation.loss(freedom, np.inf if kl is None else kl),
        price=own.allocation.price if own else 0.0,
        optimal=bool(own and own.gap == 0),
        optimality_gap=own.gap if own else None,
        binding=own.binding if own else "rule",
        embedding_parameters=spectra.embedding_parameters,
        experts=experts,
        held=tuple(_held(part) for part in spectra.held),
        omitted_parameters=sum(part.parameters for part in spectra.omitted if part.state != "lacking"),
        model_type=str(spectra.origin.get("model_type") or ""),
        calibration=spectra.calibration,
    )
    notes, warnings = selection_notes(selection, freedom), selection_warnings(selection, freedom)
    return replace(selection, notes=notes, warnings=warnings)


def checked_experts(experts: str, rule: str) -> None:
    """Raise where ``experts`` is not known, or cannot be kept by a rule that looks at every layer alone.

    Raises:
        InputError: neither ``own`` nor ``shared``; ``shared`` with another rule than ``common-price``.
    """
    if experts not in EXPERTS:
        raise InputError(f"experts = {experts!r} is neither own nor shared", "give --experts own or shared")
    if experts == "shared" and rule != COMMON_PRICE:
        raise InputError(
            f"the rule {rule!r} gives every expert a rank of its own", f"give --rule {COMMON_PRICE} or --experts own"
        )


def _groups(parts: Sequence[LayerSpectra], *, shared: bool) -> list[list[int]]:
    """Return which layers have one rank together: each alone, or the maps of a stack."""
    groups: dict[str, list[int]] = {}
    for index, part in enumerate(parts):
        groups.setdefault(part.layer.tensor if shared else str(index), []).append(index)
    return list(groups.values())


def _sum(curves: Iterable[Floats]) -> Floats:
    """Add what options of equal number cost."""
    total: Floats = np.sum(list(curves), axis=0)
    return total


def _rank_multiple(asked: int | None, parts: tuple[LayerSpectra, ...]) -> int:
    """Return the rank multiple, or raise where a layer is smaller than the one asked for."""
    if asked is None:
        total = sum(part.layer.parameters for part in parts)
        for multiple in (8, 4, 2):
            stuck = sum(part.layer.parameters for part in parts if not saving_ranks(part.layer.shape, multiple).size)
            if stuck <= _STUCK_SHARE * total:
                return multiple
        return 1
    multiple = positive_integer("rank multiple", asked)
    smallest = min(parts, key=lambda part: min(part.layer.shape)).layer
    if multiple > min(smallest.shape):
        raise InputError(
            f"rank multiple = {multiple} is larger than min(m, n) = {min(smallest.shape)} of {smallest.name}",
            f"give at most {min(smallest.shape)}",
        )
    return multiple


def _own_choice(
    spectra: ModelSpectra,
    candidates: list[_Candidate],
    groups: list[list[int]],
    limit: Budget,
    estimation: _Estimation,
    *,
    required: bool,
) -> _OwnChoice | None:
    """Return the tool's own choice; None where no ranks fit the budget, unless it is ``required``: then raise."""
    try:
        allocation, binding, gap = _allocate(spectra, candidates, groups, limit, estimation)
    except InputError:
        if required:
            raise
        return None
    ranks: list[int | None] = [None] * len(candidates)
    for group, index in zip(groups, allocation.choice, strict=True):
        for member in group:
            allowed = candidates[member].ranks
            ranks[member] = None if index == allowed.size else int(allowed[index])
    return _OwnChoice(ranks, allocation, binding, gap)


def _allocate(
    spectra: ModelSpectra,
    candidates: list[_Candidate],
    groups: list[list[int]],
    limit: Budget,
    estimation: _Estimation,
) -> tuple[Allocation, str, float]:
    """Allocate the budget; return the choice, what binds it, and how far above the least loss it may lie, relatively.

    Where the loss is known in nats it is F(L, k) = KL(L) + noise(KL) k / (2N), L the sum of the raw losses and k the
    degrees of freedom; else L alone.
    """
    costs = [_sum(candidates[member].cost(limit.unit) for member in group) for group in groups]
    losses = [_sum(candidates[member].loss() for member in group) for group in groups]
    calibration = spectra.calibration if spectra.is_calibrated else None
    if calibration is None:
        options = [LayerOptions(cost, loss) for cost, loss in zip(costs, losses, strict=True)]
        allocation = allocate(options, limit.limit)
        above = 0.0 if allocation.exact else allocation.loss - allocation.lower_bound
        gap = above / allocation.lower_bound if allocation.lower_bound > 0 else float(np.inf if above else 0)
        return allocation, _binding(allocation, losses), gap
    freedoms = [_sum(candidates[member].freedom() for member in group) for group in groups]
    layers = TwoSums(costs, losses, freedoms)

    def predicted(raw: float, freedom: float) -> float:
        kl = calibration.calibrated_loss(raw)
        return kl + estimation.loss(freedom, kl)

    least = least_loss(layers, limit.limit, predicted)
    raw, freedom = layers.sums(least.allocation.choice)
    slope = (predicted(1.001 * raw, freedom) - least.value) / (0.001 * raw) if raw > 0 else 1.0
    allocation = replace(least.allocation, price=least.allocation.price * slope)
    return allocation, _binding(allocation, losses), least.gap


def _binding(allocation: Allocation, losses: list[Floats]) -> str:
    """Return what keeps the allocation from the least approximation loss."""
    if allocation.price > 0:
        return "budget"
    least = all(loss[index] <= loss.min() for loss, index in zip(losses, allocation.choice, strict=True))
    return "none" if least else "samples"


def _factored(part: LayerSpectra, rank: float) -> int | None:
    """Return the clipped rank, or None where two factors would hold no fewer numbers than the matrix."""
    clipped = clipped_rank(rank, part.spectrum.max_rank)
    return clipped if clipped < part.layer.break_even else None


def _stored(part: LayerSpectra, rank: int | None) -> int:
    return part.layer.parameters if rank is None else rank * part.layer.parameters_per_rank


def _freedom(parts: Sequence[LayerSpectra], kept: Sequence[int | None]) -> float:
    """Return the degrees of freedom of all layers at the ranks that they keep."""
    return sum(
        float(part.layer.parameters if rank is None else degrees_of_freedom(part.layer.shape, rank))
        for part, rank in zip(parts, kept, strict=True)
    )


def _losses(spectra: ModelSpectra, kept: Sequence[int | None]) -> tuple[float | None, float | None]:
    """Return the raw loss of all layers and the same on the measured scale; None where they are not known."""
    if not spectra.is_calibrated:
        return None, None
    pairs = zip(spectra.factorable, kept, strict=True)
    raw = math.fsum(part.whitened["fisher"].predicted_losses[rank] for part, rank in pairs if rank is not None)
    return raw, spectra.calibration.calibrated_loss(raw) if spectra.calibration else None


def _layer_rank(part: LayerSpectra, rank: int | None) -> LayerRank:
    values, fit = part.spectrum.singular_values, part.decay
    error = 0.0 if rank is None else float(part.spectrum.truncation_errors[rank])
    raw = part.whitened["fisher"].predicted_losses if "fisher" in part.whitened else None
    stored = _stored(part, rank)
    return LayerRank(
        layer=part.layer.name,
        kind=part.layer.kind,
        shape=part.layer.shape,
        stable_rank=stable_rank(values) if values[0] > 0 else 0.0,
        effective_rank=effective_rank(values) if values[0] > 0 else 0.0,
        decay_exponent=fit.exponent if fit else None,
        decay_interval=fit.interval if fit else None,
        decay_fits=fit.fits if fit else None,
        rank=rank,
        truncation_error=error,
        relative_error=error / (part.spectrum.frobenius_norm or 1.0),
        second_order_loss=None if raw is None else 0.0 if rank is None else float(raw[rank]),
        parameters=stored,
        share=stored / part.layer.parameters,
        reason="" if rank is not None else "dense: within the budget no rank that saves anything does better",
        tensor=part.layer.tensor,
        stack=part.layer.stack,
    )


def _held(part: LayerSpectra) -> HeldLayer:
    return HeldLayer(part.layer.name, part.layer.parameters, part.held, part.layer.stack)


def _summarise(spectra: ModelSpectra, rule: Rule, asked: list[float], estimation: _Estimation) -> RuleSummary:
    parts = spectra.factorable
    clipped = [clipped_rank(rank, part.spectrum.max_rank) for part, rank in zip(parts, asked, strict=True)]
    kept = [_factored(part, rank) for part, rank in zip(parts, asked, strict=True)]
    saturated = sum(rank >= part.spectrum.max_rank for part, rank in zip(parts, clipped, strict=True))
    return _rule_summary(spectra, (rule.key, rule.title, rule.source), clipped, kept, estimation, saturated)


def _rule_summary(
    spectra: ModelSpectra,
    names: tuple[str, str, str],
    ranks: Sequence[int | None],
    kept: Sequence[int | None],
    estimation: _Estimation,
    saturated: int = 0,
) -> RuleSummary:
    parts = spectra.factorable
    pairs = list(zip(parts, kept, strict=True))
    energy = sum(part.spectrum.tail_energies[rank] for part, rank in pairs if rank is not None)
    total = sum(part.spectrum.tail_energies[0] for part in parts)
    raw, predicted = _losses(spectra, kept)
    stored = sum(_stored(part, rank) for part, rank in pairs)
    key, title, source = names
    return RuleSummary(
        key=key,
        title=title,
        source=source,
        ranks=tuple(ranks),
        dense_layers=sum(rank is None for rank in kept),
        saturated_layers=saturated,
        parameters=stored,
        share=stored / spectra.linear_parameters,
        relative_error=float(np.sqrt(energy / total)) if total else 0.0,
        second_order_loss=raw,
        predicted_loss=predicted,
        estimation_loss=None if predicted is None else estimation.loss(_freedom(parts, kept), predicted),
        extrapolated=None
        if raw is None or not spectra.calibration
        else raw > 0 and not spectra.calibration.interpolates(raw),
    )
