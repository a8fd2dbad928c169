"""Calibrated selection on SmolLM2-135M against bare forward and backward passes over the same tokens, in one run.

python benchmarks/calibration_speed.py

Loading the model is left out of both. Target: at most 1.2 × the bare passes.
"""

from __future__ import annotations

import statistics
import time

import record
import torch

from theorykit import select_ranks
from theorykit.models.language_model import LanguageModel, load_language_model, token_blocks
from theorykit.rank_selection.calibrated import CalibrationSettings, builtin_text, calibrate

ROUNDS = 3
BATCH = 2


def bare_passes(model: LanguageModel, tokens: torch.Tensor, *, parameters: bool) -> float:
    """Return the seconds of forward and backward passes, with gradients of the parameters or of the inputs alone."""
    model.module.requires_grad_(parameters)
    start = time.perf_counter()
    for block in tokens.split(BATCH):
        embedded = model.module.get_input_embeddings()(block)
        if not parameters:
            embedded = embedded.detach().requires_grad_()
        logits = model.module(inputs_embeds=embedded, use_cache=False).logits[:, :-1]
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), block[:, 1:].flatten()).backward()
    seconds = time.perf_counter() - start
    model.module.zero_grad(set_to_none=True)
    model.module.requires_grad_(False)
    return seconds


def calibrated_selection(model: LanguageModel) -> tuple[float, dict[str, float]]:
    """Return the seconds of calibration and selection, and of the parts."""
    marks: list[tuple[str, float]] = []
    start = time.perf_counter()
    found = calibrate(model, builtin_text(), progress=lambda what, *_: marks.append((what, time.perf_counter())))
    select_ranks(found.spectra, 100_000)
    end = time.perf_counter()
    parts, previous = {}, start
    for what in dict.fromkeys(name for name, _ in marks):
        last = max(moment for name, moment in marks if name == what)
        parts[what], previous = round(last - previous, 2), last
    return end - start, parts | {"selection": round(end - previous, 2)}


def main() -> None:
    """Time in turn and record the ratio."""
    model = load_language_model("smollm2", device="cpu")
    settings = CalibrationSettings()
    tokens = token_blocks(model, builtin_text(), settings.n_tokens, settings.block)
    bare_passes(model, tokens[:BATCH], parameters=True)
    rows = []
    for _ in range(ROUNDS):
        bare = bare_passes(model, tokens, parameters=True)
        inputs_only = bare_passes(model, tokens, parameters=False)
        own, parts = calibrated_selection(model)
        rows.append((own / bare, own / inputs_only, bare, own, parts))
    result = {
        "tokens": settings.n_tokens,
        "bare_forward_backward_seconds": round(statistics.median(row[2] for row in rows), 1),
        "calibrated_selection_seconds": round(statistics.median(row[3] for row in rows), 1),
        "ratio": round(statistics.median(row[0] for row in rows), 2),
        "target_ratio": 1.2,
        "ratio_to_passes_without_parameter_gradients": round(statistics.median(row[1] for row in rows), 2),
        "parts_seconds": rows[-1][4],
    }
    record.save("calibration_speed", result, seeds=[settings.seed])


if __name__ == "__main__":
    main()
