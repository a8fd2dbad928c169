"""What a fine-tuning changed, as an adapter of small rank: ranks of W − W₀ by layer, and the adapter for peft."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from theorykit.arguments import Progress
from theorykit.compression.checkpoint import write_folder
from theorykit.compression.compress import judging_pieces, text_loss
from theorykit.compression.planning import Stages, calibration_pieces, fitting_sizes
from theorykit.compression.report import CompressedLayer, TextLoss
from theorykit.compression.request import CompressionSettings, require_multiple, require_share
from theorykit.compression.texts import Text
from theorykit.errors import InputError
from theorykit.models.calibration import collect_statistics
from theorykit.models.language_model import LanguageModel
from theorykit.models.module_layers import matrix_of
from theorykit.models.skeleton import skeleton_like
from theorykit.models.statistics import LayerStatistics
from theorykit.rank_selection.adapters import Target, checked_lora_arguments
from theorykit.rank_selection.allocation import LayerOptions, allocate
from theorykit.results import Result, to_json

if TYPE_CHECKING:
    import pandas as pd

_STACKED = "its matrix is one of a stack"
_UNCHANGED = "the fine-tuning did not change it"
_UNSEEN = "its products with the text were not seen"
_NEGLIGIBLE = 1e-6
"""Of the loss of leaving a layer's whole change out: what is below is rounding of the two stored matrices."""


@dataclass(frozen=True, repr=False)
class DifferenceReport(Result):
    """What an adapter holds of a fine-tuning.

    Attributes:
        model: The fine-tuned model.
        base: The model that it was made from.
        budget: Share of the linear numbers that the adapter may hold.
        layers: All linear layers, with the rank of their adapter; None where they get none.
        linear: Numbers of the linear layers.
        numbers: Of the adapter, r(m + n) by layer.
        predicted_kl: Second-order loss of what is left out, nats per token.
        losses: Of the base with the adapter against the fine-tuned model, on text that nothing was chosen on.
        losses_of_base: Of the base alone against it.
        left_out: Parameters that differ and that no adapter holds: embeddings, norms, biases, stacked matrices.
        warnings: For the reader.
    """

    model: str
    base: str
    budget: float
    layers: tuple[CompressedLayer, ...]
    linear: int
    numbers: int
    predicted_kl: float
    losses: tuple[TextLoss, ...]
    losses_of_base: tuple[TextLoss, ...]
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def ranks(self) -> dict[str, int]:
        """Return the rank of every layer with an adapter."""
        return {layer.name: layer.rank for layer in self.layers if layer.rank is not None}

    @property
    def share(self) -> float:
        """Return the numbers of the adapter over those of the linear layers."""
        return self.numbers / self.linear

    def to_frame(self) -> pd.DataFrame:
        """Return one row per layer."""
        import pandas as pd

        return pd.DataFrame([{"layer": part.name, "rank": part.rank, "reason": part.reason} for part in self.layers])


