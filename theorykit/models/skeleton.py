"""The model that transformers builds from a folder, without its weights, and where its matrices lie in the files."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from theorykit.models.layers import LinearLayer, Omitted
from theorykit.models.module_layers import module_layers
from theorykit.models.stored_formats import is_mask


@dataclass(frozen=True)
class Piece:
    """A part of a stored matrix, as a file holds it.

    Attributes:
        tensor: Name in the file.
        index: Which matrix of a three-dimensional tensor; None for one of two dimensions.
        row: Where it begins in the matrix as the model stores it.
        column: Likewise.
        shape: Rows and columns there.
        transposed: The file holds it the other way round.
        first: Its first row in the tensor of the file, which may hold several matrices one below the other.
    """

    tensor: str
    index: int | None
    row: int
    column: int
    shape: tuple[int, int]
    transposed: bool
    first: int = 0


@dataclass(frozen=True)
class StoredLayers:
    """The layers of a model and the files' tensors that they are read from.

    Attributes:
        layers: Under the names of the model that transformers builds.
        pieces: Name of a layer to its parts.
        omitted: Parameters and stored tensors that are no layers.
        model_type: transformers' name of the family.
        tied: Tensors of the files that are one parameter of the model, embedding and head.
    """

    layers: tuple[LinearLayer, ...]
    pieces: dict[str, tuple[Piece, ...]]
    omitted: tuple[Omitted, ...]
    model_type: str
    tied: tuple[tuple[str, str], ...]


def build_skeleton(folder: Path) -> torch.nn.Module | None:
    """Build the model of a folder's configuration on the meta device; None where transformers cannot by itself."""
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        return skeleton_of(config)
    except Exception:  # an unknown family, or one that needs a package that is not there
        return None


def skeleton_of(config: Any) -> torch.nn.Module:
    """Build the model of a configuration on the meta device.

    Args:
        config: A transformers configuration; its ``architectures`` name the class, else it is the causal model.
    """
    import transformers

    names = [name for name in (getattr(config, "architectures", None) or ()) if hasattr(transformers, str(name))]
    config = _in_float32(config)
    with _on_meta():
        module: Any
        if names:
            module = getattr(transformers, names[0])(config)
        else:
            module = transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    if hasattr(module, "tie_weights"):
        module.tie_weights()
    return module.eval().requires_grad_(False)  # type: ignore[no-any-return]


def skeleton_like(module: torch.nn.Module) -> torch.nn.Module:
    """Build a model of the same class and configuration on the meta device."""
    with _on_meta():
        empty: torch.nn.Module = type(module)(_in_float32(module.config))
    return empty.eval().requires_grad_(False)


@contextmanager
def _on_meta() -> Iterator[None]:
    """Build on the meta device in float32, whatever precision is usual here."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device("meta"):
            yield
    finally:
        torch.set_default_dtype(usual)


def _in_float32(config: Any) -> Any:
    """Return a configuration for a model without numbers: on a walk through it, parts in two precisions do not meet."""
    from transformers import PreTrainedConfig

    config = copy.deepcopy(config)
    parts = [config]
    while parts:
        part = parts.pop()
        if hasattr(part, "dtype"):
            part.dtype = torch.float32
        parts += [value for value in vars(part).values() if isinstance(value, PreTrainedConfig)]
    return config


def stored_layers(module: torch.nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> StoredLayers | None:
    """Find the layers of a model without weights in files of tensors.

    transformers renames, stacks and splits tensors between file and model. The same steps run backwards on the
    model's empty parameters give views of them under the files' names: where a view lies tells which part it is.

    Args:
        module: On the meta device.
        shapes: The floating-point tensors of the files.

    Returns:
        The layers; what the files lack is omitted by name. None where layers lack and as many numbers lie in the files
        that no parameter of the model was matched with: then they may be the same under other names.
    """
    parts = module_layers(module)
    views = _views(module, shapes)
    pieces = {layer.name: _pieces(layer, views.get(layer.tensor, ())) for layer in parts.layers}
    lacking: dict[str, int] = {}
    for layer in parts.layers:
        if layer.factorable and not pieces[layer.name]:
            lacking[layer.tensor] = lacking.get(layer.tensor, 0) + layer.parameters
    layers = tuple(layer for layer in parts.layers if pieces[layer.name])
    used = {view.name for stored in views.values() for view in stored}
    stray = [
        Omitted(name, math.prod(shape), "belongs to no module of the model", "unread")
        for name, shape in shapes.items()
        if name not in used and sum(size > 1 for size in shape) > 1 and not is_mask(name, shape)
    ]
    if lacking and (
        sum(part.parameters for part in stray) >= sum(lacking.values()) or not any(map(bool, pieces.values()))
    ):
        return None
    stray += [Omitted(name, numbers, "the files lack it", "lacking") for name, numbers in lacking.items()]
    model_type = str(getattr(getattr(module, "config", None), "model_type", "") or "")
    kept = {layer.name: pieces[layer.name] for layer in layers}
    whole = {
        name: [view.name for view in stored if view.offset == 0 and math.prod(view.shape) == math.prod(stored[0].shape)]
        for name, stored in views.items()
    }
    tied = tuple((names[0], other) for names in whole.values() for other in names[1:])
    return StoredLayers(layers, kept, (*parts.omitted, *stray), model_type, tied)


@dataclass(frozen=True)
class _View:
    """A stored tensor as a view of a parameter."""

    name: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _views(module: torch.nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, list[_View]]:
    """Return, for every parameter, the stored tensors that are views of it."""
    owners: dict[int, str] = {}
    state: dict[str, torch.Tensor] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        state[name] = parameter.detach()
        owners.setdefault(int(parameter.untyped_storage()._cdata), name)
    reverted = _reverted(module, state)
    renamed = _renamer(module, state)
    prefix = f"{getattr(module, 'base_model_prefix', '')}."
    views: dict[str, list[_View]] = {}
    for name, shape in shapes.items():
        names = (name, f"{prefix}{name}", name.removeprefix(prefix))
        candidates: Iterable[torch.Tensor | None] = (
            *(reverted.get(key) for key in names),
            *(state.get(key) for key in (*names, renamed(name))),
        )
        for tensor in candidates:
            if tensor is None or tuple(tensor.shape) != tuple(shape):
                continue
            owner = owners.get(int(tensor.untyped_storage()._cdata))
            if owner is not None:
                place = int(tensor.storage_offset()), tuple(int(size) for size in tensor.shape)
                views.setdefault(owner, []).append(_View(name, *place, tuple(int(step) for step in tensor.stride())))
                break
    for owner, tensor in state.items():
        # rows in another order (gate and up in turns): a copy, whose singular values are the same
        if owner not in views and tensor.dim() >= 2:
            alone = _reverted(module, {owner: tensor})
            if len(alone) == 1 and (name := next(iter(alone))) in shapes and shapes[name] == tuple(tensor.shape):
                views[owner] = [_View(name, 0, shapes[name], tuple(int(step) for step in tensor.stride()))]
    return views


class _Views(TorchFunctionMode):
    """Within it nothing is copied for the sake of its layout alone, so that a part of a tensor stays a view of it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.Tensor.contiguous, torch.Tensor.clone):
            return args[0]
        return func(*args, **(kwargs or {}))


