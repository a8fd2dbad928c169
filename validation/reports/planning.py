"""What a run will take before it is begun: students, operations, time and power of each part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from theorykit.errors import InputError
from validation.reports.cost import Cost, Estimate
from validation.reports.run import Job
from validation.training.store import Store


@dataclass(frozen=True)
class PlannedPart:
    """One part of a run.

    Attributes:
        job: What is run.
        cost: Of its students that no part before it trains.
        seconds: Expected, all together; 0 where it is done.
        power: Of its decisions, by name.
        done: It has a record.
    """

    job: Job
    cost: Cost
    seconds: float
    power: dict[str, float]
    done: bool


def planned(
    jobs: Sequence[Job], out: Path, store: Store, *, device: str | None = None, again: bool = False
) -> list[PlannedPart]:
    """Return the plan of jobs in the order in which they run.

    Args:
        jobs: What is asked for.
        out: Folder of the records.
        store: Of the students.
        device: That the time is expected on; a GPU where there is one if None.
        again: Records do not count; students do.

    Raises:
        InputError: a teacher or a device that is not there, or a record that is not in order. The text may be missing:
            a plan can be made where it will not run.
    """
    finished = [not again and job.finished(out) is not None for job in jobs]
    estimate, parts = Estimate(store, device), []
    for job, done in zip(jobs, finished, strict=True):
        cost = Cost() if done else estimate.of(job.students(), job.settings.batch_students)
        seconds = 0.0 if done else cost.seconds + job.work.seconds(job.settings)
        parts.append(PlannedPart(job, cost, seconds, job.power(), done))
    return parts


def refuse_above(parts: Sequence[PlannedPart], max_hours: float | None) -> None:
    """Raise where a plan takes longer than it may.

    Raises:
        InputError: it does, or the budget is no number above 0.
    """
    if max_hours is None:
        return
    if not max_hours > 0:
        raise InputError(f"max_hours = {max_hours:g} is not above 0", "give --max-hours 1")
    hours = sum(part.seconds for part in parts) / 3600
    if hours > max_hours:
        raise InputError(
            f"the plan is expected to take {hours:.3g} hours on this device, above --max-hours {max_hours:g}",
            "take a smaller preset, fewer statements or one --part",
        )
