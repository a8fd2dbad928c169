"""Where the batches of a sweep are trained: in this process, in processes of this machine, on a Ray cluster."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing import connection
from typing import Any

import torch

from theorykit.arguments import positive_integer
from theorykit.errors import InputError
from theorykit.provenance import cores
from validation.training.failures import Failure, FailureKind, reason_of
from validation.training.sweep import Executor, Task, Work


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
