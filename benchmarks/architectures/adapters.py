"""What peft builds from the file that --peft writes, held against the ranks that were chosen."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import torch

from .folders import theorykit

_DIGITS = 24
"""Numbers of a row that tell it from all others."""


def judge_adapters(folder: Path, live: Any) -> Any:
    """Compare adapters with ranks: every chosen layer has the adapter of its rank, and nothing else is adapted.

    Args:
        folder: The model's.
        live: The model as transformers reads it from there; used up.
    """
    from .judge import CRASH, REFUSED, RIGHT, WRONG, Cell, one_line

    file = folder / "lora.json"
    answer = theorykit(
        *("rank-select", "--n", "1000", "--model", folder, "--budget", "0.6", "--rank-multiple", "2", "--json"),
        *("--no-cache", "--calibration", "none", "--experts", "shared", "--peft", file),
    )
    if answer.code:
        written = "; a file was written" if file.exists() else ""
        if answer.is_clean_refusal and not written:
            return Cell(REFUSED, one_line(answer.line))
        return Cell(CRASH, f"exit {answer.code}: {one_line(answer.err)}{written}")
    result = answer.document["result"]
    chosen = {row["layer"]: row["rank"] for row in result["layers"] if row["rank"]}
    wanted, lost = chosen_parameters(folder, live, chosen)
    built, problem = built_adapters(live, json.loads(file.read_text()))
    if problem:
        return Cell(WRONG, f"peft refuses the file: {one_line(problem)}")
    lines = [f"cannot be found in the model: {name}" for name in lost]
    for parameter, ranks in wanted.items():
        got = built.get(parameter)
        if got is None:
            lines.append(f"no adapter: {parameter} (ranks {sorted(ranks)[:3]})")
        elif ranks != {got}:
            lines.append(f"{parameter}: adapter of rank {got}, chosen {sorted(ranks)[:3]}")
    extra = {name: rank for name, rank in built.items() if name not in wanted}
    lines += [f"adapted, though it stays dense: {name} (rank {rank})" for name, rank in extra.items()]
    if lines:
        return Cell(WRONG, lines[0], lines)
    reasons = dict.fromkeys(re.sub(r"^peft: ", "", part["reason"]) for part in result.get("held", []))
    return Cell(RIGHT, f"stays dense: {one_line('; '.join(reasons))}" if reasons else "")


def chosen_parameters(folder: Path, live: Any, chosen: dict[str, int]) -> tuple[dict[str, set[int]], list[str]]:
    """Return the parameters of the live model that hold the chosen layers, with their ranks; found by their numbers."""
    from theorykit.models.sources import module_source, open_weights

    parameters = dict(live.named_parameters())
    layers = {
        layer.name: (source, layer) for source in (open_weights(folder), module_source(live)) for layer in source.layers
    }
    rows = parameters_by_rows(parameters)
    wanted: dict[str, set[int]] = {}
    lost = []
    for name, rank in chosen.items():
        if name not in layers:
            lost.append(name)
            continue
        source, layer = layers[name]
        with source.open(layer) as opened:
            matrix = torch.as_tensor(opened[:] if not isinstance(opened, torch.Tensor) else opened).float()
        place = place_of(matrix, rows)
        if place is None:
            lost.append(name)
        else:
            wanted.setdefault(place, set()).add(rank)
    return wanted, lost


def parameters_by_rows(parameters: dict[str, torch.Tensor]) -> dict[bytes, str]:
    """Return where each row and each column of drawn numbers lies, so that a matrix is found whatever it is called."""
    rows: dict[bytes, str] = {}
    for name, parameter in parameters.items():
        if parameter.ndim >= 2:
            for matrix in (parameter.detach().flatten(0, -2), parameter.detach().transpose(-1, -2).flatten(0, -2)):
                for row in matrix.float().contiguous():
                    rows.setdefault(row[:_DIGITS].numpy().tobytes(), name)
    return rows


def place_of(matrix: torch.Tensor, rows: dict[bytes, str]) -> str | None:
    """Return the parameter that holds a matrix, whole or as some of its rows."""
    # not the first row: padding is a row of zeros in every embedding
    sides = ((side, int(side.norm(dim=1).argmax())) for side in (matrix, matrix.T))
    places = (rows.get(side[index].contiguous()[:_DIGITS].numpy().tobytes()) for side, index in sides)
    return next((place for place in places if place), None)


def built_adapters(live: Any, settings: dict[str, Any]) -> tuple[dict[str, int], str]:
    """Return the rank that peft gives each parameter of the model, or why it refuses the settings."""
    from peft import LoraConfig, get_peft_model

    names = {id(parameter): name for name, parameter in live.named_parameters()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            adapted = get_peft_model(live, LoraConfig(**settings))
    except Exception as error:  # peft and transformers raise many kinds
        return {}, f"{type(error).__name__}: {error}"
    built: dict[str, int] = {}
    for module in adapted.modules():
        ranks = getattr(module, "r", None)
        if not (isinstance(ranks, dict) and ranks and hasattr(module, "lora_A")):
            continue
        which = getattr(module, "parameter_name", "weight")
        base = module.get_base_layer()
        while not hasattr(base, which) and hasattr(base, "base_layer"):
            base = base.base_layer
        parameter = getattr(base, which, None)
        if parameter is not None:
            built[names.get(id(parameter), which)] = next(iter(ranks.values()))
    return built, ""
