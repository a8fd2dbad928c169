"""Second moments of one linear layer on its smaller side: enough for every whitened spectrum and truncation."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from theorykit.spectra.whitening import Basis, Metric, WhitenedSpectrum, small_side_basis, square_root

RIDGE = 0.03
"""Ridge on a moment, as a share of its mean diagonal. A few thousand tokens of one text see some directions hardly
at all; without a ridge these look free, and another text pays for them. Chosen on SmolLM2 with calibration and
test text from different sources; the recorded tables use other texts."""


@dataclass(frozen=True)
class LayerStatistics:
    """The moments of a layer W ``[m, n]`` on its smaller side k = min(m, n).

    With n ≤ m: ``own`` is A = E[x xᵀ] and ``pulled`` is Wᵀ G W = E[(Wᵀg)(Wᵀg)ᵀ], the moment of the gradient that
    the layer hands to its input. With m < n: ``own`` is G = E[g gᵀ] and ``pulled`` is W A Wᵀ, the moment of the
    output without its bias. The moment of the larger side is never formed.

    Attributes:
        name: The layer's module path.
        weight: W ``[m, n]``, a view of the live weights before truncation.
        own: ``[k, k]`` float64.
        pulled: ``[k, k]`` float64.
        n_tokens: Tokens behind the means.
    """

    name: str
    weight: torch.Tensor
    own: torch.Tensor
    pulled: torch.Tensor
    n_tokens: int
    _bases: dict[Metric, Basis] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Return (m, n)."""
        return int(self.weight.shape[0]), int(self.weight.shape[1])

    @property
    def on_inputs(self) -> bool:
        """Return whether the smaller side is the input (n ≤ m)."""
        return self.shape[1] <= self.shape[0]

    def _gram(self) -> torch.Tensor:
        weight = self.weight.to(self.own.dtype)
        return weight.T @ weight if self.on_inputs else weight @ weight.T

    def basis(self, metric: Metric) -> Basis:
        """Return the whitened singular directions in one metric, kept for the next call: 24 k² bytes each."""
        if metric not in self._bases:
            self._bases[metric] = self._basis(metric)
        return self._bases[metric]

    def _basis(self, metric: Metric) -> Basis:
        # activation whitening is A^½ alone: on the output side W A Wᵀ holds it, and there is no root to take
        rooted = metric == "fisher" or (metric == "activation" and self.on_inputs)
        pulled = self.pulled if metric == "fisher" or (metric == "activation" and not self.on_inputs) else self._gram()
        return small_side_basis(square_root(self.own, RIDGE) if rooted else None, pulled)

    def whitened_spectrum(self, metric: Metric) -> WhitenedSpectrum:
        """Return the whitened singular values in one metric, ridge included."""
        values = self.basis(metric).eigenvalues.sqrt().cpu().numpy()
        # eigenvalues below k·eps of the largest are rounding
        resolution = float(values[0] * np.sqrt(values.size * np.finfo(float).eps))
        lost = int((values < resolution).sum())
        note = f"{lost} whitened singular values lie below the resolution {resolution:.2e}" if lost else ""
        return WhitenedSpectrum(values, self.shape, "gram", resolution, note, metric=metric)

    def projector(self, metric: Metric, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return E ``[k, r]`` and C ``[r, k]``: W E C (n ≤ m) or (E C)ᵀ W (m < n) is the best rank-r matrix."""
        return self.basis(metric).projector(rank)

    def factors(self, projector: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the projected weights as two factors ``[m, r]`` and ``[r, n]``, float64."""
        expand, contract = projector
        weight = self.weight.to(expand.dtype)
        return (weight @ expand, contract) if self.on_inputs else (contract.T, expand.T @ weight)

    def truncated_weight(self, projector: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Return the projected weights ``[m, n]`` in the type of the weights."""
        left, right = self.factors(projector)
        return (left @ right).to(self.weight.dtype)

    def predicted_loss(self, metric: Metric, rank: int) -> float:
        """Return the second-order loss of the rank-r truncation in one metric; half the tail sum in the Fisher's."""
        if metric == "fisher":
            return 0.5 * float(self.basis("fisher").eigenvalues[rank:].sum())
        return self.second_order_loss(self.projector(metric, rank))

    def second_order_loss(self, projector: tuple[torch.Tensor, torch.Tensor]) -> float:
        """Return ½ tr(G ΔW A ΔWᵀ) of a projection in nats per token, whatever metric chose it, ridge included.

        On the smaller side ΔW = W (I − P), so that it is ½ tr(K (I − P) S (I − P)ᵀ), S own plus ridge and K pulled; for
        the Fisher's own projector that is half the tail sum of the squared whitened singular values.
        """
        expand, contract = projector
        identity = torch.eye(self.own.shape[0], dtype=self.own.dtype, device=self.own.device)
        rest = identity - expand @ contract
        own = self.own + RIDGE * self.own.diagonal().mean() * identity
        return 0.5 * float(((self.pulled @ rest) * (rest @ own)).sum())