def compress_difference(
    model: LanguageModel,
    base: LanguageModel,
    text: Text | Sequence[Text] | None = None,
    *,
    budget: float = 0.1,
    settings: CompressionSettings | None = None,
    judged_on: Sequence[Text] = (),
    progress: Progress | None = None,
) -> tuple[Any, DifferenceReport]:
    """Find the adapter of a size that loses least of what a fine-tuning changed.

    The second-order loss of leaving D out of W₀ + (W − W₀) is ½ tr(G D A Dᵀ), A and G the moments of the fine-tuned
    model: the best D of each rank is a truncation of W − W₀ in that norm, and ranks are allocated over the layers.

    Args:
        model: The fine-tuned one.
        base: What it was made from: the same layers, the same tokenizer.
        text: Kinds of text for the calibration; prose and documentation if None.
        budget: Numbers of the adapter as a share of those of the linear layers, in (0, 1].
        settings: Defaults if None. Ranks are multiples of ``rank_multiple``; nothing is healed.
        judged_on: Further kinds of text on which only losses are measured.
        progress: Called with (what is being done, steps done, steps in all).

    Returns:
        The base as a ``peft.PeftModel`` with the adapter, and the report.

    Raises:
        InputError: the models have other layers, nothing differs, the budget holds no adapter, or peft is missing.
    """
    settings, stages = settings or CompressionSettings(), Stages(progress)
    share, multiple = require_share(budget), require_multiple(settings.rank_multiple)
    changes, reasons, left_out = _changes(model, base)
    sizes = fitting_sizes(model, settings.sizes)
    generator = torch.Generator().manual_seed(settings.seed)
    pieces = calibration_pieces(model, text, sizes, own_text=settings.own_text, generator=generator, stages=stages)
    further = judging_pieces(model, judged_on, settings.sizes)
    moments = torch.cat([kind.moments for kind in pieces])
    with stages.stage("calibrating") as step:
        found = collect_statistics(model, moments, generator=generator, matrices=changes, progress=step)
    statistics = [part for part in found if part.name in changes]
    reasons |= dict.fromkeys(set(changes) - {part.name for part in statistics}, _UNSEEN)
    linear = [layer for layer in model.source.layers if layer.factorable]
    everything = sum(layer.parameters for layer in linear)
    with stages.stage("spectra"):
        ranks, predicted = _allocated(statistics, share * everything, multiple)
    if not ranks:
        raise InputError(
            f"budget = {budget:g} holds no adapter: {share * everything:,.0f} numbers", "give a larger budget"
        )
    targets = [
        Target(layer.name, layer.tensor, layer.stack, ranks[layer.name]) for layer in linear if layer.name in ranks
    ]
    stacked = any(layer.stack > 1 for layer in linear)
    arguments = checked_lora_arguments(targets, skeleton_like(base.module), stacked=stacked, name=base.name)
    adapted = _adapted(base.module, arguments, {part.name: part for part in statistics}, ranks)
    judged = LanguageModel(f"{base.name} with its adapter", adapted.base_model.model, base.tokenizer, base.device)
    with stages.stage("measuring on held-out text"):
        kinds = [(kind, True) for kind in pieces] + [(kind, False) for kind in further]
        losses = tuple(text_loss(model, judged, kind, calibrated=own) for kind, own in kinds)
        before = tuple(text_loss(model, base, kind, calibrated=own) for kind, own in kinds)
    layers = tuple(
        CompressedLayer(
            layer.name,
            layer.shape,
            ranks.get(layer.name),
            ranks.get(layer.name, 0) * sum(layer.shape),
            reason=reasons.get(layer.name, ""),
        )
        for layer in linear
    )
    numbers = sum(layer.numbers for layer in layers)
    told = _warnings(left_out)
    return adapted, DifferenceReport(
        model.name, base.name, budget, layers, everything, numbers, predicted, losses, before, left_out, told
    )


def save_adapter(adapted: Any, report: DifferenceReport, folder: Path, *, command: str = "", commit: str = "") -> None:
    """Write the adapter as peft reads it, with its ranks and a card, whole or not at all.

    Raises:
        InputError: the folder exists or cannot be written.
    """

    def fill(inside: Path) -> None:
        adapted.save_pretrained(inside)
        ranks = {layer.name: {"shape": layer.shape, "rank": layer.rank} for layer in report.layers}
        (inside / "ranks.json").write_text(to_json({"format": "theorykit-adapter", "layers": ranks}) + "\n")
        (inside / "README.md").write_text(_card(report, command, commit), encoding="utf-8")

    write_folder(folder, fill)


