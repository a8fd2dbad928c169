"""The linear layers of a module in memory, or of one without weights: told by module classes, shapes and products."""

from __future__ import annotations

import re
from collections.abc import Mapping
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
from theorykit.models.running import as_judged, run_on, unwrapped

TRACED_TOKENS = 8
_CONVOLUTIONS = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d, torch.nn.ConvTranspose1d, torch.nn.ConvTranspose2d)
_TABLES = (torch.nn.Embedding, torch.nn.EmbeddingBag)
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
    share of tokens are read from these products, and for every map how often a token comes to it. Where no such pass is
    possible, names and shapes have to do, and every map is taken to be called once.
    """
    module = unwrapped(module)
    settings = _settings(module)
    owners = dict(module.named_modules())
    wide = {name: tensor for name, tensor in module.named_parameters() if tensor.dim() >= 2}
    parameters = {name: tensor for name, tensor in wide.items() if _is_dense(tensor)}
    away = _embeddings_and_heads(module, owners, settings)
    raw = {
        name: tensor
        for name, tensor in parameters.items()
        if name not in away and _width(tensor) > 1 and not _is_plain(name, owners)
    }
    watched = {name: tensor for name, tensor in parameters.items() if away.get(name) != "embedding"}
    blocks, whole = _traced_blocks(module, watched, TRACED_TOKENS)
    calls = _calls(module, watched, blocks)
    layers: list[LinearLayer] = []
    omitted = [
        Omitted(
            name, tensor.numel(), f"{str(tensor.dtype).removeprefix('torch.')}, {tensor.layout}: no dense real numbers"
        )
        for name, tensor in wide.items()
        if name not in parameters
    ]
    for name, tensor in parameters.items():
        owner = owners[name.rpartition(".")[0]]
        if name in away:
            layers.append(_single(name, tensor, away[name]))
        elif name not in raw:
            if isinstance(owner, _CONVOLUTIONS):
                omitted.append(Omitted(name, tensor.numel(), "a convolution"))
            elif tensor.dim() == 2 and min(tensor.shape) > 1 and name.endswith("weight") and _is_linear(owner):
                turned = not isinstance(owner, torch.nn.Linear)
                layers.append(_linear(name, tensor, owner, settings, calls, parameters, transposed=turned))
        elif not whole and name not in blocks:
            guessed = find_layers({name: tuple(tensor.shape)}, settings)
            layers += guessed
            if not guessed:
                omitted.append(Omitted(name, tensor.numel(), "no map by its name and shape"))
        elif stack := _stack(name, tensor, blocks.get(name, {}), owner, settings, calls.get(name, 0.0)):
            layers += stack
        elif (
            isinstance(owner, torch.nn.Linear) and name.endswith("weight") and name not in blocks
        ):  # text does not reach it
            layers.append(_linear(name, tensor, owner, settings, calls, parameters, transposed=False))
        else:
            reason = (
                "only parts of it are multiplied by" if name in blocks else "no product with tokens' states was seen"
            )
            omitted.append(Omitted(name, tensor.numel(), reason))
    return ModuleLayers(tuple(layers), tuple(omitted))


def _settings(module: torch.nn.Module) -> dict[str, Any]:
    config = getattr(module, "config", None)
    return dict(config.to_dict()) if config is not None and hasattr(config, "to_dict") else {}


def _is_dense(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() and tensor.layout == torch.strided


def _width(tensor: torch.Tensor) -> int:
    """Return the second largest dimension: 1 for what is a vector in another shape."""
    return sorted(tensor.shape)[-2]


def is_conv1d(owner: torch.nn.Module) -> bool:
    """Return whether a module is GPT-2's ``Conv1D``: a linear layer stored as inputs × outputs."""
    return type(owner).__name__ == "Conv1D" and hasattr(owner, "nf")


def _is_linear(owner: torch.nn.Module) -> bool:
    linear = isinstance(owner, torch.nn.Linear) and type(owner).forward is torch.nn.Linear.forward
    return linear or is_conv1d(owner)


