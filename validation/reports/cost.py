"""What students will cost: tokens, floating-point operations, and the time that they take on this device.

Operations are those of matrix products alone: 2·P in a forward pass and 6·P in a training step for each token, P the
parameters of a student's matrices with its head, and 2·P of the teacher for each token that it has to see. The time
follows from these products, each timed here for a moment at the students' own sizes, and from what a step takes beside
them (:data:`BESIDE_PRODUCTS` and the constants below it).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch.utils.benchmark import Timer

from theorykit.devices import torch_device
from validation.claims.model_shape import Sides, count_parameters, model_shape, student_matrices
from validation.training.config import BatchConfig, StudentConfig
from validation.training.data import read_corpus, split_documents
from validation.training.prepare import TEACHERS, hint_steps_of, objective_of
from validation.training.scratch import has_teacher, is_scratch, scratch_teacher
from validation.training.store import Store, group

TEXTS = Path(".work/texts")
BESIDE_PRODUCTS = 2.6
"""What a step takes over the time of its matrix products: attention, norms, softmax, losses, the optimiser's update.

Measured once, on one core of a Xeon that others used too: 8 to 32 factored students of ``scratch:tiny`` took 2.5 to 3.8
times their products, students of ``scratch:small`` 1.4 to 2.4 times. So a time is right up to a factor of two."""
SECONDS_PER_LAYER = 1.5e-3
"""What a matrix takes in a step whatever its size: calls into torch, forwards and backwards. From a single factored
student of ``scratch:tiny``, whose step takes 50 to 80 ms and whose products take 10."""
SECONDS_PER_BATCH = 1.0
"""To read teacher and text, make students and write their files: a small teacher's; that of SmolLM2 takes longer."""
_TIMED_SECONDS = 0.03
_TIMED_NUMBERS = 2**24
"""Most entries of the result of a timed product: larger ones run at the same rate."""
_HESSIAN_PRODUCTS = 40
"""Of Lanczos, each about three steps on the blocks of the Hessian; twenty to sixty are usual."""


@dataclass(frozen=True)
class Cost:
    """What a list of students costs.

    Attributes:
        students: All, each counted once.
        done: That have a record and cost nothing.
        tokens: That the others are trained on.
        operations: Floating-point operations of the others, teacher and measurements included.
        seconds: Expected, one batch after another on this device.
        teachers: From scratch, that will be trained first; in ``operations`` and ``seconds``.
    """

    students: int = 0
    done: int = 0
    tokens: int = 0
    operations: float = 0.0
    seconds: float = 0.0
    teachers: tuple[str, ...] = ()

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


def check_sources(students: Iterable[StudentConfig]) -> None:
    """Raise where a teacher or a text is not there: before anything is trained.

    Raises:
        InputError: the first that cannot be had.
    """
    for teacher, data in sorted({(one.teacher, one.data) for one in students}):
        model_shape(teacher)
        read_corpus(data, TEXTS)


class Estimate:
    """Costs of one list of students after another; what was counted in one is done in the next.

    Args:
        store: Whose records count as done.
        device: A torch device; a GPU where there is one if None.
    """

    def __init__(self, store: Store, device: str | None = None) -> None:
        self._store, self._device = store, torch_device(device)
        self._counted: set[str] = set()
        self._teachers: set[tuple[str, str]] = set()

    def of(self, students: Sequence[StudentConfig], batch_students: int) -> Cost:
        """Return the cost of students.

        Args:
            students: Of one student each; those that were counted before are done.
            batch_students: Most students in one program.

        Raises:
            InputError: a teacher or a text is not there.
        """
        distinct = {one.identity: one for one in students}
        left = [one for one in self._store.unfinished(list(distinct.values())) if one.identity not in self._counted]
        self._counted |= set(distinct)
        cost = Cost(students=len(distinct), done=len(distinct) - len(left))
        for teacher, data in dict.fromkeys((one.teacher, one.data) for one in left):
            cost += self._teacher(teacher, data)
        for batch in group(left, batch_students):
            cost += _batch_cost(batch, self._device)
        return cost

    def _teacher(self, name: str, data: str) -> Cost:
        """Return the cost of a teacher from scratch that is not there yet, once."""
        if not is_scratch(name) or (name, data) in self._teachers:
            return Cost()
        self._teachers.add((name, data))
        if has_teacher(name, split_documents(read_corpus(data, TEXTS)), TEACHERS):
            return Cost()
        asked, matrices = scratch_teacher(name), list(model_shape(name).values())
        per_step = asked.batch_size * asked.context
        operations = 6.0 * count_parameters(matrices) * asked.steps * per_step
        seconds = _step_seconds(operations, asked.steps, matrices, 1, per_step, self._device)
        return Cost(operations=operations, seconds=seconds, teachers=(name,))


