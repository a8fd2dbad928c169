"""The answer: one row per layer, one row per rule, and the sentences that a reader needs beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from theorykit.models.model_spectra import LossCalibration
from theorykit.rank_selection.adapters import Target, lora_arguments
from theorykit.rank_selection.budget import Budget
from theorykit.rank_selection.objective import Objective, SampleSize
from theorykit.results import Result, plain

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from theorykit.models.truncation import TruncationLoss


@dataclass(frozen=True)
class LayerRank(Result):
    """The rank of one layer with its evidence.

    Attributes:
        layer: Module path.
        kind: attention, mlp, expert or other.
        shape: (m, n).
        stable_rank: ‖W‖_F²/‖W‖₂².
        effective_rank: exp(entropy of s/Σs).
        decay_exponent: α of s_i ∝ i^−α, or None.
        decay_interval: Its 95 % interval, or None.
        decay_fits: Whether a power law survives its test, or None.
        rank: The rank, or None where the layer stays dense.
        truncation_error: ε at that rank, ‖W − W_r‖_F; 0 where dense.
        relative_error: ε/‖W‖_F.
        second_order_loss: Share of the raw predicted loss, nats per token, or None without calibration.
        parameters: Stored numbers: r (m + n), or mn where dense.
        share: parameters / mn.
        reason: Why the layer is dense; empty otherwise.
        tensor: Name of the parameter that holds it.
        stack: How many maps lie in that parameter, experts for example.
    """

    layer: str
    kind: str
    shape: tuple[int, int]
    stable_rank: float
    effective_rank: float
    decay_exponent: float | None
    decay_interval: tuple[float, float] | None
    decay_fits: bool | None
    rank: int | None
    truncation_error: float
    relative_error: float
    second_order_loss: float | None
    parameters: int
    share: float
    reason: str = ""
    tensor: str = ""
    stack: int = 1


@dataclass(frozen=True)
class HeldLayer(Result):
    """A linear layer that stays dense whatever the budget, and is no part of it.

    Attributes:
        layer: Module path.
        parameters: m n.
        reason: Why.
        stack: How many maps lie in its parameter.
    """

    layer: str
    parameters: int
    reason: str
    stack: int = 1


@dataclass(frozen=True)
class RuleSummary(Result):
    """What one rule gives over all layers.

    Attributes:
        key: Name on the command line.
        title: Name in the table.
        source: Where the rule comes from.
        ranks: Rank of each layer as the rule asks for it, clipped to [1, min(m, n)], in the order of the layers; None
            where the tool's own choice leaves the layer dense.
        dense_layers: Layers kept dense because the rank is not below mn/(m + n).
        saturated_layers: Layers where the rule asks for min(m, n) or more.
        parameters: Stored numbers of all factorable layers.
        share: parameters over those of the dense layers.
        relative_error: sqrt(Σ ε² / Σ ‖W‖_F²) over the layers.
        second_order_loss: Raw half tail sum, nats per token; None without calibration.
        predicted_loss: The same on the measured scale: KL from the teacher, before any training; None without.
        estimation_loss: Predicted cost of learning from n samples, nats per token; None without calibration.
        extrapolated: Whether the raw loss lies outside the measured truncations; None without calibration.
    """

    key: str
    title: str
    source: str
    ranks: tuple[int | None, ...]
    dense_layers: int
    saturated_layers: int
    parameters: int
    share: float
    relative_error: float
    second_order_loss: float | None
    predicted_loss: float | None
    estimation_loss: float | None = None
    extrapolated: bool | None = None

    @property
    def total_loss(self) -> float | None:
        """Return predicted plus estimation loss, what the tool's own rule makes least; None without calibration."""
        if self.predicted_loss is None or self.estimation_loss is None:
            return None
        return self.predicted_loss + self.estimation_loss

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, with the total."""
        return super().to_dict() | {"total_loss": self.total_loss}

    @property
    def rank_span(self) -> str:
        """Return the smallest and the largest rank, for example ``16–320``."""
        ranks = [rank for rank in self.ranks if rank is not None]
        if not ranks:
            return "–"
        return str(ranks[0]) if min(ranks) == max(ranks) else f"{min(ranks)}–{max(ranks)}"


@dataclass(frozen=True, repr=False)
class RankSelection(Result):
    """Ranks for all layers of one model, with every rule beside the tool's own choice.

    Attributes:
        model: What the user called the model.
        samples: n with its unit.
        objective: What the student is trained on.
        budget: What it may cost.
        rule: Key of the rule that gave the ranks.
        rank_multiple: Ranks of the tool's own choice are multiples of it.
        layers: One entry per factorable layer.
        rules: One entry per rule, the tool's own last; it is missing where not even the smallest ranks fit the budget
            and another rule gave the ranks.
        approximation_loss: Predicted KL from the teacher before training, nats per token; None without calibration.
        estimation_loss: Predicted cost of learning from n samples, nats per token; without calibration its upper bound,
            with the noise of labels.
        price: Loss that one more unit of budget would save.
        optimal: Whether no choice within the budget has a smaller predicted loss: approximation plus estimation, or the
            plain relative ε² without calibration.
        binding: What decides: ``"budget"``, ``"samples"``, ``"none"`` (nothing is taken away) or ``"rule"``.
        embedding_parameters: Of embeddings and heads, which stay as they are.
        experts: ``own`` ranks for every map of a stack, or a ``shared`` one.
        held: Linear layers that are no part of the budget.
        omitted_parameters: Of convolutions and other tensors of two or more dimensions that are no linear layers.
        model_type: transformers' name of the family, or an empty string.
        calibration: Where the whitened spectra come from, or None.
        optimality_gap: How far above the least predicted loss of all the choice may lie, as a share of it: 0 where it
            is optimal; None for another rule than the tool's own.
        measured: The chosen truncation measured on held-out text, or None.
        notes: Sentences for the reader.
        warnings: Sentences that the reader must not miss.
    """

    model: str
    samples: SampleSize | None
    objective: Objective
    budget: Budget
    rule: str
    rank_multiple: int
    layers: tuple[LayerRank, ...]
    rules: tuple[RuleSummary, ...]
    approximation_loss: float | None
    estimation_loss: float
    price: float
    optimal: bool
    binding: str
    embedding_parameters: int
    experts: str = "own"
    held: tuple[HeldLayer, ...] = ()
    omitted_parameters: int = 0
    model_type: str = ""
    optimality_gap: float | None = None
    calibration: LossCalibration | None = None
    measured: TruncationLoss | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())

    @property
    def ranks(self) -> dict[str, int]:
        """Return layer name to rank; layers that stay dense are left out."""
        return {part.layer: part.rank for part in self.layers if part.rank is not None}

    @property
    def parameters(self) -> int:
        """Return the stored numbers of all factorable layers."""
        return sum(part.parameters for part in self.layers)

    @property
    def dense_parameters(self) -> int:
        """Return what the same layers hold today."""
        return sum(part.shape[0] * part.shape[1] for part in self.layers)

    @property
    def share(self) -> float:
        """Return the share of the linear parameters that is kept."""
        return self.parameters / self.dense_parameters

    @property
    def budget_share(self) -> float:
        """Return the budget as a share of what the dense layers cost, in the budget's own unit."""
        return self.budget.limit / self.budget.dense

    @property
    def deployed_parameters(self) -> int:
        """Return the linear parameters plus layers that are held, other tensors, embeddings and heads."""
        held = sum(part.parameters for part in self.held)
        return self.parameters + held + self.omitted_parameters + self.embedding_parameters

    def to_frame(self) -> pd.DataFrame:
        """Return one row per layer."""
        import pandas as pd

        return pd.DataFrame([plain(part) for part in self.layers]).set_index("layer")

    def rules_frame(self) -> pd.DataFrame:
        """Return one row per rule."""
        import pandas as pd

        rows = [plain(rule) | {"ranks": rule.rank_span} for rule in self.rules]
        return pd.DataFrame(rows).set_index("key")

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, with the totals."""
        return super().to_dict() | {
            "ranks": self.ranks,
            "parameters": self.parameters,
            "dense_parameters": self.dense_parameters,
            "deployed_parameters": self.deployed_parameters,
            "share": self.share,
        }

    @property
    def has_stacks(self) -> bool:
        """Return whether some parameter holds several maps, experts for example."""
        return any(part.stack > 1 for part in self.layers) or any(part.stack > 1 for part in self.held)

    def adapter_targets(self) -> list[Target]:
        """Return what an adapter can have its rank for: the maps of a stack only where they share one."""
        return [
            Target(part.layer, part.tensor, part.stack, part.rank)
            for part in self.layers
            if part.rank is not None and (part.stack == 1 or self.experts == "shared")
        ]

    def to_peft(self) -> dict[str, Any]:
        """Return the arguments of ``peft.LoraConfig``; see :func:`theorykit.rank_selection.adapters.lora_arguments`."""
        return lora_arguments(self.adapter_targets(), stacked=self.has_stacks)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the share of parameters that each layer keeps."""
        axes: Axes = self._drawn("plot_selection", ax)
        return axes

    def __repr__(self) -> str:
        loss = "" if self.approximation_loss is None else f", predicted KL {self.approximation_loss:.3g} nats per token"
        sampled = f", n = {self.samples.count:,.0f} {self.samples.unit}" if self.samples else ""
        return (
            f"RankSelection({self.model!r}{sampled}, rule {self.rule!r}: "
            f"{len(self.ranks)} of {len(self.layers)} layers factored, {self.share:.1%} of the linear parameters{loss})"
        )
