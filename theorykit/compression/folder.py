"""The folder that a compression leaves: weights, configuration, tokenizer, ranks and a card."""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from theorykit.compression.checkpoint import expanded, mark, write_folder
from theorykit.compression.compress import TORCH_DTYPES
from theorykit.compression.gauge_free import gauge_free_factors
from theorykit.compression.linear import GaugeFreeLinear, is_replaceable, replace_layers
from theorykit.compression.report import CompressionReport
from theorykit.compression.request import Format, require_format
from theorykit.errors import CheckpointError, InputError
from theorykit.models.language_model import LanguageModel
from theorykit.models.locations import locate, read_config, reason_of, weight_files
from theorykit.plugin import register
from theorykit.results import to_json

RANKS = "ranks.json"
_STORED = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*", "COPYING*")


@dataclass(frozen=True)
class StoredNumbers:
    """How a model is stored.

    Attributes:
        dtype: In which a smaller model is written: the type of most of its numbers, float16 for GGUF's.
        bytes: Of its weight files.
        kind: Of these files: ``"safetensors"``, ``"gguf"`` or another.
    """

    dtype: str
    bytes: int
    kind: str


def stored_numbers(model: str) -> StoredNumbers:
    """Return how the model behind a name is stored."""
    from safetensors import safe_open

    files = weight_files(locate(model))
    size = sum(file.stat().st_size for file in files.files)
    counts: dict[str, int] = {}
    if files.kind == "safetensors":
        for file in files.files:
            with safe_open(file, framework="np") as tensors:
                for name in tensors.keys():  # noqa: SIM118 - no mapping
                    part = tensors.get_slice(name)
                    counts[part.get_dtype()] = counts.get(part.get_dtype(), 0) + math.prod(part.get_shape())
    usual = max(counts, key=lambda kind: counts[kind], default="F16")
    return StoredNumbers(_STORED.get(usual, "float32"), size, files.kind)


def save_compressed(
    model: LanguageModel,
    report: CompressionReport,
    folder: Path,
    *,
    form: Format = "factored",
    source: str | None = None,
    command: str = "",
    commit: str = "",
) -> int:
    """Write a compressed model as a folder, whole or not at all.

    Args:
        model: From :func:`theorykit.compression.compress`.
        report: Likewise.
        folder: Must not exist.
        form: ``"factored"`` loads after ``import theorykit``; ``"dense"`` loads everywhere and is as large as before.
        source: What the model was loaded from, for its licence.
        command: That made it, for the card.
        commit: Of theorykit, for the card.

    Returns:
        Bytes of the weight files.

    Raises:
        InputError: the folder exists, cannot be written, or there is no such format.
    """
    require_format(form)

    def fill(inside: Path) -> None:
        stored = copy.deepcopy(model.module).to(TORCH_DTYPES[report.dtype])
        mark(stored)
        if form == "dense":
            stored = expanded(stored)
        stored.save_pretrained(inside)
        model.tokenizer.save_pretrained(inside)
        (inside / RANKS).write_text(to_json(_ranks(report)) + "\n", encoding="utf-8")
        licences = _copy_licences(source, inside)
        (inside / "README.md").write_text(_card(report, form, licences, command, commit), encoding="utf-8")

    write_folder(folder, fill)
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _ranks(report: CompressionReport) -> dict[str, Any]:
    return {
        "format": "theorykit-ranks",
        "version": 1,
        "budget": report.budget,
        "layers": {
            layer.name: {"shape": layer.shape, "rank": layer.rank, "numbers": layer.numbers, "reason": layer.reason}
            for layer in report.layers
        },
    }


def _source_folder(source: str | None) -> Path | None:
    if source is None:
        return None
    path = locate(source)
    return path if path.is_dir() else path.parent


def _copy_licences(source: str | None, inside: Path) -> list[str]:
    """Copy the licence files that lie beside the weights; return their names."""
    folder = _source_folder(source)
    if folder is None:
        return []
    files = sorted({file for pattern in _LICENCES for file in folder.glob(pattern) if file.is_file()})
    for file in files:
        shutil.copyfile(file, inside / file.name)
    return [file.name for file in files]


