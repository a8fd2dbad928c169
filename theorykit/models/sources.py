"""Weights in, one matrix at a time: hub id, local folder, safetensors (single or sharded), GGUF, live module."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch

from theorykit.errors import CheckpointError, InputError
from theorykit.models.gguf.source import GGUFSource
from theorykit.models.layers import (
    LinearLayer,
    Omitted,
    by_number,
    find_layers,
    kind_of,
    omitted_tensors,
    require_layers,
)
from theorykit.models.locations import locate, read_config, reason_of, refuse_pointers, weight_files
from theorykit.models.module_layers import matrix_of, module_layers
from theorykit.models.running import unwrapped
from theorykit.models.skeleton import Piece, assembled, build_skeleton, stored_layers
from theorykit.models.stored_formats import (
    refuse_adapter_folder,
    refuse_quantised_config,
    refuse_quantised_module,
    refuse_unreadable,
)

_COMPARED_ROWS = 4096
_UNTIED = {"tie_word_embeddings": False}
_HASHED_BLOCK = 2**25
_FLOATS = ("F64", "F32", "F16", "BF16")
_FLOAT_TYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


class WeightSource(Protocol):
    """Where matrices come from.

    Attributes:
        name: What the user called the model.
        layers: The linear layers and embeddings, in the order of the checkpoint.
        files: The files behind it; empty for a live module.
        omitted: Parameters of two or more dimensions that are no layers.
        model_type: transformers' name of the family, or an empty string.
    """

    name: str
    layers: tuple[LinearLayer, ...]
    files: tuple[Path, ...]
    omitted: tuple[Omitted, ...]
    model_type: str

    def open(self, layer: LinearLayer) -> Any:
        """Return a context manager that gives something with ``shape`` that slices like the stored matrix."""


def unread_remark(source: WeightSource) -> str:
    """Return which numbers of a model's files its model does not read, or an empty string."""
    unread = [part for part in source.omitted if part.state == "unread"]
    if not unread:
        return ""
    numbers = sum(part.parameters for part in unread)
    tensors = {layer.tensor: layer.parameters * layer.stack for layer in source.layers}
    whole = sum(tensors.values()) + sum(part.parameters for part in source.omitted if part.state != "lacking")
    told = f"{source.name}: {numbers:,} numbers of the files ({numbers / whole:.1%})"
    return f"{told} belong to no module of the model that is run, among them {unread[0].name}"


def fingerprint(source: WeightSource) -> str | None:
    """Return a key of the files' contents, wherever they lie and whenever they were written; None without files.

    Every byte counts: size and time of change tell nothing where archives and images are made with fixed times. Hashing
    takes about a second per GiB and core, far less than the spectra of as many weights.
    """
    if not source.files:
        return None
    key = hashlib.sha256()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:  # hashlib lets go of Python's lock
        for path in source.files:
            size = path.stat().st_size
            key.update(f"{path.name}|{size}\n".encode())
            starts = range(0, size, _HASHED_BLOCK)
            for digest in pool.map(_hash_of_block, [path] * len(starts), starts):
                key.update(digest)
    return key.hexdigest()[:32]


def _hash_of_block(path: Path, start: int) -> bytes:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        file.seek(start)
        left = _HASHED_BLOCK
        while left and (part := file.read(min(left, 2**20))):
            digest.update(part)
            left -= len(part)
    return digest.digest()


