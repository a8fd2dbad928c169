"""Many students: grouped into batches, trained wherever there is room, each left as a record; nothing is run twice.

A batch that cannot be begun, or does not fit an accelerator, is cut into halves until the students that are to blame
stand alone; what fails then is a record with its reason, and the sweep goes on. Batches are trained in this process, in
processes of this machine, or on a Ray cluster: an executor each, at the end of the file.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing import connection
from pathlib import Path
from typing import Any

import torch

from theorykit import provenance
from theorykit.arguments import positive_integer
from theorykit.errors import InputError
from theorykit.provenance import cores, environment
from validation.plans import Plan
from validation.training.config import BatchConfig
from validation.training.failures import Failure, FailureKind, reason_of
from validation.training.loop import StepRecord
from validation.training.prepare import prepare
from validation.training.runs import RunFolder
from validation.training.store import Store


@dataclass(frozen=True)
class Task:
    """A batch to train, with all that a process on another machine needs.

    Attributes:
        store: Folder of the store; every machine has to see it under this path.
        config: The batch.
        folder: Working folder, which the paths of the configuration and of the caches start from.
        device: A torch device; a GPU where there is one if None.
        threads: Of torch; None leaves them alone.
        wait: Wait for a process that trains the batch already, and see what it leaves.
        origin: Command and commit.
        presets: Identity of a student to the preset of its sizes.
    """

    store: Path
    config: BatchConfig
    folder: Path
    device: str | None = None
    threads: int | None = None
    wait: bool = False
    origin: dict[str, str] = field(default_factory=dict)
    presets: dict[str, str] = field(default_factory=dict)


Live = Callable[[BatchConfig], Callable[[StepRecord], None]]
Work = Callable[[Task], None]
Executor = Callable[[Work, Sequence[Task]], Iterator[tuple[Task, Failure | None]]]
"""Does some work on every task and yields each when it is done, with the failure where its process died over it."""
_WHY = ("failure", "failure_kind", "trace")
"""What rows of a run and records hold of a failure."""


def run_sweep(
    plan: Plan,
    store: Store,
    execute: Executor,
    *,
    device: str | None = None,
    retry: bool = False,
    live: Live | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Train the students of a plan that have no record, and return the records of all.

    Args:
        plan: What to train.
        store: Where it is kept. Students that it has put together stay together; a killed sweep goes on.
        execute: Where batches are trained.
        device: As of :class:`Task`.
        retry: Run again what has failed.
        live: Makes a callback for the steps of a batch; only for executors that stay in this process.
        progress: Called with the numbers of students that have a record and of all.

    Raises:
        InputError: the store cannot be written.
    """
    if retry:
        store.forget_failures(plan.students)
    origin = {"command": provenance.command_line(), "commit": provenance.commit("theorykit", "validation")}
    batches, wait = store.assign(plan.students, plan.batch_students), False
    while batches:
        tasks = [_task(plan, store, batch, device=device, wait=wait, origin=origin) for batch in batches]
        for task, failure in execute(Trainer(live), tasks):
            if failure is not None:
                _keep_failure(task, failure)
            if progress is not None:
                progress(len(plan.students) - len(store.unfinished(plan.students)), len(plan.students))
        left = store.assign(plan.students, plan.batch_students)
        wait = left == batches  # all of them are being trained by another sweep
        batches = left
    return [record for student in plan.students if (record := store.record(student.identity)) is not None]


def _task(plan: Plan, store: Store, batch: BatchConfig, **options: Any) -> Task:
    presets = {student.identity: plan.presets.get(student.identity, "") for student in batch.students}
    return Task(store.path.absolute(), batch, Path.cwd(), presets=presets, **options)


@dataclass(frozen=True)
class Trainer:
    """Trains the batch of a task, unless another process does, and keeps the records of its students.

    Attributes:
        live: Makes a callback for the steps of a batch.
    """

    live: Live | None = None

    def __call__(self, task: Task) -> None:
        """Train to the end, or go on from the last checkpoint; failures are records.

        Raises:
            InputError: the store cannot be written.
        """
        if task.threads is not None:
            torch.set_num_threads(task.threads)
        store, config = Store(task.store), task.config
        with store.claim(config.identity, wait=task.wait) as mine:
            # by now another sweep may have cut the batch or ended it
            if not mine or config.identity not in store.batches() or not store.unfinished(config.students):
                return
            training = _Attempt(task)
            try:
                result = training.run(self.live)
            except Exception as error:
                if config.count > 1 and (not training.begun or isinstance(error, torch.OutOfMemoryError)):
                    store.split(config)
                else:
                    _keep_failure(task, Failure.of(error), training.made())
            else:
                _keep(task, result["students"], training.made())