def _card(report: CompressionReport, form: Format, licences: Sequence[str], command: str, commit: str) -> str:
    """Return the model card."""
    ranks = report.ranks
    lines = [
        "---",
        f"base_model: {Path(report.model).name}",
        "tags:",
        "- low-rank",
        "- theorykit",
        "---",
        "",
        f"# {Path(report.model).name}, {report.share:.0%} of the linear numbers",
        "",
        f"{len(ranks)} of {len(report.layers)} linear layers have a smaller rank r and store r(m + n − r) numbers each "
        "(`ranks.json`).",
        "",
        "| | before | after |",
        "|---|---|---|",
        f"| parameters | {report.parameters_before:,} | {report.parameters_after:,} |",
        f"| in linear layers | {report.linear_before:,} | {report.linear_after:,} |",
        "",
        "Losses on text that nothing was chosen on, with 95 % intervals over blocks of text:",
        "",
        "| text | tokens | perplexity before | after | ratio | KL, nats per token |",
        "|---|---|---|---|---|---|",
    ]
    for loss in report.losses:
        cells = (loss.dense_perplexity, loss.perplexity, loss.ratio, loss.kl)
        shown = " | ".join(f"{cell:.4g}" for cell in cells)
        lines.append(f"| {loss.text} | {loss.n_tokens:,} | {shown} |")
    load = (
        "import theorykit  # tells transformers how to build the layers\n" if form == "factored" else ""
    ) + "from transformers import AutoModelForCausalLM\nmodel = AutoModelForCausalLM.from_pretrained(FOLDER)"
    if form == "factored":
        lines += [
            "",
            "Without `import theorykit` transformers finds matrices of other shapes and refuses.",
        ]
    lines += ["", "```python", load, "```", "", "Texts:", ""]
    lines += [f"- {loss.text}: sha256 `{loss.sha256}`" for loss in report.losses]
    lines += ["", f"Licence files of the model it was made from: {', '.join(licences) or 'none lay beside it'}."]
    if command:
        lines += ["", f"Made by `{command}`" + (f", theorykit commit {commit}." if commit else ".")]
    return "\n".join(lines) + "\n"


def load_compressed(folder: Path) -> Any:
    """Load a compressed folder with transformers, and its tokenizer, in the type in which it is stored."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    register()
    logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype="auto", use_safetensors=True, trust_remote_code=False
        )
        return model.eval(), AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (CheckpointError, InputError):
        raise
    except Exception as error:  # transformers raises many kinds of error for unreadable folders
        raise CheckpointError(f"{folder} cannot be loaded: {reason_of(error)}", "write it again") from error


def expand(folder: Path, target: Path) -> Format:
    """Write a factored folder as a dense one, or a dense one that was made from a factored one back.

    Returns:
        The form of the new folder.

    Raises:
        InputError: there is no such folder, it holds no compressed model, or the target exists.
        CheckpointError: it cannot be loaded.
    """
    import json

    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}", "give a folder that theorykit compress wrote")
    if not (folder / RANKS).is_file():
        raise InputError(f"{folder} has no {RANKS}", "give a folder that theorykit compress wrote")
    factored = isinstance(read_config(folder).get("quantization_config"), dict)
    model, tokenizer = load_compressed(folder)
    if factored:
        model = expanded(model)
    else:
        listed = json.loads((folder / RANKS).read_text(encoding="utf-8"))["layers"]
        _factor_again(model, {name: entry["rank"] for name, entry in listed.items() if entry["rank"]})
        mark(model)

    def fill(inside: Path) -> None:
        model.save_pretrained(inside)
        tokenizer.save_pretrained(inside)
        for name in (RANKS, "README.md"):
            if (folder / name).is_file():
                shutil.copyfile(folder / name, inside / name)
        _copy_licences(str(folder), inside)

    write_folder(target, fill)
    return "dense" if factored else "factored"


def _factor_again(model: torch.nn.Module, ranks: dict[str, int]) -> None:
    """Replace dense layers by layers of the ranks that their matrices have, up to rounding."""
    owners = dict(model.named_modules())
    new: dict[str, torch.nn.Module] = {}
    for name, rank in ranks.items():
        owner: Any = owners.get(name)
        if owner is None or not is_replaceable(owner):
            raise CheckpointError(f"{RANKS} names {name}, which is no linear layer of the model", "write it again")
        weight = owner.weight.detach().double()
        weight = weight if isinstance(owner, torch.nn.Linear) else weight.T
        left, values, right = torch.linalg.svd(weight, full_matrices=False)
        factors = gauge_free_factors((left[:, :rank] * values[:rank]).numpy(), right[:rank].numpy())
        new[name] = GaugeFreeLinear.of(factors, owner)
    replace_layers(model, new)
