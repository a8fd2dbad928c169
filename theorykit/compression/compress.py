"""From a model and a budget to a smaller model: moments, measured prices, ranks, factors, and what they cost."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from theorykit.arguments import Progress
from theorykit.compression.checkpoint import low_rank_layers, mark
from theorykit.compression.gauge_free import gauge_free_factors
from theorykit.compression.healing import HealingSettings, heal
from theorykit.compression.linear import GaugeFreeLinear, is_replaceable, replace_layers
from theorykit.compression.prices import PricedLayer, allocated_ranks, measured_shares, scales_of
from theorykit.compression.report import CompressedLayer, CompressionReport, Healing, Interval, TextLoss
from theorykit.compression.request import (
    DTYPES,
    HealingLength,
    PieceSizes,
    read_healing,
    require_dtype,
    require_multiple,
    require_share,
)
from theorykit.compression.texts import Text, TextPieces, default_texts, own_pieces, text_pieces
from theorykit.errors import InputError
from theorykit.models.calibration import collect_statistics, why_left_out
from theorykit.models.language_model import LanguageModel, context_length
from theorykit.models.layers import LinearLayer
from theorykit.models.statistics import LayerStatistics
from theorykit.models.truncation import DenseReference, truncated
from theorykit.rank_selection.objective import degrees_of_freedom

TORCH_DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in DTYPES}
_ROUNDS = 2
_SMALLEST = 2


@dataclass(frozen=True)
class CompressionSettings:
    """How a model is compressed.

    Attributes:
        sizes: Blocks of each kind of text for moments, prices, judging and healing.
        own_text: Whether the model writes a kind of text of its own.
        rank_multiple: Ranks are multiples of it.
        heal: How long the factors are distilled from the dense model; None for not at all.
        healing: How they are.
        seed: Of the labels, of the model's own text and of the order of healing.
    """

    sizes: PieceSizes = field(default_factory=PieceSizes)
    own_text: bool = True
    rank_multiple: int = 8
    heal: HealingLength | None = None
    healing: HealingSettings = field(default_factory=HealingSettings)
    seed: int = 0


@dataclass(frozen=True, eq=False)
class CompressionPlan:
    """What is known before any layer is replaced.

    Attributes:
        ranks: Of the layers to be replaced.
        layers: All linear layers with their ranks and scales.
        predicted_kl: KL of the truncated model by kind of text, on the text for prices, nats per token.
        statistics: Moments of the dense model.
        pieces: Of every kind of text.
        seconds: By stage.
    """

    ranks: dict[str, int]
    layers: tuple[CompressedLayer, ...]
    predicted_kl: dict[str, float]
    statistics: list[LayerStatistics]
    pieces: tuple[TextPieces, ...]
    seconds: dict[str, float]


class _Stages:
    """Tells progress and counts the seconds of each stage."""

    def __init__(self, progress: Progress | None) -> None:
        self.seconds: dict[str, float] = {}
        self._progress = progress or (lambda *_: None)

    @contextmanager
    def stage(self, name: str) -> Iterator[Any]:
        start = time.monotonic()
        self._progress(name, 0, 1)
        yield lambda done, count, *_: self._progress(name, done, count)
        self._progress(name, 1, 1)
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - start


def compress(
    model: LanguageModel,
    text: Text | Sequence[Text] | None = None,
    *,
    budget: float = 0.8,
    dtype: str = "float32",
    heal_for: str | None = None,
    settings: CompressionSettings | None = None,
    judged_on: Sequence[Text] = (),
    progress: Progress | None = None,
) -> tuple[LanguageModel, CompressionReport]:
    """Replace the linear layers of a model by layers of smaller rank, at least loss within a budget of numbers.

    Ranks are dealt out by the second-order loss of each layer (Fisher-whitened singular values), scaled by the measured
    KL that the layer causes; a layer of rank r stores r(m + n − r) numbers. The model that is given stays as it is.

    Args:
        model: From :func:`theorykit.models.language_model.load_language_model`.
        text: Kinds of text for the calibration; prose and documentation that are always there if None.
        budget: Share of the numbers of the linear layers to keep, in (0, 1].
        dtype: In which the numbers will be stored: ``"float32"``, ``"float16"`` or ``"bfloat16"``. Losses are those of
            the numbers after rounding.
        heal_for: ``"30m"``, ``"500steps"`` or ``"2Mtokens"`` of distillation from the dense model.
        settings: Defaults if None.
        judged_on: Further kinds of text on which only losses are measured.
        progress: Called with (what is being done, steps done, steps in all).

    Returns:
        The smaller model, in float32 arithmetic, and the report.

    Raises:
        InputError: the budget is out of reach, a text is too short, or no layer can be replaced.
        CalibrationError: no gradient reaches a layer.
        NonFiniteError: NaN or infinite weights or activations.

    References:
        Martens & Grosse (2015), Optimizing neural networks with Kronecker-factored approximate curvature, ICML, for
        the second-order loss. Hinton, Vinyals & Dean (2015) for the distillation.
    """
    settings = settings or CompressionSettings()
    if heal_for is not None:
        settings = replace(settings, heal=read_healing(heal_for))
    kind = TORCH_DTYPES[require_dtype(dtype)]
    stages = _Stages(progress)
    further = [_judging_piece(model, kind, settings.sizes) for kind in judged_on]
    plan = plan_compression(model, text, budget=budget, settings=settings, stages=stages)
    with stages.stage("replacing layers") as step:
        student = _replaced(model, plan, kind, step)
    healing = _healed(model, student, plan, settings, stages) if settings.heal else None
    if healing:
        _round_to(student.module, kind)
    with stages.stage("measuring on held-out text"):
        losses = [text_loss(model, student, kind, calibrated=True) for kind in plan.pieces]
        losses += [text_loss(model, student, kind, calibrated=False) for kind in further]
    # where the weights have a smaller rank than was chosen, the layer has that
    ranks = {name: layer.rank for name, layer in low_rank_layers(student.module).items()}
    layers = tuple(
        replace(layer, rank=ranks[layer.name], numbers=int(degrees_of_freedom(layer.shape, ranks[layer.name])))
        if layer.name in ranks
        else layer
        for layer in plan.layers
    )
    plan = replace(plan, ranks=ranks, layers=layers)
    report = _report(model, student, plan, budget, dtype, losses, healing, settings.seed, stages.seconds)
    mark(student.module)
    return student, report


def plan_compression(
    model: LanguageModel,
    text: Text | Sequence[Text] | None = None,
    *,
    budget: float = 0.8,
    settings: CompressionSettings | None = None,
    stages: _Stages | None = None,
) -> CompressionPlan:
    """Choose the ranks of :func:`compress`, whose arguments and errors these are, without replacing a layer."""
    settings, stages = settings or CompressionSettings(), stages or _Stages(None)
    share, multiple = require_share(budget), require_multiple(settings.rank_multiple)
    settings = replace(settings, sizes=_fitting(model, settings.sizes))
    held = unreplaceable(model)
    _require_reachable(model, share, multiple, held)
    generator = torch.Generator().manual_seed(settings.seed)
    texts = [text] if isinstance(text, Text) else list(text or default_texts())
    pieces = [text_pieces(model, kind, settings.sizes) for kind in texts]
    if settings.own_text:
        with stages.stage("writing text of its own"):
            pieces.append(own_pieces(model, pieces, settings.sizes, generator=generator))
    moments = torch.cat([kind.moments for kind in pieces])
    with stages.stage("calibrating") as step:
        statistics = collect_statistics(model, moments, generator=generator, progress=step)
    linear = [layer for layer in model.source.layers if layer.factorable]
    held |= {name: why for name, why in why_left_out(model, statistics).items() if name not in held}
    with stages.stage("spectra") as step:
        priced = list(_priced(statistics, held, step))
    if not priced:
        raise InputError(
            f"{model.name} has no layer that can be replaced: {next(iter(held.values()), 'it has no linear layer')}",
            "rank-select shows what its layers are",
        )
    everything = sum(layer.parameters for layer in linear)
    fixed = everything - sum(math.prod(layer.shape) for layer in priced)
    allowed = share * everything - fixed
    with stages.stage("measuring prices") as step:
        references = {kind.name: DenseReference(model, kind.prices) for kind in pieces}
        ranks, scales, predicted = _priced_ranks(model, statistics, priced, allowed, references, multiple, step)
    layers = tuple(_described(layer, ranks, scales, held) for layer in linear)
    return CompressionPlan(ranks, layers, predicted, statistics, tuple(pieces), stages.seconds)


def _fitting(model: LanguageModel, sizes: PieceSizes) -> PieceSizes:
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
    model: LanguageModel,
    statistics: list[LayerStatistics],
    layers: list[PricedLayer],
    allowed: float,
    references: Mapping[str, DenseReference],
    multiple: int,
    step: Any,
) -> tuple[dict[str, int], dict[str, float], dict[str, float]]:
    """Allocate, measure what each layer costs there, allocate again; keep what costs least on these tokens.

    A layer given more rank looks cheap and would lose it again in the next round: the larger of its scales stays.
    """
    scales = {layer.name: 1.0 for layer in layers}
    ranks = allocated_ranks(layers, allowed, scales, multiple=multiple)
    best = (ranks, scales, _divergences(model, statistics, ranks, references))
    for index in range(_ROUNDS if ranks else 0):
        shares = measured_shares(model, statistics, ranks, list(references.values()))
        measured = scales_of(layers, ranks, shares)
        scales = measured if index == 0 else {name: max(scale, measured[name]) for name, scale in scales.items()}
        ranks = allocated_ranks(layers, allowed, scales, multiple=multiple)
        step(index + 1, _ROUNDS)
        divergences = _divergences(model, statistics, ranks, references)
        if sum(divergences.values()) >= sum(best[2].values()):
            break
        best = (ranks, scales, divergences)
    return best


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


def _replaced(model: LanguageModel, plan: CompressionPlan, dtype: torch.dtype, step: Any) -> LanguageModel:
    """Return a copy of the model with its layers replaced, all its numbers rounded to a type."""
    owners = {name: model.module.get_submodule(name) for name in plan.ranks}
    # dense matrices that are replaced are not copied
    shared = {id(owner.weight): owner.weight for owner in owners.values()}
    module = copy.deepcopy(model.module, shared)
    parts = {part.name: part for part in plan.statistics}
    new: dict[str, torch.nn.Module] = {}
    for index, (name, rank) in enumerate(plan.ranks.items()):
        part, owner = parts[name], owners[name]
        left, right = (side.cpu().numpy() for side in part.factors(part.projector("fisher", rank)))
        new[name] = GaugeFreeLinear.of(gauge_free_factors(left, right), owner)
        step(index + 1, len(plan.ranks))
    replace_layers(module, new)
    module.eval()
    _round_to(module, dtype)
    return LanguageModel(f"{model.name}, compressed", module, model.tokenizer, model.device)


def _round_to(module: torch.nn.Module, dtype: torch.dtype) -> None:
    """Round all numbers to what a type can hold, so that losses are those of the file."""
    if dtype != torch.float32:
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(parameter.to(dtype))


def _healed(
    model: LanguageModel,
    student: LanguageModel,
    plan: CompressionPlan,
    settings: CompressionSettings,
    stages: _Stages,
) -> Healing | None:
    assert settings.heal is not None
    if not plan.ranks:
        return None
    training = torch.cat([part for kind in plan.pieces for part in (kind.moments, kind.healing)])
    held_out = torch.cat([kind.prices for kind in plan.pieces])
    generator = torch.Generator().manual_seed(settings.seed + 1)
    with stages.stage("healing") as step:
        return heal(
            model,
            student,
            training,
            held_out,
            settings.heal,
            generator=generator,
            settings=settings.healing,
            progress=lambda done: step(round(1000 * done), 1000),
        )


def _judging_piece(model: LanguageModel, text: Text, sizes: PieceSizes) -> TextPieces:
    """Return a kind of text that is only judged on."""
    return text_pieces(model, text, replace(_fitting(model, sizes), moments=0, prices=0, healing=0))


def text_loss(dense: LanguageModel, compressed: LanguageModel, kind: TextPieces, *, calibrated: bool) -> TextLoss:
    """Measure the losses of two models on the judging piece of a text, with intervals over its blocks."""
    dense_losses, losses, divergences = [], [], []
    for block in torch.split(kind.judging, 1):
        before = DenseReference(dense, block)
        result = before.compare(0.0, compressed)
        dense_losses.append(result.dense_cross_entropy)
        losses.append(result.cross_entropy)
        divergences.append(result.kl)
    return TextLoss(
        kind.name,
        kind.sha256,
        kind.judging[:, 1:].numel(),
        calibrated,
        Interval.of_blocks(dense_losses).exp(),
        Interval.of_blocks(losses).exp(),
        Interval.of_blocks([after - before for before, after in zip(dense_losses, losses, strict=True)]).exp(),
        Interval.of_blocks(divergences),
    )


def _report(
    model: LanguageModel,
    student: LanguageModel,
    plan: CompressionPlan,
    budget: float,
    dtype: str,
    losses: list[TextLoss],
    healing: Healing | None,
    seed: int,
    seconds: dict[str, float],
) -> CompressionReport:
    before, after = (sum(part.numel() for part in side.module.parameters()) for side in (model, student))
    size = torch.finfo(TORCH_DTYPES[dtype]).bits // 8
    positions = sum(layer.position.numel() * 4 for layer in low_rank_layers(student.module).values())
    return CompressionReport(
        model=model.name,
        budget=budget,
        layers=plan.layers,
        parameters_before=before,
        parameters_after=after,
        linear_before=sum(math.prod(layer.shape) for layer in plan.layers),
        linear_after=sum(layer.numbers for layer in plan.layers),
        bytes_before=size * before,
        bytes_after=size * after + positions,
        dtype=dtype,
        predicted_kl=plan.predicted_kl,
        losses=tuple(losses),
        healing=healing,
        calibration={kind.name: kind.moments.numel() for kind in plan.pieces},
        seed=seed,
        seconds={name: round(value, 1) for name, value in seconds.items()},
        warnings=_warnings(plan),
    )


def _warnings(plan: CompressionPlan) -> tuple[str, ...]:
    held = [layer for layer in plan.layers if layer.reason]
    everything = sum(math.prod(layer.shape) for layer in plan.layers)
    sentences = []
    for reason in dict.fromkeys(layer.reason for layer in held):
        sizes = [math.prod(layer.shape) for layer in held if layer.reason == reason]
        stay = "1 linear layer stays" if len(sizes) == 1 else f"{len(sizes)} linear layers stay"
        sentences.append(f"{stay} dense ({sum(sizes) / everything:.1%} of the linear numbers): {reason}.")
    return tuple(sentences)
