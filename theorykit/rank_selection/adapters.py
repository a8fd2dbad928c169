"""Chosen ranks as arguments of ``peft.LoraConfig``, and a check that peft builds them and nothing else."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from theorykit.errors import InputError
from theorykit.models.layers import LinearLayer

if TYPE_CHECKING:
    from theorykit.models.model_spectra import ModelSpectra

MOVED = frozenset({"gate", "w1", "w2", "w3", "gate_proj", "up_proj", "down_proj"})
"""Names that peft takes for those of experts wherever they stand, in families whose experts are stacked."""
INSTALL = "pip install peft"
_ONE_RANK = "one expert of a stack has no adapter of its own in peft (--experts shared gives the stack one)"


class Target(NamedTuple):
    """A layer that is to get an adapter: its path, the parameter that holds it, how many maps that has, its rank."""

    layer: str
    tensor: str
    stack: int
    rank: int


def lora_arguments(targets: Iterable[Target], *, stacked: bool) -> dict[str, Any]:
    """Return the arguments of ``peft.LoraConfig``: ``r``, ``lora_alpha``, patterns of both, and the targets.

    LoRA adds B C · alpha/r to the dense layer and keeps it, while the ranks were chosen for B C in its place: they
    say where capacity is worth its price, not what the adapted model stores. Alpha equals the rank everywhere, so
    that every scale is 1. ``r`` is the commonest rank; the patterns name the others. Modules are ``target_modules``;
    matrices that are parameters of a larger module, such as stacked experts, are ``target_parameters``.

    Args:
        targets: The layers to adapt; the maps of a stack all with the same rank.
        stacked: The model has stacked experts: peft then moves whatever is named like an expert's part to them, and
            such modules are named by their parameter instead.
    """
    modules: dict[str, int] = {}
    parameters: dict[str, int] = {}
    for layer, tensor, stack, rank in targets:
        moved = stacked and layer.rpartition(".")[2] in MOVED
        if stack > 1 or moved or tensor != f"{layer}.weight":
            parameters[tensor] = rank
        else:
            modules[layer] = rank
    ranks = list((modules | parameters).values())
    usual = max(sorted(set(ranks)), key=ranks.count) if ranks else 1
    pattern = {name: rank for name, rank in (modules | parameters).items() if rank != usual}
    arguments = {
        "r": usual,
        "lora_alpha": usual,
        "rank_pattern": pattern,
        "alpha_pattern": dict(pattern),
        "target_modules": list(modules),
    }
    return arguments | ({"target_parameters": list(parameters)} if parameters else {})


def anchored(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same arguments as expressions that match whole paths alone.

    peft takes a name for the end of any path, and in its patterns for a regular expression: ``layers.0`` is meant for
    ``tower.layers.0`` as well, and ``a+b`` for ``aab``.
    """
    patterns = {
        key: {f"^{re.escape(name)}": rank for name, rank in arguments[key].items()}
        for key in ("rank_pattern", "alpha_pattern")
    }
    modules = "|".join(map(re.escape, arguments["target_modules"]))
    return dict(arguments) | patterns | ({"target_modules": modules} if modules else {})


def why_not_adaptable(spectra: ModelSpectra, module: Any, *, shared_experts: bool) -> dict[str, str]:
    """Return the layers that peft cannot give a rank of their own, each with the reason.

    Args:
        spectra: Of the model; layers that are held already do not matter.
        module: The model without weights; adapters of rank 1 are put into copies of it.
        shared_experts: All maps of a stack will have the same rank, as one target of peft.

    Raises:
        InputError: peft is not installed.
    """
    _require_peft()
    layers = [part.layer for part in spectra.factorable]
    reasons = {layer.name: _ONE_RANK for layer in layers if layer.stack > 1 and not shared_experts}
    trial = [Target(layer.name, layer.tensor, layer.stack, 1) for layer in layers if layer.name not in reasons]
    whole = any(part.layer.stack > 1 for part in spectra.layers)
    arguments = lora_arguments(trial, stacked=whole)
    refused = _drop_refused(arguments, module)
    wrong = _not_built(arguments, module, trial) and _not_built(arguments, module, trial, written=anchored)
    refused |= dict.fromkeys(wrong, "peft does not build an adapter for it")
    return reasons | {
        target.layer: refused[key] for target in trial for key in (target.layer, target.tensor) if key in refused
    }


def checked_lora_arguments(targets: list[Target], module: Any, *, stacked: bool, name: str) -> dict[str, Any]:
    """Return the arguments once peft has built them on the model, and nothing else.

    Args:
        targets: As for :func:`lora_arguments`.
        module: The model without weights; adapters are put into a copy of it.
        stacked: As for :func:`lora_arguments`.
        name: How errors call the model.

    Raises:
        InputError: peft is not installed, there is nothing to adapt, or peft builds something else.
    """
    _require_peft()
    arguments = lora_arguments(targets, stacked=stacked)
    if not targets:
        raise InputError(
            "there is nothing for peft to adapt: every layer stays dense", "give a smaller --budget, or no --peft"
        )
    if not _not_built(arguments, module, targets):
        return arguments
    if wrong := _not_built(arguments, module, targets, written=anchored):
        raise InputError(
            f"peft does not build the chosen ranks on {name}: {wrong[0]}",
            "leave out --peft and use the ranks of the JSON document",
        )
    return anchored(arguments)


