"""Students as plain Hugging Face models, and as safetensors files that keep their factors."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from theorykit.errors import InputError
from theorykit.results import to_json, write_whole
from validation.students.architecture import Weights, architecture_of
from validation.students.batch import StudentBatch
from validation.students.factored import FactoredStudents

_FACTORS = "factors.safetensors"
_RANKS = "ranks.json"


def merged_model(students: StudentBatch, number: int, teacher: Any) -> Any:
    """Return one student as a plain model with dense matrices; ``save_pretrained`` writes safetensors.

    Args:
        students: A batch; narrow and square ones become a smaller model of the teacher's type.
        number: Which of them, from 0.
        teacher: The Hugging Face model that they were made from; not changed.

    Raises:
        InputError: there is no such student.
    """
    state = students.merged(number)
    model = copy.deepcopy(teacher) if students.architecture == architecture_of(teacher) else _resized(students, teacher)
    if students.architecture.tied:
        state["lm_head.weight"] = state[students.architecture.embedding]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(state[name])
    return model.eval()


def _resized(students: StudentBatch, teacher: Any) -> Any:
    """Return an untrained model of the teacher's type in the students' shape."""
    config, shape = copy.deepcopy(teacher.config), students.architecture
    if shape.family == "gpt2":
        config.n_embd, config.n_inner = shape.width, shape.hidden
    else:
        config.hidden_size, config.intermediate_size = shape.width, shape.hidden
        config.head_dim, config.num_key_value_heads = shape.head_size, shape.kv_heads
    return type(teacher)(config)


def save_factors(students: FactoredStudents, number: int, folder: Path) -> None:
    """Write one factored student with its factors kept: all weights as ``factors.safetensors``, ranks as JSON.

    Args:
        students: A batch.
        number: Which of them, from 0.
        folder: Made where it is not there.

    Raises:
        InputError: there is no such student, or the folder cannot be written.
    """
    weights = {name: part.detach().clone().contiguous() for name, part in students.deployed(number).items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(weights, folder / _FACTORS)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}", "give another folder") from error
    write_whole(folder / _RANKS, to_json(students.ranks[number]))


def load_factors(folder: Path, teacher: Any) -> FactoredStudents:
    """Read a student that :func:`save_factors` wrote, as a batch of one.

    Args:
        folder: Where it was written.
        teacher: A model of its shape: the one that it was made from.

    Raises:
        InputError: no such files, or weights that are not those of a student of this teacher.
    """
    try:
        weights = load_file(folder / _FACTORS)
        ranks = json.loads((folder / _RANKS).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{folder} holds no factored student", "give a folder that save_factors wrote") from error
    architecture = architecture_of(teacher)
    _check_shapes(weights, ranks, teacher)
    return FactoredStudents(architecture, {name: part.unsqueeze(0) for name, part in weights.items()}, (ranks,))


def _check_shapes(weights: Weights, ranks: dict[str, int], teacher: Any) -> None:
    """Raise where factors do not multiply to the matrices of the teacher."""
    architecture, state = architecture_of(teacher), teacher.state_dict()
    for layer in architecture.linear:
        shape = tuple(state[f"{layer}.weight"].shape)
        wanted = shape[::-1] if architecture.family == "llama" else shape
        if layer in ranks:
            parts = [tuple(weights[f"{layer}.{side}"].shape) for side in ("right", "left")]
            found = (parts[0][0], parts[1][1])
        else:
            found = tuple(weights[f"{layer}.weight"].shape)  # type: ignore[assignment]
        if found != wanted:
            raise InputError(
                f"{layer} is {found} and {wanted} in the teacher", "give the teacher that it was made from"
            )
