"""The linear layers of a module in memory, or of one without weights: told by module classes, shapes and products."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from theorykit.models.layers import (
    FUSED,
    Kind,
    LinearLayer,
    Omitted,
    active_share,
    expert_counts,
    find_layers,
    kind_of,
)
from theorykit.models.products import Block, ParameterProducts

TRACED_TOKENS = 8
_CONVOLUTIONS = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d, torch.nn.ConvTranspose1d, torch.nn.ConvTranspose2d)
_ROUTER = re.compile(r"router|(^|[._])gate($|[._](?!proj|up))|switch", re.IGNORECASE)


@dataclass(frozen=True)
class ModuleLayers:
    """What a module is made of.

    Attributes:
        layers: Linear layers, embeddings and heads, in the module's order.
        omitted: Parameters of two or more dimensions that are none of these.
    """

    layers: tuple[LinearLayer, ...]
    omitted: tuple[Omitted, ...]


def module_layers(module: torch.nn.Module) -> ModuleLayers:
    """List the linear maps of a module; parameters on the meta device are enough.

    A module's class tells what a matrix is for: ``nn.Linear`` and ``Conv1D`` are maps, ``nn.Embedding`` is a table,
    what the model calls its output embeddings is a head. Any other parameter of two or more dimensions is a map, or a
    stack of them, where a forward pass over a few tokens multiplies activations by it; orientation, number of maps and
    share of tokens are read from these products. Where no such pass is possible, names and shapes have to do.
    """
    settings = _settings(module)
    owners = dict(module.named_modules())
    parameters = {name: tensor for name, tensor in module.named_parameters() if tensor.dim() >= 2}
    away = _embeddings_and_heads(module, owners, settings)
    raw = {
        name: tensor
        for name, tensor in parameters.items()
        if name not in away and _width(tensor) > 1 and not _is_plain(owners[name.rpartition(".")[0]])
    }
    blocks = _traced_blocks(module, raw) if raw else {}
    layers: list[LinearLayer] = []
    omitted: list[Omitted] = []
    for name, tensor in parameters.items():
        owner = owners[name.rpartition(".")[0]]
        if name in away:
            layers.append(_single(name, tensor, away[name]))
        elif name not in raw:
            if isinstance(owner, _CONVOLUTIONS):
                omitted.append(Omitted(name, tensor.numel(), "a convolution"))
            elif tensor.dim() == 2 and min(tensor.shape) > 1 and name.endswith("weight") and _is_linear(owner):
                turned = not isinstance(owner, torch.nn.Linear)
                layers.append(_linear(name, tensor, owner, settings, parameters, transposed=turned))
        elif blocks is None:
            guessed = find_layers({name: tuple(tensor.shape)}, settings)
            layers += guessed
            if not guessed:
                omitted.append(Omitted(name, tensor.numel(), "no map by its name and shape"))
        elif stack := _stack(name, tensor, blocks.get(name, {}), owner, settings):
            layers += stack
        elif isinstance(owner, torch.nn.Linear) and name not in blocks:  # not reached by text
            layers.append(_linear(name, tensor, owner, settings, parameters, transposed=False))
        else:
            omitted.append(Omitted(name, tensor.numel(), "enters no product with the tokens' states"))
    return ModuleLayers(tuple(layers), tuple(omitted))


def run_on(module: torch.nn.Module, tokens: torch.Tensor) -> Any:
    """Run a model on token ids ``[batch, length]`` without a cache, and return its output."""
    accepted = inspect.signature(module.forward).parameters
    takes_any = any(part.kind is inspect.Parameter.VAR_KEYWORD for part in accepted.values())
    options = {"use_cache": False} if "use_cache" in accepted or takes_any else {}
    if "input_ids" in accepted or takes_any:
        return module(input_ids=tokens, **options)
    embeddings: Any = module.get_input_embeddings()  # type: ignore[operator]
    return module(inputs_embeds=embeddings(tokens), **options)


@contextmanager
def eager_experts(module: torch.nn.Module) -> Iterator[None]:
    """Let experts be computed one after another, each from its own matrix; gathered copies could not be told apart."""
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


def _settings(module: torch.nn.Module) -> dict[str, Any]:
    config = getattr(module, "config", None)
    return dict(config.to_dict()) if config is not None and hasattr(config, "to_dict") else {}


def _width(tensor: torch.Tensor) -> int:
    """Return the second largest dimension: 1 for what is a vector in another shape."""
    return sorted(tensor.shape)[-2]


def is_conv1d(owner: torch.nn.Module) -> bool:
    """Return whether a module is GPT-2's ``Conv1D``: a linear layer stored as inputs × outputs."""
    return type(owner).__name__ == "Conv1D" and hasattr(owner, "nf")


