"""One generated token of SmolLM2-135M with layers of 60 % of their numbers against the dense model, side by side.

python benchmarks/generation_speed.py

Only the format is timed: every linear layer of a decoder block has the largest rank whose r(m + n − r) numbers are at
most 60 % of mn, with the factors of the plain truncation. The cache is that of transformers, batch 1, greedy. Target:
at most 0.8 × the dense model.
"""

from __future__ import annotations

import copy
import statistics
import time

import numpy as np
import record
import torch
from rivals.low_rank import uniform_rank

from theorykit.compression.gauge_free import gauge_free_factors
from theorykit.compression.linear import GaugeFreeLinear, replace_layers
from theorykit.models.language_model import load_language_model

SHARE = 0.6
ROUNDS = 15
TOKENS = 32
PROMPT = 64


def factored(module: torch.nn.Module, names: list[str]) -> torch.nn.Module:
    """Return a copy with its layers replaced."""
    smaller = copy.deepcopy(module)
    layers: dict[str, torch.nn.Module] = {}
    for name in names:
        dense = module.get_submodule(name)
        weight = dense.weight.detach().double().numpy()
        rank = uniform_rank(weight.shape, SHARE, gauge_free=True)
        left, values, right = np.linalg.svd(weight, full_matrices=False)
        layers[name] = GaugeFreeLinear.of(gauge_free_factors(left[:, :rank] * values[:rank], right[:rank]), dense)
    replace_layers(smaller, layers)
    return smaller


@torch.no_grad()
def seconds_per_token(module: torch.nn.Module, prompt: torch.Tensor) -> float:
    """Return the time of one token behind a prompt, the prompt's own pass left out."""
    passed = module(prompt, use_cache=True)
    token, cache = passed.logits[:, -1:].argmax(-1), passed.past_key_values
    start = time.perf_counter()
    for _ in range(TOKENS):
        passed = module(token, past_key_values=cache, use_cache=True)
        token = passed.logits[:, -1:].argmax(-1)
    return (time.perf_counter() - start) / TOKENS


def main() -> None:
    """Time in turn and record the ratio."""
    model = load_language_model("smollm2", device="cpu")
    names = [layer.name for layer in model.source.layers if layer.factorable]
    smaller = factored(model.module, names)
    prompt = torch.tensor([model.tokenizer("The sea was calm and the ship lay still. " * 10)["input_ids"][:PROMPT]])
    rows = []
    for _ in range(ROUNDS):
        dense, low = seconds_per_token(model.module, prompt), seconds_per_token(smaller, prompt)
        rows.append({"dense_seconds": dense, "factored_seconds": low, "ratio": low / dense})
    ratio = statistics.median(row["ratio"] for row in rows)
    record.save("generation_speed", {"share": SHARE, "ratio": ratio, "target": 0.8, "rounds": rows})


if __name__ == "__main__":
    main()
