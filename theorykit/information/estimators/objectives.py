"""Variational bounds on mutual information as functions of a critic's scores on joint and on product samples, in nats.

With T the critic, P the joint law and Q the product of the marginals, for every T:

- Donsker-Varadhan (``mine``): I ≥ E_P T − log E_Q e^T, met by T = log dP/dQ + constant.
- ``nwj``: I ≥ 1 + E_P T − E_Q e^T, met by T = log dP/dQ. Below Donsker-Varadhan for every T, since log z ≤ z − 1.
- ``infonce``: I ≥ E log [e^T(x, y) / mean of e^T(x, ·) over the partner and K others], at most log(K + 1).
- ``smile``: Donsker-Varadhan with e^T clipped to [e^−τ, e^τ] under Q. No bound: clipping trades variance for bias.

The inequalities are about expectations. A sample's log-mean-exp lies below log E_Q e^T on average (Jensen), so that
the Donsker-Varadhan value of few samples lies above; see ``effective_pairs`` in :mod:`.variational`.

Shapes: scores of joint samples ``[L, n]``, of product samples ``[L, S, n]`` (S partners of each row).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Method = Literal["mine", "nwj", "infonce", "smile"]

CLIP = 5.0
"""τ of SMILE, the value that Song & Ermon (2020) recommend."""

_RATE = 0.05
"""Weight of the newest minibatch in MINE's moving average of E_Q e^T."""


@dataclass(frozen=True)
class Objective:
    """What is maximised in training, what is reported, and how single samples bear on it.

    Attributes:
        loss: (joint, product, log average ``[L]``) -> (loss ``[L]``, new log average); the average is MINE's.
        value: (joint, product) -> the estimate ``[L]`` in nats.
        pieces: (joint, product) -> each row's own term ``[L, n]`` and the weight of each product sample ``[L, S, n]``.
            To first order, leaving out row i lowers n times the value by own_i − mean of the weights where y_i is the
            partner, both less their means.
        is_bound: Whether the value is a lower bound in expectation.
        selects_by_loss: Whether weights are chosen by the loss on the validation split, not by the value.
    """

    loss: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    value: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    pieces: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    is_bound: bool = True
    selects_by_loss: bool = False


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


def _nwj_value(joint: torch.Tensor, product: torch.Tensor) -> torch.Tensor:
    return 1 + joint.mean(dim=-1) - product.exp().mean(dim=(-2, -1))


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


def _smile_loss(
    joint: torch.Tensor, product: torch.Tensor, log_average: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logistic loss of telling joint from product samples, smallest at T = log dP/dQ."""
    from torch.nn.functional import softplus

    return softplus(-joint).mean(dim=-1) + softplus(product).mean(dim=(-2, -1)), log_average


def _clipped(product: torch.Tensor) -> torch.Tensor:
    return product.clamp(-CLIP, CLIP)


def _ratio_pieces(
    joint: torch.Tensor, product: torch.Tensor, log_scale: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the pieces of E_P T − h(E_Q e^T), where h' = e^−log_scale."""
    weights = (product - log_scale[..., None, None]).exp()
    return joint - weights.mean(dim=-2), weights


def _minus_value(
    value: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    return lambda joint, product, log_average: (-value(joint, product), log_average)


OBJECTIVES: dict[Method, Objective] = {
    "mine": Objective(
        _mine_loss, donsker_varadhan, lambda joint, product: _ratio_pieces(joint, product, _log_mean_exp(product))
    ),
    "nwj": Objective(
        _minus_value(_nwj_value),
        _nwj_value,
        lambda joint, product: _ratio_pieces(joint, product, joint.new_zeros(joint.shape[:-1])),
    ),
    "infonce": Objective(_minus_value(_infonce_value), _infonce_value, _infonce_pieces),
    "smile": Objective(
        _smile_loss,
        lambda joint, product: donsker_varadhan(joint, _clipped(product)),
        lambda joint, product: _ratio_pieces(joint, _clipped(product), _log_mean_exp(_clipped(product))),
        is_bound=False,
        selects_by_loss=True,
    ),
}
"""The four methods by name."""