def _changes(
    model: LanguageModel, base: LanguageModel
) -> tuple[dict[str, torch.Tensor], dict[str, str], tuple[str, ...]]:
    """Return W − W₀ by layer, why other layers get no adapter, and the parameters that differ and are in no layer."""
    parameters = dict(base.module.named_parameters())
    for name, tensor in model.module.named_parameters():
        if name not in parameters or parameters[name].shape != tensor.shape:
            raise InputError(
                f"{base.name} has no parameter {name} of shape {tuple(tensor.shape)}",
                "give --base the model that this one was fine-tuned from",
            )
    changes: dict[str, torch.Tensor] = {}
    reasons: dict[str, str] = {}
    held: set[str] = set()
    for layer in model.source.layers:
        if not layer.factorable:
            continue
        if layer.stack > 1:
            reasons[layer.name] = _STACKED
            continue
        held.add(layer.tensor)
        tensor, original = model.source.parameters[layer.tensor].detach(), parameters[layer.tensor].detach()
        change = (matrix_of(layer, tensor).double() - matrix_of(layer, original).double()).to(tensor.dtype)
        if bool(change.any()):
            changes[layer.name] = change
        else:
            reasons[layer.name] = _UNCHANGED
    if not changes:
        raise InputError(f"no linear layer of {model.name} differs from {base.name}", "give two different models")
    others = (name for name, tensor in model.module.named_parameters() if name not in held)
    left_out = tuple(name for name in others if not torch.equal(model.module.get_parameter(name), parameters[name]))
    return changes, reasons, left_out


def _allocated(statistics: Sequence[LayerStatistics], allowed: float, multiple: int) -> tuple[dict[str, int], float]:
    """Return ranks of least second-order loss within so many numbers r(m + n), 0 left out, and that loss."""
    options, choices = [], []
    for part in statistics:
        losses = part.whitened_spectrum("fisher").predicted_losses
        losses = np.where(losses > _NEGLIGIBLE * losses[0], losses, 0.0)
        full = min(part.shape)
        ranks = sorted({*range(0, full, multiple), full})
        costs = np.array([float(rank * sum(part.shape)) for rank in ranks])
        options.append(LayerOptions(costs, losses[ranks]))
        choices.append(ranks)
    allocation = allocate(options, allowed)
    picked = {
        part.name: ranks[index] for part, ranks, index in zip(statistics, choices, allocation.choice, strict=True)
    }
    return {name: rank for name, rank in picked.items() if rank}, allocation.loss


def _adapted(
    module: torch.nn.Module, arguments: dict[str, Any], parts: Mapping[str, LayerStatistics], ranks: Mapping[str, int]
) -> Any:
    """Return a copy of the base with adapters that hold the truncated changes."""
    from peft import LoraConfig, get_peft_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted: Any = get_peft_model(copy.deepcopy(module), LoraConfig(**arguments))
    adapted.eval().requires_grad_(False)
    for name, rank in ranks.items():
        layer = adapted.base_model.model.get_submodule(name)
        left, right = parts[name].factors(parts[name].projector("fisher", rank))
        scale = layer.scaling["default"]
        layer.lora_A["default"].weight.copy_(right)
        layer.lora_B["default"].weight.copy_(left / scale)
    return adapted


def _warnings(left_out: Sequence[str]) -> tuple[str, ...]:
    if not left_out:
        return ()
    count = "1 parameter differs" if len(left_out) == 1 else f"{len(left_out)} parameters differ"
    return (f"{count} that no adapter holds, and stay those of the base: {left_out[0]}{', …' * (len(left_out) > 1)}.",)


def _card(report: DifferenceReport, command: str, commit: str) -> str:
    """Return the card of the adapter."""
    base, name = Path(report.base).name, Path(report.model).name
    lines = ["---", f"base_model: {base}", "library_name: peft", "tags:", "- lora", "- theorykit", "---", ""]
    lines += [f"# What {name} changed in {base}", ""]
    lines += [
        f"{len(report.ranks)} of {len(report.layers)} linear layers, {report.numbers:,} numbers (`ranks.json`).",
        "",
    ]
    lines += ["KL from the fine-tuned model on held-out text, nats per token, 95 % intervals over blocks:", ""]
    lines += ["| text | base alone | with the adapter |", "|---|---|---|"]
    for before, after in zip(report.losses_of_base, report.losses, strict=True):
        lines.append(f"| {after.text} | {before.kl:.3g} | {after.kl:.3g} |")
    if command:
        lines += ["", f"Made by `{command}`" + (f", theorykit commit {commit}." if commit else ".")]
    return "\n".join(lines) + "\n"
