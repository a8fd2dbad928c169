"""From a model and a budget to a smaller model, and what it costs."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from theorykit.arguments import Progress
from theorykit.compression.checkpoint import low_rank_layers, mark
from theorykit.compression.gauge_free import gauge_free_factors
from theorykit.compression.healing import heal
from theorykit.compression.linear import GaugeFreeLinear, replace_layers
from theorykit.compression.planning import (
    CompressionPlan,
    PreparedModel,
    Stages,
    fitting_sizes,
    prepare_compression,
)
from theorykit.compression.report import CompressionReport, Healing, Interval, TextLoss
from theorykit.compression.request import (
    DTYPES,
    CompressionSettings,
    PieceSizes,
    read_healing,
    require_dtype,
    require_share,
)
from theorykit.compression.texts import Text, TextPieces, text_pieces
from theorykit.models.language_model import LanguageModel
from theorykit.models.truncation import DenseReference
from theorykit.rank_selection.objective import degrees_of_freedom

TORCH_DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in DTYPES}


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
    require_share(budget)
    require_dtype(dtype)
    stages = Stages(progress)
    further = _judging_pieces(model, judged_on, settings.sizes)
    prepared = prepare_compression(model, text, settings=settings, budget=budget, stages=stages)
    return _compressed(prepared, budget, dtype, further, stages)


def compress_prepared(
    prepared: PreparedModel,
    *,
    budget: float = 0.8,
    dtype: str = "float32",
    judged_on: Sequence[Text] = (),
    progress: Progress | None = None,
) -> tuple[LanguageModel, CompressionReport]:
    """Compress a model that is calibrated already (:func:`theorykit.compression.planning.prepare_compression`).

    Arguments, results and errors are those of :func:`compress`. The seconds of the report begin here.
    """
    require_share(budget)
    require_dtype(dtype)
    further = _judging_pieces(prepared.model, judged_on, prepared.settings.sizes)
    return _compressed(prepared, budget, dtype, further, Stages(progress))


def _compressed(
    prepared: PreparedModel, budget: float, dtype: str, further: Sequence[TextPieces], stages: Stages
) -> tuple[LanguageModel, CompressionReport]:
    model = prepared.model
    plan = prepared.plan(budget, stages=stages)
    with stages.stage("replacing layers") as step:
        student = _replaced(prepared, plan, TORCH_DTYPES[dtype], step)
    healing = _healed(prepared, student, plan, stages)
    if healing:
        _round_to(student.module, TORCH_DTYPES[dtype])
    with stages.stage("measuring on held-out text"):
        losses = [text_loss(model, student, kind, calibrated=True) for kind in prepared.pieces]
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
    report = _report(prepared, student, plan, budget, dtype, losses, healing, further, stages.seconds)
    mark(student.module)
    return student, report


def _replaced(prepared: PreparedModel, plan: CompressionPlan, dtype: torch.dtype, step: Any) -> LanguageModel:
    """Return a copy of the model with its layers replaced, all its numbers rounded to a type."""
    model = prepared.model
    owners = {name: model.module.get_submodule(name) for name in plan.ranks}
    # dense matrices that are replaced are not copied
    shared = {id(owner.weight): owner.weight for owner in owners.values()}
    module = copy.deepcopy(model.module, shared)
    parts = {part.name: part for part in prepared.statistics}
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


def _healed(prepared: PreparedModel, student: LanguageModel, plan: CompressionPlan, stages: Stages) -> Healing | None:
    settings = prepared.settings
    if settings.heal is None or not plan.ranks:
        return None
    training = torch.cat([part for kind in prepared.pieces for part in (kind.moments, kind.healing)])
    held_out = torch.cat([kind.prices for kind in prepared.pieces])
    generator = torch.Generator().manual_seed(settings.seed + 1)
    with stages.stage("healing") as step:
        return heal(
            prepared.model,
            student,
            training,
            held_out,
            settings.heal,
            generator=generator,
            settings=settings.healing,
            progress=lambda done: step(round(1000 * done), 1000),
        )


def _judging_pieces(model: LanguageModel, texts: Sequence[Text], sizes: PieceSizes) -> list[TextPieces]:
    """Return kinds of text that are only judged on."""
    judging = replace(fitting_sizes(model, sizes), moments=0, prices=0, healing=0)
    return [text_pieces(model, text, judging) for text in texts]


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
    prepared: PreparedModel,
    student: LanguageModel,
    plan: CompressionPlan,
    budget: float,
    dtype: str,
    losses: list[TextLoss],
    healing: Healing | None,
    further: Sequence[TextPieces],
    seconds: dict[str, float],
) -> CompressionReport:
    model = prepared.model
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
        binding=plan.binding,
        samples=prepared.settings.samples,
        predicted_kl=plan.predicted_kl,
        losses=tuple(losses),
        healing=healing,
        calibration={kind.name: kind.moments.numel() for kind in prepared.pieces},
        seed=prepared.settings.seed,
        seconds={name: round(value, 1) for name, value in seconds.items()},
        warnings=_warnings(plan, (*prepared.pieces, *further)),
    )


def _warnings(plan: CompressionPlan, pieces: Sequence[TextPieces]) -> tuple[str, ...]:
    held = [layer for layer in plan.layers if layer.reason]
    everything = sum(math.prod(layer.shape) for layer in plan.layers)
    sentences = []
    for reason in dict.fromkeys(layer.reason for layer in held):
        sizes = [math.prod(layer.shape) for layer in held if layer.reason == reason]
        stay = "1 linear layer stays" if len(sizes) == 1 else f"{len(sizes)} linear layers stay"
        sentences.append(f"{stay} dense ({sum(sizes) / everything:.1%} of the linear numbers): {reason}.")
    sentences += [
        f"{kind.name} has {kind.tokens_per_character:.2g} tokens per character: the tokenizer knows none of its words, "
        "and what is measured on it says little."
        for kind in pieces
        if kind.is_broken_up
    ]
    return tuple(sentences)
