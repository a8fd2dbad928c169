"""What a compression did: ranks, numbers, bytes, and the loss before and after on text that it did not see."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from theorykit.rank_selection.objective import SampleSize
from theorykit.results import Result
from theorykit.verdicts.intervals import mean_interval

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over blocks of text with its 95 % interval by Student's t, blocks taken as independent.

    Attributes:
        value: The mean.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    @staticmethod
    def of_blocks(values: Sequence[float]) -> Interval:
        """Return the interval of block means, at least two of them."""
        mean, (low, high) = mean_interval(np.array(values), (1 - CONFIDENCE) / 2)
        return Interval(mean, low, high)

    def __format__(self, form: str) -> str:
        """Return the value with the ends in brackets, each written in a form such as ``.3f``."""
        value, low, high = (format(part, form) for part in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"

    def exp(self) -> Interval:
        """Return the interval of exp of the value."""
        return Interval(math.exp(self.value), math.exp(self.low), math.exp(self.high))


@dataclass(frozen=True)
class TextLoss:
    """The losses on one kind of text.

    Attributes:
        text: Name of the kind.
        sha256: Of the text.
        n_tokens: Predicted tokens.
        calibrated: Whether other pieces of this text took part in the calibration.
        dense_perplexity: Of the model before.
        perplexity: Of the model after.
        ratio: Perplexity after over before, on the same blocks.
        kl: KL(dense ‖ compressed), nats per token.
    """

    text: str
    sha256: str
    n_tokens: int
    calibrated: bool
    dense_perplexity: Interval
    perplexity: Interval
    ratio: Interval
    kl: Interval


@dataclass(frozen=True)
class CompressedLayer:
    """What became of one linear layer.

    Attributes:
        name: Module path.
        shape: (m, n).
        rank: Of its replacement; None where it stays dense.
        numbers: Stored afterwards: r(m + n − r), or mn.
        scale: Measured loss over second-order loss at the price's point; None without a price.
        reason: Why it could not be replaced; empty where it could.
    """

    name: str
    shape: tuple[int, int]
    rank: int | None
    numbers: int
    scale: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Healing:
    """What distillation from the dense model did to the factors.

    Attributes:
        steps: Optimizer steps that were made.
        kept_step: The step whose factors were kept: the least loss on the text for prices.
        kl_before: On that text before, nats per token.
        kl_after: And at the step that was kept.
        tokens: Read in all.
        seconds: It took.
    """

    steps: int
    kept_step: int
    kl_before: float
    kl_after: float
    tokens: int
    seconds: float


@dataclass(frozen=True, repr=False)
class CompressionReport(Result):
    """What :func:`theorykit.compression.compress` did.

    Attributes:
        model: What the user called it.
        budget: Share of the linear numbers that was allowed.
        layers: All linear layers, those that stayed dense included.
        parameters_before: Of the whole model, shared ones once.
        parameters_after: Of the whole model.
        linear_before: Of the linear layers.
        linear_after: Of the linear layers.
        bytes_before: All parameters of the model before, in the type that is written.
        bytes_after: Parameters in the type that is written.
        dtype: That type.
        binding: What decided: ``"budget"``, ``"samples"`` (n of them) or ``"none"`` (nothing is taken away).
        samples: What the smaller model will be trained on, or None.
        predicted_kl: Measured on text that chose between the allocations, nats per token, by kind of text.
        losses: On text that nothing was chosen on.
        healing: What it did, or None.
        calibration: Tokens of moments by kind of text.
        seed: Of all that is drawn.
        seconds: By stage.
        warnings: For the reader.
    """

    model: str
    budget: float
    layers: tuple[CompressedLayer, ...]
    parameters_before: int
    parameters_after: int
    linear_before: int
    linear_after: int
    bytes_before: int
    bytes_after: int
    dtype: str
    binding: str
    samples: SampleSize | None
    predicted_kl: dict[str, float]
    losses: tuple[TextLoss, ...]
    healing: Healing | None
    calibration: dict[str, int]
    seed: int
    seconds: dict[str, float]
    warnings: tuple[str, ...] = ()

    @property
    def ranks(self) -> dict[str, int]:
        """Return the rank of every replaced layer."""
        return {layer.name: layer.rank for layer in self.layers if layer.rank is not None}

    @property
    def share(self) -> float:
        """Return the share of the linear numbers that was kept."""
        return self.linear_after / self.linear_before

    def to_frame(self) -> pd.DataFrame:
        """Return one row per kind of text, with the ends of the intervals."""
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for loss in self.losses:
            row: dict[str, Any] = {"text": loss.text, "tokens": loss.n_tokens, "calibrated": loss.calibrated}
            for name in ("dense_perplexity", "perplexity", "ratio", "kl"):
                interval: Interval = getattr(loss, name)
                row |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
            rows.append(row)
        return pd.DataFrame(rows)

    def plot(self, ax: Axes | None = None, **style: Any) -> Axes:
        """Draw the perplexity after over before, by kind of text."""
        axes: Axes = self._drawn("plot_compression", ax, **style)
        return axes

    def __repr__(self) -> str:
        kinds = ", ".join(f"{loss.text} × {loss.ratio.value:.3f}" for loss in self.losses)
        return f"CompressionReport({self.model}, {self.share:.1%} of the linear numbers kept, perplexity: {kinds})"