def _is_linear(owner: torch.nn.Module) -> bool:
    linear = isinstance(owner, torch.nn.Linear) and type(owner).forward is torch.nn.Linear.forward
    return linear or is_conv1d(owner)


def _is_plain(owner: torch.nn.Module) -> bool:
    """Return whether a module's class tells all about its weight."""
    return _is_linear(owner) or isinstance(owner, (torch.nn.Embedding, *_CONVOLUTIONS))


def _embeddings_and_heads(
    module: torch.nn.Module, owners: Mapping[str, torch.nn.Module], settings: Mapping[str, Any]
) -> dict[str, Kind]:
    """Return the names of the parameters that turn ids into states or states into scores, each with its kind."""
    kinds: dict[int, Kind] = {}
    for owner in owners.values():
        if isinstance(owner, torch.nn.Embedding):
            kinds[id(owner.weight)] = "embedding"
    inputs, outputs = (_part(module, f"get_{side}_embeddings") for side in ("input", "output"))
    for part in inputs:
        kinds.setdefault(id(part), "embedding")
    for part in outputs:
        kinds.setdefault(id(part), "head")
    base = getattr(module, "base_model", module)
    if base is not module:
        inside = {id(owner) for owner in base.modules()}
        sizes = {settings.get("vocab_size"), len(settings.get("id2label") or ())}
        for owner in owners.values():
            if id(owner) not in inside and _is_linear(owner):
                weight: Any = owner.weight
                if not outputs or weight.shape[0] in sizes:
                    kinds.setdefault(id(weight), "head")
    names: dict[str, Kind] = {
        name: kinds[id(tensor)] for name, tensor in module.named_parameters() if id(tensor) in kinds
    }
    if not outputs:  # a module that is no transformers model has no other sign of its head
        for name, tensor in module.named_parameters():
            kind = kind_of(name.removesuffix(".weight"))
            if kind == "head" and tensor.dim() == 2:
                names.setdefault(name, kind)
    return names


def _part(module: torch.nn.Module, getter: str) -> list[torch.Tensor]:
    """Return the matrices of the part that a model names, or nothing where it names none."""
    try:
        part = getattr(module, getter)()
    except (AttributeError, NotImplementedError, TypeError):
        return []
    return [tensor for tensor in part.parameters() if tensor.dim() >= 2] if isinstance(part, torch.nn.Module) else []


def _traced_blocks(module: torch.nn.Module, raw: Mapping[str, torch.Tensor]) -> dict[str, dict[Block, int]] | None:
    """Return the blocks of each parameter that a short forward pass multiplies by, with their rows; None on failure."""
    mode = ParameterProducts(raw.items())
    training = module.training
    device = next((part.device for part in module.parameters() if not part.is_meta), torch.device("cpu"))
    tables = _part(module, "get_input_embeddings") or [
        part.weight for part in module.modules() if isinstance(part, torch.nn.Embedding)
    ]
    words = min((int(table.shape[0]) for table in tables[:1]), default=3 + TRACED_TOKENS)
    tokens = torch.arange(3, 3 + TRACED_TOKENS, device=device)[None] % words
    try:
        module.eval()
        with torch.random.fork_rng(devices=[]), eager_experts(module), torch.no_grad(), mode:
            run_on(module, tokens)
    except Exception:  # whatever a model stumbles over that lacks its other inputs; what was seen until then counts
        if not mode.seen:
            return None
    finally:
        module.train(training)
    blocks: dict[str, dict[Block, int]] = {}
    for block, rows in mode.seen.items():
        blocks.setdefault(block.parameter, {})[block] = rows
    return blocks


def _single(name: str, tensor: torch.Tensor, kind: Kind) -> LinearLayer:
    first, second = int(tensor.shape[0]), int(tensor[0].numel())
    return LinearLayer(
        name=name.removesuffix(".weight"),
        tensor=name,
        shape=(first, second),
        kind=kind,
    )


