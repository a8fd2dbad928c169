"""A training as a folder: configuration, metrics, checkpoints and environment; killed runs go on where they stopped.

::

    RUN/config.json       what was asked; its hash is the run's identity
    RUN/environment.json  versions, machine, commit
    RUN/start.json        held-out losses of what would be deployed without any training
    RUN/metrics.jsonl     one record per step
    RUN/measurements.jsonl  one line per step that was looked at, where measurements were asked for
    RUN/states/           hidden states, where they were
    RUN/checkpoint/       weights and optimiser as safetensors, the rest as JSON; replaced whole
    RUN/result.json       written last: parameters, held-out losses, failures
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from theorykit.errors import InputError
from theorykit.provenance import environment
from theorykit.results import plain, to_json, write_whole
from validation.measure.log import MeasurementLog
from validation.measure.step_sizes import measured_step_sizes
from validation.training.config import BatchConfig
from validation.training.data import bits_per_byte
from validation.training.loop import StepRecord, Training

_CHECKPOINTS = ("checkpoint", "checkpoint.old")
"""The second one is there alone where a run was killed while one took the other's place."""


class RunFolder:
    """The folder of one run; nothing is written into it before the run begins.

    Args:
        path: Made where it is not there.
        config: What the run is.
        resume: Go on with a run that is there; without it a folder that holds one is refused.

    Raises:
        InputError: the folder holds another run, or this one without ``resume``, or cannot be written.
    """

    def __init__(self, path: Path, config: BatchConfig, *, resume: bool = False) -> None:
        self.path, self.config = path, config
        self._log = MeasurementLog(path, config.shared)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the run folder {path}: {error.strerror}", "give another folder") from error
        if not os.access(path, os.W_OK | os.X_OK):
            raise InputError(f"the run folder {path} cannot be written", "give another folder")
        file = path / "config.json"
        if file.exists() and self._begun:
            self._check(json.loads(file.read_text(encoding="utf-8")), resume)

    @property
    def _begun(self) -> bool:
        """Whether anything of the run that the folder names was kept: what failed before that is in nobody's way."""
        kept = [self.path / name for name in (*_CHECKPOINTS, "result.json")]
        metrics = self.path / "metrics.jsonl"
        return any(file.exists() for file in kept) or (metrics.exists() and metrics.stat().st_size > 0)

    def begin(self) -> None:
        """Write what the run is: after :func:`validation.training.prepare.prepare`, which may refuse it."""
        file = self.path / "config.json"
        if not file.exists() or not self._begun:
            write_whole(self.path / "environment.json", to_json(environment()))
            write_whole(file, to_json(self.config.to_dict() | {"identity": self.config.identity}))

    def _check(self, stored: dict[str, Any], resume: bool) -> None:
        if stored.get("identity") != self.config.identity:
            changed = self.config.changed_from(stored)
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

    def follow(self, training: Training) -> None:
        """Train beside the main process, which writes: the same start and steps as :meth:`run`, and no file."""
        if self.result is None:
            self.load(training)
            _take_step_sizes(training)
            training.run()

    def load(self, training: Training) -> bool:
        """Bring a training to the last checkpoint; return whether there is one."""
        folder = next((self.path / name for name in _CHECKPOINTS if (self.path / name).exists()), None)
        if folder is None:
            return False
        values = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        training.restore(load_file(folder / "tensors.safetensors"), values)
        return True

    def restore(self, training: Training) -> None:
        """Bring a training to the last checkpoint, and the metrics with it."""
        if not self.load(training):
            write_whole(self.path / "metrics.jsonl", "")
            return
        lines = (self.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        write_whole(self.path / "metrics.jsonl", "".join(f"{line}\n" for line in lines[: training.step]))

    def run(self, training: Training, progress: Callable[[StepRecord], None] | None = None) -> dict[str, Any]:
        """Train to the end with checkpoints on the way; write and return the result. A finished run is not repeated."""
        if self.result is not None:
            return self.result
        with self._writing(training):
            return self._run(training, progress)

    @contextlib.contextmanager
    def _writing(self, training: Training) -> Iterator[None]:
        """Tell a disk that is full or gone in one line; what was written last and whole stays."""
        try:
            yield
        except (OSError, SafetensorError, InputError) as error:
            shutil.rmtree(self.path / "checkpoint.new", ignore_errors=True)
            if isinstance(error, InputError):
                raise
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f"the run in {self.path} stopped at step {training.step}: {reason}", "mend that, then add --resume"
            ) from error

    def _run(self, training: Training, progress: Callable[[StepRecord], None] | None) -> dict[str, Any]:
        self.begin()
        self.restore(training)
        self._log.restore(training.step)
        if training.step == 0:
            self._log.look(training)
            self._note_start(training)
        while training.step < training.plan.steps and any(training.alive):
            done = len(training.records)
            self._train(training, training.step + self.config.shared.checkpoint_every, progress)
            self._append(training.records[done:])
            self._log.save()
            self._checkpoint(training)
        result = self._result(training)
        write_whole(self.path / "result.json", to_json(result))
        return dict(json.loads(to_json(result)))

    def _note_start(self, training: Training) -> None:
        """Keep the held-out losses of what would be deployed without any training."""
        write_whole(self.path / "start.json", to_json({"held_out": training.evaluate(progress=1.0).tolist()}))

    def _train(self, training: Training, until: int, progress: Callable[[StepRecord], None] | None) -> None:
        """Train to a step or to the end, and measure on the way."""
        until = min(until, training.plan.steps)
        _take_step_sizes(training)
        while training.step < until and any(training.alive):
            training.run(until=min(until, self._log.next(training.step)), progress=progress)
            self._log.look(training)

    def _result(self, training: Training) -> dict[str, Any]:
        """Return what is kept of a finished run: a row for each student, with the identity that it has alone."""
        students, held_out = training.students, training.evaluate().tolist()
        file = self.path / "start.json"  # a run that an older version began has none
        start = json.loads(file.read_text(encoding="utf-8"))["held_out"] if file.exists() else [None] * students.count
        counts = {
            f"{kind}_parameters{'' if embeddings else '_without_embeddings'}": count(embeddings=embeddings)
            for kind, count in (("deployed", students.deployed_parameters), ("trained", students.trained_parameters))
            for embeddings in (True, False)
        }
        rows = [
            {
                "identity": config.identity,
                **({"failure": ""} if failure is None else failure.to_dict()),
                "held_out": loss if failure is None else None,
                "held_out_at_start": start[number],
                "bits_per_byte": None
                if failure is not None or training.tokens_per_byte is None
                else bits_per_byte(loss, training.tokens_per_byte),
                **{name: values[number] for name, values in counts.items()},
                **({"step_size": training.step_sizes[number]} if training.step_sizes else {}),
            }
            for number, (config, failure, loss) in enumerate(
                zip(self.config.students, training.failures, held_out, strict=True)
            )
        ]
        return {"identity": self.config.identity, "steps": training.step, "students": rows}

    def _append(self, records: list[StepRecord]) -> None:
        lines = "".join(json.dumps(plain(record), allow_nan=False) + "\n" for record in records)
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


def _take_step_sizes(training: Training) -> None:
    """Measure the steps that a plan asks for, once: a checkpoint keeps them."""
    if training.plan.step_size and training.step_sizes is None:
        training.use_step_sizes(training.runtime.agreed(measured_step_sizes(training)))
