"""Which rank each layer of a model gets within a budget: text, moments, measured prices, allocation."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from theorykit.arguments import Progress
from theorykit.compression.linear import is_replaceable
from theorykit.compression.prices import PricedLayer, allocated_ranks, measured_shares, scales_of
from theorykit.compression.report import CompressedLayer
from theorykit.compression.request import CompressionSettings, PieceSizes, require_multiple, require_share
from theorykit.compression.texts import Text, TextPieces, default_texts, own_pieces, text_pieces
from theorykit.errors import InputError
from theorykit.models.calibration import collect_statistics, why_left_out
from theorykit.models.language_model import LanguageModel, context_length
from theorykit.models.layers import LinearLayer
from theorykit.models.statistics import LayerStatistics
from theorykit.models.truncation import DenseReference, truncated
from theorykit.rank_selection.objective import degrees_of_freedom, estimation_loss

_ROUNDS = 2
_SMALLEST = 2


class Stages:
    """Tells progress and counts the seconds of each stage.

    Attributes:
        seconds: By stage.
    """

    def __init__(self, progress: Progress | None) -> None:
        self.seconds: dict[str, float] = {}
        self._progress = progress or (lambda *_: None)

    @contextmanager
    def stage(self, name: str) -> Iterator[Any]:
        """Give a function of (steps done, steps in all) for the time of a stage."""
        start = time.monotonic()
        self._progress(name, 0, 1)
        yield lambda done, count, *_: self._progress(name, done, count)
        self._progress(name, 1, 1)
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - start


@dataclass(frozen=True, eq=False)
class CompressionPlan:
    """What is known before any layer is replaced.

    Attributes:
        ranks: Of the layers to be replaced.
        layers: All linear layers with their ranks and scales.
        predicted_kl: KL of the truncated model by kind of text, on the text for prices, nats per token.
        binding: What decides: ``"budget"``, ``"samples"`` or ``"none"`` (nothing is taken away).
    """

    ranks: dict[str, int]
    layers: tuple[CompressedLayer, ...]
    predicted_kl: dict[str, float]
    binding: str


@dataclass(frozen=True, eq=False)
class PreparedModel:
    """A model with all that ranks are chosen by, for one budget or several.

    Attributes:
        model: The dense model.
        settings: With sizes that fit the model.
        pieces: Of every kind of text.
        statistics: Moments of the layers.
        priced: What allocation knows of the layers that may be replaced.
        held: The layers that may not, each with the reason.
        references: What the model says on the text for prices, by kind of text.
    """

    model: LanguageModel
    settings: CompressionSettings
    pieces: tuple[TextPieces, ...]
    statistics: list[LayerStatistics]
    priced: list[PricedLayer]
    held: Mapping[str, str]
    references: Mapping[str, DenseReference]

    def plan(self, budget: float, *, stages: Stages | None = None) -> CompressionPlan:
        """Choose the ranks of least loss within a budget.

        Args:
            budget: Share of the numbers of the linear layers to keep, in (0, 1].
            stages: Told of progress.

        Raises:
            InputError: the budget is out of reach.
        """
        share = require_share(budget)
        multiple = require_multiple(self.settings.rank_multiple)
        _require_reachable(self.model, share, multiple, self.held)
        linear = [layer for layer in self.model.source.layers if layer.factorable]
        everything = sum(layer.parameters for layer in linear)
        fixed = everything - sum(math.prod(layer.shape) for layer in self.priced)
        with (stages or Stages(None)).stage("measuring prices") as step:
            ranks, scales, predicted = _priced_ranks(self, share * everything - fixed, step)
        layers = tuple(_described(layer, ranks, scales, self.held) for layer in linear)
        return CompressionPlan(ranks, layers, predicted, self._binding(ranks, scales, predicted))

    def allocate(self, allowed: float, scales: Mapping[str, float], kl: float) -> dict[str, int]:
        """Return ranks of least loss, that of learning from the samples included.

        Args:
            allowed: Numbers of the priced layers together.
            scales: Measured loss over predicted loss by layer name.
            kl: Of the truncated model, nats per token, for the noise of its targets; infinite where it is not known.
        """
        multiple, estimation = self.settings.rank_multiple, self._estimation(kl)
        return allocated_ranks(self.priced, allowed, scales, multiple=multiple, estimation=estimation)

    def _estimation(self, kl: float) -> float:
        samples = self.settings.samples
        if samples is None:
            return 0.0
        return float(estimation_loss(1, samples.n_tokens, self.settings.objective.noise_share(kl)))

    def _binding(self, ranks: Mapping[str, int], scales: Mapping[str, float], predicted: Mapping[str, float]) -> str:
        if not ranks:
            return "none"
        if self.settings.samples is None:
            return "budget"
        everything = float(sum(math.prod(layer.shape) for layer in self.priced))
        unlimited = self.allocate(everything, scales, _mean(predicted))
        return "samples" if unlimited == ranks else "budget"


def prepare_compression(
    model: LanguageModel,
    text: Text | Sequence[Text] | None = None,
    *,
    settings: CompressionSettings | None = None,
    budget: float | None = None,
    stages: Stages | None = None,
) -> PreparedModel:
    """Read the texts, collect the moments and take the spectra: what all budgets share.

    Args:
        model: From :func:`theorykit.models.language_model.load_language_model`.
        text: Kinds of text for the calibration; prose and documentation that are always there if None.
        settings: Defaults if None.
        budget: One that is to be planned for; refused here, before the minutes of a calibration, if out of reach.
        stages: Told of progress.

    Raises:
        InputError: the budget is out of reach, a text is too short, or no layer can be replaced.
        CalibrationError: no gradient reaches a layer.
        NonFiniteError: NaN or infinite weights or activations.
    """
    settings, stages = settings or CompressionSettings(), stages or Stages(None)
    multiple = require_multiple(settings.rank_multiple)
    settings = replace(settings, sizes=fitting_sizes(model, settings.sizes))
    held = unreplaceable(model)
    if budget is not None:
        _require_reachable(model, require_share(budget), multiple, held)
    generator = torch.Generator().manual_seed(settings.seed)
    pieces = calibration_pieces(
        model, text, settings.sizes, own_text=settings.own_text, generator=generator, stages=stages
    )
    moments = torch.cat([kind.moments for kind in pieces])
    with stages.stage("calibrating") as step:
        statistics = collect_statistics(model, moments, generator=generator, progress=step)
    held |= {name: why for name, why in why_left_out(model, statistics).items() if name not in held}
    with stages.stage("spectra") as step:
        priced = list(_priced(statistics, held, step))
    if not priced:
        raise InputError(
            f"{model.name} has no layer that can be replaced: {next(iter(held.values()), 'it has no linear layer')}",
            "rank-select shows what its layers are",
        )
    with stages.stage("the dense model's predictions"):
        references = {kind.name: DenseReference(model, kind.prices) for kind in pieces}
    return PreparedModel(model, settings, tuple(pieces), statistics, priced, held, references)


def calibration_pieces(
    model: LanguageModel,
    text: Text | Sequence[Text] | None,
    sizes: PieceSizes,
    *,
    own_text: bool,
    generator: torch.Generator,
    stages: Stages,
) -> list[TextPieces]:
    """Cut the texts of a calibration into pieces, and let the model write one more where it is to."""
    texts = [text] if isinstance(text, Text) else list(text or default_texts())
    pieces = [text_pieces(model, kind, sizes) for kind in texts]
    if own_text:
        with stages.stage("writing text of its own"):
            pieces.append(own_pieces(model, pieces, sizes, generator=generator))
    return pieces


def fitting_sizes(model: LanguageModel, sizes: PieceSizes) -> PieceSizes:
    """Return shorter blocks, and more of them, for a model that cannot read whole ones."""
    longest = context_length(model)
    if longest is None or longest >= sizes.block:
        return sizes
    block = 2 ** (longest.bit_length() - 1)
    more = max(1, sizes.block // block)
    counts = {name: more * getattr(sizes, name) for name in ("moments", "prices", "judging", "healing")}
    return PieceSizes(block, **counts)


def _require_reachable(model: LanguageModel, share: float, multiple: int, held: Mapping[str, str]) -> None:
    """Raise, before minutes of calibration, where what stays dense leaves too little of the budget for the others."""
    linear = [layer for layer in model.source.layers if layer.factorable]
    everything = sum(layer.parameters for layer in linear)
    dense = [layer for layer in linear if layer.name in held]
    least = sum(layer.parameters for layer in dense)
    for layer in linear:
        if layer.name not in held:
            least += int(degrees_of_freedom(layer.shape, min(multiple, *layer.shape)))
    if share * everything >= least:
        return
    reasons = "; ".join(sorted({held[layer.name] for layer in dense}))
    kept = sum(layer.parameters for layer in dense) / everything if everything else 1.0
    why = f", since {kept:.1%} of the linear numbers stay dense ({reasons})" if dense else ""
    raise InputError(
        f"budget = {share:g} is below {least / everything:.3f}, the least that can be kept at ranks of {multiple}{why}",
        f"give --budget {min(1.0, np.ceil(1000 * least / everything) / 1000):g} or more, or a smaller rank multiple",
    )


def unreplaceable(model: LanguageModel) -> dict[str, str]:
    """Return the linear layers that cannot be replaced by one of smaller rank, each with the reason."""
    owners: dict[int, list[str]] = {}
    for path, owner in model.module.named_modules(remove_duplicate=False):
        owners.setdefault(id(owner), []).append(path)
    users: dict[int, int] = {}
    for _, parameter in model.module.named_parameters(remove_duplicate=False):
        users[id(parameter)] = users.get(id(parameter), 0) + 1
    reasons = {}
    for layer in model.source.layers:
        if not layer.factorable:
            continue
        owner = _owner(model, layer)
        if owner is None:
            reasons[layer.name] = "its matrix lies in no plain linear layer"
        elif len(owners[id(owner)]) > 1 or users[id(owner.weight)] > 1:
            reasons[layer.name] = "several parts of the model share it"
        elif min(layer.shape) < _SMALLEST:
            reasons[layer.name] = "it is a vector"
    return reasons


def _owner(model: LanguageModel, layer: LinearLayer) -> Any:
    """Return the plain linear layer that holds the matrix and nothing else, or None."""
    if layer.stack > 1 or layer.tensor != f"{layer.name}.weight":
        return None
    owner = model.module.get_submodule(layer.name)
    return owner if is_replaceable(owner) else None


def _priced(statistics: list[LayerStatistics], held: Mapping[str, str], step: Any) -> Iterator[PricedLayer]:
    parts = [part for part in statistics if part.name not in held]
    for index, part in enumerate(parts):
        yield PricedLayer(part.name, part.shape, part.whitened_spectrum("fisher").predicted_losses)
        step(index + 1, len(parts))


def _priced_ranks(
    prepared: PreparedModel, allowed: float, step: Any
) -> tuple[dict[str, int], dict[str, float], dict[str, float]]:
    """Allocate, measure what each layer costs there, allocate again; keep what costs least on these tokens.

    A layer given more rank looks cheap and would lose it again in the next round: the larger of its scales stays.
    """
    model, statistics, layers = prepared.model, prepared.statistics, prepared.priced
    references = prepared.references
    scales = {layer.name: 1.0 for layer in layers}
    ranks = prepared.allocate(allowed, scales, math.inf)
    best = (ranks, scales, _divergences(model, statistics, ranks, references))
    for index in range(_ROUNDS if ranks else 0):
        shares = measured_shares(model, statistics, ranks, list(references.values()))
        measured = scales_of(layers, ranks, shares)
        scales = measured if index == 0 else {name: max(scale, measured[name]) for name, scale in scales.items()}
        ranks = prepared.allocate(allowed, scales, _mean(best[2]))
        step(index + 1, _ROUNDS)
        divergences = _divergences(model, statistics, ranks, references)
        if sum(divergences.values()) >= sum(best[2].values()):
            break
        best = (ranks, scales, divergences)
    return best


def _mean(divergences: Mapping[str, float]) -> float:
    return float(np.mean(list(divergences.values())))


def _divergences(
    model: LanguageModel,
    statistics: list[LayerStatistics],
    ranks: Mapping[str, int],
    references: Mapping[str, DenseReference],
) -> dict[str, float]:
    """Return KL(dense ‖ truncated) by kind of text, nats per token."""
    with truncated(model, statistics, ranks, "fisher") as predicted:
        return {name: reference.compare(predicted).kl for name, reference in references.items()}


def _described(
    layer: LinearLayer,
    ranks: Mapping[str, int],
    scales: Mapping[str, float],
    held: Mapping[str, str],
) -> CompressedLayer:
    rank = ranks.get(layer.name)
    numbers = layer.parameters if rank is None else int(degrees_of_freedom(layer.shape, rank))
    return CompressedLayer(layer.name, layer.shape, rank, numbers, scales.get(layer.name), held.get(layer.name, ""))
