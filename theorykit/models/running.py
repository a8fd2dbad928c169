"""A model as it is judged: run on tokens, in evaluation mode, as plain PyTorch, and left as it was."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from theorykit.errors import InputError


def run_on(module: torch.nn.Module, tokens: torch.Tensor) -> Any:
    """Run a model on token ids ``[batch, length]`` without a cache, and return its output."""
    accepted = inspect.signature(module.forward).parameters
    takes_any = any(part.kind is inspect.Parameter.VAR_KEYWORD for part in accepted.values())
    options = {"use_cache": False} if "use_cache" in accepted or takes_any else {}
    if "input_ids" in accepted or takes_any:
        return module(input_ids=tokens, **options)
    embeddings: Any = module.get_input_embeddings()  # type: ignore[operator]
    return module(inputs_embeds=embeddings(tokens), **options)


def unwrapped(module: Any) -> Any:
    """Return the model inside what ``torch.compile`` and data parallelism put around it: names and methods are its."""
    wrappers = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(module, wrappers):
            module = module.module
        elif type(module).__name__ == "OptimizedModule" and hasattr(module, "_orig_mod"):
            module = module._orig_mod
        else:
            return module


@contextmanager
def as_judged(module: torch.nn.Module) -> Iterator[None]:
    """Let a model be run without dropout, uncompiled, its experts one after another, each from its own matrix.

    Gathered copies of experts' matrices, and products inside a compiled graph, could not be told apart. Recording of
    gradients is left to the caller, who enters it behind this.

    Raises:
        InputError: its parameters were made under ``torch.inference_mode``.
    """
    if any(parameter.is_inference() for parameter in module.parameters()):
        raise InputError(
            "the model was made under torch.inference_mode, and no gradient can pass through it", "load it outside"
        )
    in_training = [part for part in module.modules() if part.training]
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(_eager_experts(module))
        for part in in_training:
            part.training = False
        try:
            yield
        finally:
            for part in in_training:
                part.training = True


@contextmanager
def frozen(module: torch.nn.Module) -> Iterator[None]:
    """Let gradients pass through a model without being kept in its parameters."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_()


@contextmanager
def _eager_experts(module: torch.nn.Module) -> Iterator[None]:
    name = "_experts_implementation"
    configs = {id(part.config): part.config for part in module.modules() if hasattr(part, "config")}
    kept = [(config, getattr(config, name)) for config in configs.values() if hasattr(config, name)]
    try:
        for config, _ in kept:
            setattr(config, name, "eager")
        yield
    finally:
        for config, value in kept:
            setattr(config, name, value)