def _is_plain(name: str, owners: Mapping[str, torch.nn.Module]) -> bool:
    """Return whether a parameter is the weight of a module whose class tells all about it."""
    path, _, own = name.rpartition(".")
    owner = owners[path]
    if own != "weight":  # what is left of a weight that is pruned, or an addition to it
        return False
    return _is_linear(owner) or isinstance(owner, (*_TABLES, *_CONVOLUTIONS))


def _embeddings_and_heads(
    module: torch.nn.Module, owners: Mapping[str, torch.nn.Module], settings: Mapping[str, Any]
) -> dict[str, Kind]:
    """Return the names of the parameters that turn ids into states or states into scores, each with its kind."""
    kinds: dict[int, Kind] = {}
    for owner in owners.values():
        if isinstance(owner, _TABLES):
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


def _traced_blocks(
    module: torch.nn.Module, watched: Mapping[str, torch.Tensor], length: int
) -> tuple[dict[str, dict[Block, int]], bool]:
    """Return the blocks of each parameter that a short pass multiplies by, with their rows, and if it ran through."""
    mode = ParameterProducts(watched.items())
    device = next((part.device for part in module.parameters() if not part.is_meta), torch.device("cpu"))
    tables = _part(module, "get_input_embeddings") or [
        part.weight for part in module.modules() if isinstance(part, torch.nn.Embedding)
    ]
    words = min((int(table.shape[0]) for table in tables[:1]), default=3 + length)
    tokens = torch.arange(3, 3 + length, device=device)[None] % words
    try:
        with torch.random.fork_rng(devices=[]), as_judged(module), torch.no_grad(), mode:
            run_on(module, tokens)
        whole = True
    except Exception:  # whatever a model stumbles over that lacks its other inputs; what was seen until then counts
        whole = False
    blocks: dict[str, dict[Block, int]] = {}
    for block, rows in mode.seen.items():
        blocks.setdefault(block.parameter, {})[block] = rows
    return blocks, whole


def _calls(
    module: torch.nn.Module, watched: Mapping[str, torch.Tensor], blocks: Mapping[str, Mapping[Block, int]]
) -> dict[str, float]:
    """Return how often a token is multiplied by each parameter that a pass met, parts counted by their size."""
    calls = {name: _work(part) / (TRACED_TOKENS * watched[name].numel()) for name, part in blocks.items()}
    if any(count >= 2 for count in calls.values()):
        # several calls for each token, or tokens that a model puts in front of any text: a longer text tells
        longer, _ = _traced_blocks(module, watched, 2 * TRACED_TOKENS)
        for name, count in calls.items():
            if count >= 2 and name in longer:
                more = _work(longer[name]) - _work(blocks[name])
                calls[name] = more / (TRACED_TOKENS * watched[name].numel())
    return calls


def _whole(calls: float) -> int:
    """Return a number of calls, at least 1: a few tokens more, for the edges of a text, are no second call."""
    return max(1, int(calls))


def _work(blocks: Mapping[Block, int]) -> int:
    """Return the multiplications of products with blocks."""
    return sum(rows * block.shape[0] * block.shape[1] for block, rows in blocks.items())


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
    calls: Mapping[str, float],
    parameters: Mapping[str, torch.Tensor],
    *,
    transposed: bool,
) -> LinearLayer:
    path = name.removesuffix(".weight")
    outputs = int(tensor.shape[1] if transposed else tensor.shape[0])
    kind = kind_of(path)
    share, often = 1.0, _whole(calls.get(name, 1.0))
    if _routes(path, owner, outputs, settings):
        kind = "router"
    elif kind in ("embedding", "head", "router"):
        kind = "other"  # its class says that it is a map
    if numbered := re.match(r"(.*?(?<!shared_)experts\.)\d+(?=\.|$)", path):
        stem = re.compile(re.escape(numbered[1]) + r"\d+" + re.escape(name[numbered.end() :]) + "$")
        alike = [key for key in parameters if stem.match(key)]
        # what the configuration says, else what a few tokens did
        used = sum(calls.get(key, 0.0) for key in alike) / len(alike)
        share = active_share(settings, len(alike))
        share, often = used if share == 1 and 0 < used < 1 else share, 1
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
        calls=often,
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
    used: float,
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
            calls=1 if share < 1 else _whole(used),
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