class _Attempt:
    """One session of a batch: from a checkpoint, or from the start, to the end or to a failure."""

    def __init__(self, task: Task) -> None:
        self._task, self._started = task, time.perf_counter()
        self._first_step: int | None = None
        self._folder = Store(task.store).run_folder(task.config.identity)

    @property
    def begun(self) -> bool:
        """Return whether a step has been taken, now or in a session before."""
        kept = self._folder / "metrics.jsonl"
        return self._first_step is not None or (kept.exists() and kept.stat().st_size > 0)

    def run(self, live: Live | None) -> dict[str, Any]:
        run = RunFolder(self._folder, self._task.config, resume=True)
        if run.result is not None:  # killed between the result and the last of the records
            return run.result
        work = self._task.folder / ".work"
        training = prepare(
            self._task.config,
            texts=work / "texts",
            cache=work / "blocks",
            teachers=work / "teachers",
            device=self._task.device,
        )
        show = live(self._task.config) if live is not None else None

        def progress(record: StepRecord) -> None:
            if self._first_step is None:
                self._first_step = record.step
                self._log(began_at_step=record.step)
            if show is not None:
                show(record)

        result = run.run(training, progress)
        self._log(ended_at_step=training.step)
        return result

    def _log(self, **what: int) -> None:
        """Add a line to the sessions of the run, which show that no step before a checkpoint was taken twice."""
        with contextlib.suppress(OSError), (self._folder / "sessions.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(what | {"time": _now(), "process": os.getpid()}) + "\n")

    def made(self) -> dict[str, Any]:
        """Return what differs from run to run of the same student."""
        return {"from_step": self._first_step, "seconds": round(time.perf_counter() - self._started, 3)}


def _keep_failure(task: Task, failure: Failure, made: dict[str, Any] | None = None) -> None:
    rows = [{"identity": student.identity} | failure.to_dict() for student in task.config.students]
    _keep(task, rows, made or {})


def _keep(task: Task, rows: Sequence[dict[str, Any]], made: dict[str, Any]) -> None:
    """Write the record of each student that has none; all that is not bound to repeat itself is under ``made``."""
    store = Store(task.store)
    left = {student.identity for student in store.unfinished(task.config.students)}
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() and task.device != "cpu" else None
    for place, (student, row) in enumerate(zip(task.config.students, rows, strict=True)):
        if student.identity not in left:
            continue
        why = {name: row[name] for name in _WHY if name in row}
        measured = {name: value for name, value in row.items() if name not in ("identity", *_WHY)}
        store.write(
            {
                "identity": student.identity,
                "batch": task.config.identity,
                "place": place,
                "preset": task.presets[student.identity],
                "config": student.to_dict(),
                **why,
                "result": None if row["failure"] else measured,
                "made": made
                | task.origin
                | {
                    "time": _now(),
                    "machine": provenance.machine() | {"gpu": gpu},
                    "threads": torch.get_num_threads(),
                    "environment": environment(),
                },
            }
        )


def _now() -> str:
    return datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="milliseconds")


def here(work: Work, tasks: Sequence[Task]) -> Iterator[tuple[Task, Failure | None]]:
    """Work on one task after another in this process."""
    for task in tasks:
        work(task)
        yield task, None


