"""What a truncation of each layer costs in earnest: the measured KL, dealt to the layers, against its prediction.

The second-order loss of a layer is measured on the moments that chose its basis, and it leaves out what layers do to
one another; both make it too small, and not by the same factor for all layers. One backward pass of the true KL part
of the way to the truncated model says how much of it each layer causes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch

from theorykit.arguments import Floats
from theorykit.errors import InputError
from theorykit.models.language_model import LanguageModel
from theorykit.models.module_layers import matrix_of
from theorykit.models.running import as_judged, run_on
from theorykit.models.statistics import LayerStatistics
from theorykit.models.truncation import DenseReference, truncated
from theorykit.rank_selection.allocation import LayerOptions, allocate
from theorykit.rank_selection.objective import degrees_of_freedom

WAY = 0.6
"""How far towards the truncated weights the KL is differentiated: at the dense weights its slope is 0."""

LARGEST_FACTOR = 10.0
"""A measured scale further than this from the median of all layers is taken for noise."""


@dataclass(frozen=True, eq=False)
class PricedLayer:
    """What allocation knows of one layer.

    Attributes:
        name: Of the layer.
        shape: (m, n).
        losses: ½ Σ_{i>r} σ_i² for r = 0 … q, ``[q + 1]``, nats per token by the second-order prediction.
    """

    name: str
    shape: tuple[int, int]
    losses: Floats

    def numbers(self, rank: int) -> int:
        """Return r(m + n − r), what the layer stores at a rank; mn at full rank."""
        return int(degrees_of_freedom(self.shape, rank))

    def options(self, multiple: int, scale: float, estimation: float) -> tuple[LayerOptions, list[int]]:
        """Return costs and losses of the ranks that are offered, and these ranks; the last is full rank, dense."""
        full = min(self.shape)
        ranks = [*range(multiple, full, multiple), full]
        numbers = np.array([float(self.numbers(rank)) for rank in ranks])
        losses = np.array([scale * self.losses[rank] for rank in ranks[:-1]] + [0.0])
        return LayerOptions(numbers, losses + estimation * numbers), ranks


def allocated_ranks(
    layers: Sequence[PricedLayer],
    budget: float,
    scales: Mapping[str, float],
    *,
    multiple: int,
    estimation: float = 0.0,
) -> dict[str, int]:
    """Return the rank of every layer that is to be truncated, at least total loss within a number of stored numbers.

    Args:
        layers: All that may be truncated.
        budget: Stored numbers of all of them together.
        scales: Measured loss over predicted loss by layer name.
        multiple: Ranks are multiples of it.
        estimation: Loss of learning one more number from the samples that follow, nats per token.

    Raises:
        InputError: the smallest ranks cost more than the budget; it names the least and the largest budget.
    """
    options, ranks = zip(*(layer.options(multiple, scales[layer.name], estimation) for layer in layers), strict=True)
    least, largest = (sum(float(pick(option.costs)) for option in options) for pick in (np.min, np.max))
    if budget < least:
        raise InputError(
            f"the budget of {budget:,.0f} numbers is below {least:,.0f}, where every layer has rank {multiple}",
            f"give at least {least / largest:.3f} of the {largest:,.0f} numbers, or a smaller rank multiple",
        )
    chosen = allocate(options, budget).choice
    picked = {layer.name: own[index] for layer, own, index in zip(layers, ranks, chosen, strict=True)}
    return {layer.name: picked[layer.name] for layer in layers if picked[layer.name] < min(layer.shape)}


def measured_shares(
    model: LanguageModel,
    statistics: list[LayerStatistics],
    ranks: Mapping[str, int],
    references: Sequence[DenseReference],
) -> dict[str, float]:
    """Return the part of KL(dense ‖ truncated) that each truncated layer causes, nats per token.

    With W + t ΔW the weights on the way, KL is about ½ t² ΔᵀHΔ and ⟨∇KL, ΔW_l⟩ / (2t) the layer's part of its value
    at t = 1, cross terms halved between the two layers.

    Args:
        model: The dense model.
        statistics: Of this model, from other tokens.
        ranks: Of the layers to be truncated.
        references: What the dense model says on other tokens.
    """
    count = sum(reference.count for reference in references)
    layers = {layer.name: layer for layer in model.source.layers}
    tensors = {layers[name].tensor for name in ranks}
    parameters = {name: model.source.parameters[name] for name in tensors}
    dense = {part.name: part.weight for part in statistics if part.name in ranks}
    with truncated(model, statistics, ranks, "fisher", way=WAY):
        try:
            for parameter in parameters.values():
                parameter.requires_grad_()
            with as_judged(model.module), torch.enable_grad():
                for log_p, block in chain.from_iterable(reference.batches() for reference in references):
                    logits = run_on(model.module, block).logits[:, :-1].float()
                    log_q = logits.log_softmax(dim=-1)
                    (-(log_p.exp() * log_q).sum() / count).backward()
            shares = {}
            for name, weight in dense.items():
                layer = layers[name]
                parameter = parameters[layer.tensor]
                if parameter.grad is None:
                    shares[name] = 0.0
                    continue
                moved = matrix_of(layer, parameter.data) - weight
                product = (matrix_of(layer, parameter.grad) * moved).double().sum()
                shares[name] = float(product) / (2 * WAY * WAY)
        finally:
            for parameter in parameters.values():
                parameter.grad = None
                parameter.requires_grad_(False)
    return shares


def scales_of(layers: Sequence[PricedLayer], ranks: Mapping[str, int], shares: Mapping[str, float]) -> dict[str, float]:
    """Return measured over predicted loss of every layer; the median of all for layers that were not truncated."""
    by_name = {layer.name: layer for layer in layers}
    ratios = {
        name: share / by_name[name].losses[ranks[name]]
        for name, share in shares.items()
        if by_name[name].losses[ranks[name]] > 0
    }
    positive = [ratio for ratio in ratios.values() if ratio > 0]
    middle = float(np.median(positive)) if positive else 1.0
    bounded = {
        name: float(np.clip(ratio, middle / LARGEST_FACTOR, middle * LARGEST_FACTOR)) for name, ratio in ratios.items()
    }
    return {layer.name: bounded.get(layer.name, middle) for layer in layers}
