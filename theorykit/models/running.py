"""A model as it is judged: run on tokens, in evaluation mode, as plain PyTorch, and left as it was."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any

import torch

from theorykit.errors import CalibrationError, InputError

_PLAIN = {
    "_experts_implementation": "eager",
    "return_dict": True,
    "output_hidden_states": False,
}
"""Of configurations: gathered copies of experts' matrices could not be told apart, and scores are read by name."""


def run_on(module: torch.nn.Module, tokens: torch.Tensor) -> Any:
    """Run a model on token ids ``[batch, length]`` without a cache, and return its output, whose ``logits`` are scores.

    Raises:
        CalibrationError: its output is no tensor and has no scores.
    """
    accepted = inspect.signature(module.forward).parameters
    takes_any = any(part.kind is inspect.Parameter.VAR_KEYWORD for part in accepted.values())
    options = {"use_cache": False} if "use_cache" in accepted or takes_any else {}
    if "input_ids" in accepted or takes_any:
        output = module(input_ids=tokens, **options)
    else:
        embeddings: Any = module.get_input_embeddings()  # type: ignore[operator]
        output = module(inputs_embeds=embeddings(tokens), **options)
    if isinstance(output, torch.Tensor):
        return SimpleNamespace(logits=output)
    if not isinstance(getattr(output, "logits", None), torch.Tensor):
        raise CalibrationError(
            f"a {type(module).__name__} gives no scores of the next token", "give a causal language model"
        )
    return output


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

    Products inside a compiled graph could not be seen. Recording of gradients is left to the caller, who enters it
    behind this.

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
        for device in {parameter.device.type for parameter in module.parameters()} - {"meta"}:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(_plain_configurations(module))
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
def _plain_configurations(module: torch.nn.Module) -> Iterator[None]:
    """Set what configurations may say of experts and of the form of outputs, and put it back."""
    configs = {id(part.config): part.config for part in module.modules() if hasattr(part, "config")}
    kept = [
        (config, name, getattr(config, name), value)
        for config in configs.values()
        for name, value in _PLAIN.items()
        if hasattr(config, name)
    ]
    try:
        for config, name, _, value in kept:
            setattr(config, name, value)
        yield
    finally:
        for config, name, before, _ in kept:
            setattr(config, name, before)
