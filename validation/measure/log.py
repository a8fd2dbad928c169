"""What a run measures on its way: one line of ``measurements.jsonl`` in its folder per step that was looked at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from theorykit.arguments import one_of, positive_integer
from theorykit.results import plain, write_whole
from validation.measure import MEASUREMENTS, MeasurementSettings
from validation.training.config import StudentConfig
from validation.training.problem import Problem


class MeasurementLog:
    """The measurements of one run: at its start, at multiples of ``measure_every`` and at its end.

    Lines are written before the checkpoint of the step that they are about or of a later one, so that a run that was
    killed goes on with the lines up to its checkpoint and measures the rest again.

    Args:
        folder: Of the run.
        config: Names and sizes of what is measured.

    Raises:
        InputError: an unknown measurement, or numbers out of range.
    """

    def __init__(self, folder: Path, config: StudentConfig) -> None:
        self._measure = {one_of("measurement", name, MEASUREMENTS): MEASUREMENTS[name] for name in config.measurements}
        self._every = positive_integer("measure_every", config.measure_every, allow_zero=True)
        self._file, self._last = folder / "measurements.jsonl", config.steps
        self._settings = MeasurementSettings(
            blocks=positive_integer("measure_blocks", config.measure_blocks),
            hessian_blocks=positive_integer("hessian_blocks", config.hessian_blocks),
            state_blocks=positive_integer("state_blocks", config.state_blocks),
            state_layers=config.state_layers,
            folder=folder / "states",
        )
        self._lines: list[str] = []
        self._looked_at = -1

    def next(self, step: int) -> int:
        """Return the next step after this one at which the run has to stop and measure."""
        if not self._measure or not self._every:
            return self._last
        return min(self._last, step - step % self._every + self._every)

    def restore(self, step: int) -> None:
        """Keep the lines up to the step of a checkpoint, none for 0."""
        if not self._measure:
            return
        lines = self._file.read_text(encoding="utf-8").splitlines() if step and self._file.exists() else []
        self._lines = [line for line in lines if json.loads(line)["step"] <= step]
        self._looked_at = json.loads(self._lines[-1])["step"] if self._lines else -1
        write_whole(self._file, "".join(f"{line}\n" for line in self._lines))

    def look(self, problem: Problem) -> None:
        """Measure where it is time to."""
        due = problem.step in (0, self._last) or (self._every and problem.step % self._every == 0)
        if not self._measure or not due or problem.step == self._looked_at:
            return
        self._looked_at = problem.step
        values = {name: measure(problem, self._settings) for name, measure in self._measure.items()}
        self._lines.append(json.dumps(plain({"step": problem.step} | values), allow_nan=False))

    def save(self) -> None:
        """Write all lines."""
        if self._measure:
            write_whole(self._file, "".join(f"{line}\n" for line in self._lines))


def read_measurements(folder: Path) -> list[dict[str, Any]]:
    """Return what a run has measured: ``step`` and, by the name of the measurement, one value per student."""
    file = folder / "measurements.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