def _reverted(module: torch.nn.Module, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the parameters as transformers writes them, most of them views; nothing where it cannot."""
    try:
        from transformers.core_model_loading import revert_weight_conversion

        with _Views():
            return dict(revert_weight_conversion(module, dict(state)))
    except Exception:  # an internal of transformers, which changes between versions
        return {}


def _renamer(module: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> Any:
    """Return a function from a stored name to the model's, by transformers' own renamings."""
    try:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightRenaming, rename_source_key

        renamings = [part for part in get_model_conversion_mapping(module) if isinstance(part, WeightRenaming)]
        prefix = getattr(module, "base_model_prefix", "")
        return lambda name: rename_source_key(name, renamings, [], prefix, state)[0]
    except Exception:  # as above
        return lambda name: name


def _pieces(layer: LinearLayer, views: Iterable[_View]) -> tuple[Piece, ...]:
    """Return the parts of one layer, or nothing where they do not cover it."""
    m, n = layer.shape
    rows, columns = (n, m) if layer.transposed else (m, n)
    pieces = []
    for view in views:
        if layer.stack == 1 and view.offset == 0 and math.prod(view.shape) == m * n and _is_whole(view):
            return (Piece(view.name, None, 0, 0, (rows, columns), transposed=False),)
        inner = _matrices(view)
        for index, offset, shape, strides in inner:
            place = offset - layer.offset
            if -shape[0] * columns < place < 0 and strides == (columns, 1) and not place % columns:
                first = -place // columns
                if first + rows <= shape[0]:
                    pieces.append(Piece(view.name, index, 0, 0, (rows, columns), transposed=False, first=first))
                continue
            if place == 0 and shape[0] > rows and strides == (columns, 1):
                pieces.append(Piece(view.name, index, 0, 0, (rows, columns), transposed=False))
                continue
            if not 0 <= place < m * n:
                continue
            row, column = divmod(place, columns)
            if strides == (columns, 1) or (shape[0] == 1 and strides[1] == 1):
                pieces.append(Piece(view.name, index, row, column, shape, transposed=False))
            elif strides == (1, columns):
                pieces.append(Piece(view.name, index, row, column, (shape[1], shape[0]), transposed=True))
    covered = sum(piece.shape[0] * piece.shape[1] for piece in pieces)
    return tuple(pieces) if covered == m * n else ()


def _matrices(view: _View) -> list[tuple[int | None, int, tuple[int, int], tuple[int, int]]]:
    """Return the matrices of a view: index, offset, shape and strides."""
    if len(view.shape) == 2:
        return [(None, view.offset, (view.shape[0], view.shape[1]), (view.strides[0], view.strides[1]))]
    if len(view.shape) != 3:
        return []
    shape, strides = (view.shape[1], view.shape[2]), (view.strides[1], view.strides[2])
    return [(index, view.offset + index * view.strides[0], shape, strides) for index in range(view.shape[0])]


def _is_whole(view: _View) -> bool:
    """Return whether a view holds its numbers in the order in which they lie."""
    steps = 1
    for size, stride in zip(reversed(view.shape), reversed(view.strides), strict=True):
        if size > 1 and stride != steps:
            return False
        steps *= size
    return True


def assembled(pieces: Iterable[Piece], shape: tuple[int, int], read: Any) -> torch.Tensor:
    """Put a stored matrix together.

    Args:
        pieces: Its parts.
        shape: Of the whole, as the model stores it.
        read: From a piece to its matrix as the file holds it.
    """
    whole: torch.Tensor | None = None
    for piece in pieces:
        part = read(piece)
        part = (part.T if piece.transposed else part).reshape(piece.shape)
        if piece.shape == shape:
            return part  # type: ignore[no-any-return]
        if whole is None:
            whole = part.new_empty(shape)
        whole[piece.row : piece.row + piece.shape[0], piece.column : piece.column + piece.shape[1]] = part
    assert whole is not None
    return whole
