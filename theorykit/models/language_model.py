"""A causal language model that can be run on text, loaded with transformers from safetensors or GGUF only."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from theorykit.errors import CheckpointError, InputError
from theorykit.models.locations import locate
from theorykit.models.sources import require_runnable

if TYPE_CHECKING:
    import torch


_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")


@dataclass(frozen=True)
class LanguageModel:
    """A model in evaluation mode with its tokenizer.

    Attributes:
        name: What the user called it.
        module: The transformers model; its parameters do not require gradients.
        tokenizer: Its tokenizer.
        device: Where it lies.
    """

    name: str
    module: Any
    tokenizer: Any
    device: torch.device


def load_language_model(model: str, *, device: str | None = None) -> LanguageModel:
    """Load a causal language model in float32, without remote code and without pickles.

    Args:
        model: As in :func:`theorykit.models.sources.open_weights`: ``smollm2``, a folder, a GGUF file, a hub id.
        device: A torch device; a GPU where there is one if None.

    Raises:
        InputError: no such model or device, or a file without what is needed to run it.
        CheckpointError: transformers cannot read it.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    path = locate(model)
    require_runnable(path)
    if path.is_dir() and not list(path.glob("*.safetensors")) and not list(path.glob("*.gguf")):
        raise CheckpointError(f"{path} holds no safetensors or GGUF weights", "pickled weights are not run")
    place = torch_device(device)
    options: dict[str, Any] = {"trust_remote_code": False}
    folder = path
    gguf_file = path if path.suffix == ".gguf" else next(iter(sorted(path.glob("*.gguf"))), None)
    if path.suffix == ".safetensors":
        folder = path.parent
    elif gguf_file is not None and not list(Path(gguf_file.parent).glob("*.safetensors")):
        folder, options["gguf_file"] = gguf_file.parent, gguf_file.name
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    # the GGUF reader draws a bar of its own
    with redirect_stderr(io.StringIO()):
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, **options)
            if "gguf_file" not in options:
                options["use_safetensors"] = True
            module = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options)
        except Exception as error:  # transformers raises many kinds of error for unreadable folders
            reason = " ".join(str(error).split())[:160]
            raise CheckpointError(
                f"{path} cannot be run as a causal language model: {reason}",
                "pass --calibration none for its weights alone",
            ) from error
        finally:
            logging.set_verbosity(verbosity)
    module.requires_grad_(False)
    return LanguageModel(model, module.eval().to(place), tokenizer, place)


def why_not_runnable(model: str) -> str:
    """Return why a model cannot be run on text here, or an empty string where it should be possible."""
    path = locate(model)
    folder = path if path.is_dir() else path.parent
    if path.suffix == ".gguf" or list(folder.glob("*.gguf")):
        file = path if path.suffix == ".gguf" else next(iter(folder.glob("*.gguf")))
        size = 8 * file.stat().st_size  # from about 4 bits to 32
    else:
        weights = list(folder.glob("*.safetensors"))
        if not weights or not (folder / "config.json").exists():
            return f"{folder} has no config.json with safetensors weights, so the model cannot be run on text"
        if not [name for name in _TOKENIZERS if (folder / name).exists()]:
            return f"{folder} has no tokenizer"
        size = 2 * sum(file.stat().st_size for file in weights)  # from 16 bits to 32
    free = _free_memory()
    if free is not None and 3 * size > free:
        return f"about {3 * size / 2**30:.0f} GiB of memory are needed and {free / 2**30:.0f} are free"
    return ""


def _free_memory() -> int | None:
    """Return the bytes of memory that are free, where the system tells."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return None


def torch_device(device: str | None) -> torch.device:
    """Return the named device, or the first GPU where there is one.

    Raises:
        InputError: the device is not there.
    """
    import torch

    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {device!r} is not there", "give cpu, cuda or cuda:0") from error
    return place


def token_blocks(model: LanguageModel, text: str, n_tokens: int, block: int, *, name: str = "the text") -> torch.Tensor:
    """Return the first ``n_tokens`` tokens of a text as blocks ``[n_tokens // block, block]``, int64.

    Args:
        model: For its tokenizer.
        text: Plain text.
        n_tokens: How many tokens; a multiple of ``block``.
        block: Tokens per block.
        name: How an error message calls the text.

    Raises:
        InputError: the text has fewer tokens.
    """
    import torch

    if not text.strip():
        raise InputError(f"{name} is empty", "give a plain text file")
    # 16 characters per token are far above any tokenizer's mean, and spare tokenising a whole corpus
    ids = model.tokenizer(text[: 16 * n_tokens], add_special_tokens=False)["input_ids"]
    if len(ids) < n_tokens:
        raise InputError(
            f"{name} has {len(ids)} tokens, fewer than the {n_tokens} asked for",
            "give a longer text or a smaller --calibration-tokens",
        )
    return torch.tensor(ids[:n_tokens], dtype=torch.int64).view(-1, block)
