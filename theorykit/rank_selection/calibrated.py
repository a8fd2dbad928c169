"""From a model and a text to spectra in nats: moments, whitened spectra, and the scale of the loss measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import resources

import torch

from theorykit.arguments import Progress, positive_integer
from theorykit.errors import InputError
from theorykit.models.analysis import whitened_spectra
from theorykit.models.calibration import collect_statistics
from theorykit.models.causality import require_causal
from theorykit.models.language_model import LanguageModel, heading_tokens, token_blocks
from theorykit.models.model_spectra import ANCHOR_SHARES, LossAnchor, LossCalibration, ModelSpectra
from theorykit.models.statistics import RIDGE, LayerStatistics
from theorykit.models.truncation import TruncationLoss, truncation_losses
from theorykit.rank_selection.result import RankSelection
from theorykit.rank_selection.selection import select_ranks
from theorykit.spectra.whitening import Metric

BUILTIN_TEXT = "builtin"
EVALUATION_TOKENS = 4096
_UNLIMITED = 1e18


@dataclass(frozen=True)
class CalibrationSettings:
    """How a model is calibrated.

    Attributes:
        n_tokens: Tokens for the moments.
        block: Tokens per block.
        anchor_tokens: Tokens behind those, on which the scale of the loss is measured; 0 for no measurement.
        seed: Of the sampled labels.
        metrics: Which whitened spectra are computed.
    """

    n_tokens: int = 4096
    block: int = 512
    anchor_tokens: int = 1024
    seed: int = 0
    metrics: tuple[Metric, ...] = ("fisher",)

    def check(self) -> None:
        """Raise where a number of tokens is not a whole number of blocks."""
        _whole_blocks("calibration tokens", self.n_tokens, self.block)
        if self.anchor_tokens:
            _whole_blocks("anchor tokens", self.anchor_tokens, self.block)


@dataclass(frozen=True, eq=False)
class CalibratedModel:
    """A model with its statistics and spectra; enough to select ranks and to truncate."""

    model: LanguageModel
    spectra: ModelSpectra
    statistics: list[LayerStatistics]

    def measure(self, selection: RankSelection, text: str, *, n_tokens: int = EVALUATION_TOKENS) -> RankSelection:
        """Truncate to the selected ranks, measure KL and perplexity on held-out text, and put them into the result.

        Args:
            selection: Ranks for this model.
            text: Plain text of at least ``n_tokens`` tokens that took no part in the calibration.
            n_tokens: A multiple of the calibration's block.

        Raises:
            InputError: the text is empty or too short.
        """
        block = self.spectra.calibration.block if self.spectra.calibration else n_tokens
        tokens = evaluation_blocks(self.model, text, block, n_tokens=n_tokens)
        loss = truncation_losses(self.model, self.statistics, [(selection.ranks, "fisher")], tokens)[0]
        return replace(selection, measured=loss)


def evaluation_blocks(
    model: LanguageModel,
    text: str,
    block: int,
    *,
    n_tokens: int = EVALUATION_TOKENS,
    hint: str = "give a longer text",
) -> torch.Tensor:
    """Return the tokens of a held-out text as :func:`theorykit.models.language_model.token_blocks` does, or raise."""
    return token_blocks(model, text, n_tokens, block, name="the evaluation text", hint=hint)


def builtin_text() -> str:
    """Return the calibration text that ships with the package: public-domain prose (``theorykit/data/NOTICE.md``)."""
    return (resources.files("theorykit.data") / "calibration.txt").read_text(encoding="utf-8")


def calibrate(
    model: LanguageModel,
    text: str,
    *,
    name: str = "the calibration text",
    settings: CalibrationSettings | None = None,
    progress: Progress | None = None,
) -> CalibratedModel:
    """Calibrate a model on a text: one forward and backward pass, then a few forward passes for the scale.

    Args:
        model: From :func:`theorykit.models.language_model.load_language_model`.
        text: Plain text of at least ``n_tokens + anchor_tokens`` tokens, like what the student will read.
        name: How results and errors call the text.
        settings: Defaults if None.
        progress: Called with (what is being done, steps done, steps in all).

    Raises:
        InputError: the text is empty or too short.
        CalibrationError: the model cannot be calibrated, or its scores change with later tokens.
        NonFiniteError: NaN or infinite activations.
    """
    settings = settings or CalibrationSettings()
    settings.check()
    require_causal(model.module, model.name)
    hint = f"give a longer text, or fewer calibration tokens; {settings.anchor_tokens:,} more measure the loss's scale"
    wanted = settings.n_tokens + settings.anchor_tokens
    tokens = token_blocks(model, text, wanted, settings.block, name=name, hint=hint)
    moment_tokens = tokens[: settings.n_tokens // settings.block]
    generator = torch.Generator().manual_seed(settings.seed)
    step = progress or (lambda *_: None)
    statistics = collect_statistics(
        model, moment_tokens, generator=generator, progress=lambda done, count: step("calibrating", done, count)
    )
    spectra = whitened_spectra(
        model,
        statistics,
        metrics=settings.metrics,
        progress=lambda done, count, _: step("spectra", done, count),
    )
    heading = tuple(model.tokenizer.convert_ids_to_tokens(list(heading_tokens(model.tokenizer))))
    calibration = LossCalibration(name, settings.n_tokens, settings.block, settings.seed, RIDGE, heading=heading)
    spectra = replace(spectra, calibration=calibration)
    if settings.anchor_tokens:
        step("measuring the scale of the loss", 0, 1)
        anchors = _measure_anchors(model, spectra, statistics, tokens[moment_tokens.shape[0] :])
        spectra = replace(spectra, calibration=replace(calibration, anchors=anchors))
        step("measuring the scale of the loss", 1, 1)
    return CalibratedModel(model, spectra, statistics)


def _whole_blocks(name: str, count: int, block: int) -> int:
    count = positive_integer(name, count)
    if positive_integer("block", block) < 2 or count % block:
        raise InputError(f"{name} = {count} is not a multiple of the block of {block}", "give a multiple of the block")
    return count


def _measure_anchors(
    model: LanguageModel, spectra: ModelSpectra, statistics: list[LayerStatistics], tokens: torch.Tensor
) -> tuple[LossAnchor, ...]:
    """Truncate to a few shares and measure the KL on tokens that did not make the moments."""
    plans = [select_ranks(spectra, _UNLIMITED, unit="tokens", budget=share) for share in ANCHOR_SHARES]
    losses: list[TruncationLoss] = truncation_losses(
        model,
        statistics,
        [(plan.ranks, "fisher") for plan in plans],
        tokens,
    )
    # the tool's own rule is the last, since it is the one asked for; rounding can leave a KL of 0 a little below it
    return tuple(
        LossAnchor(plan.share, plan.rules[-1].second_order_loss or 0.0, max(loss.kl, 0.0))
        for plan, loss in zip(plans, losses, strict=True)
    )
