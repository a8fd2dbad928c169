"""The moments A and G of every traced map, by plain autograd, for the very labels that theorykit drew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from .matrices import in_stored_order, tables_of
from .traced import Map, Tracer


class DrawnLabels:
    """Looks on while a model is calibrated: the gradient at the logits of every pass that has one."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.gradients: list[torch.Tensor] = []
        self.faults: list[str] = []
        self._handle = module.register_forward_hook(self._forward)

    def _forward(self, _: Any, inputs: Any, output: Any) -> None:
        logits = getattr(output, "logits", None)
        if isinstance(logits, torch.Tensor) and logits.requires_grad:
            scores = logits.detach().clone()
            logits.register_hook(lambda gradient: self._backward(scores, gradient))

    def _backward(self, logits: torch.Tensor, gradient: torch.Tensor) -> None:
        self.gradients.append(gradient.detach().clone())
        rest = (
            logits.float().softmax(dim=-1) - gradient
        )  # the one-hot vector of the label, for all positions but the last
        sums, tops = rest[:, :-1].sum(dim=-1), rest[:, :-1].amax(dim=-1)
        if bool(((sums - 1).abs() > 1e-4).any() or ((tops - 1).abs() > 1e-4).any()):
            self.faults.append("the gradient at the logits is not p − onehot(label)")

    def stop(self) -> None:
        """Take the hook away."""
        self._handle.remove()


@contextmanager
def eager_experts(module: Any) -> Iterator[None]:
    """Let experts be called one by one, so that each product shows its own matrix."""
    configs = {id(part.config): part.config for part in module.modules() if hasattr(part, "config")}.values()
    kept = [
        (config, config._experts_implementation) for config in configs if hasattr(config, "_experts_implementation")
    ]
    for config, _ in kept:
        config._experts_implementation = "eager"
    try:
        yield
    finally:
        for config, before in kept:
            config._experts_implementation = before


def traced_maps(
    module: Any, tokens: torch.Tensor, gradients: list[torch.Tensor] | None = None, *, batch: int = 2
) -> dict[str, Map]:
    """Run a model on tokens, and backwards where gradients at the logits are given, and return its maps by key.

    Args:
        module: The model; its parameters get no gradients, the embedded tokens do.
        tokens: ``[blocks, length]``.
        gradients: One per batch, as theorykit handed them down; None for a forward pass alone.
        batch: Blocks per pass.
    """
    maps = _passes(module, tokens, gradients, batch, frozenset())
    if gradients is not None:
        # inputs that depend on no token (positions, a first state of zeros) hand no gradient on
        asked = frozenset(part.parameter for part in maps.values() if len(part.inputs) != len(part.gradients))
        if asked:
            maps = _passes(module, tokens, gradients, batch, asked - tables_of(module))
    parameters = dict(module.named_parameters())
    return {key: part for part in maps.values() for key in [in_stored_order(part, parameters[part.parameter])]}


def _passes(
    module: Any, tokens: torch.Tensor, gradients: list[torch.Tensor] | None, batch: int, asked: frozenset[str]
) -> dict[str, Map]:
    handle = module.get_input_embeddings().register_forward_hook(
        # a copy that is no leaf: some models write into their embedded tokens
        lambda _, inputs, output: output.detach().requires_grad_().clone() if output.is_floating_point() else output
    )
    tracer = Tracer(module, asked)
    wanted = [parameter for name, parameter in module.named_parameters() if name in asked]
    for parameter in wanted:
        parameter.requires_grad_(True)
    try:
        with eager_experts(module):
            for index, start in enumerate(range(0, tokens.shape[0], batch)):
                with torch.enable_grad(), tracer:
                    logits = module(tokens[start : start + batch], use_cache=False).logits
                    if gradients is not None:
                        tracer.backward = True
                        logits.backward(gradients[index])
                        tracer.backward = False
                        _in_order(tracer)
                tracer.forget_memory()
    finally:
        handle.remove()
        for parameter in wanted:
            parameter.requires_grad_(False)
            parameter.grad = None
    return tracer.maps


def _in_order(tracer: Tracer) -> None:
    """Put the gradients of one pass beside its inputs: the last product comes back first."""
    for part in tracer.maps.values():
        fresh = part.gradients[part.paired :]
        part.gradients[part.paired :] = fresh[::-1]
        part.paired = len(part.gradients)


def expected_moments(part: Map, count: int, *, stacked: bool) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return (own, pulled) as :class:`theorykit.models.statistics.LayerStatistics` defines them, float64.

    Where a map is called more often than gradients come back, only calls with gradients count; which these are is not
    seen here, so that there is one answer for each call of a pass that it may be. None where no gradient comes back.

    Args:
        part: A map with its rows.
        count: Tokens.
        stacked: It is one of a stack. Some mixtures hand every expert all tokens, with zeros for those that it does not
            see; these rows say nothing of the map, whatever their gradients.
    """
    answers = []
    if part.inputs and len(part.asked) == len(part.inputs):
        gradients = torch.cat([part.asked[call] for call in range(len(part.inputs))]).double()
        answers.append(_moments(part, torch.cat(part.inputs).double(), gradients, count))
    calls = len(part.inputs) // max(len(part.gradients), 1)
    if not part.gradients or len(part.inputs) != calls * len(part.gradients):
        return answers
    for call in range(calls):
        chosen = part.inputs[call::calls]
        if any(len(x) != len(g) for x, g in zip(chosen, part.gradients, strict=True)):
            continue
        inputs, gradients = torch.cat(chosen).double(), torch.cat(part.gradients).double()
        if stacked:
            used = (inputs != 0).any(dim=-1)
            inputs, gradients = inputs[used], gradients[used]
        answers.append(_moments(part, inputs, gradients, count))
    return answers


def _moments(part: Map, inputs: torch.Tensor, gradients: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    weight = part.weight.double()
    m, n = part.shape
    rows = max(len(inputs), 1)
    if n <= m:
        pulled = gradients @ weight
        return inputs.T @ inputs / rows, pulled.T @ pulled / count
    pulled = inputs @ weight.T
    return gradients.T @ gradients / rows, pulled.T @ pulled / count


def moment_error(
    expected: tuple[torch.Tensor, torch.Tensor], own: torch.Tensor, pulled: torch.Tensor
) -> tuple[float, float]:
    """Return the larger relative error of the two moments up to scale, and the ratio of the scales' product.

    The second-order loss knows only the product of both, so a factor may stand with either.
    """
    errors, scale = [], 1.0
    for right, told in zip(expected, (own.double(), pulled.double()), strict=True):
        size, other = float(right.norm()), float(told.norm())
        if size == 0 or other == 0:
            errors.append(0.0 if size == other else 1.0)
            scale *= 1.0 if size == other else 0.0
            continue
        errors.append(float((right / size - told / other).norm()))
        scale *= other / size
    return max(errors), scale
