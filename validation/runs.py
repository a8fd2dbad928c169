"""A training as a folder: configuration, metrics, checkpoints and environment; killed runs go on where they stopped.

::

    RUN/config.json       what was asked; its hash is the run's identity
    RUN/environment.json  versions, machine, commit
    RUN/metrics.jsonl     one record per step
    RUN/checkpoint/       weights and optimiser as safetensors, the rest as JSON; replaced whole
    RUN/result.json       written last: parameters, held-out losses, failures
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from theorykit.cli.output import environment
from theorykit.errors import InputError
from theorykit.results import to_json, write_whole
from validation.training import StepRecord, Training

_CHECKPOINTS = ("checkpoint", "checkpoint.old")
"""The second one is there alone where a run was killed while one took the other's place."""


@dataclass(frozen=True)
class RunConfig:
    """What a run is; two runs with equal fields are the same run.

    Attributes:
        teacher: Hub id, folder, or ``smollm2``.
        method: ``lrc``, ``kd`` or ``finetune``.
        student: ``factored``, or ``narrow`` for the residual width instead of the rank of each layer.
        ranks: One per student: of all layers, or the residual width, which is then one for all.
        start: ``svd`` or ``random``; for narrow students the leading directions of the residual stream, or random ones.
        data: As for :func:`validation.data.read_corpus`.
        n_blocks: Train blocks that each student may see; None for all.
        length: Tokens in a block.
        held_out_blocks: Blocks that losses are measured on.
        steps: Updates.
        batch_size: Blocks in a step.
        learning_rate: Peak.
        temperature: τ of the KL term.
        clone_weight: λ.
        evaluate_every: Steps between two looks at the held-out blocks.
        checkpoint_every: Steps between two checkpoints.
        seed: Of subset, order and random starts.
    """

    teacher: str
    method: str = "lrc"
    student: str = "factored"
    ranks: tuple[int, ...] = (16,)
    start: str = "svd"
    data: str = "python-docs"
    n_blocks: int | None = None
    length: int = 128
    held_out_blocks: int = 32
    steps: int = 100
    batch_size: int = 8
    learning_rate: float = 3e-4
    temperature: float = 2.0
    clone_weight: float = 1.0
    evaluate_every: int = 50
    checkpoint_every: int = 50
    seed: int = 0

    @property
    def identity(self) -> str:
        """Return the hash that names the run: that of all fields but how often it is looked at and saved."""
        fields = dataclasses.asdict(self)
        del fields["checkpoint_every"]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


class RunFolder:
    """The folder of one run.

    Args:
        path: Made where it is not there.
        config: What the run is.
        resume: Go on with a run that is there; without it a folder that holds one is refused.

    Raises:
        InputError: the folder holds another run, or this one without ``resume``, or cannot be written.
    """

    def __init__(self, path: Path, config: RunConfig, *, resume: bool = False) -> None:
        self.path, self.config = path, config
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the run folder {path}: {error.strerror}", "give another folder") from error
        file = path / "config.json"
        if file.exists():
            self._check(json.loads(file.read_text(encoding="utf-8")), resume)
        else:
            write_whole(path / "environment.json", to_json(environment()))
            write_whole(file, to_json(dataclasses.asdict(config) | {"identity": config.identity}))

    def _check(self, found: dict[str, Any], resume: bool) -> None:
        if found.get("identity") != self.config.identity:
            changed = [
                name
                for name, value in json.loads(to_json(dataclasses.asdict(self.config))).items()
                if found.get(name) != value and name != "checkpoint_every"
            ]
            raise InputError(
                f"{self.path} holds a run with another {', '.join(changed) or 'identity'}", "give another folder"
            )
        if not resume:
            raise InputError(f"{self.path} holds this run already", "add --resume to go on, or give another folder")

    @property
    def result(self) -> dict[str, Any] | None:
        """Return the result of a finished run, or None."""
        file = self.path / "result.json"
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else None

    def restore(self, training: Training) -> None:
        """Bring a training to the last checkpoint, and the metrics with it."""
        folder = next((self.path / name for name in _CHECKPOINTS if (self.path / name).exists()), None)
        if folder is None:
            write_whole(self.path / "metrics.jsonl", "")
            return
        values = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        training.restore(load_file(folder / "tensors.safetensors"), values)
        lines = (self.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        write_whole(self.path / "metrics.jsonl", "".join(f"{line}\n" for line in lines[: training.step]))

    def run(self, training: Training, progress: Callable[[StepRecord], None] | None = None) -> dict[str, Any]:
        """Train to the end with checkpoints on the way; write and return the result. A finished run is not repeated."""
        if self.result is not None:
            return self.result
        self.restore(training)
        while training.step < training.plan.steps and any(training.alive):
            done = len(training.records)
            training.run(until=training.step + self.config.checkpoint_every, progress=progress)
            self._append(training.records[done:])
            self._checkpoint(training)
        found = {
            "identity": self.config.identity,
            "steps": training.step,
            "deployed_parameters": training.students.deployed_parameters(),
            "deployed_parameters_without_embeddings": training.students.deployed_parameters(embeddings=False),
            "held_out": training.evaluate().tolist(),
            "failures": training.failures,
        }
        write_whole(self.path / "result.json", to_json(found))
        return dict(json.loads(to_json(found)))

    def _append(self, records: list[StepRecord]) -> None:
        lines = "".join(json.dumps(dataclasses.asdict(record)) + "\n" for record in records)
        file = self.path / "metrics.jsonl"
        write_whole(file, file.read_text(encoding="utf-8") + lines)

    def _checkpoint(self, training: Training) -> None:
        """Write a checkpoint beside the last one and put it in its place."""
        new, kept, old = (self.path / name for name in ("checkpoint.new", *_CHECKPOINTS))
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        tensors, values = training.state()
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, new / "tensors.safetensors")
        write_whole(new / "state.json", to_json(values))
        if kept.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(kept, old)
        os.replace(new, kept)
        shutil.rmtree(old, ignore_errors=True)
