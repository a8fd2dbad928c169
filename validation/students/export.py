"""Students as plain Hugging Face models: factors merged into dense matrices, one model per student."""

from __future__ import annotations

import copy
from typing import Any

import torch

from theorykit.errors import InputError
from validation.students.architecture import Weights
from validation.students.factored import Students
from validation.students.narrow import NarrowStudents


def merged_weights(students: Students, number: int) -> Weights:
    """Return one student's weights under the names and in the shapes of its Hugging Face model.

    Args:
        students: A batch.
        number: Which of them, from 0.

    Raises:
        InputError: there is no such student.
    """
    if not 0 <= number < len(students.ranks):
        raise InputError(f"number = {number} is no student", f"there are {len(students.ranks)}, counted from 0")
    turned = students.architecture.family == "llama"
    layers = set(students.architecture.linear)
    found: Weights = {}
    for name, tensor in students.weights.items():
        layer, part = name.rsplit(".", 1)
        if part == "right":
            rank = students.ranks[number][layer]
            matrix = tensor[number, :, :rank] @ students.weights[f"{layer}.left"][number, :rank]
            found[f"{layer}.weight"] = matrix.T if turned else matrix
        elif part in ("left", "mask"):
            continue
        else:
            found[name] = tensor[number].T if turned and layer in layers else tensor[number]
    return {name: tensor.detach().clone().contiguous() for name, tensor in found.items()}


def _merged_narrow(students: NarrowStudents, number: int) -> Weights:
    layers = {f"{name}.weight" for name in students.architecture.linear}
    with torch.no_grad():
        merged = students.effective()
    return {
        name: (part[number].T if name in layers else part[number]).detach().clone().contiguous()
        for name, part in merged.items()
    }


def merged_model(students: Students | NarrowStudents, number: int, teacher: Any) -> Any:
    """Return one student as a plain model with dense matrices; ``save_pretrained`` writes safetensors.

    Args:
        students: A batch; narrow ones become a smaller model of the teacher's type.
        number: Which of them, from 0.
        teacher: The Hugging Face model that they were made from; not changed.
    """
    if isinstance(students, NarrowStudents):
        config = copy.deepcopy(teacher.config)
        config.head_dim, config.hidden_size = students.architecture.head_size, students.architecture.width
        model, state = type(teacher)(config), _merged_narrow(students, number)
    else:
        model, state = copy.deepcopy(teacher), merged_weights(students, number)
    if students.architecture.tied:
        state["lm_head.weight"] = state[students.architecture.embedding]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(state[name])
    return model.eval()
