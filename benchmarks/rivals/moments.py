"""What the rivals know of a model: second moments of inputs and gradients of every linear layer, from given tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

BATCH = 2
DROPPED_ENDS = 0.125
"""Share of the tokens at each end of a block whose gradients do not count (KFAC-SVD, as its authors' text has it)."""
CLIPPED = (0.1, 10.0)
"""A token's gradient is scaled so that its norm lies within these multiples of the mean (likewise)."""


@dataclass
class Moments:
    """Of one layer W ``[m, n]``, means over tokens.

    Attributes:
        inputs: E x xᵀ ``[n, n]`` float64.
        gradients: E g gᵀ ``[m, m]`` float64, labels drawn from the model, ends of blocks dropped and norms clipped.
        magnitudes: E |x| ``[n]``.
    """

    inputs: torch.Tensor
    gradients: torch.Tensor
    magnitudes: torch.Tensor


@dataclass(frozen=True)
class ModelMoments:
    """Of a whole model.

    Attributes:
        layers: By module path.
        influence: 1 − E cos(block's input, block's output) of each decoder block (MoDeGPT's Block Influence).
    """

    layers: dict[str, Moments]
    influence: list[float]


def collect(
    module: nn.Module, names: list[str], blocks: list[nn.Module], tokens: torch.Tensor, seed: int
) -> ModelMoments:
    """Run the model forwards and backwards over the tokens ``[blocks, length]`` with labels drawn from itself."""
    generator = torch.Generator().manual_seed(seed)
    sums: dict[str, Moments] = {}
    rows: dict[str, int] = dict.fromkeys(names, 0)
    cosines = [0.0] * len(blocks)
    handles = []
    for name in names:
        layer = module.get_submodule(name)
        m, n = layer.weight.shape
        zeros = partial(torch.zeros, dtype=torch.float64)
        sums[name] = Moments(zeros(n, n), zeros(m, m), zeros(n))
        handles.append(layer.register_forward_hook(_watch(sums[name], rows, name)))
    for index, block in enumerate(blocks):
        handles.append(block.register_forward_hook(_influence(cosines, index)))
    module.requires_grad_(False)
    embedded = module.get_input_embeddings()
    try:
        for part in tokens.split(BATCH):
            hidden = embedded(part).requires_grad_()
            logits = module(inputs_embeds=hidden, use_cache=False).logits[:, :-1].float()
            with torch.no_grad():
                p = logits.softmax(-1).flatten(0, 1)
                labels = torch.multinomial(p, 1, generator=generator)[:, 0]
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels, reduction="sum")
            torch.autograd.backward(loss)
    finally:
        for handle in handles:
            handle.remove()
    count = tokens.numel()
    for name, part in sums.items():
        part.inputs /= count
        part.magnitudes /= count
        part.gradients /= max(rows[name], 1)
    return ModelMoments(sums, [1 - total / count for total in cosines])


def _watch(sums: Moments, rows: dict[str, int], name: str) -> Callable[..., None]:
    def forward(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        x = inputs[0].detach().flatten(0, -2)
        sums.inputs += (x.T @ x).double()
        sums.magnitudes += x.abs().sum(0).double()

        def backward(gradient: torch.Tensor) -> None:
            length = gradient.shape[1]
            end = int(DROPPED_ENDS * length)
            g = gradient[:, end : length - end].flatten(0, -2)
            norms = g.norm(dim=-1, keepdim=True)
            mean = norms.mean()
            g = g * (norms.clamp(CLIPPED[0] * mean, CLIPPED[1] * mean) / norms.clamp_min(1e-30))
            sums.gradients.add_((g.T @ g).double())
            rows[name] += g.shape[0]

        output.register_hook(backward)

    return forward


def _influence(cosines: list[float], index: int) -> Callable[..., None]:
    def forward(
        _: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor | tuple[torch.Tensor, ...]
    ) -> None:
        after = output[0] if isinstance(output, tuple) else output
        cosines[index] += float(
            nn.functional.cosine_similarity(inputs[0].detach(), after.detach(), dim=-1).double().sum()
        )

    return forward