class _FileTensors:
    """Named tensors of a folder: the layers of the model that transformers builds for it, else told by names alone."""

    name: str
    files: tuple[Path, ...]

    def _find(self, shapes: Mapping[str, tuple[int, ...]], settings: Mapping[str, Any]) -> None:
        """Set layers, omitted parameters and the family, from the tensors of floating-point numbers."""
        ordered = {tensor: shapes[tensor] for tensor in sorted(shapes, key=by_number)}
        skeleton = build_skeleton(self.files[0].parent) if settings and self.files else None
        stored = stored_layers(skeleton, ordered) if skeleton is not None else None
        self._pieces: dict[str, tuple[Piece, ...]] = {}
        if stored is None:
            listed = find_layers(ordered, settings)
            names = {layer.tensor for layer in listed}
            # the configuration calls a head tied: its numbers tell
            embeddings = [layer for layer in listed if layer.kind == "embedding"]
            untied = [layer for layer in find_layers(ordered, dict(settings) | _UNTIED) if layer.tensor not in names]
            pairs = ((part.tensor, head.tensor) for head in untied for part in embeddings if part.shape == head.shape)
            listed += self._own_heads(pairs, shapes)
            self.layers = tuple(require_layers(listed, self.name))
            self.omitted = omitted_tensors(shapes, self.layers)
            self.model_type = str(settings.get("model_type") or "")
        else:
            self.layers = tuple(require_layers(list(stored.layers), self.name))
            self.omitted, self.model_type, self._pieces = stored.omitted, stored.model_type, stored.pieces
            self.layers += tuple(self._own_heads(stored.tied, shapes))

    def _own_heads(
        self, tied: Iterable[tuple[str, str]], shapes: Mapping[str, tuple[int, ...]]
    ) -> Iterator[LinearLayer]:
        """Find heads that the configuration ties to the embedding, and that hold other numbers all the same."""
        for tensors in tied:
            embedding, head = sorted(tensors, key=lambda tensor: kind_of(tensor.removesuffix(".weight")) == "head")
            if not self._same(embedding, head):
                m, n = shapes[head]
                yield LinearLayer(head.removesuffix(".weight"), head, (m, n), "head")

    def _same(self, first: str, second: str) -> bool:
        """Return whether two tensors hold the same numbers, read a block at a time."""
        with self._stored(first) as left, self._stored(second) as right:
            rows = int(left.shape[0])
            blocks = (slice(start, start + _COMPARED_ROWS) for start in range(0, rows, _COMPARED_ROWS))
            return all(torch.equal(left[block], right[block]) for block in blocks)

    def _stored(self, tensor: str) -> AbstractContextManager[Any]:
        """Give a tensor as something with ``shape`` that can be sliced."""
        raise NotImplementedError

    @contextmanager
    def open(self, layer: LinearLayer) -> Iterator[Any]:
        """Give the part of the files that holds the layer; blocks are read when it is sliced."""
        pieces = self._pieces.get(layer.name, ())
        m, n = layer.shape
        shape = (n, m) if layer.transposed else (m, n)
        tensor = pieces[0].tensor if len(pieces) == 1 else layer.tensor if not pieces else None
        if tensor is not None:
            with self._stored(tensor) as part:
                if tuple(part.shape) == shape and not any(piece.transposed for piece in pieces):
                    yield part
                    return
                if not pieces:
                    yield part[layer.expert]
                    return
        yield assembled(pieces, shape, self._read)

    def _read(self, piece: Piece) -> torch.Tensor:
        """Return one piece of a matrix as the file holds it."""
        with self._stored(piece.tensor) as stored:
            matrix: torch.Tensor = stored[:] if piece.index is None else stored[piece.index]
            if matrix.dim() != 2:
                return matrix
            rows = piece.shape[1] if piece.transposed else piece.shape[0]
            return matrix[piece.first : piece.first + rows]


class SafetensorsSource(_FileTensors):
    """One or several safetensors files, opened anew for each tensor so that no mapped pages pile up."""

    def __init__(
        self,
        name: str,
        files: Sequence[Path],
        config: Mapping[str, Any] | None = None,
        places: Mapping[str, Path] | None = None,
    ) -> None:
        self.name = name
        self.files = tuple(files)
        self._where: dict[str, Path] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        for path in files:
            for tensor, shape, dtype in _read_header(path):
                if tensor in self._where:
                    raise CheckpointError(
                        f"{tensor} lies in {self._where[tensor].name} and in {path.name}",
                        "they are not parts of one model: give one of them, or fetch the model again",
                    )
                self._where[tensor] = path
                refuse_unreadable(f"{path.name}: {tensor}", shape, dtype)
                if dtype in _FLOATS:
                    shapes[tensor] = shape
        for tensor, path in (places or {}).items():
            if self._where.get(tensor) != path:
                raise CheckpointError(
                    f"the index of {path.parent} places {tensor} in {path.name}, which does not hold it",
                    "shards and index are of different revisions; fetch the model again",
                )
        self._find(shapes, config or {})

    @contextmanager
    def _stored(self, tensor: str) -> Iterator[Any]:
        from safetensors import safe_open

        with safe_open(str(self._where[tensor]), framework="pt") as handle:
            yield _FileSlice(handle.get_slice(tensor))


class _FileSlice:
    """A slice of a safetensors file with the ``shape`` that matrices have."""

    def __init__(self, part: Any) -> None:
        self.shape = tuple(part.get_shape())
        self._part = part

    def __getitem__(self, key: Any) -> torch.Tensor:
        block: torch.Tensor = self._part[key]
        return block


class TensorSource(_FileTensors):
    """Tensors that are already in memory: pickled weights that were asked for."""

    def __init__(
        self,
        name: str,
        tensors: Mapping[str, Any],
        config: Mapping[str, Any] | None = None,
        files: tuple[Path, ...] = (),
    ) -> None:
        self.name = name
        self.files = files
        self._tensors = {key: value.detach() for key, value in tensors.items() if value.dtype in _FLOAT_TYPES}
        for key, value in tensors.items():
            refuse_unreadable(key, tuple(value.shape), str(value.dtype).removeprefix("torch."))
        self._find({key: tuple(value.shape) for key, value in self._tensors.items()}, config or {})

    def _stored(self, tensor: str) -> AbstractContextManager[Any]:
        return nullcontext(self._tensors[tensor])


