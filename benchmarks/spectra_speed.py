"""Spectra of a GPT-2-small-shaped model against a bare Gram loop and against weightwatcher, in one run.

python benchmarks/spectra_speed.py [--weightwatcher PYTHON]

``PYTHON`` is the interpreter of an environment with ``weightwatcher==0.7.7``; ``make benchmarks`` builds one. Targets:
at most 1.3 × the bare loop, at least 4 × faster than ``weightwatcher.analyze()``.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import record
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from theorykit.models.analysis import model_spectra
from theorykit.models.sources import module_source
from theorykit.spectra import truncation_errors

ROUNDS = 5
SEED = 0
WEIGHTWATCHER = """
import sys, time, logging, warnings
warnings.simplefilter("ignore")
import torch, transformers, weightwatcher
torch.set_num_threads(int(sys.argv[2]))
logging.disable(logging.WARNING)
model = transformers.GPT2LMHeadModel.from_pretrained(sys.argv[1])
watcher = weightwatcher.WeightWatcher(model=model)
start = time.perf_counter()
details = watcher.analyze()
print("seconds", time.perf_counter() - start, "layers", len(details))
"""


def bare_loop(matrices: list[torch.Tensor]) -> list[np.ndarray]:
    """Return singular values by the float64 Gram product and ``eigvalsh``, nothing else."""
    found = []
    for matrix in matrices:
        wide = matrix.double()
        gram = wide.T @ wide if wide.shape[1] <= wide.shape[0] else wide @ wide.T
        found.append(torch.linalg.eigvalsh(gram).clamp(min=0).sqrt().flip(0).numpy())
    return found


def theorykit_rows(model: GPT2LMHeadModel) -> list[dict]:
    """Return what ``theorykit spectrum`` computes: spectra, ε at all ranks, decay fits, rank measures."""
    found = model_spectra(module_source(model))
    return [part.row() | {"errors": part.spectrum.truncation_errors} for part in found.layers]


def worst_disagreement(model: GPT2LMHeadModel) -> float:
    """Return the largest relative difference of ε(r) from a LAPACK SVD where ε/‖W‖ > 1e-6."""
    worst = 0.0
    source = module_source(model)
    for part in model_spectra(source).layers:
        if part.layer.kind == "embedding":
            continue
        with source.open(part.layer) as matrix:
            exact = truncation_errors(np.linalg.svd(matrix.double().numpy(), compute_uv=False))
        seen = exact > 1e-6 * exact[0]
        worst = max(worst, float(np.abs(part.spectrum.truncation_errors[seen] / exact[seen] - 1).max()))
    return worst


def seconds_of(function: Callable[..., object], *arguments: object) -> float:
    """Return the wall time of one call."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def main() -> None:
    """Time the three, in turn, and record the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weightwatcher", type=Path, help="interpreter with weightwatcher==0.7.7")
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    model = GPT2LMHeadModel(GPT2Config()).eval()
    matrices = [
        parameter.detach()
        for name, parameter in model.named_parameters()
        if parameter.ndim == 2 and "lm_head" not in name
    ]
    bare_loop(matrices[:3])
    theorykit_rows(model)
    pairs = [(seconds_of(bare_loop, matrices), seconds_of(theorykit_rows, model)) for _ in range(ROUNDS)]
    bare, own = (statistics.median(column) for column in zip(*pairs, strict=True))
    result = {
        "matrices": len(matrices),
        "bare_loop_seconds": round(bare, 2),
        "theorykit_seconds": round(own, 2),
        "ratio_to_bare_loop": round(statistics.median(mine / base for base, mine in pairs), 3),
        "target_ratio_to_bare_loop": 1.3,
        "worst_relative_disagreement_with_lapack": worst_disagreement(model),
    }
    if arguments.weightwatcher:
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            script = [str(arguments.weightwatcher), "-c", WEIGHTWATCHER, folder, str(torch.get_num_threads())]
            outputs = [subprocess.run(script, capture_output=True, text=True, check=True).stdout for _ in range(3)]
        output = outputs[0].split()
        seconds = statistics.median(float(text.split()[text.split().index("seconds") + 1]) for text in outputs)
        result |= {
            "weightwatcher_seconds": round(seconds, 2),
            "weightwatcher_layers": int(output[output.index("layers") + 1]),
            "times_faster_than_weightwatcher": round(seconds / own, 2),
            "target_times_faster": 4,
        }
    record.save("spectra_speed", result, seeds=[SEED])


if __name__ == "__main__":
    main()
