"""Calibration statistics of all linear layers from text: one forward and one backward pass, on CPU or GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from theorykit.errors import CalibrationError, InputError, NonFiniteError
from theorykit.models.language_model import LanguageModel
from theorykit.models.layers import LinearLayer
from theorykit.models.sources import module_source
from theorykit.models.statistics import LayerStatistics

POSITIONS = 32
"""Positions at a time in sums over the vocabulary: copies of whole batches cost more than the arithmetic."""


def linear_modules(module: torch.nn.Module) -> list[tuple[LinearLayer, Any]]:
    """Pair every factorable linear layer of a live model with its ``nn.Linear`` or ``Conv1D`` module.

    Raises:
        CalibrationError: a linear layer is not such a module (stacked experts), so that it cannot be calibrated.
    """
    modules = dict(module.named_modules())
    pairs = []
    for layer in module_source(module).layers:
        if not layer.factorable:
            continue
        owner = modules.get(layer.name)
        if owner is None or not (hasattr(owner, "in_features") or hasattr(owner, "nf")):
            raise CalibrationError(
                f"{layer.name} is not a linear module, so its inputs cannot be read",
                "pass --calibration none",
            )
        pairs.append((layer, owner))
    return pairs


def oriented_weight(layer: LinearLayer, owner: Any) -> torch.Tensor:
    """Return the weights as outputs × inputs ``[m, n]``, a view."""
    weight: torch.Tensor = owner.weight.detach()
    return weight.T if layer.transposed else weight


class _Moments:
    """Sums of x xᵀ for one layer, fed by its hooks."""

    def __init__(self, layer: LinearLayer, owner: Any, shared: dict[str, Any]) -> None:
        self.layer = layer
        self.bias = owner.bias
        self.own: torch.Tensor | None = None
        self.pulled: torch.Tensor | None = None
        self.rows = 0
        self._shared = shared
        m, n = layer.shape
        self.on_inputs = n <= m

    def forward(self, _: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        """Add the input's moment, or the output's where that is the smaller side."""
        if self.on_inputs:
            # q, k and v (gate and up) read the same tensor: its moment is formed once
            if self._shared.get("tensor") is not inputs[0]:
                self._shared.update(tensor=inputs[0], moment=_second_moment(inputs[0]))
            self.own = _add(self.own, self._shared["moment"])
            self.rows += inputs[0].shape[:-1].numel()
        else:
            clean = output.detach() if self.bias is None else output.detach() - self.bias
            self.pulled = _add(self.pulled, _second_moment(clean))

    def backward(self, _: Any, to_input: tuple[Any, ...], of_output: tuple[Any, ...]) -> None:
        """Add the moment of the gradient that the layer hands down, or that it receives."""
        if self.on_inputs:
            self.pulled = _add(self.pulled, _second_moment(to_input[0]))
        else:
            self.own = _add(self.own, _second_moment(of_output[0]))
            self.rows += of_output[0].shape[:-1].numel()

    def statistics(self, owner: Any, count: int) -> LayerStatistics:
        """Return the means over ``count`` tokens, or raise where they are not finite."""
        if self.own is None or self.pulled is None:
            raise CalibrationError(
                f"{self.layer.name} takes no part in the forward pass, so it cannot be calibrated",
                "pass --calibration none",
            )
        for moment in (self.own, self.pulled):
            if not bool(torch.isfinite(moment.diagonal()).all()):
                raise NonFiniteError(
                    f"{self.layer.name}: NaN or infinite activations or gradients",
                    "check its weights with: theorykit spectrum MODEL",
                )
        weight = oriented_weight(self.layer, owner)
        # an expert sees only some tokens: its loss per token is A over the rows it sees times G over all tokens
        return LayerStatistics(self.layer.name, weight, self.own / max(self.rows, 1), self.pulled / count, count)


def _second_moment(tensor: torch.Tensor) -> torch.Tensor:
    rows = tensor.detach().flatten(0, -2)
    return rows.T @ rows


def _add(total: torch.Tensor | None, part: torch.Tensor) -> torch.Tensor:
    return part.double().clone() if total is None else total.add_(part)


@contextmanager
def _hooked(pairs: list[tuple[LinearLayer, Any]]) -> Iterator[list[_Moments]]:
    shared: dict[str, Any] = {}
    moments = [_Moments(layer, owner, shared) for layer, owner in pairs]
    handles = [owner.register_forward_hook(part.forward) for part, (_, owner) in zip(moments, pairs, strict=True)]
    handles += [
        owner.register_full_backward_hook(part.backward) for part, (_, owner) in zip(moments, pairs, strict=True)
    ]
    try:
        yield moments
    finally:
        for handle in handles:
            handle.remove()


def collect_statistics(
    model: LanguageModel,
    tokens: torch.Tensor,
    *,
    generator: torch.Generator,
    batch: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> list[LayerStatistics]:
    """Collect the second moments of all factorable layers in one forward and one backward pass.

    The labels of the backward pass are drawn from the model itself, so that the moments are those of the Fisher
    information and not of the empirical one (Kunstner, Balles & Hennig 2019). Products are formed in the
    model's float32 and summed in float64.

    Args:
        model: In evaluation mode, parameters without gradients.
        tokens: ``[blocks, length]`` int64.
        generator: Draws the labels.
        batch: Blocks per pass.
        progress: Called with (blocks done, blocks in all).

    Returns:
        One entry per layer, in the model's order.

    Raises:
        CalibrationError: the model has linear layers that are not modules of their own or that the forward pass
            leaves out.
        InputError: no tokens are given.
        NonFiniteError: NaN or infinite weights, or activations, with the first layer that has them.
    """
    if tokens.ndim != 2 or tokens.shape[0] < 1 or tokens.shape[1] < 2:
        raise InputError(f"tokens have shape {tuple(tokens.shape)}", "give [blocks, length] with length at least 2")
    pairs = linear_modules(model.module)
    for layer, owner in pairs:
        # found here and not by the activations: gradients carry a NaN back into the layers before
        if not bool(torch.isfinite(owner.weight).all()):
            raise NonFiniteError(
                f"{layer.name} holds NaN or infinite weights", "the checkpoint is damaged or its training diverged"
            )
    with _hooked(pairs) as moments, torch.enable_grad():
        for start in range(0, tokens.shape[0], batch):
            part = tokens[start : start + batch].to(model.device)
            # gradients flow from the embedded tokens on; the parameters themselves need none
            embedded = model.module.get_input_embeddings()(part).detach().requires_grad_()
            logits = model.module(inputs_embeds=embedded, use_cache=False).logits[:, :-1].float()
            logits.backward(_sampled_label_gradient(logits, generator))
            if progress:
                progress(min(start + batch, tokens.shape[0]), tokens.shape[0])
    count = tokens.numel()
    return [moment.statistics(owner, count) for moment, (_, owner) in zip(moments, pairs, strict=True)]


def _sampled_label_gradient(logits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return p − onehot(ŷ) by position, the gradient of Σ −log p(ŷ), with ŷ drawn by inverting the distribution.

    ŷ is the first token whose cumulative probability lies above u in [0, 1): one of probability 0 is never drawn.
    """
    gradient = logits.detach().softmax(dim=-1).contiguous()  # its rows are changed through a view
    uniform = torch.rand(*logits.shape[:-1], 1, generator=generator, device=generator.device).to(logits.device)
    pieces = (torch.split(values.flatten(0, -2), POSITIONS) for values in (gradient, uniform))
    for part, draws in zip(*pieces, strict=True):
        cumulative = part.cumsum(dim=-1, dtype=torch.float64)
        # the last entry is 1 up to rounding; scaled by it, no draw lies beyond the vocabulary, unless it is NaN
        labels = torch.searchsorted(cumulative, draws * cumulative[..., -1:], right=True)
        part.scatter_add_(-1, labels.clamp_(max=part.shape[-1] - 1), torch.full_like(draws, -1.0))
    return gradient