def processes(workers: int) -> Executor:
    """Return an executor that works on ``workers`` tasks at once, in processes with a share of the cores each.

    A process that dies, of a full memory for one, costs its own task alone. All end with the process that started
    them, even where that one is killed. With several GPUs the processes go round them.

    Raises:
        InputError: no worker.
    """
    positive_integer("workers", workers)

    def execute(work: Work, tasks: Sequence[Task]) -> Iterator[tuple[Task, Failure | None]]:
        threads = max(1, torch.get_num_threads() // workers)
        waiting, idle = deque(tasks), [_Worker(work, place) for place in range(min(workers, len(tasks)))]
        busy: dict[Any, tuple[_Worker, Task]] = {}
        try:
            while waiting or busy:
                while waiting and idle:
                    worker, task = idle.pop(), waiting.popleft()
                    with contextlib.suppress(OSError):  # of a process that has died: told by its answer
                        worker.pipe.send(replace(task, threads=threads, device=_device_of(task.device, worker.place)))
                    busy[worker.pipe] = worker, task
                for pipe in connection.wait(list(busy)):
                    worker, task = busy.pop(pipe)
                    failure = worker.answer()
                    idle.append(worker if worker.process.is_alive() else _Worker(work, worker.place))
                    yield task, failure
        finally:
            for worker in [*idle, *(worker for worker, _ in busy.values())]:
                worker.end()

    return execute


class _Worker:
    """A process that works on tasks, one after another."""

    def __init__(self, work: Work, place: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.place = place
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(work, theirs))
        self.process.start()
        theirs.close()

    def answer(self) -> Failure | None:
        """Return why the last task failed, or None."""
        try:
            failure: Failure | None = self.pipe.recv()
            return failure
        except (EOFError, ConnectionResetError):
            self.process.join()
            self.pipe.close()
        code = self.process.exitcode or 0
        ended = f"by signal {-code}, as where memory is full" if code < 0 else f"with exit code {code}"
        return Failure(FailureKind.ACCIDENT, f"the process of this batch was ended {ended}")

    def end(self) -> None:
        self.process.terminate()
        self.process.join()
        self.pipe.close()


def _device_of(asked: str | None, place: int) -> str | None:
    count = torch.cuda.device_count()
    return f"cuda:{place % count}" if asked in (None, "cuda") and count else asked


def _serve(work: Work, pipe: connection.Connection) -> None:
    """Work in a process of its own; an interrupt goes to the process that started this one as well, which ends it."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            work(pipe.recv())
            pipe.send(None)
        except Exception as error:
            pipe.send(Failure.of(error))


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)  # nobody is left to tell; what is on disk is whole at any moment


def ray_cluster(address: str | None = None, workers: int | None = None) -> Executor:
    """Return an executor on a Ray cluster, each task with its share of the cores, and with a GPU where there are any.

    Args:
        address: Of a cluster that runs; None for that of ``RAY_ADDRESS``, or else a new one on this machine.
        workers: Tasks at once; None for one on each GPU, or on each node of a cluster without.

    Raises:
        InputError: the package is missing; on use: the cluster cannot be reached.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError("--executor ray needs the package ray", "pip install 'theorykit[cluster]'") from error
    if workers is not None:
        positive_integer("workers", workers)

    def execute(work: Work, tasks: Sequence[Task]) -> Iterator[tuple[Task, Failure | None]]:
        _join(ray, address)
        refs: dict[Any, Task] = {}
        waiting = deque(tasks)
        try:
            at_once, share, gpus = _shares(ray, workers, tasks)
            remote = ray.remote(_on_node).options(num_cpus=share, num_gpus=gpus, max_retries=0)
            while waiting or refs:
                while waiting and len(refs) < at_once:
                    task = waiting.popleft()
                    refs[remote.remote(work, replace(task, threads=share))] = task
                done, _ = ray.wait(list(refs))
                for ref in done:
                    yield refs.pop(ref), _outcome(ray, ref)
        finally:
            for ref in refs:
                ray.cancel(ref, force=True)

    return execute


def _join(ray: Any, address: str | None) -> None:
    """Connect to a cluster, or start one here, where that has not been done; Ray leaves it when this process ends."""
    if ray.is_initialized():
        return
    where = address or os.environ.get("RAY_ADDRESS")
    try:
        if where:
            _knock(where)
            ray.init(address=where, log_to_driver=False, logging_level="ERROR")
        else:
            ray.init(num_cpus=cores(), include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    except Exception as error:
        raise InputError(
            f"cannot reach the Ray cluster {where or 'of this machine'}: {reason_of(error)}",
            "start it: ray start --head",
        ) from error


def _knock(address: str) -> None:
    """Raise at once where nobody listens: Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


def _shares(ray: Any, workers: int | None, tasks: Sequence[Task]) -> tuple[int, int, int]:
    """Return the tasks at once, and the cores and GPUs of each."""
    resources, nodes = ray.cluster_resources(), [node for node in ray.nodes() if node["Alive"]]
    gpus = 0 if any(task.device == "cpu" for task in tasks) else int(resources.get("GPU", 0))
    at_once = workers or gpus or len(nodes)
    largest = max(int(node["Resources"].get("CPU", 0)) for node in nodes)
    return at_once, max(1, min(int(resources.get("CPU", 1)) // at_once, largest)), int(gpus > 0)


def _on_node(work: Work, task: Task) -> None:
    if not (task.store / "batches.json").exists() or not task.folder.exists():
        raise InputError(f"{task.store} is not seen by every node", "give a folder on a file system that all share")
    os.chdir(task.folder)
    work(task)


def _outcome(ray: Any, ref: Any) -> Failure | None:
    try:
        ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        return Failure.of(error.cause)
    except ray.exceptions.RayError as error:
        reason = f"the process of this batch was ended: {' '.join(str(error).split())}"
        return Failure(FailureKind.ACCIDENT, reason)
    return None