def adapted_beside(targets: Iterable[Target], spectra: ModelSpectra) -> str:
    """Return which maps get an adapter with their stack although they stay dense, or an empty string.

    Args:
        targets: That the file names.
        spectra: With the layers that are held.
    """
    stacks = {target.tensor for target in targets if target.stack > 1}
    beside = [part.layer.name for part in spectra.held if part.layer.tensor in stacks]
    if not beside:
        return ""
    return f"peft gives a stack one adapter: {len(beside)} maps that stay dense here get it too, among them {beside[0]}"


def stub_of(layers: Iterable[LinearLayer]) -> Any:
    """Build a module that has nothing but linear modules of these names and shapes, without weights.

    It stands for a model of which only the spectra are there.
    """
    import torch

    root = torch.nn.Module()
    for layer in layers:
        *path, leaf = layer.name.split(".")
        place = root
        for name in path:
            if name not in place._modules:
                place.add_module(name, torch.nn.Module())
            place = place.get_submodule(name)
        if layer.stack == 1 and leaf not in place._modules:
            place.add_module(leaf, torch.nn.Linear(layer.shape[1], layer.shape[0], bias=False, device="meta"))
    return root


def _require_peft() -> None:
    try:
        import peft  # noqa: F401
    except ImportError as error:
        raise InputError("--peft needs peft, which is not installed", INSTALL) from error


def _drop(arguments: dict[str, Any], names: Iterable[str]) -> None:
    gone = set(names)
    for key in ("target_modules", "target_parameters"):
        if key in arguments:
            arguments[key] = [name for name in arguments[key] if name not in gone]
    if not arguments.get("target_parameters", True):
        del arguments["target_parameters"]
    for key in ("rank_pattern", "alpha_pattern"):
        arguments[key] = {name: rank for name, rank in arguments[key].items() if name not in gone}


def _drop_refused(arguments: dict[str, Any], module: Any) -> dict[str, str]:
    """Leave out the layers that peft refuses with an error, kind by kind, and return the reasons."""
    if not _error(arguments, module):
        return {}
    reasons: dict[str, str] = {}
    for key in ("target_modules", "target_parameters"):
        for leaf in dict.fromkeys(name.rpartition(".")[2] for name in arguments.get(key, ())):
            names = [name for name in arguments[key] if name.rpartition(".")[2] == leaf]
            alone = arguments | {"target_modules": [], "target_parameters": []} | {key: names[:1]}
            if error := _error(alone, module):
                reasons |= dict.fromkeys(names, f"peft: {error}")
    _drop(arguments, reasons)
    return reasons


def _error(arguments: Mapping[str, Any], module: Any) -> str:
    """Return why peft refuses to adapt a model, or an empty string."""
    try:
        _adapted(arguments, module)
    except (ValueError, TypeError, AttributeError, RuntimeError, NotImplementedError) as error:
        return " ".join(str(error).split())[:160] or type(error).__name__
    return ""


def _adapted(arguments: Mapping[str, Any], module: Any) -> Any:
    """Put adapters into a copy of a model without weights."""
    import copy

    from peft import LoraConfig, get_peft_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_peft_model(copy.deepcopy(module), LoraConfig(**arguments), low_cpu_mem_usage=True)


def _not_built(
    arguments: Mapping[str, Any],
    module: Any,
    targets: Iterable[Target],
    *,
    written: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
) -> list[str]:
    """Return the targets that do not get their rank, and the modules that get an adapter without being targets.

    Args:
        arguments: From :func:`lora_arguments`.
        module: The model without weights.
        targets: What the arguments are for.
        written: How they are handed to peft: as they are, or :func:`anchored`.
    """
    wanted = {name: _rank(arguments, name) for name in arguments["target_modules"]}
    wanted |= {name: _rank(arguments, name) for name in arguments.get("target_parameters", ())}
    if not wanted:
        return []
    if error := _error(written(arguments), module):
        return [error]
    built: dict[str, int] = {}
    stacks = {target.tensor: target.stack for target in targets}
    for path, part in _adapted(written(arguments), module).named_modules():
        ranks = getattr(part, "r", None)
        if not isinstance(ranks, dict) or "default" not in ranks:
            continue
        name = path.removeprefix("base_model.model.")
        while name.endswith(".base_layer"):
            name = name.removesuffix(".base_layer")
        parameter = getattr(part, "parameter_name", None)
        key = f"{name}.{parameter}" if parameter else name
        # a tensor of three dimensions is a stack of experts to peft
        built[key] = int(ranks["default"]) if not parameter or part.num_experts == stacks.get(key, 1) else 0
    return [name for name in (*wanted, *built) if wanted.get(name) != built.get(name)]


def _rank(arguments: Mapping[str, Any], name: str) -> int:
    return int(arguments["rank_pattern"].get(name, arguments["r"]))
