"""Critics T(x, y) and the variational bounds that they are trained on, many critics at once, in nats.

A critic embeds x and y each on its own and then combines the two embeddings, so that the embeddings are computed once
however many product samples are scored. The weights of L critics lie in one tensor ``[L, P]``; row l of every tensor
belongs to critic l and no operation mixes rows: a batch of L critics is L critics one after another, with less
overhead.

With P the joint law and Q the product of the marginals, for every critic T:

- Donsker-Varadhan (``mine``): I ≥ E_P T − log E_Q e^T, met by T = log dP/dQ + constant.
- ``infonce``: I ≥ E log [e^T(x, y) / mean of e^T(x, ·) over the partner and K others], at most log(K + 1).

The inequalities are about expectations. A sample's log-mean-exp lies below log E_Q e^T on average (Jensen), so that
the Donsker-Varadhan value of few samples lies above; see ``effective_pairs`` in :mod:`.variational`.

Shapes: scores of joint samples ``[L, n]``, of product samples ``[L, S, n]`` (S partners of each row).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from theorykit.arguments import positive_integer
from theorykit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

CriticKind = Literal["joint", "separable"]

_START = 0.1
"""Scale of the last layer's weights: scores start near 0, where every bound starts near 0 nats."""


def _layers(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Return the shapes of the weights of a perceptron; each has a bias."""
    return list(itertools.pairwise(sizes))


def _perceptron(hidden: torch.Tensor, layers: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """Return ``[L, rows, out]`` of ``[L, rows, in]``; hard swish, a smooth ReLU at its price, between the layers."""
    import torch

    for number, (weights, bias) in enumerate(layers):
        if number:
            hidden = torch.nn.functional.hardswish(hidden)
        hidden = torch.baddbmm(bias[:, None], hidden, weights)
    return hidden


@dataclass(frozen=True)
class Critic:
    """The shape of a critic.

    ``joint`` is a perceptron on [x, y]: its first layer is the sum of one part for x and one for y. ``separable`` is
    f(x) · g(y) + a(x) + b(y) with two perceptrons: the same few operations for each product sample whatever the hidden
    layers, and a wide embedding for strong relations.

    Attributes:
        kind: ``joint`` or ``separable``.
        dimensions: (d_x, d_y).
        hidden: Widths of the hidden layers, at least one.
        embedding: Width of f(x) and g(y) of a separable critic.
        anchor: Columns beyond ``dimensions`` at the end of x and of y, which the network does not see: their scalar
            product is added to its score (:func:`.gaussian_anchor`).
    """

    kind: CriticKind
    dimensions: tuple[int, int]
    hidden: tuple[int, ...]
    embedding: int = 32
    anchor: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("joint", "separable"):
            raise InputError(f"critic = {self.kind!r} is not known", "give 'joint' or 'separable'")
        if not self.hidden:
            raise InputError("hidden = () has no layer", "give at least one width, as (64, 64)")
        for width in (*self.hidden, self.embedding, *self.dimensions):
            positive_integer("width", width)

    @property
    def _shapes(self) -> tuple[list[tuple[int, int]], ...]:
        """Layers of the embedding of x, of that of y, and of what follows."""
        if self.kind == "joint":
            first = self.hidden[0]
            return [(self.dimensions[0], first)], [(self.dimensions[1], first)], _layers([*self.hidden, 1])
        x, y = (_layers([size, *self.hidden, self.embedding + 1]) for size in self.dimensions)
        return x, y, []

    @property
    def _flat_shapes(self) -> list[tuple[int, int]]:
        return [shape for part in self._shapes for shape in part]

    @property
    def n_parameters(self) -> int:
        """P, the numbers in one critic."""
        return sum((fan_in + 1) * fan_out for fan_in, fan_out in self._flat_shapes)

    def initial(self, generator: np.random.Generator) -> NDArray[np.float32]:
        """Return the starting weights ``[P]`` of one critic: normal, of variance 1/fan-in, biases 0."""
        x_layers, y_layers, head = self._shapes
        last = {len(self._flat_shapes) - 1} if head else {len(x_layers) - 1, len(x_layers) + len(y_layers) - 1}
        pieces = []
        for number, (fan_in, fan_out) in enumerate(self._flat_shapes):
            # both parts of a joint first layer share its fan-in
            shared = sum(self.dimensions) if head and number < 2 else fan_in
            final = _START if number in last else 1.0
            weights = generator.standard_normal((fan_in * fan_out), dtype=np.float32) * (final / math.sqrt(shared))
            pieces += [weights.astype(np.float32), np.zeros(fan_out, dtype=np.float32)]
        return np.concatenate(pieces)

    def _weights(self, parameters: torch.Tensor) -> list[list[tuple[torch.Tensor, torch.Tensor]]]:
        """Return weights ``[L, in, out]`` and biases ``[L, out]`` of the layers of each part."""
        import torch

        sizes = [size for fan_in, fan_out in self._flat_shapes for size in (fan_in * fan_out, fan_out)]
        pieces = iter(torch.split(parameters, sizes, dim=1))
        return [[(next(pieces).view(-1, *shape), next(pieces)) for shape in part] for part in self._shapes]

    def scores(self, parameters: torch.Tensor, x: torch.Tensor, y: torch.Tensor, shifts: Sequence[int]) -> torch.Tensor:
        """Return T(x_i, y_(i + s mod n)) ``[L, S, n]`` for each shift s; shift 0 scores the joint samples.

        Args:
            parameters: ``[L, P]``.
            x: ``[L, n, d_x + anchor]``.
            y: ``[L, n, d_y + anchor]``, row i drawn with row i of ``x``.
            shifts: S whole numbers in [0, n).
        """
        if not self.anchor:
            return self._learned(parameters, x, y, shifts)
        left, right = self.dimensions
        return self._learned(parameters, x[..., :left], y[..., :right], shifts) + self.anchored(x, y, shifts)

    def anchored(self, x: torch.Tensor, y: torch.Tensor, shifts: Sequence[int]) -> torch.Tensor:
        """Return the fixed part of the scores ``[L, S, n]``; arguments as for :meth:`scores`."""
        left, right = self.dimensions
        return (x[:, None, :, left:] * _partners(y[..., right:], shifts)).sum(dim=-1)

    def _learned(
        self, parameters: torch.Tensor, x: torch.Tensor, y: torch.Tensor, shifts: Sequence[int]
    ) -> torch.Tensor:
        import torch

        x_layers, y_layers, head = self._weights(parameters)
        first, partners = _perceptron(x, x_layers), _partners(_perceptron(y, y_layers), shifts)
        if not head:
            products = (first[:, None, :, :-1] * partners[..., :-1]).sum(dim=-1)
            return products + first[:, None, :, -1] + partners[..., -1]
        hidden = torch.nn.functional.hardswish(first[:, None] + partners).flatten(1, 2)
        return _perceptron(hidden, head).view(*partners.shape[:3])


def _partners(rows: torch.Tensor, shifts: Sequence[int]) -> torch.Tensor:
    """Return row i + s (modulo n) for each shift s, ``[L, S, n, width]``."""
    import torch

    count = rows.shape[1]
    doubled = torch.cat([rows, rows[:, : max(shifts, default=0)]], dim=1)
    return torch.stack([doubled[:, shift : shift + count] for shift in shifts], dim=1)


CriticMethod = Literal["mine", "infonce"]

_RATE = 0.05
"""Weight of the newest minibatch in MINE's moving average of E_Q e^T."""


@dataclass(frozen=True)
class CriticObjective:
    """What is maximised in training, what is reported, and how single samples bear on it.

    Attributes:
        loss: (joint, product, log average ``[L]``) -> (loss ``[L]``, new log average); the average is MINE's.
        value: (joint, product) -> the estimate ``[L]`` in nats.
        pieces: (joint, product) -> each row's own term ``[L, n]`` and the weight of each product sample ``[L, S, n]``.
            To first order, leaving out row i lowers n times the value by own_i − mean of the weights where y_i is the
            partner, both less their means.
    """

    loss: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    value: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    pieces: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def _log_mean_exp(product: torch.Tensor) -> torch.Tensor:
    return product.logsumexp(dim=(-2, -1)) - math.log(product.shape[-2] * product.shape[-1])


def donsker_varadhan(joint: torch.Tensor, product: torch.Tensor) -> torch.Tensor:
    """Return mean T − log mean e^T, ``[L]``."""
    return joint.mean(dim=-1) - _log_mean_exp(product)


def _mine_loss(
    joint: torch.Tensor, product: torch.Tensor, log_average: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss whose gradient is that of Donsker-Varadhan with E_Q e^T in the denominator averaged over minibatches.

    The gradient of the log of a minibatch mean is biased (Belghazi et al. 2018, eq 12): dividing by the moving average
    instead takes most of the bias away. The ratio stays below 1/rate, since the average holds the batch itself.
    """
    import torch

    log_mean = _log_mean_exp(product)
    new = torch.logaddexp(log_average + math.log1p(-_RATE), log_mean.detach() + math.log(_RATE))
    new = torch.where(log_average.isneginf(), log_mean.detach(), new)
    return (log_mean - new).exp() - joint.mean(dim=-1), new


def _infonce_terms(joint: torch.Tensor, product: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each row's log ratio ``[L, n]`` and its log partition sum."""
    import torch

    log_sum = torch.logaddexp(joint, product.logsumexp(dim=-2))
    return joint - log_sum + math.log(product.shape[-2] + 1), log_sum


def _infonce_value(joint: torch.Tensor, product: torch.Tensor) -> torch.Tensor:
    return _infonce_terms(joint, product)[0].mean(dim=-1)


def _infonce_pieces(joint: torch.Tensor, product: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    own, log_sum = _infonce_terms(joint, product)
    return own, (product - log_sum.unsqueeze(-2)).exp() * product.shape[-2]


def _infonce_loss(
    joint: torch.Tensor, product: torch.Tensor, log_average: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    return -_infonce_value(joint, product), log_average


def _mine_pieces(joint: torch.Tensor, product: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    weights = (product - _log_mean_exp(product)[..., None, None]).exp()
    return joint - weights.mean(dim=-2), weights


OBJECTIVES: dict[CriticMethod, CriticObjective] = {
    "mine": CriticObjective(_mine_loss, donsker_varadhan, _mine_pieces),
    "infonce": CriticObjective(_infonce_loss, _infonce_value, _infonce_pieces),
}
"""Both methods by name."""
