"""Hidden states of student and teacher on held-out text, kept for estimates of their mutual information."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file
from safetensors.torch import save

from theorykit.arguments import Floats, positive_integer
from theorykit.errors import InputError
from theorykit.results import write_whole
from validation.measure.samples import DEFAULT, MeasurementSettings
from validation.students.forward import Output
from validation.training.problem import Problem

_TEACHER = "teacher.safetensors"


@dataclass(frozen=True, eq=False)
class LayerStates:
    """The hidden states of one layer, token by token: the arguments of :func:`theorykit.mutual_information`.

    Attributes:
        student: ``[N, d_s]``.
        teacher: ``[N, d_t]``.
        groups: Number of each token's block ``[N]``.
    """

    student: Floats
    teacher: Floats
    groups: NDArray[np.int64]


def hidden_states(problem: Problem, settings: MeasurementSettings = DEFAULT) -> list[dict[str, Any] | None]:
    """Write the hidden states of students and teacher on held-out blocks as safetensors, float32.

    ``FOLDER/<step>/teacher.safetensors`` and one ``<number>.safetensors`` per student hold ``layer.<l>`` ``[N, d]`` and
    ``groups`` ``[N]``, the number of each token's block; :func:`load_states` reads them. A student's layer takes 4 N d
    bytes: 16 blocks of 128 tokens at width 576 are 4.7 MB. It costs a forward pass of student and teacher.

    Args:
        problem: Left as it is.
        settings: ``state_blocks``, ``state_layers`` and ``folder``.

    Returns:
        For each student ``file``, ``blocks`` and ``layers``.

    Raises:
        InputError: no folder, no teacher, a layer that is not there, or a folder that cannot be written.
    """
    if settings.folder is None or problem.teacher is None:
        raise InputError("hidden states need a folder and a teacher", "give both")
    depth = problem.students.architecture.depth
    layers = settings.state_layers or (depth // 2, depth)
    for layer in layers:
        positive_integer("state_layers", layer, allow_zero=True, maximum=depth)
    folder = settings.folder / str(problem.step)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make {folder}: {error.strerror}", "give another folder") from error
    blocks = np.array(problem.held_out[: settings.state_blocks])
    tokens = torch.from_numpy(blocks).to(problem.device, torch.int64)
    with torch.no_grad():
        own = problem.students.runner(problem.step / problem.plan.steps)(tokens, keep=True)
        _write(folder / _TEACHER, problem.teacher(tokens[None], keep=True), 0, layers)

    def row(number: int) -> dict[str, Any]:
        file = folder / f"{number}.safetensors"
        _write(file, own, number, layers)
        return {"file": f"{folder.parent.name}/{folder.name}/{file.name}", "blocks": len(blocks), "layers": layers}

    return problem.of_the_living(row)


def _write(file: Path, output: Output, number: int, layers: tuple[int, ...]) -> None:
    states = {f"layer.{layer}": output.hidden[layer][number].float() for layer in layers}
    count, length, _ = next(iter(states.values())).shape
    groups = torch.arange(count).repeat_interleave(length)
    flat = {name: state.flatten(0, 1).cpu().contiguous() for name, state in states.items()}
    write_whole(file, save(flat | {"groups": groups}))


def load_states(folder: Path, number: int = 0) -> dict[int, LayerStates]:
    """Read what :func:`hidden_states` wrote at one step, by layer, in float64.

    Args:
        folder: As ``RUN/states/100``.
        number: Of the student in its batch.

    Raises:
        InputError: no such file.
    """
    files = folder / f"{number}.safetensors", folder / _TEACHER
    for file in files:
        if not file.exists():
            raise InputError(f"{file} is not there", "give RUN/states/STEP of a run that measured hidden_states")
    student, teacher = (load_file(file) for file in files)
    return {
        int(name.removeprefix("layer.")): LayerStates(
            states.astype(np.float64), teacher[name].astype(np.float64), student["groups"]
        )
        for name, states in student.items()
        if name != "groups"
    }
