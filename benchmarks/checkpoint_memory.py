"""Peak memory on a generated 4 GB sharded bf16 checkpoint of 4096-wide layers, and a run that is killed and resumed.

python benchmarks/checkpoint_memory.py FOLDER [--gigabytes 4]

Targets: peak resident memory below 3 × the largest tensor + 600 MB; the second run does only what the first had left.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import record
import torch
from safetensors.torch import save_file

HIDDEN, INNER, KEY_VALUE = 4096, 14336, 1024
SHAPES = {
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (KEY_VALUE, HIDDEN),
    "self_attn.v_proj": (KEY_VALUE, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (INNER, HIDDEN),
    "mlp.up_proj": (INNER, HIDDEN),
    "mlp.down_proj": (HIDDEN, INNER),
}
BLOCK_BYTES = 2 * sum(m * n for m, n in SHAPES.values())


def generate(folder: Path, gigabytes: float) -> None:
    """Write one shard per block of a Llama-like model with random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    blocks = max(1, round(gigabytes * 1e9 / BLOCK_BYTES))
    index: dict[str, str] = {}
    for block in range(blocks):
        name = f"model-{block + 1:05d}-of-{blocks:05d}.safetensors"
        generator = torch.Generator().manual_seed(block)
        tensors = {
            f"model.layers.{block}.{part}.weight": torch.randn(shape, generator=generator).mul_(0.02).bfloat16()
            for part, shape in SHAPES.items()
        }
        if not (folder / name).exists():
            save_file(tensors, folder / name)
        index |= dict.fromkeys(tensors, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "hidden_size": HIDDEN}))


def command(folder: Path) -> list[str]:
    """Return the command that a user would type."""
    return [sys.executable, "-m", "theorykit.cli", "spectrum", str(folder), "--json"]


def finished_layers(cache: Path) -> int:
    """Count the layers whose spectra are kept."""
    return len(list(cache.rglob("*.npz")))


def run_until(folder: Path, cache: Path, layers: int) -> int:
    """Start a run and kill it after some layers; return how many were finished."""
    settings = os.environ | {"THEORYKIT_CACHE": str(cache)}
    process = subprocess.Popen(command(folder), env=settings, stdout=subprocess.DEVNULL)
    while finished_layers(cache) < layers and process.poll() is None:
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return finished_layers(cache)


def run_to_the_end(folder: Path, cache: Path) -> tuple[float, float, int]:
    """Return seconds, peak resident bytes and layers of a run that finishes."""
    start = time.perf_counter()
    output = folder / "spectra.json"
    with output.open("w") as handle:
        process = subprocess.Popen(command(folder), env=os.environ | {"THEORYKIT_CACHE": str(cache)}, stdout=handle)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the run failed with status {status}")
    layers = len(json.loads(output.read_text())["result"]["layers"])
    return time.perf_counter() - start, usage.ru_maxrss * 1024.0, layers


def main() -> None:
    """Generate, kill, resume, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--generate", action="store_true", help="only write the checkpoint")
    arguments = parser.parse_args()
    if arguments.generate:
        generate(arguments.folder, arguments.gigabytes)
        return
    # in a process of its own: Linux counts what the parent held before the child's program started as the child's peak
    subprocess.run([sys.executable, __file__, *sys.argv[1:], "--generate"], check=True)
    cache = arguments.folder / "cache"
    killed_after = run_until(arguments.folder, cache, 10)
    kept = {path.name: path.stat().st_mtime_ns for path in cache.rglob("*.npz")}
    seconds, peak, layers = run_to_the_end(arguments.folder, cache)
    untouched = sum(path.stat().st_mtime_ns == kept.get(path.name) for path in cache.rglob("*.npz"))
    size = sum(path.stat().st_size for path in arguments.folder.glob("*.safetensors"))
    largest = 2 * HIDDEN * INNER
    result = {
        "checkpoint_gigabytes": round(size / 1e9, 2),
        "layers": layers,
        "killed_after_layers": killed_after,
        "layers_not_computed_again": untouched,
        "seconds_after_the_kill": round(seconds, 1),
        "peak_megabytes": round(peak / 1e6),
        "target_peak_megabytes": round((3 * largest + 600e6) / 1e6),
        "largest_tensor_megabytes": round(largest / 1e6),
    }
    record.save("checkpoint_memory", result)


if __name__ == "__main__":
    main()