class ModuleSource:
    """A live module: its own parameters, under the names that they have there."""

    def __init__(self, name: str, module: torch.nn.Module) -> None:
        self.name = name
        self.files: tuple[Path, ...] = ()
        self.parameters = dict(module.named_parameters())
        for key, value in self.parameters.items():
            refuse_unreadable(key, tuple(value.shape), str(value.dtype).removeprefix("torch."))
        parts = module_layers(module)
        self.layers = tuple(require_layers(list(parts.layers), name))
        self.omitted = parts.omitted
        self.model_type = str(getattr(getattr(module, "config", None), "model_type", "") or "")

    @contextmanager
    def open(self, layer: LinearLayer) -> Iterator[Any]:
        """Give the stored matrix, a view."""
        parameter = self.parameters[layer.tensor].detach()
        if parameter.is_meta:
            raise CheckpointError(f"{layer.name} has no weights (device meta)", "load the model's weights first")
        matrix = matrix_of(layer, parameter)
        yield matrix.T if layer.transposed else matrix


def module_source(module: torch.nn.Module, name: str = "module") -> ModuleSource:
    """List the linear layers of a live module; a parameter that appears twice (a tied head) counts once.

    Raises:
        CheckpointError: quantised weights, or no linear layer.
        InputError: no module, or one whose parameters have no shape yet.
    """
    module = unwrapped(module)
    if not isinstance(module, torch.nn.Module):
        raise InputError(
            f"a {type(module).__name__} is no torch.nn.Module",
            "give a module; open_weights takes folders, files and names",
        )
    if lazy := [name for name, part in module.named_parameters() if torch.nn.parameter.is_lazy(part)]:
        raise InputError(f"{lazy[0]} has no shape yet", "run the module on an input first")
    refuse_quantised_module(module)
    return ModuleSource(name, module)


def open_weights(model: str | os.PathLike[str], *, allow_pickle: bool = False) -> WeightSource:
    """Open the weights behind a name without building the model.

    Args:
        model: A folder, a ``.safetensors`` or ``.gguf`` file, ``smollm2``, or a hub id such as ``gpt2``.
        allow_pickle: Read pickled weights with ``torch.load(weights_only=True)``; refused otherwise.

    Returns:
        The source of its matrices.

    Raises:
        CheckpointError: nothing readable there, or pickled weights without ``allow_pickle``.
        InputError: no such model.
    """
    name, path = str(model), locate(str(model))
    config = read_config(path) if path.is_dir() else {}
    weights = weight_files(path)
    refuse_pointers(weights.files)
    if weights.kind == "gguf":
        return GGUFSource(name, weights.files[0])
    folder = path if path.is_dir() else path.parent
    config = config or read_config(folder)
    refuse_adapter_folder(folder)
    refuse_quantised_config(name, folder, config)
    if weights.kind == "pickle":
        return _open_pickles(name, weights.files, config, allow_pickle)
    return SafetensorsSource(name, weights.files, config, weights.places)


def _open_pickles(name: str, files: Sequence[Path], config: Mapping[str, Any], allow: bool) -> WeightSource:

    if not allow:
        raise CheckpointError(
            f"{files[0]} is a pickle, which can run code when it is read",
            "convert it to safetensors, or pass --allow-pickle to read it with weights_only=True",
        )
    tensors: dict[str, Any] = {}
    for file in files:
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Sparse invariant checks")  # sparse tensors are left out below
                content = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # pickle reports damage in many ways
            raise CheckpointError(
                f"{file} cannot be read with weights_only: {reason_of(error)}", "convert it to safetensors"
            ) from error
        content = content.get("state_dict", content) if isinstance(content, dict) else {}
        held = (
            {str(key): value for key, value in content.items() if _is_dense(value)} if isinstance(content, dict) else {}
        )
        if twice := sorted(set(held) & set(tensors)):
            raise CheckpointError(
                f"{twice[0]} lies in {file.name} and in a file before it",
                "they are not parts of one model: give one of them, or fetch the model again",
            )
        tensors |= held
    return TensorSource(name, _without_tied(tensors), config, tuple(files))


def _is_dense(value: Any) -> bool:

    return isinstance(value, torch.Tensor) and value.layout == torch.strided


def _without_tied(tensors: dict[str, Any]) -> dict[str, Any]:
    """Leave out what shares its memory with an earlier tensor: a pickle lists a tied head beside the embedding."""
    places: set[tuple[int, tuple[int, ...]]] = set()
    kept = {}
    for key, value in tensors.items():
        place = value.data_ptr(), tuple(value.shape)
        if not value.numel() or place not in places:
            kept[key] = value
        places.add(place)
    return kept


def _read_header(path: Path) -> list[tuple[str, tuple[int, ...], str]]:
    """Return name, shape and type of every tensor; safetensors checks the file's length against its header."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as handle:
            slices = ((tensor, handle.get_slice(tensor)) for tensor in handle.keys())  # noqa: SIM118
            return [(tensor, tuple(part.get_shape()), part.get_dtype()) for tensor, part in slices]
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a whole safetensors file: {reason_of(error)}",
            "it is truncated or corrupt; fetch it again",
        ) from error
