"""A model with truncated layers, and what the truncation costs: KL divergence from the dense model, perplexity."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from theorykit.arguments import positive_integer
from theorykit.errors import InputError
from theorykit.models.calibration import ROWS
from theorykit.models.language_model import LanguageModel
from theorykit.models.module_layers import matrix_of
from theorykit.models.running import as_judged, run_on
from theorykit.models.statistics import LayerStatistics
from theorykit.results import Result
from theorykit.spectra.whitening import Metric

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TruncationLoss(Result):
    """What a truncation costs on a text.

    Attributes:
        second_order: Σ_l ½ tr(G ΔW A ΔWᵀ), nats per token: the raw prediction for the very weights used.
        kl: E KL(dense ‖ truncated), nats per token.
        cross_entropy: Of the truncated model, nats per token.
        dense_cross_entropy: Of the dense model on the same tokens, nats per token.
        n_tokens: Predicted tokens.
    """

    second_order: float
    kl: float
    cross_entropy: float
    dense_cross_entropy: float
    n_tokens: int

    @property
    def perplexity(self) -> float:
        """Return exp of the cross-entropy."""
        return math.exp(self.cross_entropy)

    @property
    def dense_perplexity(self) -> float:
        """Return exp of the dense model's cross-entropy."""
        return math.exp(self.dense_cross_entropy)

    def to_frame(self) -> pd.DataFrame:
        """Return one row."""
        import pandas as pd

        return pd.DataFrame([self.to_dict() | {"perplexity": self.perplexity}])


@contextmanager
def truncated(
    model: LanguageModel,
    statistics: list[LayerStatistics],
    ranks: Mapping[str, int],
    metric: Metric,
    *,
    way: float = 1.0,
) -> Iterator[float]:
    """Replace layers by their best rank-r version in a metric, and put the weights back afterwards.

    Args:
        model: Changed in place within the context.
        statistics: Of this model.
        ranks: Layer name to rank; layers that are not named stay dense.
        metric: ``"plain"``, ``"activation"`` or ``"fisher"``.
        way: How far to go from the dense weights (0) to the truncated ones (1).

    Yields:
        The second-order prediction of the loss, nats per token.

    Raises:
        InputError: a layer that the model or the statistics do not have, or a rank outside [1, min(m, n)].
    """
    layers = {layer.name: layer for layer in model.source.layers if layer.factorable}
    unknown = sorted(set(ranks) - set(layers))
    if unknown:
        raise InputError(f"the model has no layer {unknown[0]!r}", "give ranks under the names of its layers")
    shapes = {part.name: part.shape for part in statistics}
    for name, rank in ranks.items():
        if name not in shapes:
            raise InputError(f"there are no statistics of the layer {name!r}", "calibrate it together with the others")
        positive_integer(f"the rank of {name}", rank, maximum=min(shapes[name]))
    kept: dict[str, torch.Tensor] = {}
    predicted = 0.0
    try:
        for part in statistics:
            if part.name not in ranks:
                continue
            layer = layers[part.name]
            projector = part.projector(metric, ranks[part.name])
            predicted += part.predicted_loss(metric, ranks[part.name])
            parameter = model.source.parameters[layer.tensor]
            if layer.tensor not in kept:
                # another tensor, not other numbers in it: the statistics look at the dense weights
                kept[layer.tensor] = parameter.data
                parameter.data = parameter.data.clone()
            matrix_of(layer, parameter.data).lerp_(part.truncated_weight(projector), way)
        yield predicted
    finally:
        for name, original in kept.items():
            model.source.parameters[name].data = original


def log_probabilities(model: LanguageModel, block: torch.Tensor) -> torch.Tensor:
    """Return log p of every next token, ``[batch, length − 1, vocabulary]`` float32, natural logarithm."""
    with as_judged(model.module), torch.no_grad():
        logits: torch.Tensor = run_on(model.module, block.to(model.device)).logits[:, :-1].float()
        for block_logits in logits:
            for part in torch.split(block_logits, ROWS):
                part -= part.logsumexp(dim=-1, keepdim=True)
        return logits


def truncation_losses(
    model: LanguageModel,
    statistics: list[LayerStatistics],
    plans: list[tuple[Mapping[str, int], Metric]],
    tokens: torch.Tensor,
    *,
    batch: int = 2,
) -> list[TruncationLoss]:
    """Measure several truncations on the same held-out tokens; the dense model runs once per batch.

    Args:
        model: The dense model.
        statistics: Of this model, from other tokens.
        plans: Ranks by layer name and the metric of the truncation.
        tokens: ``[blocks, length]`` int64.
        batch: Blocks per pass.

    Returns:
        One result per plan.
    """
    reference = DenseReference(model, tokens, batch=batch)
    results = []
    for ranks, metric in plans:
        with truncated(model, statistics, ranks, metric) as predicted:
            results.append(reference.compare(predicted))
    return results


class DenseReference:
    """What the dense model says on held-out tokens, kept so that truncations can be compared with it.

    It keeps the log-probabilities of all tokens: 4 bytes × tokens × vocabulary (0.8 GB for 4,096 tokens of SmolLM2).
    """

    def __init__(self, model: LanguageModel, tokens: torch.Tensor, *, batch: int = 2) -> None:
        """Run the dense model.

        Args:
            model: Before any truncation.
            tokens: ``[blocks, length]`` int64.
            batch: Blocks per pass.
        """
        self._model = model
        self._targets = [tokens[start : start + batch].to(model.device) for start in range(0, tokens.shape[0], batch)]
        self._dense = [log_probabilities(model, block) for block in self._targets]
        self._count = sum(block[:, 1:].numel() for block in self._targets)
        pairs = zip(self._dense, self._targets, strict=True)
        self._entropy = sum(_negative_log_likelihood(*pair) for pair in pairs) / self._count

    @property
    def count(self) -> int:
        """Return how many tokens are predicted."""
        return self._count

    def batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the dense log-probabilities ``[batch, length − 1, vocabulary]`` and the tokens of each batch."""
        yield from zip(self._dense, self._targets, strict=True)

    def compare(self, second_order: float, model: LanguageModel | None = None) -> TruncationLoss:
        """Measure the model as it is now, within :func:`truncated`, or another one, against the dense one.

        Args:
            second_order: What :func:`truncated` predicts; kept in the result.
            model: The other one, with the same tokens.
        """
        divergence = entropy = 0.0
        for reference, block in zip(self._dense, self._targets, strict=True):
            now = log_probabilities(model or self._model, block)
            entropy += _negative_log_likelihood(now, block)
            for pair in zip(reference, now, strict=True):
                for before, after in zip(*(torch.split(values, ROWS) for values in pair), strict=True):
                    divergence += float(((before - after).mul_(before.exp())).sum(dim=-1).double().sum())
        return TruncationLoss(second_order, divergence / self._count, entropy / self._count, self._entropy, self._count)


def _negative_log_likelihood(log_probability: torch.Tensor, block: torch.Tensor) -> float:
    return -float(log_probability.gather(-1, block[:, 1:, None]).double().sum())