def _linear(
    name: str,
    tensor: torch.Tensor,
    owner: torch.nn.Module,
    settings: Mapping[str, Any],
    parameters: Mapping[str, torch.Tensor],
    *,
    transposed: bool,
) -> LinearLayer:
    path = name.removesuffix(".weight")
    outputs = int(tensor.shape[1] if transposed else tensor.shape[0])
    kind = kind_of(path)
    share = 1.0
    if _routes(path, owner, outputs, settings):
        kind = "router"
    elif kind in ("embedding", "head", "router"):
        kind = "other"  # its class says that it is a map
    if numbered := re.match(r"(.*?(?<!shared_)experts\.)(\d+)\.", path):
        stem = re.compile(re.escape(numbered[1]) + r"(\d+)\.")
        share = active_share(settings, len({match[1] for key in parameters if (match := stem.match(key))}))
    return LinearLayer(
        name=path,
        tensor=name,
        shape=(int(tensor.shape[1]), int(tensor.shape[0]))
        if transposed
        else (int(tensor.shape[0]), int(tensor.shape[1])),
        kind=kind,
        transposed=transposed,
        fused=bool(FUSED.search(path)),
        active_share=share,
    )


def _routes(path: str, owner: torch.nn.Module, outputs: int, settings: Mapping[str, Any]) -> bool:
    """Return whether a map gives a score to every expert."""
    named = _ROUTER.search(path.split(".experts.")[-1]) or re.search(r"Router|Gate$|TopK", type(owner).__name__)
    counts = expert_counts(settings)
    return bool(named) and (outputs in counts or ("router" in path and outputs - 1 in counts))


def _stack(
    name: str,
    tensor: torch.Tensor,
    blocks: Mapping[Block, int],
    owner: torch.nn.Module,
    settings: Mapping[str, Any],
) -> list[LinearLayer]:
    """Turn the blocks that were seen of one parameter into layers, those that no token met included."""
    shapes = {(block.shape, block.transposed) for block in blocks}
    if len(shapes) != 1 or not all(block.contiguous for block in blocks):
        return []
    ((m, n), transposed) = shapes.pop()
    count, rest = divmod(tensor.numel(), m * n)
    if rest or min(m, n) < 2 or any(block.offset % (m * n) for block in blocks) or not tensor.is_contiguous():
        return []
    path = name.removesuffix(".weight")
    kind = kind_of(path)
    if _routes(path, owner, m, settings):
        kind = "router"
    share = 1.0
    if count > 1 and kind != "router":
        # what the configuration says, else what a few tokens did
        used = sum(blocks.values()) / (count * TRACED_TOKENS)
        share = active_share(settings, count)
        share = share if share < 1 and (used < 1 or count in expert_counts(settings)) else min(used, 1.0)
        if share < 1:
            kind = "expert"
    if kind in ("embedding", "head") or (kind == "router" and not _routes(path, owner, m, settings)):
        kind = "other"
    return [
        LinearLayer(
            name=_mapped_name(path, index, tensor) if count > 1 else path,
            tensor=name,
            shape=(m, n),
            kind=kind,
            transposed=transposed,
            expert=index if count > 1 else None,
            fused=bool(FUSED.search(path)),
            active_share=share,
            stack=count,
        )
        for index in range(count)
    ]


def _mapped_name(path: str, index: int, tensor: torch.Tensor) -> str:
    """Put the number of a map behind what holds it: a tensor of several, or a module of matrices of several each."""
    holder, _, own = path.rpartition(".")
    return f"{path}[{index}]" if tensor.dim() > 2 or not holder else f"{holder}[{index}].{own}"


def matrix_of(layer: LinearLayer, tensor: torch.Tensor) -> torch.Tensor:
    """Return the layer's W ``[m, n]`` as a view of its stored parameter.

    Args:
        layer: From :func:`module_layers`.
        tensor: The parameter, or another of its shape, contiguous.
    """
    m, n = layer.shape
    if layer.stack == 1 and tensor.dim() == 2:
        return tensor.T if layer.transposed else tensor
    block = tensor.reshape(-1)[layer.offset :][: m * n]
    return block.view(n, m).T if layer.transposed else block.view(m, n)