def _batch_cost(batch: BatchConfig, device: torch.device) -> Cost:
    """Return the cost of students that are trained as one batch, where all have the columns of the largest rank."""
    shared = batch.shared
    per_step = shared.batch_size * shared.length
    matrices = max(map(student_matrices, batch.students), key=count_parameters)
    forward, backward = _measured_tokens(batch)
    passes = shared.steps + (forward / 3 + backward) / per_step  # in steps' worth of tokens
    taught = _taught_tokens(batch) + (forward + backward if _has_teacher(batch) else 0.0)
    operations = 6.0 * count_parameters(matrices) * batch.count * passes * per_step
    operations += 2.0 * count_parameters(model_shape(shared.teacher).values()) * taught
    seconds = _step_seconds(operations, passes, matrices, batch.count, per_step, device)
    return Cost(
        tokens=shared.steps * per_step * batch.count, operations=operations, seconds=SECONDS_PER_BATCH + seconds
    )


def _step_seconds(
    operations: float, passes: float, matrices: Sequence[Sides], count: int, tokens: int, device: torch.device
) -> float:
    """Return the time of so many operations in so many steps, from that of one forward pass through the matrices."""
    forward = sum(product_seconds(count, tokens, *sides, device) for sides in matrices)
    passed = operations / (2.0 * count * tokens * count_parameters(matrices))
    return BESIDE_PRODUCTS * passed * forward + SECONDS_PER_LAYER * len(matrices) * passes


def _has_teacher(batch: BatchConfig) -> bool:
    return objective_of(batch).needs_teacher or hint_steps_of(batch.shared) > 0


def _taught_tokens(batch: BatchConfig) -> float:
    """Return the tokens that the teacher runs: students of one seed and subset share them.

    Blocks that come back are taken as kept, as they are where memory suffices.
    """
    if not _has_teacher(batch):
        return 0.0
    shared = batch.shared
    seen = shared.steps * shared.batch_size
    orders = {(student.seed, student.n_blocks) for student in batch.students}
    return float(shared.length * sum(seen if count is None else min(seen, count) for _, count in orders))


def _measured_tokens(batch: BatchConfig) -> tuple[float, float]:
    """Return the tokens of each student that measurements and held-out losses run forwards, and backwards too."""
    shared = batch.shared
    evaluations = 3 + (shared.steps // shared.evaluate_every if shared.evaluate_every else 0)
    looks = 2 + ((shared.steps - 1) // shared.measure_every if shared.measure_every else 0)
    held_out, train = (
        shared.held_out_blocks,
        min(shared.measure_blocks, max(n or 10**9 for n in batch.each("n_blocks"))),
    )
    hessian = 3 * _HESSIAN_PRODUCTS * shared.hessian_blocks
    forwards = {"loss_terms": train + held_out, "hidden_states": shared.state_blocks}
    backwards = {
        "gradient_norm": train,
        "layer_constants": train,
        "gradient_variance": max(8 * shared.batch_size, shared.measure_blocks),
        "hessian": hessian,
    }
    forward = evaluations * held_out + looks * sum(forwards.get(name, 0) for name in shared.measurements)
    backward = looks * sum(backwards.get(name, 0) for name in shared.measurements)
    backward += hessian if shared.step_size else 0
    return float(forward * shared.length), float(backward * shared.length)


@functools.cache
def product_seconds(count: int, tokens: int, inputs: int, outputs: int, device: torch.device) -> float:
    """Time a batched product ``[S, N, m] × [S, m, n]`` for a fraction of a second; seconds of the fastest.

    What else runs on the machine makes single products slow, those of several threads by factors of a thousand, and is
    not what a plan is about: one thread is tried as well.

    Args:
        count: S.
        tokens: N; of more than are timed, the others take as long.
        inputs: m.
        outputs: n.
        device: Where.
    """
    rows = max(1, min(tokens, _TIMED_NUMBERS // (count * max(inputs, outputs))))
    left, right = (torch.ones(count, *sides, device=device) for sides in ((rows, inputs), (inputs, outputs)))
    timers = [
        Timer("left @ right", globals={"left": left, "right": right}, num_threads=n)
        for n in {1, torch.get_num_threads()}
    ]
    fastest = min(min(timer.blocked_autorange(min_run_time=_TIMED_SECONDS).times) for timer in timers)
    return fastest * tokens / rows
